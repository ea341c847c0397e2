//! A real `sopwith-server` on this machine, set up as the README says, with an owner's key and an admin of its own.

use super::{Client, ClientError, Owner, OwnerError};
use sopwith_protocol::api::{JoinToken, JoinTokenBody, Login, NewToken, Session, TokenBody};
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(30);
const ADMIN: &str = "admin";
const PASSWORD: &str = "a password for tests only";

/// Why a server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{what} failed:\n{output}")]
    Command { what: String, output: String },
    #[error("the server is not ready after {} s; its last words:\n{log}", START_LIMIT.as_secs())]
    NotReady { log: String },
}

/// What a server is to be started with.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Folder of the built binaries.
    pub binaries: &'a Path,
    /// An empty folder of the test's own.
    pub dir: &'a Path,
    /// Address on which hosts and the test reach it.
    pub address: IpAddr,
    /// Text of the standing policy, signed by the owner.
    pub policy: &'a str,
    /// Folder of the playbooks to sign and install.
    pub playbooks: &'a Path,
}

/// A running server; it ends with the value.
#[derive(Debug)]
pub struct Server {
    binaries: PathBuf,
    dir: PathBuf,
    operators: SocketAddr,
    agents: SocketAddr,
    owner: Owner,
    child: Option<Child>,
    client: Option<Client>,
}

impl Server {
    /// Sets a server up and starts it.
    pub fn start(plan: &Plan<'_>) -> Result<Self, ServerError> {
        let owner = Owner::make(plan.dir)?;
        owner.sign_playbooks(plan.playbooks, &plan.dir.join("playbooks"))?;
        owner.sign_policy(&plan.dir.join("policy.yaml"), plan.policy)?;
        let mut server = Self {
            binaries: plan.binaries.to_owned(),
            dir: plan.dir.to_owned(),
            operators: free(plan.address)?,
            agents: free(plan.address)?,
            owner,
            child: None,
            client: None,
        };
        write(&server.config(), &server.config_text())?;
        server.local(&["init", "--admin", ADMIN], PASSWORD)?;
        write(&server.data().join("allowed_signers"), &server.owner.allowed_signers()?)?;
        server.boot(&[])?;
        let plain = server.reach("")?;
        let login = Login { name: ADMIN.into(), password: PASSWORD.into() };
        let session: Session = plain.post("/session", &login, None)?;
        let body = TokenBody { name: "tests".into(), valid_s: None };
        let token: NewToken = server.reach(&session.token)?.post("/tokens", &body, None)?;
        server.client = Some(server.reach(&token.token)?);
        Ok(server)
    }

    /// Starts the process, over whatever data there is, with these environment variables besides.
    pub fn boot(&mut self, environment: &[(&str, &str)]) -> Result<(), ServerError> {
        let path = self.log_path();
        let log = File::options().create(true).append(true).open(&path).map_err(io("open the log"))?;
        let out = log.try_clone().map_err(io("open the log"))?;
        let child = Command::new(self.binaries.join("sopwith-server"))
            .args(["--config".as_ref(), self.config().as_os_str(), "serve".as_ref()])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .map_err(io("start sopwith-server"))?;
        self.child = Some(child);
        let deadline = Instant::now() + START_LIMIT;
        while !self.ready() {
            let gone = self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(Some(_))));
            if gone || Instant::now() > deadline {
                return Err(ServerError::NotReady { log: self.log_tail() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns a client with the admin's token.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("start makes the client before it returns")
    }

    /// Returns a token with which one machine can join under this name.
    pub fn join_token(&self, host: &str) -> Result<JoinToken, ServerError> {
        let body = JoinTokenBody { host: Some(host.into()), valid_s: Some(600) };
        Ok(self.client().post("/join-tokens", &body, None)?)
    }

    /// Returns the address that agents speak to.
    pub fn agents_url(&self) -> String {
        format!("https://{}", self.agents)
    }

    pub fn operators_url(&self) -> String {
        format!("https://{}", self.operators)
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    pub fn ca_path(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// Returns the number of the process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns the file of the ledger, for a server that does not run.
    pub fn database(&self) -> PathBuf {
        self.data().join("sopwith.db")
    }

    /// Kills the process as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Says whether the process has ended by itself, and then forgets it.
    pub fn died(&mut self) -> bool {
        let gone = self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))));
        if gone {
            self.child = None;
        }
        gone
    }

    /// Runs a local command of the server; returns what it printed.
    pub fn local(&self, arguments: &[&str], stdin: &str) -> Result<String, ServerError> {
        let what = format!("sopwith-server {}", arguments.join(" "));
        let mut command = Command::new(self.binaries.join("sopwith-server"));
        command.arg("--config").arg(self.config()).args(arguments);
        let done = crate::lab::run_command(&mut command, stdin.as_bytes(), START_LIMIT).map_err(io(&what))?;
        if !done.ok() {
            return Err(ServerError::Command { what, output: format!("{}{}", done.stdout, done.stderr) });
        }
        Ok(done.stdout)
    }

    /// Returns the last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn reach(&self, token: &str) -> Result<Client, ServerError> {
        let ca = std::fs::read_to_string(self.ca_path()).map_err(io("read the CA"))?;
        Ok(Client::new(&self.operators_url(), token, Some(&ca))?)
    }

    fn ready(&self) -> bool {
        self.reach("").is_ok_and(|client| client.ready())
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn config(&self) -> PathBuf {
        self.dir.join("server.yaml")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    fn config_text(&self) -> String {
        format!(
            "data_dir: {}\noperator_listen: {}\nagent_listen: {}\nnames: [\"{}\"]\nplaybooks_dir: {}\npolicy: {}\n",
            self.data().display(),
            self.operators,
            self.agents,
            self.agents.ip(),
            self.dir.join("playbooks").display(),
            self.dir.join("policy.yaml").display(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> ServerError + '_ {
    move |source| ServerError::Io { what: what.to_owned(), source }
}

fn write(path: &Path, text: &str) -> Result<(), ServerError> {
    let mut file = File::create(path).map_err(io(&format!("create {}", path.display())))?;
    file.write_all(text.as_bytes()).map_err(io(&format!("write {}", path.display())))
}

/// Returns an address with a port that was free a moment ago.
fn free(address: IpAddr) -> Result<SocketAddr, ServerError> {
    let listener = TcpListener::bind((address, 0)).map_err(io("find a free port"))?;
    listener.local_addr().map_err(io("find a free port"))
}
