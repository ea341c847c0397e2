//! What watching costs while nothing happens: fifty checks once a second beside Monit, and the memory of the agent,
//! watcher and runner, when it does the work of node_exporter, Monit and fail2ban together.

use super::BenchError;
use super::lines;
use super::report::Row;
use super::site::{Site, name};
use crate::installation::agent;
use crate::lab::Host;
use serde::Deserialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

const SCRIPT: &str = include_str!("../../bench/rest.py");
const SCRIPT_PATH: &str = "/usr/local/lib/bench/rest.py";
const CHECKS: usize = 50;
/// A port that only takes connections and closes them.
const PORT: u16 = 4711;
const DOOR: &str = "/usr/local/lib/bench/door.py";
const DOOR_TEXT: &str = "import socket\ndoor = socket.create_server(('127.0.0.1', 4711), backlog=512)\n\
                         while True:\n    door.accept()[0].close()\n";
/// 0.5 % of a core where Monit takes 1.2, and 18 MB where the three take 55.
const CPU_GOAL_RATIO: f64 = 0.42;
const MEMORY_GOAL_RATIO: f64 = 0.33;
/// How long everybody runs before he is measured.
const SETTLE_S: u64 = 8;
const OURS: [&str; 2] = ["sopwith-agent.service", "sopwith-runner.service"];
const MONIT: &str = "monit.service";
const EXPORTER: &str = "prometheus-node-exporter.service";
const FAIL2BAN: &str = "fail2ban.service";
/// systemd does not know the process of a unit that forks without saying which it is.
const FIND: &str = "pid=$(systemctl show -p MainPID --value $unit); [ $pid != 0 ] || pid=$(pidof -s ${unit%.service}); \
                    echo $pid";

/// What `rest.py` says.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cost {
    pub cpu_percent: f64,
    pub pss_kb: f64,
    pss_kb_first: f64,
    pss_kb_per_hour: f64,
}

/// Measures units of a host over a time, each by its main process.
pub fn cost(host: &Host, units: &[&str], seconds: u64) -> Result<Cost, BenchError> {
    host.write(SCRIPT_PATH, SCRIPT.as_bytes(), 0o644).map_err(|e| format!("place a file: {e}"))?;
    let done = host.sh(&format!("for unit in {}; do {FIND}; done", units.join(" ")));
    let pids = done.and_then(|done| done.expect("find the processes")).map_err(|e| e.to_string())?;
    let seconds_text = seconds.to_string();
    let mut argv = vec!["python3", SCRIPT_PATH, &seconds_text];
    argv.extend(pids.split_whitespace());
    let limit = Duration::from_secs(seconds + 30);
    let done = host.run_for(&argv, b"", limit).and_then(|done| done.expect("measure"));
    let text = done.map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| format!("read {text:?}: {e}"))
}

/// How the fifty things are looked at.
#[derive(Debug, Clone, Copy)]
enum Looks {
    /// A connection to a port.
    Ports,
    /// A process by its pidfile.
    Processes,
}

impl Looks {
    fn work(self) -> &'static str {
        match self {
            Self::Ports => "at rest, 50 ports at 1 s: share of a core",
            Self::Processes => "at rest, 50 processes by pidfile: share of a core",
        }
    }

    /// Returns our configuration: the work of all three.
    fn ours(self) -> String {
        let mut text = String::from(include_str!("../../bench/agent.yaml"));
        text.push_str("metrics: {node_compat: on}\n");
        text.push_str(match self {
            Self::Ports => "checks:\n",
            Self::Processes => "processes:\n",
        });
        for number in 1..=CHECKS {
            let name = name(number);
            let _ = match self {
                Self::Ports => writeln!(
                    text,
                    "  - {{name: {name}, tcp: {{connect: '127.0.0.1:{PORT}'}}, every: 1s, timeout: 1s}}"
                ),
                Self::Processes => writeln!(text, "  - {{name: {name}, pidfile: /run/bench/{name}.pid}}"),
            };
        }
        text
    }

    fn monit(self) -> String {
        let mut text = String::from("set daemon 1\nset log /var/log/monit.log\n");
        for number in 1..=CHECKS {
            let name = name(number);
            let _ = match self {
                Self::Ports => writeln!(
                    text,
                    "check host {name} with address 127.0.0.1\n  if failed port {PORT} with timeout 1 seconds then alert"
                ),
                Self::Processes => writeln!(text, "check process {name} with pidfile /run/bench/{name}.pid"),
            };
        }
        text
    }
}

/// Measures all on one host with a server beside it; memory and processor time over so many seconds each.
pub fn measure(binaries: &Path, seconds: u64) -> Result<Vec<Row>, BenchError> {
    let site = Site::open(binaries, CHECKS)?;
    rows(&site, seconds).map_err(|e| format!("{e}\n{}", site.logs()))
}

fn rows(site: &Site, seconds: u64) -> Result<Vec<Row>, BenchError> {
    let write = |path: &str, text: &str, mode| {
        site.host.write(path, text.as_bytes(), mode).map_err(|e| format!("write {path}: {e}"))
    };
    write(DOOR, DOOR_TEXT, 0o644)?;
    site.sh(&format!("systemd-run -q --unit=bench-door python3 {DOOR}"))?;
    let monit_name = site.version("monit")?;
    let mut rows = Vec::new();
    let mut memory = None;
    for looks in [Looks::Ports, Looks::Processes] {
        let config = agent::config_for(&site.host, &site.server, &looks.ours());
        write("/etc/sopwith/agent.yaml", &config, 0o644)?;
        site.agent_starts()?;
        site.sh(&format!("sleep {SETTLE_S}"))?;
        asked(site, 9631)?;
        let ours = cost(&site.host, &OURS, seconds)?;
        site.agent_stops()?;
        write("/etc/monit/monitrc", &looks.monit(), 0o600)?;
        site.peer_starts(MONIT)?;
        site.sh(&format!("sleep {SETTLE_S}"))?;
        let monit = cost(&site.host, &[MONIT], seconds)?;
        site.peer_stops(MONIT)?;
        println!("{}: ours {ours:.2?}\n  {monit_name} {monit:.2?}", looks.work());
        let values = (ours.cpu_percent, monit.cpu_percent);
        rows.push(Row::of(looks.work(), values, &monit_name, "%", CPU_GOAL_RATIO));
        memory.get_or_insert((ours, monit));
    }
    let Some((ours, monit)) = memory else { return Ok(rows) };
    lines::configure(site, "polling")?;
    site.sh(&format!("systemctl start {EXPORTER} {FAIL2BAN}; sleep {SETTLE_S}"))?;
    asked(site, 9100)?;
    let others = cost(&site.host, &[EXPORTER, FAIL2BAN], SETTLE_S)?;
    site.sh(&format!("systemctl stop {EXPORTER} {FAIL2BAN}"))?;
    println!("node_exporter and fail2ban: {others:.2?}");
    let values = (ours.pss_kb / 1000.0, (monit.pss_kb + others.pss_kb) / 1000.0);
    let peers = "node_exporter + Monit + fail2ban";
    rows.push(Row::of("memory of watcher and runner (PSS)", values, peers, "MB", MEMORY_GOAL_RATIO));
    println!(
        "ours over {seconds} s: {:.0} kB, then {:.0} kB; trend {:.0} kB per hour",
        ours.pss_kb_first, ours.pss_kb, ours.pss_kb_per_hour
    );
    Ok(rows)
}

/// Asks for some pages of metrics, so that what serving them takes is held by then.
fn asked(site: &Site, port: u16) -> Result<(), BenchError> {
    let script = "import sys, urllib.request\nfor _ in range(20): \
                  urllib.request.urlopen(f'http://127.0.0.1:{sys.argv[1]}/metrics').read()";
    let port = port.to_string();
    let done = site.host.run(&["python3", "-c", script, &port]);
    done.map(drop).map_err(|e| format!("ask for pages: {e}"))
}
