//! A simulated agent: watcher and runner on one machine, and the uplink between them and the server.

use super::catalogue::first_epoch;
use super::coverage::{Kind, Stage};
use super::machine::Machine;
use super::runner::{Moment, Runner};
use super::shared::{Shared, note};
use super::watcher::Watcher;
use super::wire::{BATCH_MAX, Request, Response};
use sopwith_domain::dry_run::Report;
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::run::What;
use sopwith_journal::{Fault, MemoryDisk};
use std::cell::RefCell;

/// The process has ended.
#[derive(Debug)]
pub struct Down;

#[derive(Debug)]
pub struct Agent {
    pub id: usize,
    pub up: bool,
    /// Counts the lives of the process; what was meant for an earlier one comes to nothing.
    pub life: u32,
    pub machine: Machine,
    pub watcher: Watcher,
    pub runner: Runner,
    pub wall_offset: i64,
    /// True time at which the machine was started, and whether it was since the process last ran.
    booted_at: i64,
    rebooted: bool,
    /// A call that takes time is made at its beginning; until here no other process of this host can begin.
    busy_until: i64,
    pub cut: bool,
    /// The first exchange of a process carries nothing: it asks whether this memory was set back.
    greeted: bool,
    /// The latest question that was answered; answers to earlier ones are overtaken.
    answered: u64,
    /// Tells the latest plan of the uplink from earlier ones.
    pub uplink: u64,
    pub again: bool,
    /// What came of looks and the server is to hear; a process that ends forgets it.
    pub answers: Vec<Report>,
    pub image: Option<Image>,
}

/// A copy of the machine's disk, as a backup makes it.
#[derive(Debug)]
pub struct Image {
    pub spool: MemoryDisk,
    pub journal: MemoryDisk,
    pub machine: Machine,
    pub origin: u64,
    pub judged: u64,
    pub runs: Vec<(Digest, super::oracle::TrueRun)>,
}

/// Returns which kind of fault a disk met last.
pub fn fault_kind(disk: &MemoryDisk) -> Option<Kind> {
    disk.fired().last().map(|(_, fault)| match fault {
        Fault::CrashBefore => Kind::AgentCrashBefore,
        Fault::CrashAfter => Kind::AgentCrashAfter,
        Fault::Torn { .. } => Kind::AgentTorn,
        Fault::FsyncFails { .. } => Kind::AgentFsync,
        Fault::DiskFull => Kind::AgentFull,
    })
}

impl Agent {
    pub fn new(id: usize, demand_signatures: bool) -> Self {
        Self {
            id,
            up: true,
            life: 0,
            machine: Machine::default(),
            watcher: Watcher::new(id, first_epoch(id)),
            runner: Runner::new(id, first_epoch(id), demand_signatures),
            wall_offset: 0,
            booted_at: 0,
            rebooted: false,
            busy_until: 0,
            cut: false,
            greeted: false,
            answered: 0,
            uplink: 0,
            again: false,
            answers: Vec::new(),
            image: None,
        }
    }

    pub fn kill(&mut self) {
        self.up = false;
        self.life += 1;
    }

    /// The whole machine goes down with the process: its boot clock begins anew.
    pub fn power_off(&mut self, now: i64) {
        self.kill();
        (self.booted_at, self.rebooted) = (now, true);
    }

    pub fn busy(&mut self, until: i64) {
        self.busy_until = self.busy_until.max(until);
    }

    /// Returns when the process may begin again that ended now.
    pub fn restart_at(&self, now: i64, after_ms: i64) -> i64 {
        (now + after_ms).max(self.busy_until + 1)
    }

    pub fn boot_ms(&self, now: i64) -> i64 {
        now - self.booted_at
    }

    pub fn start(&mut self, moment: Moment<'_>) -> Result<(), Down> {
        self.watcher.start();
        self.answers.clear();
        self.runner.start(&self.machine, moment);
        if std::mem::take(&mut self.rebooted) {
            self.runner.rebooted(&mut self.machine, moment).map_err(|_| Down)?;
        }
        (self.up, self.greeted, self.again) = (true, false, true);
        // The runner makes epochs; the watcher follows when it finds another.
        if self.watcher.epoch != self.runner.desk.epoch {
            let (epoch, shared) = (self.runner.desk.epoch, &mut *moment.shared.borrow_mut());
            self.watcher.begin_epoch(epoch, moment.wall, shared).map_err(|_| Down)?;
        }
        Ok(())
    }

    pub fn watch(&mut self, wall: i64, shared: &mut Shared) -> Result<(), Down> {
        let again = std::mem::take(&mut self.again);
        self.watcher.watch(&self.machine, again, (self.greeted, wall), shared).map_err(|_| Down)
    }

    /// Says whether there is something that the server does not have.
    pub fn has_news(&self) -> bool {
        !self.greeted || self.watcher.waiting() || (self.runner.records().len() as u64) > self.runner.reported
    }

    pub fn request(&mut self, challenge: u64, boot_ms: i64, sent_at: i64) -> Request {
        self.runner.desk.challenge(challenge, boot_ms);
        let holding = self.runner.holding.iter().map(|order| order.plan).collect();
        let mut request = Request {
            agent: self.id,
            epoch: self.runner.desk.epoch,
            first_item: 1,
            items: Vec::new(),
            first_record: 1,
            records: Vec::new(),
            journal_seq: self.runner.at_start.records,
            journal_head: self.runner.at_start.head,
            challenge,
            holding,
            looked: Vec::new(),
            sent_at,
        };
        if self.greeted {
            request.looked = self.answers.clone();
            let records = self.runner.records();
            let from = (self.runner.reported as usize).min(records.len());
            request.first_record = from as u64 + 1;
            request.records = records[from..].iter().take(BATCH_MAX).cloned().collect();
            request.journal_seq = records.len() as u64;
            request.journal_head = self.runner.head();
            (request.first_item, request.items) = self.watcher.batch();
        }
        request
    }

    /// Takes an answer, if it is one to this process and this life of the host. Returns whether runs may go on.
    pub fn respond(
        &mut self,
        response: &Response,
        fresh_epoch: &mut u64,
        moment: Moment<'_>,
    ) -> Result<bool, Down> {
        if response.epoch != self.runner.desk.epoch || !self.runner.desk.asked(response.challenge) {
            return Ok(false);
        }
        if response.challenge <= self.answered {
            return Ok(false);
        }
        self.answered = response.challenge;
        // As in the watcher: what the server has beyond the spool came from a memory that is gone.
        let known = if self.greeted { self.watcher.head() } else { self.watcher.known_head() };
        let set_back = response.items_through > known;
        if let Some(begin) = &response.begin_epoch {
            // An old question may be answered late: nothing was set back if the journal holds what the server knows.
            if begin.known.is_some_and(|known| self.runner.holds(known)) {
                return Ok(false);
            }
            let shared = moment.shared.borrow();
            note!(shared, "h-{} must begin a new epoch: {}", self.id, begin.reason);
        }
        if response.begin_epoch.is_some() || set_back {
            *fresh_epoch += 1;
            self.begin_epoch(Epoch(*fresh_epoch), moment)?;
            return Ok(true);
        }
        if !self.greeted {
            self.watcher.greeted(moment.wall).map_err(|_| Down)?;
            self.runner.greeted(moment.wall, &mut moment.shared.borrow_mut()).map_err(|_| Down)?;
            self.greeted = true;
        }
        // A server that knows less than it acknowledged was set back: it is told everything that holds.
        self.again |= response.items_through < self.watcher.acked;
        self.watcher.acked = response.items_through;
        self.runner.report(response.records_through);
        if let Some(lease) = &response.lease {
            self.runner.desk.lease(response.challenge, lease, response.asked_at, moment.boot_ms);
        }
        for (run, by) in &response.cancels {
            self.runner.cancel(*run, by, &mut self.machine, moment).map_err(|_| Down)?;
        }
        // Only what is asked still is to be answered; an answer that was heard is asked for no more.
        self.answers.retain(|report| response.looks.iter().any(|asked| asked.plan == report.plan));
        response.looks.iter().for_each(|question| self.look(question, moment));
        for order in &response.orders {
            self.runner.deliver(order, &self.machine, moment).map_err(|_| Down)?;
        }
        self.retry_held(moment)?;
        Ok(true)
    }

    /// Judges the orders again that waited for a lease or for another run's end.
    pub fn retry_held(&mut self, moment: Moment<'_>) -> Result<(), Down> {
        for order in std::mem::take(&mut self.runner.holding) {
            self.runner.deliver(&order, &self.machine, moment).map_err(|_| Down)?;
        }
        Ok(())
    }

    fn begin_epoch(&mut self, epoch: Epoch, moment: Moment<'_>) -> Result<(), Down> {
        self.runner.begin_epoch(epoch, moment.wall, moment.shared).map_err(|_| Down)?;
        let shared: &RefCell<Shared> = moment.shared;
        self.watcher.begin_epoch(epoch, moment.wall, &mut shared.borrow_mut()).map_err(|_| Down)?;
        (self.again, self.greeted) = (true, false);
        Ok(())
    }

    /// Counts the fault that ended the process, if it was a planned one.
    pub fn count_fault(&self, shared: &mut Shared) {
        let disk = if self.watcher.dead { &self.watcher.disk } else { &self.runner.disk };
        if let Some(kind) = fault_kind(disk).filter(|_| self.watcher.dead || self.runner.dead()) {
            shared.fired(kind);
        }
    }

    /// A record can only be torn by the end of the whole machine.
    pub fn lost_power(&self) -> bool {
        let torn = |disk: &MemoryDisk| matches!(disk.fired().last(), Some((_, Fault::Torn { .. })));
        (self.watcher.dead && torn(&self.watcher.disk)) || (self.runner.dead() && torn(&self.runner.disk))
    }

    pub fn stage(&self) -> Option<Stage> {
        self.runner.furthest().map(|what| match what {
            What::Verified { passed: true, .. } | What::Soaked { passed: true, .. } => Stage::Soaking,
            What::UndoStarted { .. }
            | What::UndoFinished { .. }
            | What::Halted { .. }
            | What::CancelRequested { .. } => Stage::Undoing,
            _ => Stage::Stepping,
        })
    }

    pub fn take_image(&mut self, shared: &Shared) {
        let runs = shared.oracle.runs.iter().filter(|((agent, _), _)| *agent == self.id);
        self.image = Some(Image {
            spool: self.watcher.disk.snapshot(),
            journal: self.runner.disk.snapshot(),
            machine: self.machine.clone(),
            origin: self.watcher.next_origin(),
            judged: shared.oracle.judged[self.id],
            runs: runs.map(|((_, run), truth)| (*run, truth.clone())).collect(),
        });
    }

    /// Puts the image in the disk's place: journals, files and units are what they were; what ails the host is not.
    pub fn set_back(&mut self, shared: &mut Shared) -> bool {
        let Some(image) = self.image.take() else { return false };
        self.power_off(shared.now);
        note!(shared, "h-{} is set back to its image", self.id);
        self.watcher.disk = image.spool;
        self.runner.disk = image.journal;
        let now = std::mem::replace(&mut self.machine, image.machine);
        for (unit, now) in self.machine.units.iter_mut().zip(now.units) {
            (unit.sick, unit.kind, unit.stubborn, unit.level) = (now.sick, now.kind, now.stubborn, now.level);
        }
        shared.oracle.looks_begun.retain(|(agent, _)| *agent != self.id);
        (self.machine.declared, self.machine.local_stop) = (now.declared, now.local_stop);
        let oracle = &mut shared.oracle;
        oracle.judged[self.id] = image.judged;
        oracle.runs.retain(|(agent, _), _| *agent != self.id);
        oracle.runs.extend(image.runs.into_iter().map(|(run, truth)| ((self.id, run), truth)));
        oracle.forget_raises(self.id, image.origin);
        true
    }
}
