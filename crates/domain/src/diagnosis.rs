//! Looking around on a host about a fault that nothing mends, so that whoever is called finds more than the signal. Its
//! steps only look, and no person is asked; yet it starts by a recorded approval like every step, given by the policy's
//! rule `diagnosis`, which the host asks for itself: nobody but the hosts' owners can have root look around.

use crate::approval::{Approval, Basis};
use crate::declaration::Forbidden;
use crate::dry_run::{Question, Report};
use crate::ids::{Digest, Epoch, HostId};
use crate::mutant::{self, Mutant};
use crate::plan::Plan;
use crate::playbook::Risk;
use crate::policy::Policy;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long an approval to look is good, in milliseconds.
pub const VALID_MS: i64 = 120_000;
/// How long the same incident is not looked at again, in milliseconds.
pub const AGAIN_MS: i64 = crate::time::HOUR_MS;
/// Most looks of an hour that a host lets itself in for, whatever a policy says.
pub const LOOKS_MAX: u32 = 12;

/// The policy's rule: how many looks an hour, on one host and on all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    pub per_host: u32,
    pub per_hour: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Self { per_host: 4, per_hour: 60 }
    }
}

/// A look that was approved, and what it found once the host told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    pub plan: Plan,
    pub approval: Approval,
    pub report: Option<Report>,
}

impl Diagnosis {
    /// Says whether the host is still to be asked.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.report.is_none() && now < self.approval.expires_at
    }
}

/// Returns the approval that the policy's rule gives, or nothing.
pub fn approve(plan: &Plan, policy: &Policy, now: Timestamp) -> Option<Approval> {
    let looks = plan.risk == Risk::Look && plan.only_looks();
    (looks && policy.diagnosis.is_some() && policy.hosts.hold(&plan.target.host)).then(|| Approval {
        plan: plan.digest(),
        basis: Basis::Diagnosis { policy: policy.digest },
        granted_at: now,
        expires_at: now.plus(VALID_MS),
    })
}

/// What the host knows at the moment of being asked.
#[derive(Clone, Debug)]
pub struct Facts {
    pub host: HostId,
    pub epoch: Epoch,
    /// The server's time as the lease carries it forward; nothing without a lease.
    pub server_now: Option<Timestamp>,
    pub stop: Option<String>,
    pub forbidden: Option<Forbidden>,
    /// Looks that were begun here within the hour, by any clock.
    pub looks: u32,
    /// Whether this very look was begun before.
    pub begun: bool,
}

/// Why a host does not look.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the question is for host {0}")]
    OtherHost(HostId),
    #[error("the question is for an earlier life of this host")]
    OtherEpoch,
    #[error("{0} is no playbook that only looks")]
    MayWrite(String),
    #[error("nobody who may has approved the look: {0}")]
    NotApproved(&'static str),
    #[error("the approval is for plan {}, the question for {}", .0.short(), .1.short())]
    OtherApproval(Digest, Digest),
    #[error("the approval expired at {0}")]
    Expired(Timestamp),
    #[error("the server has not been heard from lately")]
    NoLease,
    #[error("automation is stopped: {0}")]
    Stopped(String),
    #[error("{0}")]
    Forbidden(Forbidden),
    #[error("{looks} looks within the hour, at most {max}")]
    BudgetSpent { looks: u32, max: u32 },
    #[error("it was begun before, and is not begun twice")]
    Begun,
}

/// Decides on the host whether it looks. The caller has verified the signatures over playbook and policy, and rebuilt
/// the plan of the former.
///
/// # Errors
/// Returns the first reason against it.
pub fn admit(
    plan: &Plan,
    question: &Question,
    policy: Option<&Policy>,
    facts: &Facts,
) -> Result<(), Refusal> {
    if plan.target.host != facts.host {
        return Err(Refusal::OtherHost(plan.target.host.clone()));
    }
    if plan.target.epoch != facts.epoch && !mutant::is(Mutant::IgnoreEpoch) {
        return Err(Refusal::OtherEpoch);
    }
    if plan.risk != Risk::Look || !plan.only_looks() {
        return Err(Refusal::MayWrite(plan.playbook.to_string()));
    }
    let approval = match &question.approval {
        Some(approval) => approval,
        None if mutant::is(Mutant::LookUnapproved) => return Ok(()),
        None => return Err(Refusal::NotApproved("it carries no approval")),
    };
    if approval.plan != plan.digest() {
        return Err(Refusal::OtherApproval(approval.plan, plan.digest()));
    }
    let max = ruled(approval, policy, &facts.host).map_err(Refusal::NotApproved)?.min(LOOKS_MAX);
    if let Some(reason) = &facts.stop
        && !mutant::is(Mutant::IgnoreStop)
    {
        return Err(Refusal::Stopped(reason.clone()));
    }
    if let Some(forbidden) = &facts.forbidden
        && !mutant::is(Mutant::IgnoreDeclarations)
    {
        return Err(Refusal::Forbidden(forbidden.clone()));
    }
    let now = facts.server_now.ok_or(Refusal::NoLease)?;
    if now >= approval.expires_at && !mutant::is(Mutant::IgnoreExpiry) {
        return Err(Refusal::Expired(approval.expires_at));
    }
    if facts.begun {
        return Err(Refusal::Begun);
    }
    if facts.looks >= max && !mutant::is(Mutant::IgnoreLookBudget) {
        return Err(Refusal::BudgetSpent { looks: facts.looks, max });
    }
    Ok(())
}

/// Returns how many looks an hour the named policy lets this host in for.
fn ruled(approval: &Approval, policy: Option<&Policy>, host: &HostId) -> Result<u32, &'static str> {
    if mutant::is(Mutant::LookUnapproved) {
        return Ok(LOOKS_MAX);
    }
    let Basis::Diagnosis { policy: named } = &approval.basis else {
        return Err("its approval is not for diagnosis");
    };
    let policy = policy.ok_or("it names a policy that did not come with it")?;
    if policy.digest != *named {
        return Err("it names another policy than came with it");
    }
    let rule = policy.diagnosis.ok_or("the policy has no rule for diagnosis")?;
    match policy.hosts.hold(host) {
        true => Ok(rule.per_host),
        false => Err("the policy does not speak of this host"),
    }
}

#[cfg(test)]
mod tests;
