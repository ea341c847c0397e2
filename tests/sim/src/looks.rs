//! The looking half of a simulated runner: a question is judged by the host's own trusted documents and facts, noted in
//! the book before it is looked, and answered with the next exchange. And a server that lies about looks.

use super::agent::Agent;
use super::catalogue::{Catalogue, first_epoch, host};
use super::runner::Moment;
use super::shared::note;
use sopwith_domain::approval::{Approval, Basis};
use sopwith_domain::diagnosis::{self, Facts};
use sopwith_domain::dry_run::{Found, Question, Report, Step};
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::plan::{Plan, Target};
use sopwith_domain::playbook::Playbook;
use sopwith_domain::time::{HOUR_MS, Timestamp};
use sopwith_domain::warrant::LEASE_MS;
use std::collections::BTreeMap;

/// A look in the book, which lies on the host's disk.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    run: Digest,
    wall: i64,
    boot_ms: i64,
}

impl Agent {
    /// Judges a question and looks, if it may; the answer goes up with the next exchange.
    pub fn look(&mut self, question: &Question, moment: Moment<'_>) {
        if self.answers.iter().any(|report| report.plan == question.plan) {
            return;
        }
        let found = match self.judged(question, moment) {
            Ok(plan) => {
                let (run, agent) = (plan.digest(), self.id);
                self.machine.looks.push(Begun { run, wall: moment.wall, boot_ms: moment.boot_ms });
                let context = self.runner.desk.context(&self.machine, &plan, moment.wall);
                let mut shared = moment.shared.borrow_mut();
                note!(shared, "h-{agent} looks with {} {}", plan.playbook, run.short());
                let now = shared.now;
                shared.oracle.looked_at(agent, now, &plan, &context);
                let seen = |_| Step { require: vec![], would: vec!["seen".into()], cannot: None };
                Found::Looked { against: None, steps: plan.steps.iter().map(seen).collect(), verify: vec![] }
            }
            Err(reason) => {
                note!(moment.shared.borrow(), "h-{} does not look: {reason}", self.id);
                Found::Refused { reason }
            }
        };
        let looked_at = Timestamp(moment.wall);
        self.answers.push(Report { plan: question.plan, asked_at: question.asked_at, looked_at, found });
    }

    fn judged(&self, question: &Question, moment: Moment<'_>) -> Result<Plan, String> {
        let playbook = moment.catalogue.trusted(&question.playbook).ok_or("the playbook is not signed")?;
        let policy = match &question.policy {
            None => None,
            Some(text) => Some(moment.catalogue.trusted_policy(text).ok_or("the policy is not signed")?),
        };
        let plan = Plan::build(playbook, question.target.clone(), question.parameters.clone());
        let plan = plan.map_err(|e| e.to_string())?;
        if plan.digest() != question.plan {
            return Err("another plan".into());
        }
        let desk = &self.runner.desk;
        let touches: Vec<_> = plan.touches().into_iter().collect();
        let (server_now, stop) = desk.heard(&self.machine, moment.boot_ms, LEASE_MS);
        let forbid = |now| self.machine.declared.forbid(&touches, now);
        let recent = |begun: &&Begun| {
            moment.wall - begun.wall < HOUR_MS || (0..HOUR_MS).contains(&(moment.boot_ms - begun.boot_ms))
        };
        let facts = Facts {
            host: host(self.id),
            epoch: desk.epoch,
            server_now,
            stop,
            forbidden: forbid(Timestamp(moment.wall)).or_else(|| server_now.and_then(forbid)),
            looks: self.machine.looks.iter().filter(recent).count() as u32,
            begun: self.machine.looks.iter().any(|begun| begun.run == plan.digest()),
        };
        diagnosis::admit(&plan, question, policy, &facts).map_err(|refusal| refusal.to_string())?;
        Ok(plan)
    }
}

/// Returns a question that a lying server makes up.
pub fn forge(agent: usize, how: u8, now: Timestamp, catalogue: &Catalogue) -> Option<Question> {
    let doc = if how.is_multiple_of(3) { &catalogue.wolf } else { &catalogue.look };
    let playbook: &Playbook = &doc.parsed;
    let target = Target {
        host: host(agent),
        epoch: first_epoch(agent),
        incident: IncidentId(1),
        attempt: 77,
        subject: "unit:a.service".parse().ok()?,
        fingerprint: Digest([7; 32]),
    };
    let plan = Plan::build(playbook, target.clone(), BTreeMap::new()).ok()?;
    let policy = catalogue.policies.first()?;
    let basis = match how % 3 {
        // The look of a policy that is signed, for what is no look.
        0 => Basis::Diagnosis { policy: policy.parsed.digest },
        _ => Basis::Standing { policy: policy.parsed.digest },
    };
    let approval = Approval { plan: plan.digest(), basis, granted_at: now, expires_at: now.plus(HOUR_MS) };
    Some(Question {
        target,
        plan: plan.digest(),
        parameters: BTreeMap::new(),
        playbook: doc.signed.clone(),
        asked_at: now,
        approval: (how % 3 != 2).then_some(approval),
        policy: Some(policy.signed.clone()),
    })
}
