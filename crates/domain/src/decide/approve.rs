//! People decide on exactly the plan they were shown; time decides on those nobody did.

use super::release::release_or_hold;
use super::{find, need_role};
use crate::approval::{self, ApprovedPlan, Decision, Outcome, REASON_BYTES_MAX, Vote};
use crate::command::Refusal;
use crate::event::Event;
use crate::ids::{AccountName, Digest, IncidentId};
use crate::incident::Phase;
use crate::people::Role;
use crate::state::State;
use crate::time::Timestamp;

/// What a person said.
pub struct Said<'a> {
    pub plan: Digest,
    pub by: &'a AccountName,
    pub vote: Vote,
    pub reason: &'a str,
    pub signature: Option<&'a str>,
}

pub fn decide(state: &State, id: IncidentId, said: &Said<'_>, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    need_role(state, said.by, Role::Approver)?;
    let incident = find(state, id)?;
    let nothing = || Refusal::NothingToDecide { incident: id, phase: incident.phase.name() };
    let proposal = incident.proposal.as_ref().ok_or_else(nothing)?;
    let current = proposal.plan.digest();
    if said.plan != current {
        return Err(Refusal::PlanChanged { decided: said.plan, current });
    }
    if incident.phase != Phase::AwaitingApproval {
        return Err(nothing());
    }
    if now >= proposal.expires_at {
        return Err(Refusal::Invalid(format!(
            "the time to decide on this plan ended at {}",
            proposal.expires_at
        )));
    }
    if proposal.decisions.iter().any(|d| d.by == *said.by) {
        return Err(Refusal::AlreadyDecided(said.by.clone()));
    }
    if said.reason.len() > REASON_BYTES_MAX {
        return Err(Refusal::Invalid(format!("the reason has more than {REASON_BYTES_MAX} bytes")));
    }
    if said.vote == Vote::Deny && said.reason.trim().is_empty() {
        return Err(Refusal::Invalid("a denial needs a reason".into()));
    }
    let decision = Decision {
        by: said.by.clone(),
        vote: said.vote,
        plan: said.plan,
        at: now,
        reason: said.reason.into(),
        signature: said.signature.map(str::to_owned),
    };
    let mut decisions = proposal.decisions.clone();
    decisions.push(decision.clone());
    let mut events = vec![Event::DecisionTaken { incident: id, decision }];
    match approval::people(&proposal.plan, &decisions, state.policy(), now) {
        Outcome::Waiting { .. } => {}
        Outcome::Denied { by, reason } => {
            let reason = format!("denied by {by}: {reason}");
            events.push(Event::PlanVoided { incident: id, plan: current, reason: reason.clone() });
            events.push(Event::Escalated { incident: id, reason });
        }
        Outcome::Granted(approval) => {
            events.push(Event::PlanApproved { incident: id, approval: approval.clone() });
            let approved = ApprovedPlan::recorded(proposal.plan.clone(), approval);
            events.extend(
                approved.and_then(|approved| {
                    release_or_hold(state, (id, &incident.signal), &approved, None, now)
                }),
            );
        }
    }
    Ok(events)
}

/// Ends a proposal that was not decided, or an approval that could not be released, in time.
pub fn expire(state: &State, id: IncidentId, plan: &Digest, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let incident = find(state, id)?;
    let Some(proposal) = incident.proposal.as_ref().filter(|p| p.plan.digest() == *plan) else {
        return Ok(vec![]);
    };
    if proposal.released_at.is_some() {
        return Ok(vec![]);
    }
    let reason = match (&incident.phase, &proposal.approved) {
        (Phase::AwaitingApproval, _) if now >= proposal.expires_at => {
            format!("nobody decided on the plan until {}", proposal.expires_at)
        }
        (Phase::Approved, Some(approved)) if now >= approved.approval().expires_at => {
            let because = proposal.held.as_deref().map(|held| format!(": {held}")).unwrap_or_default();
            let ended = approved.approval().expires_at;
            format!("the approval expired at {ended} before the order could be released{because}")
        }
        _ => return Ok(vec![]),
    };
    Ok(vec![
        Event::PlanVoided { incident: id, plan: *plan, reason: reason.clone() },
        Event::Escalated { incident: id, reason },
    ])
}
