//! Faults that follow from another fault of the same host: a service whose file system is full, a service whose
//! database is down. The root is dealt with; what follows from it is recorded and shown with this reason, nothing is
//! proposed for it, and at the host's next word after the root is over it is looked at by itself.

use crate::event::Event;
use crate::ids::IncidentId;
use crate::incident::{Incident, Phase, WhyNot};
use crate::signal::Signal;
use crate::state::State;
use crate::time::Timestamp;

/// How long what followed from a fault may take to come round after that is over, in milliseconds.
pub const SETTLE_MS: i64 = 20_000;

/// Returns why an incident is left alone because of another, if it follows from one.
pub fn follows(state: &State, id: IncidentId, signal: &Signal, now: Timestamp) -> Option<WhyNot> {
    if signal.depends_on.is_empty() {
        return None;
    }
    let root = theirs(state, signal)
        .filter(|other| other.id != id && signal.can_follow_from(&other.signal.subject))
        .filter(|other| lasts(other, now))
        .map(|other| top(state, other, now))
        // Two that depend on each other would wait for each other for ever.
        .find(|root| root.id != id)?;
    Some(WhyNot::Follows { root: root.id, subject: root.signal.subject.clone() })
}

/// Returns what becomes of incidents that are known already and follow from one that opens only now. Those of which
/// the host has an order, or had one, stay as they are: what was done there must not be hidden.
pub fn fold_under(state: &State, root: IncidentId, signal: &Signal, proposed: &[Event]) -> Vec<Event> {
    if proposed.iter().any(|event| matches!(event, Event::Refrained { why_not: WhyNot::Follows { .. }, .. }))
    {
        return vec![];
    }
    let why_not = WhyNot::Follows { root, subject: signal.subject.clone() };
    let mut events = Vec::new();
    for other in theirs(state, signal) {
        let follows = other.id != root && !other.cleared && other.signal.can_follow_from(&signal.subject);
        if !follows || !untouched(other) || other.why_not.as_ref() == Some(&why_not) {
            continue;
        }
        if let Some(proposal) = &other.proposal {
            let reason = format!("it follows from {root}");
            events.push(Event::PlanVoided { incident: other.id, plan: proposal.plan.digest(), reason });
        }
        events.push(Event::Refrained { incident: other.id, why_not: why_not.clone() });
    }
    events
}

/// Returns the open incidents of a signal's host.
fn theirs<'a>(state: &'a State, signal: &Signal) -> impl Iterator<Item = &'a Incident> + use<'a> {
    state.open_of(&signal.host)
}

/// Says whether a fault holds, or has been over for so short a time that its consequences may still show.
fn lasts(root: &Incident, now: Timestamp) -> bool {
    match root.phase {
        Phase::Closed { .. } => false,
        Phase::Watching { since } if root.cleared => now.since(since) < SETTLE_MS,
        _ => true,
    }
}

/// Returns the incident at the end of the chain that an incident is folded under.
fn top<'a>(state: &'a State, from: &'a Incident, now: Timestamp) -> &'a Incident {
    let mut top = from;
    // A chain is no longer than there are incidents.
    for _ in 0..state.open.len() {
        let under = top.follows_from().and_then(|id| state.incidents.get(&id));
        match under.filter(|root| lasts(root, now)) {
            Some(root) => top = root,
            None => break,
        }
    }
    top
}

/// Says whether nothing was done on the host about an incident, and nothing is on its way there.
fn untouched(incident: &Incident) -> bool {
    let waits = matches!(
        incident.phase,
        Phase::Detected | Phase::AwaitingApproval | Phase::Approved | Phase::NeedsPerson { .. }
    );
    waits && incident.runs.is_empty() && incident.proposal.as_ref().is_none_or(|p| p.released_at.is_none())
}
