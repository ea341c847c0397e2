//! Every deliberate fault of the core, each run against schedules until an oracle catches it.

use super::Case;
use crate::{catalogue, world};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of one mutant.
#[derive(Debug)]
pub struct Caught {
    pub mutant: String,
    /// Which invariant it broke and after how many schedules; nothing if it stayed unseen.
    pub by: Option<(String, u64, Case)>,
}

/// Returns the cases that mutants are run against: crash points first, because many faults show only there.
fn cases(seeds: u64) -> impl Iterator<Item = Case> {
    (0..seeds).map(Case::Seed)
}

/// Runs every mutant whose number this share has, with at most `budget` schedules each.
#[cfg(feature = "mutants")]
pub fn catch_all(budget: u64, share: usize, shares: usize) -> Vec<Caught> {
    use sopwith_domain::mutant as domain;
    use sopwith_journal::mutant as journal;
    // What is parsed once must be parsed by a sound core.
    let _ = catalogue::catalogue();
    let mut all: Vec<(String, Box<dyn Fn()>)> = Vec::new();
    for mutant in domain::Mutant::ALL {
        all.push((format!("{mutant:?}"), Box::new(|| domain::set(Some(*mutant)))));
    }
    for mutant in journal::Mutant::ALL {
        all.push((format!("journal {mutant:?}"), Box::new(move || journal::set(Some(mutant)))));
    }
    let mine = all.into_iter().enumerate().filter(|(n, _)| n % shares == share);
    mine.map(|(_, (mutant, switch))| {
        let by = catch(budget, &switch);
        domain::set(None);
        journal::set(None);
        Caught { mutant, by }
    })
    .collect()
}

/// Runs nothing: this build has no mutants.
#[cfg(not(feature = "mutants"))]
pub fn catch_all(_budget: u64, _share: usize, _shares: usize) -> Vec<Caught> {
    let _ = (catch, catalogue::catalogue);
    Vec::new()
}

fn catch(budget: u64, switch: &dyn Fn()) -> Option<(String, u64, Case)> {
    switch();
    for (n, case) in cases(budget).enumerate() {
        // A mutant may also break the core so far that an assertion fails, which catches it as well.
        let schedule = case.schedule();
        let outcome = catch_unwind(AssertUnwindSafe(|| world::run(schedule, false)));
        let by = match outcome {
            Err(_) => Some("an assertion".to_owned()),
            Ok(outcome) => outcome.violation.map(|violation| violation.invariant.to_owned()),
        };
        if let Some(by) = by {
            return Some((by, n as u64 + 1, case));
        }
    }
    None
}
