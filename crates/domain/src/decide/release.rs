//! When an approved plan becomes an order that the host is owed, and what each host is owed now. The budget is
//! taken in the same batch as the release.

use super::{budget, find, fleet, loops, storm, trust};
use crate::approval::{ApprovedPlan, Basis};
use crate::command::Refusal;
use crate::event::Event;
use crate::ids::{Digest, HostId, IncidentId};
use crate::incident::{Documents, Phase, WhyNot};
use crate::mutant::{self, Mutant};
use crate::order::Order;
use crate::signal::Signal;
use crate::state::State;
use crate::time::Timestamp;
use crate::trust::Stage;

/// Why an approved plan is not released yet; it passes with time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocked {
    pub reason: String,
}

/// Says whether an approved plan may be released now.
///
/// # Errors
/// Names what is in the way. The text stays the same for as long as the reason does.
fn may_release(
    state: &State,
    (incident, signal): (IncidentId, &Signal),
    approved: &ApprovedPlan,
    now: Timestamp,
) -> Result<(), Blocked> {
    let blocked = |reason: String| Err(Blocked { reason });
    let plan = approved.plan();
    if let Some(stop) = &state.stop
        && !mutant::is(Mutant::IgnoreStop)
    {
        return blocked(format!("automation is stopped: {}", stop.reason));
    }
    if automatic(approved)
        && let Some(reason) = braked(state, signal, approved, now)
    {
        return blocked(reason);
    }
    budget::check(state, incident, plan, automatic(approved), now)?;
    let mut here = state
        .under_way()
        .filter(|other| other.id != incident && other.host == plan.target.host)
        .filter_map(|other| Some((other.id, &other.proposal.as_ref()?.plan)));
    if !mutant::is(Mutant::IgnoreLocks)
        && let Some((other, _)) = here.find(|(_, other)| other.collides(plan))
    {
        return blocked(format!("the plan of {other} is under way on the same resource"));
    }
    Ok(())
}

/// Returns why nothing may start by itself for this fault, if that is so.
fn braked(state: &State, signal: &Signal, approved: &ApprovedPlan, now: Timestamp) -> Option<String> {
    if let Some(storm) = &state.storm {
        return Some(WhyNot::Storm { root: storm.root }.to_string());
    }
    if storm::below_floor(state, signal) {
        return Some("too many hosts have a critical fault at the same time".into());
    }
    let plan = approved.plan();
    // It may have failed for another fault since it was approved.
    if trust::stage(state, plan) < Stage::Auto && !mutant::is(Mutant::ReleaseUnearned) {
        let earn = "has failed meanwhile and has to earn again that it may run by itself";
        return Some(format!("{} {earn}", plan.playbook));
    }
    if let Some((root, because)) = loops::frozen(state, &plan.target.host, &plan.touches()) {
        return Some(WhyNot::Frozen { root, because: because.to_owned() }.to_string());
    }
    fleet::may_act(state, signal, now).err().map(|held| held.why_not().to_string())
}

/// Says whether the standing policy gave the approval.
pub fn automatic(approved: &ApprovedPlan) -> bool {
    matches!(approved.approval().basis, Basis::Standing { .. })
}

/// Returns the release of an approved plan, or why it has to wait, unless that was said before.
pub fn release_or_hold(
    state: &State,
    about: (IncidentId, &Signal),
    approved: &ApprovedPlan,
    held: Option<&str>,
    now: Timestamp,
) -> Option<Event> {
    let (incident, plan) = (about.0, approved.plan().digest());
    match may_release(state, about, approved, now) {
        Ok(()) => Some(Event::OrderReleased { incident, plan, automatic: automatic(approved) }),
        Err(Blocked { reason }) if held == Some(reason.as_str()) || mutant::is(Mutant::HoldSilently) => None,
        Err(Blocked { reason }) => Some(Event::ReleaseHeld { incident, plan, reason }),
    }
}

/// Releases an approved plan, or gives it up where the host's declarations now forbid it.
pub fn release(state: &State, id: IncidentId, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let incident = find(state, id)?;
    let proposal = incident.proposal.as_ref().filter(|p| p.released_at.is_none());
    let (Phase::Approved, Some((approved, held))) =
        (&incident.phase, proposal.and_then(|p| Some((p.approved.as_ref()?, p.held.as_deref()))))
    else {
        return Ok(vec![]);
    };
    let plan = approved.plan();
    if now >= approved.approval().expires_at {
        return Ok(vec![]);
    }
    let touches: Vec<_> = plan.touches().into_iter().collect();
    let forbidden = state.hosts.get(&incident.host).and_then(|host| {
        let declared = &host.declarations;
        declared.forbid(&touches, now).or_else(|| declared.expected(&incident.signal, now))
    });
    if let Some(forbidden) = forbidden
        && !mutant::is(Mutant::IgnoreDeclarations)
    {
        return Ok(vec![
            Event::PlanVoided { incident: id, plan: plan.digest(), reason: forbidden.to_string() },
            Event::Refrained { incident: id, why_not: WhyNot::Declared { forbidden } },
        ]);
    }
    Ok(release_or_hold(state, (id, &incident.signal), approved, held, now).into_iter().collect())
}

/// Returns the orders still owed to a host: released and not yet heard of. Delivery repeats until they are, also
/// past their expiry, because only the host can say for certain that it never started.
pub fn owed(state: &State, host: &HostId) -> Vec<Order> {
    let Some(known) = state.hosts.get(host).filter(|h| !h.revoked) else { return vec![] };
    if state.stop.is_some() && !mutant::is(Mutant::IgnoreStop) {
        return vec![];
    }
    state
        .open_of(host)
        .filter(|incident| state.working.contains(&incident.id) && incident.phase == Phase::Approved)
        .filter_map(|incident| {
            let proposal = incident.proposal.as_ref()?;
            let approved = proposal.approved.as_ref()?;
            let plan = approved.plan();
            // What cannot start any more is told all the same, so that the host says that it did not.
            let over = state.last_at >= approved.approval().expires_at;
            (state.storm.is_none() || over || !automatic(approved)).then_some(())?;
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
        Basis::People { .. } | Basis::Diagnosis { .. } => None,
    };
    Some(Documents { playbook, policy })
}

/// Returns the runs of a host that somebody wants cancelled and that have not ended, with his name.
pub fn cancels(state: &State, host: &HostId) -> Vec<(Digest, String)> {
    let theirs =
        state.runs.iter().filter(|(_, run)| run.host == *host && crate::evolve::ended(run).is_none());
    theirs.filter_map(|(digest, run)| Some((*digest, run.cancel_requested.as_ref()?.to_string()))).collect()
}
