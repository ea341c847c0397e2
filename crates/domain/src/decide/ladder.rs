//! The ladder: where an SOP's tries are used up, or its fix did not hold, the next stronger one that it names is
//! proposed. People decide on it, unless the policy says that it may start by itself as well. At its end a person is
//! called with what was tried, and what was to be mended is left alone until that person closes the incident.

use crate::evolve::ended;
use crate::ids::Digest;
use crate::mutant::{self, Mutant};
use crate::plan::{Plan, Target, parameters};
use crate::playbook::{Playbook, Risk};
use crate::run::{End, What};
use crate::signal::Signal;
use crate::state::State;
use crate::value::{Value, Word};
use std::collections::BTreeMap;

/// Most runs that are told of what was tried.
const TOLD_MAX: usize = 6;

/// Returns the plan of the next stronger SOP that was not run for this incident yet and fits what the signal says.
pub fn next(
    state: &State,
    runs: &[Digest],
    playbook: &Playbook,
    signal: &Signal,
    target: &Target,
) -> Option<Plan> {
    if mutant::is(Mutant::SkipLadder) {
        return None;
    }
    let ran = |stronger: &Playbook| {
        runs.iter()
            .filter_map(|run| state.runs.get(run)?.plan.as_ref())
            .any(|plan| plan.playbook == stronger.id)
    };
    let rungs = playbook.stronger.iter().filter_map(|id| Some(&state.playbooks.get(id)?.playbook));
    rungs.filter(|stronger| !matches!(stronger.risk, Risk::Never | Risk::Look) && !ran(stronger)).find_map(
        |stronger| {
            let values = parameters(stronger, signal).ok()?;
            fresh(state, stronger, target.clone(), &values).ok()
        },
    )
}

/// Builds a plan that this server did not ask the host for yet: a host answers for each plan once, and may have done so
/// already for one that this server, set back to an old backup, does not remember.
pub fn fresh(
    state: &State,
    playbook: &Playbook,
    mut target: Target,
    values: &BTreeMap<Word, Value>,
) -> Result<Plan, String> {
    loop {
        let plan = Plan::build(playbook, target.clone(), values.clone()).map_err(|e| e.to_string())?;
        if !state.runs.contains_key(&plan.digest()) || mutant::is(Mutant::ProposeAgain) {
            return Ok(plan);
        }
        target.attempt += 1;
    }
}

/// Says whether the latest run of this SOP for the incident passed its checks and then did not last.
pub fn did_not_hold(state: &State, runs: &[Digest], playbook: &Playbook) -> bool {
    let of_it = |run: &&crate::incident::Run| run.plan.as_ref().is_some_and(|p| p.playbook == playbook.id);
    let last = runs.iter().rev().filter_map(|run| state.runs.get(run)).find(of_it);
    last.is_some_and(|run| run.records.iter().any(|r| matches!(r.what, What::Soaked { passed: false, .. })))
}

/// Says in words what was tried for an incident and how each run ended, with one that ends only now.
pub fn tried(state: &State, runs: &[Digest], now: Option<(&Digest, &End)>) -> String {
    let one = |digest: &Digest| {
        let run = state.runs.get(digest)?;
        let end = ended(run).or_else(|| now.filter(|(of, _)| *of == digest).map(|(_, end)| end))?;
        let how = match end {
            End::Resolved => "mended it, but not for long".to_owned(),
            End::RolledBack { reason } => format!("was undone: {reason}"),
            End::Parked { reason, .. } => format!("stopped half way: {reason}"),
        };
        Some(format!("{} {how}", run.plan.as_ref()?.playbook))
    };
    let all: Vec<String> = runs.iter().filter_map(one).collect();
    if all.is_empty() {
        return String::new();
    }
    let left_out = all.len().saturating_sub(TOLD_MAX);
    let before = if left_out > 0 { format!("{left_out} more, ") } else { String::new() };
    format!("; tried: {before}{}", all[left_out..].join("; "))
}
