//! A page of metrics: the processor time that it takes us and node_exporter to serve one of the same host, and the
//! memory that each holds after many.

use super::BenchError;
use super::figures::Figures;
use super::report::{self, Row};
use crate::lab::Host;
use serde::Deserialize;
use std::time::Duration;

/// 3 ms where node_exporter takes 12, and 18 MB where it takes 22.
const CPU_GOAL_RATIO: f64 = 0.25;
const MEMORY_GOAL_RATIO: f64 = 0.82;
/// Pages of one round. They follow each other closely: what is asked of the host every half minute only, and not for
/// each page, is paid for once in this time by us.
const PAGES: &str = "40";
const PAUSE_S: &str = "0.02";
const SCRIPT: &str = include_str!("../../bench/scrape.py");
const SCRIPT_PATH: &str = "/usr/local/lib/bench/scrape.py";
const CONFIG_PATH: &str = "/etc/sopwith/bench-metrics.yaml";
const CONFIG: &str = "state_dir: /var/lib/bench-metrics\nruntime_dir: /run/bench-metrics\nmetrics_listen: 127.0.0.1:9632\n\
                      metrics: {node_compat: on}\n";
const UNIT: &str = "bench-metrics.service";
const PEER: &str = "prometheus-node-exporter.service";
const LIMIT: Duration = Duration::from_secs(60);
/// How long both run before they are measured, so that their start is not.
const SETTLE: &str = "8";

#[derive(Debug, Deserialize)]
struct Answer {
    cpu_ns: f64,
    series: u64,
    pss_kb: f64,
}

/// What the rounds told of one side.
#[derive(Debug, Default)]
struct Side {
    cpu_ms: Vec<f64>,
    pss_mb: Vec<f64>,
    series: u64,
}

impl Side {
    fn round(&mut self, host: &Host, unit: &str, port: &str) -> Result<(), BenchError> {
        let pid = host.run(&["systemctl", "show", "-p", "MainPID", "--value", unit]);
        let pid = pid.map_err(|e| e.to_string())?;
        let argv = ["python3", SCRIPT_PATH, pid.trim(), port, PAGES, PAUSE_S];
        let done = host.run_for(&argv, b"", LIMIT).and_then(|done| done.expect("ask for pages"));
        let text = done.map_err(|e| e.to_string())?;
        let answer: Answer = serde_json::from_str(&text).map_err(|e| format!("read {text:?}: {e}"))?;
        let pages: f64 = PAGES.parse().map_err(|e| format!("count the pages: {e}"))?;
        self.cpu_ms.push(answer.cpu_ns / pages / 1e6);
        self.pss_mb.push(answer.pss_kb / 1000.0);
        self.series = answer.series;
        Ok(())
    }
}

/// Measures both on one host, in turns.
pub fn measure(host: &Host, agent: &str, rounds: usize, peer_name: &str) -> Result<Vec<Row>, BenchError> {
    let sh = |script: &str| host.sh(script).and_then(|done| done.expect(script)).map_err(|e| e.to_string());
    for (path, text) in [(SCRIPT_PATH, SCRIPT), (CONFIG_PATH, CONFIG)] {
        host.write(path, text.as_bytes(), 0o644).map_err(|e| format!("place a file: {e}"))?;
    }
    sh(&format!(
        "mkdir -p /run/bench-metrics && systemd-run -q --unit={UNIT} {agent} --config {CONFIG_PATH} watch && \
         systemctl start {PEER} && sleep {SETTLE}"
    ))?;
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for _ in 0..rounds {
        ours.round(host, UNIT, "9632")?;
        theirs.round(host, PEER, "9100")?;
    }
    sh(&format!("systemctl stop {UNIT} {PEER}"))?;
    let sides = [("ours", &ours), (peer_name, &theirs)];
    let cpu =
        sides.map(|(name, side)| (format!("{name}: {} series", side.series), Figures::of(&side.cpu_ms)));
    println!("\n{}", report::ranges("processor time of a page", &cpu));
    let figures = |values: fn(&Side) -> &[f64]| Figures::of(values(&ours)).zip(Figures::of(values(&theirs)));
    let mut rows = Vec::new();
    if let Some((ours, theirs)) = figures(|side| &side.cpu_ms) {
        rows.push(Row::times(
            "one page of metrics: processor time",
            &ours,
            &theirs,
            peer_name,
            CPU_GOAL_RATIO,
        ));
    }
    if let Some((ours, theirs)) = figures(|side| &side.pss_mb) {
        let row = Row::times("memory after many pages (PSS)", &ours, &theirs, peer_name, MEMORY_GOAL_RATIO);
        rows.push(Row { unit: "MB".into(), ..row });
    }
    Ok(rows)
}
