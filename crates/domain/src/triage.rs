//! Priority from severity and reach, by a matrix that anybody can read.

use crate::signal::{Severity, Signal, Subject};
use serde::{Deserialize, Serialize};

/// P1 is the most pressing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Priority {
    P1,
    P2,
    P3,
    P4,
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Returns the priority and the reason for it.
///
/// | severity    | the whole host, a file system | one service, file or check |
/// |-------------|-------------------------------|----------------------------|
/// | critical    | P1                            | P2                         |
/// | warning     | P2                            | P3                         |
/// | information | P4                            | P4                         |
pub fn priority(signal: &Signal) -> (Priority, String) {
    let wide = matches!(signal.subject, Subject::Host | Subject::Mount(_));
    let priority = match (signal.severity, wide) {
        (Severity::Critical, true) => Priority::P1,
        (Severity::Critical, false) | (Severity::Warning, true) => Priority::P2,
        (Severity::Warning, false) => Priority::P3,
        (Severity::Information, _) => Priority::P4,
    };
    let reach = if wide { "the whole host or a file system" } else { "one service, file or check" };
    let severity = match signal.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Information => "information",
    };
    (priority, format!("{severity}, touching {reach}"))
}
