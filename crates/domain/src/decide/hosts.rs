//! Hosts come, begin anew, fall silent, are heard again, and are revoked.

use super::{need_role, silence};
use crate::command::{Command, Refusal};
use crate::event::Event;
use crate::ids::HostId;
use crate::incident::Phase;
use crate::mutant::{self, Mutant};
use crate::people::Role;
use crate::state::{Host, State};
use crate::time::Timestamp;

pub fn decide(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Enrol { host, epoch } => match state.hosts.get(host) {
            None => Ok(vec![Event::HostEnrolled { host: host.clone(), epoch: *epoch }]),
            Some(known) if known.epoch == *epoch && !known.revoked => Ok(vec![]),
            Some(_) => begin_epoch(state, host, *epoch, "the host was enrolled again"),
        },
        Command::BeginEpoch { host, epoch, reason } => {
            let known = state.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
            if known.revoked {
                return Err(Refusal::HostRevoked(host.clone()));
            }
            if known.epoch == *epoch { Ok(vec![]) } else { begin_epoch(state, host, *epoch, reason) }
        }
        Command::Revoke { host, by } => {
            need_role(state, by, Role::Admin)?;
            let known = state.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
            if known.revoked {
                return Err(Refusal::Unchanged(format!("host {host} is revoked already")));
            }
            let mut events = vec![Event::HostRevoked { host: host.clone(), by: by.clone() }];
            events.extend(abandon(state, host, "the host was revoked"));
            events.extend(silence::abandon(state, host, "the host was revoked"));
            Ok(events)
        }
        Command::DeclareSilent { host, last_seen } => Ok(silence::declare(state, host, *last_seen, now)),
        Command::HearAgain { host } => Ok(silence::end(state, host, now)),
        _ => Ok(vec![]),
    }
}

/// Returns the host if it may speak with this epoch.
pub fn speaking<'a>(state: &'a State, host: &HostId, epoch: crate::ids::Epoch) -> Result<&'a Host, Refusal> {
    let known = state.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    if known.revoked {
        return Err(Refusal::HostRevoked(host.clone()));
    }
    if known.epoch != epoch {
        return Err(Refusal::OtherEpoch { host: host.clone(), current: known.epoch });
    }
    Ok(known)
}

fn begin_epoch(
    state: &State,
    host: &HostId,
    epoch: crate::ids::Epoch,
    reason: &str,
) -> Result<Vec<Event>, Refusal> {
    // A message from an earlier life may have been long on its way; it must not bring that life back.
    if let Some(known) = state.hosts.get(host)
        && known.former.contains(&epoch)
        && !mutant::is(Mutant::ReviveEpoch)
    {
        return Err(Refusal::OtherEpoch { host: host.clone(), current: known.epoch });
    }
    let mut events = vec![Event::EpochBegan { host: host.clone(), epoch, reason: reason.into() }];
    events.extend(abandon(state, host, reason));
    Ok(events)
}

/// What was decided for a life of the host that is over: nothing of it may start, and what may have started there
/// is a person's to look at.
fn abandon(state: &State, host: &HostId, reason: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for incident in state.open_of(host) {
        let Some(proposal) = &incident.proposal else { continue };
        let plan = proposal.plan.digest();
        let under_way =
            matches!(incident.phase, Phase::Approved | Phase::Running) && proposal.released_at.is_some();
        if under_way {
            let reason =
                format!("{reason}; whether plan {} took effect there must be looked at", plan.short());
            events.push(Event::Escalated { incident: incident.id, reason });
        } else if matches!(incident.phase, Phase::AwaitingApproval | Phase::Approved) {
            events.push(Event::PlanVoided { incident: incident.id, plan, reason: reason.into() });
        }
    }
    events
}
