//! What the agent costs at rest as there is more to watch: rules, files, processes of the host. Each size is a start
//! of its own; the rows compare the largest with the smallest.

use super::BenchError;
use super::report::Row;
use super::rest::{self, Cost};
use crate::lab::Host;
use std::fmt::Write;
use std::time::Duration;

const UNIT: &str = "bench-curve.service";
const CONFIG_PATH: &str = "/etc/sopwith/bench-curve.yaml";
const STATE: &str = "/var/lib/bench-curve";
const LOGS: &str = "/var/log/bench-curve";
const SETTLE_S: u64 = 6;
const MEASURED_S: u64 = 20;
const PREPARE_LIMIT: Duration = Duration::from_secs(120);

/// What there is more and more of.
#[derive(Debug, Clone, Copy)]
enum Of {
    Rules,
    Files,
    Processes,
}

impl Of {
    fn sizes(self) -> [usize; 3] {
        match self {
            Self::Rules => [10, 100, 1000],
            Self::Files => [10, 500, 5000],
            Self::Processes => [100, 700, 5000],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules of a log",
            Self::Files => "files that are followed",
            Self::Processes => "processes of the host",
        }
    }

    fn config(self, size: usize) -> String {
        let mut text = format!(
            "host: bench\nstate_dir: {STATE}\nruntime_dir: {STATE}\nmetrics_listen: 127.0.0.1:9633\nmetrics: \
             {{node_compat: on}}\nlogs:\n  - name: bench\n    paths: ['{LOGS}/*.log']\n    rules:\n"
        );
        let rules = if matches!(self, Self::Rules) { size } else { 10 };
        for number in 0..rules {
            let _ = writeln!(
                text,
                "      - {{name: rule-{number}, pattern: 'daemon-{number}\\[\\d+\\]: failed for (?P<ip>\\S+)$', \
                 captures: {{ip: ip}}}}"
            );
        }
        text
    }

    /// Returns the script that lays out what is to be watched.
    fn script(self, size: usize) -> String {
        let files = if matches!(self, Self::Files) { size } else { 1 };
        let mut script = format!(
            "rm -rf {LOGS} {STATE}; mkdir -p {LOGS} {STATE} /etc/sopwith; seq -f '{LOGS}/%g.log' {files} | xargs touch"
        );
        if matches!(self, Self::Processes) {
            let _ = write!(
                script,
                "; systemd-run -q --unit=bench-crowd -p TasksMax=infinity sh -c \
                 'i=0; while [ $i -lt {size} ]; do sleep infinity & i=$((i+1)); done; wait'"
            );
        }
        script
    }
}

/// Measures all three curves.
pub fn measure(host: &Host, agent: &str) -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    for of in [Of::Rules, Of::Files, Of::Processes] {
        let mut costs: Vec<(usize, Cost)> = Vec::new();
        for size in of.sizes() {
            let cost = one(host, agent, of, size)?;
            println!(
                "{size:>5} {}: {:.2} MB, {:.3} % of a core",
                of.name(),
                cost.pss_kb / 1000.0,
                cost.cpu_percent
            );
            costs.push((size, cost));
        }
        if let (Some((few, first)), Some((many, last))) = (costs.first(), costs.last()) {
            // Below this the cost grows less than what is watched.
            let goal = *many as f64 / *few as f64;
            let peer = format!("ours with {few}");
            let memory = (last.pss_kb / 1000.0, first.pss_kb / 1000.0);
            rows.push(Row::of(&format!("{many} {}: memory", of.name()), memory, &peer, "MB", goal));
            let cpu = (last.cpu_percent, first.cpu_percent);
            rows.push(Row::of(&format!("{many} {}: idle processor time", of.name()), cpu, &peer, "%", goal));
        }
    }
    Ok(rows)
}

fn one(host: &Host, agent: &str, of: Of, size: usize) -> Result<Cost, BenchError> {
    let sh = |script: &str| {
        let done = host.run_for(&["sh", "-c", script], b"", PREPARE_LIMIT);
        done.and_then(|done| done.expect(script)).map(drop).map_err(|e| e.to_string())
    };
    sh(&of.script(size))?;
    let config = of.config(size);
    host.write(CONFIG_PATH, config.as_bytes(), 0o644).map_err(|e| format!("place a file: {e}"))?;
    sh(&format!(
        "systemd-run -q --unit={UNIT} -p LimitNOFILE=16384 {agent} --config {CONFIG_PATH} watch; sleep {SETTLE_S}"
    ))?;
    let cost = rest::cost(host, &[UNIT], MEASURED_S);
    sh(&format!("systemctl stop {UNIT}; systemctl stop bench-crowd 2>/dev/null; true"))?;
    cost
}
