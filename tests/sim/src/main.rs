//! Runs the simulator: `cargo xtask sim` builds this in release and passes its arguments on.

use clap::Parser;
use sopwith_sim::drive::{Case, Caught, Tally, catch_all, tell};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Every schedule builds a small world and drops it, for which the system's allocator would take a third of the time.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Worker threads; each has its own catalogue and its own mutant switch.
const WORKERS: usize = 2;
/// Most violations that are told in full.
const TOLD_MAX: usize = 8;
/// From so many seeds on, every kind of fault must have fired.
const SEEDS_FOR_COVERAGE: u64 = 5_000;

/// Random schedules of a nightly run.
const SEEDS_NIGHTLY: u64 = 1_000_000;

#[derive(Parser)]
#[command(about = "Runs server and agents in one deterministic world and looks for broken promises")]
struct Arguments {
    /// How many random schedules to run after the crash points.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// As many as a night allows: 1,000,000 random schedules.
    #[arg(long, conflicts_with = "seeds")]
    nightly: bool,
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Run this case only, as a failure names it.
    #[arg(long)]
    case: Option<Case>,
    /// First of the random schedules.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Switch every deliberate fault on in turn, and see that it is caught.
    #[arg(long)]
    mutants: bool,
    /// Most schedules that a mutant may survive.
    #[arg(long, default_value_t = 100_000)]
    budget: u64,
    /// Leave out the crash points.
    #[arg(long)]
    no_crash_points: bool,
    /// Print the trace (with --seed or --case), or the table of faults and states.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.nightly {
        arguments.seeds = SEEDS_NIGHTLY;
    }
    match arguments.case.clone().or(arguments.seed.map(Case::Seed)) {
        Some(case) => one(&case, arguments.trace),
        None => all(&arguments),
    }
}

fn one(case: &Case, trace: bool) -> ExitCode {
    let outcome = sopwith_sim::run(case.schedule(), trace);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    match &outcome.violation {
        None => println!("1 schedules, 0 violations"),
        Some(violation) if trace => println!("{case}: {} broken: {}", violation.invariant, violation.text),
        Some(violation) => println!("{}", tell(case, violation)),
    }
    if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let mut tally = Tally::default();
    if !arguments.no_crash_points {
        for scenario in 0..Case::scenarios() {
            let cases: Vec<Case> = Case::singles(scenario).into_iter().chain(Case::pairs(scenario)).collect();
            tally.add(spread(&cases));
        }
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{} crash schedules in {seconds:.1} s, {}",
            tally.schedules,
            rate(tally.schedules, tally.busy)
        );
    }
    let (crashes, crashes_busy, began) = (tally.schedules, tally.busy, Instant::now());
    let range = arguments.from..arguments.from + arguments.seeds;
    let seeds: Vec<Case> = range.map(Case::Seed).collect();
    tally.add(spread(&seeds));
    let seconds = began.elapsed().as_secs_f64();
    let (random, busy) = (tally.schedules - crashes, tally.busy - crashes_busy);
    println!("{random} random schedules in {seconds:.1} s, {}", rate(random, busy));
    if arguments.trace {
        println!("{}", tally.coverage.table());
    }
    for (case, violation) in tally.violations.iter().take(TOLD_MAX) {
        println!("{}", tell(case, violation));
    }
    let mut failed = !tally.violations.is_empty();
    if arguments.seeds >= SEEDS_FOR_COVERAGE {
        let never = tally.coverage.never();
        never.iter().for_each(|kind| println!("never fired: {kind}"));
        failed |= !never.is_empty();
    }
    let mut last = format!("{} schedules, {} violations", tally.schedules, tally.violations.len());
    if arguments.mutants {
        let caught = mutants(arguments.budget);
        let count = caught.iter().filter(|one| one.by.is_some()).count();
        failed |= caught.is_empty() || count < caught.len();
        last += &format!("; mutants caught {count} of {}", caught.len());
    }
    println!("{last}");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says how many schedules one core ran in a second: of processor time, so that it tells the same on a busy machine.
fn rate(schedules: u64, busy: Duration) -> String {
    format!("{:.0} a second and core", schedules as f64 / busy.as_secs_f64().max(0.001))
}

/// Returns how long this thread has had a processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Runs cases on all workers; worker n takes every n-th, so that the result does not depend on their speed.
fn spread(cases: &[Case]) -> Tally {
    let work = |worker: usize| {
        let mut tally = Tally::default();
        let before = processor_time();
        cases.iter().skip(worker).step_by(WORKERS).for_each(|case| {
            tally.run(case.clone());
        });
        tally.busy = processor_time().saturating_sub(before);
        tally
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        for worker in workers {
            tally.add(worker.join().expect("a schedule panicked; run with --seed to find it"));
        }
    });
    tally
}

fn mutants(budget: u64) -> Vec<Caught> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..WORKERS).map(|worker| scope.spawn(move || catch_all(budget, worker, WORKERS))).collect();
        for worker in workers {
            all.extend(worker.join().expect("the mutants' driver itself does not panic"));
        }
    });
    let _ = std::panic::take_hook();
    all.sort_by(|a, b| a.mutant.cmp(&b.mutant));
    for one in &all {
        match &one.by {
            Some((invariant, schedules, case)) => {
                println!("{:28} caught by {invariant} after {schedules} schedules ({case})", one.mutant);
            }
            None => println!("{:28} NOT CAUGHT", one.mutant),
        }
    }
    all
}
