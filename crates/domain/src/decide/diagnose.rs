//! Has a host looked at about a fault for which there is no plan, where the policy's rule for diagnosis says so and its
//! budget is not spent. Once for an incident within an hour; never during a stop, a hold, maintenance or a storm, since
//! nothing is proposed then either.

use super::hosts::speaking;
use super::propose::Case;
use crate::command::Refusal;
use crate::declaration::Declarations;
use crate::diagnosis::{self, AGAIN_MS, Diagnosis};
use crate::dry_run::{Question, Report};
use crate::event::Event;
use crate::ids::{Epoch, HostId};
use crate::incident::Incident;
use crate::matching::choose_look;
use crate::mutant::{self, Mutant};
use crate::plan::{Plan, Target, parameters};
use crate::state::State;
use crate::time::{HOUR_MS, Timestamp};

/// Returns the approved look that is called for, or why there is none though one would be; nothing where no SOP looks.
pub fn begin(state: &State, case: &Case<'_>, now: Timestamp) -> Option<Result<Event, String>> {
    let policy = state.policy();
    let rule = policy.diagnosis?;
    let signal = case.signal;
    let host = state.hosts.get(&signal.host).filter(|host| !host.revoked)?;
    let before = state.incidents.get(&case.id).and_then(|incident| incident.diagnosis.as_ref());
    if state.storm.is_some() || before.is_some_and(|past| now.since(past.approval.granted_at) < AGAIN_MS) {
        return None;
    }
    let nothing = Declarations::default();
    let declared = state.hosts.get(&signal.host).map_or(&nothing, |host| &host.declarations);
    let playbook = choose_look(state.answering(signal), signal, declared)?;
    let target = Target {
        host: signal.host.clone(),
        epoch: host.epoch,
        incident: case.id,
        attempt: before.map_or(0, |past| past.plan.target.attempt) + 1,
        subject: signal.subject.clone(),
        fingerprint: signal.fingerprint(),
    };
    let plan = Plan::build(playbook, target, parameters(playbook, signal).ok()?).ok()?;
    let approval = diagnosis::approve(&plan, policy, now)?;
    let (here, all) = looks(state, &signal.host, now);
    for (what, count, max) in [("on this host", here, rule.per_host), ("on all hosts", all, rule.per_hour)] {
        if count >= max && !mutant::is(Mutant::IgnoreLookBudget) {
            return Some(Err(format!("the budget for looking {what}, {max} an hour, is spent")));
        }
    }
    Some(Ok(Event::DiagnosisApproved { incident: case.id, plan: Box::new(plan), approval }))
}

/// Returns how many looks were approved within the hour, for the host and for all.
fn looks(state: &State, host: &HostId, now: Timestamp) -> (u32, u32) {
    let recent = || state.looks.iter().filter(|(_, at)| now.since(*at) < HOUR_MS);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (count(recent().filter(|(of, _)| of == host).count()), count(recent().count()))
}

/// Takes a host's answer, if it is one to a look that waits.
pub fn report(state: &State, host: &HostId, epoch: Epoch, report: &Report) -> Result<Option<Event>, Refusal> {
    speaking(state, host, epoch)?;
    let asked = |diagnosis: &Diagnosis| {
        diagnosis.report.is_none()
            && diagnosis.plan.digest() == report.plan
            && diagnosis.approval.granted_at == report.asked_at
    };
    let incident = state.open_of(host).find(|incident| incident.diagnosis.as_ref().is_some_and(asked));
    Ok(incident
        .map(|incident| Event::DiagnosisReported { incident: incident.id, report: Box::new(report.clone()) }))
}

/// Returns what the host is to look at now. Where playbook or policy are others by now it is not asked any more.
pub fn owed(state: &State, host: &HostId, now: Timestamp) -> Vec<Question> {
    let Some(known) = state.hosts.get(host).filter(|h| !h.revoked) else { return vec![] };
    if state.stop.is_some() && !mutant::is(Mutant::IgnoreStop) {
        return vec![];
    }
    let question = |incident: &Incident| {
        let diagnosis = incident.diagnosis.as_ref().filter(|diagnosis| diagnosis.waits(now))?;
        let plan = &diagnosis.plan;
        let playbook =
            state.playbooks.get(&plan.playbook).filter(|i| i.playbook.digest == plan.playbook_digest)?;
        (plan.target.epoch == known.epoch).then_some(Question {
            target: plan.target.clone(),
            plan: plan.digest(),
            parameters: plan.parameters.clone(),
            playbook: playbook.signed.clone(),
            asked_at: diagnosis.approval.granted_at,
            approval: Some(diagnosis.approval.clone()),
            policy: state.policy.as_ref().map(|policy| policy.signed.clone()),
        })
    };
    state.open_of(host).filter_map(question).collect()
}
