//! The incident: one fault on one host, from the first signal to its closing. It is opened once per fingerprint,
//! further signals fold into it, and it ends closed or in a person's hands, never silently.

use crate::approval::{ApprovedPlan, Decision};
use crate::declaration::Forbidden;
use crate::diagnosis::Diagnosis;
use crate::dry_run::DryRun;
use crate::ids::{AccountName, Digest, HostId, IncidentId, PlaybookId};
use crate::matching::Candidate;
use crate::order::SignedText;
use crate::plan::Plan;
use crate::run::Record;
use crate::signal::{Signal, Subject};
use crate::state::Raised;
use crate::time::Timestamp;
use crate::triage::Priority;
use serde::{Deserialize, Serialize};

/// Where an incident stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Seen, and nothing is proposed; `why_not` says what automation waits for.
    Detected,
    AwaitingApproval,
    /// Approved; the order is released as soon as the limits allow.
    Approved,
    /// The host took the order.
    Running,
    /// The condition is gone; it closes when it has stayed quiet long enough.
    Watching {
        since: Timestamp,
    },
    NeedsPerson {
        reason: String,
        since: Timestamp,
    },
    Closed {
        at: Timestamp,
    },
}

impl Phase {
    /// Returns the phase's name as the API and the pages use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Watching { .. } => "watching",
            Self::NeedsPerson { .. } => "needs_person",
            Self::Closed { .. } => "closed",
        }
    }
}

/// Why automation does nothing about an incident for now. It is asked again at the next fresh signal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "why_not", rename_all = "snake_case")]
pub enum WhyNot {
    Declared {
        forbidden: Forbidden,
    },
    Stopped {
        reason: String,
    },
    /// A try came back undone or refused; the host is asked to look afresh before the next.
    LookAfresh {
        after: String,
    },
    /// It follows from another fault of the host, which is dealt with first. It is looked at by itself again as soon
    /// as that one is over and this one is not.
    Follows {
        root: IncidentId,
        subject: Subject,
    },
    /// Its host is silent together with others, for which that incident stands.
    WithOthers {
        root: IncidentId,
    },
    /// Other hosts have the same fault, and this host's turn has not come.
    OneOfMany {
        root: IncidentId,
        because: String,
    },
    /// Automation gave up on what its fix would touch, for another incident, which is in a person's hands.
    Frozen {
        root: IncidentId,
        because: String,
    },
    /// So much is wrong on so many hosts that nothing starts by itself.
    Storm {
        root: IncidentId,
    },
}

impl std::fmt::Display for WhyNot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Declared { forbidden } => write!(f, "not touched: {forbidden}"),
            Self::Stopped { reason } => write!(f, "automation is stopped: {reason}"),
            Self::Follows { root, subject } => {
                write!(f, "follows from {root} ({subject}), which is dealt with first")
            }
            Self::WithOthers { root } => {
                write!(f, "silent together with the host of {root}; most likely one cause")
            }
            Self::OneOfMany { root, because } => {
                write!(f, "other hosts have the same fault, see {root}: {because}")
            }
            Self::Frozen { root, because } => write!(f, "left alone until {root} is closed: {because}"),
            Self::Storm { root } => {
                write!(f, "nothing starts by itself during a storm of faults, see {root}")
            }
            Self::LookAfresh { after } => write!(f, "waiting for the host to look afresh after: {after}"),
        }
    }
}

/// What the owners signed and an order carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Documents {
    pub playbook: SignedText,
    pub policy: Option<SignedText>,
}

/// A plan put forward for an incident, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    pub plan: Plan,
    pub candidates: Vec<Candidate>,
    pub proposed_at: Timestamp,
    pub expires_at: Timestamp,
    pub required_approvals: u32,
    pub decisions: Vec<Decision>,
    /// What the host was asked, and said, that the plan would change.
    pub dry_run: Option<DryRun>,
    pub approved: Option<ApprovedPlan>,
    /// The signed texts that the approval rests on, kept until the host has the order: by then the playbook may be
    /// retired and the policy another one.
    pub documents: Option<Documents>,
    /// Why the order could not be released yet.
    pub held: Option<String>,
    pub released_at: Option<Timestamp>,
    pub accepted_at: Option<Timestamp>,
    /// Nothing was heard from the host for so long that a person was told.
    pub overdue: bool,
}

/// One line of an incident's story, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    pub at: Timestamp,
    pub by: Actor,
    pub text: String,
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    Host(HostId),
    Person(AccountName),
    Sopwith,
}

/// The state of one incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    pub id: IncidentId,
    pub host: HostId,
    pub fingerprint: Digest,
    pub opened_at: Timestamp,
    /// When it was opened, or reopened last.
    pub raised: Raised,
    pub priority: Priority,
    pub priority_reason: String,
    /// The latest signal with its evidence.
    pub signal: Signal,
    /// How many signals it stands for.
    pub signals: u64,
    /// Whether the host's latest word is that the condition is gone.
    pub cleared: bool,
    pub phase: Phase,
    /// When the host last said something of it, or it came back to the host's next word, by the server's clock.
    pub waiting_since: Timestamp,
    pub why_not: Option<WhyNot>,
    /// Candidates of the latest matching, also where none was chosen.
    pub candidates: Vec<Candidate>,
    pub chosen: Option<PlaybookId>,
    pub proposal: Option<Proposal>,
    /// What the host was looked at for last, where there was no plan.
    pub diagnosis: Option<Diagnosis>,
    pub attempts: u32,
    pub runs: Vec<Digest>,
    pub notes: Vec<Note>,
}

/// What the server knows of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    pub host: HostId,
    /// Nothing if the server does not know the plan (it was set back to an old backup).
    pub incident: Option<IncidentId>,
    pub plan: Option<Plan>,
    pub records: Vec<Record>,
    pub cancel_requested: Option<AccountName>,
}

impl Incident {
    pub fn open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }

    /// Returns the incident that this one is folded under, if it is.
    pub fn folded_under(&self) -> Option<IncidentId> {
        match (&self.phase, &self.why_not) {
            (
                Phase::Detected,
                Some(
                    WhyNot::Follows { root, .. }
                    | WhyNot::WithOthers { root }
                    | WhyNot::OneOfMany { root, .. }
                    | WhyNot::Frozen { root, .. }
                    | WhyNot::Storm { root },
                ),
            ) => Some(*root),
            _ => None,
        }
    }

    /// Says whether another incident stands for this one, so that it does not count by itself. In a storm each counts.
    pub fn told_elsewhere(&self) -> bool {
        self.folded_under().is_some() && !matches!(self.why_not, Some(WhyNot::Storm { .. }))
    }

    /// Returns the incident of the same host that this one follows from, if it does.
    pub fn follows_from(&self) -> Option<IncidentId> {
        self.folded_under().filter(|_| matches!(self.why_not, Some(WhyNot::Follows { .. })))
    }
}
