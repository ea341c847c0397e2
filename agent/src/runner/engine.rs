//! The one thread that acts: it owns the journal, the runs and the host. Runs go on side by side only while they
//! wait or soak; two whose plans collide never overlap, the later order waits unaccepted.

use super::admission::{self, Sealed};
use super::desk::{Desk, Inbox, Published};
use super::host::{Acceptance, RealHost};
use super::journal::{Fate, OpenFailed, RunJournal};
use super::{clock, quarantine_expiry};
use crate::memory::Thrift;
use crate::runner_protocol::ActiveRun;
use sopwith_domain::action::Action;
use sopwith_domain::approval::Basis;
use sopwith_domain::check::Check;
use sopwith_domain::ids::Digest;
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{End, Executor, LogDown, Progress, Record, RunLog, What, next};
use sopwith_domain::warrant::{Refusal, Warrant};
use sopwith_protocol::exchange::BeginEpoch;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most orders that wait for another run or for a lease; more are left to the server, who sends them again.
const HOLDING_MAX: usize = 32;
/// Most refusals written down in an hour: a server that lies may not fill the disk.
const REFUSALS_PER_HOUR_MAX: u32 = 1000;
/// How often waiting orders are judged anew when nothing happens, in milliseconds.
const HOLDING_POLL_MS: i64 = 1000;
/// How often the acting thread looks around when nothing is to be done, in milliseconds.
const IDLE_MS: i64 = 60_000;
/// Shortest time between two new epochs, in milliseconds: the server repeats itself until it hears of the first.
const EPOCH_MS_MIN: i64 = 10_000;
const HOUR_MS: i64 = 3_600_000;

struct Active {
    executor: Executor,
    acceptance: Acceptance,
    /// Boot clock at which it goes on.
    wake_ms: i64,
}

/// The journal, each of whose records is told at once: a step may take an hour, and that it began is news.
struct Told<'a> {
    journal: &'a mut RunJournal,
    desk: &'a Desk,
}

impl RunLog for Told<'_> {
    fn append(&mut self, record: &Record) -> Result<(), LogDown> {
        self.journal.append(record)?;
        self.desk.recorded(self.journal.head());
        Ok(())
    }
}

/// The runner's state.
pub struct Engine {
    journal: RunJournal,
    host: RealHost,
    active: Vec<Active>,
    holding: Vec<Sealed>,
    acked_through: u64,
    /// How much of that the journal's file knows.
    acked_kept: u64,
    /// Whether the server has yet to say that nothing of the journal is missing.
    unsure: bool,
    epoch_began_ms: i64,
    expired_ms: Option<i64>,
    /// Boot clock at which the hour of counting began, and the refusals in it.
    refusals: (i64, u32),
    /// Whether a run has ended since waiting orders were judged.
    room: bool,
}

impl Engine {
    /// Takes up every run that was accepted and has not ended.
    ///
    /// # Errors
    /// The journal is down.
    pub fn resume(
        journal: RunJournal,
        runs: BTreeMap<Digest, Vec<Record>>,
        host: RealHost,
    ) -> Result<Self, LogDown> {
        journal.make_room()?;
        let acked_through = journal.acked_through();
        let mut engine = Self {
            journal,
            host,
            active: Vec::new(),
            holding: Vec::new(),
            acked_through,
            acked_kept: acked_through,
            unsure: true,
            epoch_began_ms: i64::MIN / 2,
            expired_ms: None,
            refusals: (clock::boot_ms(), 0),
            room: false,
        };
        for (run, records) in runs {
            let Some((order, at)) = records.iter().find_map(|r| match &r.what {
                What::Accepted { order } => Some(((**order).clone(), r.at)),
                _ => None,
            }) else {
                continue;
            };
            match admission::rebuild(&order, &engine.host.gate) {
                Ok(warrant) => {
                    if matches!(order.approval.basis, Basis::Standing { .. }) {
                        engine.host.gate.budget.took(&order, warrant.plan(), at, None);
                    }
                    if engine.journal.fate(&run) == Some(Fate::Open) {
                        engine.active.push(Active {
                            executor: Executor::resume(warrant, records),
                            acceptance: Acceptance {
                                at,
                                seq: engine.journal.first_seq(&run),
                                ..Acceptance::default()
                            },
                            wake_ms: 0,
                        });
                    }
                }
                Err(refusal) if engine.journal.fate(&run) == Some(Fate::Open) => {
                    engine.park(run, &records, &refusal)?;
                }
                Err(_) => {}
            }
        }
        engine.after_boot()?;
        engine.publish();
        Ok(engine)
    }

    /// After the machine was started again its disk may be an older one: what was under way starts no further step.
    fn after_boot(&mut self) -> Result<(), LogDown> {
        let boot = clock::boot_id();
        if boot.is_some() && boot == self.journal.boot_id() {
            return Ok(());
        }
        for run in &mut self.active {
            run.executor.start_no_more(&mut self.journal, &self.host)?;
        }
        self.journal.set_boot_id(boot.as_deref().unwrap_or_default());
        Ok(())
    }

    /// Ends a run that this version cannot carry on, and says what it may have left.
    fn park(&mut self, run: Digest, records: &[Record], refusal: &Refusal) -> Result<(), LogDown> {
        let begun = records.iter().filter_map(|r| match r.what {
            What::Started { step, .. } => Some(format!("step {} was begun and not undone", step + 1)),
            _ => None,
        });
        let reason = format!("the plan cannot be rebuilt from the journal: {refusal}");
        let end = End::Parked { reason, residue: begun.collect() };
        self.journal.append(&Record { run, at: clock::wall(), what: What::Ended { end } })
    }

    /// Goes on for ever.
    ///
    /// # Errors
    /// The journal is down: the process has to end.
    pub fn work(&mut self) -> Result<(), LogDown> {
        let (mut sleep_ms, mut thrift) = (0, Thrift::default());
        loop {
            let mut timeout = Duration::from_millis(u64::try_from(sleep_ms).unwrap_or(0));
            if self.active.is_empty() {
                timeout = timeout.min(thrift.turn());
            }
            let inbox = self.host.gate.desk.take(timeout);
            sleep_ms = self.turn(inbox)?;
        }
    }

    /// Takes in what came, does the next thing of one run, and returns how long nothing is to be done.
    ///
    /// # Errors
    /// The journal is down.
    pub fn turn(&mut self, inbox: Inbox) -> Result<i64, LogDown> {
        self.take_in(inbox)?;
        let now_ms = clock::boot_ms();
        if let Some(index) = self.active.iter().position(|run| run.wake_ms <= now_ms) {
            self.advance(index)?;
        }
        self.expire_quarantine();
        let wake_ms = self.active.iter().map(|run| run.wake_ms).min();
        let idle_ms = match (self.holding.is_empty(), std::mem::take(&mut self.room)) {
            (true, _) => IDLE_MS,
            (false, true) => 0,
            (false, false) => HOLDING_POLL_MS,
        };
        let sleep_ms = || wake_ms.map_or(idle_ms, |wake_ms| (wake_ms - clock::boot_ms()).clamp(0, idle_ms));
        if sleep_ms() > 0 {
            self.keep_acked();
        }
        if sleep_ms() > HOLDING_POLL_MS {
            self.host.bench.programs.rest();
        }
        self.publish();
        Ok(sleep_ms())
    }

    /// Keeps how far the server has the records, when nothing else is to be done: a step may be waiting for just this
    /// word of the server, and need not wait for the disk as well.
    fn keep_acked(&mut self) {
        if self.acked_kept != self.acked_through {
            self.acked_kept = self.acked_through;
            self.journal.set_acked_through(self.acked_through);
        }
    }

    fn take_in(&mut self, inbox: Inbox) -> Result<(), LogDown> {
        if let Some(through) = inbox.acked.filter(|through| *through > self.acked_through) {
            self.acked_through = through.min(self.journal.head().seq);
            // Before a step is begun, whose records nobody waits for.
            self.publish();
            self.active.iter_mut().for_each(|run| run.wake_ms = 0);
        }
        if let Some(begin) = inbox.begin_epoch {
            self.begin_epoch(&begin)?;
        }
        for (run, by) in inbox.cancels {
            if let Some(active) = self.active.iter_mut().find(|a| a.executor.warrant().plan().digest() == run)
            {
                active.executor.cancel(&by, &mut self.journal, &self.host)?;
                active.wake_ms = 0;
            }
            self.holding.retain(|held| held.digest() != run);
        }
        if inbox.leased {
            self.sure();
            self.active.iter_mut().for_each(|run| run.wake_ms = 0);
        }
        let mut waiting = std::mem::take(&mut self.holding);
        for order in inbox.orders {
            let known = self.journal.fate(&order.digest()).is_some()
                || waiting.iter().any(|held| held.digest() == order.digest());
            if !known && waiting.len() < HOLDING_MAX {
                waiting.push(order);
            }
        }
        for order in waiting {
            self.judge(order)?;
        }
        Ok(())
    }

    /// Judges an order: it is accepted, refused for ever, or kept for later.
    fn judge(&mut self, sealed: Sealed) -> Result<(), LogDown> {
        if self.journal.fate(&sealed.digest()).is_some() {
            return Ok(());
        }
        match admission::admit(&sealed, &self.host.gate) {
            Ok(warrant) if self.collides(&warrant) => self.holding.push(sealed),
            Ok(warrant) => self.accept(warrant)?,
            Err(refusal) if refusal.passes() => self.holding.push(sealed),
            Err(refusal) => self.refuse(sealed.digest(), refusal)?,
        }
        Ok(())
    }

    fn collides(&self, warrant: &Warrant) -> bool {
        self.active.iter().any(|run| run.executor.warrant().plan().collides(warrant.plan()))
    }

    fn accept(&mut self, warrant: Warrant) -> Result<(), LogDown> {
        self.journal.make_room()?;
        let order: Order = warrant.order().clone();
        let (run, at) = (warrant.plan().digest(), clock::wall());
        let record = Record { run, at, what: What::Accepted { order: Box::new(order.clone()) } };
        self.journal.append(&record)?;
        self.host.gate.desk.accepted(self.journal.head());
        if matches!(order.approval.basis, Basis::Standing { .. }) {
            self.host.gate.budget.took(&order, warrant.plan(), at, Some(clock::boot_ms()));
        }
        if starts_programs(warrant.plan()) {
            // The server is told of the acceptance meanwhile.
            self.host.bench.programs.make_ready();
        }
        tracing::info!("run {}: accepted", run.short());
        self.active.push(Active {
            executor: Executor::resume(warrant, vec![record]),
            acceptance: Acceptance {
                at,
                boot_ms: Some(clock::boot_ms()),
                seq: self.journal.head().seq,
                reported: false,
            },
            wake_ms: 0,
        });
        Ok(())
    }

    fn refuse(&mut self, run: Digest, refusal: Refusal) -> Result<(), LogDown> {
        let now_ms = clock::boot_ms();
        if now_ms - self.refusals.0 >= HOUR_MS {
            self.refusals = (now_ms, 0);
        }
        self.refusals.1 += 1;
        if self.refusals.1 > REFUSALS_PER_HOUR_MAX {
            tracing::warn!(
                "run {}: refused and not written down, too many this hour: {refusal}",
                run.short()
            );
            return Ok(());
        }
        tracing::warn!("run {}: refused: {refusal}", run.short());
        self.journal.append(&Record { run, at: clock::wall(), what: What::Refused { refusal } })
    }

    /// Does the next thing of one run, which then stands last in line.
    fn advance(&mut self, index: usize) -> Result<(), LogDown> {
        let mut run = self.active.remove(index);
        let plan = run.executor.warrant().plan();
        let (name, doing) = (plan.digest().short(), next(plan, run.executor.records()));
        tracing::debug!("run {name}: {doing:?}");
        let desk = Arc::clone(&self.host.gate.desk);
        run.acceptance.reported = run.acceptance.seq <= self.acked_through;
        self.host.acceptance = run.acceptance;
        let mut told = Told { journal: &mut self.journal, desk: &desk };
        match run.executor.advance(&mut told, &mut self.host)? {
            Progress::Moved => run.wake_ms = 0,
            Progress::Wait { ms } => run.wake_ms = clock::boot_ms() + ms,
            Progress::Ended(end) => {
                tracing::info!("run {name}: {end:?}");
                self.room = true;
                return Ok(());
            }
        }
        self.active.push(run);
        Ok(())
    }

    /// Sets the epoch, so that a test can try one order on many fresh memories.
    #[cfg(test)]
    pub fn set_epoch_for_test(&mut self, epoch: sopwith_domain::ids::Epoch) {
        self.host.gate.epoch = epoch;
        self.publish();
    }

    #[cfg(test)]
    pub fn gate_for_test(&self) -> &super::gate::Gate {
        &self.host.gate
    }

    /// Begins a new life where the journal really stands behind what the server knows of it.
    fn begin_epoch(&mut self, begin: &BeginEpoch) -> Result<(), LogDown> {
        let now_ms = clock::boot_ms();
        if now_ms - self.epoch_began_ms < EPOCH_MS_MIN {
            return Ok(());
        }
        let hash_there = begin.known_seq.and_then(|seq| self.journal.hash_of(seq));
        if !begin.holds(self.host.gate.epoch, self.journal.head().seq, hash_there) {
            tracing::debug!("the server judged an old request, nothing was set back: {}", begin.reason);
            return Ok(());
        }
        let reason = &begin.reason;
        let epoch = self.journal.begin_epoch().map_err(|e: OpenFailed| LogDown(e.to_string()))?;
        tracing::warn!("a new life of this host begins: {reason}");
        self.epoch_began_ms = now_ms;
        self.sure();
        self.host.gate.epoch = epoch;
        self.publish();
        Ok(())
    }

    /// Nothing of the journal is missing, or what was is behind a new life.
    fn sure(&mut self) {
        if std::mem::take(&mut self.unsure) {
            self.journal.end_unsure();
        }
    }

    fn expire_quarantine(&mut self) {
        let now_ms = clock::boot_ms();
        if self.expired_ms.is_some_and(|then_ms| now_ms - then_ms < HOUR_MS) {
            return;
        }
        self.expired_ms = Some(now_ms);
        let settings = &self.host.gate.settings;
        for place in std::iter::once(settings.quarantine()).chain(settings.asides()) {
            quarantine_expiry::run(&place, settings.quarantine_kept_ms, clock::wall(), |run| {
                self.journal.fate(run)
            });
        }
    }

    fn publish(&self) {
        let active = self.active.iter().map(|run| {
            let plan = run.executor.warrant().plan();
            ActiveRun { run: plan.digest(), touches: plan.touches().into_iter().collect() }
        });
        self.host.gate.desk.publish(Published {
            epoch: self.host.gate.epoch,
            head: self.journal.head(),
            active: active.collect(),
            holding: self.holding.iter().map(Sealed::digest).collect(),
            ended_count: self.journal.ended_count(),
            acked_through: self.acked_through,
            word_awaited: self.active.iter().any(|run| run.acceptance.seq > self.acked_through),
        });
    }
}

/// Says whether a run starts programs of its own.
fn starts_programs(plan: &Plan) -> bool {
    let action = |action: &Action| matches!(action, Action::Command { .. } | Action::OperatorCommand { .. });
    plan.steps.iter().any(|step| action(&step.action))
        || plan.verify.iter().any(|check| matches!(check, Check::CommandOk { .. }))
}
