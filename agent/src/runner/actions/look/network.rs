//! Interfaces, routes, the resolver, who listens, and how many connections stand in which state.

use super::super::processes;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest line of a configuration that is shown, in characters.
const LINE_MAX: usize = 160;
/// Names of the kernel's states of a connection, by number.
const STATES: [&str; 12] = [
    "?",
    "established",
    "syn-sent",
    "syn-received",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "close",
    "close-wait",
    "last-ack",
    "listening",
    "closing",
];
const LISTENING: usize = 10;

pub fn look(most: usize) -> String {
    let mut out = interfaces(most);
    out.extend(routes(most));
    out.extend(resolver(most));
    out.extend(sockets(most));
    out.join("\n")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn interfaces(most: usize) -> Vec<String> {
    let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let told = |name: &String| {
        let of = |what: &str| read(&format!("/sys/class/net/{name}/{what}")).trim().to_owned();
        let count = |what: &str| of(&format!("statistics/{what}"));
        format!(
            "interface {name}: {}, mtu {}, errors {}/{}, dropped {}/{} (in/out)",
            of("operstate"),
            of("mtu"),
            count("rx_errors"),
            count("tx_errors"),
            count("rx_dropped"),
            count("tx_dropped")
        )
    };
    names.iter().take(most).map(told).collect()
}

fn routes(most: usize) -> Vec<String> {
    let table = read("/proc/net/route");
    let told = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ip = |index: usize| {
            u32::from_str_radix(fields.get(index)?, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()))
        };
        let (to, via, mask) = (ip(1)?, ip(2)?, ip(7)?);
        let to = if to.is_unspecified() && mask.is_unspecified() {
            "default".to_owned()
        } else {
            format!("{to}/{}", u32::from(mask).count_ones())
        };
        let via = if via.is_unspecified() { "directly".to_owned() } else { format!("via {via}") };
        Some(format!("route {to} {via} by {}", fields.first()?))
    };
    let mut all: Vec<String> = table.lines().skip(1).filter_map(told).take(most).collect();
    if !all.iter().any(|route| route.starts_with("route default")) {
        all.push("there is no default route for IPv4".into());
    }
    all
}

fn resolver(most: usize) -> Vec<String> {
    let text = read("/etc/resolv.conf");
    let counts = |line: &&str| ["nameserver", "search", "options"].iter().any(|word| line.starts_with(word));
    let told = |line: &str| format!("resolver: {}", line.chars().take(LINE_MAX).collect::<String>());
    let all: Vec<String> = text.lines().filter(counts).take(most).map(told).collect();
    if all.is_empty() { vec!["the resolver names no server".into()] } else { all }
}

fn sockets(most: usize) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut listening = BTreeMap::new();
    for file in ["tcp", "tcp6"] {
        for line in read(&format!("/proc/net/{file}")).lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let state = usize::from_str_radix(state, 16).ok().filter(|n| *n < STATES.len()).unwrap_or(0);
            *counts.entry(STATES[state]).or_default() += 1;
            if state == LISTENING
                && let Some(address) = address(local)
            {
                listening.insert((*inode).to_owned(), address);
            }
        }
    }
    let counts: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let mut out = vec![format!("connections: {}", counts.join(", "))];
    let owners = owners(&listening);
    let told = |(inode, address): (&String, &String)| {
        let by = owners.get(inode).map_or_else(|| "nobody that can be seen".to_owned(), Clone::clone);
        format!("listening: {address} by {by}")
    };
    out.extend(listening.iter().take(most).map(told));
    out
}

/// Returns who holds these sockets.
fn owners(sockets: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for process in processes::all() {
        for descriptor in processes::descriptors(process.pid) {
            let target = descriptor.target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if let Some(inode) = inode.filter(|inode| sockets.contains_key(*inode)) {
                let name = read(&format!("/proc/{}/comm", process.pid));
                found.insert(inode.to_owned(), format!("{} (pid {})", name.trim(), process.pid));
            }
        }
    }
    found
}

/// Reads `0100007F:1F90` or the longer form of IPv6: words of four bytes in this machine's order.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(host.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match host.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()
        }
        _ => return None,
    };
    Some(std::net::SocketAddr::new(ip, port).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_a_listening_socket_is_found_with_its_holder() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
            assert_eq!(address("00000000000000000000000001000000:0050").as_deref(), Some("[::1]:80"));
        }
        assert_eq!(address("xx"), None);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = socket.local_addr().expect("has one").to_string();
        let all = sockets(usize::MAX);
        let own = format!("(pid {})", std::process::id());
        assert!(all.iter().any(|line| line.contains(&at) && line.contains(&own)), "{at} in {all:#?}");
        assert!(look(3).contains("interface "));
    }
}
