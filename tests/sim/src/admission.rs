//! How a simulated runner judges an order: by its own trusted documents, its own journal and its own facts.

use super::machine::Machine;
use super::oracle::StartContext;
use super::run_journal::Port;
use super::runner::{Active, Moment, Runner};
use sopwith_domain::mutant::{self, Mutant};
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{Executor, LogDown, Record, RunLog, What};
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::{self, Refusal, Warrant};
use std::cell::Cell;
use std::rc::Rc;

enum Judged {
    Held,
    Refused(Refusal),
    Admitted(Box<Warrant>),
}

impl Runner {
    /// Judges an order and begins its run if it is admitted.
    pub fn deliver(
        &mut self,
        order: &Rc<Order>,
        machine: &Machine,
        moment: Moment<'_>,
    ) -> Result<bool, LogDown> {
        if self.taken.contains(&order.plan) && !mutant::is(Mutant::ForgetTakenOrders) {
            return Ok(false);
        }
        match self.judge(order, machine, moment) {
            Judged::Held => {
                if !self.holding.iter().any(|held| held.plan == order.plan) {
                    self.holding.push(Rc::clone(order));
                }
                Ok(false)
            }
            Judged::Refused(refusal) => {
                let record =
                    Record { run: order.plan, at: Timestamp(moment.wall), what: What::Refused { refusal } };
                self.write(&record, None, machine, moment)?;
                Ok(true)
            }
            Judged::Admitted(warrant) => {
                let run = warrant.plan().digest();
                let what = What::Accepted { order: Box::new((**order).clone()) };
                let record = Record { run, at: Timestamp(moment.wall), what };
                self.write(&record, Some(warrant.plan()), machine, moment)?;
                let accepted = self.journal.records.len() as u64;
                let executor = Executor::resume(*warrant, vec![record]);
                self.active.push(Active {
                    executor,
                    accepted,
                    accepted_wall: moment.wall,
                    accepted_boot: Some(moment.boot_ms),
                    order: Rc::clone(order),
                    turn: 0,
                    planned: false,
                });
                Ok(true)
            }
        }
    }

    fn write(
        &mut self,
        record: &Record,
        plan: Option<&Plan>,
        machine: &Machine,
        moment: Moment<'_>,
    ) -> Result<(), LogDown> {
        let context = plan.map_or(
            StartContext { epoch: self.desk.epoch.0, forbidden: false, heard_stop: false, asked_at: None },
            |plan| self.desk.context(machine, plan, moment.wall),
        );
        let (debt, dying) = (Cell::new(0), Cell::new(false));
        let mut port = Port {
            journal: &mut self.journal,
            shared: moment.shared,
            debt: &debt,
            dying: &dying,
            agent: self.desk.agent,
            context,
            plan,
        };
        port.append(record)?;
        self.remember(record, Some(moment.boot_ms));
        Ok(())
    }

    fn judge(&self, order: &Order, machine: &Machine, moment: Moment<'_>) -> Judged {
        let unsigned = |document: &str| {
            Judged::Refused(Refusal::Signature {
                document: document.into(),
                reason: "it is not signed".into(),
            })
        };
        let Some(playbook) = moment.catalogue.trusted(&order.playbook) else { return unsigned("playbook") };
        let policy = match &order.policy {
            None => None,
            Some(text) => match moment.catalogue.trusted_policy(text) {
                None => return unsigned("policy"),
                trusted => trusted,
            },
        };
        let claim = match warrant::reconstruct(order, playbook, &self.desk.bare_facts()) {
            Ok(claim) => claim,
            Err(refusal) => return Judged::Refused(refusal),
        };
        if self.active.iter().any(|active| active.executor.warrant().plan().collides(claim.plan())) {
            return Judged::Held;
        }
        let facts = self.desk.facts(order, claim.plan(), machine, moment.wall, moment.boot_ms);
        match warrant::admit(order, playbook, policy, &facts) {
            Ok(warrant) => Judged::Admitted(Box::new(warrant)),
            Err(refusal) if refusal.passes() => Judged::Held,
            Err(refusal) => Judged::Refused(refusal),
        }
    }
}
