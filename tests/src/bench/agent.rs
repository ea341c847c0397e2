//! What the agent alone costs, beside the Debian packages whose work it does: each part is a module of its own.

use super::BenchError;
use super::report::Row;
use super::{curves, matching, peers, rest, scrape, spooled};
use crate::lab::{Host, Lab};
use clap::Args;
use std::path::{Path, PathBuf};

const ROUNDS_DEFAULT: usize = 10;
const ROUNDS_MAX: usize = 200;
const SECONDS_DEFAULT: u64 = 60;
/// Where the agent lies on the host.
const AGENT: &str = "/usr/local/bin/sopwith-agent";

#[derive(Debug, Args)]
pub struct AgentArguments {
    /// Rounds of each measurement
    #[arg(long, default_value_t = ROUNDS_DEFAULT, value_parser = rounds)]
    rounds: usize,
    /// Write the comparisons to this file as JSON
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// Seconds for which rest is watched, each side
    #[arg(long, default_value_t = SECONDS_DEFAULT)]
    seconds: u64,
    /// Which parts to measure, all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Log matching beside ripgrep and fail2ban
    Matching,
    /// From a log line to the durable signal, beside fail2ban
    Spooled,
    /// A page of metrics, beside node_exporter
    Scrape,
    /// Fifty checks while nothing happens beside Monit, and the memory of all
    Rest,
    /// Memory and idle processor time with ever more rules, files and processes
    Curves,
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds) if (1..=ROUNDS_MAX).contains(&rounds) => Ok(rounds),
        _ => Err(format!("not a number from 1 to {ROUNDS_MAX}")),
    }
}

/// Measures what is wanted on one lab host.
pub fn measure(wanted: &AgentArguments, binaries: &Path) -> Result<Vec<Row>, BenchError> {
    let is_wanted = |part| wanted.only.is_empty() || wanted.only.contains(&part);
    let mut rows = Vec::new();
    if is_wanted(Part::Rest) {
        rows.extend(rest::measure(binaries, wanted.seconds)?);
    }
    let lab = Lab::open().map_err(|e| format!("open the lab: {e}"))?;
    let root = peers::root(&lab)?;
    let host = Host::up(&lab, "bench-agent", &root).map_err(|e| format!("boot the host: {e}"))?;
    host.copy_in(&binaries.join("sopwith-agent"), AGENT, 0o755)
        .map_err(|e| format!("place the agent: {e}"))?;
    let (ripgrep, fail2ban) = (version(&host, "ripgrep")?, version(&host, "fail2ban")?);
    if is_wanted(Part::Matching) {
        rows.extend(matching::measure(&host, AGENT, wanted.rounds, [&ripgrep, &fail2ban])?);
    }
    if is_wanted(Part::Spooled) {
        rows.extend(spooled::measure(&host, AGENT, wanted.rounds, &fail2ban)?);
    }
    if is_wanted(Part::Scrape) {
        let exporter = version(&host, "prometheus-node-exporter")?;
        rows.extend(scrape::measure(&host, AGENT, wanted.rounds, &exporter)?);
    }
    if is_wanted(Part::Curves) {
        rows.extend(curves::measure(&host, AGENT)?);
    }
    Ok(rows)
}

/// Returns a peer's name and version, as the package says it.
fn version(host: &Host, package: &str) -> Result<String, BenchError> {
    let argv = ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}", package];
    let version = host.run(&argv).map_err(|e| e.to_string())?;
    Ok(format!("{package} {}", version.trim()))
}
