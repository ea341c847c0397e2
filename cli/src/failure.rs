//! How a command ends when it does not end well: what happened, what to do, and the exit code.
//! It never prints to standard output.

use crate::ui::Ui;
use sopwith_protocol::api::Problem;

/// What kind of end it is, which is the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// 1
    Failed,
    /// 2
    Usage,
    /// 3
    Refused,
    /// 4
    Unreachable,
}

/// An error with its fix.
#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    /// Empty if all that is to be said has been said.
    pub text: String,
    pub help: Option<String>,
    pub details: Vec<String>,
    /// Status of the server's answer, if it was one.
    pub status: Option<u16>,
}

impl Failure {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), help: None, details: Vec::new(), status: None }
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Kind::Failed, text)
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage, text)
    }

    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(Kind::Refused, text)
    }

    pub fn unreachable(text: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, text)
    }

    /// A failure whose findings have been printed already.
    pub fn told() -> Self {
        Self::new(Kind::Failed, "")
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes a failure of the server's answer.
    pub fn from_problem(problem: Problem) -> Self {
        let kind = match problem.status {
            401 | 403 | 409 | 412 | 422 | 428 | 429 => Kind::Refused,
            502..=504 => Kind::Unreachable,
            _ => Kind::Failed,
        };
        let text = match (problem.title.trim_end_matches('.'), problem.detail.as_str()) {
            (title, "") => title.to_owned(),
            (title, detail) if title == detail.trim_end_matches('.') => title.to_owned(),
            (title, detail) => format!("{title}: {detail}"),
        };
        let help = problem.help.or_else(|| match problem.status {
            401 => Some("log in again with `sopwith login`".into()),
            403 => Some("`sopwith whoami` shows your role; an admin can change it".into()),
            _ => None,
        });
        Self { kind, text, help, details: problem.errors, status: Some(problem.status) }
    }

    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::Unreachable => 4,
        }
    }

    /// Prints the failure to standard error.
    pub fn print(&self, ui: &Ui) {
        if self.text.is_empty() {
            return;
        }
        eprintln!("{} {}", ui.bad_on_stderr("sopwith:"), self.text);
        for detail in &self.details {
            eprintln!("  - {detail}");
        }
        if let Some(help) = &self.help {
            eprintln!("  → {help}");
        }
    }
}

/// Joins an error with the errors that caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

/// Returns the words of the error that caused all others.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_the_exit_code() {
        let table = [
            (400, 1),
            (401, 3),
            (403, 3),
            (404, 1),
            (409, 3),
            (412, 3),
            (422, 3),
            (429, 3),
            (500, 1),
            (503, 4),
        ];
        for (status, code) in table {
            let problem = Problem {
                kind: "/problems/x".into(),
                title: "Title".into(),
                status,
                detail: "detail".into(),
                help: None,
                errors: vec![],
            };
            assert_eq!(Failure::from_problem(problem).exit_code(), code, "status {status}");
        }
    }
}
