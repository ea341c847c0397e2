//! Faults that several hosts have in common: which incidents are the same fault, and what became of the fix on each
//! host. Told by the events alone; what follows from it is decided in `decide::fleet`.

use crate::ids::{HostId, IncidentId};
use crate::signal::{Signal, Subject};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// What makes incidents of different hosts the same fault: the concern, and what it befell, by its name where things
/// of that name are the same on all hosts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Symptom {
    concern: String,
    subject: String,
}

impl Symptom {
    pub fn of(signal: &Signal) -> Self {
        let subject = match &signal.subject {
            // A process is known by its number, which says nothing on another host.
            Subject::Process(_) => "process".into(),
            named => named.to_string(),
        };
        Self { concern: signal.concern().to_owned(), subject }
    }

    pub fn concern(&self) -> &str {
        &self.concern
    }
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.concern, self.subject)
    }
}

/// One incident of a common fault, and what automation did about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub host: HostId,
    pub raised_at: Timestamp,
    /// An order that nobody was asked about is released, and its run has not ended.
    pub under_way: bool,
    /// When such a run ended well.
    pub mended_at: Option<Timestamp>,
    /// When such runs failed, or what they had mended came back.
    pub failed_at: Vec<Timestamp>,
}

/// A fault with the incidents that have it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Common {
    pub members: BTreeMap<IncidentId, Member>,
    /// The server's own open incident that stands for all of them.
    pub root: Option<IncidentId>,
}
