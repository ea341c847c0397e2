//! The storm brake: while too many hosts are sick at once, or faults are raised faster than anybody can look at them,
//! nothing starts by itself. A person is called once; after the cool-down, and once things are calm, it is over.

use super::own::{self, Own};
use crate::event::Event;
use crate::ids::IncidentId;
use crate::mutant::{self, Mutant};
use crate::signal::{Severity, Signal, Subject};
use crate::state::State;
use crate::time::{MINUTE_MS, Timestamp};

/// Returns the events by which a storm begins, where this signal is one too many.
pub fn begins(state: &State, signal: &Signal, root: IncidentId, now: Timestamp) -> Vec<Event> {
    if state.storm.is_some() || signal.severity == Severity::Information {
        return vec![];
    }
    let Some(reason) = too_much(state, Some(signal), 1, now) else { return vec![] };
    if mutant::is(Mutant::IgnoreStorm) {
        return vec![];
    }
    let cool_down_s = state.policy().storm.cool_down_s;
    let own = Own {
        host: &signal.host,
        rule: own::STORM.into(),
        kind: "fleet.storm",
        subject: Subject::Host,
        summary: format!("storm: {reason}"),
        first: None,
        reason: format!("{reason}: nothing starts by itself for {cool_down_s} s at least"),
    };
    own::open(state, root, own, now)
}

/// Says whether a storm is over: the cool-down has passed, and half of what began it would not be reached now.
pub fn over(state: &State, now: Timestamp) -> bool {
    let Some(storm) = &state.storm else { return false };
    let cool_down_ms = i64::from(state.policy().storm.cool_down_s) * 1000;
    now.since(storm.since) >= cool_down_ms && too_much(state, None, 2, now).is_none()
}

/// Returns what is too much, measured by a part of the policy's bounds, with a signal that is about to be raised.
fn too_much(state: &State, signal: Option<&Signal>, part: u32, now: Timestamp) -> Option<String> {
    sick_share(state, signal, part).or_else(|| too_fast(state, signal, part, now))
}

fn sick_share(state: &State, signal: Option<&Signal>, part: u32) -> Option<String> {
    let limits = state.policy().storm;
    let fresh =
        |signal: &Signal| signal.severity == Severity::Critical && !state.sick.contains_key(&signal.host);
    let sick = state.sick.len() + usize::from(signal.is_some_and(fresh));
    if sick < limits.sick_hosts as usize {
        return None;
    }
    let hosts = state.hosts.values().filter(|host| !host.revoked).count().max(1);
    (sick * 100 * part as usize >= limits.sick_percent as usize * hosts)
        .then(|| format!("{sick} of {hosts} hosts have a critical fault"))
}

/// Says whether so many hosts are sick that nothing may start by itself, storm or not: the health floor.
pub fn below_floor(state: &State, signal: &Signal) -> bool {
    sick_share(state, Some(signal), 1).is_some() && !mutant::is(Mutant::IgnoreStorm)
}

fn too_fast(state: &State, signal: Option<&Signal>, part: u32, now: Timestamp) -> Option<String> {
    let limits = state.policy().storm;
    let raised = state.raised.iter().filter(|at| now.since(**at) < MINUTE_MS).count();
    let raised = raised + usize::from(signal.is_some());
    (raised * part as usize > limits.raised_per_minute as usize)
        .then(|| format!("more than {} faults were raised within a minute", limits.raised_per_minute))
}
