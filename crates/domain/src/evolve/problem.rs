//! Folds what becomes of problems.

use crate::event::Event;
use crate::problem::{Closed, INCIDENTS_MAX, Problem};
use crate::state::State;
use crate::time::Timestamp;

pub fn fold(state: &mut State, event: &Event, at: Timestamp) {
    match event {
        Event::ProblemOpened { problem, incident, why } => {
            let Some(known) = state.incidents.get(incident) else { return };
            let opened = Problem {
                id: *problem,
                fingerprint: known.fingerprint,
                host: known.host.clone(),
                kind: known.signal.kind.clone(),
                subject: known.signal.subject.clone(),
                opened_at: at,
                why: why.clone(),
                incidents: vec![*incident],
                more_incidents: 0,
                closed: None,
            };
            state.open_problems.insert(opened.fingerprint, *problem);
            state.problems.insert(*problem, opened);
        }
        Event::ProblemRecurred { problem, incident, .. } => {
            if let Some(known) = state.problems.get_mut(problem) {
                if known.incidents.len() < INCIDENTS_MAX {
                    known.incidents.push(*incident);
                } else {
                    known.more_incidents += 1;
                }
            }
        }
        Event::ProblemClosed { problem, root_cause, by } => {
            if let Some(known) = state.problems.get_mut(problem) {
                known.closed = Some(Closed { at, by: by.clone(), root_cause: root_cause.clone() });
                state.open_problems.remove(&known.fingerprint);
            }
        }
        _ => {}
    }
}
