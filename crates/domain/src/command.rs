//! What the server is asked to do. One command becomes one atomic batch of events, or a refusal.

use crate::approval::Vote;
use crate::declaration::Declarations;
use crate::dry_run::Report;
use crate::ids::{AccountName, Digest, Epoch, HostId, IncidentId, PlaybookId};
use crate::inspection::Inspection;
use crate::order::SignedText;
use crate::people::Role;
use crate::problem::ProblemId;
use crate::run::Record;
use crate::signal::Signal;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One thing that a host tells, in the order of its spool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum Item {
    Signal {
        signal: Box<Signal>,
    },
    Declarations {
        declarations: Declarations,
    },
    /// What the host's checks said in the course of a day; a later report of the same day replaces it.
    Inspection {
        report: Box<Inspection>,
    },
    /// Items `from_seq` to this one's own number are gone, both included: it stands in the place of the last (spool
    /// full, or trimmed before the server was set back), with the reason.
    Gap {
        from_seq: u64,
        reason: String,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The server's process has begun; its shell says so before anything else.
    Start,
    Enrol {
        host: HostId,
        epoch: Epoch,
    },
    BeginEpoch {
        host: HostId,
        epoch: Epoch,
        reason: String,
    },
    Revoke {
        host: HostId,
        by: AccountName,
    },
    /// A host's spool item. `seq` counts from 1 in each epoch, without holes.
    Observe {
        host: HostId,
        epoch: Epoch,
        seq: u64,
        item: Item,
    },
    /// A host's run journal record. `seq` counts from 1 in each epoch, without holes.
    ReportRun {
        host: HostId,
        epoch: Epoch,
        seq: u64,
        record: Box<Record>,
    },
    DeclareSilent {
        host: HostId,
        last_seen: Timestamp,
    },
    HearAgain {
        host: HostId,
    },

    Decide {
        incident: IncidentId,
        plan: Digest,
        by: AccountName,
        vote: Vote,
        reason: String,
        signature: Option<String>,
    },
    Cancel {
        run: Digest,
        by: AccountName,
    },
    /// A person wants to know what the incident's plan would change.
    AskDryRun {
        incident: IncidentId,
        by: AccountName,
    },
    /// What a host found that a plan would change.
    ReportDryRun {
        host: HostId,
        epoch: Epoch,
        report: Box<Report>,
    },
    /// A person closes an incident that needed one.
    Close {
        incident: IncidentId,
        by: AccountName,
        reason: String,
    },
    /// A person has found the cause of a problem.
    CloseProblem {
        problem: ProblemId,
        by: AccountName,
        root_cause: String,
    },
    Stop {
        by: AccountName,
        reason: String,
    },
    Resume {
        by: AccountName,
        reason: String,
    },
    /// The shell has verified the signature and passes the signer's name.
    InstallPlaybook {
        playbook: SignedText,
        signer: String,
        by: AccountName,
    },
    RetirePlaybook {
        playbook: PlaybookId,
        by: AccountName,
    },
    SetPolicy {
        policy: SignedText,
        signer: String,
        by: AccountName,
    },
    AddPerson {
        name: AccountName,
        role: Role,
        by: AccountName,
    },
    ChangeRole {
        name: AccountName,
        role: Role,
        by: AccountName,
    },
    DisablePerson {
        name: AccountName,
        by: AccountName,
    },
    NoteAccess {
        by: AccountName,
        what: String,
    },

    // From `due`: what time alone brings about.
    ExpireProposal {
        incident: IncidentId,
        plan: Digest,
    },
    /// Its plan fell, and nothing was said of it since.
    MatchAnew {
        incident: IncidentId,
    },
    Release {
        incident: IncidentId,
    },
    NoteOverdue {
        incident: IncidentId,
    },
    CloseQuiet {
        incident: IncidentId,
    },
    /// What the server raised itself is over.
    CloseOwn {
        incident: IncidentId,
    },
}

/// Why a command changes nothing. `code` is stable and has a page in the handbook.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no host {0}")]
    UnknownHost(HostId),
    #[error("host {0} is revoked")]
    HostRevoked(HostId),
    #[error("host {host} speaks from an earlier life; its current epoch is {}", .current.0)]
    OtherEpoch { host: HostId, current: Epoch },
    #[error("host {host} sent number {got}, expected {expected}")]
    Hole { host: HostId, expected: u64, got: u64 },
    #[error("there is no incident {0}")]
    UnknownIncident(IncidentId),
    #[error("there is no problem {0}")]
    UnknownProblem(ProblemId),
    #[error("{incident} has no plan that waits for a decision; it is {phase}")]
    NothingToDecide { incident: IncidentId, phase: &'static str },
    #[error("the plan changed: you decided on {}, the current plan is {}", .decided.apart_from(.current), .current.apart_from(.decided))]
    PlanChanged { decided: Digest, current: Digest },
    #[error("{0} has already decided on this plan")]
    AlreadyDecided(AccountName),
    #[error("there is no operator {0}, or the account is disabled")]
    UnknownPerson(AccountName),
    #[error("{by} is {role}; this takes {needed}")]
    RoleTooLow { by: AccountName, role: Role, needed: Role },
    #[error("there is no run {}", .0.short())]
    UnknownRun(Digest),
    #[error("run {} has ended", .0.short())]
    RunEnded(Digest),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unchanged(String),
}

impl Refusal {
    /// Returns the stable code of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownHost(_) => "unknown-host",
            Self::HostRevoked(_) => "host-revoked",
            Self::OtherEpoch { .. } => "other-epoch",
            Self::Hole { .. } => "hole",
            Self::UnknownIncident(_) => "unknown-incident",
            Self::UnknownProblem(_) => "unknown-problem",
            Self::NothingToDecide { .. } => "nothing-to-decide",
            Self::PlanChanged { .. } => "plan-changed",
            Self::AlreadyDecided(_) => "already-decided",
            Self::UnknownPerson(_) => "unknown-person",
            Self::RoleTooLow { .. } => "role-too-low",
            Self::UnknownRun(_) => "unknown-run",
            Self::RunEnded(_) => "run-ended",
            Self::Invalid(_) => "invalid",
            Self::Unchanged(_) => "unchanged",
        }
    }
}
