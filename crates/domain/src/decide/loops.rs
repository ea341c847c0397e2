//! The loop guard: what one SOP does may raise what another answers, whose fix raises the first again. Found by where
//! faults come from: a fault that is raised after a run on the same host, on something that the run touched, counts as
//! come from it. Where the way back leads to the same fault or the same SOP, or is too long, nothing on it starts by
//! itself any more, and a person is called with the whole chain.

use crate::ids::{HostId, IncidentId};
use crate::mutant::{self, Mutant};
use crate::plan::Plan;
use crate::signal::{Signal, Subject};
use crate::state::{Raised, Release, State};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Runs in a circle, or in a chain that is too long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loop {
    /// The chain in words.
    pub reason: String,
    /// Everything that its runs touched.
    pub targets: Vec<Subject>,
}

/// Returns the loop that an automatic run of this plan would close or make longer, if there is one.
pub fn found(
    state: &State,
    incident: IncidentId,
    signal: &Signal,
    plan: &Plan,
    raised: Raised,
) -> Option<Loop> {
    if mutant::is(Mutant::IgnoreLoops) {
        return None;
    }
    let chain = chain(state, signal, plan, raised);
    let fingerprint = signal.fingerprint();
    let other = |run: &&Release| run.fingerprint != fingerprint && run.playbook != plan.playbook;
    let away = chain.iter().position(other)?;
    let back = chain[away..].iter().position(|run| !other(run)).map(|at| away + at);
    let depth = state.policy().loops.depth as usize;
    let others: BTreeSet<_> = chain.iter().filter(|run| other(run)).map(|run| run.fingerprint).collect();
    let (links, what) = match back {
        Some(back) => (&chain[..=back], "a loop"),
        None if others.len() >= depth => (&chain[..], "a chain of fixes that does not end"),
        None => return None,
    };
    let told = |run: &&Release| format!("{} of {} at {}", run.playbook, run.incident, run.at);
    let words: Vec<String> = links.iter().rev().map(told).collect();
    let reason = format!(
        "{what}: {}, after which {incident} was raised, for which {} would be next; each of them raises what the \
         next one answers, so that none of them starts by itself any more",
        words.join(", then "),
        plan.playbook
    );
    let targets: BTreeSet<Subject> =
        links.iter().flat_map(|run| run.touches.clone()).chain(plan.touches()).collect();
    Some(Loop { reason, targets: targets.into_iter().collect() })
}

/// Returns the runs that led to a fault, the latest first, each come from the one after it.
fn chain<'a>(state: &'a State, signal: &Signal, plan: &Plan, raised: Raised) -> Vec<&'a Release> {
    let window_ms = i64::from(state.policy().loops.window_s) * 1000;
    let mut about: BTreeSet<Subject> = plan.touches();
    about.extend(signal.depends_on.iter().cloned());
    let (mut raised, mut cause, mut chain) = (raised, signal.cause, Vec::new());
    // Each was released before the one after it was raised, so that this ends.
    while let Some(before) = state.releases.iter().rev().find(|run| {
        let lately = run.ended_at.is_none_or(|ended_at| raised.at.since(ended_at) < window_ms);
        run.host == signal.host
            && run.seq < raised.seq
            && (cause == Some(run.run) || (lately && touch(&run.touches, &about)))
    }) {
        chain.push(before);
        (raised, cause) = (before.raised, None);
        about.clone_from(&before.touches);
    }
    chain
}

fn touch<'a>(some: impl IntoIterator<Item = &'a Subject>, others: &BTreeSet<Subject>) -> bool {
    some.into_iter().any(|a| others.iter().any(|b| a.covers(b) || b.covers(a)))
}

/// Returns the incident for whose sake automation leaves alone what a plan touches on a host, and why.
pub fn frozen<'a>(
    state: &'a State,
    host: &HostId,
    touches: &BTreeSet<Subject>,
) -> Option<(IncidentId, &'a str)> {
    if mutant::is(Mutant::IgnoreFrozen) {
        return None;
    }
    let found =
        state.frozen.iter().find(|(_, frozen)| frozen.host == *host && touch(&frozen.targets, touches));
    found.map(|(incident, frozen)| (*incident, frozen.because.as_str()))
}

/// Returns when an incident that opens, or is raised again, in the batch at hand is raised: after all that was.
pub fn raised_now(now: Timestamp) -> Raised {
    Raised { seq: u64::MAX, at: now }
}
