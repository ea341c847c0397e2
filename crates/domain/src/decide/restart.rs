//! At which time a ledger goes on that was down. Nobody knows how long it was if the wall clock says less than the
//! journal; then no approval from before may be taken for fresh.

use crate::event::Event;
use crate::mutant::{self, Mutant};
use crate::state::State;
use crate::time::Timestamp;

/// Returns the event of a start, where there is a budget that it bears upon.
pub fn started(state: &State) -> Vec<Event> {
    let spent = !(state.tries.is_empty() && state.releases.is_empty() && state.looks.is_empty());
    if spent || state.storm.is_some() { vec![Event::ServerStarted] } else { vec![] }
}

/// Returns the time at which a server that starts with this state goes on: never before its last event, and, where
/// the wall clock lies behind that, not before the end of every approval that was given.
pub fn resumes_at(state: &State, last_event: Timestamp, wall: Timestamp) -> Timestamp {
    if wall >= last_event {
        return wall;
    }
    if mutant::is(Mutant::ResumeInThePast) {
        return last_event;
    }
    let ends = state.open.values().filter_map(|id| state.incidents.get(id)).flat_map(|incident| {
        let fix =
            incident.proposal.as_ref().and_then(|p| p.approved.as_ref()).map(|a| a.approval().expires_at);
        let look = incident.diagnosis.as_ref().map(|diagnosis| diagnosis.approval.expires_at);
        [fix, look].into_iter().flatten()
    });
    ends.max().unwrap_or(last_event).max(last_event)
}
