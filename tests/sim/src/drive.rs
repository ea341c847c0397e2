//! Drives schedules: every single and every pair of crash points of small scenarios, then seeds, then the mutants.

mod case;
mod mutants;

pub use case::Case;
pub use mutants::{Caught, catch_all};

use super::coverage::Coverage;
use super::oracle::Violation;
use super::world;
use std::time::Duration;

/// Lines of the trace that are shown with a violation.
const TAIL_LINES: usize = 60;

/// Counts of many schedules.
#[derive(Debug, Default)]
pub struct Tally {
    pub schedules: u64,
    /// Processor time that they took, where somebody measures it.
    pub busy: Duration,
    pub coverage: Coverage,
    pub violations: Vec<(Case, Violation)>,
}

impl Tally {
    /// Runs a case; returns whether all went well.
    pub fn run(&mut self, case: Case) -> bool {
        let outcome = world::run(case.schedule(), false);
        self.schedules += 1;
        self.coverage.add(&outcome.coverage);
        match outcome.violation {
            None => true,
            Some(violation) => {
                self.violations.push((case, violation));
                false
            }
        }
    }

    pub fn add(&mut self, other: Tally) {
        self.schedules += other.schedules;
        self.busy += other.busy;
        self.coverage.add(&other.coverage);
        self.violations.extend(other.violations);
    }
}

/// Tells of a violation with the end of its trace and the command that shows it again.
pub fn tell(case: &Case, violation: &Violation) -> String {
    let trace = world::run(case.schedule(), true).trace;
    let tail = &trace[trace.len().saturating_sub(TAIL_LINES)..];
    format!(
        "{}\n{case}: {} broken: {}\nreplay: cargo xtask sim --case {case} --trace\n",
        tail.join("\n"),
        violation.invariant,
        violation.text
    )
}
