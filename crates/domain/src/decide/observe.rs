//! What hosts tell: signals open an incident or fold into one, declarations replace those before, gaps are
//! recorded with their counts. Items are taken in order and once.

use super::hosts::speaking;
use super::propose::{Case, propose};
use super::{depend, fleet, own, storm};
use crate::command::{Item, Refusal};
use crate::event::Event;
use crate::ids::{Digest, Epoch, HostId, IncidentId};
use crate::incident::{Incident, Phase};
use crate::mutant::{self, Mutant};
use crate::plan::Plan;
use crate::run::{End, What};
use crate::signal::{Condition, Signal};
use crate::state::State;
use crate::time::Timestamp;
use crate::triage;

pub fn observe(
    state: &State,
    host: &HostId,
    epoch: Epoch,
    seq: u64,
    item: &Item,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let known = speaking(state, host, epoch)?;
    let expected = known.items_through + 1;
    if seq < expected && !mutant::is(Mutant::SkipSignalDedup) {
        return Ok(vec![]);
    }
    let gap_from = match item {
        Item::Gap { from_seq, .. } if *from_seq <= seq => Some((*from_seq).max(expected)),
        _ => None,
    };
    if seq > expected && gap_from != Some(expected) {
        return Err(Refusal::Hole { host: host.clone(), expected, got: seq });
    }
    let mut events = vec![Event::ItemTaken { host: host.clone(), seq }];
    match item {
        Item::Gap { reason, .. } => events.push(Event::GapRecorded {
            host: host.clone(),
            from_seq: gap_from.unwrap_or(seq),
            through_seq: seq,
            reason: reason.clone(),
        }),
        Item::Declarations { declarations } => {
            if *declarations != known.declarations {
                let declarations = declarations.clone();
                events.push(Event::DeclarationsReported { host: host.clone(), declarations });
            }
        }
        Item::Inspection { report } => match report.bound_broken() {
            Some(reason) => events.push(Event::GapRecorded {
                host: host.clone(),
                from_seq: seq,
                through_seq: seq,
                reason: format!("an inspection report was refused: {reason}"),
            }),
            None => {
                events.push(Event::InspectionReported { host: host.clone(), report: report.clone() });
            }
        },
        Item::Signal { signal } => match fault(signal, host, epoch) {
            Some(reason) => events.push(Event::GapRecorded {
                host: host.clone(),
                from_seq: seq,
                through_seq: seq,
                reason: format!("a signal was refused: {reason}"),
            }),
            None => events.extend(signal_events(state, signal, now)),
        },
    }
    Ok(events)
}

fn fault(signal: &Signal, host: &HostId, epoch: Epoch) -> Option<String> {
    if signal.host != *host {
        return Some(format!("it names host {}", signal.host));
    }
    if signal.epoch != epoch {
        return Some("it names another epoch".into());
    }
    if own::is_own(&signal.rule) {
        return Some(format!("it speaks in the server's own name, as {}", signal.rule));
    }
    signal.bound_broken()
}

fn signal_events(state: &State, signal: &Signal, now: Timestamp) -> Vec<Event> {
    let known = state.open.get(&signal.fingerprint()).and_then(|id| state.incidents.get(id));
    match (known, signal.condition) {
        (None, Condition::Cleared) => vec![],
        (None, Condition::Raised) => open(state, signal, now),
        (Some(incident), Condition::Cleared) => clear(state, incident, signal),
        (Some(incident), Condition::Raised) => fold(state, incident, signal, now),
    }
}

fn open(state: &State, signal: &Signal, now: Timestamp) -> Vec<Event> {
    let id = IncidentId(state.incidents.keys().next_back().map_or(1, |last| last.0 + 1));
    let (priority, priority_reason) = triage::priority(signal);
    let opened =
        Event::IncidentOpened { incident: id, signal: Box::new(signal.clone()), priority, priority_reason };
    let mut events = vec![opened];
    events.extend(answer(state, &Case::opened(id, signal, now), IncidentId(id.0 + 1), now));
    events
}

/// Returns what is done about a condition that has come, or come back: what the server has to say of many hosts, what it
/// proposes for this one, and what becomes of other incidents by that.
fn answer(state: &State, case: &Case<'_>, free: IncidentId, now: Timestamp) -> Vec<Event> {
    let signal = case.signal;
    if depend::follows(state, case.id, signal, now).is_some() {
        return propose(state, case, now);
    }
    let (mut root, mut storm) = (fleet::root(state, signal), state.storm.as_ref().map(|storm| storm.root));
    let mut events = fleet::becomes_common(state, case.id, signal, free, now);
    if !events.is_empty() {
        root = Some(free);
        events.extend(fleet::fold_under(state, free, case.id, signal));
    } else if root.is_none() {
        events = storm::begins(state, signal, free, now);
        storm = storm.or((!events.is_empty()).then_some(free));
    }
    let proposed = propose(state, &case.under(root, storm), now);
    events.extend(depend::fold_under(state, case.id, signal, &proposed));
    events.extend(proposed);
    events
}

/// The host says that the condition is gone. What it saw while a fix was under way that was undone since says nothing of
/// now: a person who was called stays called.
fn clear(state: &State, incident: &Incident, signal: &Signal) -> Vec<Event> {
    let mut events = Vec::new();
    if !incident.cleared {
        events.push(Event::ConditionCleared { incident: incident.id, signal: Box::new(signal.clone()) });
    }
    let unreleased = incident.proposal.as_ref().filter(|p| p.released_at.is_none()).map(|p| p.plan.digest());
    match (&incident.phase, unreleased) {
        (Phase::AwaitingApproval | Phase::Approved, Some(plan)) => {
            let reason = "the condition is gone by itself".to_owned();
            events.push(Event::PlanVoided { incident: incident.id, plan, reason: reason.clone() });
            events.push(Event::WatchBegan { incident: incident.id, reason });
        }
        (Phase::NeedsPerson { .. }, _) if !after_last_run(state, incident, signal) => {}
        (Phase::Detected | Phase::NeedsPerson { .. }, _) => {
            let reason = "the condition is gone".to_owned();
            events.push(Event::WatchBegan { incident: incident.id, reason });
        }
        _ => {}
    }
    events
}

/// The host says that the condition holds (still, or again).
fn fold(state: &State, incident: &Incident, signal: &Signal, now: Timestamp) -> Vec<Event> {
    let mut events = vec![Event::SignalFolded { incident: incident.id, signal: Box::new(signal.clone()) }];
    let mut case = Case::known(state, incident, signal);
    // It is one more host that has it now; where it is reopened below, that is told with the rest.
    let back = incident.cleared && !matches!(incident.phase, Phase::Watching { .. });
    if back
        && depend::follows(state, incident.id, signal, now).is_none()
        && !mutant::is(Mutant::CountAtOpening)
    {
        let free = IncidentId(state.incidents.keys().next_back().map_or(1, |last| last.0 + 1));
        let common = fleet::becomes_common(state, incident.id, signal, free, now);
        if !common.is_empty() {
            events.extend(common);
            events.extend(fleet::fold_under(state, free, incident.id, signal));
            case = case.rooted(free);
        }
    }
    match &incident.phase {
        Phase::Detected => events.extend(propose(state, &case, now)),
        Phase::Watching { .. } if !mended(state, incident) || after_last_run(state, incident, signal) => {
            let reason = "the condition came back".to_owned();
            events.push(Event::IncidentReopened { incident: incident.id, reason });
            let free = state.incidents.keys().next_back().map_or(1, |last| last.0 + 1);
            events.extend(answer(state, &case.again(now), IncidentId(free), now));
        }
        Phase::AwaitingApproval | Phase::Approved => {
            if let Some((plan, reason)) = outdated(state, incident, signal) {
                events.push(Event::PlanVoided { incident: incident.id, plan, reason });
                events.extend(propose(state, &case, now));
            }
        }
        _ => {}
    }
    events
}

/// Says whether the last run, if there was one, ended with its checks passed. After one that was undone the fault is as
/// it was before: the host, which speaks in order, has said so after it last said otherwise.
fn mended(state: &State, incident: &Incident) -> bool {
    let last = incident.runs.last().and_then(|run| state.runs.get(run));
    last.and_then(crate::evolve::ended).is_none_or(|end| *end == End::Resolved)
}

/// Says whether the signal was seen after the last run ended, both by the host's own clock.
fn after_last_run(state: &State, incident: &Incident, signal: &Signal) -> bool {
    let last = incident.runs.last().and_then(|run| state.runs.get(run));
    let ended = last.and_then(|run| run.records.iter().find(|r| matches!(r.what, What::Ended { .. })));
    ended.is_none_or(|record| signal.observed_at > record.at)
}

/// Returns the unreleased plan and why it no longer fits what the host says now, or nothing.
fn outdated(state: &State, incident: &Incident, signal: &Signal) -> Option<(Digest, String)> {
    let proposal = incident.proposal.as_ref().filter(|p| p.released_at.is_none())?;
    let playbook = &state.playbooks.get(&proposal.plan.playbook)?.playbook;
    let fresh = crate::plan::parameters(playbook, signal)
        .ok()
        .and_then(|parameters| Plan::build(playbook, proposal.plan.target.clone(), parameters).ok());
    (fresh.map(|plan| plan.digest()) != Some(proposal.plan.digest()))
        .then(|| (proposal.plan.digest(), "what the host says now would make another plan".to_owned()))
}
