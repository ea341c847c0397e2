//! Where the space has gone: files that may be taken away, live logs that may be emptied, deleted files that a process
//! still holds, and the biggest files, for people. Every walk is bounded in files and in time, and follows no link.

use super::caches;
use super::mounts::{self, Usage};
use super::walk::{self, Folder, walk};
use crate::config::{CORES, CORES_PATTERN, LiveLogs, Mount};
use crate::watcher::files;
use crate::watcher::glob::fits;
use crate::watcher::report::Fault;
use sopwith_domain::value::{AbsPath, Glob, ProcessRef, Value};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How many core dumps of each program are kept.
const CORES_KEPT: usize = 2;
/// Biggest files that are named to people.
const NAMED: usize = 10;
/// Share of a file system from which a deleted file that is held counts, in percent.
const HELD_PERCENT: u64 = 20;

/// Adds to a fault what is known of the space on its mount. `state` is where the agent keeps its own: there nothing is
/// freed by moving it to quarantine.
pub(super) fn explain(fault: &mut Fault, mount: &AbsPath, told: Option<&Mount>, usage: &Usage, state: &Path) {
    let top = &mounts::seen_at(mount);
    let Ok(device) = fs::metadata(top).map(|m| m.dev()) else { return };
    if fs::metadata(state).is_ok_and(|m| m.dev() == device) {
        fault.field("holds_agent", Value::Boolean(true));
    }
    add_reclaim(fault, told, device);
    let (mut caches, mut biggest) = (caches::Biggest::of(top, usage), Vec::<(u64, PathBuf)>::new());
    walk(top, device, |folder| {
        caches.take(folder);
        name_biggest(folder, &mut biggest);
    });
    let named = |fault: &Fault| fault.fields.keys().any(|name| name.as_str() == "reclaim_directory");
    if let Some(cache) = caches.best.filter(|_| !named(fault)) {
        cache.add(fault);
    }
    if let Some(logs) = told.and_then(|m| m.logs.as_ref())
        && let Some((path, _)) = biggest_log(logs)
    {
        fault.field("log_path", Value::Path(path));
        fault.field("log_unit", Value::Unit((*logs.unit).clone()));
    }
    if let Some(held) = biggest_held(device).filter(|h| h.bytes * 100 >= usage.total_bytes * HELD_PERCENT) {
        fault.show(
            "deleted but still open",
            &format!("{} ({} MiB), by process {}", held.path, held.bytes >> 20, held.process.pid),
        );
        held.add(fault);
    }
    let biggest: Vec<_> = biggest
        .into_iter()
        .map(|(bytes, path)| format!("{:>9} KiB  {}", bytes >> 10, mounts::called(&path).display()))
        .collect();
    fault.show("biggest files", &biggest.join("\n"));
}

fn add_reclaim(fault: &mut Fault, told: Option<&Mount>, device: u64) {
    let mut add = |directory: &AbsPath, pattern: &Glob, keep: usize| {
        fault.field("reclaim_directory", Value::Path(directory.clone()));
        fault.field("reclaim_pattern", Value::Glob(pattern.clone()));
        fault.integer("reclaim_keep", keep);
    };
    if let Some(reclaim) = told.and_then(|m| m.reclaim.as_ref()) {
        let keep = *reclaim.keep_newest as usize;
        if matching(reclaim.directory.path(), &reclaim.pattern).len() > keep {
            add(&reclaim.directory, &reclaim.pattern, keep);
        }
        return;
    }
    let on_this_device = fs::metadata(CORES).is_ok_and(|m| m.dev() == device);
    let (Ok(directory), Ok(pattern)) = (AbsPath::new(CORES), Glob::new(CORES_PATTERN)) else { return };
    if on_this_device && too_many_cores(&matching(Path::new(CORES), &pattern)) {
        add(&directory, &pattern, CORES_KEPT);
    }
}

/// Says whether there are more dumps of any one program than are kept: `core.PROGRAM.…`.
fn too_many_cores(found: &[(String, Metadata)]) -> bool {
    let mut of_program: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in found {
        *of_program.entry(name.split('.').nth(1).unwrap_or_default()).or_default() += 1;
    }
    of_program.values().any(|count| *count > CORES_KEPT)
}

/// Returns the plain files of a folder whose names fit.
fn matching(folder: &Path, pattern: &Glob) -> Vec<(String, Metadata)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(walk::ENTRIES_MAX);
    let found = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let metadata = entry.metadata().ok()?;
        (metadata.is_file() && fits(pattern.as_str(), &name)).then_some((name, metadata))
    });
    found.collect()
}

fn biggest_log(logs: &LiveLogs) -> Option<(AbsPath, u64)> {
    let found = matching(logs.directory.path(), &logs.pattern);
    let (name, metadata) = found.into_iter().max_by_key(|(_, m)| m.blocks())?;
    let path = AbsPath::new(format!("{}/{name}", logs.directory.as_str().trim_end_matches('/'))).ok()?;
    (metadata.blocks() > 0).then_some((path, metadata.blocks() * 512))
}

/// A deleted file that a process has open.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    process: ProcessRef,
    path: AbsPath,
    inode: u64,
    bytes: u64,
    for_writing: bool,
}

impl Held {
    fn add(&self, fault: &mut Fault) {
        fault.field("held_process", Value::Process(self.process));
        fault.field("held_path", Value::Path(self.path.clone()));
        fault.integer("held_inode", self.inode);
        fault.integer("held_bytes", self.bytes);
        if self.for_writing && looks_like_a_log(&self.path) {
            fault.field("held_log", Value::Boolean(true));
        }
    }
}

fn looks_like_a_log(path: &AbsPath) -> bool {
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    let numbered =
        name.rsplit_once('.').filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let name = numbered.map_or(name, |(before, _)| before);
    name.ends_with(".log") || name.ends_with(".out") && numbered.is_none()
}

/// Returns the biggest deleted file of a device that is still open.
fn biggest_held(device: u64) -> Option<Held> {
    let until = Instant::now() + walk::TIME_MAX;
    let mut biggest: Option<Held> = None;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // Where the agent may not look, another may hold something; that it is not seen is all that can be said.
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        for fd in open.flatten() {
            let Ok(metadata) = fs::metadata(fd.path()) else { continue };
            let bytes = metadata.blocks() * 512;
            if metadata.dev() != device || metadata.nlink() > 0 || !metadata.is_file() {
                continue;
            }
            if biggest.as_ref().is_none_or(|b| b.bytes < bytes) {
                biggest = held(pid, &entry.path(), &fd.path(), &metadata).or(biggest);
            }
        }
        if Instant::now() > until {
            break;
        }
    }
    biggest
}

fn held(pid: u32, process: &Path, fd: &Path, metadata: &Metadata) -> Option<Held> {
    let link = fs::read_link(fd).ok()?;
    let path = link.to_str()?.strip_suffix(" (deleted)")?;
    let info = fs::read_to_string(process.join("fdinfo").join(fd.file_name()?)).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0);
    Some(Held {
        process: files::process(pid)?,
        path: AbsPath::new(path).ok()?,
        inode: metadata.ino(),
        bytes: metadata.blocks() * 512,
        // O_WRONLY or O_RDWR.
        for_writing: flags & 0o3 != 0,
    })
}

/// Adds the biggest files of a folder to the biggest so far.
fn name_biggest(folder: &Folder, biggest: &mut Vec<(u64, PathBuf)>) {
    for (name, bytes) in &folder.files {
        if biggest.len() < NAMED || biggest.last().is_some_and(|(least, _)| least < bytes) {
            biggest.push((*bytes, folder.path.join(name)));
            biggest.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            biggest.truncate(NAMED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, Reclaim};
    use sopwith_domain::signal::{Severity, Subject};
    use sopwith_domain::value::UnitName;

    fn fault() -> Fault {
        Fault::new("r", "x.y", Subject::Host, Severity::Warning, "")
    }

    #[test]
    fn logs_by_their_names() {
        for (path, is) in [
            ("/a/x.log", true),
            ("/a/x.log.12", true),
            ("/a/nohup.out", true),
            ("/a/x.out.1", false),
            ("/a/x.db", false),
            ("/a/x.log.gz", false),
            ("/a/log", false),
        ] {
            assert_eq!(looks_like_a_log(&AbsPath::new(path).expect("a path")), is, "{path}");
        }
    }

    #[test]
    fn reclaim_is_offered_only_where_something_is_to_be_had() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = AbsPath::new(folder.path().to_string_lossy().into_owned()).expect("a path");
        let mut told = Mount {
            reclaim: Some(Reclaim {
                directory: At::of(directory.clone()),
                pattern: At::of(Glob::new("*.log.*").expect("a pattern")),
                keep_newest: At::of(1),
            }),
            logs: Some(LiveLogs {
                directory: At::of(directory.clone()),
                pattern: At::of(Glob::new("*.log").expect("a pattern")),
                unit: At::of(UnitName::new("x.service").expect("a unit")),
            }),
            ..Mount::default()
        };
        let explained = |told: &Mount| {
            let mut fault = fault();
            explain(
                &mut fault,
                &directory,
                Some(told),
                &Usage { total_bytes: u64::MAX / 200, ..Usage::default() },
                Path::new("/nonexistent"),
            );
            fault.fields.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(explained(&told), "");
        std::fs::write(folder.path().join("a.log.1"), "x").expect("written");
        assert_eq!(explained(&told), "", "one is kept");
        std::fs::write(folder.path().join("a.log.2"), "x").expect("written");
        assert_eq!(explained(&told), "reclaim_directory reclaim_keep reclaim_pattern");
        std::fs::write(folder.path().join("a.log"), vec![b'x'; 100_000]).expect("written");
        std::fs::write(folder.path().join("b.log"), "x").expect("written");
        told.reclaim = None;
        assert_eq!(explained(&told), "log_path log_unit");
        let (path, _) = biggest_log(told.logs.as_ref().expect("set")).expect("found");
        assert!(path.as_str().ends_with("/a.log"));
    }

    #[test]
    fn dumps_are_counted_by_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let pattern = Glob::new(CORES_PATTERN).expect("a pattern");
        let many = || too_many_cores(&matching(folder.path(), &pattern));
        for (name, is) in
            [("core.a.0.1", false), ("core.a.0.2", false), ("core.b.0.1", false), ("core.a.0.3", true)]
        {
            std::fs::write(folder.path().join(name), "").expect("written");
            assert_eq!(many(), is, "{name}");
        }
    }

    #[test]
    fn a_deleted_file_that_is_open_is_found_with_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("held.log");
        let mut file = std::fs::File::create(&path).expect("made");
        std::io::Write::write_all(&mut file, &vec![1; 8 << 20]).expect("written");
        file.sync_all().expect("synced");
        let metadata = file.metadata().expect("metadata");
        std::fs::remove_file(&path).expect("removed");
        let found = biggest_held(metadata.dev()).expect("found");
        if found.inode != metadata.ino() {
            // Somebody else on this machine holds a bigger one.
            assert!(found.bytes >= metadata.blocks() * 512);
            return;
        }
        assert_eq!((found.process.pid, found.for_writing), (std::process::id(), true));
        let mut fault = fault();
        found.add(&mut fault);
        let fields: Vec<_> = fault.fields.keys().map(ToString::to_string).collect();
        assert_eq!(fields, ["held_bytes", "held_inode", "held_log", "held_path", "held_process"]);
    }
}
