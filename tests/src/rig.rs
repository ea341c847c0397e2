//! A server on this machine and one lab host with the fixture's services and the agent, for end-to-end tests.

use crate::installation::{Client, Plan, Server, agent};
use crate::lab::{Host, Lab, SERVER_ADDRESS};
use sopwith_domain::ids::Digest;
use sopwith_protocol::api::{DecisionBody, HostView, IncidentView, Page};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FIXTURE: &[u8] = include_bytes!("../lab/fixture.sh");
const CONFIG: &str = include_str!("../lab/agent.yaml");
const POLICY: &str = include_str!("../lab/policy.yaml");
/// Longest wait for anything; a test that waits longer has failed.
pub const LIMIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// Where the fixture's service listens to be asked how it is.
pub const HEALTH: &str = "http://127.0.0.1:8090/health";

/// One installation with one host.
#[derive(Debug)]
pub struct Rig {
    pub server: Server,
    pub host: Host,
    _dir: TempDir,
}

/// Returns the folder of the built binaries, which lies beside a test's own.
pub fn binaries() -> PathBuf {
    let own = std::env::current_exe().expect("a running test has a path");
    own.parent().and_then(Path::parent).expect("target/debug/deps/test").to_path_buf()
}

/// Returns the folder of the shipped playbooks.
pub fn shipped_playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks")
}

/// Returns the folder of the playbooks that are for tests only.
pub fn test_playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/playbooks")
}

impl Rig {
    /// Boots a host, starts a server with these playbooks, installs the agent and waits until it is connected.
    ///
    /// # Panics
    /// When any of it fails, with the last words of both sides.
    pub fn up(lab: &Lab, name: &str, playbooks: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let address = SERVER_ADDRESS.into();
        let root = lab.layer(FIXTURE).expect("the fixture's layer");
        let host = Host::up(lab, name, &root).expect("boot a host");
        let plan = Plan { binaries: &binaries(), dir: dir.path(), address, policy: POLICY, playbooks };
        let server = Server::start(&plan).expect("start a server");
        let config = agent::config_for(&host, &server, CONFIG);
        agent::install(&binaries(), &host, &server, &config).expect("install the agent");
        let rig = Self { server, host, _dir: dir };
        rig.until("the agent is connected", || rig.connected());
        rig
    }

    fn client(&self) -> &Client {
        self.server.client()
    }

    /// Says whether the host's agent is connected; false while the server is away.
    pub fn connected(&self) -> bool {
        let hosts: Result<Page<HostView>, _> = self.client().get("/hosts");
        hosts.is_ok_and(|hosts| {
            hosts.items.iter().any(|view| view.host == self.host.name() && view.state == "connected")
        })
    }

    /// Returns the newest incident about a subject; none while the server is away.
    pub fn newest(&self, subject: &str) -> Option<IncidentView> {
        let mut theirs = self.about(subject);
        theirs.sort_by_key(|view| view.summary.id);
        theirs.pop()
    }

    /// Returns all incidents about a subject.
    pub fn about(&self, subject: &str) -> Vec<IncidentView> {
        let all = self.client().incidents().unwrap_or_default();
        all.into_iter().filter(|view| view.summary.subject == subject).collect()
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// When it takes longer than [`LIMIT`].
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < deadline, "it never came to this: {what}\n{}", self.last_words());
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for the newest incident about a subject to be in one of these phases.
    ///
    /// # Panics
    /// When it takes longer than [`LIMIT`].
    pub fn await_phase(&self, subject: &str, phases: &[&str]) -> IncidentView {
        let mut found = None;
        let what = format!("an incident about {subject} is {}", phases.join(" or "));
        self.until(&what, || {
            found = self.newest(subject).filter(|view| phases.contains(&view.summary.phase.as_str()));
            found.is_some()
        });
        found.expect("until returns when it is there")
    }

    /// Approves a plan; says whether the server took it.
    pub fn approve(&self, plan: Digest) -> bool {
        let body = DecisionBody { reason: "for the test".into(), signature: None };
        let path = format!("/plans/{plan}/approve");
        self.client().post::<serde_json::Value>(&path, &body, Some(&plan.to_string())).is_ok()
    }

    /// Runs a script inside the host.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        self.host.sh(script).and_then(|done| done.expect(script)).expect("a script of the test runs")
    }

    /// Says whether a script inside the host ends with 0.
    pub fn holds(&self, script: &str) -> bool {
        self.host.sh(script).is_ok_and(|done| done.ok())
    }

    /// Returns what both sides said last, for whoever reads a failure.
    pub fn last_words(&self) -> String {
        let script = "journalctl -u sopwith-agent -u sopwith-runner -n 60 -o cat --no-pager";
        let agent = self.host.sh(script).map_or_else(|e| e.to_string(), |done| done.stdout);
        let incidents: Vec<String> = self
            .client()
            .incidents()
            .unwrap_or_default()
            .iter()
            .map(|v| {
                format!(
                    "{} {} {}: {}",
                    v.summary.number, v.summary.subject, v.summary.phase, v.summary.status
                )
            })
            .collect();
        format!("incidents:\n{}\nserver:\n{}\nagent:\n{agent}", incidents.join("\n"), self.server.log_tail())
    }
}
