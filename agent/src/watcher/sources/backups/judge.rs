//! Whether backups are as they should be: pure, time is an argument. What is found out is in [`Found`]; what is wrong
//! with it comes back as faults.

use super::job::JobState;
use crate::config::{Backup, FileSet};
use crate::watcher::report::{Fault, Tolerance};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, Value, Word};

/// Fewest sizes before the newest that make a history.
const HISTORY_MIN: usize = 3;
/// Most of them that count.
pub const HISTORY_MAX: usize = 14;

/// One backup that is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copy {
    /// What it is called where it lies.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub at_s: i64,
    /// How much it holds, where that is known.
    pub bytes: Option<u64>,
    /// Whether the program that made it says that it is not whole.
    pub failed: bool,
}

/// A lock of a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    pub holder: String,
    pub age_s: i64,
    /// Whether who took it is known to be gone, or has not renewed it.
    pub stale: bool,
}

/// What was found of one backup; copies in any order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    pub copies: Vec<Copy>,
    pub locks: Vec<Lock>,
    /// Sizes of earlier ones that the program no longer knows, oldest first.
    pub sizes_before: Vec<u64>,
    /// Why there is nothing, where it is known.
    pub nothing_because: Option<&'static str>,
}

impl Found {
    /// Returns the newest whole one.
    pub fn newest(&self) -> Option<&Copy> {
        self.copies.iter().filter(|c| !c.failed).max_by_key(|c| c.at_s)
    }
}

/// Begins a fault of a backup.
pub fn fault(backup: &Backup, what: &str, subject: Subject, severity: Severity, text: String) -> Fault {
    let name = &*backup.name;
    let rule = format!("backups.{name}.{what}");
    let mut fault =
        Fault::new(&rule, &format!("backup.{what}"), subject, severity, format!("backup {name}: {text}"));
    fault.field("backup", Value::Word(name.clone()));
    if let Some(unit) = &backup.unit {
        fault.field("unit", Value::Unit((**unit).clone()));
    }
    if !backup.job.command.is_empty() {
        fault.field("command_of", Value::Word(name.clone()));
    }
    if backup.drill.is_some() {
        fault.field("drill_of", Value::Word(name.clone()));
    }
    if let Some(files) = &backup.files {
        fault.field("directory", Value::Path((*files.directory).clone()));
        fault.field("pattern", Value::Glob((*files.pattern).clone()));
    }
    if let Some(stanza) = backup.pgbackrest.as_ref().map(|p| &p.stanza) {
        fault.field("stanza", Value::Word((**stanza).clone()));
    }
    let repository =
        [backup.restic.as_ref().map(|r| &r.repository), backup.borg.as_ref().map(|b| &b.repository)];
    if let Some(repository) = repository.into_iter().flatten().next()
        && let Ok(path) = AbsPath::new(repository.as_str())
    {
        fault.field("repository", Value::Path(path));
    }
    fault
}

pub fn subject(backup: &Backup) -> Subject {
    Subject::Check((*backup.name).clone())
}

/// Returns what is wrong with age, size and number.
pub fn judge(backup: &Backup, found: &Found, job: &JobState, now_s: i64) -> Vec<(Fault, Tolerance)> {
    let faults = [
        missing(backup, found, job, now_s),
        size(backup, found),
        count(backup, found, job),
        incomplete(backup, found),
        locked(backup, found),
    ];
    faults.into_iter().flatten().map(|fault| (fault, Tolerance::NONE)).collect()
}

/// None is young enough, and none is being made at the moment. While the job hangs that is the fault, and why there is
/// no young one.
fn missing(backup: &Backup, found: &Found, job: &JobState, now_s: i64) -> Option<Fault> {
    let age_max_s = i64::try_from(backup.age_max().as_secs()).unwrap_or(i64::MAX);
    let newest = found.newest();
    let age_s = newest.map(|copy| now_s - copy.at_s);
    let running = job.gets_on() || found.locks.iter().any(|lock| !lock.stale);
    let hangs = matches!(job, JobState::Hung { .. });
    if age_s.is_some_and(|age| age <= age_max_s) || running || hangs {
        return None;
    }
    let text = match (age_s, found.nothing_because) {
        (Some(age), _) => {
            format!("the newest is {} old, at most {} is allowed", hours(age), hours(age_max_s))
        }
        (None, Some(because)) => format!("there is none: {because}"),
        (None, None) => "there is none".into(),
    };
    let mut fault = fault(backup, "missing", subject(backup), *backup.severity, text);
    fault.integer("age_max_s", age_max_s);
    fault.integer("count", found.copies.len());
    if let (Some(age), Some(newest)) = (age_s, newest) {
        fault.integer("age_s", age);
        name_copy(&mut fault, "newest", backup.files.as_ref(), &newest.id);
    }
    fault.word("job", job.word());
    Some(fault)
}

/// Adds the name of a copy: a path for a file, else a word.
pub fn name_copy(fault: &mut Fault, field: &str, files: Option<&FileSet>, id: &str) {
    match files.and_then(|files| AbsPath::new(format!("{}/{id}", files.directory.as_str())).ok()) {
        Some(path) => fault.field(field, Value::Path(path)),
        None => fault.field(field, Value::Word(word(id))),
    }
}

/// The newest is much smaller or bigger than those before it.
fn size(backup: &Backup, found: &Found) -> Option<Fault> {
    let newest = found.newest()?;
    let bytes = newest.bytes?;
    let (min, shrink, grow) = (backup.size.min.0, *backup.size.shrink_percent, *backup.size.grow_percent);
    let usual = median(&before(found, newest));
    let percent = |share: u32| usual.map_or(0, |usual| u128::from(usual) * u128::from(share) / 100);
    let (reason, limit) = if bytes < min {
        ("too-small", u128::from(min))
    } else if shrink < 100 && u128::from(bytes) < percent(100 - shrink) {
        ("shrunk", percent(100 - shrink))
    } else if grow > 0 && usual.is_some() && u128::from(bytes) > percent(100 + grow) {
        ("grown", percent(100 + grow))
    } else {
        return None;
    };
    let usual_text = usual.map_or_else(String::new, |usual| format!(", usually {usual}"));
    let text = format!("the newest has {bytes} bytes{usual_text}: {reason}");
    let mut fault = fault(backup, "size", subject(backup), Severity::Warning, text);
    fault.word("reason", reason);
    fault.integer("bytes", bytes);
    fault.integer("limit_bytes", limit);
    if let Some(usual) = usual {
        fault.integer("usual_bytes", usual);
    }
    name_copy(&mut fault, "newest", backup.files.as_ref(), &newest.id);
    Some(fault)
}

/// Returns the sizes before the newest, the latest ones.
fn before(found: &Found, newest: &Copy) -> Vec<u64> {
    let mut others: Vec<_> = found.copies.iter().filter(|c| !c.failed && c.id != newest.id).collect();
    others.sort_by_key(|c| c.at_s);
    let known: Vec<u64> = others.iter().filter_map(|c| c.bytes).collect();
    let known = if known.is_empty() { &found.sizes_before } else { &known };
    known[known.len().saturating_sub(HISTORY_MAX)..].to_vec()
}

fn median(sizes: &[u64]) -> Option<u64> {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    (sorted.len() >= HISTORY_MIN).then(|| sorted[sorted.len() / 2])
}

/// There are fewer or more than there are to be. While one is made, or where the newest is not shown to be good,
/// nobody should take others away, so that is said too.
fn count(backup: &Backup, found: &Found, job: &JobState) -> Option<Fault> {
    let count = found.copies.iter().filter(|c| !c.failed).count() as u64;
    let (min, max) =
        (backup.keep.min.as_ref().map(|m| u64::from(**m)), backup.keep.max.as_ref().map(|m| u64::from(**m)));
    let (reason, limit) = match (min, max) {
        // That there is none at all is said by itself.
        (Some(min), _) if (1..min).contains(&count) => ("too-few", min),
        (_, Some(max)) if count > max => ("too-many", max),
        _ => return None,
    };
    // A backup that is just being made is one more or the first of its kind.
    if job.gets_on() {
        return None;
    }
    let text = format!(
        "there are {count}, {} {limit} are to be kept",
        if reason == "too-few" { "at least" } else { "at most" }
    );
    let mut fault = fault(backup, "retention", subject(backup), Severity::Warning, text);
    fault.word("reason", reason);
    fault.integer("count", count);
    fault.integer("keep", limit);
    Some(fault)
}

/// The program that made the newest says itself that it is not whole.
fn incomplete(backup: &Backup, found: &Found) -> Option<Fault> {
    let newest = found.copies.iter().max_by_key(|c| c.at_s).filter(|c| c.failed)?;
    let text = format!("the newest, {}, was made with errors", newest.id);
    let mut fault = fault(backup, "incomplete", subject(backup), *backup.severity, text);
    name_copy(&mut fault, "newest", backup.files.as_ref(), &newest.id);
    Some(fault)
}

/// A lock whose owner is gone keeps the next backup from being made.
fn locked(backup: &Backup, found: &Found) -> Option<Fault> {
    let lock = found.locks.iter().filter(|lock| lock.stale).max_by_key(|lock| lock.age_s)?;
    let text = format!("its repository is locked by {}, who is gone, for {}", lock.holder, hours(lock.age_s));
    let mut fault = fault(backup, "locked", subject(backup), Severity::Warning, text);
    fault.word("holder", &lock.holder);
    fault.integer("age_s", lock.age_s);
    Some(fault)
}

/// Returns a length of time for people.
pub fn hours(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Makes a word of a text where it is none.
pub fn word(text: &str) -> Word {
    let kept: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.:@/+-".contains(c) { c } else { '_' })
        .take(128)
        .collect();
    Word::new(kept.trim_start_matches('-')).unwrap_or_else(|_| Word::new("unknown").expect("a word"))
}

#[cfg(test)]
mod tests;
