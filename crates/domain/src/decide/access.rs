//! The stop switch, playbooks and policy, and who may do what.

use super::need_role;
use crate::command::{Command, Refusal};
use crate::event::Event;
use crate::ids::{AccountName, PlaybookId};
use crate::incident::Phase;
use crate::order::SignedText;
use crate::people::{Role, SERVER_ACCOUNT};
use crate::playbook::Playbook;
use crate::policy::Policy;
use crate::state::State;

pub fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Stop { by, reason } => stop(state, by, reason),
        Command::Resume { by, reason } => {
            need_role(state, by, Role::Admin)?;
            if state.stop.is_none() {
                return Err(Refusal::Unchanged("automation is not stopped".into()));
            }
            Ok(vec![Event::StopCleared { by: by.clone(), reason: reason.clone() }])
        }
        Command::InstallPlaybook { playbook, signer, by } => install(state, playbook, signer, by),
        Command::RetirePlaybook { playbook, by } => {
            need_role(state, by, Role::Admin)?;
            if !state.playbooks.contains_key(playbook) {
                return Err(Refusal::Invalid(format!("there is no playbook {playbook}")));
            }
            let mut events = vec![Event::PlaybookRetired { playbook: playbook.clone(), by: by.clone() }];
            events.extend(void_plans_of(state, playbook, &format!("playbook {playbook} was retired")));
            Ok(events)
        }
        Command::SetPolicy { policy, signer, by } => {
            need_owner(state, by)?;
            Policy::parse(&policy.text).map_err(|finding| Refusal::Invalid(finding.to_string()))?;
            if state.policy.as_ref().is_some_and(|p| p.signed == *policy) {
                return Ok(vec![]);
            }
            Ok(vec![Event::PolicySet { policy: policy.clone(), signer: signer.clone(), by: by.clone() }])
        }
        Command::AddPerson { name, role, by } => {
            need_first_or_admin(state, by)?;
            if name.as_str() == SERVER_ACCOUNT {
                return Err(Refusal::Invalid(format!("{name} is the server's own name, choose another")));
            }
            if state.people.contains_key(name) {
                return Err(Refusal::Unchanged(format!("there is an operator {name} already")));
            }
            Ok(vec![Event::PersonAdded { name: name.clone(), role: *role, by: by.clone() }])
        }
        Command::ChangeRole { name, role, by } => {
            need_owner(state, by)?;
            let person = state.people.get(name).ok_or_else(|| Refusal::UnknownPerson(name.clone()))?;
            if person.role == Role::Admin && *role != Role::Admin {
                keep_an_admin(state, name)?;
            }
            Ok(vec![Event::RoleChanged { name: name.clone(), role: *role, by: by.clone() }])
        }
        Command::DisablePerson { name, by } => {
            need_owner(state, by)?;
            if !state.people.contains_key(name) {
                return Err(Refusal::UnknownPerson(name.clone()));
            }
            keep_an_admin(state, name)?;
            Ok(vec![Event::PersonDisabled { name: name.clone(), by: by.clone() }])
        }
        Command::NoteAccess { by, what } => {
            Ok(vec![Event::AccessChanged { by: by.clone(), what: what.clone() }])
        }
        _ => Ok(vec![]),
    }
}

fn stop(state: &State, by: &AccountName, reason: &str) -> Result<Vec<Event>, Refusal> {
    need_role(state, by, Role::Operator)?;
    if reason.trim().is_empty() {
        return Err(Refusal::Invalid(
            "give the reason for the stop; whoever resumes will want to know it".into(),
        ));
    }
    if state.stop.is_some() {
        return Err(Refusal::Unchanged("automation is stopped already".into()));
    }
    Ok(vec![Event::StopSet { by: by.clone(), reason: reason.into() }])
}

fn install(
    state: &State,
    signed: &SignedText,
    signer: &str,
    by: &AccountName,
) -> Result<Vec<Event>, Refusal> {
    need_owner(state, by)?;
    let playbook = Playbook::parse(&signed.text).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Refusal::Invalid(lines.join("\n"))
    })?;
    match state.playbooks.get(&playbook.id) {
        Some(known) if known.signed == *signed => return Ok(vec![]),
        Some(known)
            if known.playbook.version >= playbook.version && known.playbook.digest != playbook.digest =>
        {
            return Err(Refusal::Invalid(format!(
                "{} version {} is installed; a changed text needs a higher version than that",
                playbook.id, known.playbook.version
            )));
        }
        _ => {}
    }
    let installed =
        Event::PlaybookInstalled { playbook: signed.clone(), signer: signer.into(), by: by.clone() };
    let mut events = vec![installed];
    let replaced = format!("playbook {} was replaced by version {}", playbook.id, playbook.version);
    events.extend(void_plans_of(state, &playbook.id, &replaced));
    Ok(events)
}

/// Plans of a playbook that is no longer what it was are void, unless their order is on its way already. What is
/// proposed instead is due at once, see [`super::due`].
fn void_plans_of(state: &State, playbook: &PlaybookId, reason: &str) -> Vec<Event> {
    let open = state.open.values().filter_map(|id| state.incidents.get(id));
    open.filter(|incident| matches!(incident.phase, Phase::AwaitingApproval | Phase::Approved))
        .filter_map(|incident| {
            let proposal = incident.proposal.as_ref()?;
            (proposal.plan.playbook == *playbook && proposal.released_at.is_none()).then(|| {
                Event::PlanVoided {
                    incident: incident.id,
                    plan: proposal.plan.digest(),
                    reason: reason.into(),
                }
            })
        })
        .collect()
}

/// An admin, or the server itself: for documents in its own folder, whose signature the shell has verified, and for
/// commands given on its own machine by whoever owns it.
fn need_owner(state: &State, by: &AccountName) -> Result<(), Refusal> {
    if by.as_str() == SERVER_ACCOUNT { Ok(()) } else { need_role(state, by, Role::Admin) }
}

/// The first operator is added at set-up, by himself; all others by an admin.
fn need_first_or_admin(state: &State, by: &AccountName) -> Result<(), Refusal> {
    if state.people.is_empty() { Ok(()) } else { need_owner(state, by) }
}

fn keep_an_admin(state: &State, leaving: &AccountName) -> Result<(), Refusal> {
    let others = state.people.iter().any(|(name, p)| name != leaving && p.role == Role::Admin && !p.disabled);
    let is_admin = state.people.get(leaving).is_some_and(|p| p.role == Role::Admin && !p.disabled);
    if is_admin && !others {
        return Err(Refusal::Invalid(format!("{leaving} is the only admin left")));
    }
    Ok(())
}
