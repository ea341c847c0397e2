//! Facts, in the past tense, as the journal keeps them. An event carries the result of its decision, so that
//! replaying folds facts and never decides again with newer code.

use crate::approval::{Approval, Decision};
use crate::declaration::Declarations;
use crate::dry_run::Report;
use crate::ids::{AccountName, Digest, Epoch, HostId, IncidentId, PlaybookId};
use crate::incident::WhyNot;
use crate::inspection::Inspection;
use crate::matching::Candidate;
use crate::order::SignedText;
use crate::people::Role;
use crate::plan::Plan;
use crate::problem::ProblemId;
use crate::run::Record;
use crate::signal::{Signal, Subject};
use crate::time::Timestamp;
use crate::triage::Priority;
use crate::trust::Standing;
use serde::{Deserialize, Serialize};

/// Version of the event form; golden samples of every version decode for ever.
pub const EVENT_VERSION: u32 = 1;

/// An event with the server's time and its place in the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recorded<E> {
    pub seq: u64,
    pub at: Timestamp,
    pub event: E,
}

/// The journalled form of an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versioned {
    pub v: u32,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    HostEnrolled {
        host: HostId,
        epoch: Epoch,
    },
    /// The host begins a new life: installed again, or its disk was set back.
    EpochBegan {
        host: HostId,
        epoch: Epoch,
        reason: String,
    },
    HostRevoked {
        host: HostId,
        by: AccountName,
    },
    HostSilent {
        host: HostId,
        last_seen: Timestamp,
    },
    HostHeard {
        host: HostId,
    },

    /// An item of a host's spool was taken over; what it said follows in the same batch.
    ItemTaken {
        host: HostId,
        seq: u64,
    },
    /// Items of a host's spool are gone, the first and the last one included; the host says which and why.
    GapRecorded {
        host: HostId,
        from_seq: u64,
        through_seq: u64,
        reason: String,
    },
    DeclarationsReported {
        host: HostId,
        declarations: Declarations,
    },
    /// A host told what its checks said in the course of a day.
    InspectionReported {
        host: HostId,
        report: Box<Inspection>,
    },
    IncidentOpened {
        incident: IncidentId,
        signal: Box<Signal>,
        priority: Priority,
        priority_reason: String,
    },
    SignalFolded {
        incident: IncidentId,
        signal: Box<Signal>,
    },
    IncidentReopened {
        incident: IncidentId,
        reason: String,
    },
    ConditionCleared {
        incident: IncidentId,
        signal: Box<Signal>,
    },
    /// All playbooks were weighed.
    Matched {
        incident: IncidentId,
        candidates: Vec<Candidate>,
        chosen: Option<PlaybookId>,
    },
    /// Automation leaves the incident alone for now, and why.
    Refrained {
        incident: IncidentId,
        why_not: WhyNot,
    },

    PlanProposed {
        incident: IncidentId,
        plan: Box<Plan>,
        expires_at: Timestamp,
        required_approvals: u32,
    },
    /// A person asked the host what the plan would change.
    DryRunAsked {
        incident: IncidentId,
        plan: Digest,
        by: AccountName,
    },
    /// The host looked; nothing was changed there.
    DryRunReported {
        incident: IncidentId,
        report: Box<Report>,
    },
    /// The policy's rule lets the host be looked at; its budget is taken here.
    DiagnosisApproved {
        incident: IncidentId,
        plan: Box<Plan>,
        approval: Approval,
    },
    /// The host looked, or said why it does not; nothing was changed there.
    DiagnosisReported {
        incident: IncidentId,
        report: Box<Report>,
    },
    DecisionTaken {
        incident: IncidentId,
        decision: Decision,
    },
    PlanApproved {
        incident: IncidentId,
        approval: Approval,
    },
    PlanVoided {
        incident: IncidentId,
        plan: Digest,
        reason: String,
    },
    /// An approved plan has to wait before its order goes to the host, and why; said again only when the reason changes.
    ReleaseHeld {
        incident: IncidentId,
        plan: Digest,
        reason: String,
    },
    /// The host is owed the order from now on. The budgets are taken here.
    OrderReleased {
        incident: IncidentId,
        plan: Digest,
        automatic: bool,
    },
    /// Nothing was heard of a released order or a run for too long.
    RunOverdue {
        incident: IncidentId,
        plan: Digest,
        reason: String,
    },

    RunReported {
        host: HostId,
        seq: u64,
        record: Box<Record>,
    },
    /// A playbook's record was added to, and with it perhaps what it may do.
    TrustMoved {
        playbook: PlaybookId,
        environment: String,
        standing: Standing,
    },
    CancelRequested {
        run: Digest,
        by: AccountName,
    },
    /// The condition is gone by a run or by itself; quiet time begins.
    WatchBegan {
        incident: IncidentId,
        reason: String,
    },
    Escalated {
        incident: IncidentId,
        reason: String,
    },
    /// Automation gave up on an incident: it leaves these things of the host alone until that is closed.
    TargetsFrozen {
        incident: IncidentId,
        targets: Vec<Subject>,
        because: String,
    },
    IncidentClosed {
        incident: IncidentId,
        reason: String,
        by: Option<AccountName>,
    },

    /// Automation could not mend an incident: what is behind it is kept until a person has found the cause.
    ProblemOpened {
        problem: ProblemId,
        incident: IncidentId,
        why: String,
    },
    /// The same fault came to the same end in another incident.
    ProblemRecurred {
        problem: ProblemId,
        incident: IncidentId,
        why: String,
    },
    ProblemClosed {
        problem: ProblemId,
        root_cause: String,
        by: AccountName,
    },

    StopSet {
        by: AccountName,
        reason: String,
    },
    StopCleared {
        by: AccountName,
        reason: String,
    },

    PlaybookInstalled {
        playbook: SignedText,
        signer: String,
        by: AccountName,
    },
    PlaybookRetired {
        playbook: PlaybookId,
        by: AccountName,
    },
    PolicySet {
        policy: SignedText,
        signer: String,
        by: AccountName,
    },

    PersonAdded {
        name: AccountName,
        role: Role,
        by: AccountName,
    },
    RoleChanged {
        name: AccountName,
        role: Role,
        by: AccountName,
    },
    PersonDisabled {
        name: AccountName,
        by: AccountName,
    },
    /// Something of access changed that has no other event: a token, a session, a join token.
    AccessChanged {
        by: AccountName,
        what: String,
    },
    /// The server's process began. Nobody can say how long it was away, so that this time frees no budget.
    ServerStarted,
}
