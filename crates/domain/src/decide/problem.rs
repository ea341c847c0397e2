//! The end of the ladder: where automation gave up, or the last SOP failed, a problem is opened, or the open one of the
//! same fault is told of one more incident. Only a person closes it, and says what the cause was.

use super::need_role;
use crate::command::Refusal;
use crate::event::Event;
use crate::ids::{AccountName, Digest, IncidentId};
use crate::mutant::{self, Mutant};
use crate::people::Role;
use crate::problem::{ProblemId, ROOT_CAUSE_BYTES_MAX};
use crate::state::State;

/// Returns what becomes of the problem behind an incident that automation could not mend; nothing where it is known.
pub fn because(state: &State, incident: IncidentId, fingerprint: Digest, why: &str) -> Option<Event> {
    if mutant::is(Mutant::ForgetProblem) {
        return None;
    }
    let why = why.to_owned();
    match state.open_problems.get(&fingerprint) {
        Some(problem) => {
            let known = state.problems.get(problem).is_some_and(|known| known.incidents.contains(&incident));
            (!known).then_some(Event::ProblemRecurred { problem: *problem, incident, why })
        }
        None => {
            let problem = ProblemId(state.problems.keys().next_back().map_or(1, |last| last.0 + 1));
            Some(Event::ProblemOpened { problem, incident, why })
        }
    }
}

/// A person has found the cause.
pub fn close(
    state: &State,
    id: ProblemId,
    by: &AccountName,
    root_cause: &str,
) -> Result<Vec<Event>, Refusal> {
    need_role(state, by, Role::Operator)?;
    let problem = state.problems.get(&id).ok_or(Refusal::UnknownProblem(id))?;
    if let Some(closed) = &problem.closed {
        return Err(Refusal::Unchanged(format!("{id} was closed by {} already", closed.by)));
    }
    let root_cause = root_cause.trim();
    if root_cause.is_empty() {
        return Err(Refusal::Invalid("write down the root cause, or what is known of it".into()));
    }
    if root_cause.len() > ROOT_CAUSE_BYTES_MAX {
        let length = root_cause.len();
        return Err(Refusal::Invalid(format!(
            "the root cause has {length} bytes, at most {ROOT_CAUSE_BYTES_MAX}"
        )));
    }
    Ok(vec![Event::ProblemClosed { problem: id, root_cause: root_cause.into(), by: by.clone() }])
}
