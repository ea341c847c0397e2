//! Problems as people read them.

use sopwith_domain::problem::Problem;
use sopwith_domain::state::State;
use sopwith_protocol::api::{ProblemClosedView, ProblemView};

/// Returns a problem with the incidents that it showed itself by.
pub fn problem_view(state: &State, problem: &Problem) -> ProblemView {
    let latest = problem.incidents.last().and_then(|id| state.incidents.get(id));
    ProblemView {
        id: problem.id,
        number: problem.id.to_string(),
        title: latest.map_or_else(
            || format!("{} of {} on {}", problem.kind, problem.subject, problem.host),
            |incident| super::title(&incident.signal),
        ),
        state: if problem.closed.is_some() { "closed" } else { "open" }.into(),
        host: problem.host.to_string(),
        subject: problem.subject.to_string(),
        kind: problem.kind.to_string(),
        fingerprint: problem.fingerprint,
        opened_at: problem.opened_at.to_string(),
        why: problem.why.clone(),
        incidents: problem.incidents.clone(),
        more_incidents: problem.more_incidents,
        closed: problem.closed.as_ref().map(|closed| ProblemClosedView {
            at: closed.at.to_string(),
            by: closed.by.to_string(),
            root_cause: closed.root_cause.clone(),
        }),
    }
}
