//! One running host: boot, look inside, cut its power, boot it again, take it down.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;

use super::error::{LabError, tail};
use super::exec::{self, Finished};
use super::slot::{self, Slot};
use super::{Lab, Root, net};

const BOOT_LIMIT: Duration = Duration::from_secs(90);
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Enters the host's cgroups before the container starts, then becomes the container's supervisor.
const LAUNCH: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@""#;

/// A host of the lab. Dropping it ends it and removes all that it wrote.
#[derive(Debug)]
pub struct Host {
    name: String,
    dir: PathBuf,
    slot: Slot,
    supervisor: Option<Child>,
    leader: Option<u32>,
}

impl Host {
    /// Boots a pristine host over a root and waits until its systemd has come to rest.
    pub fn up(lab: &Lab, name: &str, root: &Root) -> Result<Host, LabError> {
        let mut host = Host::prepare(lab, name, root)?;
        host.boot()?;
        Ok(host)
    }

    fn prepare(lab: &Lab, name: &str, root: &Root) -> Result<Host, LabError> {
        let mut slot = Slot::take()?;
        let dir = lab.hosts().join(format!("{}-{name}", slot.number));
        slot.claim(&dir)?;
        let host = Host { name: name.to_owned(), dir, slot, supervisor: None, leader: None };
        for part in ["up", "work", "m"] {
            let path = host.dir.join(part);
            fs::create_dir_all(&path).map_err(|e| LabError::io("create", &path, e))?;
        }
        host.mount(root)?;
        host.identify()?;
        Ok(host)
    }

    fn mount(&self, root: &Root) -> Result<(), LabError> {
        let lower: Vec<String> = root.layers.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            self.dir.join("up").display(),
            self.dir.join("work").display()
        );
        let at = self.root();
        exec::run(
            Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&at),
            b"",
            COMMAND_LIMIT,
        )
        .map_err(|e| LabError::io("start mount for", &at, e))?
        .expect("mount the overlay")
        .map(drop)
    }

    /// Gives the host what makes it itself: name, address, machine identity.
    fn identify(&self) -> Result<(), LabError> {
        let network = format!(
            "[Match]\nName=host0\n[Network]\nAddress={}/24\nGateway={}\n",
            self.address(),
            net::SERVER_ADDRESS
        );
        let machine_id = hex::encode(rand::rng().random::<[u8; 16]>());
        for (path, text) in [
            ("etc/hostname", format!("{}\n", self.name)),
            ("etc/machine-id", format!("{machine_id}\n")),
            ("etc/systemd/network/10-host0.network", network),
        ] {
            let path = self.root().join(path);
            fs::write(&path, text).map_err(|e| LabError::io("write", &path, e))?;
        }
        Ok(())
    }

    /// Boots the host, for the first time or again over what it kept.
    pub fn boot(&mut self) -> Result<(), LabError> {
        net::ensure_bridge()?;
        let groups = slot::cgroups(self.slot.number);
        for group in &groups {
            fs::create_dir_all(group).map_err(|e| LabError::io("create", group, e))?;
        }
        let console = self.dir.join("console.log");
        let log = fs::File::create(&console).map_err(|e| LabError::io("create", &console, e))?;
        let errors = log.try_clone().map_err(|e| LabError::io("open", &console, e))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LAUNCH, "sh"]).args(&groups).arg("--").arg("systemd-nspawn");
        command
            .args(["-q", "--boot", "--register=no", "--keep-unit", "--capability=all", "-D"])
            .arg(self.root());
        command.arg(format!("--machine=sopwith{}", self.slot.number));
        command.arg(format!("--hostname={}", self.name)).arg(format!("--network-bridge={}", net::BRIDGE));
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn().map_err(|e| LabError::io("start", Path::new("systemd-nspawn"), e))?;
        slot::note_process(&self.dir, child.id())?;
        self.supervisor = Some(child);
        self.wait_booted()
    }

    fn wait_booted(&mut self) -> Result<(), LabError> {
        let started = Instant::now();
        while started.elapsed() < BOOT_LIMIT {
            thread::sleep(Duration::from_millis(40));
            let Some(child) = self.supervisor.as_mut() else { break };
            if matches!(child.try_wait(), Ok(Some(_))) {
                break;
            }
            self.leader = slot::leaders(child.id()).first().copied();
            if self.leader.is_some() && self.has_settled() {
                return Ok(());
            }
        }
        let console = tail(&fs::read_to_string(self.dir.join("console.log")).unwrap_or_default());
        Err(LabError::NotBooted { name: self.name.clone(), seconds: started.elapsed().as_secs(), console })
    }

    fn has_settled(&self) -> bool {
        let state = self.run_for(&["systemctl", "is-system-running"], b"", Duration::from_secs(10));
        state.is_ok_and(|done| matches!(done.stdout.trim(), "running" | "degraded"))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> Ipv4Addr {
        net::address(self.slot.number)
    }

    /// Returns the folder in which this machine sees the host's root, without what is mounted inside it.
    pub fn root(&self) -> PathBuf {
        self.dir.join("m")
    }

    /// Returns the command with which a person can enter the host.
    pub fn enter_hint(&self) -> String {
        format!("nsenter -t {} -m -u -i -n -p -C -- /bin/bash", self.leader.unwrap_or(0))
    }

    /// Runs a shell script of the test's own inside the host.
    pub fn sh(&self, script: &str) -> Result<Finished, LabError> {
        self.sh_for(script, COMMAND_LIMIT)
    }

    /// Runs a shell script with a limit on its time.
    pub fn sh_for(&self, script: &str, limit: Duration) -> Result<Finished, LabError> {
        self.run_for(&["/bin/bash", "-c", script], b"", limit)
    }

    /// Runs a program inside the host and fails unless it succeeds; returns what it printed.
    pub fn run(&self, argv: &[&str]) -> Result<String, LabError> {
        self.run_for(argv, b"", COMMAND_LIMIT)?.expect(&format!("run {} on {}", argv.join(" "), self.name))
    }

    /// Runs a program inside the host. At the limit it is killed there, with its process group.
    pub fn run_for(&self, argv: &[&str], stdin: &[u8], limit: Duration) -> Result<Finished, LabError> {
        const GRACE: Duration = Duration::from_secs(5);
        let leader = self.leader.ok_or_else(|| LabError::NotRunning(self.name.clone()))?.to_string();
        let seconds = format!("{}", limit.as_secs_f64().max(0.1));
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"]);
        command.args(["timeout", "-s", "KILL", &seconds]).args(argv);
        command.env_clear().envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]);
        let started = Instant::now();
        let mut done = exec::run(&mut command, stdin, limit + GRACE)
            .map_err(|e| LabError::io("start", Path::new("nsenter"), e))?;
        if !done.ok() && started.elapsed() >= limit {
            done.timed_out = true;
        }
        Ok(done)
    }

    /// Places a file of this machine into the running host.
    pub fn copy_in(&self, from: &Path, to: &str, mode: u32) -> Result<(), LabError> {
        let bytes = fs::read(from).map_err(|e| LabError::io("read", from, e))?;
        self.write(to, &bytes, mode)
    }

    /// Writes a file inside the running host, as the host itself sees the path.
    pub fn write(&self, to: &str, bytes: &[u8], mode: u32) -> Result<(), LabError> {
        let mode = format!("{mode:o}");
        let source = if bytes.is_empty() { "/dev/null" } else { "/dev/stdin" };
        self.run_for(&["install", "-D", "-m", &mode, source, to], bytes, COMMAND_LIMIT)?
            .expect(&format!("write {to} on {}", self.name))
            .map(drop)
    }

    /// Cuts the power: every process ends at once; what was written to its files stays.
    pub fn kill(&mut self) {
        slot::end_processes(&self.dir, self.slot.number);
        self.reap();
    }

    /// Shuts the host down in good order, so that its files are consistent.
    pub fn power_off(&mut self) -> Result<(), LabError> {
        self.run_for(&["systemctl", "poweroff"], b"", POWER_OFF_LIMIT)?;
        let started = Instant::now();
        while started.elapsed() < POWER_OFF_LIMIT {
            match self.supervisor.as_mut().map(Child::try_wait) {
                Some(Ok(None)) => thread::sleep(Duration::from_millis(20)),
                _ => {
                    self.reap();
                    return Ok(());
                }
            }
        }
        let what = format!("power off {}", self.name);
        Err(LabError::TimedOut { what, seconds: POWER_OFF_LIMIT.as_secs() })
    }

    fn reap(&mut self) {
        self.leader = None;
        if let Some(mut child) = self.supervisor.take() {
            let _ = child.wait();
        }
    }

    /// Ends the host and gives away its folder of changes, to become a layer. It must be powered off.
    pub(super) fn into_changes(self, to: &Path) -> Result<(), LabError> {
        rustix::mount::unmount(self.root(), rustix::mount::UnmountFlags::empty())
            .map_err(|e| LabError::io("unmount", &self.root(), e.into()))?;
        fs::rename(self.dir.join("up"), to).map_err(|e| LabError::io("keep the layer", to, e))
    }

    /// Takes the host down; what Drop does, with the error.
    pub fn down(mut self) -> Result<(), LabError> {
        self.kill();
        self.slot.release()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        if let Err(error) = self.slot.release() {
            eprintln!("lab: failed to take down {}: {error}", self.name);
        }
    }
}
