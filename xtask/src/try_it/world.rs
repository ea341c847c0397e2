//! The temporary world: folders, keys, signed SOPs, configuration, and the real programs of the debug build started in
//! it. Every process it starts carries the janitor's mark.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::demo::{self, Demo};
use super::janitor::{Janitor, MARK};
use crate::cargo::{cargo, root as workspace, succeed, target};

/// How the folder's name begins.
pub const FOLDER: &str = "sopwith-try-";
/// Name of the demo's operator.
const OPERATOR: &str = "operator";
/// How long server and agent may take to be ready.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// People decide every plan; an incident closes soon after its fix, so that the newcomer sees the end.
const POLICY: &str = "version: 1\nauto: []\nhosts:\n  named: []\nquiet_s: 5\n";

/// Whether operators are served with TLS. A browser warns of a CA that it does not know; loopback needs none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Plain,
    Tls,
}

pub struct World {
    root: PathBuf,
    url: String,
    agent_url: String,
    janitor: Janitor,
}

impl World {
    /// Builds Sopwith, makes the folder with all that is signed in it, starts the server and logs the operator in.
    pub fn begin(door: Door) -> Result<Self, String> {
        build()?;
        let root = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&root)
            .map_err(|e| format!("failed to make the folder {}: {e}", root.display()))?;
        let janitor = Janitor::hire(&root)?;
        let (operator_port, agent_port) = (free_port()?, free_port()?);
        let scheme = if door == Door::Tls { "https" } else { "http" };
        let world = Self {
            url: format!("{scheme}://127.0.0.1:{operator_port}"),
            agent_url: format!("https://127.0.0.1:{agent_port}"),
            root,
            janitor,
        };
        world.keys_and_documents()?;
        world.start_server(door, operator_port, agent_port)?;
        Ok(world)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the command line as the operator types it: it finds its session by itself.
    pub fn operator_command(&self) -> PathBuf {
        self.root.join("sopwith")
    }

    /// Says what does not work here for want of rights or of systemd.
    pub fn limits(&self) -> String {
        let mut limits = String::new();
        if !crate::debian::is_root() {
            limits.push_str(
                "  not root    the runner acts with your rights only, which is enough for the demo\n",
            );
        }
        if !Path::new("/run/systemd/system").exists() {
            limits.push_str(
                "  no systemd  units are not watched on this machine; processes, files and logs are\n",
            );
        }
        limits
    }

    fn keys_and_documents(&self) -> Result<(), String> {
        for folder in ["server", "agent", "run", "host.d", "playbooks", "config", "state"] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(self.root.join(folder))
                .map_err(|e| self.failed("make", folder, &e))?;
        }
        let exports = format!(
            "#!/bin/sh\nexport {MARK}={0} XDG_CONFIG_HOME={0}/config XDG_STATE_HOME={0}/state\nexec {1} \"$@\"\n",
            self.root.display(),
            binary("sopwith").display()
        );
        self.write("sopwith", &exports)?;
        fs::set_permissions(self.operator_command(), fs::Permissions::from_mode(0o755))
            .map_err(|e| self.failed("make executable", "sopwith", &e))?;
        let public = self.sopwith(&["playbook", "keygen", &self.path("owner.key"), "--comment", OPERATOR])?;
        self.write("server/allowed_signers", &public)?;
        self.write("allowed_signers", &public)?;
        self.write("policy.yaml", POLICY)?;
        self.sopwith(&["policy", "sign", &self.path("policy.yaml"), "--key", &self.path("owner.key")])?;
        let shipped = workspace().join("playbooks");
        let entries =
            fs::read_dir(&shipped).map_err(|e| format!("failed to list {}: {e}", shipped.display()))?;
        for entry in entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "yaml")) {
            let name = format!("playbooks/{}", entry.file_name().to_string_lossy());
            fs::copy(entry.path(), self.root.join(&name)).map_err(|e| self.failed("copy", &name, &e))?;
            self.sopwith(&["playbook", "sign", &self.path(&name), "--key", &self.path("owner.key")])?;
        }
        Ok(())
    }

    fn start_server(&self, door: Door, operator_port: u16, agent_port: u16) -> Result<(), String> {
        let password = secret()?;
        let config = format!(
            "data_dir: {0}/server\noperator_listen: 127.0.0.1:{operator_port}\noperator_tls: {1}\n\
             agent_listen: 127.0.0.1:{agent_port}\nnames: [127.0.0.1]\nplaybooks_dir: {0}/playbooks\n\
             policy: {0}/policy.yaml\n",
            self.root.display(),
            door == Door::Tls
        );
        self.write("server.yaml", &config)?;
        let mut init = self.program("sopwith-server");
        init.args(["init", "--config", &self.path("server.yaml"), "--admin", OPERATOR]);
        let said = self.fed(init, &password)?;
        self.write("server.init", &said)?;
        let mut serve = self.program("sopwith-server");
        serve.args(["serve", "--config", &self.path("server.yaml")]);
        self.spawn(serve, "server.log")?;
        let ca = self.path("server/ca.pem");
        let mut login = vec!["login", self.url.as_str(), OPERATOR, "--password-stdin"];
        if door == Door::Tls {
            login.extend(["--ca", ca.as_str()]);
        }
        self.until_ready("the server", "server.log", || {
            let mut command = Command::new(self.operator_command());
            command.args(&login);
            self.fed(command, &password)
        })?;
        Ok(())
    }

    /// Joins this machine to the server and starts its agent.
    pub fn start_agent(&mut self, demo: &Demo) -> Result<(), String> {
        let metrics = free_port()?;
        let config = format!(
            "server: {1}\nhost: this-machine\nstate_dir: {0}/agent\nruntime_dir: {0}/run\ndeclarations_dir: {0}/host.d\n\
             allowed_signers: {0}/allowed_signers\nmetrics_listen: 127.0.0.1:{metrics}\nstop_file: {0}/agent/stop\n\
             processes:\n  - {{name: {2}, pidfile: {3}, start: {4}, for: 0s}}\n",
            self.root.display(),
            self.agent_url,
            demo::NAME,
            demo.pidfile().display(),
            demo.program().display()
        );
        self.write("agent.yaml", &config)?;
        let token = self.json(&["host", "join-token"])?;
        let field = |name: &str| {
            token[name].as_str().map(str::to_owned).ok_or(format!("the join token has no {name}"))
        };
        let (token, ca_sha256) = (field("token")?, field("ca_sha256")?);
        let mut join = self.program("sopwith-agent");
        join.args(["join", "--config", &self.path("agent.yaml"), "--server", &self.agent_url]);
        join.args(["--token", &token, "--ca-sha256", &ca_sha256]);
        output(join)?;
        let mut up = self.program("sopwith-agent");
        up.args(["up", "--config", &self.path("agent.yaml")]);
        self.spawn(up, "agent.log")?;
        self.until_ready("the agent", "agent.log", || {
            let hosts = self.json(&["host", "list"])?;
            let connected =
                hosts.as_array().is_some_and(|hosts| hosts.iter().any(|h| h["state"] == "connected"));
            if connected { Ok(String::new()) } else { Err("it has not spoken with the server".into()) }
        })?;
        Ok(())
    }

    /// Returns an address that logs the operator in once.
    pub fn one_time_login(&self) -> Result<String, String> {
        let mut command = self.program("sopwith-server");
        command.args(["one-time-login", "--config", &self.path("server.yaml"), OPERATOR]);
        let said = output(command)?;
        Ok(format!("{}{}", self.url, said.trim()))
    }

    /// Shows incidents as they move, until the end.
    pub fn watch(&self) -> Result<(), String> {
        let mut command = Command::new(self.operator_command());
        command.args(["incident", "watch"]).stdin(Stdio::null());
        command.spawn().map(drop).map_err(|e| format!("failed to start the watch: {e}"))
    }

    /// Runs the operator's command line and returns what it printed.
    pub fn sopwith(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.operator_command());
        command.args(arguments);
        output(command)
    }

    /// The same, as JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Json, String> {
        let text = self.sopwith(&[&["-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).map_err(|e| format!("sopwith {}: {e}", arguments.join(" ")))
    }

    /// Returns the last lines of server and agent, for a trial that failed.
    pub fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = fs::read_to_string(self.root.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        tail("server.log") + &tail("agent.log")
    }

    /// Stops everything and removes the folder.
    pub fn end(self) -> Result<(), String> {
        self.janitor.dismiss()
    }

    fn until_ready(
        &self,
        what: &str,
        log: &str,
        ready: impl Fn() -> Result<String, String>,
    ) -> Result<String, String> {
        let began = Instant::now();
        loop {
            match ready() {
                Ok(said) => return Ok(said),
                Err(why) if began.elapsed() > READY_PATIENCE => {
                    return Err(format!("{what} is not ready: {why}\n{}", self.logs()));
                }
                Err(_) if self.exited(log) => return Err(format!("{what} has ended\n{}", self.logs())),
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Says whether a program that was started by [`Self::spawn`] is gone.
    fn exited(&self, log: &str) -> bool {
        let pid = fs::read_to_string(self.root.join(format!("{log}.pid"))).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        status.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    }

    fn spawn(&self, mut command: Command, log: &str) -> Result<(), String> {
        let file = fs::File::create(self.root.join(log)).map_err(|e| self.failed("write", log, &e))?;
        let again = file.try_clone().map_err(|e| self.failed("write", log, &e))?;
        command.stdin(Stdio::null()).stdout(file).stderr(again);
        // Ctrl-C ends the trial, and the janitor ends the programs in good order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|e| format!("failed to start {command:?}: {e}"))?;
        self.write(&format!("{log}.pid"), &child.id().to_string())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command.env(MARK, &self.root).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    fn fed(&self, mut command: Command, input: &str) -> Result<String, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("failed to start {command:?}: {e}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not want its input says why on its own.
            let _ = stdin.write_all(input.as_bytes());
        }
        let ended = child.wait_with_output().map_err(|e| format!("failed to wait for {command:?}: {e}"))?;
        text(&command, &ended)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.root.join(name), text).map_err(|e| self.failed("write", name, &e))
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    fn failed(&self, verb: &str, name: &str, error: &std::io::Error) -> String {
        format!("failed to {verb} {}: {error}", self.root.join(name).display())
    }
}

fn build() -> Result<(), String> {
    println!("building server, agent and command line …");
    let packages = ["-p", "sopwith-server", "-p", "sopwith-agent", "-p", "sopwith-cli"];
    succeed(cargo(&["build", "--bins"]).args(packages))
}

fn binary(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Returns a port that was free a moment ago.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.map(|address| address.port()).map_err(|e| format!("failed to find a free port: {e}"))
}

/// Returns a password that nobody needs to know.
fn secret() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut f| std::io::Read::read_exact(&mut f, &mut bytes));
    read.map_err(|e| format!("failed to make a password: {e}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn output(mut command: Command) -> Result<String, String> {
    let ended = command.output().map_err(|e| format!("failed to start {command:?}: {e}"))?;
    text(&command, &ended)
}

fn text(command: &Command, ended: &Output) -> Result<String, String> {
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let first = command.get_args().next().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    Err(format!(
        "{program} {first} ended with {}: {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr).trim()
    ))
}
