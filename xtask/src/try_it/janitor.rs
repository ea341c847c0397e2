//! Leaves nothing behind, however the trial ends: a second process that waits until the first is gone, by Ctrl-C, by
//! kill or by itself, then ends every process that carries the trial's mark in its environment and removes its folder.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How the janitor is started.
pub const ARGUMENT: &str = "--janitor";
/// The mark in the environment of every process that the trial starts: the path of its folder.
pub const MARK: &str = "SOPWITH_TRY";
/// How long a process may take to end in good order.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether all have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The first process's end of it.
pub struct Janitor {
    child: Child,
}

impl Janitor {
    /// Starts the janitor of a folder, in a process group of its own that Ctrl-C does not reach.
    pub fn hire(root: &Path) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|e| format!("failed to find this program: {e}"))?;
        let child = Command::new(own)
            .args(["try", ARGUMENT])
            .arg(root)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| format!("failed to start the janitor: {e}"))?;
        Ok(Self { child })
    }

    /// Has everything cleaned up now, and waits for it.
    pub fn dismiss(mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err("something of the trial is left; see above".into()),
            Err(e) => Err(format!("failed to wait for the janitor: {e}")),
        }
    }
}

/// Waits until nobody holds the other end of standard input, then cleans up.
pub fn serve(root: &str) -> Result<(), String> {
    let root = PathBuf::from(root);
    let made_by_try = root.file_name().is_some_and(|n| n.to_string_lossy().starts_with(super::world::FOLDER));
    if !made_by_try || !root.is_absolute() {
        return Err(format!("{} is no folder of a trial", root.display()));
    }
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    let left = end_all(&root);
    let removed = fs::remove_dir_all(&root);
    let _ = writeln!(std::io::stderr(), "\nstopped, and removed {}", root.display());
    match removed {
        _ if !left.is_empty() => Err(format!("these processes do not end: {left:?}")),
        Err(e) if root.exists() => Err(format!("failed to remove {}: {e}", root.display())),
        _ => Ok(()),
    }
}

/// Ends all processes of the trial, first kindly; returns those that would not.
fn end_all(root: &Path) -> Vec<u32> {
    for signal in ["TERM", "KILL"] {
        let began = Instant::now();
        // A process that is being started while the others end is found in the next round.
        while began.elapsed() < PATIENCE {
            let alive = marked(root);
            if alive.is_empty() {
                return alive;
            }
            if began.elapsed() < LOOK_EVERY || signal == "KILL" {
                alive.iter().for_each(|pid| send(signal, *pid));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    marked(root)
}

/// Returns the processes that carry the mark of this folder.
pub fn marked(root: &Path) -> Vec<u32> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| *pid != own && carries_mark(*pid, root)).collect()
}

/// Says whether a process runs and carries the mark. One that has ended and is not yet waited for does not count.
pub fn carries_mark(pid: u32, root: &Path) -> bool {
    let wanted = format!("{MARK}={}", root.display());
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

/// Sends a signal; a process that is gone already is as it should be.
pub fn send(signal: &str, pid: u32) {
    // The shell's own kill, because the program of that name is not on every machine.
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}
