//! What a plan would change on its host, found out by looking: asked by a person, answered by the host's runner, shown
//! beside the plan. It needs no approval because nothing is changed by it, and it approves nothing: what was seen may
//! be otherwise when the steps run, and is captured afresh then.

use crate::approval::Approval;
use crate::ids::{AccountName, Digest};
use crate::order::SignedText;
use crate::plan::Target;
use crate::playbook::STEPS_MAX;
use crate::time::Timestamp;
use crate::value::{Value, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a host is asked, in milliseconds; after that whoever wants to know asks again.
pub const ASKED_MS: i64 = 60_000;
/// Longest report, in bytes of JSON.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;
/// Longest summary of a report in an incident's story, in bytes.
const STORY_BYTES_MAX: usize = 1024;
/// Longest sentence, in bytes.
pub const SENTENCE_BYTES_MAX: usize = 512;

/// What a host is asked to look at. The playbook is signed by the hosts' owners, so that nobody else can have root
/// look around; the host recomputes the plan and compares its digest as for an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub target: Target,
    pub plan: Digest,
    pub parameters: BTreeMap<Word, Value>,
    pub playbook: SignedText,
    pub asked_at: Timestamp,
    /// What a look starts by, where the playbook is one that only looks ([`crate::diagnosis`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The signed policy that the approval rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SignedText>,
}

/// Whether a check holds now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// What must hold, as a sentence.
    pub check: String,
    /// Nothing where it was not asked because asking starts a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// What was seen instead, or why it was not asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What one step would do, were it the next thing to happen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub require: Vec<Asked>,
    /// Of a look what was seen, line by line; else sentences: `would restart nginx.service (active since …)`.
    pub would: Vec<String>,
    /// Why it could not be found out, or why the step could not start as things stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot: Option<String>,
}

/// What became of a question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    Looked {
        /// Why the host would refuse the order as things stand: stop, hold, maintenance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        against: Option<String>,
        steps: Vec<Step>,
        /// The checks that decide whether the plan helped, as they stand before it.
        verify: Vec<Asked>,
    },
    /// The host did not look, and why.
    Refused { reason: String },
}

/// A host's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    pub plan: Digest,
    /// Of the question that it answers.
    pub asked_at: Timestamp,
    /// By the host's own clock.
    pub looked_at: Timestamp,
    pub found: Found,
}

/// A question about a proposal, and its answer once the host gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DryRun {
    pub by: AccountName,
    pub asked_at: Timestamp,
    pub report: Option<Report>,
}

impl Report {
    /// Says which bound the report breaks, if any.
    pub fn bound_broken(&self) -> Option<String> {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if bytes > REPORT_BYTES_MAX {
            return Some(format!("a report of {bytes} bytes, at most {REPORT_BYTES_MAX}"));
        }
        match &self.found {
            Found::Looked { steps, .. } if steps.len() > STEPS_MAX => {
                Some(format!("{} steps, at most {STEPS_MAX}", steps.len()))
            }
            _ => None,
        }
    }

    /// Returns the report in one sentence, for the incident's story.
    pub fn sentence(&self) -> String {
        match &self.found {
            Found::Refused { reason } => format!("did not look what the plan would change: {reason}"),
            Found::Looked { steps, .. } => {
                let would: Vec<&str> =
                    steps.iter().flat_map(|step| step.would.first()).map(String::as_str).collect();
                let stuck = steps.iter().filter(|step| !step.could_start()).count();
                let stuck = match stuck {
                    0 => String::new(),
                    1 => "; 1 step could not start as things stand".into(),
                    n => format!("; {n} steps could not start as things stand"),
                };
                let mut would = would.join("; ");
                let end =
                    (0..=STORY_BYTES_MAX.min(would.len())).rev().find(|end| would.is_char_boundary(*end));
                would.truncate(end.unwrap_or(0));
                format!("looked, and changed nothing: {would}{stuck}")
            }
        }
    }
}

impl Step {
    /// Says whether nothing that was seen keeps the step from starting. Steps before it may change that.
    pub fn could_start(&self) -> bool {
        self.cannot.is_none() && self.require.iter().all(|asked| asked.holds != Some(false))
    }
}

impl DryRun {
    /// Says whether the host is still to be asked.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.report.is_none() && now.since(self.asked_at) < ASKED_MS
    }
}
