//! Checks of what the kernel knows: settings, interfaces, the packet filter, mounts, ports, processes, the clock. They
//! look and never change anything; what cannot be found out does not hold.

use super::actions::nft::element::Element;
use super::actions::nft::rule::Rule;
use super::actions::{Workbench, clock_step, link_mtu, link_up, mount_table, processes, sysctl};
use super::clock;
use procfs::net::TcpState;
use procfs::process::Process;
use rustix::process::{Resource, getrlimit};
use sopwith_domain::check::Check;
use sopwith_domain::value::{AbsPath, ProcessRef, UnitName, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long a process is looked at for its share of a processor.
const CPU_SAMPLE: Duration = Duration::from_millis(500);
/// How long a connection to the host's own port may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
/// An address that is nobody's (RFC 5737): it is only asked from which own address it would be reached.
const ELSEWHERE: (&str, u16) = ("192.0.2.1", 9);

/// Whether it holds, and what was seen.
type Seen = Result<(), String>;

/// Asks, if the check is one of these.
pub fn ask(bench: &mut Workbench, check: &Check) -> Seen {
    match check {
        Check::SysctlIs { key, value } => sysctl::is(key, value),
        Check::LinkMtuIs { interface, mtu } => link_mtu::is(interface, *mtu),
        Check::UnitWrites { unit, path } => holds(writes(unit, path), "none of its processes does"),
        Check::LinkIsUp { interface } => link_up::is(interface),
        Check::ProcessNotStopped { process } => match processes::look(process.pid) {
            Some(now) if processes::lives(*process) => holds(now.state != 'T', "a signal has stopped it"),
            _ => Err("it is gone".into()),
        },
        Check::NftHasSet { family, table, set, ip } => {
            Element { family: *family, table, set, ip: *ip }.has_set()
        }
        Check::NftHasElement { family, table, set, ip } => {
            Element { family: *family, table, set, ip: *ip }.is_there()
        }
        Check::NftLacksRule { family, table, chain, rule } => {
            Rule { family: *family, table, chain, handle: 0, digest: rule }.is_gone()
        }
        Check::MountPresent { .. }
        | Check::MountAbsent { .. }
        | Check::MountVacant { .. }
        | Check::MountOption { .. }
        | Check::MountSound { .. } => mounted(check),
        Check::ProcessBelowCpu { process, percent } => below_cpu(*process, *percent),
        Check::ProcessZombiesBelow { process, count } => zombies_below(*process, *count),
        Check::PortFree { port, protocol } => match listeners(*port, protocol)?.is_empty() {
            true => Ok(()),
            false => Err("something does".into()),
        },
        Check::PortHeldBy { port, protocol, unit } => held_by(*port, protocol, unit),
        Check::PortReached { port } => reached(*port),
        Check::PortsBelow { percent } => ports_below(*percent),
        Check::ConntrackBelow { percent } => conntrack_below(*percent),
        Check::ClockSynchronised { within_ms } => clock_step::synchronised(*within_ms),
        Check::UnitDescriptorsBelow { unit, percent } => {
            let pid = bench.systemd.state(unit)?.main_pid;
            descriptors_below(pid, *percent)
        }
        other => Err(format!("{} is not asked here", other.name())),
    }
}

fn holds(holds: bool, seen: impl Into<String>) -> Seen {
    if holds { Ok(()) } else { Err(seen.into()) }
}

fn writes(unit: &UnitName, path: &AbsPath) -> bool {
    let of_unit = processes::all().into_iter().filter(|process| in_unit(process.pid, unit));
    let mut open = of_unit.flat_map(|process| processes::descriptors(process.pid));
    open.any(|descriptor| descriptor.for_writing && descriptor.target == std::path::Path::new(path.as_str()))
}

fn mounted(check: &Check) -> Seen {
    let there = |mount: &AbsPath| mount_table::at(mount)?.ok_or_else(|| "it is not mounted".to_owned());
    match check {
        Check::MountPresent { mount } => there(mount).map(drop),
        Check::MountAbsent { mount } => holds(mount_table::at(mount)?.is_none(), "something is"),
        Check::MountVacant { mount } => match (mount_table::at(mount)?, mount_table::beneath(mount)?) {
            (None, 0) => Ok(()),
            (None, hidden) => Err(format!("it holds {hidden} entries")),
            (Some(_), _) => Err("something is mounted there".into()),
        },
        Check::MountOption { mount, option } => {
            let now = there(mount)?;
            holds(now.has(option.as_str()), format!("its options are {}", now.options.join(",")))
        }
        Check::MountSound { mount } => match there(mount)?.errors() {
            0 => Ok(()),
            errors => Err(format!("there are {errors}")),
        },
        _ => Err("it is no check of a mount".into()),
    }
}

fn below_cpu(process: ProcessRef, percent: i64) -> Seen {
    let ticks = || {
        let stat = Process::new(i32::try_from(process.pid).ok()?).ok()?.stat().ok()?;
        (stat.starttime == process.start_ticks).then_some(stat.utime + stat.stime)
    };
    let (Some(before), began_ms) = (ticks(), clock::boot_ms()) else { return Ok(()) };
    std::thread::sleep(CPU_SAMPLE);
    let Some(after) = ticks() else { return Ok(()) };
    let took_ms = (after - before) * 1000 / procfs::ticks_per_second();
    let share = took_ms * 100 / u64::try_from(clock::boot_ms() - began_ms).unwrap_or(1).max(1);
    holds(i64::try_from(share).is_ok_and(|share| share < percent), format!("it takes {share} %"))
}

fn zombies_below(process: ProcessRef, count: i64) -> Seen {
    if !processes::lives(process) {
        return Ok(());
    }
    let zombies = processes::all().iter().filter(|p| p.parent == process.pid && p.state == 'Z').count();
    holds(i64::try_from(zombies).is_ok_and(|zombies| zombies < count), format!("it has {zombies}"))
}

/// One socket that listens.
struct Listener {
    ip: IpAddr,
    inode: u64,
}

fn listeners(port: u16, protocol: &Word) -> Result<Vec<Listener>, String> {
    let failed = |e: procfs::ProcError| format!("failed to read the sockets: {e}");
    let mut found = Vec::new();
    if protocol.as_str() == "udp" {
        let all = [procfs::net::udp().map_err(failed)?, procfs::net::udp6().unwrap_or_default()].concat();
        // A socket that is connected to somebody serves nobody else.
        let open = all.into_iter().filter(|e| e.local_address.port() == port && e.remote_address.port() == 0);
        found.extend(open.map(|e| Listener { ip: e.local_address.ip(), inode: e.inode }));
    } else {
        let all = [procfs::net::tcp().map_err(failed)?, procfs::net::tcp6().unwrap_or_default()].concat();
        let open = all.into_iter().filter(|e| e.state == TcpState::Listen && e.local_address.port() == port);
        found.extend(open.map(|e| Listener { ip: e.local_address.ip(), inode: e.inode }));
    }
    Ok(found)
}

fn held_by(port: u16, protocol: &Word, unit: &UnitName) -> Seen {
    let inodes: BTreeSet<String> =
        listeners(port, protocol)?.iter().map(|listener| format!("socket:[{}]", listener.inode)).collect();
    if inodes.is_empty() {
        return Err("nothing does".into());
    }
    let holds_it = |pid: u32| {
        processes::descriptors(pid).iter().any(|d| d.target.to_str().is_some_and(|t| inodes.contains(t)))
    };
    let of_unit = processes::all().into_iter().filter(|p| in_unit(p.pid, unit)).any(|p| holds_it(p.pid));
    holds(of_unit, "another process does")
}

/// Says whether a process was started by a unit.
pub fn in_unit(pid: u32, unit: &UnitName) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups
        .lines()
        .any(|line| line.rsplit(':').next().is_some_and(|p| p.split('/').any(|part| part == unit.as_str())))
}

fn reached(port: u16) -> Seen {
    let tcp = Word::new("tcp").map_err(|e| e.to_string())?;
    let found = listeners(port, &tcp)?;
    let outside = found.iter().find(|listener| !listener.ip.is_loopback());
    let listener = outside.or(found.first()).ok_or("nothing listens")?;
    let to = SocketAddr::new(if listener.ip.is_unspecified() { own_address() } else { listener.ip }, port);
    match TcpStream::connect_timeout(&to, CONNECT_TIME_MAX) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{to}: {e}")),
    }
}

/// Returns the address of the host's own from which it would speak to others; nothing is sent.
fn own_address() -> IpAddr {
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    // A host without a way out is still reached by itself.
    own.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

fn ports_below(percent: i64) -> Seen {
    let text =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").map_err(|e| e.to_string())?;
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse::<u16>().ok());
    let (Some(low), Some(high)) = (numbers.next(), numbers.next()) else {
        return Err("the range of local ports cannot be read".into());
    };
    let size = u64::from(high.saturating_sub(low)) + 1;
    let all = [procfs::net::tcp().map_err(|e| e.to_string())?, procfs::net::tcp6().unwrap_or_default()];
    let mut toward: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for entry in all.iter().flatten().filter(|e| e.state != TcpState::Listen) {
        if (low..=high).contains(&entry.local_address.port()) {
            *toward.entry(entry.remote_address).or_default() += 1;
        }
    }
    let most = toward.into_iter().max_by_key(|(_, used)| *used);
    let Some((to, used)) = most else { return Ok(()) };
    let share = used * 100 / size;
    holds(i64::try_from(share).is_ok_and(|s| s < percent), format!("{used} of {size} are in use toward {to}"))
}

fn conntrack_below(percent: i64) -> Seen {
    let number = |name: &str| -> Result<u64, String> {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        text.trim().parse().map_err(|_| format!("{path} holds no number"))
    };
    let (count, max) = (number("count")?, number("max")?.max(1));
    let share = count * 100 / max;
    holds(i64::try_from(share).is_ok_and(|s| s < percent), format!("{count} of {max} are used"))
}

fn descriptors_below(pid: u32, percent: i64) -> Seen {
    let process = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or("it has no main process")?;
    let process = Process::new(process).map_err(|e| format!("its main process cannot be seen: {e}"))?;
    let open = u64::try_from(process.fd_count().map_err(|e| e.to_string())?).unwrap_or(u64::MAX);
    let limits = process.limits().map_err(|e| e.to_string())?;
    let limit = match limits.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(limit) => limit,
        // Nobody has more than the kernel's own end.
        procfs::process::LimitValue::Unlimited => getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
    };
    let share = open.saturating_mul(100) / limit.max(1);
    holds(i64::try_from(share).is_ok_and(|s| s < percent), format!("it has {open} of {limit} open"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;

    fn process(pid: u32) -> ProcessRef {
        let seen = processes::look(pid).expect("it lives");
        ProcessRef { pid, start_ticks: seen.start_ticks }
    }

    #[test]
    fn a_port_that_is_held_and_one_that_is_free() {
        let tcp = Word::new("tcp").expect("a word");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        assert_eq!(listeners(port, &tcp).expect("read").len(), 1);
        assert_eq!(reached(port), Ok(()));
        let other = UnitName::new("nobody-has-this.service").expect("a unit");
        assert_eq!(held_by(port, &tcp, &other), Err("another process does".into()));
        drop(listener);
        assert!(reached(port).is_err());
    }

    #[test]
    fn a_process_that_takes_a_processor_and_one_that_sleeps() {
        let mut sleeps = Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
        let mut runs = Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let (asleep, busy) = (process(sleeps.id()), process(runs.id()));
        assert_eq!(below_cpu(asleep, 5), Ok(()));
        assert!(below_cpu(busy, 1).is_err());
        for child in [&mut sleeps, &mut runs] {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
        assert_eq!(below_cpu(busy, 1), Ok(()), "it is gone");
        assert_eq!(zombies_below(busy, 1), Ok(()));
    }

    #[test]
    fn children_that_nobody_waits_for() {
        let mut child = Command::new("/bin/true").spawn().expect("true");
        let own = process(std::process::id());
        // Other tests of this process may have ended children too; their number is only a lower bound.
        while processes::look(child.id()).is_none_or(|p| p.state != 'Z') {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(zombies_below(own, 1).is_err());
        child.wait().expect("ended");
    }
}
