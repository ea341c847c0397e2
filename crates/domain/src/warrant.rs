//! What the host asks before it starts anything, whatever the server says. Signatures are checked by the caller
//! (`protocol::signature`), who passes what they covered; everything else is decided here.

use crate::approval::{Basis, Vote};
use crate::declaration::Forbidden;
use crate::ids::{Digest, Epoch, HostId};
use crate::mutant::{self, Mutant};
use crate::order::Order;
use crate::plan::Plan;
use crate::playbook::{Playbook, Risk};
use crate::policy::Policy;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How long after the server was last heard from steps may still start, in milliseconds of the boot clock.
pub const LEASE_MS: i64 = 60_000;

/// What the host knows at the moment of asking.
#[derive(Clone, Debug)]
pub struct Facts {
    pub host: HostId,
    pub epoch: Epoch,
    /// The server's time, carried forward by the boot clock since it was last heard; nothing if that is longer
    /// ago than [`LEASE_MS`] or never.
    pub server_now: Option<Timestamp>,
    /// Why everything is stopped, by the server's last word or a stop set on the host.
    pub stop: Option<String>,
    /// Why the host's own declarations forbid touching what the plan touches.
    pub forbidden: Option<Forbidden>,
    /// Automatic runs that were taken here for this fingerprint in the last day.
    pub automatic_tries: u32,
    /// The host's own bound on them.
    pub automatic_tries_max: u32,
    /// Whether people's approvals must carry a signature of their own that was verified.
    pub demand_signatures: bool,
    /// Signatures of approvers that were verified, by login name.
    pub signed_by: BTreeSet<String>,
    /// Whether the server has said that the run's acceptance is durable there. Until then a disk that is set back
    /// would forget the run while the server still owes its order.
    pub reported: bool,
    /// How long ago the order was accepted, by the longest of this host's clocks, in milliseconds; 0 before.
    pub accepted_ago_ms: i64,
}

/// Why a host does not start something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    #[error("the signature of the {document} does not hold: {reason}")]
    Signature { document: String, reason: String },
    #[error("the playbook cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("the order is for host {named}, this is {host}")]
    OtherHost { named: HostId, host: HostId },
    #[error("the order is for an earlier life of this host")]
    OtherEpoch,
    #[error("the plan recomputed here has digest {here}, the order says {named}")]
    OtherPlan { here: Digest, named: Digest },
    #[error("the approval is for plan {approved}, the order for {ordered}")]
    OtherApproval { approved: Digest, ordered: Digest },
    #[error("nobody who may has approved the plan: {reason}")]
    NotApproved { reason: String },
    #[error("the approval expired at {at}")]
    Expired { at: Timestamp },
    #[error("automation is stopped: {reason}")]
    Stopped { reason: String },
    #[error("{0}", .forbidden)]
    Forbidden { forbidden: Forbidden },
    #[error("{tries} automatic tries today, at most {max}")]
    BudgetSpent { tries: u32, max: u32 },
    #[error("the server has not been heard from within {} s", LEASE_MS / 1000)]
    NoLease,
    #[error("the server has not yet said that it knows of the run")]
    Unreported,
}

impl Refusal {
    /// Says whether waiting can help; every other refusal ends the order.
    pub fn passes(&self) -> bool {
        matches!(self, Self::NoLease | Self::Unreported)
    }
}

/// Leave to start the steps of one plan on this host. Made only by [`admit`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warrant {
    plan: Plan,
    order: Order,
}

/// Admits an order whose playbook's (and, where there is one, policy's) signature the caller has verified.
///
/// # Errors
/// Returns the first reason against it.
pub fn admit(
    order: &Order,
    playbook: &Playbook,
    policy: Option<&Policy>,
    facts: &Facts,
) -> Result<Warrant, Refusal> {
    let warrant = reconstruct(order, playbook, facts)?;
    if playbook.risk == Risk::Look {
        return Err(Refusal::NotApproved {
            reason: "the playbook only looks, which is asked and not ordered".into(),
        });
    }
    approved(&warrant.plan, order, policy, facts)?;
    let automatic = matches!(order.approval.basis, Basis::Standing { .. });
    let bound = facts.automatic_tries_max + u32::from(mutant::is(Mutant::BudgetOffByOne));
    if automatic && facts.automatic_tries >= bound {
        return Err(Refusal::BudgetSpent { tries: facts.automatic_tries, max: facts.automatic_tries_max });
    }
    warrant.holds(facts)?;
    Ok(warrant)
}

/// Rebuilds the warrant of an order that was admitted before, from this host's own journal.
///
/// # Errors
/// Returns why the order does not lead to the plan it names.
pub fn reconstruct(order: &Order, playbook: &Playbook, facts: &Facts) -> Result<Warrant, Refusal> {
    if order.target.host != facts.host {
        return Err(Refusal::OtherHost { named: order.target.host.clone(), host: facts.host.clone() });
    }
    if order.target.epoch != facts.epoch && !mutant::is(Mutant::IgnoreEpoch) {
        return Err(Refusal::OtherEpoch);
    }
    let plan = Plan::build(playbook, order.target.clone(), order.parameters.clone())
        .map_err(|e| Refusal::Unreadable { reason: e.to_string() })?;
    if plan.digest() != order.plan && !mutant::is(Mutant::SkipDigestCheck) {
        return Err(Refusal::OtherPlan { here: plan.digest(), named: order.plan });
    }
    Ok(Warrant { plan, order: order.clone() })
}

fn approved(plan: &Plan, order: &Order, policy: Option<&Policy>, facts: &Facts) -> Result<(), Refusal> {
    let approval = &order.approval;
    if approval.plan != order.plan && !mutant::is(Mutant::SkipDigestCheck) {
        return Err(Refusal::OtherApproval { approved: approval.plan, ordered: order.plan });
    }
    let not = |reason: &str| Err(Refusal::NotApproved { reason: reason.into() });
    match &approval.basis {
        Basis::Standing { policy: named } => match policy {
            None => not("it names a standing policy that did not come with it"),
            Some(policy) if policy.digest != *named => not("it names another policy than came with it"),
            Some(policy) if !policy.permits(&plan.playbook, plan.risk, &facts.host) => {
                not("the policy does not let this playbook run here without a person")
            }
            Some(_) => Ok(()),
        },
        Basis::Diagnosis { .. } => not("it was approved to look, not to act"),
        Basis::People { decisions, required } => {
            let spoke_of = |vote| decisions.iter().filter(move |d| d.plan == order.plan && d.vote == vote);
            if spoke_of(Vote::Deny).next().is_some() {
                return not("somebody denied it");
            }
            let counts = |by: &str| !facts.demand_signatures || facts.signed_by.contains(by);
            let people: BTreeSet<_> =
                spoke_of(Vote::Approve).map(|d| d.by.as_str()).filter(|by| counts(by)).collect();
            if people.is_empty() || people.len() < *required as usize {
                return not(if facts.demand_signatures {
                    "too few approvals with a signature of the approver's own, which this host demands"
                } else {
                    "too few people approved it"
                });
            }
            Ok(())
        }
    }
}

impl Warrant {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Says whether the next step may start now; asked before every step.
    ///
    /// # Errors
    /// Returns the reason against it.
    pub fn still_valid(&self, facts: &Facts) -> Result<(), Refusal> {
        self.holds(facts)?;
        let approval = &self.order.approval;
        if facts.accepted_ago_ms >= approval.expires_at.since(approval.granted_at)
            && !mutant::is(Mutant::IgnoreExpiry)
        {
            return Err(Refusal::Expired { at: approval.expires_at });
        }
        if !facts.reported && !mutant::is(Mutant::StartUnreported) {
            return Err(Refusal::Unreported);
        }
        Ok(())
    }

    fn holds(&self, facts: &Facts) -> Result<(), Refusal> {
        if let Some(reason) = &facts.stop
            && !mutant::is(Mutant::IgnoreStop)
        {
            return Err(Refusal::Stopped { reason: reason.clone() });
        }
        if let Some(forbidden) = &facts.forbidden
            && !mutant::is(Mutant::IgnoreDeclarations)
        {
            return Err(Refusal::Forbidden { forbidden: forbidden.clone() });
        }
        if facts.epoch != self.order.target.epoch && !mutant::is(Mutant::IgnoreEpoch) {
            return Err(Refusal::OtherEpoch);
        }
        match facts.server_now {
            None if mutant::is(Mutant::IgnoreLease) => Ok(()),
            None => Err(Refusal::NoLease),
            Some(now) if now >= self.order.approval.expires_at && !mutant::is(Mutant::IgnoreExpiry) => {
                Err(Refusal::Expired { at: self.order.approval.expires_at })
            }
            Some(_) => Ok(()),
        }
    }
}
