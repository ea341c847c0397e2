//! What became of a fix on each host that has a fault in common with others.

use crate::common::{Common, Member, Symptom};
use crate::decide;
use crate::event::Event;
use crate::ids::IncidentId;
use crate::incident::Incident;
use crate::run::{End, What};
use crate::signal::Signal;
use crate::state::{State, Storm};
use crate::time::{HOUR_MS, Timestamp};

/// How long a closed incident is remembered as one of many, in milliseconds; longer than its fate counts for others.
const REMEMBER_MS: i64 = 2 * HOUR_MS;

/// An incident opened: it is one of those with its fault, or it is the server's own and stands for others.
pub fn opened(state: &mut State, id: IncidentId, signal: &Signal, at: Timestamp) {
    if signal.rule.as_str() == decide::STORM {
        state.storm = Some(Storm { root: id, since: at });
    }
    if let Some(symptom) = stands_for(state, signal) {
        state.common.entry(symptom).or_default().root = Some(id);
    }
    if decide::is_own(&signal.rule) {
        return;
    }
    let bake_ms = i64::from(state.policy().fleet.bake_s) * 1000;
    let Common { members, .. } = state.common.entry(Symptom::of(signal)).or_default();
    members.retain(|id, member| {
        let latest =
            member.mended_at.iter().chain(&member.failed_at).fold(member.raised_at, |a, b| a.max(*b));
        state.incidents.get(id).is_some_and(Incident::open) || at.since(latest) < REMEMBER_MS
    });
    for earlier in members.values_mut().filter(|member| member.host == signal.host) {
        if earlier.mended_at.is_some_and(|mended_at| at.since(mended_at) < bake_ms) {
            came_back(earlier, at);
        }
    }
    let host = signal.host.clone();
    let fresh = Member { host, raised_at: at, under_way: false, mended_at: None, failed_at: Vec::new() };
    members.insert(id, fresh);
}

/// The server was away for so long, in which nothing lasted, was forgotten or grew calm.
pub fn away(state: &mut State, away_ms: i64) {
    let later = |at: &mut Timestamp| *at = at.plus(away_ms);
    state.storm.iter_mut().for_each(|storm| later(&mut storm.since));
    for member in state.common.values_mut().flat_map(|common| common.members.values_mut()) {
        member.mended_at.iter_mut().chain(&mut member.failed_at).for_each(later);
    }
}

fn came_back(member: &mut Member, at: Timestamp) {
    if member.mended_at.take().is_some() {
        member.failed_at.push(at);
    }
}

/// Returns the fault that an incident of the server's own stands for.
fn stands_for(state: &State, signal: &Signal) -> Option<Symptom> {
    let first = state.incidents.get(&decide::first_of(signal)?)?;
    Some(Symptom::of(&first.signal))
}

/// A host says that a fault holds again that it said was gone.
pub fn came_again(state: &mut State, id: IncidentId, at: Timestamp) {
    if let Some(member) = member(state, id) {
        member.raised_at = at;
    }
}

/// Something became of an incident.
pub fn went_on(state: &mut State, id: IncidentId, event: &Event, at: Timestamp) {
    if matches!(event, Event::IncidentClosed { .. }) {
        closed(state, id);
    }
    let relevant = matches!(
        event,
        Event::OrderReleased { automatic: true, .. }
            | Event::IncidentReopened { .. }
            | Event::Escalated { .. }
    );
    let Some(member) = relevant.then(|| member(state, id)).flatten() else { return };
    match event {
        Event::OrderReleased { .. } => (member.under_way, member.mended_at) = (true, None),
        Event::IncidentReopened { .. } => {
            member.raised_at = at;
            came_back(member, at);
        }
        // A run that nothing more is heard of has not gone well.
        _ if member.under_way => {
            member.under_way = false;
            member.failed_at.push(at);
        }
        _ => {}
    }
}

fn member(state: &mut State, id: IncidentId) -> Option<&mut Member> {
    let symptom = Symptom::of(&state.incidents.get(&id)?.signal);
    state.common.get_mut(&symptom)?.members.get_mut(&id)
}

/// What stood for others is closed: if they still have it, all begins afresh with one host.
fn closed(state: &mut State, id: IncidentId) {
    if state.storm.as_ref().is_some_and(|storm| storm.root == id) {
        state.storm = None;
    }
    let symptom = state.incidents.get(&id).and_then(|incident| stands_for(state, &incident.signal));
    let Some(common) = symptom.and_then(|symptom| state.common.get_mut(&symptom)) else { return };
    common.root = common.root.filter(|root| *root != id);
    for member in common.members.values_mut() {
        member.mended_at = None;
        member.failed_at.clear();
    }
}

/// A host told of a run.
pub fn reported(state: &mut State, event: &Event, at: Timestamp) {
    let Event::RunReported { record, .. } = event else { return };
    let ended = matches!(record.what, What::Refused { .. } | What::Ended { .. });
    let Some(id) = ended.then(|| state.runs.get(&record.run)?.incident).flatten() else { return };
    let Some(member) = member(state, id).filter(|member| member.under_way) else { return };
    member.under_way = false;
    match &record.what {
        What::Ended { end: End::Resolved } => member.mended_at = Some(at),
        What::Ended { .. } => member.failed_at.push(at),
        _ => {}
    }
}
