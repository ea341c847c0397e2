//! Interfaces, routes, the resolver, who listens, and how many connections stand in which state.

use super::super::processes;
use procfs::net::{RouteEntry, TcpState};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

/// Longest line of a configuration that is shown, in characters.
const LINE_MAX: usize = 160;
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
    let table = match procfs::net::route() {
        Ok(table) => table,
        Err(e) => return vec![format!("the routes cannot be read: {e}")],
    };
    let told = |route: &RouteEntry| {
        let to = match route.destination.is_unspecified() && route.mask.is_unspecified() {
            true => "default".to_owned(),
            false => format!("{}/{}", route.destination, u32::from(route.mask).count_ones()),
        };
        let via = match route.gateway.is_unspecified() {
            true => "directly".to_owned(),
            false => format!("via {}", route.gateway),
        };
        format!("route {to} {via} by {}", route.iface)
    };
    let mut all: Vec<String> = table.iter().take(most).map(told).collect();
    if !table.iter().any(|route| route.destination.is_unspecified() && route.mask.is_unspecified()) {
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
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut listening = BTreeMap::new();
    // A host without IPv6 has no table of it.
    for socket in [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten() {
        *counts.entry(format!("{:?}", socket.state)).or_default() += 1;
        if socket.state == TcpState::Listen {
            listening.insert(socket.inode, socket.local_address);
        }
    }
    let counts: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let mut out = vec![format!("connections: {}", counts.join(", "))];
    let owners = owners(&listening);
    let told = |(inode, address): (&u64, &SocketAddr)| {
        let by = owners.get(inode).map_or("nobody that can be seen", String::as_str);
        format!("listening: {address} by {by}")
    };
    out.extend(listening.iter().take(most).map(told));
    out
}

/// Returns who holds these sockets.
fn owners(sockets: &BTreeMap<u64, SocketAddr>) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for process in processes::all() {
        for descriptor in processes::descriptors(process.pid) {
            let target = descriptor.target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode.filter(|inode| sockets.contains_key(inode)) {
                let name = read(&format!("/proc/{}/comm", process.pid));
                found.insert(inode, format!("{} (pid {})", name.trim(), process.pid));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_with_its_holder() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = socket.local_addr().expect("has one").to_string();
        let all = sockets(usize::MAX);
        let own = format!("(pid {})", std::process::id());
        assert!(all.iter().any(|line| line.contains(&at) && line.contains(&own)), "{at} in {all:#?}");
        assert!(look(3).contains("interface "));
    }
}
