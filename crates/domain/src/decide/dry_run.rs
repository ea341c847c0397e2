//! A person asks what a plan would change; the host that would run it is asked until it answers or a minute is over.
//! Neither question nor answer moves the incident.

use super::hosts::speaking;
use super::{diagnose, find, need_role, trust};
use crate::command::Refusal;
use crate::dry_run::{Question, Report};
use crate::event::Event;
use crate::ids::{AccountName, Epoch, HostId, IncidentId};
use crate::incident::{Incident, Proposal};
use crate::people::Role;
use crate::state::State;
use crate::time::Timestamp;

/// Asks what the incident's plan would change. A question that still waits is not asked a second time.
pub fn ask(state: &State, id: IncidentId, by: &AccountName, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    need_role(state, by, Role::Operator)?;
    let incident = find(state, id)?;
    let Some(proposal) = unreleased(incident) else {
        let phase = incident.phase.name();
        return Err(Refusal::Invalid(format!("{id} has no plan that is still to begin; it is {phase}")));
    };
    if proposal.dry_run.as_ref().is_some_and(|dry_run| dry_run.waits(now)) {
        return Ok(vec![]);
    }
    Ok(vec![Event::DryRunAsked { incident: id, plan: proposal.plan.digest(), by: by.clone() }])
}

/// Takes a host's answer to the question that waits; any other is news of the past.
pub fn report(
    state: &State,
    host: &HostId,
    epoch: Epoch,
    report: &Report,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    speaking(state, host, epoch)?;
    if let Some(reason) = report.bound_broken() {
        return Err(Refusal::Invalid(format!("a dry run was refused: {reason}")));
    }
    if let Some(event) = diagnose::report(state, host, epoch, report)? {
        return Ok(vec![event]);
    }
    let asked = open(state, host).find(|(_, proposal)| {
        let dry_run = proposal.dry_run.as_ref();
        proposal.plan.digest() == report.plan
            && dry_run.is_some_and(|d| d.report.is_none() && d.asked_at == report.asked_at)
    });
    let Some((incident, proposal)) = asked else { return Ok(vec![]) };
    let told = Event::DryRunReported { incident: incident.id, report: Box::new(report.clone()) };
    let trust = trust::after_look(state, &proposal.plan, report, now);
    Ok([Some(told), trust].into_iter().flatten().collect())
}

/// Returns what the host is to look at: dry runs that people asked for, and diagnoses.
pub fn asked(state: &State, host: &HostId, now: Timestamp) -> Vec<Question> {
    let Some(known) = state.hosts.get(host).filter(|h| !h.revoked) else { return vec![] };
    let dry_runs = open(state, host)
        .filter(|(_, proposal)| {
            proposal.plan.target.epoch == known.epoch
                && proposal.dry_run.as_ref().is_some_and(|dry_run| dry_run.waits(now))
        })
        .filter_map(|(_, proposal)| {
            let plan = &proposal.plan;
            Some(Question {
                target: plan.target.clone(),
                plan: plan.digest(),
                parameters: plan.parameters.clone(),
                playbook: state.playbooks.get(&plan.playbook)?.signed.clone(),
                asked_at: proposal.dry_run.as_ref()?.asked_at,
                approval: None,
                policy: None,
            })
        });
    dry_runs.chain(diagnose::owed(state, host, now)).collect()
}

fn open<'s>(state: &'s State, host: &HostId) -> impl Iterator<Item = (&'s Incident, &'s Proposal)> {
    state.open_of(host).filter_map(|incident| Some((incident, unreleased(incident)?)))
}

fn unreleased(incident: &Incident) -> Option<&Proposal> {
    incident.proposal.as_ref().filter(|proposal| proposal.released_at.is_none())
}
