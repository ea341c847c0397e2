//! The demo service: a process with a pidfile, on no port and with no data, that may be killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::janitor::{self, MARK};
use super::world::World;

/// Name of the process in the agent's configuration.
pub const NAME: &str = "demo";
/// How long the demo may take to write its pidfile.
const START_PATIENCE: Duration = Duration::from_secs(5);

pub struct Demo {
    root: PathBuf,
}

impl Demo {
    /// Starts the demo by the very program that the agent is told of.
    pub fn start(world: &World) -> Result<Self, String> {
        let demo = Self { root: world.root().to_path_buf() };
        let script = format!(
            "#!/bin/sh\n# Starts the demo service of `cargo xtask try`.\nexport {MARK}={}\necho $$ > {}\nexec sleep 1000000\n",
            world.root().display(),
            demo.pidfile().display()
        );
        let program = demo.program();
        fs::write(&program, script)
            .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
            .map_err(|e| format!("failed to write {}: {e}", program.display()))?;
        Command::new(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("failed to start the demo service: {e}"))?;
        let began = Instant::now();
        while demo.pid().is_none() {
            if began.elapsed() > START_PATIENCE {
                return Err("the demo service did not start".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(demo)
    }

    pub fn program(&self) -> PathBuf {
        self.root.join("start-demo")
    }

    pub fn pidfile(&self) -> PathBuf {
        self.root.join("demo.pid")
    }

    /// Returns the process that the pidfile names, if it is the demo and runs.
    pub fn pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.pidfile()).ok()?.trim().parse().ok()?;
        (janitor::carries_mark(pid, &self.root) && is_sleep(pid)).then_some(pid)
    }

    /// Kills the demo, and returns the number that it had.
    pub fn break_it(&self) -> Result<u32, String> {
        let pid = self.pid().ok_or("the demo service does not run; approve the plan that starts it again")?;
        janitor::send("KILL", pid);
        Ok(pid)
    }
}

/// Says whether the script has become the program that it starts.
fn is_sleep(pid: u32) -> bool {
    let name = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).unwrap_or_default();
    name.trim() == "sleep"
}
