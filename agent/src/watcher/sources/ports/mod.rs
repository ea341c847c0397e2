//! Listening ports: one that should listen and does not, that another process took, that the host's own packet filter
//! keeps from others; and, where it is asked for, listeners that nobody declared.

mod blocking;
mod table;

use super::{Context, Source, Work};
use crate::config::{Config, Listener, Ports};
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Asleep, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::{Proc, Stat};
use blocking::Filter;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{UnitName, Value, Word};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub(crate) use table::{Owners, listeners};
pub(super) use table::{Socket, sockets};
use tokio_util::sync::CancellationToken;

const TAKEN: &str = "ports.taken";
const CLOSED: &str = "ports.closed";
const FILTERED: &str = "ports.filtered";
const UNDECLARED: &str = "ports.undeclared";
/// How often it is tried whether a port can be reached, and how long a connection may take.
const REACH_EVERY: Duration = Duration::from_secs(5);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
/// An address that is nobody's (RFC 5737): it is only asked from which own address it would be reached.
const ELSEWHERE: (&str, u16) = ("192.0.2.1", 9);

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let (config, runtime_dir) = (config.kernel.ports.clone(), &config.runtime_dir);
    let wanted = !config.listen.is_empty() || *config.undeclared;
    let runtime_dir = runtime_dir.path().to_owned();
    let source = Listening { config, afresh: context.afresh.clone(), runtime_dir };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Listening {
    config: Ports,
    afresh: Afresh,
    runtime_dir: PathBuf,
}

impl Source for Listening {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let reached = vec![None; self.config.listen.len()];
            let (proc, owners) = (Proc::default(), Owners::default());
            let filter = Filter::asking(self.runtime_dir);
            let (config, unseen) = (self.config, BTreeSet::new());
            let watched = Watched { config, proc, owners, filter, reached, tried: None, unseen };
            rounds::run(watched, Asleep, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    config: Ports,
    proc: Proc,
    owners: Owners,
    filter: Filter,
    /// How each declared port was reached last, and when it was tried.
    reached: Vec<Option<Reached>>,
    tried: Option<Instant>,
    /// Ports whose owner could not be seen at the last look.
    unseen: BTreeSet<u16>,
}

/// How a connection from one of the host's own addresses went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reached {
    Yes,
    /// Nothing came back: the packet filter, or a service that takes no more.
    NoAnswer,
    /// Something else than silence; it is closed or goes on elsewhere.
    Other,
}

/// Who holds a port.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Holder {
    Nobody,
    Owner,
    Other(Stat),
    /// Whose it is cannot be seen.
    Unseen,
}

impl Watched {
    fn unit(&self, stat: &Stat) -> Option<UnitName> {
        self.proc.unit(stat.pid)
    }

    fn holder(&self, listener: &Listener, found: &[Socket]) -> Holder {
        let Some(unit) = &listener.unit else {
            return if found.is_empty() { Holder::Nobody } else { Holder::Owner };
        };
        let mut owners = found.iter().flat_map(|socket| self.owners.of(socket.inode)).peekable();
        if found.is_empty() {
            return Holder::Nobody;
        }
        if owners.peek().is_none() {
            return Holder::Unseen;
        }
        // The service manager itself listens for units that are started by their socket.
        let theirs = |stat: &Stat| stat.pid != 1 && self.unit(stat).as_ref() != Some(&**unit);
        let (mut other, mut own) = (None, false);
        for stat in owners {
            if theirs(stat) { other = other.or(Some(*stat)) } else { own = true }
        }
        match other {
            Some(stat) if !own => Holder::Other(stat),
            _ => Holder::Owner,
        }
    }

    /// Says whether a unit has a process: one that was stopped, or has failed, is told elsewhere.
    fn runs(&self, unit: &UnitName) -> bool {
        self.proc.pids().into_iter().any(|pid| self.proc.unit(pid).as_ref() == Some(unit))
    }

    fn try_to_reach(&mut self, at: usize, found: &[Socket]) {
        let due = self.tried.is_none_or(|tried| tried.elapsed() >= REACH_EVERY);
        if !self.config.listen[at].reach.as_ref().is_some_and(|reach| **reach) {
            return;
        }
        if found.is_empty() {
            self.reached[at] = None;
        } else if due {
            self.reached[at] = found.iter().find_map(|socket| outside(socket.ip, socket.port)).map(connect);
        }
    }
}

/// Returns an address of the host's own at which others would reach a listener; nothing if none can.
fn outside(ip: IpAddr, port: u16) -> Option<SocketAddr> {
    if ip.is_loopback() {
        return None;
    }
    if !ip.is_unspecified() {
        return Some((ip, port).into());
    }
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    // A host without a way out is still reached by itself.
    let own = own.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip());
    Some((own, port).into())
}

fn connect(to: SocketAddr) -> Reached {
    match TcpStream::connect_timeout(&to, CONNECT_TIME_MAX) {
        Ok(_) => Reached::Yes,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock) => {
            Reached::NoAnswer
        }
        // Somebody listens: who is refused all the same is refused by the packet filter.
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::PermissionDenied
                    | std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::HostUnreachable
            ) =>
        {
            Reached::NoAnswer
        }
        Err(_) => Reached::Other,
    }
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let mut read = |udp| {
            listeners(&self.proc, udp).unwrap_or_else(|e| {
                seen.blind.push(e);
                Vec::new()
            })
        };
        let wants_udp = self.config.listen.iter().any(|l| l.udp.as_ref().is_some_and(|udp| **udp));
        let (tcp, udp) = (read(false), if wants_udp { read(true) } else { Vec::new() });
        let declared: BTreeSet<u16> = self.config.listen.iter().map(|l| *l.port).collect();
        let wanted = |socket: &&Socket| declared.contains(&socket.port) || *self.config.undeclared;
        let inodes = tcp.iter().chain(&udp).filter(wanted).map(|socket| socket.inode).collect();
        self.owners.find(&self.proc, &inodes);
        let mut unseen = BTreeSet::new();
        for at in 0..self.config.listen.len() {
            let listener = self.config.listen[at].clone();
            let table = if listener.udp.as_ref().is_some_and(|udp| **udp) { &udp } else { &tcp };
            let found: Vec<Socket> = table.iter().filter(|s| s.port == *listener.port).copied().collect();
            self.try_to_reach(at, &found);
            let holder = self.holder(&listener, &found);
            if holder == Holder::Unseen {
                let port = *listener.port;
                unseen.insert(port);
                // Who ends or begins between the look at the sockets and that at the processes is seen the next time.
                if self.unseen.contains(&port) {
                    seen.blind.push(format!("whose port {port} is cannot be seen (needs CAP_SYS_PTRACE)"));
                }
            }
            let fault = self.judge(&listener, &holder, &found, self.reached[at]);
            if let Some(mut fault) = fault {
                if fault.kind.as_str() == "port.filtered" {
                    self.filter.explain(&mut fault, *listener.port, listener.protocol());
                }
                seen.hold(fault, listener.tolerance.0);
            }
        }
        self.unseen = unseen;
        if self.tried.is_none_or(|tried| tried.elapsed() >= REACH_EVERY) {
            self.tried = Some(Instant::now());
        }
        if *self.config.undeclared {
            self.undeclared(&tcp, &declared, &mut seen);
        }
        seen
    }

    fn wait(&self) -> Duration {
        self.config.every.0
    }
}

impl Watched {
    fn judge(
        &self,
        listener: &Listener,
        holder: &Holder,
        found: &[Socket],
        reached: Option<Reached>,
    ) -> Option<Fault> {
        let unit = listener.unit.as_deref();
        match (holder, reached) {
            (Holder::Nobody, _) if unit.is_none_or(|unit| self.runs(unit)) => Some(closed(listener)),
            (Holder::Other(stat), _) => Some(self.taken(listener, stat, found)),
            (Holder::Owner | Holder::Unseen, Some(Reached::NoAnswer)) => Some(filtered(listener, found)),
            _ => None,
        }
    }

    fn taken(&self, listener: &Listener, stat: &Stat, found: &[Socket]) -> Fault {
        let name = self.proc.name(stat.pid);
        let owner = listener.unit.as_ref().map_or_else(String::new, |unit| (**unit).to_string());
        let text = format!("{} of {owner} is held by {name} (process {})", shown(listener), stat.pid);
        let mut fault = Fault::new(TAKEN, "port.taken", listener.subject(), Severity::Critical, text);
        add_holder(&mut fault, &self.proc, stat.pid);
        if let Some(unit) = &listener.unit {
            // While the unit itself is down, that is the fault: who holds its port is said there.
            fault.depends_on(Subject::Unit((**unit).clone()));
        }
        with_port(fault, listener, found)
    }

    fn undeclared(&self, tcp: &[Socket], declared: &BTreeSet<u16>, seen: &mut Seen) {
        let reached = tcp.iter().filter(|socket| !socket.ip.is_loopback());
        for socket in reached.filter(|socket| !declared.contains(&socket.port)) {
            let text = format!("something listens on {}:{}, which nobody declared", socket.ip, socket.port);
            let name = format!("undeclared:tcp:{}", socket.port);
            let subject = Subject::Check(Word::new(name).expect("a number makes a word"));
            let mut fault = Fault::new(UNDECLARED, "port.undeclared", subject, Severity::Warning, text);
            if let Some(stat) = self.owners.of(socket.inode).first() {
                self.proc.add(&mut fault, stat.pid);
            }
            fault.integer("port", socket.port);
            seen.hold(fault, Duration::from_secs(10));
        }
    }
}

/// Adds who holds a port. The unit of a fault about a port is the one that the port belongs to.
pub(super) fn add_holder(fault: &mut Fault, proc: &Proc, pid: u32) {
    let unit = Word::new("unit").expect("it is a word");
    let owner = fault.fields.remove(&unit);
    proc.add(fault, pid);
    fault.fields.remove(&unit);
    fault.fields.extend(owner.map(|owner| (unit, owner)));
    if let Some(unit) = proc.unit(pid) {
        fault.field("holder_unit", Value::Unit(unit));
    }
    if proc.by_hand(pid) {
        fault.field("by_hand", Value::Boolean(true));
    }
    if let Ok(line) = std::fs::read(proc.path(&format!("{pid}/cmdline"))) {
        fault.show("command line of the holder", &String::from_utf8_lossy(&line).replace('\0', " "));
    }
}

fn shown(listener: &Listener) -> String {
    format!("port {}/{}", *listener.port, listener.protocol())
}

fn with_port(mut fault: Fault, listener: &Listener, found: &[Socket]) -> Fault {
    fault.integer("port", *listener.port);
    fault.word("protocol", listener.protocol());
    if let Some(unit) = &listener.unit {
        fault.field("unit", Value::Unit((**unit).clone()));
    }
    if let Some(socket) = found.first() {
        fault.field("ip", Value::Ip(socket.ip));
    }
    fault
}

fn closed(listener: &Listener) -> Fault {
    let text = format!("nothing listens on {}", shown(listener));
    let name = format!("closed:{}:{}", listener.protocol(), *listener.port);
    let subject = Subject::Check(Word::new(name).expect("a protocol and a number make a word"));
    let mut fault = Fault::new(CLOSED, "port.closed", subject, Severity::Critical, text);
    if let Some(unit) = &listener.unit {
        fault.depends_on(Subject::Unit((**unit).clone()));
    }
    with_port(fault, listener, &[])
}

fn filtered(listener: &Listener, found: &[Socket]) -> Fault {
    let waiting = found.iter().map(|socket| socket.waiting).max().unwrap_or(0);
    // A service that takes no more connections looks the same from outside.
    let (kind, why) = match waiting {
        0 => ("port.filtered", "a packet filter drops what comes"),
        _ => ("port.stuck", "the service takes no more connections"),
    };
    let text = format!("{} listens and does not answer: {why}", shown(listener));
    let mut fault = Fault::new(FILTERED, kind, listener.subject(), Severity::Critical, text);
    fault.integer("waiting", waiting);
    with_port(fault, listener, found)
}

#[cfg(test)]
mod tests;
