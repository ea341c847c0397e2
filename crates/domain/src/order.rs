//! The order: an approved plan on its way to a host, with everything the host needs to judge it for itself.
//! On the server it can only be made of an [`ApprovedPlan`]; on the host it is a claim until
//! [`crate::warrant`] has admitted it.

use crate::approval::{Approval, ApprovedPlan};
use crate::ids::Digest;
use crate::plan::Target;
use crate::value::{Value, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A document and the SSH signature over its exact bytes (`ssh-keygen -Y sign`, armoured).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedText {
    pub text: String,
    pub signature: String,
}

/// What a host is told to run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub target: Target,
    pub plan: Digest,
    pub parameters: BTreeMap<Word, Value>,
    pub approval: Approval,
    pub playbook: SignedText,
    /// The standing policy, where the approval rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SignedText>,
}

impl Order {
    /// Makes the order for an approved plan.
    pub fn release(approved: &ApprovedPlan, playbook: SignedText, policy: Option<SignedText>) -> Self {
        Self {
            target: approved.plan().target.clone(),
            plan: approved.plan().digest(),
            parameters: approved.plan().parameters.clone(),
            approval: approved.approval().clone(),
            playbook,
            policy,
        }
    }
}
