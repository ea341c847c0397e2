//! What a host's administrator says about it in `/etc/sopwith/host.d/*.yaml`, part of every decision.
//! A declaration can only forbid or explain; it never permits what would otherwise be refused.

use crate::ids::AccountName;
use crate::signal::{Signal, Subject};
use crate::time::{Timestamp, rfc3339, rfc3339_option};
use crate::value::{Value, Word};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most declarations of one host.
pub const DECLARATIONS_MAX: usize = 256;

/// One statement of a host's administrator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Declaration {
    /// Planned work: nothing is fixed in its scope from `from` to `to`.
    Maintenance {
        id: Word,
        scope: Vec<Subject>,
        #[serde(with = "rfc3339")]
        from: Timestamp,
        #[serde(with = "rfc3339")]
        to: Timestamp,
        by: String,
        reason: String,
    },
    /// Do not touch, until told otherwise.
    Hold {
        scope: Vec<Subject>,
        by: String,
        reason: String,
        #[serde(default, with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A load that is meant to be.
    Expected {
        scope: Vec<Subject>,
        load: Load,
        #[serde(with = "rfc3339")]
        from: Timestamp,
        #[serde(with = "rfc3339")]
        to: Timestamp,
    },
    /// An address or account that is never to be blocked or locked.
    Allow {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ip: Option<IpAddr>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountName>,
        #[serde(default)]
        note: String,
    },
    /// What kind of account this is.
    Account { name: AccountName, human: bool },
    /// A fact for matching, such as the host's role.
    Fact { name: Word, value: Word },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    Cpu,
    Memory,
    Io,
}

/// All that a host says of itself. Broken files fail closed: nothing runs there until they are mended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Declarations {
    pub stated: Vec<Declaration>,
    /// Files that could not be read or parsed, each with its reason.
    pub broken: Vec<String>,
}

/// Why a host's declarations forbid acting on a subject now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Forbidden {
    Maintenance { id: Word, by: String, reason: String, until: Timestamp },
    Hold { by: String, reason: String, until: Option<Timestamp> },
    BrokenDeclarations { file: String },
    Allowed { ip: IpAddr, note: String },
    AllowedAccount { account: AccountName, note: String },
    ExpectedLoad { load: Load, until: Timestamp },
}

impl std::fmt::Display for Forbidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Maintenance { id, by, reason, until } => {
                write!(f, "maintenance {id} by {by} until {until}: {reason}")
            }
            Self::Hold { by, reason, until: None } => write!(f, "hold by {by}: {reason}"),
            Self::Hold { by, reason, until: Some(until) } => {
                write!(f, "hold by {by} until {until}: {reason}")
            }
            Self::Allowed { ip, note } => write!(f, "the host's administrator allows {ip}: {note}"),
            Self::AllowedAccount { account, note } => {
                write!(f, "the host's administrator allows the account {account}: {note}")
            }
            Self::ExpectedLoad { load, until } => {
                let load = match load {
                    Load::Cpu => "of the processor",
                    Load::Memory => "of memory",
                    Load::Io => "of disks",
                };
                write!(f, "the host's administrator expects this load {load} until {until}")
            }
            Self::BrokenDeclarations { file } => {
                write!(f, "the host's own declarations cannot be read, so nothing runs there: {file}")
            }
        }
    }
}

/// Returns which load a signal is about; nothing for one that tells of damage.
fn load_of(signal: &Signal) -> Option<Load> {
    let resource = || match signal.fields.iter().find(|(name, _)| name.as_str() == "resource")?.1 {
        Value::Word(word) => Some(word.as_str()),
        _ => None,
    };
    match (signal.kind.as_str(), resource()) {
        ("process.runaway", _) | ("pressure.high", Some("cpu")) => Some(Load::Cpu),
        ("unit.leaking", _) | ("pressure.high", Some("memory")) => Some(Load::Memory),
        ("pressure.high", Some("io")) => Some(Load::Io),
        _ => None,
    }
}

impl Declarations {
    /// Returns the load that is meant to be, if a signal is about that.
    pub fn expected(&self, signal: &Signal, now: Timestamp) -> Option<Forbidden> {
        let of_signal = load_of(signal)?;
        self.stated.iter().find_map(|declaration| match declaration {
            Declaration::Expected { scope, load, from, to }
                if *load == of_signal
                    && *from <= now
                    && now < *to
                    && scope.iter().any(|covering| covering.covers(&signal.subject)) =>
            {
                Some(Forbidden::ExpectedLoad { load: *load, until: *to })
            }
            _ => None,
        })
    }

    /// Returns a fact that is stated by its name.
    pub fn fact(&self, wanted: &Word) -> Option<&Word> {
        self.stated.iter().find_map(|declaration| match declaration {
            Declaration::Fact { name, value } if name == wanted => Some(value),
            _ => None,
        })
    }

    /// Returns why acting on any of `subjects` is forbidden at `now`, or nothing.
    pub fn forbid(&self, subjects: &[Subject], now: Timestamp) -> Option<Forbidden> {
        if let Some(file) = self.broken.first() {
            return Some(Forbidden::BrokenDeclarations { file: file.clone() });
        }
        let touches = |scope: &[Subject]| {
            scope.iter().any(|s| subjects.iter().any(|subject| s.covers(subject) || subject.covers(s)))
        };
        self.stated.iter().find_map(|declaration| match declaration {
            Declaration::Maintenance { id, scope, from, to, by, reason }
                if *from <= now && now < *to && touches(scope) =>
            {
                Some(Forbidden::Maintenance {
                    id: id.clone(),
                    by: by.clone(),
                    reason: reason.clone(),
                    until: *to,
                })
            }
            Declaration::Hold { scope, by, reason, until }
                if until.is_none_or(|until| now < until) && touches(scope) =>
            {
                Some(Forbidden::Hold { by: by.clone(), reason: reason.clone(), until: *until })
            }
            Declaration::Allow { ip: Some(ip), note, .. }
                if subjects.iter().any(
                    |s| matches!(s, Subject::Address(other) if other.to_canonical() == ip.to_canonical()),
                ) =>
            {
                Some(Forbidden::Allowed { ip: *ip, note: note.clone() })
            }
            Declaration::Allow { account: Some(account), note, .. }
                if subjects
                    .iter()
                    .any(|s| matches!(s, Subject::Account(other) if other.as_str() == account.as_str())) =>
            {
                Some(Forbidden::AllowedAccount { account: account.clone(), note: note.clone() })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_allowed_is_left_alone() {
        let text = "- {kind: allow, account: emergency, note: break glass}\n- {kind: account, name: job, human: false}\n";
        let declared =
            Declarations { stated: crate::yaml::from_str(text).expect("it parses"), broken: Vec::new() };
        for (subject, forbidden) in [
            ("account:emergency", true),
            ("account:emergency2", false),
            ("account:job", false),
            ("path:/etc/shadow", false),
        ] {
            let subjects = [subject.parse().expect("a subject")];
            assert_eq!(declared.forbid(&subjects, Timestamp(0)).is_some(), forbidden, "{subject}");
        }
    }

    fn signal(kind: &str, subject: &str, resource: Option<&str>) -> Signal {
        use crate::ids::{Epoch, HostId, RuleId};
        use crate::signal::{Condition, Severity, SignalKind};
        let word = |text: &str| Word::new(text).expect("a word");
        Signal {
            host: HostId::new("web-1").expect("a host"),
            epoch: Epoch(1),
            rule: RuleId::new("rule").expect("a rule"),
            kind: SignalKind::new(kind).expect("a kind"),
            subject: subject.parse().expect("a subject"),
            condition: Condition::Raised,
            severity: Severity::Warning,
            summary: String::new(),
            fields: resource.iter().map(|text| (word("resource"), Value::Word(word(text)))).collect(),
            evidence: vec![],
            observed_at: Timestamp(0),
            cause: None,
            depends_on: vec![],
        }
    }

    #[test]
    fn a_load_that_is_meant_to_be_is_told_apart_from_others_and_from_damage() {
        let declared = |scope: &str, load| Declarations {
            stated: vec![Declaration::Expected {
                scope: vec![scope.parse().expect("a subject")],
                load,
                from: Timestamp(100),
                to: Timestamp(200),
            }],
            broken: Vec::new(),
        };
        for (scope, load, kind, subject, resource, at, meant) in [
            ("host", Load::Cpu, "process.runaway", "process:bash", None, 100, true),
            ("host", Load::Cpu, "process.runaway", "process:bash", None, 99, false),
            ("host", Load::Cpu, "process.runaway", "process:bash", None, 200, false),
            ("host", Load::Memory, "process.runaway", "process:bash", None, 150, false),
            ("process:bash", Load::Cpu, "process.runaway", "process:bash", None, 150, true),
            ("process:other", Load::Cpu, "process.runaway", "process:bash", None, 150, false),
            ("host", Load::Io, "pressure.high", "host", Some("io"), 150, true),
            ("host", Load::Io, "pressure.high", "host", Some("cpu"), 150, false),
            ("host", Load::Memory, "unit.leaking", "unit:a.service", None, 150, true),
            ("host", Load::Memory, "memory.oom-kill", "unit:a.service", None, 150, false),
            ("host", Load::Cpu, "unit.failed", "unit:a.service", None, 150, false),
        ] {
            let told = declared(scope, load).expected(&signal(kind, subject, resource), Timestamp(at));
            let expected = meant.then_some(Forbidden::ExpectedLoad { load, until: Timestamp(200) });
            assert_eq!(told, expected, "{scope} {load:?} {kind} {subject} {at}");
        }
    }
}
