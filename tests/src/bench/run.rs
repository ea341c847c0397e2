//! What a run costs: a step beside the same command in a shell script that syncs after each, matching in a library of
//! ten thousand playbooks, and the memory of a server with a hundred thousand open incidents.

use super::BenchError;
use super::figures::Figures;
use super::report::{self, Row};
use super::site::Site;
use super::stages::Journal;
use super::{crowd, library};
use clap::Args;
use sopwith_domain::signal::Subject;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROUNDS_DEFAULT: u8 = 5;
/// Steps of the playbook that is measured, as `tests/bench/playbooks/bench-many-steps.yaml` has them.
const STEPS: usize = 20;
const ENDED_LIMIT: Duration = Duration::from_secs(60);
/// A step is two durable records and a supervised program; the script is one of each.
const STEP_GOAL_RATIO: f64 = 3.0;
const LIBRARY_GOAL_RATIO: f64 = 2.0;
/// The same commands, with the same durability.
const SCRIPT: &str = "import os, subprocess, sys, time\n\
    script = 'for i in $(seq %s); do /bin/true; echo step $i >> /var/tmp/steps; sync /var/tmp/steps; done' % sys.argv[1]\n\
    began = time.monotonic()\n\
    subprocess.run(['/bin/sh', '-c', script], check=True)\n\
    print((time.monotonic() - began) * 1000 / int(sys.argv[1]))";

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Rounds of each measurement
    #[arg(long, default_value_t = ROUNDS_DEFAULT, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// Write the comparisons to this file as JSON
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// Which parts to measure, all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// A step of a run beside a shell script with fsync
    Steps,
    /// Matching with 10 and with 10,000 playbooks
    Library,
    /// Memory of a server with 100,000 open incidents
    Incidents,
}

/// Measures what is wanted.
pub fn measure(wanted: &RunArguments, binaries: &Path) -> Result<Vec<Row>, BenchError> {
    let is_wanted = |part| wanted.only.is_empty() || wanted.only.contains(&part);
    let mut rows = Vec::new();
    if is_wanted(Part::Library) {
        let (few, many) = library::measure()?;
        let peer = format!("ours with {}", library::FEW);
        let work = format!("matching a signal, {} playbooks", library::MANY);
        rows.push(Row::of(&work, (many, few), &peer, "µs", LIBRARY_GOAL_RATIO));
    }
    if is_wanted(Part::Incidents) {
        rows.push(crowd::measure(binaries)?);
    }
    if is_wanted(Part::Steps) {
        let site = Site::open(binaries, 1)?;
        rows.push(steps(&site, wanted.rounds).map_err(|e| format!("{e}\n{}", site.logs()))?);
    }
    Ok(rows)
}

/// Runs the playbook of many steps and the script in turns.
fn steps(site: &Site, rounds: u8) -> Result<Row, BenchError> {
    let mut journal = Journal::of(site.server.client());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    site.agent_starts()?;
    for round in 1..=rounds {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, round));
        let began_ms = site.call_for_steps(&address.to_string())?;
        let took_ms = journal.steps_took(&Subject::Address(address), began_ms, STEPS, ENDED_LIMIT)?;
        ours.push(took_ms / STEPS as f64);
        let said =
            site.host.run(&["python3", "-c", SCRIPT, &STEPS.to_string()]).map_err(|e| e.to_string())?;
        theirs.push(said.trim().parse().map_err(|e| format!("read {said:?}: {e}"))?);
    }
    site.agent_stops()?;
    let (Some(ours), Some(theirs)) = (Figures::of(&ours), Figures::of(&theirs)) else {
        return Err("measure anything".into());
    };
    let measured = [("ours", ours), ("script", theirs)].map(|(name, f)| (name.to_owned(), Some(f)));
    println!("\n{}", report::ranges("a step, /bin/true", &measured));
    Ok(Row::times("a step of a run: /bin/true", &ours, &theirs, "sh, sync after each", STEP_GOAL_RATIO))
}
