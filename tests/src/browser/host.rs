//! This machine as a real host: a real agent on loopback, watcher and runner, with services of its own that do
//! nothing and may be killed. It ends with the value, and so does everything that it started.

use crate::installation::Server;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a service or the agent may take to be there.
const START_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why there is no real host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("failed to {0}: {1}")]
    Io(&'static str, std::io::Error),
    #[error("failed to join the server:\n{0}")]
    Join(String),
    #[error("failed to see {what} within {} s:\n{log}", START_LIMIT.as_secs())]
    Late { what: String, log: String },
}

/// See the module.
#[derive(Debug)]
pub struct RealHost {
    dir: PathBuf,
    services: Vec<&'static str>,
    agent: Option<Child>,
}

impl RealHost {
    /// Starts the services and an agent that watches them and has joined under this name.
    ///
    /// # Errors
    /// Says what could not be had.
    pub fn start(
        binaries: &Path,
        server: &Server,
        dir: &Path,
        name: &str,
        services: &[&'static str],
    ) -> Result<Self, HostError> {
        let mut host = Self { dir: dir.to_owned(), services: services.to_vec(), agent: None };
        for folder in ["state", "run", "host.d"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(|e| HostError::Io("make a folder", e))?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
                .map_err(|e| HostError::Io("make a folder private", e))?;
        }
        for service in services {
            host.start_service(service)?;
        }
        let signers = server.owner().allowed_signers().map_err(|e| HostError::Join(e.to_string()))?;
        host.write("allowed_signers", &signers)?;
        host.write("agent.yaml", &host.config(server, name))?;
        host.join(binaries, server, name)?;
        let log = fs::File::create(host.path("agent.log")).map_err(|e| HostError::Io("make a log", e))?;
        let mut up = Command::new(binaries.join("sopwith-agent"));
        up.arg("up").arg("--config").arg(host.path("agent.yaml")).stdin(Stdio::null());
        up.stdout(log.try_clone().map_err(|e| HostError::Io("share a log", e))?).stderr(log);
        host.agent = Some(up.spawn().map_err(|e| HostError::Io("start the agent", e))?);
        Ok(host)
    }

    /// Kills a service, as whatever kills services would; returns the number that its process had.
    ///
    /// # Errors
    /// Says that it does not run.
    pub fn kill(&self, service: &str) -> Result<u32, HostError> {
        let pid = self.pid(service).ok_or_else(|| self.late(service))?;
        end(pid);
        Ok(pid)
    }

    /// Returns the process of a service, if it runs.
    pub fn pid(&self, service: &str) -> Option<u32> {
        let text = fs::read_to_string(self.pidfile(service)).ok()?;
        let pid: u32 = text.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let dead = status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        (name.trim() == "sleep" && !dead).then_some(pid)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn pidfile(&self, service: &str) -> PathBuf {
        self.path(&format!("{service}.pid"))
    }

    fn program(&self, service: &str) -> PathBuf {
        self.path(&format!("start-{service}"))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), HostError> {
        fs::write(self.path(name), text).map_err(|e| HostError::Io("write a file", e))
    }

    fn config(&self, server: &Server, name: &str) -> String {
        let dir = self.dir.display();
        let service = |service: &&str| {
            format!(
                "  - {{name: {service}, pidfile: {}, start: {}, for: 0s}}\n",
                self.pidfile(service).display(),
                self.program(service).display()
            )
        };
        format!(
            "server: {}\nhost: {name}\nstate_dir: {dir}/state\nruntime_dir: {dir}/run\n\
             declarations_dir: {dir}/host.d\nallowed_signers: {dir}/allowed_signers\n\
             stop_file: {dir}/state/stop\nprocesses:\n{}",
            server.agents_url(),
            self.services.iter().map(service).collect::<String>()
        )
    }

    /// Starts a service by the very program that the agent is told of.
    fn start_service(&self, service: &str) -> Result<(), HostError> {
        let pidfile = self.pidfile(service);
        let script = format!("#!/bin/sh\necho $$ > {}\nexec sleep 1000000\n", pidfile.display());
        let program = self.program(service);
        fs::write(&program, script).map_err(|e| HostError::Io("write a service", e))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .map_err(|e| HostError::Io("make a service executable", e))?;
        let mut command = Command::new("/bin/sh");
        command.arg(&program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| HostError::Io("start a service", e))?;
        // It is taken leave of when it ends, so that its number does not stay.
        std::thread::spawn(move || child.wait());
        let began = Instant::now();
        while self.pid(service).is_none() {
            if began.elapsed() > START_LIMIT {
                return Err(self.late(service));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn join(&self, binaries: &Path, server: &Server, name: &str) -> Result<(), HostError> {
        let token = server.join_token(name).map_err(|e| HostError::Join(e.to_string()))?;
        let mut join = Command::new(binaries.join("sopwith-agent"));
        join.arg("join")
            .arg("--config")
            .arg(self.path("agent.yaml"))
            .arg("--server")
            .arg(server.agents_url());
        join.args(["--token", &token.token, "--ca-sha256", &token.ca_sha256.to_string()]);
        let done = join.output().map_err(|e| HostError::Io("start the agent", e))?;
        if done.status.success() {
            return Ok(());
        }
        Err(HostError::Join(String::from_utf8_lossy(&done.stderr).into_owned()))
    }

    fn late(&self, what: &str) -> HostError {
        let log = fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        HostError::Late { what: what.into(), log }
    }
}

impl Drop for RealHost {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            if let Some(pid) = i32::try_from(agent.id()).ok().and_then(Pid::from_raw) {
                // It is gone already, or goes now.
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = agent.wait();
        }
        for service in &self.services {
            if let Some(pid) = self.pid(service) {
                end(pid);
            }
        }
    }
}

fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // What is gone already needs no signal.
        let _ = kill_process(pid, Signal::KILL);
    }
}
