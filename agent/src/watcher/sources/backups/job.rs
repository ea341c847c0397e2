//! Whether the job that makes a backup runs, and whether it gets on. Who holds its lock is asked of the kernel and
//! never found out by taking the lock: that would make a job fail that begins at the same moment.

use super::judge;
use crate::config::{At, Backup};
use crate::watcher::files;
use crate::watcher::report::{Fault, Tolerance};
use sopwith_domain::value::{AbsPath, ProcessRef, UnitName, Value};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most processes that are counted as one job.
const MEMBERS_MAX: usize = 512;
/// Share of a processor, in percent, from which work counts as getting on.
const WORK_PERCENT: u64 = 1;
/// What a process that was not there before must have read and written to count as getting on: a program that is
/// only loaded reads less.
const NEW_IO_BYTES: u64 = 64 * 1024;

/// How a job is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobState {
    Idle,
    GetsOn,
    Hung { since_s: u64, reason: &'static str },
}

impl JobState {
    pub fn gets_on(&self) -> bool {
        *self == Self::GetsOn
    }
    pub fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::GetsOn => "running",
            Self::Hung { .. } => "hung",
        }
    }
}

/// What a running job has done so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    pub holder: ProcessRef,
    /// How long the holder has been alive.
    pub age_ms: u64,
    /// Bytes read and written by each process, where that may be known.
    pub io: BTreeMap<u32, u64>,
    pub work_ms: u64,
    /// When the files that show progress were changed, and their sizes; empty where none are named.
    pub marks: Vec<Option<(i64, i64, u64)>>,
}

/// What is remembered between two samples.
#[derive(Clone, Debug)]
pub struct Tracked {
    last: Running,
    at_ms: u64,
    moved_ms: u64,
}

impl Tracked {
    /// Returns how long the job has run, in seconds.
    pub fn age_s(&self) -> i64 {
        i64::try_from(self.last.age_ms / 1000).unwrap_or(i64::MAX)
    }

    /// Says whether the job did anything since, or another one runs now.
    pub fn moved(&self, now: &Running, elapsed: std::time::Duration) -> bool {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.last.holder != now.holder || gets_on(&self.last, now, elapsed_ms)
    }
}

/// Takes a sample and says how the job is.
pub fn observe(
    tracked: &mut Option<Tracked>,
    sample: Option<Running>,
    backup: &Backup,
    now_ms: u64,
) -> JobState {
    let Some(now) = sample else {
        *tracked = None;
        return JobState::Idle;
    };
    let moved_ms = match tracked {
        Some(before) if before.last.holder == now.holder => {
            let moved = gets_on(&before.last, &now, now_ms.saturating_sub(before.at_ms));
            if moved { now_ms } else { before.moved_ms }
        }
        _ => now_ms,
    };
    let age_ms = now.age_ms;
    *tracked = Some(Tracked { last: now, at_ms: now_ms, moved_ms });
    let still_ms = now_ms.saturating_sub(moved_ms);
    let run_max_ms = backup.job.max_run.as_ref().map_or(backup.every.ms(), |max| max.ms());
    if still_ms >= backup.job.stalled_after.ms() {
        JobState::Hung { since_s: still_ms / 1000, reason: "stalled" }
    } else if age_ms > run_max_ms {
        JobState::Hung { since_s: age_ms / 1000, reason: "too-long" }
    } else {
        JobState::GetsOn
    }
}

fn gets_on(before: &Running, now: &Running, elapsed_ms: u64) -> bool {
    if !now.marks.is_empty() {
        return before.marks != now.marks;
    }
    let io = now.io.iter().any(|(pid, bytes)| match before.io.get(pid) {
        Some(earlier) => bytes > earlier,
        None => *bytes > NEW_IO_BYTES,
    });
    let worked_ms = now.work_ms.saturating_sub(before.work_ms);
    io || worked_ms > 0 && worked_ms * 100 >= elapsed_ms * WORK_PERCENT
}

/// Returns the fault of a hung job.
pub fn hung(backup: &Backup, state: &JobState, tracked: Option<&Tracked>) -> Option<(Fault, Tolerance)> {
    let (JobState::Hung { since_s, reason }, Some(tracked)) = (state, tracked) else { return None };
    let since = judge::hours(i64::try_from(*since_s).unwrap_or(i64::MAX));
    let text = match *reason {
        "stalled" => format!("its job has done nothing for {since}"),
        _ => format!("its job has run for {since}"),
    };
    let mut fault = judge::fault(backup, "hung", judge::subject(backup), *backup.severity, text);
    fault.word("reason", reason);
    fault.integer("since_s", *since_s);
    fault.field("process", Value::Process(tracked.last.holder));
    if let Some(lock) = &backup.job.lock {
        fault.field("lock", Value::Path((**lock).clone()));
    }
    Some((fault, Tolerance::NONE))
}

/// Says whether there is anything by which a running job could be told.
pub fn can_be_seen(backup: &Backup) -> bool {
    backup.job.lock.is_some() || backup.unit.is_some()
}

/// Looks for the job and at what it has done. Reads `/proc` only, and never waits for anything.
pub fn sample(backup: &Backup) -> Option<Running> {
    let of_unit = backup.unit.as_ref().map(|unit| unit_processes(unit)).unwrap_or_default();
    let holder = match &backup.job.lock {
        Some(lock) => lock_holder(lock, &of_unit)?,
        None => files::process(*of_unit.first()?)?,
    };
    running(holder, &of_unit, &backup.job.progress)
}

/// Returns what a process and those that belong to it have done.
pub fn running(holder: ProcessRef, of_unit: &[u32], progress: &[At<AbsPath>]) -> Option<Running> {
    let members = if of_unit.contains(&holder.pid) { of_unit.to_vec() } else { session_of(holder.pid) };
    let ticks_ms = 1000 / procfs::ticks_per_second().max(1);
    let mut found = Running { holder, age_ms: 0, io: BTreeMap::new(), work_ms: 0, marks: Vec::new() };
    for pid in members.into_iter().take(MEMBERS_MAX) {
        let Ok(process) = procfs::process::Process::new(i32::try_from(pid).ok()?) else { continue };
        if let Ok(stat) = process.stat() {
            let reaped = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
            found.work_ms += (stat.utime + stat.stime + reaped) * ticks_ms;
        }
        // Of another user's process this may be forbidden; then its work must show that it gets on.
        if let Ok(io) = process.io() {
            found.io.insert(pid, io.rchar.saturating_add(io.wchar));
        }
    }
    found.age_ms = crate::watcher::clock::boot_ms().saturating_sub(holder.start_ticks * ticks_ms);
    found.marks = progress.iter().map(|path| mark(path.path())).collect();
    Some(found)
}

fn mark(path: &Path) -> Option<(i64, i64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

/// Returns the processes of a unit, by its control group.
fn unit_processes(unit: &UnitName) -> Vec<u32> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let texts = places.iter().filter_map(|place| {
        std::fs::read_to_string(format!("{place}/system.slice/{unit}/cgroup.procs")).ok()
    });
    let mut found = texts
        .map(|text| text.lines().filter_map(|l| l.parse().ok()).filter(|p| *p > 0).collect::<Vec<u32>>());
    found.find(|pids| !pids.is_empty()).unwrap_or_default()
}

/// Returns who holds a lock: by the kernel's list, by who has the file open under a lock, or by the number in it.
fn lock_holder(lock: &At<AbsPath>, of_unit: &[u32]) -> Option<ProcessRef> {
    let metadata = std::fs::metadata(lock.path()).ok()?;
    let listed = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let by_list = listed_holders(&listed, &metadata).into_iter().find_map(files::process);
    by_list
        // Who took it may have ended and left it to its children: then the kernel's list does not show it.
        .or_else(|| of_unit.iter().copied().find(|pid| holds_open(*pid, &metadata)).and_then(files::process))
        .or_else(|| everybody().find(|pid| holds_open(*pid, &metadata)).and_then(files::process))
        .or_else(|| named_holder(lock.path(), &metadata))
}

/// Returns the processes that hold a lock on a file, by the text of `/proc/locks`.
fn listed_holders(text: &str, metadata: &std::fs::Metadata) -> Vec<u32> {
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let holders = text.lines().filter(|line| !line.contains("->")).filter_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let pid = words.next()?.parse::<u32>().ok()?;
        (words.next()? == wanted && pid > 0).then_some(pid)
    });
    holders.collect()
}

fn everybody() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Says whether a process has a file open and a lock on it.
fn holds_open(pid: u32, metadata: &std::fs::Metadata) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let same = std::fs::metadata(entry.path())
            .is_ok_and(|of| (of.dev(), of.ino()) == (metadata.dev(), metadata.ino()));
        let number = entry.file_name();
        same && std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy()))
            .is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
    })
}

/// Returns the living process whose number stands in the file, if it is older than the file: a number that was used
/// again is another process.
fn named_holder(path: &Path, metadata: &std::fs::Metadata) -> Option<ProcessRef> {
    let process = files::named_process(path)?;
    let ticks_ms = 1000 / procfs::ticks_per_second().max(1);
    let age_ms = crate::watcher::clock::boot_ms().saturating_sub(process.start_ticks * ticks_ms);
    let now_ms = crate::watcher::clock::now().0;
    let started_ms = now_ms - i64::try_from(age_ms).unwrap_or(i64::MAX);
    (started_ms <= (metadata.mtime() + 2).saturating_mul(1000)).then_some(process)
}

/// Returns the processes of the session that a process is in.
fn session_of(pid: u32) -> Vec<u32> {
    let session = |pid: u32| {
        let stat = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
        Some(stat.session)
    };
    match session(pid) {
        Some(wanted) if wanted > 0 => everybody().filter(|other| session(*other) == Some(wanted)).collect(),
        _ => vec![pid],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn backup(lock: &Path) -> Backup {
        let text = format!(
            "backups:\n- {{name: b, every: 1h, files: {{directory: /b, pattern: '*'}}, job: {{lock: {}, stalled_after: 60s}}}}\n",
            lock.display()
        );
        Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).backups.remove(0)
    }

    fn running_job(io: &[(u32, u64)], work_ms: u64, mark: Option<i64>) -> Running {
        Running {
            holder: ProcessRef { pid: 7, start_ticks: 1 },
            age_ms: 1000,
            io: io.iter().copied().collect(),
            work_ms,
            marks: mark.map(|at| Some((at, 0, 0))).into_iter().collect(),
        }
    }

    #[test]
    fn a_job_hangs_when_nothing_moves_for_too_long() {
        let same = running_job(&[(7, 100)], 10, None);
        for (name, next, hung) in [
            ("nothing", same.clone(), true),
            ("it wrote", running_job(&[(7, 101)], 10, None), false),
            ("it worked", running_job(&[(7, 100)], 10 + 700, None), false),
            ("it worked hardly", running_job(&[(7, 100)], 10 + 20, None), true),
            ("a new child that was only loaded", running_job(&[(7, 100), (8, 4000)], 10, None), true),
            ("a new child that copies", running_job(&[(7, 100), (8, 400_000)], 10, None), false),
            ("a child ended", running_job(&[], 10, None), true),
            (
                "another holder",
                Running { holder: ProcessRef { pid: 7, start_ticks: 2 }, ..same.clone() },
                false,
            ),
            ("too long", Running { age_ms: 3_600_001, ..running_job(&[(7, 101)], 10, None) }, true),
        ] {
            let backup = backup(Path::new("/lock"));
            let mut tracked = None;
            assert_eq!(observe(&mut tracked, Some(same.clone()), &backup, 1000), JobState::GetsOn, "{name}");
            let state = observe(&mut tracked, Some(next), &backup, 61_000);
            assert_eq!(matches!(state, JobState::Hung { .. }), hung, "{name}: {state:?}");
            assert_eq!(super::hung(&backup, &state, tracked.as_ref()).is_some(), hung, "{name}");
            assert_eq!(observe(&mut tracked, None, &backup, 62_000), JobState::Idle, "{name}");
        }
    }

    #[test]
    fn files_that_are_named_decide_alone() {
        let backup = backup(Path::new("/lock"));
        for (mark, hung) in [(1, true), (2, false)] {
            let mut tracked = None;
            observe(&mut tracked, Some(running_job(&[(7, 1)], 1, Some(1))), &backup, 0);
            let state =
                observe(&mut tracked, Some(running_job(&[(7, 9999)], 9999, Some(mark))), &backup, 60_000);
            assert_eq!(matches!(state, JobState::Hung { .. }), hung, "{mark}");
        }
    }

    #[test]
    fn the_holder_of_a_lock_is_found_however_it_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join("job.lock");
        assert_eq!(sample(&backup(&lock)), None, "there is no such file");
        std::fs::write(&lock, "").expect("written");
        assert_eq!(sample(&backup(&lock)), None, "nobody holds it");
        let me = std::process::id();
        let file = std::fs::File::open(&lock).expect("opened");
        assert_eq!(sample(&backup(&lock)), None, "open is not locked");
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("locked");
        assert_eq!(sample(&backup(&lock)).map(|r| r.holder.pid), Some(me));
        drop(file);
        std::fs::write(&lock, format!("{me}\n")).expect("written");
        assert_eq!(sample(&backup(&lock)).map(|r| r.holder.pid), Some(me), "by its number");
        std::fs::write(&lock, "4194304\n").expect("written");
        assert_eq!(sample(&backup(&lock)), None, "a number of nobody");
    }

    #[test]
    fn a_lock_left_to_a_child_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join("job.lock");
        // As shell scripts do it: flock takes the lock on a descriptor of the shell and ends.
        let script = format!("exec 9>'{}'; flock -n 9; exec sleep 1000", lock.display());
        let mut child = std::process::Command::new("sh").args(["-c", &script]).spawn().expect("started");
        let found = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            sample(&backup(&lock))
        });
        child.kill().expect("ended");
        child.wait().expect("reaped");
        assert_eq!(found.map(|r| r.holder.pid), Some(child.id()));
        assert_eq!(sample(&backup(&lock)), None);
    }

    #[test]
    fn the_kernels_list_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = std::fs::metadata(folder.path()).expect("metadata");
        let place = format!(
            "{:02x}:{:02x}:{}",
            rustix::fs::major(metadata.dev()),
            rustix::fs::minor(metadata.dev()),
            metadata.ino()
        );
        let text = format!(
            "1: FLOCK  ADVISORY  WRITE 77 {place} 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 88 {place} 0 EOF\n2: POSIX  ADVISORY  WRITE 99 00:01:1 0 EOF\nnonsense\n"
        );
        assert_eq!(listed_holders(&text, &metadata), [77]);
    }
}
