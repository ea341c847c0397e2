//! Processes at large: children that ended and that their parent does not take leave of, processes that are stuck in
//! the kernel or were stopped by a signal, processes near their own limit of open files. The kernel tells nothing of these; all are gone through.

use super::{Context, Source, Work};
use crate::config::{Config, Tasks};
use crate::watcher::clock;
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Asleep, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::{Proc, Stat};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{Value, Word};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ZOMBIES: &str = "tasks.zombies";
const STUCK: &str = "tasks.stuck";
const STOPPED: &str = "tasks.stopped";
const DESCRIPTORS: &str = "tasks.descriptors";
/// A storm of zombies that a parent clears within this time is none.
const ZOMBIES_FOR: Duration = Duration::from_secs(10);
/// Open files are counted in every so many looks.
const COUNT_EVERY: u32 = 3;
/// A process with fewer open files than this is near no limit.
const OPEN_MIN: u64 = 50;
/// Parent of the kernel's own threads.
const KTHREADD: u32 = 2;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.tasks.clone();
    let wanted = *config.zombies > 0 || !config.stuck.0.is_zero() || *config.descriptors_percent > 0;
    let wanted = wanted || !config.stopped.0.is_zero();
    let source = Crowd { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Crowd {
    config: Tasks,
    afresh: Afresh,
}

impl Source for Crowd {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let watched = Watched::new(self.config, Proc::default());
            rounds::run(watched, Asleep, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    config: Tasks,
    proc: Proc,
    /// Since when a process waits in the kernel without having run in between, and how often it had run by then.
    stuck_ms: BTreeMap<(u32, u64), (u64, u64)>,
    /// Since when a process stands still because of a signal.
    stopped_ms: BTreeMap<(u32, u64), u64>,
    /// Who was near the limit when open files were counted last.
    near: Vec<(Stat, u64, u64)>,
    looks: u32,
    buffer: Vec<u8>,
}

impl Watched {
    fn new(config: Tasks, proc: Proc) -> Self {
        let (stuck_ms, stopped_ms, near) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { config, proc, stuck_ms, stopped_ms, near, looks: 0, buffer: Vec::new() }
    }

    /// Returns whom a fault of a process is about: its service, else its program.
    fn subject(&self, pid: u32) -> Option<Subject> {
        if let Some(unit) = self.proc.unit(pid).filter(|unit| unit.as_str() != "init.scope") {
            return Some(Subject::Unit(unit));
        }
        Word::new(self.proc.name(pid)).ok().map(Subject::Process)
    }

    fn take(&mut self, stats: &[Stat], now_ms: u64) -> Vec<Fault> {
        let mut faults = self.zombies(stats);
        faults.extend(self.stuck(stats, now_ms));
        faults.extend(self.stopped(stats, now_ms));
        if *self.config.descriptors_percent > 0 {
            if self.looks.is_multiple_of(COUNT_EVERY) {
                self.count(stats);
            }
            faults.extend(
                self.near.iter().filter_map(|(stat, open, limit)| self.near_fault(stat, *open, *limit)),
            );
        }
        self.looks = self.looks.wrapping_add(1);
        faults
    }

    fn zombies(&self, stats: &[Stat]) -> Vec<Fault> {
        if *self.config.zombies == 0 {
            return Vec::new();
        }
        let mut of_parent: BTreeMap<u32, u32> = BTreeMap::new();
        for stat in stats.iter().filter(|stat| stat.state == 'Z') {
            *of_parent.entry(stat.parent).or_default() += 1;
        }
        let many = of_parent.into_iter().filter(|(_, count)| *count >= *self.config.zombies);
        many.filter_map(|(parent, count)| self.zombies_fault(parent, count)).collect()
    }

    fn zombies_fault(&self, parent: u32, count: u32) -> Option<Fault> {
        let name = self.proc.name(parent);
        let text = format!("{name} (process {parent}) has {count} children that ended and waits for none");
        let mut fault =
            Fault::new(ZOMBIES, "process.zombies", self.subject(parent)?, Severity::Warning, text);
        self.proc.add(&mut fault, parent);
        if self.proc.by_hand(parent) {
            fault.field("by_hand", Value::Boolean(true));
        }
        fault.integer("count", count);
        Some(fault)
    }

    fn stuck(&mut self, stats: &[Stat], now_ms: u64) -> Vec<Fault> {
        if self.config.stuck.0.is_zero() {
            return Vec::new();
        }
        let before = std::mem::take(&mut self.stuck_ms);
        let waiting = stats.iter().filter(|s| s.state == 'D' && s.parent != KTHREADD && s.pid != KTHREADD);
        let mut faults = Vec::new();
        for stat in waiting {
            let key = (stat.pid, stat.start_ticks);
            // One that works with a slow disk is found waiting at every look too, but it runs in between.
            let ran = times_run(&self.proc.read(&format!("{}/status", stat.pid)).unwrap_or_default());
            let known = before.get(&key).filter(|(_, before)| *before == ran);
            let since_ms = known.map_or(now_ms, |(since_ms, _)| *since_ms);
            self.stuck_ms.insert(key, (since_ms, ran));
            if now_ms.saturating_sub(since_ms) >= self.config.stuck.ms() {
                faults.extend(self.stuck_fault(stat));
            }
        }
        faults
    }

    fn stuck_fault(&self, stat: &Stat) -> Option<Fault> {
        let name = self.proc.name(stat.pid);
        let for_s = self.config.stuck.0.as_secs();
        let text = format!("{name} (process {}) has waited in the kernel for more than {for_s} s", stat.pid);
        let mut fault = Fault::new(STUCK, "process.stuck", self.subject(stat.pid)?, Severity::Warning, text);
        self.proc.add(&mut fault, stat.pid);
        // Where in the kernel it waits; the name of a function of the kernel.
        if let Ok(place) = self.proc.read(&format!("{}/wchan", stat.pid)) {
            fault.word("waits_in", place.trim());
        }
        if let Ok(stack) = self.proc.read(&format!("{}/stack", stat.pid)) {
            fault.show("where it waits in the kernel", &stack);
        }
        Some(fault)
    }

    /// Processes of services that somebody stopped by a signal. A person may stop his own, and a debugger its.
    fn stopped(&mut self, stats: &[Stat], now_ms: u64) -> Vec<Fault> {
        if self.config.stopped.0.is_zero() {
            return Vec::new();
        }
        let before = std::mem::take(&mut self.stopped_ms);
        let mut faults = Vec::new();
        for stat in stats.iter().filter(|stat| stat.state == 'T') {
            let key = (stat.pid, stat.start_ticks);
            let since_ms = before.get(&key).copied().unwrap_or(now_ms);
            self.stopped_ms.insert(key, since_ms);
            if now_ms.saturating_sub(since_ms) >= self.config.stopped.ms() {
                faults.extend(self.stopped_fault(stat));
            }
        }
        faults
    }

    fn stopped_fault(&self, stat: &Stat) -> Option<Fault> {
        let unit = self.proc.unit(stat.pid).filter(|unit| unit.as_str().ends_with(".service"))?;
        let name = self.proc.name(stat.pid);
        let for_s = self.config.stopped.0.as_secs();
        let text = format!(
            "{name} (process {}) was stopped by a signal and has stood still for {for_s} s",
            stat.pid
        );
        let mut fault = Fault::new(STOPPED, "process.stopped", Subject::Unit(unit), Severity::Critical, text);
        self.proc.add(&mut fault, stat.pid);
        Some(fault)
    }

    fn count(&mut self, stats: &[Stat]) {
        let percent = u64::from(*self.config.descriptors_percent);
        let living = stats.iter().filter(|stat| stat.state != 'Z' && stat.parent != KTHREADD);
        let near = living.filter_map(|stat| {
            let open = open_files(&self.proc, stat.pid).filter(|open| *open >= OPEN_MIN)?;
            let limit = limit_of_files(&self.proc.read(&format!("{}/limits", stat.pid)).ok()?)?;
            (open * 100 >= limit * percent).then_some((*stat, open, limit))
        });
        self.near = near.collect();
    }

    fn near_fault(&self, stat: &Stat, open: u64, limit: u64) -> Option<Fault> {
        let name = self.proc.name(stat.pid);
        let text = format!("{name} (process {}) has {open} files open, at most {limit}", stat.pid);
        let subject = self.subject(stat.pid)?;
        let mut fault = Fault::new(DESCRIPTORS, "process.descriptors", subject, Severity::Warning, text);
        self.proc.add(&mut fault, stat.pid);
        if self.proc.by_hand(stat.pid) {
            fault.field("by_hand", Value::Boolean(true));
        }
        fault.integer("open", open);
        fault.integer("limit", limit);
        Some(fault)
    }
}

/// Returns how many files a process has open. Kernels from 6.2 on say it as the size of the folder.
pub(super) fn open_files(proc: &Proc, pid: u32) -> Option<u64> {
    let folder = proc.path(&format!("{pid}/fd"));
    match std::fs::metadata(&folder).ok()?.len() {
        0 => Some(std::fs::read_dir(folder).ok()?.count() as u64),
        open => Some(open),
    }
}

/// Returns how often a process had the processor.
fn times_run(status: &str) -> u64 {
    let counts = status.lines().filter_map(|line| line.split_once("_ctxt_switches:"));
    counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

/// Returns how many files a process may have open, by its `limits`.
pub(super) fn limit_of_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut buffer = std::mem::take(&mut self.buffer);
        let pids = self.proc.pids();
        let stats: Vec<Stat> = pids.iter().filter_map(|pid| self.proc.stat(*pid, &mut buffer)).collect();
        self.buffer = buffer;
        let mut seen = Seen::default();
        if stats.is_empty() {
            seen.blind.push("no process can be seen".into());
        }
        // Of several processes of one unit the first stands for all.
        let mut told: Vec<(Subject, sopwith_domain::ids::RuleId)> = Vec::new();
        for fault in self.take(&stats, clock::boot_ms()) {
            let key = (fault.subject.clone(), fault.rule.clone());
            if !told.contains(&key) {
                told.push(key);
                let tolerance = if fault.rule.as_str() == ZOMBIES { ZOMBIES_FOR } else { Duration::ZERO };
                seen.hold(fault, tolerance);
            }
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

    fn process(root: &Path, pid: u32, state: char, parent: u32, unit: &str, open: u64, limit: u64) {
        let folder = root.join(pid.to_string());
        fs::create_dir_all(folder.join("fd")).expect("made");
        let stat = format!("{pid} (x y) {state} {parent} 0 0 0 -1 0 0 0 0 0 0 0 0 0 0 20 1 0 {pid}0 0");
        fs::write(folder.join("stat"), stat).expect("written");
        fs::write(folder.join("comm"), "worker\n").expect("written");
        fs::write(folder.join("cgroup"), format!("0::/system.slice/{unit}\n")).expect("written");
        let limits =
            format!("Limit  Soft Limit Hard Limit Units\nMax open files            {limit}    4096  files\n");
        fs::write(folder.join("limits"), limits).expect("written");
        (0..open).for_each(|fd| fs::write(folder.join(format!("fd/{fd}")), "").expect("written"));
    }

    fn told(faults: &[Fault]) -> Vec<String> {
        let one = |fault: &Fault| {
            let field = |name: &str| {
                fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string())
            };
            let more = field("count").or(field("open")).unwrap_or_default();
            format!("{} {} {more}", fault.kind, fault.subject)
        };
        faults.iter().map(one).collect()
    }

    #[test]
    fn zombies_stuck_processes_and_open_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        process(root, 10, 'S', 1, "a.service", 0, 1024);
        process(root, 11, 'S', 1, "user.slice", 0, 1024);
        (100..152).for_each(|pid| process(root, pid, 'Z', 10, "a.service", 0, 1024));
        (200..249).for_each(|pid| process(root, pid, 'Z', 11, "user.slice", 0, 1024));
        // What the size of a folder says differs by file system; open files are counted below, in the real tree.
        let config = Tasks { descriptors_percent: crate::config::At::of(0), ..Tasks::default() };
        let mut watched = Watched::new(config, Proc::at(root));
        let seen = watched.look();
        assert_eq!(told(&[seen.holds[0].0.clone()]), ["process.zombies unit:a.service 52"]);
        assert_eq!(seen.holds.len(), 1, "49 are not enough");
        process(root, 249, 'Z', 11, "user.slice", 0, 1024);
        process(root, 300, 'D', 1, "b.service", 0, 1024);
        process(root, 301, 'D', 2, "", 0, 1024);
        let stats = |watched: &Watched| -> Vec<Stat> {
            let mut buffer = Vec::new();
            watched.proc.pids().iter().filter_map(|pid| watched.proc.stat(*pid, &mut buffer)).collect()
        };
        let all = stats(&watched);
        let first = watched.take(&all, 1_000);
        assert_eq!(told(&first), ["process.zombies unit:a.service 52", "process.zombies process:worker 50"]);
        assert_eq!(told(&watched.take(&all, 120_999)).len(), 2, "not so long yet");
        assert_eq!(told(&watched.take(&all, 121_000))[2], "process.stuck unit:b.service ");
        let status = "Name: x\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n";
        fs::write(root.join("300/status"), status).expect("written");
        assert_eq!(watched.take(&all, 121_500).len(), 2, "it ran in between");
        assert_eq!(watched.take(&all, 241_500).len(), 3);
        process(root, 300, 'S', 1, "b.service", 0, 1024);
        let all = stats(&watched);
        assert_eq!(watched.take(&all, 242_000).len(), 2);
        process(root, 300, 'D', 1, "b.service", 0, 1024);
        let all = stats(&watched);
        assert_eq!(watched.take(&all, 999_000).len(), 2, "it begins anew");
    }

    #[test]
    fn what_a_signal_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        process(root, 10, 'T', 1, "a.service", 0, 1024);
        process(root, 11, 'T', 1, "session-3.scope", 0, 1024);
        process(root, 12, 't', 1, "traced.service", 0, 1024);
        let mut watched = Watched::new(Tasks::default(), Proc::at(root));
        let mut course = Vec::new();
        for (state, at_s) in [('T', 0), ('T', 29), ('T', 30), ('S', 31), ('T', 32), ('T', 61), ('T', 62)] {
            process(root, 10, state, 1, "a.service", 0, 1024);
            let mut buffer = Vec::new();
            let stats: Vec<Stat> =
                watched.proc.pids().iter().filter_map(|pid| watched.proc.stat(*pid, &mut buffer)).collect();
            course.push(told(&watched.stopped(&stats, at_s * 1000)).join(","));
        }
        let is = "process.stopped unit:a.service ";
        assert_eq!(course, ["", "", is, "", "", "", is]);
    }

    #[test]
    fn limits_of_open_files() {
        assert_eq!(
            limit_of_files("Max processes 1 2 p\nMax open files            256     4096    files\n"),
            Some(256)
        );
        assert_eq!(limit_of_files("Max open files            unlimited  unlimited files\n"), None);
        assert_eq!(limit_of_files(""), None);
        let own = open_files(&Proc::default(), std::process::id()).expect("its own can be counted");
        assert!(own > 2, "{own}");
    }
}
