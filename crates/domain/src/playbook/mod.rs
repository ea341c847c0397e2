//! The SOP (standard operating procedure) as one document for people and machine.
//! [`Playbook::parse`] is the only way to one; a playbook is data and gains no behaviour by being loaded,
//! only by being approved as part of a plan.

mod case;
mod document;
mod lint;
mod node;
mod parse;
mod reader;
mod schema;
mod template;

pub use case::Case;
pub use parse::Finding;
pub use schema::schema;
pub use template::{CheckTemplate, StepTemplate, Unresolved};

use crate::ids::{Digest, InvalidName, PlaybookId};
use crate::signal::SignalKind;
use crate::value::{AbsPath, Network, Value, ValueType, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest playbook, in bytes.
pub const PLAYBOOK_BYTES_MAX: usize = 128 * 1024;
/// Most steps of a playbook; a procedure that needs more is several.
pub const STEPS_MAX: usize = 32;
/// Longest time a step may take, in seconds.
pub const TIMEOUT_S_MAX: u64 = 3600;
/// Most stronger playbooks that one names.
pub const STRONGER_MAX: usize = 4;
/// Longest soak on the host, in seconds.
pub const SOAK_S_MAX: u64 = 3600;

/// Who must say yes before this playbook runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Its steps only look; the policy's rule for diagnosis approves it. It answers what nothing else mends.
    Look,
    /// A standing policy may approve it (a standard change).
    Auto,
    /// People approve each plan (a normal change).
    Approval,
    /// It is never run by the machine; it tells people what to do.
    Never,
}

/// One kind of signal that the playbook answers, with what the signal's fields must say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    pub kind: SignalKind,
    /// Field → the texts of which its value must be one.
    #[serde(default, rename = "where")]
    pub fields: BTreeMap<Word, Vec<String>>,
    /// Field → texts of which its value must be none; a field that is not there is none of them.
    #[serde(default)]
    pub unless: BTreeMap<Word, Vec<String>>,
    /// Fields that must be there, whatever they say.
    #[serde(default)]
    pub has: Vec<Word>,
    /// Fields that must not be there.
    #[serde(default)]
    pub lacks: Vec<Word>,
    /// Fact of the host's declarations → the values of which it must have one.
    #[serde(default)]
    pub host: BTreeMap<Word, Vec<String>>,
    /// Whole-number fields that must not be below a bound; a field that is not there holds no bound.
    #[serde(default)]
    pub at_least: BTreeMap<Word, i64>,
    /// Whole-number fields that must not be above a bound; a field that is not there breaks none.
    #[serde(default)]
    pub at_most: BTreeMap<Word, i64>,
    /// Among playbooks that match, the highest wins; a tie is nobody's and goes to a person.
    #[serde(default)]
    pub priority: i64,
}

/// A typed, bounded parameter. Its value comes from the signal, or is the default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// `subject`, or the name of a field of the signal.
    #[serde(default)]
    pub from: Option<Word>,
    #[serde(default)]
    pub default: Option<String>,
    /// Steps and checks that name an optional parameter without a value are left out.
    #[serde(default)]
    pub optional: bool,
    #[serde(default)]
    pub min: Option<i64>,
    #[serde(default)]
    pub max: Option<i64>,
    /// Folders of which a path must lie in one.
    #[serde(default)]
    pub within: Vec<AbsPath>,
    /// Ranges of which an address must lie in none.
    #[serde(default)]
    pub not_in: Vec<Network>,
    #[serde(default)]
    pub one_of: Vec<String>,
    #[serde(default)]
    pub about: String,
}

impl Parameter {
    /// Returns why the value is out of the parameter's type or bounds, or nothing.
    pub fn fault(&self, value: &Value) -> Option<String> {
        if value.value_type() != self.value_type {
            return Some(format!("{value} is not of type {:?}", self.value_type));
        }
        if let Value::Integer(number) = value
            && (self.min.is_some_and(|min| *number < min) || self.max.is_some_and(|max| *number > max))
        {
            let end = |bound: Option<i64>| bound.map_or_else(|| "any".to_owned(), |b| b.to_string());
            return Some(format!("{number} is out of {} to {}", end(self.min), end(self.max)));
        }
        if let Value::Path(path) = value
            && !self.within.is_empty()
            && !self.within.iter().any(|folder| folder.covers(path))
        {
            let folders: Vec<_> = self.within.iter().map(AbsPath::as_str).collect();
            return Some(format!("{path} lies in none of {}", folders.join(", ")));
        }
        if let Value::Ip(ip) = value
            && let Some(network) = self.not_in.iter().find(|network| network.covers(*ip))
        {
            return Some(format!("{ip} lies in {network}"));
        }
        (!self.one_of.is_empty() && !self.one_of.contains(&value.to_string()))
            .then(|| format!("{value} is none of {}", self.one_of.join(", ")))
    }

    /// Parses the default, which [`Playbook::parse`] has checked.
    pub fn default_value(&self) -> Option<Result<Value, InvalidName>> {
        self.default.as_deref().map(|text| self.value_type.parse(text))
    }
}

/// How often the playbook may try; it can only be narrower than the policy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default)]
    pub attempts_per_day: Option<u32>,
    #[serde(default)]
    pub at_once: Option<u32>,
}

/// A checked playbook. Its digest is that of the exact bytes that were signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Playbook {
    pub digest: Digest,
    pub id: PlaybookId,
    pub version: u32,
    pub title: String,
    pub purpose: String,
    pub scope: String,
    pub preconditions: Vec<String>,
    pub cautions: Vec<String>,
    pub risk: Risk,
    /// Why it has this class.
    pub risk_because: String,
    pub answers: Vec<Answers>,
    pub parameters: BTreeMap<Word, Parameter>,
    pub steps: Vec<StepTemplate>,
    pub verify: Vec<CheckTemplate>,
    pub soak_ms: i64,
    pub limits: Limits,
    /// What is proposed next where this one did not help, the mildest first.
    pub stronger: Vec<PlaybookId>,
    pub escalation: String,
}

#[cfg(test)]
mod tests;
