//! Looks at files for facts about a fault: whether a configuration differs from its known-good copy, whether a
//! pidfile names a living process, when something was written. Bounded, and in a thread of its own with a deadline,
//! because a file system may hang.

use super::report::Fault;
use crate::config::ConfigFile;
use sopwith_domain::value::{AbsPath, ProcessRef, UnitName, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Longest configuration file that is compared, in bytes.
const COMPARED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest pidfile, in bytes.
const PIDFILE_BYTES_MAX: u64 = 64;
/// Longest time of a look at files.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

/// Looks in a thread of its own; nothing if the file system does not answer in time.
pub async fn look<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(LOOK_TIME_MAX, tokio::task::spawn_blocking(look)).await.ok()?.ok()
}

/// Returns the first file that differs from its known-good copy. A copy that is not there proves nothing.
pub fn drifted(files: &[ConfigFile]) -> Option<&ConfigFile> {
    files.iter().find(|file| {
        let (Some(known_good), now) = (read(file.known_good.path()), read(file.path.path())) else {
            return false;
        };
        match now {
            Some(now) => now != known_good,
            None => !file.path.path().exists(),
        }
    })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(COMPARED_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= COMPARED_BYTES_MAX).then_some(bytes)
}

/// Adds what is known of drift.
pub fn add_drift(fault: &mut Fault, drifted: Option<&ConfigFile>) {
    if let Some(file) = drifted {
        fault.field("config_path", Value::Path((*file.path).clone()));
        fault.field("known_good", Value::Path((*file.known_good).clone()));
        fault.field("config_drifted", Value::Boolean(true));
    }
}

/// Returns the process that a pidfile names, if it is alive.
pub fn named_process(pidfile: &Path) -> Option<ProcessRef> {
    let mut text = String::new();
    File::open(pidfile).ok()?.take(PIDFILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    process(text.split_whitespace().next()?.parse().ok()?)
}

/// Returns a process for certain, if there is one of this number.
pub fn process(pid: u32) -> Option<ProcessRef> {
    let stat = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    // A zombie is no living process.
    (stat.state != 'Z' && stat.state != 'X').then_some(ProcessRef { pid, start_ticks: stat.starttime })
}

/// Says whether a pidfile is there and names no living process of the unit.
pub fn pidfile_stale(pidfile: &AbsPath, unit: &UnitName) -> bool {
    let path = Path::new(pidfile.as_str());
    path.is_file() && !named_process(path).is_some_and(|process| in_unit(process.pid, unit))
}

fn in_unit(pid: u32, unit: &UnitName) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| line.split('/').any(|part| part == unit.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;
    use sopwith_domain::signal::{Severity, Subject};

    fn abs(path: &Path) -> At<AbsPath> {
        At::of(AbsPath::new(path.to_string_lossy().into_owned()).expect("a path"))
    }

    #[test]
    fn drift_is_seen_where_there_is_a_known_good_copy() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, copy) = (folder.path().join("a.conf"), folder.path().join("copy"));
        let files = [ConfigFile { path: abs(&path), known_good: abs(&copy) }];
        for (now, good, seen) in [
            (None, None, false),
            (Some("a"), None, false),
            (None, Some("a"), true),
            (Some("a"), Some("a"), false),
            (Some("b"), Some("a"), true),
            (Some(""), Some("a"), true),
        ] {
            for (file, text) in [(&path, now), (&copy, good)] {
                let _ = std::fs::remove_file(file);
                text.inspect(|text| std::fs::write(file, text).expect("written"));
            }
            assert_eq!(drifted(&files).is_some(), seen, "{now:?} {good:?}");
        }
        let mut fault = Fault::new("r", "x.y", Subject::Host, Severity::Warning, "");
        add_drift(&mut fault, drifted(&files));
        assert_eq!(fault.fields.len(), 3);
    }

    #[test]
    fn a_pidfile_is_stale_unless_it_names_a_living_process_of_the_unit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pid");
        let pidfile = AbsPath::new(path.to_string_lossy().into_owned()).expect("a path");
        let unit = UnitName::new("no-such-unit.service").expect("a unit");
        assert!(!pidfile_stale(&pidfile, &unit), "it is not there");
        for text in ["4194304\n", "not a number", "", &std::process::id().to_string()] {
            std::fs::write(&path, text).expect("written");
            assert!(pidfile_stale(&pidfile, &unit), "{text:?}");
        }
        assert_eq!(named_process(&path).map(|p| p.pid), Some(std::process::id()));
    }
}
