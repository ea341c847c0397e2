//! Which processes use most of something, and how scarce it is. Names only: a command line may hold a secret.

use super::bytes;
use rustix::fs::stat;
use sopwith_domain::action::LookBy;
use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long what is a rate is measured.
const MEASURED: Duration = Duration::from_millis(500);
/// Most processes that are looked at.
const PROCESSES_MAX: usize = 50_000;
/// Lines of /proc/meminfo that tell most.
const MEMORY: [&str; 8] =
    ["MemTotal:", "MemAvailable:", "SwapTotal:", "SwapFree:", "Shmem:", "Slab:", "PageTables:", "Dirty:"];

/// What is known of one process.
#[derive(Clone, Debug)]
struct Process {
    name: String,
    state: char,
    start_ticks: u64,
    cpu_ticks: u64,
    resident_pages: u64,
}

/// Returns the processes that use most, one a line, below how scarce the thing is.
pub fn most(by: LookBy, most: usize) -> Result<String, String> {
    let first = all();
    if first.is_empty() {
        return Err("no process can be seen".into());
    }
    let mut used: Vec<(u32, u64)> = match by {
        LookBy::Memory => first.iter().map(|(pid, p)| (*pid, p.resident_pages)).collect(),
        LookBy::Files => first.keys().map(|pid| (*pid, open_files(*pid))).collect(),
        LookBy::Cpu | LookBy::Io => rates(by, &first),
    };
    used.retain(|(_, amount)| *amount > 0);
    used.sort_by_key(|(pid, amount)| (std::cmp::Reverse(*amount), *pid));
    let mut out = scarce(by, &first);
    for (pid, amount) in used.into_iter().take(most) {
        let Some(process) = first.get(&pid) else { continue };
        out.push(format!(
            "{}  {} (pid {pid}, user {}, state {})",
            said(by, amount),
            process.name,
            user(pid),
            process.state
        ));
    }
    Ok(out.join("\n"))
}

fn all() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.take(PROCESSES_MAX).filter_map(|pid| Some((pid, process(pid)?))).collect()
}

fn process(pid: u32) -> Option<Process> {
    let stat = in_proc(pid)?.stat().ok()?;
    Some(Process {
        name: stat.comm,
        state: stat.state,
        cpu_ticks: stat.utime + stat.stime,
        start_ticks: stat.starttime,
        resident_pages: stat.rss,
    })
}

fn in_proc(pid: u32) -> Option<procfs::process::Process> {
    procfs::process::Process::new(i32::try_from(pid).ok()?).ok()
}

fn rates(by: LookBy, first: &BTreeMap<u32, Process>) -> Vec<(u32, u64)> {
    let count = |pid: u32, process: &Process| match by {
        LookBy::Io => disk_bytes(pid).unwrap_or(0),
        _ => process.cpu_ticks,
    };
    let before: BTreeMap<u32, u64> = first.iter().map(|(pid, p)| (*pid, count(*pid, p))).collect();
    let began = Instant::now();
    sleep(MEASURED);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = |pid: u32| {
        let now = process(pid)?;
        let same = first.get(&pid)?.start_ticks == now.start_ticks;
        let used = count(pid, &now).saturating_sub(*before.get(&pid)?);
        same.then_some((pid, used.saturating_mul(1000) / took_ms))
    };
    first.keys().filter_map(|pid| rate(*pid)).collect()
}

/// Bytes that went to and came from disks.
fn disk_bytes(pid: u32) -> Option<u64> {
    let io = in_proc(pid)?.io().ok()?;
    Some(io.read_bytes.saturating_add(io.write_bytes))
}

fn open_files(pid: u32) -> u64 {
    in_proc(pid).and_then(|process| process.fd_count().ok()).map_or(0, |count| count as u64)
}

fn user(pid: u32) -> String {
    stat(format!("/proc/{pid}")).map_or_else(|_| "?".into(), |seen| seen.st_uid.to_string())
}

fn said(by: LookBy, amount: u64) -> String {
    match by {
        LookBy::Memory => bytes(amount.saturating_mul(procfs::page_size())),
        LookBy::Cpu => format!("{} % of a core", amount * 100 / procfs::ticks_per_second().max(1)),
        LookBy::Io => format!("{}/s", bytes(amount)),
        LookBy::Files => format!("{amount} open"),
    }
}

fn scarce(by: LookBy, all: &BTreeMap<u32, Process>) -> Vec<String> {
    let mut out = Vec::new();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let pressure = |what: &str| {
        let text = read(&format!("/proc/pressure/{what}"));
        text.lines().map(|line| format!("pressure of {what}: {line}")).collect::<Vec<_>>()
    };
    match by {
        LookBy::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            out.push(format!("load {} on {cores} cores", read("/proc/loadavg").trim()));
            out.extend(pressure("cpu"));
        }
        LookBy::Memory => {
            let text = read("/proc/meminfo");
            let wanted = text.lines().filter(|line| MEMORY.iter().any(|name| line.starts_with(name)));
            out.extend(wanted.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
            out.extend(pressure("memory"));
        }
        LookBy::Io => {
            let waiting: Vec<&str> =
                all.values().filter(|p| p.state == 'D').map(|p| p.name.as_str()).take(10).collect();
            out.extend(pressure("io"));
            out.push(format!(
                "waiting for disks: {}",
                if waiting.is_empty() { "none".into() } else { waiting.join(", ") }
            ));
        }
        LookBy::Files => {
            out.push(format!("open on the host, free, at most: {}", read("/proc/sys/fs/file-nr").trim()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_those_that_hold_files_and_memory() {
        let own = std::process::id();
        assert!(open_files(own) > 0);
        assert!(process(own).expect("there").resident_pages > 0);
        for by in [LookBy::Memory, LookBy::Files, LookBy::Cpu, LookBy::Io] {
            let text = most(by, 3).expect("seen");
            assert!(
                text.lines().count() >= 1 && text.lines().filter(|l| l.contains("(pid ")).count() <= 3,
                "{text}"
            );
        }
    }
}
