//! Problems: what automation could not mend, kept until somebody knows why. A problem outlives its incidents; one
//! fault of a host has one open problem, however often it comes back.

use crate::ids::{AccountName, Digest, HostId, IncidentId, InvalidName};
use crate::signal::{SignalKind, Subject};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest root cause that a person writes down, in bytes.
pub const ROOT_CAUSE_BYTES_MAX: usize = 4096;
/// Most incidents that one problem names; those after it are counted.
pub const INCIDENTS_MAX: usize = 100;

/// Number of a problem, shown as `PRB-7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProblemId(pub u64);

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PRB-{}", self.0)
    }
}

impl FromStr for ProblemId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.strip_prefix("PRB-").or_else(|| text.strip_prefix("prb-")).unwrap_or(text);
        digits.parse().map(Self).map_err(|_| InvalidName::new("problem", text, "PRB- and a number"))
    }
}

/// How a problem ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    pub at: Timestamp,
    pub by: AccountName,
    pub root_cause: String,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub id: ProblemId,
    pub fingerprint: Digest,
    pub host: HostId,
    pub kind: SignalKind,
    pub subject: Subject,
    pub opened_at: Timestamp,
    /// What automation said when it gave up first.
    pub why: String,
    /// The incidents that it showed itself by, oldest first, and how many more there were.
    pub incidents: Vec<IncidentId>,
    pub more_incidents: u64,
    pub closed: Option<Closed>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_shown() {
        for text in ["PRB-7", "prb-7", "7"] {
            assert_eq!(text.parse(), Ok(ProblemId(7)), "{text}");
        }
        for text in ["", "PRB-", "INC-7", "-7", "PRB-7x", "../7", "PRB-99999999999999999999"] {
            assert!(text.parse::<ProblemId>().is_err(), "{text}");
        }
    }
}
