//! What an agent noticed. A signal is a typed fact with tainted words beside it: the words are shown to people
//! and go nowhere else; only the typed fields may become parameters of a plan.

use crate::ids::{Digest, Epoch, HostId, InvalidName, RuleId, checked_text};
use crate::time::Timestamp;
use crate::value::{AbsPath, UnitName, Value, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Most fields of one signal; a rule has far fewer captures.
pub const FIELDS_MAX: usize = 32;
/// Most pieces of evidence on one signal.
pub const EVIDENCE_MAX: usize = 8;
/// Longest text of one piece of evidence, in bytes; the agent keeps the telling lines.
pub const EVIDENCE_BYTES_MAX: usize = 8 * 1024;
/// Most subjects that a signal says it depends on.
pub const DEPENDS_ON_MAX: usize = 16;
/// Longest summary, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 512;

checked_text!(
    /// Kind of a signal, a noun and what befell it: `unit.failed`, `filesystem.full`, `log.rate`.
    SignalKind, "signal kind", "two words of a-z and hyphen, joined by a dot, as in unit.failed",
    |t| t.len() <= 64
        && t.split('.').count() == 2
        && t.split('.').all(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
);

/// What a signal is about; also the scope of a declaration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    Host,
    Unit(UnitName),
    Path(AbsPath),
    Mount(AbsPath),
    Process(Word),
    Address(IpAddr),
    Check(Word),
    /// An account of the host.
    Account(Word),
    /// A package as the host's package manager calls it.
    Package(Word),
    /// A setting of the kernel, as in net.ipv4.ip_forward.
    Sysctl(Word),
}

impl Subject {
    /// Says whether a declaration with this scope speaks of `other`.
    pub fn covers(&self, other: &Subject) -> bool {
        match (self, other) {
            (Self::Host, _) => true,
            (Self::Path(a) | Self::Mount(a), Self::Path(b) | Self::Mount(b)) => a.covers(b),
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Unit(v) => write!(f, "unit:{v}"),
            Self::Path(v) => write!(f, "path:{v}"),
            Self::Mount(v) => write!(f, "mount:{v}"),
            Self::Process(v) => write!(f, "process:{v}"),
            Self::Address(v) => write!(f, "address:{v}"),
            Self::Check(v) => write!(f, "check:{v}"),
            Self::Account(v) => write!(f, "account:{v}"),
            Self::Package(v) => write!(f, "package:{v}"),
            Self::Sysctl(v) => write!(f, "sysctl:{v}"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let wrong = || {
            InvalidName::new(
                "subject",
                text,
                "host, or unit: path: mount: process: address: check: account: package: sysctl: and a name",
            )
        };
        let (what, name) = text.split_once(':').ok_or_else(wrong)?;
        Ok(match what {
            "unit" => Self::Unit(UnitName::new(name)?),
            "path" => Self::Path(AbsPath::new(name)?),
            "mount" => Self::Mount(AbsPath::new(name)?),
            "process" => Self::Process(Word::new(name)?),
            "address" => Self::Address(name.parse().map_err(|_| wrong())?),
            "check" => Self::Check(Word::new(name)?),
            "account" => Self::Account(Word::new(name)?),
            "package" => Self::Package(Word::new(name)?),
            "sysctl" => Self::Sysctl(Word::new(name)?),
            _ => return Err(wrong()),
        })
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

/// How bad a signal is by itself, before triage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Information,
    Warning,
    Critical,
}

/// Whether the condition holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Raised,
    Cleared,
}

/// What was looked at when the signal fired, before a fix could destroy it. Tainted text, for people only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    pub title: String,
    pub text: String,
}

/// One observation of a rule about a subject on a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signal {
    pub host: HostId,
    pub epoch: Epoch,
    pub rule: RuleId,
    pub kind: SignalKind,
    pub subject: Subject,
    pub condition: Condition,
    pub severity: Severity,
    /// Plain words for people; tainted.
    pub summary: String,
    pub fields: BTreeMap<Word, Value>,
    pub evidence: Vec<Evidence>,
    /// When the agent saw it, by the host's own clock.
    pub observed_at: Timestamp,
    /// The run on this host that was under way on the same subject, if any (loop guard).
    pub cause: Option<Digest>,
    /// What the subject cannot be well without, as the host's administrator and its service manager say: while one
    /// of these is faulty itself, this fault follows from that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Subject>,
}

impl Signal {
    /// Returns what the signal is about in its subject. That is the rule, but the ways in which a unit is down are one:
    /// undoing a start turns `failed` into `inactive`, and that must neither close the incident nor grant fresh tries.
    pub fn concern(&self) -> &str {
        match self.kind.as_str() {
            "unit.failed" | "unit.inactive" | "unit.unhealthy" => "unit-state",
            _ => self.rule.as_str(),
        }
    }

    /// Returns what makes repeats of this signal one incident: host, concern and subject.
    pub fn fingerprint(&self) -> Digest {
        Digest::of_json("sopwith-fingerprint-v1", &(&self.host, self.concern(), &self.subject))
    }

    /// Says whether this fault can follow from one of `root`. Which mount a file lies on only its host knows, and says.
    pub fn can_follow_from(&self, root: &Subject) -> bool {
        *root != self.subject && self.depends_on.contains(root)
    }

    /// Says which bound the signal breaks, if any.
    pub fn bound_broken(&self) -> Option<String> {
        let long = self
            .evidence
            .iter()
            .find(|e| e.text.len() > EVIDENCE_BYTES_MAX || e.title.len() > SUMMARY_BYTES_MAX);
        if !self.rule.is_plain() {
            Some(format!(
                "its rule is named {}: a name begins with a letter or digit and holds no empty part and no ..",
                self.rule
            ))
        } else if self.fields.len() > FIELDS_MAX {
            Some(format!("{} fields, at most {FIELDS_MAX}", self.fields.len()))
        } else if self.summary.len() > SUMMARY_BYTES_MAX {
            Some(format!("a summary of {} bytes, at most {SUMMARY_BYTES_MAX}", self.summary.len()))
        } else if self.depends_on.len() > DEPENDS_ON_MAX {
            Some(format!("depends on {} subjects, at most {DEPENDS_ON_MAX}", self.depends_on.len()))
        } else if self.evidence.len() > EVIDENCE_MAX {
            Some(format!("{} pieces of evidence, at most {EVIDENCE_MAX}", self.evidence.len()))
        } else {
            long.map(|e| format!("evidence of {} bytes, at most {EVIDENCE_BYTES_MAX}", e.text.len()))
        }
    }
}
