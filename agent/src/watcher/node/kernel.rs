//! What the kernel counts of itself: processors, load, memory, paging, pressure, descriptors, entropy.

use super::files::{Files, numbers, whole};
use super::out::{Kind, Number, Out};
use std::io;

/// Modes of a processor in the order of `/proc/stat`; those of guests follow.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const PSI: [(&str, &str, &str, &str); 6] = [
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Time in seconds that processes waited for a processor.",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Time in seconds that no process went on for want of I/O.",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Time in seconds that processes waited for I/O.",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Time in seconds that no process went on for want of memory.",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Time in seconds that processes waited for memory.",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Time in seconds that no process went on because of interrupts.",
    ),
];
const PAGING: [&str; 7] = ["oom_kill", "pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout"];

/// Seconds of so many ticks of the processor's accounts.
pub(super) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Reads `/proc/stat`, which tells of processors and of the kernel's work.
pub fn stat(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/stat")?;
    let cpus = || text.lines().filter_map(|line| line.strip_prefix("cpu").filter(|l| !l.starts_with(' ')));
    let guests = ("node_cpu_guest_seconds_total", "Time in seconds that a processor spent in guests.");
    for ((name, help), modes, skip) in [
        (guests, &GUEST_MODES[..], MODES.len()),
        (("node_cpu_seconds_total", "Time in seconds that a processor spent in a mode."), &MODES[..], 0),
    ] {
        out.family(name, Kind::Counter, help);
        for line in cpus() {
            let cpu = line.split(' ').next().unwrap_or_default();
            for (mode, ticks) in modes.iter().zip(numbers(line, skip + 1)) {
                out.sample(&[("cpu", cpu), ("mode", mode)], seconds(ticks).into());
            }
        }
    }
    for (key, name, kind, help) in [
        (
            "btime",
            "node_boot_time_seconds",
            Kind::Gauge,
            "When the machine was started, in seconds since 1970.",
        ),
        ("ctxt", "node_context_switches_total", Kind::Counter, "Context switches."),
        ("processes", "node_forks_total", Kind::Counter, "Forks."),
        ("intr", "node_intr_total", Kind::Counter, "Interrupts that were served."),
        ("procs_blocked", "node_procs_blocked", Kind::Gauge, "Processes that wait for I/O."),
        ("procs_running", "node_procs_running", Kind::Gauge, "Processes that run or could run."),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        if let Some(value) = line.and_then(|line| whole(line.split(' ').next()?)) {
            out.one(name, kind, help, value.into());
        }
    }
    Ok(())
}

pub fn load(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/loadavg")?;
    let mut words = text.split(' ').map(|word| word.parse::<f64>().unwrap_or(0.0));
    for (name, help) in [
        ("node_load1", "Load, averaged over a minute."),
        ("node_load5", "Load, averaged over 5 minutes."),
        ("node_load15", "Load, averaged over 15 minutes."),
    ] {
        out.one(name, Kind::Gauge, help, words.next().unwrap_or(0.0).into());
    }
    Ok(())
}

/// Every line of `/proc/meminfo` is a family.
pub fn memory(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/meminfo")?;
    let (mut name, mut help) = (String::new(), String::new());
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(whole) else { continue };
        let kilobytes = words.next() == Some("kB");
        name.clear();
        name.push_str("node_memory_");
        // `Active(anon)` is told as `Active_anon`.
        name.extend(key.chars().filter(|c| *c != ')').map(|c| if c == '(' { '_' } else { c }));
        if kilobytes {
            name.push_str("_bytes");
        }
        help.clear();
        help.push_str("Of /proc/meminfo: ");
        help.push_str(key);
        let value = if kilobytes { value.saturating_mul(1024) } else { value };
        out.one(&name, Kind::Gauge, &help, value.into());
    }
    Ok(())
}

pub fn paging(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/vmstat")?;
    let mut name = String::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        if PAGING.contains(&key) {
            name.clear();
            name.push_str("node_vmstat_");
            name.push_str(key);
            out.one(&name, Kind::Untyped, "Of /proc/vmstat.", whole(value).unwrap_or(0).into());
        }
    }
    Ok(())
}

pub fn pressure(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let mut there = false;
    for (resource, line, name, help) in PSI {
        let Ok(text) = files.read(match resource {
            "cpu" => "proc/pressure/cpu",
            "io" => "proc/pressure/io",
            "memory" => "proc/pressure/memory",
            _ => "proc/pressure/irq",
        }) else {
            continue;
        };
        let told = text.lines().find(|told| told.starts_with(line));
        let total =
            told.and_then(|told| told.rsplit_once("total=")).and_then(|(_, total)| whole(total.trim()));
        if let Some(microseconds) = total {
            there = true;
            out.one(name, Kind::Counter, help, Number::Real(microseconds as f64 / 1e6));
        }
    }
    if there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

pub fn descriptors(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let text = files.read("proc/sys/fs/file-nr")?;
    let mut words = text.split_ascii_whitespace().map(|word| word.parse::<f64>().unwrap_or(0.0));
    let (allocated, maximum) = (words.next().unwrap_or(0.0), words.nth(1).unwrap_or(0.0));
    out.one("node_filefd_allocated", Kind::Gauge, "File descriptors in use.", allocated.into());
    out.one("node_filefd_maximum", Kind::Gauge, "Most file descriptors that may be in use.", maximum.into());
    Ok(())
}

pub fn entropy(files: &mut Files, out: &mut dyn Out) -> io::Result<()> {
    let available = files.number("proc/sys/kernel/random/entropy_avail")?;
    let size = files.number("proc/sys/kernel/random/poolsize")?;
    out.one("node_entropy_available_bits", Kind::Gauge, "Bits of entropy that are there.", available.into());
    out.one("node_entropy_pool_size_bits", Kind::Gauge, "Bits that the pool of entropy holds.", size.into());
    Ok(())
}
