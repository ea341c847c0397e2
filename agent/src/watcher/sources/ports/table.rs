//! The kernel's tables of sockets, `/proc/net/tcp` and its kin, and whose sockets they are.

use crate::watcher::tasks::{Proc, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// States as the tables number them.
pub const LISTEN: u8 = 0x0a;
const UDP_UNCONNECTED: u8 = 0x07;

/// One socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    pub ip: IpAddr,
    pub port: u16,
    pub peer: IpAddr,
    pub peer_port: u16,
    pub state: u8,
    /// Connections that wait to be taken, of a listener.
    pub waiting: u32,
    pub inode: u64,
}

/// Reads one table, line by line.
pub fn sockets(text: &str) -> impl Iterator<Item = Socket> {
    text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (ip, port) = address(fields.next()?)?;
        let (peer, peer_port) = address(fields.next()?)?;
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let waiting = u32::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok()?;
        let inode = fields.nth(4)?.parse().ok()?;
        Some(Socket { ip, port, peer, peer_port, state, waiting, inode })
    })
}

fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each group of eight digits is a number in the machine's own order of bytes.
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port))
}

/// Returns the sockets that listen: TCP, or UDP ones that belong to nobody in particular.
pub fn listeners(proc: &Proc, udp: bool) -> Result<Vec<Socket>, String> {
    let (names, state) = match udp {
        false => (["net/tcp", "net/tcp6"], LISTEN),
        true => (["net/udp", "net/udp6"], UDP_UNCONNECTED),
    };
    let mut all = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        match proc.read(name) {
            Ok(text) => all.extend(sockets(&text).filter(|socket| socket.state == state)),
            // A host may have no IPv6.
            Err(e) if at == 0 => return Err(e),
            Err(_) => {}
        }
    }
    Ok(all)
}

/// Whose sockets there are, remembered: to find an owner all descriptors of all processes are gone through.
#[derive(Debug, Default)]
pub struct Owners(BTreeMap<u64, Vec<Stat>>);

impl Owners {
    /// Finds the owners of these sockets, and forgets all others.
    pub fn find(&mut self, proc: &Proc, inodes: &BTreeSet<u64>) {
        let mut buffer = Vec::new();
        let mut alive = |stat: &Stat| {
            proc.stat(stat.pid, &mut buffer).is_some_and(|now| now.start_ticks == stat.start_ticks)
        };
        self.0.retain(|inode, owners| inodes.contains(inode) && owners.iter().any(&mut alive));
        let unknown: BTreeSet<u64> = inodes.iter().filter(|i| !self.0.contains_key(i)).copied().collect();
        if unknown.is_empty() {
            return;
        }
        for pid in proc.pids() {
            for inode in held(proc, pid).filter(|inode| unknown.contains(inode)) {
                if let Some(stat) = proc.stat(pid, &mut buffer) {
                    let owners = self.0.entry(inode).or_default();
                    if owners.last() != Some(&stat) {
                        owners.push(stat);
                    }
                }
            }
        }
    }

    /// Returns the processes that hold a socket, as far as they can be seen.
    pub fn of(&self, inode: u64) -> &[Stat] {
        self.0.get(&inode).map_or(&[], Vec::as_slice)
    }
}

fn held(proc: &Proc, pid: u32) -> impl Iterator<Item = u64> {
    let open = std::fs::read_dir(proc.path(&format!("{pid}/fd"))).into_iter().flatten().flatten();
    open.filter_map(|entry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tables() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F91 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 4711 1 0 100 0\n   \
            1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4712 1\n\
            broken line\n";
        let told: Vec<_> = sockets(text)
            .map(|s| format!("{}:{} {} {} {}", s.ip, s.port, s.state == LISTEN, s.waiting, s.inode))
            .collect();
        assert_eq!(told, ["127.0.0.1:8081 true 3 4711", "127.0.0.1:80 true 0 4712"]);
    }

    #[test]
    fn the_kernel_lists_a_listener_and_its_owner() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let proc = Proc::default();
        let found = listeners(&proc, false).expect("the table can be read");
        let found = found.iter().find(|socket| socket.port == port).expect("it listens");
        let mut owners = Owners::default();
        owners.find(&proc, &BTreeSet::from([found.inode]));
        assert_eq!(owners.of(found.inode).first().map(|stat| stat.pid), Some(std::process::id()));
        owners.find(&proc, &BTreeSet::new());
        assert!(owners.of(found.inode).is_empty(), "what is not asked for is forgotten");
    }
}
