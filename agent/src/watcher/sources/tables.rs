//! Tables of the kernel with an end: tracked connections, local ports toward one destination and the range that they
//! come from, open files, processes, on the host and in each unit. Each is one small file, read at intervals; the big
//! table of sockets only when there are enough of them.

mod groups;

use super::ports::{Owners, sockets};
use super::{Context, Source, Work};
use crate::config::{Config, Tables};
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Asleep, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::Proc;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{Value, Word, Words};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RANGE: &str = "net.ipv4.ip_local_port_range";
/// How long a table must be nearly full.
const FOR: Duration = Duration::from_secs(3);
/// Up to so many tracked connections more room is proposed.
const CONNTRACK_MAX: u64 = 1 << 20;
/// So far below its limit a table is well again, in percent.
const CLEAR: u64 = 10;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.tables.clone();
    let limits =
        [&config.conntrack_percent, &config.ports_percent, &config.files_percent, &config.pids_percent];
    let wanted = limits.iter().any(|limit| ***limit > 0);
    let source = Full { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Full {
    config: Tables,
    afresh: Afresh,
}

impl Source for Full {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let mut watched = Watched::new(self.config, Proc::default());
            watched.groups = groups::Groups::find();
            rounds::run(watched, Asleep, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    config: Tables,
    proc: Proc,
    owners: Owners,
    /// Which tables counted as full at the last look.
    full: BTreeSet<&'static str>,
    groups: groups::Groups,
}

/// Connections toward one destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Toward {
    peer: IpAddr,
    peer_port: u16,
    used: u64,
    /// Socket of one of them.
    inode: u64,
}

impl Watched {
    fn new(config: Tables, proc: Proc) -> Self {
        Self {
            config,
            proc,
            owners: Owners::default(),
            full: BTreeSet::new(),
            groups: groups::Groups::none(),
        }
    }

    /// Says whether a table is nearly full, given what it was before.
    fn judge(&mut self, name: &'static str, used: u64, size: u64, limit: u8) -> bool {
        let limit = u64::from(limit);
        let clear = if self.full.contains(name) { limit.saturating_sub(CLEAR) } else { limit };
        let full = limit > 0 && size > 0 && used.saturating_mul(100) >= size.saturating_mul(clear.max(1));
        if full {
            self.full.insert(name)
        } else {
            self.full.remove(name)
        };
        full
    }

    fn simple(&mut self, seen: &mut Seen) {
        let number = |name: &str| self.proc.number(name);
        let folder = "sys/net/netfilter/nf_conntrack";
        let conntrack = number(&format!("{folder}_count")).zip(number(&format!("{folder}_max")));
        let files = self.proc.read("sys/fs/file-nr").ok().and_then(|text| {
            let numbers: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            Some((*numbers.first()?, *numbers.get(2)?))
        });
        let most = [number("sys/kernel/threads-max"), number("sys/kernel/pid_max")];
        let pids = self.proc.read("loadavg").ok().and_then(|text| {
            let total = text.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
            Some((total, most.into_iter().flatten().min()?))
        });
        let config = self.config.clone();
        for (name, what, numbers, limit) in [
            ("conntrack", "tracked connections", conntrack, config.conntrack_percent),
            ("files", "open files", files, config.files_percent),
            ("pids", "processes and threads", pids, config.pids_percent),
        ] {
            // A host that tracks no connections has no such table.
            let Some((used, size)) = numbers else { continue };
            if self.judge(name, used, size, *limit) {
                let mut fault = full(name, what, used, size);
                // More room where that costs little: an entry takes some 300 bytes.
                let more = (size * 2).min(CONNTRACK_MAX);
                if name == "conntrack" && more > size {
                    fault.field(
                        "value",
                        Value::Words(Words::new(more.to_string()).expect("digits are words")),
                    );
                }
                seen.hold(fault, FOR);
            }
        }
    }

    fn ports(&mut self, seen: &mut Seen) {
        if *self.config.ports_percent == 0 {
            return;
        }
        let range = self.proc.read("sys/net/ipv4/ip_local_port_range").ok();
        let Some((low, high)) = range.as_deref().and_then(parse_range) else {
            seen.blind.push("the range of local ports cannot be read".into());
            return;
        };
        let size = u64::from(high.saturating_sub(low)) + 1;
        let expected = (*self.config.ports_range[0], *self.config.ports_range[1]);
        // Somewhat less is somebody's choice; much less is a mistake or an attack.
        if size * 2 < u64::from(expected.1.saturating_sub(expected.0)) + 1 {
            seen.hold(narrowed((low, high), expected), FOR);
        }
        let limit = *self.config.ports_percent;
        let enough = size * u64::from(limit.saturating_sub(CLEAR as u8)) / 100;
        let toward = match self.sockets_in_use() {
            // Fewer sockets than that in all cannot fill the range toward one destination.
            Some(in_use) if in_use < enough => None,
            _ => self.most_used(low, high),
        };
        let used = toward.map_or(0, |toward| toward.used);
        if self.judge("ports", used, size, limit)
            && let Some(toward) = toward
        {
            let fault = self.exhausted(&toward, (low, high), size);
            seen.hold(fault, FOR);
        }
    }

    fn sockets_in_use(&self) -> Option<u64> {
        let text = self.proc.read("net/sockstat").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse::<u64>().ok()
        };
        Some(value("inuse")? + value("tw")?)
    }

    /// Returns the destination toward which most local ports are in use.
    fn most_used(&self, low: u16, high: u16) -> Option<Toward> {
        let mut toward: BTreeMap<(IpAddr, u16), (u64, u64)> = BTreeMap::new();
        for name in ["net/tcp", "net/tcp6"] {
            let text = self.proc.read(name).unwrap_or_default();
            for socket in sockets(&text).filter(|s| s.peer_port != 0 && (low..=high).contains(&s.port)) {
                let entry = toward.entry((socket.peer, socket.peer_port)).or_default();
                // One that waits out its end belongs to nobody any more.
                *entry = (entry.0 + 1, entry.1.max(socket.inode));
            }
        }
        let most = toward.into_iter().max_by_key(|(_, (used, _))| *used)?;
        let ((peer, peer_port), (used, inode)) = most;
        Some(Toward { peer, peer_port, used, inode })
    }

    fn exhausted(&mut self, toward: &Toward, range: (u16, u16), size: u64) -> Fault {
        let Toward { peer, peer_port, used, inode } = *toward;
        let text = format!("{used} of {size} local ports are in use toward {peer} port {peer_port}");
        let mut fault =
            Fault::new("tables.ports", "ports.exhausted", Subject::Host, Severity::Critical, text);
        self.owners.find(&self.proc, &BTreeSet::from([inode]));
        if let Some(stat) = self.owners.of(inode).first() {
            self.proc.add(&mut fault, stat.pid);
            if self.proc.by_hand(stat.pid) {
                fault.field("by_hand", Value::Boolean(true));
            }
        }
        fault.field("ip", Value::Ip(peer));
        fault.integer("port", peer_port);
        add_range(&mut fault, range);
        // In steps of a tenth, so that every connection is no news.
        fault.integer("used_percent", used * 10 / size * 10);
        fault.depends_on(range_subject());
        fault
    }
}

fn range_subject() -> Subject {
    Subject::Sysctl(Word::new(RANGE).expect("the name of a setting is a word"))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn add_range(fault: &mut Fault, (low, high): (u16, u16)) {
    fault.integer("range_low", low);
    fault.integer("range_high", high);
}

fn narrowed(range: (u16, u16), expected: (u16, u16)) -> Fault {
    let text = format!(
        "connections are made from the ports {} to {} only, not from {} to {}",
        range.0, range.1, expected.0, expected.1
    );
    let mut fault =
        Fault::new("tables.ports-range", "ports.narrowed", range_subject(), Severity::Warning, text);
    add_range(&mut fault, range);
    let value = Words::new(format!("{} {}", expected.0, expected.1)).expect("two numbers are words");
    fault.field("value", Value::Words(value));
    fault.integer("expected_low", expected.0);
    fault.integer("expected_high", expected.1);
    fault
}

fn full(name: &str, what: &str, used: u64, size: u64) -> Fault {
    let percent = used * 100 / size;
    let text = format!("{percent} % of the room for {what} is used");
    let (rule, kind) = (format!("tables.{name}"), format!("{name}.exhausted"));
    let mut fault = Fault::new(&rule, &kind, Subject::Host, Severity::Critical, text);
    fault.integer("used_percent", percent / 5 * 5);
    fault.integer("size", size);
    fault
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        self.simple(&mut seen);
        self.ports(&mut seen);
        for fault in self.groups.look(*self.config.pids_percent) {
            seen.hold(fault, FOR);
        }
        seen
    }

    fn wait(&self) -> Duration {
        self.config.every.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn told(watched: &mut Watched) -> String {
        let seen = watched.look();
        let one = |(fault, _): &(Fault, Duration)| {
            let field = |name: &str| {
                fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string())
            };
            format!("{} {}", fault.kind, field("used_percent").or(field("range_low")).unwrap_or_default())
        };
        let holds: Vec<_> = seen.holds.into_iter().map(|(fault, _)| (fault, FOR)).collect();
        let mut all: Vec<_> = holds.iter().map(one).collect();
        all.extend(seen.blind);
        all.join(", ")
    }

    #[test]
    fn tables_that_fill_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let mut watched = Watched::new(Tables::default(), Proc::at(root));
        assert_eq!(told(&mut watched), "the range of local ports cannot be read");
        write(root, "sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        write(root, "sys/fs/file-nr", "899\t0\t1000\n");
        write(root, "sys/kernel/threads-max", "5000");
        write(root, "sys/kernel/pid_max", "1000");
        write(root, "loadavg", "0.1 0.1 0.1 1/899 77\n");
        write(root, "sys/net/netfilter/nf_conntrack_count", "100");
        write(root, "sys/net/netfilter/nf_conntrack_max", "1000");
        write(root, "net/sockstat", "sockets: used 9\nTCP: inuse 9 orphan 0 tw 1 alloc 9 mem 0\n");
        assert_eq!(told(&mut watched), "");
        write(root, "sys/fs/file-nr", "900\t0\t1000\n");
        write(root, "loadavg", "0.1 0.1 0.1 1/950 77\n");
        write(root, "sys/net/netfilter/nf_conntrack_count", "990");
        assert_eq!(told(&mut watched), "conntrack.exhausted 95, files.exhausted 90, pids.exhausted 95");
        write(root, "sys/fs/file-nr", "850\t0\t1000\n");
        write(root, "loadavg", "0.1 0.1 0.1 1/100 77\n");
        write(root, "sys/net/netfilter/nf_conntrack_count", "100");
        assert_eq!(told(&mut watched), "files.exhausted 85", "it is well only some way below");
        write(root, "sys/fs/file-nr", "799\t0\t1000\n");
        assert_eq!(told(&mut watched), "");
    }

    #[test]
    fn a_narrow_range_that_is_used_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let mut watched = Watched::new(Tables::default(), Proc::at(root));
        write(root, "sys/net/ipv4/ip_local_port_range", "40000\t40009\n");
        write(root, "net/sockstat", "TCP: inuse 9 orphan 0 tw 1 alloc 9 mem 0\n");
        let table = |count: u16, peer: u16| {
            let line =
                |at| format!("0: 0100007F:{:04X} 0100007F:{peer:04X} 01 0:0 0:0 0 0 0 {at}\n", 40_000 + at);
            format!("head\n{}", (0..count).map(line).collect::<String>())
        };
        write(root, "net/tcp", &table(7, 9099));
        assert_eq!(told(&mut watched), "ports.narrowed 40000");
        write(root, "net/tcp", &table(8, 9099));
        assert_eq!(told(&mut watched), "ports.narrowed 40000, ports.exhausted 80");
        write(root, "net/tcp", &format!("{}{}", table(5, 9099), &table(5, 9098)[5..]));
        assert_eq!(told(&mut watched), "ports.narrowed 40000", "toward two destinations");
        write(root, "net/tcp", &table(10, 0));
        assert_eq!(told(&mut watched), "ports.narrowed 40000", "those listen");
    }
}
