//! A line is written to a log: how long until what it means is durable. Ours until the signal is committed to the
//! spool, fail2ban until it says that it found the address.

use super::BenchError;
use super::figures::Figures;
use super::report::{self, Row};
use crate::lab::Host;
use rand::Rng;
use serde::Deserialize;
use std::time::Duration;

const MEASURE: &str = include_str!("../../bench/measure.py");
const MEASURE_PATH: &str = "/usr/local/lib/bench/measure.py";
const MEASURE_LIMIT: Duration = Duration::from_secs(40);
/// How fail2ban reads logs, and our goal against it: it tells of what it found, and nothing is durable then. Where it
/// polls it takes some quarter of a second, and the goal is a median of five milliseconds.
const BACKENDS: [(&str, f64); 2] = [("polling", 0.02), ("pyinotify", 1.0)];
const LOG: &str = "/var/log/spooled.log";
const STATE: &str = "/var/lib/bench-agent";
const WORK: &str = "log line → signal durable in the spool";

#[derive(Deserialize)]
struct Answer {
    began_ns: i64,
    done_ns: Option<i64>,
}

/// Measures ours and fail2ban in turns.
pub fn measure(host: &Host, agent: &str, rounds: usize, fail2ban: &str) -> Result<Vec<Row>, BenchError> {
    host.write(MEASURE_PATH, MEASURE.as_bytes(), 0o644).map_err(|e| format!("place a file: {e}"))?;
    let config = format!(
        "host: bench\nstate_dir: {STATE}\nruntime_dir: {STATE}\nmetrics_listen: 127.0.0.1:9632\nlogs:\n\
         - name: bench\n  paths: [{LOG}]\n  rules:\n  - name: refused\n    pattern: 'bench: refused (?P<ip>\\S+)$'\n    \
         captures: {{ip: ip}}\n    subject: [ip]\n"
    );
    host.write("/etc/bench-agent.yaml", config.as_bytes(), 0o644)
        .map_err(|e| format!("place a file: {e}"))?;
    sh(host, &format!(": > {LOG}; mkdir -p {STATE}"))?;
    let spool = format!("{STATE}/watcher/spool.db");
    let start =
        format!("systemd-run -q --unit=bench-agent {agent} --config /etc/bench-agent.yaml watch; sleep 3");
    sh(host, &start)?;
    let ours = turns(host, rounds, 1, &["spooled", LOG, &spool])?;
    sh(host, "systemctl stop bench-agent")?;
    let mut all = vec![("ours: durable".to_owned(), Figures::of(&ours))];
    let mut rows = Vec::new();
    for (index, (backend, goal)) in BACKENDS.iter().enumerate() {
        configure(host, backend)?;
        sh(host, &format!(": > {LOG}; : > /var/log/fail2ban.log; systemctl start fail2ban; sleep 3"))?;
        let theirs = turns(host, rounds.div_ceil(2), index + 2, &["found", LOG, "/var/log/fail2ban.log"])?;
        sh(host, "systemctl stop fail2ban")?;
        let name = format!("{fail2ban}, {backend}");
        let figures = Figures::of(&theirs);
        if let (Some(ours), Some(theirs)) = (Figures::of(&ours), figures) {
            rows.push(Row::times(WORK, &ours, &theirs, &name, *goal));
        }
        all.push((format!("{name}: says so"), figures));
    }
    println!("\n{}", report::ranges("log line → …", &all));
    Ok(rows)
}

fn sh(host: &Host, script: &str) -> Result<(), BenchError> {
    let done = host.sh(script).and_then(|done| done.expect(&format!("run {script:?}")));
    done.map(drop).map_err(|e| e.to_string())
}

/// Writes a line with an address of its own for each round, and returns the milliseconds.
fn turns(host: &Host, rounds: usize, who: usize, what: &[&str]) -> Result<Vec<f64>, BenchError> {
    let one = |round: usize| {
        let text = format!("bench: refused 198.18.{who}.{}", round % 250 + 1);
        let after = format!("{:.4}", rand::rng().random_range(0.0..1.0));
        let argv = ["python3", MEASURE_PATH, what[0], what[1], &text, what[2], &after];
        let done = host.run_for(&argv, b"", MEASURE_LIMIT).and_then(|done| done.expect("measure"));
        let said = done.map_err(|e| e.to_string())?;
        let answer: Answer = serde_json::from_str(&said).map_err(|e| format!("read {said:?}: {e}"))?;
        let done_ns = answer.done_ns.ok_or_else(|| format!("see {text} within the limit"))?;
        Ok((done_ns - answer.began_ns) as f64 / 1e6)
    };
    (0..rounds).map(one).collect()
}

fn configure(host: &Host, backend: &str) -> Result<(), BenchError> {
    let jail = format!(
        "[sshd]\nenabled = false\n[spooled]\nenabled = true\nbackend = {backend}\nusedns = no\nlogpath = {LOG}\n\
         filter = spooled\nmaxretry = 100\nfindtime = 600\naction =\n"
    );
    let filter = "[Definition]\nfailregex = ^\\s*bench: refused <HOST>\\s*$\n";
    for (path, text) in
        [("/etc/fail2ban/jail.local", jail.as_str()), ("/etc/fail2ban/filter.d/spooled.conf", filter)]
    {
        host.write(path, text.as_bytes(), 0o644).map_err(|e| format!("configure fail2ban: {e}"))?;
    }
    Ok(())
}
