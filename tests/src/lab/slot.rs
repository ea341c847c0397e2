//! Host numbers: one lock file each, machine-wide, held for as long as the host's owner lives.
//!
//! The kernel releases the lock when the owner dies, however it dies; what the host left is then removed by
//! whoever comes next. The file names the folder of the host, which holds what is needed to end it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use super::error::LabError;

const LOCKS: &str = "/run/lock/sopwith-lab";
const CGROUPS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
const CGROUP_PARENT: &str = "sopwith-lab";
/// `.0` is the network, `.1` this machine, `.255` the broadcast address.
const NUMBERS: std::ops::RangeInclusive<u8> = 2..=250;

/// A host number that is ours.
#[derive(Debug)]
pub(super) struct Slot {
    pub number: u8,
    file: File,
}

impl Slot {
    /// Takes the first free number, after removing what its last owner left behind.
    pub fn take() -> Result<Slot, LabError> {
        fs::create_dir_all(LOCKS).map_err(|e| LabError::io("create", Path::new(LOCKS), e))?;
        for number in NUMBERS {
            let mut file = open(number)?;
            if file.try_lock().is_ok() {
                clear(&mut file, number)?;
                return Ok(Slot { number, file });
            }
        }
        Err(LabError::Full(NUMBERS.count()))
    }

    /// Writes down which folder this number's host lives in.
    pub fn claim(&mut self, dir: &Path) -> Result<(), LabError> {
        rewrite(&mut self.file, dir.to_string_lossy().as_bytes()).map_err(|e| LabError::io("note", dir, e))
    }

    /// Removes the host's folder and mount; its processes must have been ended.
    pub fn release(&mut self) -> Result<(), LabError> {
        clear(&mut self.file, self.number)
    }
}

/// Removes every host whose owner is gone.
pub(super) fn sweep() -> Result<usize, LabError> {
    let mut removed = 0;
    for number in NUMBERS.filter(|n| lock_path(*n).exists()) {
        let mut file = open(number)?;
        if file.try_lock().is_ok() && !read(&mut file).is_empty() {
            clear(&mut file, number)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Returns the cgroup folders for one host, one per hierarchy in which systemd keeps its units. Without
/// one of its own, two hosts would share `system.slice`, and ending a unit in one would hit the other.
pub(super) fn cgroups(number: u8) -> Vec<PathBuf> {
    let delegates = |root: &&&str| Path::new(root).join("cgroup.procs").exists();
    CGROUPS
        .iter()
        .filter(delegates)
        .map(|root| Path::new(root).join(CGROUP_PARENT).join(number.to_string()))
        .collect()
}

/// Notes a process of the host, with its start time: a number alone may be reused by somebody else.
pub(super) fn note_process(dir: &Path, pid: u32) -> Result<(), LabError> {
    let path = dir.join("process");
    let started = start_time(pid).unwrap_or(0);
    fs::write(&path, format!("{pid} {started}")).map_err(|e| LabError::io("write", &path, e))
}

fn lock_path(number: u8) -> PathBuf {
    Path::new(LOCKS).join(number.to_string())
}

fn open(number: u8) -> Result<File, LabError> {
    let path = lock_path(number);
    File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| LabError::io("open", &path, e))
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    let seen = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    if seen.is_ok() { text } else { String::new() }
}

fn rewrite(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)
}

fn clear(file: &mut File, number: u8) -> Result<(), LabError> {
    let dir = PathBuf::from(read(file));
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    end_processes(&dir, number);
    let mount = dir.join("m");
    for _ in 0..50 {
        match unmount(&mount, UnmountFlags::empty()) {
            Err(rustix::io::Errno::BUSY) => thread::sleep(Duration::from_millis(20)),
            _ => break,
        }
    }
    // Only a mount that stayed busy for a second is detached, so that the folder can be removed below.
    let _ = unmount(&mount, UnmountFlags::DETACH);
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|e| LabError::io("remove", &dir, e))?;
    }
    for group in cgroups(number) {
        remove_groups(&group);
    }
    rewrite(file, b"").map_err(|e| LabError::io("clear", &lock_path(number), e))
}

/// Ends the container that a folder notes, if it still runs: its first process, then its supervisor.
pub(super) fn end_processes(dir: &Path, number: u8) {
    let noted = fs::read_to_string(dir.join("process")).unwrap_or_default();
    let mut parts = noted.split_whitespace().map(str::parse::<u64>);
    if let (Some(Ok(pid)), Some(Ok(started))) = (parts.next(), parts.next()) {
        let pid = u32::try_from(pid).unwrap_or(0);
        if start_time(pid) == Some(started) {
            for child in leaders(pid) {
                end(child);
            }
            wait_gone(pid);
            if start_time(pid) == Some(started) {
                end(pid);
            }
            wait_gone(pid);
        }
    }
    // A supervisor killed first leaves the container running: its own cgroup still holds all of it.
    for group in cgroups(number) {
        let _ = fs::write(group.join("cgroup.kill"), "1");
    }
}

fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Waits, for a second at most, until a process is gone or a zombie of somebody else's.
fn wait_gone(pid: u32) {
    for _ in 0..100 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the container's first process: the child that lives in a process namespace of its own.
pub(super) fn leaders(supervisor: u32) -> Vec<u32> {
    let own = fs::read_link("/proc/self/ns/pid").ok();
    let children =
        fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(|pid: &u32| {
            let theirs = fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
            theirs.is_some() && theirs != own
        })
        .collect()
}

/// Returns a process's start time in clock ticks since boot, field 22 of its `stat`.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}

fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
