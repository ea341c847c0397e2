//! Problems as the API tells them.

use serde::{Deserialize, Serialize};
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::problem::ProblemId;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithRootCause {
    pub root_cause: String,
}

/// What automation could not mend, kept until somebody knows why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProblemView {
    pub id: ProblemId,
    pub number: String,
    pub title: String,
    /// open, closed.
    pub state: String,
    pub host: String,
    pub subject: String,
    pub kind: String,
    pub fingerprint: Digest,
    pub opened_at: String,
    pub why: String,
    /// The incidents that it showed itself by, oldest first, and how many more there were.
    pub incidents: Vec<IncidentId>,
    pub more_incidents: u64,
    pub closed: Option<ProblemClosedView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProblemClosedView {
    pub at: String,
    pub by: String,
    pub root_cause: String,
}
