//! What this system is: its names, its release, its clock.

use super::files::Files;
use super::out::{Kind, Out};
use rustix::time::{ClockId, clock_gettime};
use std::io;

const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// Labels of `node_os_info`, which are the keys in small letters.
const OS_LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

/// The dashboards find a host by this family.
pub fn uname(_: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let names = rustix::system::uname();
    let labels = [
        ("domainname", names.domainname()),
        ("machine", names.machine()),
        ("nodename", names.nodename()),
        ("release", names.release()),
        ("sysname", names.sysname()),
        ("version", names.version()),
    ];
    let labels = labels.map(|(label, text)| (label, text.to_string_lossy()));
    let labels: Vec<(&str, &str)> = labels.iter().map(|(label, text)| (*label, text.as_ref())).collect();
    out.family("node_uname_info", Kind::Gauge, "Names that the kernel gives for the system; always 1.");
    out.sample(&labels, 1u64.into());
    Ok(())
}

pub fn os(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let path = if files.exists(OS_RELEASE[0]) { OS_RELEASE[0] } else { OS_RELEASE[1] };
    let text = files.read(path)?;
    let value = |key: &str| {
        let of = |line: &'_ str| {
            let (name, value) = line.split_once('=')?;
            name.eq_ignore_ascii_case(key).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        text.lines().find_map(of).unwrap_or_default()
    };
    let values = OS_LABELS.map(value);
    let labels: Vec<(&str, &str)> = OS_LABELS.into_iter().zip(values.iter().map(String::as_str)).collect();
    out.family("node_os_info", Kind::Gauge, "What /etc/os-release says; always 1.");
    out.sample(&labels, 1u64.into());
    let version = &values[OS_LABELS.len() - 1];
    let major_minor: Vec<&str> = version.splitn(3, '.').take(2).collect();
    if let Ok(number) = major_minor.join(".").parse::<f64>() {
        let labels = [("id", values[1].as_str()), ("id_like", &values[2]), ("name", &values[5])];
        out.family("node_os_version", Kind::Gauge, "The first two parts of the system's version.");
        out.sample(&labels, number.into());
    }
    Ok(())
}

pub fn time(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let seconds = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9;
    out.one("node_time_seconds", Kind::Gauge, "The system's time, in seconds since 1970.", seconds.into());
    const SOURCES: &str = "sys/devices/system/clocksource";
    let mut read = Vec::new();
    for device in files.list(SOURCES).unwrap_or_default() {
        let Some(number) = device.strip_prefix("clocksource") else { continue };
        let mut of = |what: &str| {
            let text = files.read(&format!("{SOURCES}/{device}/{what}_clocksource")).unwrap_or_default();
            text.trim().to_owned()
        };
        read.push((number.to_owned(), of("available"), of("current")));
    }
    out.family(
        "node_time_clocksource_available_info",
        Kind::Gauge,
        "Clock sources that there are; always 1.",
    );
    for (device, available, _) in &read {
        for source in available.split_ascii_whitespace() {
            out.sample(&[("clocksource", source), ("device", device)], 1u64.into());
        }
    }
    out.family("node_time_clocksource_current_info", Kind::Gauge, "The clock source in use; always 1.");
    for (device, _, current) in &read {
        out.sample(&[("clocksource", current), ("device", device)], 1u64.into());
    }
    Ok(())
}

pub fn selinux(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let enabled = files.exists("sys/fs/selinux/enforce");
    out.one("node_selinux_enabled", Kind::Gauge, "Whether SELinux is in use.", enabled.into());
    Ok(())
}
