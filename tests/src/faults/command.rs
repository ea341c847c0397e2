//! The command line of the fault runner: reads the files, carries the round out, prints and writes the report.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;

use super::kinds::Kinds;
use super::round::{self, Outcome, Setup, Start, Task, Ways};
use super::sop_map::SopMap;
use super::{catalogue, markdown, quiet, report};
use crate::lab::Lab;

/// Hosts boot fast, but the victim's data stores and the builds share two cores.
const JOBS_DEFAULT: usize = 2;
const REPEATS_MAX: i64 = 100;

/// Injects the faults of a catalogue into real hosts and judges what Sopwith does about each.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "cargo xtask faults",
    after_help = "Example: cargo xtask faults catalogue.yaml --only SVC-01,FS-01"
)]
pub struct Arguments {
    /// The catalogue, any file in the format
    pub file: PathBuf,
    /// Script that turns a fresh host into the victim [default: victim.sh beside FILE]
    #[arg(long)]
    pub victim: Option<PathBuf>,
    /// Only these entries, by id
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Write the rows to this file as JSON
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// Write the rows to this file as a table of Markdown
    #[arg(long, value_name = "OUT")]
    pub markdown: Option<PathBuf>,
    /// Judge detection and matching only; nothing is approved
    #[arg(long)]
    pub detect_only: bool,
    /// Watch one healthy victim for so long (30m) in place of the entries: nothing may be raised, nothing done
    #[arg(long, value_name = "TIME", value_parser = quiet::window, conflicts_with_all = ["only", "detect_only", "fail_variants"])]
    pub quiet: Option<Duration>,
    /// Carry out the variants in which the fix must fail, too
    #[arg(long)]
    pub fail_variants: bool,
    /// In place of it all, force a failure at each step of each fix: all must be undone, and a person called
    #[arg(long, conflicts_with_all = ["detect_only", "fail_variants", "quiet"])]
    pub force_failures: bool,
    /// With it, have every undo done twice
    #[arg(long, requires = "force_failures")]
    pub undo_twice: bool,
    /// Let the agent propose a configuration on each host, and add only a few lines to it
    #[arg(long)]
    pub discover: bool,
    /// Carry every entry out so many times, one round after the other; each trial is a row of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=REPEATS_MAX))]
    pub repeats: u32,
    /// Entries at the same time
    #[arg(long, default_value_t = JOBS_DEFAULT)]
    pub jobs: usize,
    /// Which playbook answers which SOP of the catalogue [default: the project's own]
    #[arg(long, default_value_os_t = shipped("sop-map.yaml"), hide_default_value = true)]
    pub sop_map: PathBuf,
    /// Which signals are about which SOP of the catalogue [default: the project's own]
    #[arg(long, default_value_os_t = shipped("kinds.yaml"), hide_default_value = true)]
    pub kinds: PathBuf,
    /// Folder of the built binaries
    #[arg(long, hide = true)]
    pub binaries: Option<PathBuf>,
}

/// Returns one of the files that say what the victim's operator would configure.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("faults").join(name)
}

/// Carries the round out with a product; says whether every entry that ran is as it has to be.
pub fn carry_out(arguments: &Arguments, start: &Start<'_>) -> Result<bool, String> {
    let entries = catalogue::parse(&read(&arguments.file)?)
        .map_err(|e| format!("failed to read {}: {e}", arguments.file.display()))?;
    let map = SopMap::parse(&read(&arguments.sop_map)?)
        .map_err(|e| format!("failed to read {}: {e}", arguments.sop_map.display()))?;
    let kinds = Kinds::parse(&read(&arguments.kinds)?)
        .map_err(|e| format!("failed to read {}: {e}", arguments.kinds.display()))?;
    let ways = Ways {
        fail_variants: arguments.fail_variants,
        forced: arguments.force_failures,
        undo_twice: arguments.undo_twice,
    };
    let once = round::tasks(&entries, &arguments.only, ways)?;
    let tasks: Vec<Task<'_>> = (0..arguments.repeats).flat_map(|_| once.iter().copied()).collect();
    let victim = arguments.victim.clone().unwrap_or_else(|| arguments.file.with_file_name("victim.sh"));
    let script = read(&victim)?;
    let lab = Lab::open().map_err(|e| format!("failed to open the lab: {e}"))?;
    let root = lab.layer(script.as_bytes()).map_err(|e| format!("failed to build the victim: {e}"))?;
    let (ready, stop) = (read(&shipped("victim-ready.sh"))?, stop_flag());
    let setup = Setup {
        lab: &lab,
        victim: &root,
        ready: &ready,
        map: &map,
        kinds: &kinds,
        start,
        detect_only: arguments.detect_only,
        interrupted: &|| stop.load(Ordering::Relaxed),
    };
    if let Some(window) = arguments.quiet {
        let account = quiet::watch(&setup, &read(&shipped("victim-life.sh"))?, window)
            .map_err(|e| format!("failed to {e}"))?;
        print!("{}", quiet::table(&account));
        return Ok(account.is_quiet());
    }
    let keep = |outcomes: &[Outcome]| {
        let Some(path) = &arguments.json else { return };
        if let Err(error) = write_json(path, outcomes) {
            eprintln!("{error}");
        }
    };
    let outcomes = round::run(&setup, &tasks, arguments.jobs, &keep);
    if let Some(path) = &arguments.json {
        write_json(path, &outcomes)?;
    }
    if let Some(path) = &arguments.markdown {
        fs::write(path, markdown::table(&outcomes, arguments.detect_only))
            .map_err(|e| format!("failed to write {}: {e}", path.display()))?;
    }
    print!("{}", report::table(&outcomes));
    println!("{}", report::totals(&outcomes));
    let whole = outcomes.len() == tasks.len();
    Ok(whole && outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Judged(v) if !v.passed)))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("failed to read {}: {e}", path.display()))
}

fn write_json(path: &Path, outcomes: &[Outcome]) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&report::rows(outcomes)).map_err(|e| e.to_string())?;
    fs::write(path, text + "\n").map_err(|e| format!("failed to write {}: {e}", path.display()))
}

/// Returns a flag that the first Ctrl-C raises: trials then end early and take their hosts down.
fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            eprintln!("stopping; hosts are taken down");
            raised.store(true, Ordering::Relaxed);
        }
    });
    stop
}
