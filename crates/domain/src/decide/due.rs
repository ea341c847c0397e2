//! What time alone brings about: a function of the state, asked again after every change and every restart.

use super::find;
use super::release::release_or_hold;
use super::{fleet, silence, storm};
use crate::command::{Command, Refusal};
use crate::event::Event;
use crate::ids::IncidentId;
use crate::incident::{Incident, Phase, Proposal, WhyNot};
use crate::mutant::{self, Mutant};
use crate::state::State;
use crate::time::{MINUTE_MS, Timestamp};

/// How long after its approval's end a released order may stay unheard of before a person is told, in milliseconds.
pub const UNHEARD_MS: i64 = MINUTE_MS;
/// How much longer than its steps' timeouts and its soak a run may take before a person is told, in milliseconds.
pub const RUN_GRACE_MS: i64 = 10 * MINUTE_MS;
/// How long the host may take to say that the condition is gone after a fix, or holds still after a fix was undone, in
/// milliseconds.
pub const CONFIRM_MS: i64 = 10 * MINUTE_MS;

/// Returns the commands that are due; each, decided, makes itself no longer due.
pub fn due(state: &State, now: Timestamp) -> Vec<Command> {
    state.open.values().filter_map(|id| incident_due(state, state.incidents.get(id)?, now)).collect()
}

fn incident_due(state: &State, incident: &Incident, now: Timestamp) -> Option<Command> {
    let id = incident.id;
    match (&incident.phase, &incident.proposal) {
        (Phase::AwaitingApproval, Some(proposal)) if now >= proposal.expires_at => {
            Some(Command::ExpireProposal { incident: id, plan: proposal.plan.digest() })
        }
        (Phase::Approved, Some(proposal)) if proposal.released_at.is_none() => {
            let approved = proposal.approved.as_ref()?;
            if now >= approved.approval().expires_at {
                return Some(Command::ExpireProposal { incident: id, plan: proposal.plan.digest() });
            }
            let touches: Vec<_> = proposal.plan.touches().into_iter().collect();
            let forbidden = state.hosts.get(&incident.host)?.declarations.forbid(&touches, now).is_some();
            let news =
                release_or_hold(state, (id, &incident.signal), approved, proposal.held.as_deref(), now)
                    .is_some();
            (forbidden || news).then_some(Command::Release { incident: id })
        }
        (Phase::Approved | Phase::Running, Some(proposal)) => {
            overdue_reason(incident, proposal, now).map(|_| Command::NoteOverdue { incident: id })
        }
        // A plan that falls with its playbook leaves neither a plan nor a reason.
        (Phase::Detected, _) if incident.why_not.is_none() && !mutant::is(Mutant::ForgetVoided) => {
            Some(Command::MatchAnew { incident: id })
        }
        (Phase::Detected, _) => {
            unheard_reason(state, incident, now).map(|_| Command::NoteOverdue { incident: id })
        }
        (Phase::Watching { since }, _) => {
            let quiet_ms = state.policy().quiet_ms;
            let wait_ms = if incident.cleared { quiet_ms } else { quiet_ms + CONFIRM_MS };
            (now.since(*since) >= wait_ms).then_some(Command::CloseQuiet { incident: id })
        }
        (Phase::NeedsPerson { .. }, _) => {
            own_over(state, incident, now).map(|_| Command::CloseOwn { incident: id })
        }
        _ => None,
    }
}

/// Returns why an incident that the server raised itself is over, if it is.
fn own_over(state: &State, incident: &Incident, now: Timestamp) -> Option<String> {
    if state.storm.as_ref().is_some_and(|storm| storm.root == incident.id) {
        return storm::over(state, now).then(|| "things are calm again".to_owned());
    }
    fleet::over(state, incident)
}

/// Closes an incident that the server raised itself, once it is over.
pub fn close_own(state: &State, id: IncidentId, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let over = own_over(state, find(state, id)?, now);
    Ok(over.map(|reason| Event::IncidentClosed { incident: id, reason, by: None }).into_iter().collect())
}

/// Says that a host which was to look afresh has not spoken for so long that it may never do so: its rule may be gone.
/// What waits for a declaration or a stop to end waits on purpose.
fn unheard_reason(state: &State, incident: &Incident, now: Timestamp) -> Option<String> {
    let declared = || {
        let subject = std::slice::from_ref(&incident.signal.subject);
        state.hosts.get(&incident.host).is_some_and(|host| {
            let declared = &host.declarations;
            declared.forbid(subject, now).is_some() || declared.expected(&incident.signal, now).is_some()
        })
    };
    let on_purpose = match incident.why_not {
        Some(WhyNot::Declared { .. }) => declared(),
        Some(WhyNot::Stopped { .. }) => state.stop.is_some(),
        Some(WhyNot::WithOthers { .. }) => silence::told_with_another(state, incident),
        Some(
            WhyNot::LookAfresh { .. }
            | WhyNot::Follows { .. }
            | WhyNot::OneOfMany { .. }
            | WhyNot::Frozen { .. }
            | WhyNot::Storm { .. },
        )
        | None => false,
    };
    let unheard = now.since(incident.waiting_since) >= CONFIRM_MS;
    (unheard && !on_purpose && !mutant::is(Mutant::ForgetUnheard))
        .then(|| format!("{} has said nothing of it since {}", incident.host, incident.waiting_since))
}

fn overdue_reason(incident: &Incident, proposal: &Proposal, now: Timestamp) -> Option<String> {
    if proposal.overdue {
        return None;
    }
    let plan = &proposal.plan;
    match proposal.accepted_at {
        None => {
            let expires_at = proposal.approved.as_ref()?.approval().expires_at;
            (now >= expires_at.plus(UNHEARD_MS)).then(|| {
                format!("{} has not said whether it started plan {}", incident.host, plan.digest().short())
            })
        }
        Some(accepted_at) => {
            let steps_ms: i64 = plan.steps.iter().map(|step| step.timeout_ms.saturating_mul(2)).sum();
            let allowed_ms = steps_ms.saturating_add(plan.soak_ms).saturating_add(RUN_GRACE_MS);
            (now.since(accepted_at) >= allowed_ms).then(|| {
                format!("nothing heard of the end of plan {} on {}", plan.digest().short(), incident.host)
            })
        }
    }
}

/// Tells a person that a run, or the host's next word, is overdue. With a run the incident stays with the host: only it can say what happened there.
pub fn overdue(state: &State, id: IncidentId, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let incident = find(state, id)?;
    if incident.phase == Phase::Detected {
        let escalated = |reason| Event::Escalated { incident: id, reason };
        return Ok(unheard_reason(state, incident, now).map(escalated).into_iter().collect());
    }
    let Some(proposal) = &incident.proposal else { return Ok(vec![]) };
    let event = |reason| Event::RunOverdue { incident: id, plan: proposal.plan.digest(), reason };
    Ok(overdue_reason(incident, proposal, now).map(event).into_iter().collect())
}

/// Closes an incident that stayed quiet, or calls a person if the host never confirmed that it is over.
pub fn close_quiet(state: &State, id: IncidentId, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let incident = find(state, id)?;
    let Phase::Watching { since } = incident.phase else { return Ok(vec![]) };
    let quiet_ms = state.policy().quiet_ms;
    if incident.cleared && now.since(since) >= quiet_ms {
        let reason = format!("quiet for {} s", quiet_ms / 1000);
        return Ok(vec![Event::IncidentClosed { incident: id, reason, by: None }]);
    }
    if !incident.cleared && now.since(since) >= quiet_ms + CONFIRM_MS {
        let reason =
            "the fix passed its checks, but the host never said that the condition is gone".to_owned();
        return Ok(vec![Event::Escalated { incident: id, reason }]);
    }
    Ok(vec![])
}
