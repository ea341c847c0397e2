//! The runner half of a simulated agent: the run journal, the warrant with facts of its own, orders taken once,
//! runs taken up again at a restart, new epochs.

use super::catalogue::Catalogue;
use super::desk::Desk;
use super::machine::{Hands, Machine, Rates};
use super::oracle::StartContext;
use super::run_journal::{Certain, Entry, Journal, Port};
use super::shared::{Shared, note};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{Executor, LogDown, Progress, Record, What};
use sopwith_domain::warrant::{self, Facts, Warrant};
use sopwith_journal::{Head, Log, MemoryDisk};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A run that has not ended.
#[derive(Debug)]
pub struct Active {
    pub executor: Executor,
    /// Number of the record that accepted it, in this epoch.
    pub accepted: u64,
    pub order: Rc<Order>,
    pub(super) accepted_wall: i64,
    /// Where this process accepted it.
    pub(super) accepted_boot: Option<i64>,
    /// Its next call, if that is planned already: only the latest plan counts.
    pub(super) turn: u64,
    pub(super) planned: bool,
}

#[derive(Debug)]
pub struct Runner {
    pub disk: MemoryDisk,
    pub(super) journal: Journal,
    pub desk: Desk,
    pub taken: BTreeSet<Digest>,
    pub active: Vec<Active>,
    pub holding: Vec<Rc<Order>>,
    /// Where the journal stood when the process started, as far as that is certain.
    pub at_start: Certain,
    /// Records that the server has.
    pub reported: u64,
    /// How long the latest call took, also one that never returned.
    pub took_ms: i64,
}

/// What one call at one moment knows of clocks and surroundings.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub shared: &'a RefCell<Shared>,
    pub catalogue: &'a Catalogue,
    pub boot_ms: i64,
    pub wall: i64,
    pub rates: Rates,
}

impl Runner {
    pub fn new(agent: usize, epoch: Epoch, demand_signatures: bool) -> Self {
        let disk = MemoryDisk::new("runner");
        let mut journal = Journal {
            log: disk.reopen(),
            shelf: Vec::new(),
            records: Vec::new(),
            dead: false,
            heard: false,
            unsure: None,
        };
        journal.append(0, &[Entry::Epoch(epoch)]).expect("the disk is new");
        Self {
            disk,
            journal,
            desk: Desk::new(agent, epoch, demand_signatures),
            taken: BTreeSet::new(),
            active: Vec::new(),
            holding: Vec::new(),
            at_start: Certain { records: 0, head: Head::EMPTY },
            reported: 0,
            took_ms: 0,
        }
    }

    pub fn dead(&self) -> bool {
        self.journal.dead
    }

    pub fn head(&self) -> Head {
        self.journal.log.head()
    }

    /// Says whether the journal holds the entry that it is known to have held.
    pub fn holds(&self, known: Head) -> bool {
        let entries = self.disk.entries();
        known.seq == 0 || entries.get(known.seq as usize - 1).is_some_and(|entry| entry.hash == known.hash)
    }

    pub fn records(&self) -> &[Rc<Record>] {
        &self.journal.records
    }

    /// Opens what the disk holds and takes up the runs that have not ended.
    pub fn start(&mut self, machine: &Machine, moment: Moment<'_>) {
        self.journal.log = self.disk.reopen();
        (self.journal.dead, self.journal.heard, self.journal.unsure) = (false, false, None);
        self.journal.records.clear();
        self.desk.restart();
        self.taken.clear();
        (self.active, self.holding) = (Vec::new(), Vec::new());
        let mut runs: BTreeMap<Digest, (u64, Vec<Record>)> = BTreeMap::new();
        let numbers: Vec<(u64, usize)> = self
            .disk
            .entries()
            .iter()
            .map(|entry| {
                let bytes = entry.body.as_slice().try_into().expect("bodies are numbers");
                (entry.seq, u64::from_le_bytes(bytes) as usize)
            })
            .collect();
        for (seq, number) in numbers {
            self.journal.fold(number);
            match self.journal.shelf[number].clone() {
                Entry::Unsure(_) | Entry::Sure => {}
                Entry::Epoch(epoch) => {
                    // An epoch is the last thing that its process wrote if nobody heard of it; what follows it in
                    // the batch was judged before.
                    let mut shared = moment.shared.borrow_mut();
                    if seq > shared.oracle.judged[self.desk.agent] {
                        shared.oracle.judged[self.desk.agent] = u64::MAX;
                    }
                    self.desk.epoch = epoch;
                    // The records of runs that have not ended follow again.
                    runs.retain(|_, (_, records)| {
                        records.iter().any(|r| matches!(r.what, What::Ended { .. }))
                    });
                }
                Entry::Record(record) => {
                    self.judge_late(seq, &record, machine, moment);
                    self.remember(&record, None);
                    let fresh = (self.journal.records.len() as u64, Vec::new());
                    runs.entry(record.run).or_insert(fresh).1.push((*record).clone());
                }
            }
        }
        moment.shared.borrow_mut().oracle.judged[self.desk.agent] = self.journal.log.head().seq;
        self.at_start = self.journal.certain();
        self.reported = 0;
        for (run, (accepted, records)) in runs {
            self.resume(run, accepted, records, moment);
        }
    }

    /// A record that became durable as the process died is judged when it is found.
    fn judge_late(&self, seq: u64, record: &Rc<Record>, machine: &Machine, moment: Moment<'_>) {
        let mut shared = moment.shared.borrow_mut();
        if seq <= shared.oracle.judged[self.desk.agent] {
            return;
        }
        shared.oracle.judged[self.desk.agent] = seq;
        let now = shared.now;
        if let What::Accepted { order } = &record.what
            && let Some(playbook) = moment.catalogue.trusted(&order.playbook)
            && let Ok(plan) = Plan::build(playbook, order.target.clone(), order.parameters.clone())
        {
            let context = StartContext {
                epoch: self.desk.epoch.0,
                forbidden: false,
                heard_stop: false,
                asked_at: None,
            };
            shared.oracle.recorded(self.desk.agent, now, record, Some(&plan), &context);
        } else {
            shared.oracle.found(self.desk.agent, now, record);
            if matches!(record.what, What::Ended { .. }) {
                shared.oracle.machine_after(self.desk.agent, record.run, machine);
            }
        }
    }

    pub(super) fn remember(&mut self, record: &Record, boot_ms: Option<i64>) {
        match &record.what {
            What::Refused { .. } => drop(self.taken.insert(record.run)),
            What::Accepted { order } => {
                self.taken.insert(record.run);
                self.taken.insert(order.plan);
                self.desk.took(order, record.at, boot_ms);
            }
            _ => {}
        }
    }

    fn resume(&mut self, run: Digest, accepted: u64, records: Vec<Record>, moment: Moment<'_>) {
        let Some(What::Accepted { order }) = records.first().map(|r| &r.what) else { return };
        if records.iter().any(|r| matches!(r.what, What::Ended { .. })) {
            return;
        }
        let order = Rc::new((**order).clone());
        let accepted_wall = records[0].at.0;
        let shared = moment.shared;
        let Some(playbook) = moment.catalogue.trusted(&order.playbook) else {
            return shared
                .borrow_mut()
                .oracle
                .fail("I11", "an accepted playbook is no longer trusted".into());
        };
        // What was begun for an earlier life must be brought to its end as well.
        let facts = Facts { epoch: order.target.epoch, ..self.desk.bare_facts() };
        match warrant::reconstruct(&order, playbook, &facts) {
            Ok(warrant) => {
                let shared = shared.borrow();
                note!(shared, "h-{} takes up {}", self.desk.agent, run.short());
                self.active.push(Active {
                    executor: Executor::resume(warrant, records),
                    accepted,
                    accepted_wall,
                    accepted_boot: None,
                    order,
                    turn: 0,
                    planned: false,
                });
            }
            Err(refusal) => {
                let text = format!("h-{} cannot take up {}: {refusal}", self.desk.agent, run.short());
                shared.borrow_mut().oracle.fail("I11", text);
            }
        }
    }

    /// Returns the runs whose next call is not planned, which it is from now on, with the number of the plan.
    pub fn idle(&mut self) -> Vec<(Digest, u64)> {
        let idle = self.active.iter_mut().filter(|active| !active.planned);
        idle.map(|active| {
            active.planned = true;
            active.turn += 1;
            (active.executor.warrant().plan().digest(), active.turn)
        })
        .collect()
    }

    /// Says whether this is the latest plan for the run's next call.
    pub fn is_turn(&self, run: Digest, turn: u64) -> bool {
        let active = self.active.iter().find(|active| active.executor.warrant().plan().digest() == run);
        active.is_some_and(|active| active.turn == turn)
    }

    /// A server has answered and found nothing missing.
    ///
    /// # Errors
    /// The process has to end.
    pub fn greeted(&mut self, wall: i64, shared: &mut Shared) -> Result<(), LogDown> {
        self.journal.hear(wall)?;
        shared.oracle.judged[self.desk.agent] = self.journal.log.head().seq;
        Ok(())
    }

    /// Takes note of what the server has; runs that waited for it go on.
    pub fn report(&mut self, through: u64) {
        self.reported = through;
        let waiting =
            self.active.iter_mut().filter(|a| a.accepted <= through && a.executor.records().len() == 1);
        waiting.for_each(|active| active.planned = false);
    }

    /// Does the next thing of a run; returns what it came to and how long it took.
    pub fn advance(
        &mut self,
        run: Digest,
        machine: &mut Machine,
        moment: Moment<'_>,
    ) -> Result<Option<(Progress, i64)>, LogDown> {
        let Some(at) = self.active.iter().position(|a| a.executor.warrant().plan().digest() == run) else {
            return Ok(None);
        };
        let mut active = self.active.remove(at);
        let context = self.desk.context(machine, active.executor.warrant().plan(), moment.wall);
        let order = Rc::clone(&active.order);
        let (debt, dying) = (Cell::new(0), Cell::new(false));
        let progress = {
            let desk = &self.desk;
            let reported = self.reported >= active.accepted;
            let facts = |warrant: &Warrant, machine: &Machine, debt_ms: i64| {
                let (wall, boot_ms) = (moment.wall + debt_ms, moment.boot_ms + debt_ms);
                let accepted_ago_ms =
                    (wall - active.accepted_wall).max(boot_ms - active.accepted_boot.unwrap_or(boot_ms));
                let facts = desk.facts(&order, warrant.plan(), machine, wall, boot_ms);
                Facts { reported, accepted_ago_ms, ..facts }
            };
            let mut hands = Hands {
                agent: desk.agent,
                machine,
                shared: moment.shared,
                rates: moment.rates,
                debt: &debt,
                dying: &dying,
                boot_ms: moment.boot_ms,
                wall: moment.wall,
                facts: &facts,
            };
            let mut port = Port {
                journal: &mut self.journal,
                shared: moment.shared,
                debt: &debt,
                dying: &dying,
                agent: desk.agent,
                context,
                plan: None,
            };
            active.executor.advance(&mut port, &mut hands)
        };
        self.took_ms = debt.get();
        if dying.get() {
            self.journal.dead = true;
            return Err(LogDown("the process died".into()));
        }
        let progress = progress?;
        if matches!(progress, Progress::Ended(_)) {
            moment.shared.borrow_mut().oracle.machine_after(self.desk.agent, run, machine);
        } else {
            self.active.insert(at, active);
        }
        Ok(Some((progress, debt.get())))
    }

    /// Passes on that somebody wants a run stopped and undone.
    pub fn cancel(
        &mut self,
        run: Digest,
        by: &str,
        machine: &mut Machine,
        moment: Moment<'_>,
    ) -> Result<(), LogDown> {
        self.tell(run, machine, moment, |executor, port, hands| executor.cancel(by, port, hands))
    }

    /// The machine was started again: no further step starts of what was under way.
    pub fn rebooted(&mut self, machine: &mut Machine, moment: Moment<'_>) -> Result<(), LogDown> {
        let runs: Vec<Digest> = self.active.iter().map(|a| a.executor.warrant().plan().digest()).collect();
        runs.into_iter().try_for_each(|run| {
            self.tell(run, machine, moment, |executor, port, hands| executor.start_no_more(port, hands))
        })
    }

    fn tell(
        &mut self,
        run: Digest,
        machine: &mut Machine,
        moment: Moment<'_>,
        what: impl Fn(&mut Executor, &mut Port<'_>, &Hands<'_>) -> Result<(), LogDown>,
    ) -> Result<(), LogDown> {
        let same = |active: &&mut Active| active.executor.warrant().plan().digest() == run;
        let Some(active) = self.active.iter_mut().find(same) else { return Ok(()) };
        let context = self.desk.context(machine, active.executor.warrant().plan(), moment.wall);
        let (debt, dying) = (Cell::new(0), Cell::new(false));
        let facts = |_: &Warrant, _: &Machine, _: i64| unreachable!("this asks no facts");
        let hands = Hands {
            agent: self.desk.agent,
            machine,
            shared: moment.shared,
            rates: moment.rates,
            debt: &debt,
            dying: &dying,
            boot_ms: moment.boot_ms,
            wall: moment.wall,
            facts: &facts,
        };
        let mut port = Port {
            journal: &mut self.journal,
            shared: moment.shared,
            debt: &debt,
            dying: &dying,
            agent: self.desk.agent,
            context,
            plan: None,
        };
        what(&mut active.executor, &mut port, &hands)
    }

    /// Begins a new life: its records are numbered from 1 again, and runs that have not ended are told again.
    pub fn begin_epoch(&mut self, epoch: Epoch, wall: i64, shared: &RefCell<Shared>) -> Result<(), LogDown> {
        let mut entries = vec![Entry::Epoch(epoch)];
        for active in &self.active {
            entries.extend(active.executor.records().iter().map(|r| Entry::Record(Rc::new(r.clone()))));
        }
        self.journal.append(wall, &entries)?;
        let mut shared = shared.borrow_mut();
        note!(shared, "h-{} begins epoch {}", self.desk.agent, epoch.0);
        shared.oracle.judged[self.desk.agent] = self.journal.log.head().seq;
        self.desk.begin(epoch);
        self.holding.clear();
        (self.journal.heard, self.reported) = (false, 0);
        self.at_start = self.journal.certain();
        let mut number = 1;
        for active in &mut self.active {
            active.accepted = number;
            number += active.executor.records().len() as u64;
        }
        Ok(())
    }

    /// Returns how far the run that is furthest has come.
    pub fn furthest(&self) -> Option<&What> {
        self.active
            .iter()
            .filter_map(|active| active.executor.records().last())
            .map(|record| &record.what)
            .next_back()
    }
}
