//! What is counted from incidents as they change, so that no decision has to walk through all of them.
//! It follows from the incidents alone and is brought up to date with each event.

use crate::decide;
use crate::ids::IncidentId;
use crate::incident::{Incident, Phase};
use crate::signal::{Severity, Signal};
use crate::state::State;
use crate::time::{MINUTE_MS, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Most raises of a minute that are remembered; no policy's bound on them need be higher.
const RAISED_MAX: usize = 100_000;

/// Brings what is counted of one incident up to date.
pub fn refresh(state: &mut State, id: IncidentId) {
    let Some(incident) = state.incidents.get(&id) else { return };
    keep(&mut state.working, id, under_way(incident));
    keep_of(&mut state.open_on, &incident.host, id, incident.open());
    keep_of(&mut state.sick, &incident.host, id, sick(incident));
}

/// Says whether an incident makes its host sick, by itself and now.
fn sick(incident: &Incident) -> bool {
    let rule = incident.signal.rule.as_str();
    incident.signal.severity == Severity::Critical
        && !incident.cleared
        && !matches!(incident.phase, Phase::Watching { .. } | Phase::Closed { .. })
        && !incident.told_elsewhere()
        // What the server says of many hosts is no fault of the one it names; silence is.
        && (rule == decide::SILENCE || !decide::is_own(&incident.signal.rule))
}

/// Counts a fault that is raised.
pub fn raised(state: &mut State, signal: &Signal, at: Timestamp) {
    if signal.severity == Severity::Information || decide::is_own(&signal.rule) {
        return;
    }
    while state.raised.front().is_some_and(|first| at.since(*first) >= MINUTE_MS)
        || state.raised.len() >= RAISED_MAX
    {
        state.raised.pop_front();
    }
    state.raised.push_back(at);
}

/// A fault that is told as part of another from its beginning is none of its own.
pub fn folded(state: &mut State, opened_at: Timestamp, at: Timestamp) {
    if opened_at == at && state.raised.back() == Some(&at) {
        state.raised.pop_back();
    }
}

fn under_way(incident: &Incident) -> bool {
    matches!(incident.phase, Phase::Approved | Phase::Running)
        && incident.proposal.as_ref().is_some_and(|p| p.released_at.is_some())
}

fn keep(set: &mut BTreeSet<IncidentId>, id: IncidentId, is_in: bool) {
    if is_in {
        set.insert(id)
    } else {
        set.remove(&id)
    };
}

/// The same in one set for each key; empty sets are not kept.
fn keep_of<K: Ord + Clone>(
    sets: &mut BTreeMap<K, BTreeSet<IncidentId>>,
    key: &K,
    id: IncidentId,
    is_in: bool,
) {
    match sets.get_mut(key) {
        Some(set) => {
            keep(set, id, is_in);
            if set.is_empty() {
                sets.remove(key);
            }
        }
        None if is_in => drop(sets.insert(key.clone(), BTreeSet::from([id]))),
        None => {}
    }
}
