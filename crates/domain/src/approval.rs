//! Who said yes to which plan, and until when. Only this module makes an [`ApprovedPlan`], and without one there
//! is no order.

use crate::ids::{AccountName, Digest};
use crate::mutant::{self, Mutant};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Longest reason a person may give, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vote {
    Approve,
    Deny,
}

/// One person's word on one plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub by: AccountName,
    pub vote: Vote,
    pub plan: Digest,
    pub at: Timestamp,
    pub reason: String,
    /// The approver's own SSH signature over the plan digest's text, where he has a key at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What an approval rests on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "lowercase")]
pub enum Basis {
    /// The owners' signed policy (a standard change).
    Standing { policy: Digest },
    /// The same policy's rule for looks, which change nothing. It is good for no order.
    Diagnosis { policy: Digest },
    /// People (a normal change).
    People { decisions: Vec<Decision>, required: u32 },
}

/// An approval of one plan, single use, valid until `expires_at` by the server's clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    pub plan: Digest,
    pub basis: Basis,
    pub granted_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A plan together with an approval that speaks of exactly it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovedPlan {
    plan: Plan,
    approval: Approval,
}

impl ApprovedPlan {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// Joins a plan with an approval read from the journal, if it speaks of this plan.
    pub fn recorded(plan: Plan, approval: Approval) -> Option<Self> {
        (approval.plan == plan.digest()).then_some(Self { plan, approval })
    }
}

/// What the votes so far come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Granted(Approval),
    Waiting { approvals: u32, required: u32 },
    Denied { by: AccountName, reason: String },
}

/// Returns the approval that the standing policy grants, or nothing.
pub fn standing(plan: &Plan, policy: &Policy, now: Timestamp) -> Option<Approval> {
    policy.permits(&plan.playbook, plan.risk, &plan.target.host).then(|| Approval {
        plan: plan.digest(),
        basis: Basis::Standing { policy: policy.digest },
        granted_at: now,
        expires_at: now.plus(policy.approval_valid_ms),
    })
}

/// Counts people's votes on a plan: distinct people, votes on another plan do not count, one denial wins.
pub fn people(plan: &Plan, decisions: &[Decision], policy: &Policy, now: Timestamp) -> Outcome {
    let votes = || decisions.iter().filter(|d| d.plan == plan.digest());
    if let Some(denial) = votes().find(|d| d.vote == Vote::Deny)
        && !mutant::is(Mutant::IgnoreDenial)
    {
        return Outcome::Denied { by: denial.by.clone(), reason: denial.reason.clone() };
    }
    let approvers: BTreeSet<_> = votes().filter(|d| d.vote == Vote::Approve).map(|d| &d.by).collect();
    let approvals = u32::try_from(approvers.len()).unwrap_or(u32::MAX);
    if approvals < policy.approvers.max(1) {
        return Outcome::Waiting { approvals, required: policy.approvers.max(1) };
    }
    Outcome::Granted(Approval {
        plan: plan.digest(),
        basis: Basis::People { decisions: votes().cloned().collect(), required: policy.approvers.max(1) },
        granted_at: now,
        expires_at: now.plus(policy.approval_valid_ms),
    })
}
