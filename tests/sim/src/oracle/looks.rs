//! Looks, which change nothing and still begin by an approval that was recorded: judged by the events as they became
//! durable, and by what hosts really began.

use super::Oracle;
use super::history::agent_of;
use super::hosts::StartContext;
use sopwith_domain::approval::Approval;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Plan;
use sopwith_domain::warrant::LEASE_MS;

const HOUR_MS: i64 = 3_600_000;

impl Oracle {
    /// An approval to look is durable.
    pub fn look_approved(&mut self, now: i64, plan: &Plan, approval: &Approval) {
        let agent = agent_of(&plan.target.host);
        let until = now + approval.expires_at.since(approval.granted_at);
        self.looks.insert(plan.digest(), until);
        self.history.looks.push((agent, now));
        let recent = self.history.looks.iter().filter(|(of, at)| *of == agent && now - at < HOUR_MS).count();
        if recent > self.policy.looks {
            self.fail("I17", format!("{recent} looks at h-{agent} within an hour"));
        }
        if self.history.stopped.is_some() {
            self.fail("I21", format!("a look at h-{agent} is approved during a stop"));
        }
    }

    /// A host begins to look.
    pub fn looked_at(&mut self, agent: usize, now: i64, plan: &Plan, context: &StartContext) {
        let (digest, short): (Digest, _) = (plan.digest(), plan.digest().short());
        match self.looks.get(&digest) {
            None => self.fail("I4", format!("h-{agent} looks with {short}, which nobody approved")),
            Some(until) if now >= *until => {
                self.fail("I4", format!("h-{agent} looks with {short}, whose approval is over"));
            }
            Some(_) => {}
        }
        if let Some(step) = plan.steps.iter().find(|step| !step.action.name().starts_with("look.")) {
            self.fail("I4", format!("h-{agent} looks with {short}, which does {}", step.action.name()));
        }
        if context.heard_stop {
            self.fail("I21", format!("h-{agent} looks with {short} after it heard the stop"));
        }
        if context.forbidden {
            self.fail("I4", format!("h-{agent} looks with {short} against its own declarations"));
        }
        if context.asked_at.is_none_or(|at| now - at > LEASE_MS) {
            self.fail("I25", format!("h-{agent} looks with {short} although it is cut off"));
        }
        if plan.target.epoch.0 != context.epoch || !self.looks_begun.insert((agent, digest)) {
            self.fail("I8", format!("h-{agent} looks with {short} again, or for another life"));
        }
    }
}
