//! What the kernel says of processes, from /proc. Looks only.

use rustix::fs::{Stat, stat};
use sopwith_domain::value::ProcessRef;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest pidfile, in bytes.
const PIDFILE_BYTES_MAX: u64 = 64;

/// One line of /proc/PID/stat, as far as it is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// The kernel's letter: R, S, D, T, Z …
    pub state: char,
    pub start_ticks: u64,
}

/// Returns a process, if there is one with this number.
pub fn look(pid: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too: what counts comes after the last one.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Process { pid, parent, state, start_ticks })
}

/// Says whether the process is still this one and not over (a zombie is over).
pub fn lives(process: ProcessRef) -> bool {
    look(process.pid).is_some_and(|p| p.start_ticks == process.start_ticks && !matches!(p.state, 'Z' | 'X'))
}

/// Returns the number that a pidfile holds.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn of_pidfile(file: fs::File) -> Result<u32, String> {
    let mut text = String::new();
    file.take(PIDFILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| e.to_string())?;
    text.trim().parse().map_err(|_| "it holds no process number".to_owned())
}

/// Says whether no process has this number, or only one that is over.
pub fn is_dead(pid: u32) -> bool {
    look(pid).is_none_or(|p| matches!(p.state, 'Z' | 'X'))
}

/// Returns every process.
pub fn all() -> Vec<Process> {
    numbers(Path::new("/proc")).into_iter().filter_map(look).collect()
}

/// Returns every process that `root` is an ancestor of.
pub fn descendants(root: u32) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut todo = vec![root];
    while let Some(pid) = todo.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            todo.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// An open descriptor of a process.
#[derive(Debug)]
pub struct Descriptor {
    /// Opens the same file again.
    pub link: PathBuf,
    pub target: PathBuf,
    pub for_writing: bool,
}

/// Returns the open descriptors of a process; none where it is gone or may not be looked into.
pub fn descriptors(pid: u32) -> Vec<Descriptor> {
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    let open = |number: u32| {
        let link = folder.join(number.to_string());
        let target = fs::read_link(&link).ok()?;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        // The two lowest bits say how it was opened: 0 is for reading only.
        let for_writing = u32::from_str_radix(flags, 8).ok()? & 3 != 0;
        Some(Descriptor { link, target, for_writing })
    };
    numbers(&folder).into_iter().filter_map(open).collect()
}

/// Returns device and inode of every file that some process holds open for writing under one of these names.
pub fn open_for_writing(names: &BTreeSet<&str>) -> BTreeSet<(u64, u64)> {
    let mut found = BTreeSet::new();
    if names.is_empty() {
        return found;
    }
    for pid in numbers(Path::new("/proc")) {
        for descriptor in descriptors(pid) {
            let name = descriptor.target.file_name().and_then(|n| n.to_str());
            if descriptor.for_writing && name.is_some_and(|n| names.contains(n)) {
                found.extend(identity(&descriptor.link));
            }
        }
    }
    found
}

/// Returns device and inode of what a link in /proc leads to.
pub fn identity(link: &Path) -> Option<(u64, u64)> {
    stat(link).ok().map(|s: Stat| (s.st_dev, s.st_ino))
}

fn numbers(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_told_from_another_with_its_number() {
        let own = look(std::process::id()).expect("there");
        let process = ProcessRef { pid: own.pid, start_ticks: own.start_ticks };
        assert!(lives(process));
        assert!(!lives(ProcessRef { start_ticks: own.start_ticks + 1, ..process }));
        // Its state may be another by now.
        assert!(descendants(own.parent).iter().any(|seen| seen.pid == own.pid));
    }

    #[test]
    fn a_file_open_for_writing_is_found_by_its_name() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("held-for-writing.x");
        let held = fs::File::create(&path).expect("create");
        let names = BTreeSet::from(["held-for-writing.x"]);
        assert!(!open_for_writing(&names).is_empty());
        drop(held);
        let _read = fs::File::open(&path).expect("open");
        // A child that another test starts at this moment holds what its parent held until it becomes its program.
        let gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            open_for_writing(&names).is_empty()
        });
        assert!(gone, "opened for reading is not opened for writing");
    }
}
