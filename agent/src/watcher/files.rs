//! Looks at files for facts about a fault: whether a configuration differs from its known-good copy, whether a
//! pidfile names a living process, when something was written. Bounded, and in a thread of its own with a deadline,
//! because a file system may hang.

use super::report::Fault;
use crate::config::ConfigFile;
use sopwith_domain::value::{AbsPath, ProcessRef, UnitName, Value};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

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

/// Adds the first file that fewer may read than its known-good copy, since after the service began to run well: one that
/// gives up root does not start with it. That a copy is kept under other rights means nothing by itself.
pub fn add_closed(fault: &mut Fault, files: &[ConfigFile], ran_well: Option<SystemTime>) {
    let since = ran_well.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let Some(since_s) = since.and_then(|since| i64::try_from(since.as_secs()).ok()) else { return };
    let closed = files.iter().find_map(|file| {
        let now = std::fs::metadata(file.path.path()).ok()?;
        let good = std::fs::metadata(file.known_good.path()).ok()?;
        let taken = good.mode() & !now.mode() & 0o444 != 0;
        let given = now.mode() & 0o004 == 0 && (now.uid(), now.gid()) != (good.uid(), good.gid());
        (now.ctime() >= since_s && (taken || given)).then_some((file, good))
    });
    if let Some((file, good)) = closed {
        fault.field("closed_path", Value::Path((*file.path).clone()));
        fault.field("closed_copy", Value::Path((*file.known_good).clone()));
        fault.word("set_mode", &format!("{:04o}", good.mode() & 0o7777));
        let name = |list: &str, id: u32| name_of(&std::fs::read_to_string(list).unwrap_or_default(), id);
        if let (Some(owner), Some(group)) = (name("/etc/passwd", good.uid()), name("/etc/group", good.gid()))
        {
            fault.word("set_owner", &owner);
            fault.word("set_group", &group);
        }
    }
}

/// Returns the name of a number in `/etc/passwd` or `/etc/group`.
pub fn name_of(list: &str, id: u32) -> Option<String> {
    list.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
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
    fn a_file_that_fewer_may_read_than_its_copy_is_seen() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (path, copy) = (folder.path().join("a.conf"), folder.path().join("copy"));
        let files = [ConfigFile { path: abs(&path), known_good: abs(&copy) }];
        [&path, &copy].into_iter().for_each(|file| std::fs::write(file, "x").expect("written"));
        for (now, good, set_mode) in [
            (0o644, 0o644, None),
            (0o600, 0o644, Some("0644")),
            (0o640, 0o644, Some("0644")),
            (0o666, 0o644, None),
            (0o640, 0o640, None),
            (0o755, 0o644, None),
        ] {
            for (file, mode) in [(&path, now), (&copy, good)] {
                std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("set");
            }
            let mut fault = Fault::new("a.b", "x.y", Subject::Host, Severity::Warning, "");
            add_closed(&mut fault, &files, None);
            add_closed(&mut fault, &files, Some(SystemTime::now() + Duration::from_secs(60)));
            assert!(fault.fields.is_empty(), "it was so before, or nothing is known");
            add_closed(&mut fault, &files, Some(SystemTime::UNIX_EPOCH));
            let told =
                fault.fields.iter().find(|(name, _)| name.as_str() == "set_mode").map(|(_, v)| v.to_string());
            assert_eq!(told.as_deref(), set_mode, "{now:o} {good:o}");
        }
        assert_eq!(name_of("root:x:0:\nadm:x:4:syslog\n", 4).as_deref(), Some("adm"));
        assert_eq!(name_of("root:x:0:\n", 5), None);
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
