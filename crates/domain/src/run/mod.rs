//! The run: one plan being carried out on one host, told by its records. [`next`] says what is to be done from the
//! records alone, [`Executor`] does it through the seams [`RunLog`] and [`Host`]. A step's record is durable before
//! its effect; a step is started at most once; what is in doubt is looked at, undone or given to a person.

mod executor;
mod next;

pub use executor::{
    CheckOutcome, Executor, Host, LogDown, Progress, RunLog, StepContext, StepOutcome, UndoOutcome,
};
pub use next::{Next, next};

use crate::ids::Digest;
use crate::order::Order;
use crate::time::Timestamp;
use crate::warrant::Refusal;
use serde::{Deserialize, Serialize};

/// Longest captured state of one step, in bytes of JSON; larger things lie in quarantine and are named here.
pub const PRIOR_BYTES_MAX: usize = 64 * 1024;
/// Longest output of a step that is kept in its record, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// What a host captured before a step, for its undo. Only the host that made it understands it.
pub type Prior = serde_json::Value;

/// One record of a run, durable on the host before anything follows from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The plan's digest, which names the run.
    pub run: Digest,
    /// By the host's own clock.
    pub at: Timestamp,
    pub what: What,
}

/// What happened in a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum What {
    /// The order was judged and will never be taken; nothing was started.
    Refused {
        refusal: Refusal,
    },
    /// The order was admitted. It is kept whole, so that a restart needs nobody.
    Accepted {
        order: Box<Order>,
    },
    /// The step begins now; what was there before it is captured.
    Started {
        step: usize,
        prior: Prior,
    },
    Finished {
        step: usize,
        outcome: StepResult,
    },
    /// After a crash the host looked whether the step took effect.
    Probed {
        step: usize,
        effect: Effect,
    },
    /// No further step may start; what was done is undone.
    Halted {
        reason: String,
    },
    CancelRequested {
        by: String,
    },
    Verified {
        passed: bool,
        detail: String,
    },
    Soaked {
        passed: bool,
        detail: String,
    },
    UndoStarted {
        step: usize,
    },
    UndoFinished {
        step: usize,
        result: UndoResult,
    },
    Ended {
        end: End,
    },
}

/// How a step came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepResult {
    Done { output: String },
    Failed { reason: String, output: String },
}

/// Whether a step in doubt took effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    Took { detail: String },
    None { detail: String },
    Unknown { detail: String },
}

/// How an undo came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum UndoResult {
    /// The state before the step is back, or the step had left nothing.
    Restored { detail: String },
    /// The step cannot be undone, and all is seen to be as before: it had failed without any effect that lasts.
    Untouched { detail: String },
    /// Something could not be put back.
    Residue { what: String },
}

/// The end of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// The checks passed after the last step and again after the soak.
    Resolved,
    /// Everything that was begun has been put back.
    RolledBack { reason: String },
    /// The machine is done with it and a person is needed.
    Parked { reason: String, residue: Vec<String> },
}

/// Returns why a run went into undo, if it did.
pub fn setback(records: &[Record]) -> Option<String> {
    records.iter().find_map(|record| match &record.what {
        What::Finished { step, outcome: StepResult::Failed { reason, .. } } => {
            Some(format!("step {} failed: {reason}", step + 1))
        }
        What::Probed { step, effect: Effect::None { detail } } => {
            Some(format!("step {} was interrupted before it took effect: {detail}", step + 1))
        }
        What::Probed { step, effect: Effect::Unknown { detail } } => Some(format!(
            "step {} was interrupted and it cannot be known whether it took effect: {detail}",
            step + 1
        )),
        What::Halted { reason } => Some(reason.clone()),
        What::CancelRequested { by } => Some(format!("cancelled by {by}")),
        What::Verified { passed: false, detail } => {
            Some(format!("the fix did not pass its verification: {detail}"))
        }
        What::Soaked { passed: false, detail } => {
            Some(format!("the fix did not last through its soak: {detail}"))
        }
        _ => None,
    })
}
