//! A host falls silent: that is an incident like any other, which the server itself raises, for a host that is gone
//! raises nothing. Hosts that fall silent together most likely have one cause, and are told as one.

use crate::event::Event;
use crate::ids::{HostId, IncidentId, RuleId};
use crate::incident::{Incident, Phase, WhyNot};
use crate::mutant::{self, Mutant};
use crate::signal::{Condition, Severity, Signal, SignalKind, Subject};
use crate::state::State;
use crate::time::{MINUTE_MS, Timestamp};
use crate::triage;
use std::collections::BTreeMap;

/// Rule and kind of the server's own signal.
pub const RULE: &str = "server.silence";
pub const KIND: &str = "host.silent";
/// Hosts that fall silent within so long after another are silent together with it, in milliseconds.
pub const TOGETHER_MS: i64 = 5 * MINUTE_MS;

/// A host was not heard of for too long.
pub fn declare(state: &State, host: &HostId, last_seen: Timestamp, now: Timestamp) -> Vec<Event> {
    let Some(known) = state.hosts.get(host).filter(|known| !known.revoked && known.silent_since.is_none())
    else {
        return vec![];
    };
    if mutant::is(Mutant::IgnoreSilence) {
        return vec![];
    }
    let mut events = vec![Event::HostSilent { host: host.clone(), last_seen }];
    let signal = signal(host, known.epoch, last_seen, now, Condition::Raised);
    let id = match of(state, host) {
        // It was heard for a moment, and the incident has not closed since.
        Some(incident) => {
            events.push(Event::SignalFolded { incident: incident.id, signal: Box::new(signal) });
            if matches!(incident.phase, Phase::Watching { .. }) {
                let reason = "the host is silent again".to_owned();
                events.push(Event::IncidentReopened { incident: incident.id, reason });
            }
            incident.id
        }
        None => {
            let id = IncidentId(state.incidents.keys().next_back().map_or(1, |last| last.0 + 1));
            let (priority, priority_reason) = triage::priority(&signal);
            let signal = Box::new(signal);
            events.push(Event::IncidentOpened { incident: id, signal, priority, priority_reason });
            id
        }
    };
    let root = first_of_those(state, id, now).filter(|_| !mutant::is(Mutant::PageEachSilence));
    events.push(match root {
        Some(root) => Event::Refrained { incident: id, why_not: WhyNot::WithOthers { root } },
        None => Event::Escalated {
            incident: id,
            reason: format!("{host} is silent; look whether it runs, at its network and at its agent"),
        },
    });
    events
}

/// A host is heard again. Of those that were told together with it, the next one is told by itself.
pub fn end(state: &State, host: &HostId, now: Timestamp) -> Vec<Event> {
    let Some(known) = state.hosts.get(host).filter(|known| known.silent_since.is_some()) else {
        return vec![];
    };
    let mut events = vec![Event::HostHeard { host: host.clone() }];
    let Some(incident) = of(state, host).filter(|_| !mutant::is(Mutant::SilentForEver)) else {
        return events;
    };
    let last_seen = known.silent_since.unwrap_or(now);
    let signal = Box::new(signal(host, known.epoch, last_seen, now, Condition::Cleared));
    events.push(Event::ConditionCleared { incident: incident.id, signal });
    events.push(Event::WatchBegan { incident: incident.id, reason: "the host is heard again".into() });
    events.extend(tell_the_others(state, incident.id, &format!("{host} is heard again")));
    events
}

/// A host that is managed no more is not waited for.
pub fn abandon(state: &State, host: &HostId, reason: &str) -> Vec<Event> {
    let Some(incident) = of(state, host) else { return vec![] };
    let closed = Event::IncidentClosed { incident: incident.id, reason: reason.into(), by: None };
    std::iter::once(closed).chain(tell_the_others(state, incident.id, reason)).collect()
}

/// Says whether an incident is told as part of another that is still open.
pub fn told_with_another(state: &State, incident: &Incident) -> bool {
    let Some(WhyNot::WithOthers { root }) = &incident.why_not else { return false };
    state.incidents.get(root).is_some_and(Incident::open)
}

fn tell_the_others(state: &State, root: IncidentId, because: &str) -> Vec<Event> {
    let mut others = all(state)
        .filter(|other| other.phase == Phase::Detected && with(other) == Some(root))
        .map(|o| (o.id, &o.host));
    let Some((next, host)) = others.next() else { return vec![] };
    let reason = format!("{because}, but {host} is still silent");
    let told = Event::Escalated { incident: next, reason };
    let folded =
        others.map(|(id, _)| Event::Refrained { incident: id, why_not: WhyNot::WithOthers { root: next } });
    std::iter::once(told).chain(folded).collect()
}

/// Returns the incident that stands for the hosts that fell silent lately, other than this one.
fn first_of_those(state: &State, id: IncidentId, now: Timestamp) -> Option<IncidentId> {
    all(state)
        .filter(|other| other.id != id && !other.cleared && with(other).is_none())
        .find(|other| now.since(other.opened_at) < TOGETHER_MS)
        .map(|other| other.id)
}

fn with(incident: &Incident) -> Option<IncidentId> {
    match &incident.why_not {
        Some(WhyNot::WithOthers { root }) if incident.phase == Phase::Detected => Some(*root),
        _ => None,
    }
}

fn all(state: &State) -> impl Iterator<Item = &Incident> {
    let open = state.open.values().filter_map(|id| state.incidents.get(id));
    let mut silences: Vec<_> = open.filter(|incident| incident.signal.rule.as_str() == RULE).collect();
    silences.sort_by_key(|incident| incident.id);
    silences.into_iter()
}

fn of<'a>(state: &'a State, host: &HostId) -> Option<&'a Incident> {
    all(state).find(|incident| incident.host == *host)
}

fn signal(
    host: &HostId,
    epoch: crate::ids::Epoch,
    last_seen: Timestamp,
    now: Timestamp,
    condition: Condition,
) -> Signal {
    Signal {
        host: host.clone(),
        epoch,
        rule: RuleId::new(RULE).expect("the rule's name is valid"),
        kind: SignalKind::new(KIND).expect("the kind's name is valid"),
        subject: Subject::Host,
        condition,
        severity: Severity::Critical,
        summary: format!("{host} has not been heard of since {last_seen}"),
        fields: BTreeMap::new(),
        evidence: Vec::new(),
        observed_at: now,
        cause: None,
        depends_on: Default::default(),
    }
}
