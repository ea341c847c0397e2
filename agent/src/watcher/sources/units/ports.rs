//! The ports that units listen on, and who else holds one of them. A unit whose port a stranger took fails like any
//! other; only what is gathered here, at the moment when it fails, tells that to start it again is no remedy. Its ports
//! are known from the configuration, from a health address on this host, and from the kernel's table while it ran.

use super::super::ports::{Owners, add_holder, listeners};
use crate::config::{Config, Service};
use crate::watcher::report::Fault;
use crate::watcher::tasks::{Proc, Stat};
use sopwith_domain::value::{UnitName, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most ports that are remembered of one unit; a service that opens more opens them for a moment each.
const PORTS_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Port {
    udp: bool,
    number: u16,
}

impl Port {
    fn protocol(self) -> &'static str {
        if self.udp { "udp" } else { "tcp" }
    }
}

type PortsOf = BTreeMap<UnitName, BTreeSet<Port>>;

/// What is known of the ports of all units.
#[derive(Debug, Default)]
pub(super) struct Ports {
    proc: Proc,
    declared: PortsOf,
    /// What each unit listened on when it last listened at all.
    learned: PortsOf,
    owners: Owners,
    /// Listeners whose owner could not be seen: they are not looked for each time.
    unseen: BTreeSet<u64>,
}

impl Ports {
    pub(super) fn of(config: &Config) -> Self {
        let mut declared = PortsOf::new();
        for listener in &config.kernel.ports.listen {
            if let Some(unit) = &listener.unit {
                let udp = listener.udp.as_ref().is_some_and(|udp| **udp);
                declared.entry((**unit).clone()).or_default().insert(Port { udp, number: *listener.port });
            }
        }
        for (unit, service) in &config.units.services {
            if let Some(number) = health_port(service) {
                declared.entry(unit.clone()).or_default().insert(Port { udp: false, number });
            }
        }
        Self { declared, ..Self::default() }
    }

    /// Learns from the kernel's table which ports services listen on now. Those of the range from which the kernel
    /// gives ports for a moment are nobody's.
    pub(super) fn learn(&mut self) {
        let Ok(found) = listeners(&self.proc, false) else { return };
        let all: BTreeSet<u64> = found.iter().map(|socket| socket.inode).collect();
        self.unseen.retain(|inode| all.contains(inode));
        let asked: BTreeSet<u64> = all.difference(&self.unseen).copied().collect();
        self.owners.find(&self.proc, &asked);
        self.unseen.extend(asked.iter().filter(|inode| self.owners.of(**inode).is_empty()));
        let lent = lent(&self.proc);
        let mut now = PortsOf::new();
        for socket in found.iter().filter(|socket| !lent.contains(&socket.port)) {
            for stat in self.owners.of(socket.inode).iter().filter(|stat| stat.pid != 1) {
                let Some(unit) = self.proc.unit(stat.pid).filter(|u| u.as_str().ends_with(".service")) else {
                    continue;
                };
                let ports = now.entry(unit).or_default();
                if ports.len() < PORTS_MAX {
                    ports.insert(Port { udp: false, number: socket.port });
                }
            }
        }
        self.learned.extend(now);
    }

    /// Adds to the fault of a unit who else holds one of its ports, or else which of them is free.
    pub(super) fn add(&self, fault: &mut Fault, unit: &UnitName) {
        let known: Vec<Port> = [&self.declared, &self.learned]
            .into_iter()
            .filter_map(|of| of.get(unit))
            .flatten()
            .copied()
            .collect();
        let mut free = None;
        for port in known {
            match self.holder(unit, port) {
                Holder::Nobody => free = free.or(Some(port)),
                Holder::Owner => {}
                Holder::Other(stat) => return self.add_taken(fault, unit, port, &stat),
            }
        }
        if let Some(port) = free {
            add_port(fault, port);
        }
    }

    fn add_taken(&self, fault: &mut Fault, unit: &UnitName, port: Port, stat: &Stat) {
        fault.field("port_taken", Value::Boolean(true));
        add_port(fault, port);
        // Of a unit that runs, the process is its own.
        if fault.kind.as_str() != "unit.unhealthy" {
            fault.field("unit", Value::Unit(unit.clone()));
            add_holder(fault, &self.proc, stat.pid);
        }
    }

    /// Returns who holds a port. The service manager listens for units that are started by their socket; and where it
    /// cannot be seen who listens, it counts as the unit's own.
    fn holder(&self, unit: &UnitName, port: Port) -> Holder {
        let Ok(found) = listeners(&self.proc, port.udp) else { return Holder::Owner };
        let inodes: BTreeSet<u64> =
            found.iter().filter(|socket| socket.port == port.number).map(|socket| socket.inode).collect();
        if inodes.is_empty() {
            return Holder::Nobody;
        }
        let mut owners = Owners::default();
        owners.find(&self.proc, &inodes);
        let all = || inodes.iter().flat_map(|inode| owners.of(*inode));
        let own = |stat: &Stat| stat.pid == 1 || self.proc.unit(stat.pid).as_ref() == Some(unit);
        match all().next() {
            Some(stat) if !all().any(own) => Holder::Other(*stat),
            _ => Holder::Owner,
        }
    }
}

/// Who listens on a port of a unit.
enum Holder {
    Nobody,
    Owner,
    Other(Stat),
}

fn add_port(fault: &mut Fault, port: Port) {
    fault.integer("port", port.number);
    fault.word("protocol", port.protocol());
}

/// Returns the port at which a service on this host is asked for its health.
fn health_port(service: &Service) -> Option<u16> {
    let url = reqwest::Url::parse(service.health.as_ref()?.url.as_str()).ok()?;
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.port_or_known_default().filter(|_| here)
}

/// Returns the range of ports that the kernel lends to whoever asks for any.
fn lent(proc: &Proc) -> std::ops::RangeInclusive<u16> {
    let text = proc.read("sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    numbers.next().unwrap_or(32768)..=numbers.next().unwrap_or(60999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::signal::{Severity, Subject};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A process of a unit that holds a socket.
    fn process(root: &Path, pid: u32, group: &str, inode: u64) {
        let folder = root.join(pid.to_string());
        fs::create_dir_all(folder.join("fd")).expect("made");
        let stat = format!("{pid} (x) S 1 0 0 0 -1 0 0 0 0 0 0 0 0 0 0 20 1 0 {pid}7 0");
        for (name, text) in [("stat", stat), ("comm", "x\n".into()), ("cgroup", format!("0::/{group}\n"))] {
            fs::write(folder.join(name), text).expect("written");
        }
        symlink(format!("socket:[{inode}]"), folder.join("fd/3")).expect("linked");
    }

    fn listening(root: &Path, lines: &[(u16, u64)]) {
        fs::create_dir_all(root.join("net")).expect("made");
        let line = |(port, inode): &(u16, u64)| {
            format!("0: 0100007F:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1\n")
        };
        let text: String = lines.iter().map(line).collect();
        fs::write(root.join("net/tcp"), format!("head\n{text}")).expect("written");
    }

    fn told(ports: &Ports, kind: &str) -> String {
        let unit = UnitName::new("web.service").expect("a unit");
        let subject = Subject::Unit(unit.clone());
        let mut fault = Fault::new("units.failed", kind, subject, Severity::Critical, "");
        ports.add(&mut fault, &unit);
        let wanted = ["port", "port_taken", "process", "unit", "holder_unit", "by_hand"];
        let field = |name: &str| {
            let value = fault.fields.iter().find(|(n, _)| n.as_str() == name)?.1;
            Some(format!("{name}={value}"))
        };
        wanted.iter().filter_map(|name| field(name)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whose_port_a_stranger_took_is_told_with_the_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        process(root, 10, "system.slice/web.service", 100);
        process(root, 20, "user.slice/session-1.scope", 200);
        process(root, 30, "system.slice/other.service", 300);
        let mut ports = Ports { proc: Proc::at(root), ..Ports::default() };
        listening(root, &[(8081, 200)]);
        assert_eq!(told(&ports, "unit.failed"), "", "nothing is known of its ports");
        listening(root, &[(8081, 100), (40000, 100), (22, 300)]);
        ports.learn();
        assert_eq!(told(&ports, "unit.failed"), "", "it holds its port itself");
        listening(root, &[]);
        ports.learn();
        assert_eq!(
            told(&ports, "unit.failed"),
            "port=8081",
            "what it listened on is remembered, and is free"
        );
        listening(root, &[(8081, 200)]);
        let taken = "port=8081 port_taken=true";
        let stranger =
            format!("{taken} process=20@207 unit=web.service holder_unit=session-1.scope by_hand=true");
        assert_eq!(told(&ports, "unit.failed"), stranger);
        assert_eq!(told(&ports, "unit.inactive"), stranger);
        assert_eq!(told(&ports, "unit.unhealthy"), taken, "the process of one that runs is its own");
        listening(root, &[(8081, 300)]);
        let service = format!("{taken} process=30@307 unit=web.service holder_unit=other.service");
        assert_eq!(told(&ports, "unit.failed"), service);
        listening(root, &[(8081, 999)]);
        assert_eq!(told(&ports, "unit.failed"), "", "who holds it cannot be seen");
        process(root, 1, "init.scope", 999);
        assert_eq!(told(&ports, "unit.failed"), "", "it is started by its socket");
    }

    #[test]
    fn ports_are_known_from_what_the_operator_says() {
        let config = Config::parse(
            "kernel: {ports: {listen: [{port: 53, udp: true, unit: dns.service}, {port: 1}]}}\n\
             units: {services: {a.service: {health: {url: 'http://127.0.0.1:8080/x'}}, \
             b.service: {health: {url: 'http://[::1]/x'}}, c.service: {health: {url: 'http://192.0.2.1/x'}}}}",
        );
        let ports = Ports::of(&config.unwrap_or_else(|e| panic!("{e:?}")));
        let of = |(unit, ports): (&UnitName, &BTreeSet<Port>)| {
            let ports: Vec<_> = ports.iter().map(|p| format!("{}/{}", p.number, p.protocol())).collect();
            format!("{unit} {}", ports.join(","))
        };
        let all: Vec<String> = ports.declared.iter().map(of).collect();
        assert_eq!(all, ["a.service 8080/tcp", "b.service 80/tcp", "dns.service 53/udp"]);
    }
}
