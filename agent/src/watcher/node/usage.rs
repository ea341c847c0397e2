//! What units and processes use: memory, processor time, numbers. Looked at every few seconds, more seldom the more
//! there is to look at, and kept until the next look. Of a unit its control group is believed where the kernel
//! accounts for it, else the sum of its processes.

use super::files::{Files, whole};
use super::kernel::seconds;
use super::out::{Kind, Out};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A look may take this part of a processor, and is not made more often than this.
const COST_PARTS: u32 = 400;
const LOOK_EVERY_MIN: Duration = Duration::from_secs(4);
/// Most units that are told of.
const UNITS_MAX: usize = 512;
/// Marks are kept of processes that take at least this share of a processor.
const BUSY_SHARE: f64 = 0.1;
/// Most marks of one process.
const MARKS_MAX: usize = 40;
/// Longest time for which nobody looks until what was seen is told no more.
const TOLD_MAX: Duration = Duration::from_secs(120);
/// Bit of a kernel's own thread in field 9 of `/proc/PID/stat`.
const KERNEL_THREAD: u64 = 0x0020_0000;

#[derive(Debug)]
struct Process {
    start_ticks: u64,
    ticks: u64,
    rss_pages: u64,
    private_bytes: u64,
    unit: Option<Arc<str>>,
    look: u64,
    marks: VecDeque<Mark>,
}

/// What a process had used at a look.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// In milliseconds of the look's clock.
    at_ms: u64,
    ticks: u64,
    /// For how long it had waited for a processor while it could run; of busy ones only.
    waited_ms: Option<u64>,
}

/// A unit as far as it uses something.
#[derive(Clone, Debug, Default)]
pub struct UnitUse {
    pub memory_bytes: u64,
    pub cpu_seconds: f64,
    pub processes: u64,
    look: u64,
}

/// A process that took much of a processor.
#[derive(Clone, PartialEq, Debug)]
pub struct Busy {
    pub pid: u32,
    pub start_ticks: u64,
    pub name: String,
    pub uid: u32,
    pub nice: i64,
    /// Share of one processor, on average over the time that was asked for.
    pub share: f64,
    /// Share of that time in which it could run and waited for a processor that others had.
    pub waits: f64,
    pub unit: Option<Arc<str>>,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub struct Usage {
    processes: BTreeMap<u32, Process>,
    /// By path of the control group.
    units: BTreeMap<Arc<str>, UnitUse>,
    states: BTreeMap<char, u64>,
    threads: u64,
    look: u64,
    looked: Option<Instant>,
    took: Duration,
    path: String,
}

/// What `/proc/PID/stat` says.
struct Stat<'a> {
    name: &'a str,
    state: char,
    flags: u64,
    ticks: u64,
    nice: i64,
    threads: u64,
    start_ticks: u64,
    rss_pages: u64,
}

impl<'a> Stat<'a> {
    fn of(text: &'a str) -> Option<Self> {
        // The name is the process's own choice, and may hold anything.
        let (name, rest) = (text.split_once('(')?.1).rsplit_once(')')?;
        let mut words = rest.split_ascii_whitespace();
        let state = words.next()?.chars().next()?;
        let words: Vec<&str> = words.collect();
        let number = |at: usize| words.get(at).and_then(|word| whole(word)).unwrap_or(0);
        Some(Self {
            name,
            state,
            flags: number(5),
            ticks: number(10) + number(11),
            nice: words.get(15)?.parse().ok()?,
            threads: number(16),
            start_ticks: number(18),
            rss_pages: number(20),
        })
    }
}

impl Usage {
    /// Looks, if the last look is long enough ago.
    ///
    /// # Errors
    /// The processes cannot be listed.
    pub fn look(&mut self, files: &mut Files, now_ms: u64, window: Duration) -> io::Result<bool> {
        let pause = LOOK_EVERY_MIN.max(self.took * COST_PARTS);
        if self.looked.is_some_and(|at| at.elapsed() < pause) {
            return Ok(false);
        }
        let (began, used) = (Instant::now(), processor_time());
        let pids: Vec<u32> = files.list("proc")?.iter().filter_map(|name| name.parse().ok()).collect();
        let first = self.looked.is_none();
        self.looked = Some(began);
        self.look += 1;
        self.states.clear();
        self.threads = 0;
        for pid in pids {
            self.process(files, pid, now_ms, window, first);
        }
        let look = self.look;
        self.processes.retain(|_, process| process.look == look);
        self.sum(files);
        // Not the time that passed: on a busy host that is the others' more than the look's.
        self.took = processor_time().saturating_sub(used);
        Ok(true)
    }

    fn process(&mut self, files: &mut Files, pid: u32, now_ms: u64, window: Duration, first: bool) {
        path(&mut self.path, &["proc/", &pid.to_string(), "/stat"]);
        // It may have ended since the list was made.
        let Ok(text) = files.read(&self.path) else { return };
        let Some(stat) = Stat::of(text) else { return };
        *self.states.entry(stat.state).or_default() += 1;
        self.threads += stat.threads;
        if stat.flags & KERNEL_THREAD != 0 {
            return;
        }
        let (start_ticks, ticks, rss_pages) = (stat.start_ticks, stat.ticks, stat.rss_pages);
        let known = self.processes.get(&pid).is_some_and(|process| process.start_ticks == start_ticks);
        if !known {
            let unit = unit_of(files, &mut self.path, pid);
            let fresh = Process {
                start_ticks,
                // Of a process that was there before us it is not known when it used what it has used.
                ticks: if first { ticks } else { 0 },
                rss_pages: u64::MAX,
                private_bytes: 0,
                unit,
                look: 0,
                marks: VecDeque::new(),
            };
            self.processes.insert(pid, fresh);
        }
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.look = self.look;
        if process.rss_pages != rss_pages {
            process.rss_pages = rss_pages;
            path(&mut self.path, &["proc/", &pid.to_string(), "/statm"]);
            process.private_bytes = files.read(&self.path).map_or(0, private);
        }
        let used = ticks.saturating_sub(process.ticks);
        process.ticks = ticks;
        if let Some(unit) = &process.unit {
            let unit = self.units.entry(Arc::clone(unit)).or_default();
            unit.cpu_seconds += seconds(used);
        }
        let busy = mark(&mut process.marks, now_ms, ticks, window);
        if busy && let Some(last) = process.marks.back_mut() {
            path(&mut self.path, &["proc/", &pid.to_string(), "/schedstat"]);
            last.waited_ms = files.read(&self.path).ok().and_then(waited);
        }
    }

    /// Sums up units, and asks their control groups.
    fn sum(&mut self, files: &mut Files) {
        for process in self.processes.values() {
            let Some(unit) = &process.unit else { continue };
            let Some(unit) = self.units.get_mut(unit) else { continue };
            if unit.look != self.look {
                (unit.look, unit.memory_bytes, unit.processes) = (self.look, 0, 0);
            }
            unit.memory_bytes += process.private_bytes;
            unit.processes += 1;
        }
        let look = self.look;
        self.units.retain(|_, unit| unit.look == look);
        while self.units.len() > UNITS_MAX {
            self.units.pop_last();
        }
        for (group, unit) in &mut self.units {
            if let Some(bytes) = group_memory(files, &mut self.path, group) {
                unit.memory_bytes = bytes;
            }
            if let Some(seconds) = group_cpu(files, &mut self.path, group) {
                unit.cpu_seconds = seconds;
            }
        }
    }

    /// Returns the units of the last look, by name, with the path of each one's control group.
    pub fn units(&self) -> impl Iterator<Item = (&str, &str, &UnitUse)> {
        self.units.iter().filter_map(|(group, unit)| Some((unit_name(group)?, &**group, unit)))
    }

    /// Returns the processes that took at least such a share of a processor over a time.
    pub fn busy(&self, files: &mut Files, share_min: f64, over: Duration) -> Vec<Busy> {
        let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        let mut found = Vec::new();
        for (pid, process) in &self.processes {
            let (Some(from), Some(to)) = (process.marks.front(), process.marks.back()) else { continue };
            // The first mark is the last one before the time began, as far as there is one.
            let passed_ms = to.at_ms.saturating_sub(from.at_ms);
            if passed_ms < over_ms - over_ms / 10 {
                continue;
            }
            let share = seconds(to.ticks - from.ticks) * 1000.0 / passed_ms as f64;
            let first_waited = process.marks.iter().find_map(|mark| mark.waited_ms);
            let waited_ms = to.waited_ms.zip(first_waited).map_or(0, |(to, from)| to.saturating_sub(from));
            let waits = waited_ms as f64 / passed_ms as f64;
            let stat = format!("proc/{pid}/stat");
            let Ok(text) = files.read(&stat) else { continue };
            let Some(told) = Stat::of(text).filter(|told| told.start_ticks == process.start_ticks) else {
                continue;
            };
            // Who wants a processor and gets half of one because others want it as well is as busy.
            if share + waits < share_min || matches!(told.state, 'Z' | 'X') {
                continue;
            }
            let (name, nice) = (told.name.to_owned(), told.nice);
            let owner = files.open(&format!("proc/{pid}")).and_then(|dir| Ok(rustix::fs::fstat(dir)?));
            let Ok(owner) = owner else { continue };
            let (start_ticks, unit) = (process.start_ticks, process.unit.clone());
            found.push(Busy { pid: *pid, start_ticks, name, uid: owner.st_uid, nice, share, waits, unit });
        }
        found
    }

    /// Writes what was seen, unless that is long ago.
    pub fn write(&self, out: &mut dyn Out) -> io::Result<()> {
        if self.looked.is_none_or(|at| at.elapsed() > TOLD_MAX + self.took * COST_PARTS) {
            return Ok(());
        }
        let mut names: BTreeMap<&str, UnitUse> = BTreeMap::new();
        for (name, _, unit) in self.units() {
            let sum = names.entry(name).or_default();
            sum.memory_bytes += unit.memory_bytes;
            sum.cpu_seconds += unit.cpu_seconds;
            sum.processes += unit.processes;
        }
        out.family("sopwith_unit_cpu_seconds_total", Kind::Counter, "Processor time that a unit has used.");
        for (unit, used) in &names {
            out.sample(&[("unit", unit)], used.cpu_seconds.into());
        }
        out.family("sopwith_unit_memory_bytes", Kind::Gauge, "Memory of a unit that no file stands behind.");
        for (unit, used) in &names {
            out.sample(&[("unit", unit)], used.memory_bytes.into());
        }
        out.family("sopwith_unit_processes", Kind::Gauge, "Processes of a unit.");
        for (unit, used) in &names {
            out.sample(&[("unit", unit)], used.processes.into());
        }
        Ok(())
    }

    /// Writes how many processes and threads there are, by the names of node_exporter.
    pub fn write_counts(&self, out: &mut dyn Out) -> io::Result<()> {
        if self.looked.is_none_or(|at| at.elapsed() > TOLD_MAX + self.took * COST_PARTS) {
            return Ok(());
        }
        let processes = self.states.values().sum::<u64>();
        out.one("node_processes_pids", Kind::Gauge, "Processes.", processes.into());
        out.family("node_processes_state", Kind::Gauge, "Processes, by state.");
        for (state, count) in &self.states {
            out.sample(&[("state", state.encode_utf8(&mut [0; 4]))], (*count).into());
        }
        out.one("node_processes_threads", Kind::Gauge, "Threads of all processes.", self.threads.into());
        Ok(())
    }
}

fn path<'a>(path: &'a mut String, parts: &[&str]) -> &'a str {
    path.clear();
    parts.iter().for_each(|part| path.push_str(part));
    path
}

/// Notes how much a process has used, as long as it is busy, and says whether it is; the first mark is the last one
/// before the window.
fn mark(marks: &mut VecDeque<Mark>, now_ms: u64, ticks: u64, window: Duration) -> bool {
    let busy = marks.back().is_some_and(|before| {
        let passed_ms = now_ms.saturating_sub(before.at_ms).max(1) as f64;
        seconds(ticks.saturating_sub(before.ticks)) * 1000.0 / passed_ms >= BUSY_SHARE
    });
    if !busy {
        marks.clear();
    }
    marks.push_back(Mark { at_ms: now_ms, ticks, waited_ms: None });
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    while marks.len() > MARKS_MAX || marks.get(1).is_some_and(|mark| mark.at_ms + window_ms <= now_ms) {
        marks.pop_front();
    }
    busy
}

/// Returns how long a process has waited for a processor: the second field of `/proc/PID/schedstat`, in nanoseconds.
fn waited(schedstat: &str) -> Option<u64> {
    whole(schedstat.split_ascii_whitespace().nth(1)?).map(|ns| ns / 1_000_000)
}

/// Returns the processor time that this thread has used.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Returns what no file stands behind, from `/proc/PID/statm`: resident pages less shared ones.
fn private(statm: &str) -> u64 {
    let mut pages = super::files::numbers(statm, 1);
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}

/// Returns the path of the control group that is a process's unit.
fn unit_of(files: &mut Files, buffer: &mut String, pid: u32) -> Option<Arc<str>> {
    let text = files.read(path(buffer, &["proc/", &pid.to_string(), "/cgroup"])).ok()?;
    let group = text.lines().find_map(|line| line.split_once(":name=systemd:")).map(|(_, group)| group);
    let group = group.or_else(|| text.lines().find_map(|line| line.strip_prefix("0::")))?;
    if group.contains("/../") || group.starts_with("/..") {
        return None;
    }
    let mut end = 0;
    for part in group.split('/').skip(1) {
        end += 1 + part.len();
        if is_unit(part) {
            return Some(group[..end].into());
        }
    }
    None
}

fn is_unit(part: &str) -> bool {
    part.ends_with(".service") || part.ends_with(".scope")
}

/// Returns the unit's name: the last part of its path.
pub(super) fn unit_name(group: &str) -> Option<&str> {
    group.rsplit('/').next()
}

fn group_memory(files: &mut Files, buffer: &mut String, group: &str) -> Option<u64> {
    for (root, key) in [("sys/fs/cgroup", "anon "), ("sys/fs/cgroup/memory", "total_rss ")] {
        if let Ok(text) = files.read(path(buffer, &[root, group, "/memory.stat"])) {
            return text.lines().find_map(|line| whole(line.strip_prefix(key)?));
        }
    }
    None
}

fn group_cpu(files: &mut Files, buffer: &mut String, group: &str) -> Option<f64> {
    for root in ["sys/fs/cgroup", "sys/fs/cgroup/unified"] {
        if let Ok(text) = files.read(path(buffer, &[root, group, "/cpu.stat"])) {
            let used = text.lines().find_map(|line| whole(line.strip_prefix("usage_usec ")?));
            return used.map(|microseconds| microseconds as f64 / 1e6);
        }
    }
    let used = files.number(path(buffer, &["sys/fs/cgroup/cpuacct", group, "/cpuacct.usage"])).ok();
    used.map(|nanoseconds| nanoseconds as f64 / 1e9)
}

/// Returns the most memory that a unit may have, if it is limited.
pub(super) fn group_limit(files: &mut Files, group: &str) -> Option<u64> {
    let mut buffer = String::new();
    for (root, file) in [("sys/fs/cgroup", "/memory.max"), ("sys/fs/cgroup/memory", "/memory.limit_in_bytes")]
    {
        if let Ok(text) = files.read(path(&mut buffer, &[root, group, file])) {
            // Without a limit it is a word, or the largest number of pages.
            return whole(text.trim()).filter(|bytes| *bytes < u64::MAX / 4);
        }
    }
    None
}

#[cfg(test)]
mod tests;
