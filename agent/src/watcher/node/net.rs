//! The network as the kernel counts it: protocols, sockets, queues, neighbours, tracked connections. It never reads
//! `/proc/net/tcp`: to make that file the kernel goes through its whole table, used or not, for milliseconds.

use super::files::{Files, whole};
use super::out::{Kind, Number, Out};
use std::collections::BTreeMap;
use std::io;

const TRACKED: [&str; 8] =
    ["drop", "early_drop", "found", "ignore", "insert", "insert_failed", "invalid", "search_restart"];
/// Says whether a counter of a protocol is among those that are told.
fn told(protocol: &str, counter: &str) -> bool {
    if matches!(counter, "InErrors" | "InErrs") {
        return true;
    }
    match protocol {
        "Ip" => counter == "Forwarding",
        "Ip6" | "IpExt" => matches!(counter, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(counter, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            counter.starts_with("Listen")
                || counter.starts_with("Syncookies")
                || matches!(counter, "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop")
        }
        "Tcp" => matches!(
            counter,
            "ActiveOpens" | "InSegs" | "OutSegs" | "OutRsts" | "PassiveOpens" | "RetransSegs" | "CurrEstab"
        ),
        "Udp" | "Udp6" => {
            matches!(counter, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors")
        }
        _ => false,
    }
}

fn put(out: &mut dyn Out, name: &mut String, protocol: &str, counter: &str, value: &str) {
    if !told(protocol, counter) {
        return;
    }
    name.clear();
    for part in ["node_netstat_", protocol, "_", counter] {
        name.push_str(part);
    }
    // Some of them are allowed to be negative.
    let number = whole(value).map_or_else(|| Number::Real(value.parse().unwrap_or(0.0)), Number::Whole);
    out.one(name, Kind::Untyped, "A counter of a network protocol.", number);
}

/// Two lines a protocol, names and values, in two files; one counter a line in the file of the newer protocols.
pub fn protocols(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let mut name = String::new();
    for path in ["proc/net/netstat", "proc/net/snmp"] {
        let text = files.read(path)?;
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let Some((protocol, names)) = names.split_once(':') else { continue };
            let values = values.split_ascii_whitespace().skip(1);
            for (counter, value) in names.split_ascii_whitespace().zip(values) {
                put(out, &mut name, protocol, counter, value);
            }
        }
    }
    // Not there without IPv6.
    let text = files.read("proc/net/snmp6").unwrap_or_default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some(at) = key.find('6') {
            put(out, &mut name, &key[..=at], &key[at + 1..], value);
        }
    }
    Ok(())
}

pub fn sockets(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let mut name = String::new();
    let page = rustix::param::page_size() as u64;
    for path in ["proc/net/sockstat", "proc/net/sockstat6"] {
        let Ok(text) = files.read(path) else { continue };
        for line in text.lines() {
            let Some((protocol, rest)) = line.split_once(':') else { continue };
            let mut words = rest.split_ascii_whitespace();
            while let (Some(key), Some(value)) = (words.next(), words.next().and_then(whole)) {
                name.clear();
                for part in ["node_sockstat_", protocol, "_", key] {
                    name.push_str(part);
                }
                let help = "Sockets, or pages of memory, of a protocol.";
                out.one(&name, Kind::Gauge, help, value.into());
                if key == "mem" {
                    name.push_str("_bytes");
                    out.one(&name, Kind::Gauge, "Memory of a protocol's sockets.", (value * page).into());
                }
            }
        }
    }
    Ok(())
}

/// One line a processor, in hexadecimal.
pub fn soft_interrupts(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/net/softnet_stat")?;
    for (column, name, help) in [
        (1, "node_softnet_dropped_total", "Packets dropped because the queue was full."),
        (0, "node_softnet_processed_total", "Packets that were processed."),
        (2, "node_softnet_times_squeezed_total", "Times that work was left over when the time was up."),
    ] {
        out.family(name, Kind::Counter, help);
        for (cpu, line) in text.lines().enumerate() {
            let word = line.split_ascii_whitespace().nth(column).unwrap_or_default();
            let value = u64::from_str_radix(word, 16).unwrap_or(0);
            out.sample(&[("cpu", &cpu.to_string())], value.into());
        }
    }
    Ok(())
}

pub fn udp_queues(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let mut sums = Vec::new();
    for (ip, path) in [("v4", "proc/net/udp"), ("v6", "proc/net/udp6")] {
        let Ok(text) = files.read(path) else { continue };
        let (mut received, mut sent) = (0, 0);
        for line in text.lines().skip(1) {
            let queues = line.split_ascii_whitespace().nth(4).and_then(|word| word.split_once(':'));
            let Some((tx, rx)) = queues else { continue };
            sent += u64::from_str_radix(tx, 16).unwrap_or(0);
            received += u64::from_str_radix(rx, 16).unwrap_or(0);
        }
        sums.push((ip, received, sent));
    }
    out.family("node_udp_queues", Kind::Gauge, "Bytes that wait in the queues of UDP.");
    for (ip, received, sent) in sums {
        out.sample(&[("ip", ip), ("queue", "rx")], received.into());
        out.sample(&[("ip", ip), ("queue", "tx")], sent.into());
    }
    Ok(())
}

pub fn neighbours(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/net/arp")?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for device in text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(5)) {
        *counts.entry(device).or_default() += 1;
    }
    out.family("node_arp_entries", Kind::Gauge, "Neighbours that are known, by device.");
    for (device, count) in counts {
        out.sample(&[("device", device)], count.into());
    }
    Ok(())
}

pub fn tracked(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let entries = files.number("proc/sys/net/netfilter/nf_conntrack_count")?;
    let limit = files.number("proc/sys/net/netfilter/nf_conntrack_max")?;
    out.one("node_nf_conntrack_entries", Kind::Gauge, "Connections that are tracked.", entries.into());
    out.one(
        "node_nf_conntrack_entries_limit",
        Kind::Gauge,
        "Most connections that can be tracked.",
        limit.into(),
    );
    let text = files.read("proc/net/stat/nf_conntrack")?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut sums = [0u64; TRACKED.len()];
    for line in lines {
        for (name, word) in names.iter().zip(line.split_ascii_whitespace()) {
            if let Some(at) = TRACKED.iter().position(|tracked| tracked == name) {
                sums[at] += u64::from_str_radix(word, 16).unwrap_or(0);
            }
        }
    }
    let mut name = String::new();
    for (key, sum) in TRACKED.into_iter().zip(sums) {
        name.clear();
        name.push_str("node_nf_conntrack_stat_");
        name.push_str(key);
        out.one(&name, Kind::Gauge, "Events of connection tracking.", sum.into());
    }
    Ok(())
}
