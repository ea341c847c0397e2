//! One lab host with everything on it that is measured, and the server of ours beside it. Whoever is measured runs;
//! the others are stopped meanwhile.

use super::{BenchError, peers};
use crate::installation::{Plan, Server, agent};
use crate::lab::{Host, Lab, SERVER_ADDRESS};
use rand::Rng;
use serde::Deserialize;
use sopwith_protocol::api::{HostView, Page};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const UNITS: &str = "sopwith-runner.service sopwith-agent.service";
const MEASURE: &str = include_str!("../../bench/measure.py");
const MEASURE_PATH: &str = "/usr/local/lib/bench/measure.py";
/// Longest time that one measurement takes, its random start and the limit of the measuring program included.
const MEASURE_LIMIT: Duration = Duration::from_secs(40);
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long who was just started is left alone, so that its start is not measured.
const SETTLE: Duration = Duration::from_secs(3);
/// Rounds begin anywhere within this time: the longest interval at which a peer looks.
const PHASE_S: f64 = 1.0;

/// When a round began and when it was answered, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub began_ms: f64,
    pub took_ms: f64,
}

#[derive(Deserialize)]
struct Answer {
    began_ns: i64,
    done_ns: Option<i64>,
}

/// The host and the server.
#[derive(Debug)]
pub struct Site {
    pub host: Host,
    pub server: Server,
    _dir: TempDir,
}

impl Site {
    /// Boots the host, starts the server, installs the agent; then stops the agent.
    pub fn open(binaries: &Path, services: usize) -> Result<Site, BenchError> {
        let lab = Lab::open().map_err(|e| format!("open the lab: {e}"))?;
        let root = peers::root(&lab)?;
        let dir = tempfile::tempdir().map_err(|e| format!("make a folder: {e}"))?;
        let playbooks = gather_playbooks(dir.path()).map_err(|e| format!("gather the playbooks: {e}"))?;
        let host = Host::up(&lab, "bench", &root).map_err(|e| format!("boot the host: {e}"))?;
        host.write(MEASURE_PATH, MEASURE.as_bytes(), 0o644).map_err(|e| format!("place a file: {e}"))?;
        let plan = Plan {
            binaries,
            dir: dir.path(),
            address: SERVER_ADDRESS.into(),
            policy: include_str!("../../bench/policy.yaml"),
            playbooks: &playbooks,
        };
        let server = Server::start(&plan).map_err(|e| format!("start the server: {e}"))?;
        let site = Site { host, server, _dir: dir };
        let wanted: Vec<String> = (1..=services).map(service).collect();
        site.sh(&format!("systemctl start {}", wanted.join(" ")))?;
        let config = agent::config_for(&site.host, &site.server, include_str!("../../bench/agent.yaml"));
        agent::install(binaries, &site.host, &site.server, &config)
            .map_err(|e| format!("install the agent: {e}\n{}", site.logs()))?;
        site.agent_stops()?;
        Ok(site)
    }

    /// Starts the agent and waits until it speaks with the server.
    pub fn agent_starts(&self) -> Result<(), BenchError> {
        self.sh(&format!("systemctl start {UNITS}"))?;
        let until = Instant::now() + CONNECT_LIMIT;
        while !self.connected()? {
            if Instant::now() > until {
                return Err("see the agent connected".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(SETTLE);
        Ok(())
    }

    pub fn agent_stops(&self) -> Result<(), BenchError> {
        self.sh(&format!("systemctl stop {UNITS}"))
    }

    fn connected(&self) -> Result<bool, BenchError> {
        let hosts: Page<HostView> =
            self.server.client().get("/hosts").map_err(|e| format!("list the hosts: {e}"))?;
        Ok(hosts.items.iter().any(|view| view.host == self.host.name() && view.state == "connected"))
    }

    /// Starts a unit of a peer.
    pub fn peer_starts(&self, unit: &str) -> Result<(), BenchError> {
        self.sh(&format!("systemctl start {unit}"))?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    pub fn peer_stops(&self, unit: &str) -> Result<(), BenchError> {
        self.sh(&format!("systemctl stop {unit}"))
    }

    /// Runs a script in the host and fails unless it succeeds.
    pub fn sh(&self, script: &str) -> Result<(), BenchError> {
        let done = self.host.sh(script).and_then(|done| done.expect(&format!("run {script:?}")));
        done.map(drop).map_err(|e| e.to_string())
    }

    /// Kills a service's process and waits until it runs again.
    pub fn kill(&self, number: usize) -> Result<Measured, BenchError> {
        let pidfile = format!("/run/bench/{}.pid", name(number));
        self.measure(&["kill", &pidfile]).map_err(|e| format!("see {} run again: {e}", name(number)))
    }

    /// Writes the line that names an address and waits until the address is marked.
    pub fn name_address(&self, address: &str) -> Result<Measured, BenchError> {
        let text = format!("bench: refused {address}");
        let mark = format!("/run/bench/marks/{address}");
        self.measure(&["line", "/var/log/bench.log", &text, &mark])
            .map_err(|e| format!("see {address} marked: {e}"))
    }

    /// Writes the line that calls for the playbook of many steps; returns when.
    pub fn call_for_steps(&self, address: &str) -> Result<f64, BenchError> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.sh(&format!("date '+%F %T bench: steps for {address}' >> /var/log/bench.log"))?;
        Ok(now.as_secs_f64() * 1000.0)
    }

    fn measure(&self, what: &[&str]) -> Result<Measured, BenchError> {
        let after = format!("{:.4}", rand::rng().random_range(0.0..PHASE_S));
        let mut argv = vec!["python3", MEASURE_PATH];
        argv.extend(what);
        argv.push(&after);
        let done = self.host.run_for(&argv, b"", MEASURE_LIMIT).map_err(|e| e.to_string())?;
        let text = done.expect("measure").map_err(|e| e.to_string())?;
        let answer: Answer = serde_json::from_str(&text).map_err(|e| format!("read {text:?}: {e}"))?;
        let done_ns = answer.done_ns.ok_or("it does not within the limit")?;
        let ms = |ns: i64| ns as f64 / 1e6;
        Ok(Measured { began_ms: ms(answer.began_ns), took_ms: ms(done_ns - answer.began_ns) })
    }

    /// Returns a peer's name and version, as the package says it.
    pub fn version(&self, package: &str) -> Result<String, BenchError> {
        let argv = ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}", package];
        let version = self.host.run(&argv).map_err(|e| e.to_string())?;
        let name = if package == "monit" { "Monit" } else { package };
        Ok(format!("{name} {}", version.trim()))
    }

    /// Returns what ours and the peers said last, for an error.
    pub fn logs(&self) -> String {
        const SCRIPT: &str = "journalctl -u sopwith-agent -u sopwith-runner -n 30 -o cat --no-pager; \
                              tail -n 15 /var/log/monit.log /var/log/fail2ban.log 2>/dev/null";
        let host = self.host.sh(SCRIPT).map_or_else(|e| e.to_string(), |done| done.stdout);
        format!("server:\n{}\nhost:\n{host}", self.server.log_tail())
    }
}

/// Returns the name of a service of the host, without what kind of unit it is.
pub fn name(number: usize) -> String {
    format!("bench-{number:02}")
}

/// Returns a service's unit.
pub fn service(number: usize) -> String {
    format!("{}.service", name(number))
}

/// Lays the shipped playbooks and the benchmark's own into one folder, for the owner to sign.
fn gather_playbooks(dir: &Path) -> std::io::Result<PathBuf> {
    let to = dir.join("unsigned");
    fs::create_dir(&to)?;
    for from in ["../playbooks", "bench/playbooks"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(from))? {
            let path = entry?.path();
            if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|e| e == "yaml")) {
                fs::copy(&path, to.join(name))?;
            }
        }
    }
    Ok(to)
}
