//! The control group of one program of a step: what is born in it cannot leave it, and is killed as a whole.

use super::born_in_group::{self, Start};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Most processes of one program, where the kernel's pids controller is at hand.
const PIDS_MAX: &str = "512";

/// A control group of the program's own, where cgroup v2 can be written.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// The supervisor's own.
    home: PathBuf,
}

impl Cgroup {
    /// Makes one below the supervisor's own; nothing where that cannot be.
    pub fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        if own.contains("..") {
            return None;
        }
        let home = Path::new(mount).join(own.trim_start_matches('/'));
        let path = home.join(format!("sopwith-step-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        if !path.join("cgroup.kill").exists() {
            let _ = fs::remove_dir(&path);
            return None;
        }
        // Only where the service manager has delegated the controller; the unit's own limit holds in any case.
        let _ = fs::write(path.join("pids.max"), PIDS_MAX);
        Some(Self { path, home })
    }

    /// Starts the program inside. There is no instant in which it is outside.
    ///
    /// # Errors
    /// The supervisor could not go in or come out again; then nothing of the program lives.
    pub fn start(
        &self,
        program: &mut Command,
        bind: impl Fn() -> io::Result<Option<OwnedFd>>,
    ) -> io::Result<Start> {
        match born_in_group::start(program, Some(File::open(&self.path)?.as_fd()), &bind) {
            Start::Cannot => self.start_from_inside(program, bind),
            started => Ok(started),
        }
    }

    /// A child begins where its parent is, so the supervisor goes in for that moment.
    fn start_from_inside(
        &self,
        program: &mut Command,
        bind: impl Fn() -> io::Result<Option<OwnedFd>>,
    ) -> io::Result<Start> {
        fs::write(self.path.join("cgroup.procs"), "0")?;
        let started = born_in_group::start(program, None, bind);
        let out = fs::write(self.home.join("cgroup.procs"), "0");
        if let (Err(_), Start::Runs(pid, _)) = (&out, &started) {
            let _ = kill_process(*pid, Signal::KILL);
            let _ = waitpid(Some(*pid), WaitOptions::empty());
        }
        out.map(|()| started)
    }

    /// Kills all that is in it.
    pub fn kill(&self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may need a moment to see that it is empty.
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
