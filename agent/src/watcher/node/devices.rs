//! Network devices: what went through them, from `/proc/net/dev`, and how they are, from `/sys/class/net`.

use super::files::{Files, numbers, whole};
use super::out::{Kind, Number, Out};
use std::io;

const CLASS: &str = "sys/class/net";
/// Columns of `/proc/net/dev`, in order.
const COLUMNS: [&str; 16] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
];
/// Files of a device, by family.
const PROPERTIES: [(&str, &str, Kind); 16] = [
    ("address_assign_type", "addr_assign_type", Kind::Gauge),
    ("carrier", "carrier", Kind::Gauge),
    ("carrier_changes_total", "carrier_changes", Kind::Counter),
    ("carrier_down_changes_total", "carrier_down_count", Kind::Counter),
    ("carrier_up_changes_total", "carrier_up_count", Kind::Counter),
    ("device_id", "dev_id", Kind::Gauge),
    ("dormant", "dormant", Kind::Gauge),
    ("flags", "flags", Kind::Gauge),
    ("iface_id", "ifindex", Kind::Gauge),
    ("iface_link", "iflink", Kind::Gauge),
    ("iface_link_mode", "link_mode", Kind::Gauge),
    ("mtu_bytes", "mtu", Kind::Gauge),
    ("name_assign_type", "name_assign_type", Kind::Gauge),
    ("net_dev_group", "netdev_group", Kind::Gauge),
    ("protocol_type", "type", Kind::Gauge),
    ("transmit_queue_length", "tx_queue_len", Kind::Gauge),
];
const INFO: [(&str, &str); 5] = [
    ("address", "address"),
    ("broadcast", "broadcast"),
    ("duplex", "duplex"),
    ("ifalias", "ifalias"),
    ("operstate", "operstate"),
];
/// `/sys` gives the speed in megabits a second.
const BYTES_A_MEGABIT: f64 = 125_000.0;

pub fn traffic(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/net/dev")?;
    let mut devices: Vec<(String, Vec<u64>)> = Vec::new();
    for line in text.lines().skip(2) {
        let Some((device, counters)) = line.split_once(':') else { continue };
        devices.push((device.trim().to_owned(), numbers(counters, 0).collect()));
    }
    let mut name = String::new();
    for (column, what) in COLUMNS.iter().enumerate() {
        named(&mut name, what, "_total");
        out.family(&name, Kind::Counter, "What went through a network device.");
        for (device, counters) in &devices {
            if let Some(value) = counters.get(column) {
                out.sample(&[("device", device)], (*value).into());
            }
        }
    }
    if out.wants("node_network_receive_nohandler_total") {
        let help = "Packets for which there was no protocol.";
        out.family("node_network_receive_nohandler_total", Kind::Counter, help);
        for (device, _) in &devices {
            let value = files.value(at(&mut name, device, "statistics/rx_nohandler")).ok().and_then(whole);
            if let Some(value) = value {
                out.sample(&[("device", device)], value.into());
            }
        }
    }
    Ok(())
}

fn named(name: &mut String, what: &str, suffix: &str) {
    name.clear();
    for part in ["node_network_", what, suffix] {
        name.push_str(part);
    }
}

pub fn properties(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let names = files.list(CLASS)?;
    // `bonding_masters` lies there too and is no device.
    let devices: Vec<String> =
        names.into_iter().filter(|name| files.exists(&format!("{CLASS}/{name}/ifindex"))).collect();
    let (mut name, mut path) = (String::new(), String::new());
    let of = |path: &str| path.strip_prefix(CLASS)?.strip_prefix('/')?.split('/').next().map(str::to_owned);
    files.retain(|path| of(path).is_none_or(|device| devices.contains(&device)));
    for (what, file, kind) in PROPERTIES {
        named(&mut name, what, "");
        if !out.wants(&name) {
            continue;
        }
        out.family(&name, kind, "How a network device is.");
        for device in &devices {
            // Some can be read of a device that is up only.
            let value = files.value(at(&mut path, device, file)).ok().and_then(whole);
            if let Some(value) = value {
                out.sample(&[("device", device)], value.into());
            }
        }
    }
    let mut states = Vec::with_capacity(devices.len());
    out.family("node_network_info", Kind::Gauge, "What a network device says of itself; always 1.");
    for device in &devices {
        let values =
            INFO.map(|(_, file)| files.value(at(&mut path, device, file)).unwrap_or_default().to_owned());
        let [address, broadcast, duplex, ifalias, operstate] = &values;
        let labels = [
            ("address", address.as_str()),
            ("broadcast", broadcast),
            ("device", device),
            ("duplex", duplex),
            ("ifalias", ifalias),
            ("operstate", operstate),
        ];
        out.sample(&labels, 1u64.into());
        states.push(operstate == "up");
    }
    out.family("node_network_speed_bytes", Kind::Gauge, "Speed of a network device, in bytes a second.");
    for device in &devices {
        // It is -1 where the device does not know.
        let megabits = files.value(at(&mut path, device, "speed")).map(str::parse::<f64>);
        if let Ok(Ok(megabits)) = megabits {
            out.sample(&[("device", device)], Number::Real(megabits * BYTES_A_MEGABIT));
        }
    }
    out.family("node_network_up", Kind::Gauge, "Whether a network device is up.");
    for (device, up) in devices.iter().zip(states) {
        out.sample(&[("device", device)], up.into());
    }
    Ok(())
}

fn at<'a>(path: &'a mut String, device: &str, file: &str) -> &'a str {
    path.clear();
    for part in [CLASS, "/", device, "/", file] {
        path.push_str(part);
    }
    path
}
