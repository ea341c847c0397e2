//! Command in, events out: total, synchronous, and one atomic batch for each command, so that no crash can leave
//! half a decision behind. One file per matter.

mod access;
mod approve;
mod budget;
mod depend;
mod diagnose;
mod dry_run;
mod due;
mod fleet;
mod hosts;
mod ladder;
mod loops;
mod observe;
mod own;
mod problem;
mod propose;
mod release;
mod report;
mod restart;
mod silence;
mod storm;
#[cfg(test)]
mod tests;
mod trust;

pub use budget::{Left, Of, left};
pub use dry_run::asked;
pub use due::due;
pub use own::{STORM, first_of, is_own};
pub use propose::GAVE_UP;
pub use release::{cancels, owed};
pub use report::rewound;
pub use restart::resumes_at;
pub use silence::RULE as SILENCE;

use crate::command::{Command, Refusal};
use crate::event::Event;
use crate::ids::{AccountName, IncidentId};
use crate::incident::Incident;
use crate::people::Role;
use crate::state::State;
use crate::time::Timestamp;

/// Returns what a command brings about, or why it changes nothing. No events means that it was known already.
///
/// # Errors
/// Returns the reason, for whoever asked.
pub fn decide(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Start => Ok(restart::started(state)),
        Command::Enrol { .. }
        | Command::BeginEpoch { .. }
        | Command::Revoke { .. }
        | Command::DeclareSilent { .. }
        | Command::HearAgain { .. } => hosts::decide(state, command, now),
        Command::Observe { host, epoch, seq, item } => observe::observe(state, host, *epoch, *seq, item, now),
        Command::ReportRun { host, epoch, seq, record } => {
            report::report(state, host, *epoch, *seq, record, now)
        }
        Command::Decide { incident, plan, by, vote, reason, signature } => {
            let said =
                approve::Said { plan: *plan, by, vote: *vote, reason, signature: signature.as_deref() };
            approve::decide(state, *incident, &said, now)
        }
        Command::Cancel { run, by } => report::cancel(state, run, by),
        Command::AskDryRun { incident, by } => dry_run::ask(state, *incident, by, now),
        Command::ReportDryRun { host, epoch, report } => dry_run::report(state, host, *epoch, report, now),
        Command::CloseProblem { problem, by, root_cause } => problem::close(state, *problem, by, root_cause),
        Command::Close { incident, by, reason } => close(state, *incident, by, reason),
        Command::ExpireProposal { incident, plan } => approve::expire(state, *incident, plan, now),
        Command::MatchAnew { incident } => propose::anew(state, *incident, now),
        Command::Release { incident } => release::release(state, *incident, now),
        Command::NoteOverdue { incident } => due::overdue(state, *incident, now),
        Command::CloseQuiet { incident } => due::close_quiet(state, *incident, now),
        Command::CloseOwn { incident } => due::close_own(state, *incident, now),
        Command::Stop { .. }
        | Command::Resume { .. }
        | Command::InstallPlaybook { .. }
        | Command::RetirePlaybook { .. }
        | Command::SetPolicy { .. }
        | Command::AddPerson { .. }
        | Command::ChangeRole { .. }
        | Command::DisablePerson { .. }
        | Command::NoteAccess { .. } => access::decide(state, command),
    }
}

/// Returns the incident, or refuses.
fn find(state: &State, id: IncidentId) -> Result<&Incident, Refusal> {
    state.incidents.get(&id).ok_or(Refusal::UnknownIncident(id))
}

/// Refuses unless the person is known, active and at least of this role.
fn need_role(state: &State, by: &AccountName, needed: Role) -> Result<(), Refusal> {
    let person = state.people.get(by).filter(|p| !p.disabled);
    let person = person.ok_or_else(|| Refusal::UnknownPerson(by.clone()))?;
    if person.role < needed {
        return Err(Refusal::RoleTooLow { by: by.clone(), role: person.role, needed });
    }
    Ok(())
}

/// A person closes an incident that is in a person's hands, or that nothing will be done about.
fn close(state: &State, id: IncidentId, by: &AccountName, reason: &str) -> Result<Vec<Event>, Refusal> {
    use crate::incident::Phase;
    need_role(state, by, Role::Operator)?;
    let incident = find(state, id)?;
    if reason.trim().is_empty() {
        return Err(Refusal::Invalid(
            "give the reason for closing: what was done, or why nothing was".into(),
        ));
    }
    match incident.phase {
        Phase::NeedsPerson { .. } | Phase::Detected | Phase::Watching { .. } => {
            Ok(vec![Event::IncidentClosed { incident: id, reason: reason.into(), by: Some(by.clone()) }])
        }
        Phase::Closed { .. } => Err(Refusal::Unchanged(format!("{id} is closed already"))),
        Phase::AwaitingApproval | Phase::Approved | Phase::Running => Err(Refusal::Invalid(format!(
            "{id} has a plan under way ({}): deny or cancel it first",
            incident.phase.name()
        ))),
    }
}
