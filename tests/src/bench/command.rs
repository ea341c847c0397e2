//! The command line of the benchmarks.

use super::BenchError;
use super::agent::{self, AgentArguments};
use super::lines::Lines;
use super::report::{self, Row};
use super::run::{self, RunArguments};
use super::services::{self, Services};
use super::site::Site;
use super::stages::Journal;
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};

const ROUNDS_DEFAULT: usize = 20;
/// The host has so many services of each of which the process is killed once.
const ROUNDS_MAX: usize = 99;
/// Ours and the peers take turns after so many rounds, so that a busy minute of the machine strikes both.
const TURN: usize = 5;

/// Measures the real Sopwith beside the tools that people use today, in one run on one lab host.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", after_help = "Example: cargo xtask bench loop --json loop.json")]
pub struct Arguments {
    #[command(subcommand)]
    work: Work,
    /// Folder of the built binaries
    #[arg(long, hide = true, global = true)]
    binaries: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// From the fault to the verified fix: a killed service beside Monit, a log line beside fail2ban
    Loop(LoopArguments),
    /// What the agent alone costs, beside the packages whose work it does
    Agent(AgentArguments),
    /// What a run costs: a step beside a shell script, matching in a large library, many open incidents
    Run(RunArguments),
}

#[derive(Debug, Args)]
struct LoopArguments {
    /// Rounds of each measurement
    #[arg(long, default_value_t = ROUNDS_DEFAULT, value_parser = rounds)]
    rounds: usize,
    /// Write the comparisons to this file as JSON
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Which halves to measure
    #[arg(long, value_enum, default_value = "both")]
    only: Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Half {
    Services,
    Lines,
    Both,
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds) if (1..=ROUNDS_MAX).contains(&rounds) => Ok(rounds),
        _ => Err(format!("not a number from 1 to {ROUNDS_MAX}")),
    }
}

/// Carries a benchmark out and prints what it came to.
pub fn carry_out(arguments: &Arguments) -> Result<(), BenchError> {
    let binaries = arguments.binaries.as_deref();
    let binaries = binaries.ok_or("find the binaries: start it by `cargo xtask bench`, which builds them")?;
    let (rows, json) = match &arguments.work {
        Work::Loop(wanted) => (measure_loop(wanted, binaries)?, &wanted.json),
        Work::Agent(wanted) => (agent::measure(wanted, binaries)?, &wanted.json),
        Work::Run(wanted) => (run::measure(wanted, binaries)?, &wanted.json),
    };
    print!("\n{}", report::table(&rows));
    if let Some(path) = json {
        let text = report::json(&rows).map_err(|e| e.to_string())?;
        std::fs::write(path, text).map_err(|e| format!("write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn measure_loop(wanted: &LoopArguments, binaries: &Path) -> Result<Vec<Row>, BenchError> {
    let site = Site::open(binaries, wanted.rounds)?;
    rounds_of_loop(wanted, &site).map_err(|e| format!("{e}\n{}", site.logs()))
}

fn rounds_of_loop(wanted: &LoopArguments, site: &Site) -> Result<Vec<Row>, BenchError> {
    let numbers: Vec<usize> = (1..=wanted.rounds).collect();
    let mut journal = Journal::of(site.server.client());
    let mut rows = Vec::new();
    if wanted.only != Half::Lines {
        services::configure_monit(site, wanted.rounds)?;
        let mut services = Services::default();
        for turn in numbers.chunks(TURN) {
            services.ours(site, &mut journal, turn)?;
            services.monit(site, turn)?;
            progress("services", turn, wanted.rounds);
        }
        println!("\n{}", services.ranges());
        rows.extend(services.rows(&site.version("monit")?));
    }
    if wanted.only != Half::Services {
        let mut lines = Lines::default();
        for turn in numbers.chunks(TURN) {
            lines.ours(site, &mut journal, turn)?;
            lines.fail2ban(site, turn)?;
            progress("lines", turn, wanted.rounds);
        }
        println!("\n{}", lines.ranges());
        rows.extend(lines.rows(&site.version("fail2ban")?));
    }
    Ok(rows)
}

fn progress(what: &str, turn: &[usize], rounds: usize) {
    eprintln!("bench: {what}: {} of {rounds} rounds", turn.last().unwrap_or(&0));
}
