//! Incidents that the server raises itself, for what no single host can see: hosts that are silent, a fault that many
//! hosts have in common, a storm. No host may speak in these names.

use super::silence;
use crate::event::Event;
use crate::ids::{HostId, IncidentId, RuleId};
use crate::signal::{Condition, Severity, Signal, SignalKind, Subject};
use crate::state::State;
use crate::time::Timestamp;
use crate::triage;
use crate::value::{Value, Word};
use std::collections::BTreeMap;

/// Rule of the incident that stands for a fault of many hosts; the hosts' own concern follows it.
pub const SAME_FAULT: &str = "server.same-fault";
/// Rule of the incident that a storm is.
pub const STORM: &str = "server.storm";
/// Field by which an incident that stands for many names the first of them.
const FIRST: &str = "first";

/// Says whether a rule is the server's own.
pub fn is_own(rule: &RuleId) -> bool {
    let rule = rule.as_str();
    rule == silence::RULE || rule == STORM || rule.starts_with(SAME_FAULT)
}

/// Returns the incident that an incident of many hosts names as the first of them.
pub fn first_of(signal: &Signal) -> Option<IncidentId> {
    let named = signal.rule.as_str().starts_with(SAME_FAULT);
    match signal.fields.iter().find(|(name, _)| name.as_str() == FIRST) {
        Some((_, Value::Integer(first))) if named => u64::try_from(*first).ok().map(IncidentId),
        _ => None,
    }
}

/// What the server says of its own accord.
pub struct Own<'a> {
    pub host: &'a HostId,
    pub rule: String,
    pub kind: &'a str,
    pub subject: Subject,
    pub summary: String,
    pub first: Option<IncidentId>,
    /// What a person is called for.
    pub reason: String,
}

/// Returns the events by which the server opens an incident of its own and calls a person, once.
pub fn open(state: &State, id: IncidentId, own: Own<'_>, now: Timestamp) -> Vec<Event> {
    let integer = |id: IncidentId| Value::Integer(i64::try_from(id.0).unwrap_or(i64::MAX));
    let word = |text: &str| Word::new(text).expect("the field's name is a word");
    let signal = Signal {
        host: own.host.clone(),
        epoch: state.hosts.get(own.host).map_or(crate::ids::Epoch(0), |host| host.epoch),
        rule: RuleId::new(own.rule).expect("the rule's name is valid"),
        kind: SignalKind::new(own.kind).expect("the kind's name is valid"),
        subject: own.subject,
        condition: Condition::Raised,
        severity: Severity::Critical,
        summary: own.summary.chars().take(crate::signal::SUMMARY_BYTES_MAX / 4).collect(),
        fields: own.first.map(|first| (word(FIRST), integer(first))).into_iter().collect::<BTreeMap<_, _>>(),
        evidence: Vec::new(),
        observed_at: now,
        cause: None,
        depends_on: Vec::new(),
    };
    let (priority, priority_reason) = triage::priority(&signal);
    let opened = Event::IncidentOpened { incident: id, signal: Box::new(signal), priority, priority_reason };
    vec![opened, Event::Escalated { incident: id, reason: own.reason }]
}
