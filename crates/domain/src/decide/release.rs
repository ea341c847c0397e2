//! When an approved plan becomes an order that the host is owed, and what each host is owed now. The budget is
//! taken in the same batch as the release.

use super::find;
use crate::approval::{ApprovedPlan, Basis};
use crate::command::Refusal;
use crate::event::Event;
use crate::ids::{Digest, HostId, IncidentId};
use crate::incident::{Documents, Phase, WhyNot};
use crate::mutant::{self, Mutant};
use crate::order::Order;
use crate::plan::Plan;
use crate::state::State;
use crate::time::Timestamp;

/// Why an approved plan is not released yet; it passes with time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocked {
    pub reason: String,
}

/// Says whether the limits allow one more run now.
///
/// # Errors
/// Names the limit that is in the way.
pub fn may_release(state: &State, incident: IncidentId, plan: &Plan, now: Timestamp) -> Result<(), Blocked> {
    let blocked = |reason: String| Err(Blocked { reason });
    if let Some(stop) = &state.stop
        && !mutant::is(Mutant::IgnoreStop)
    {
        return blocked(format!("automation is stopped: {}", stop.reason));
    }
    let others: Vec<&Plan> = state
        .under_way()
        .filter(|other| other.id != incident)
        .filter_map(|other| other.proposal.as_ref().map(|p| &p.plan))
        .collect();
    let here = || others.iter().filter(|other| other.target.host == plan.target.host);
    if !mutant::is(Mutant::IgnoreAtOnce) {
        let at_once = state.policy().at_once;
        let own =
            state.playbooks.get(&plan.playbook).and_then(|i| i.playbook.limits.at_once).unwrap_or(u32::MAX);
        let same = others.iter().filter(|other| other.playbook == plan.playbook).count();
        let limits = [
            ("runs overall", others.len(), at_once.overall),
            ("runs on this host", here().count(), at_once.per_host),
            ("runs of this SOP", same, at_once.per_playbook.min(own)),
        ];
        if let Some((what, count, max)) = limits.into_iter().find(|(_, count, max)| *count >= *max as usize) {
            return blocked(format!("{count} {what} are under way, at most {max}"));
        }
        let per_hour = state.policy().per_hour;
        if state.releases_in_hour(now) >= per_hour {
            return blocked(format!("{per_hour} orders were released within the hour, which is the limit"));
        }
    }
    if !mutant::is(Mutant::IgnoreLocks)
        && let Some(other) = here().find(|other| other.collides(plan))
    {
        return blocked(format!("plan {} is under way on the same resource", other.digest().short()));
    }
    Ok(())
}

/// Releases an approved plan, or gives it up where the host's declarations now forbid it.
pub fn release(state: &State, id: IncidentId, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let incident = find(state, id)?;
    let approved =
        incident.proposal.as_ref().filter(|p| p.released_at.is_none()).and_then(|p| p.approved.as_ref());
    let (Phase::Approved, Some(approved)) = (&incident.phase, approved) else { return Ok(vec![]) };
    let plan = approved.plan();
    if now >= approved.approval().expires_at {
        return Ok(vec![]);
    }
    let touches: Vec<_> = plan.touches().into_iter().collect();
    let forbidden = state.hosts.get(&incident.host).and_then(|host| host.declarations.forbid(&touches, now));
    if let Some(forbidden) = forbidden
        && !mutant::is(Mutant::IgnoreDeclarations)
    {
        return Ok(vec![
            Event::PlanVoided { incident: id, plan: plan.digest(), reason: forbidden.to_string() },
            Event::Refrained { incident: id, why_not: WhyNot::Declared { forbidden } },
        ]);
    }
    match may_release(state, id, plan, now) {
        Err(_) => Ok(vec![]),
        Ok(()) => {
            let automatic = matches!(approved.approval().basis, Basis::Standing { .. });
            Ok(vec![Event::OrderReleased { incident: id, plan: plan.digest(), automatic }])
        }
    }
}

/// Returns the orders still owed to a host: released and not yet heard of. Delivery repeats until they are, also
/// past their expiry, because only the host can say for certain that it never started.
pub fn owed(state: &State, host: &HostId) -> Vec<Order> {
    let Some(known) = state.hosts.get(host).filter(|h| !h.revoked) else { return vec![] };
    if state.stop.is_some() && !mutant::is(Mutant::IgnoreStop) {
        return vec![];
    }
    state
        .under_way()
        .filter(|incident| incident.host == *host && matches!(incident.phase, Phase::Approved))
        .filter_map(|incident| {
            let proposal = incident.proposal.as_ref()?;
            let approved = proposal.approved.as_ref()?;
            let plan = approved.plan();
            (plan.target.epoch == known.epoch || mutant::is(Mutant::IgnoreEpoch)).then_some(())?;
            let documents = match &proposal.documents {
                Some(documents) if !mutant::is(Mutant::DocumentsOfToday) => documents.clone(),
                _ => today(state, approved)?,
            };
            Some(Order::release(approved, documents.playbook, documents.policy))
        })
        .collect()
}

/// Returns the documents that are in force now, for an approval that has none of its own.
fn today(state: &State, approved: &ApprovedPlan) -> Option<Documents> {
    let playbook = state.playbooks.get(&approved.plan().playbook)?.signed.clone();
    let policy = match approved.approval().basis {
        Basis::Standing { .. } => state.policy.as_ref().map(|p| p.signed.clone()),
        Basis::People { .. } => None,
    };
    Some(Documents { playbook, policy })
}

/// Returns the runs of a host that somebody wants cancelled and that have not ended, with his name.
pub fn cancels(state: &State, host: &HostId) -> Vec<(Digest, String)> {
    let theirs =
        state.runs.iter().filter(|(_, run)| run.host == *host && crate::evolve::ended(run).is_none());
    theirs.filter_map(|(digest, run)| Some((*digest, run.cancel_requested.as_ref()?.to_string()))).collect()
}
