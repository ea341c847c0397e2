//! What the runner needs of the product, as it is seen from outside: no more than a person has.

use crate::lab::{Host, LabError};

/// Milliseconds since 1970, by this machine's clock, which the lab hosts share.
pub type Millis = i64;

/// Why the product could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("{what}: {detail}")]
    Failed { what: String, detail: String },
}

impl ProductError {
    pub fn failed(what: impl Into<String>, detail: impl ToString) -> ProductError {
        ProductError::Failed { what: what.into(), detail: detail.to_string() }
    }
}

/// How an answer of a person was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Taken,
    /// The product would not have it, and said why.
    Refused(String),
}

/// An incident, as the product shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    pub id: String,
    pub opened_at: Millis,
    /// What befell what, as in `unit.failed` and `unit:a.service`.
    pub kind: String,
    pub subject: String,
    /// In words for people.
    pub title: String,
    pub phase: Phase,
    /// What is being done, or why nothing is, in the product's words.
    pub status: String,
    /// The playbook it chose.
    pub playbook: Option<String>,
    /// Why no plan is put forward, if the product says.
    pub why_not: Option<String>,
    pub plan: Option<PlanSeen>,
    pub runs: Vec<RunSeen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Seen, and nothing runs: also while a plan is approved and not yet taken by the host.
    #[default]
    Open,
    AwaitingApproval,
    Running,
    /// The condition is gone; it closes when it stays so.
    Watching,
    NeedsPerson,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanSeen {
    pub digest: String,
    pub waits: bool,
    pub decisions: usize,
    /// Each step: whether it can never be taken back.
    pub irreversible: Vec<bool>,
    /// What it changes, as in `path:/etc/x`.
    pub touches: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunSeen {
    pub digest: String,
    /// When each step was started, by the host's clock.
    pub started: Vec<Millis>,
    /// When the checks first passed after the last step.
    pub verified_at: Option<Millis>,
    pub end: Option<EndSeen>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndSeen {
    Resolved,
    RolledBack(String),
    Parked(String),
    /// The host would not take the order; nothing was started.
    Refused(String),
}

/// What a scenario needs the product's owners to have decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a proposed plan waits for people, in seconds.
    pub proposal_valid_s: u32,
    /// Nothing starts without a person's approval, whatever the policy grants.
    pub only_by_people: bool,
}

/// One installation: a server on this machine and agents in hosts.
pub trait Product {
    /// Puts the agent into a host and lets it join.
    fn install(&mut self, host: &Host) -> Result<(), ProductError>;
    /// Says whether the host's agent is connected and watches.
    fn connected(&self, host: &Host) -> Result<bool, ProductError>;
    /// Returns every incident of a host, open or closed, with its plan and runs.
    fn incidents(&self, host: &Host) -> Result<Vec<Seen>, ProductError>;
    /// Approves a plan as a person who saw the plan `seen`.
    fn approve(&self, plan: &str, seen: &str) -> Result<Answered, ProductError>;
    fn deny(&self, plan: &str, reason: &str) -> Result<Answered, ProductError>;
    /// Stops the agent's processes from running for a while, or lets them run again.
    fn freeze(&self, host: &Host, frozen: bool) -> Result<(), ProductError>;
    /// Has a step, from 1, of whatever runs on the host fail right after it was done, and its undo be done twice; 0 is
    /// none. Only a product that was built for tests can.
    fn force_failure(&self, _host: &Host, _step: usize, _undo_twice: bool) -> Result<(), ProductError> {
        Err(ProductError::failed("force a failure", "the product has no such hook"))
    }
    /// Takes the agent off a host, with all that it remembers.
    fn remove(&self, _host: &Host) -> Result<(), ProductError> {
        Err(ProductError::failed("remove the agent", "the product cannot"))
    }
    /// Kills every process of the agent; the host's init starts it again.
    fn kill_agent(&self, host: &Host) -> Result<(), ProductError>;
    /// Returns the last words of the server and a host's agent, for a person to read.
    fn logs(&self, host: &Host) -> String;
}
