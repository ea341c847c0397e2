//! What hosts report of their runs, and what follows for the incident.

use super::hosts::speaking;
use super::propose::{freeze, tries_max};
use super::{find, ladder, need_role, problem, trust};
use crate::approval::Basis;
use crate::command::Refusal;
use crate::event::Event;
use crate::ids::{AccountName, Digest, Epoch, HostId};
use crate::incident::{Incident, Phase, WhyNot};
use crate::mutant::{self, Mutant};
use crate::people::Role;
use crate::run::{End, Record, What};
use crate::signal::Subject;
use crate::state::{Host, State};
use crate::time::Timestamp;
use crate::warrant::Refusal as HostRefusal;

pub fn report(
    state: &State,
    host: &HostId,
    epoch: Epoch,
    seq: u64,
    record: &Record,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let known = speaking(state, host, epoch)?;
    let expected = known.records_through + 1;
    if seq < expected {
        return Ok(vec![]);
    }
    if seq > expected {
        return Err(Refusal::Hole { host: host.clone(), expected, got: seq });
    }
    let mut events = vec![Event::RunReported { host: host.clone(), seq, record: Box::new(record.clone()) }];
    let incident = state.open_of(host).find(|incident| {
        // A server that was set back may propose what its host has refused already.
        let refused = matches!(record.what, What::Refused { .. }) && !mutant::is(Mutant::ProposeAgain);
        (matches!(incident.phase, Phase::Approved | Phase::Running)
            || (refused && incident.phase == Phase::AwaitingApproval))
            && incident.proposal.as_ref().is_some_and(|p| p.plan.digest() == record.run)
    });
    if let Some(incident) = incident {
        events.extend(follows(state, incident, record, now));
    }
    if let What::Ended { end } = &record.what
        && (incident.is_some() || !mutant::is(Mutant::TrustDespiteNewLife))
    {
        events.extend(trust::after_run(state, &record.run, end, now));
    }
    Ok(events)
}

/// Returns what a record means for its incident.
fn follows(state: &State, incident: &Incident, record: &Record, now: Timestamp) -> Vec<Event> {
    let id = incident.id;
    match &record.what {
        What::Refused { refusal } => vec![refused(incident, refusal)],
        What::Ended { end: End::Resolved } => {
            let reason = "the fix passed its checks, and again after the soak".to_owned();
            vec![Event::WatchBegan { incident: id, reason }]
        }
        What::Ended { end: end @ End::RolledBack { reason } } => {
            let cancelled = state.runs.get(&record.run).is_some_and(|run| run.cancel_requested.is_some());
            let again = automatic(incident) && tries_left(state, incident, now);
            let climbs =
                || state.tries_today(&incident.fingerprint, now) > 0 && stronger_left(state, incident);
            if !cancelled && (again || climbs()) {
                let after = format!("the fix was undone: {reason}");
                return vec![refrained(incident, WhyNot::LookAfresh { after })];
            }
            let tried = ladder::tried(state, &incident.runs, Some((&record.run, end)));
            let reason = format!("the fix was undone, everything is as before: {reason}{tried}");
            if cancelled {
                return vec![Event::Escalated { incident: id, reason }];
            }
            gave_up(state, incident, vec![incident.signal.subject.clone()], reason, now)
        }
        What::Ended { end: End::Parked { reason, residue } } => {
            let residue =
                if residue.is_empty() { String::new() } else { format!("; left: {}", residue.join("; ")) };
            let reason = format!("the run stopped and needs a person: {reason}{residue}");
            let touched = incident.proposal.iter().flat_map(|proposal| proposal.plan.touches()).collect();
            gave_up(state, incident, touched, reason, now)
        }
        _ => vec![],
    }
}

/// Calls a person, and keeps the problem until its cause is found. Where automation has tried itself, it leaves alone from now on what it tried to mend.
fn gave_up(
    state: &State,
    incident: &Incident,
    targets: Vec<Subject>,
    reason: String,
    now: Timestamp,
) -> Vec<Event> {
    let tried = state.tries_today(&incident.fingerprint, now) > 0;
    let frozen = tried.then(|| freeze(incident.id, targets, &reason));
    let problem = problem::because(state, incident.id, incident.fingerprint, &reason);
    let escalated = Event::Escalated { incident: incident.id, reason };
    frozen.into_iter().chain(problem).chain([escalated]).collect()
}

/// Says whether a stronger SOP than the one that was chosen is still to be proposed.
fn stronger_left(state: &State, incident: &Incident) -> bool {
    let chosen = incident.chosen.as_ref().and_then(|id| state.playbooks.get(id));
    let (Some(chosen), Some(proposal)) = (chosen, &incident.proposal) else { return false };
    let target = &proposal.plan.target;
    ladder::next(state, &incident.runs, &chosen.playbook, &incident.signal, target).is_some()
}

/// Returns what follows when the host would not take the order; nothing was started there.
fn refused(incident: &Incident, refusal: &HostRefusal) -> Event {
    let id = incident.id;
    match refusal {
        HostRefusal::Forbidden { forbidden } => {
            refrained(incident, WhyNot::Declared { forbidden: forbidden.clone() })
        }
        HostRefusal::Stopped { reason } => refrained(incident, WhyNot::Stopped { reason: reason.clone() }),
        HostRefusal::Expired { .. } if automatic(incident) => {
            refrained(incident, WhyNot::LookAfresh { after: format!("the host did not start: {refusal}") })
        }
        other => {
            Event::Escalated { incident: id, reason: format!("the host did not start the plan: {other}") }
        }
    }
}

/// Returns that automation waits for the host's next word, or, where that word has come already and the condition is
/// gone, that quiet time begins: nothing would ever be heard of it again.
fn refrained(incident: &Incident, why_not: WhyNot) -> Event {
    if incident.cleared && !mutant::is(Mutant::ForgetCleared) {
        let reason = format!("the condition is gone; {why_not}");
        return Event::WatchBegan { incident: incident.id, reason };
    }
    Event::Refrained { incident: incident.id, why_not }
}

fn automatic(incident: &Incident) -> bool {
    let approved = incident.proposal.as_ref().and_then(|p| p.approved.as_ref());
    approved.is_some_and(|a| matches!(a.approval().basis, Basis::Standing { .. }))
}

fn tries_left(state: &State, incident: &Incident, now: Timestamp) -> bool {
    let playbook = incident.proposal.as_ref().and_then(|p| state.playbooks.get(&p.plan.playbook));
    playbook.is_some_and(|installed| {
        let max = tries_max(state.policy(), &installed.playbook);
        state.tries_today(&incident.fingerprint, now) < max + u32::from(mutant::is(Mutant::BudgetOffByOne))
    })
}

/// Asks for a run to be stopped and undone.
pub fn cancel(state: &State, run: &Digest, by: &AccountName) -> Result<Vec<Event>, Refusal> {
    need_role(state, by, Role::Operator)?;
    let known = state.runs.get(run).ok_or(Refusal::UnknownRun(*run))?;
    if crate::evolve::ended(known).is_some() {
        return Err(Refusal::RunEnded(*run));
    }
    if known.cancel_requested.is_some() {
        return Ok(vec![]);
    }
    if let Some(incident) = known.incident {
        find(state, incident)?;
    }
    Ok(vec![Event::CancelRequested { run: *run, by: by.clone() }])
}

/// Returns why a host's memory must have been set back, if its run journal stands behind what it reported.
pub fn rewound(host: &Host, journal_seq: u64) -> Option<String> {
    (journal_seq < host.records_through && !mutant::is(Mutant::IgnoreRewind)).then(|| {
        format!(
            "the host's run journal ends at {journal_seq}, but it has reported {} records: its memory was set back",
            host.records_through
        )
    })
}
