//! A host small enough to be compared whole: units, files, processes, what programs changed. It performs, probes and
//! undoes every action as the real runner promises to, so that a playbook can be failed at each step and what is left
//! can be held against what was there.

mod facts;
mod settings;
mod vocabulary;
mod world;

pub use vocabulary::vocabulary;
pub use world::World;

use sopwith_domain::action::Action;
use sopwith_domain::check::Check;
use sopwith_domain::ids::{Epoch, HostId};
use sopwith_domain::run::{
    CheckOutcome, Effect, Host, LogDown, Prior, Record, RunLog, StepContext, StepOutcome, StepResult,
    UndoOutcome, UndoResult,
};
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::{Facts, Warrant};
use std::collections::BTreeSet;

/// What goes wrong, and where. Steps count from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// A requirement of the step does not hold.
    Requirement(usize),
    /// What the step would need for its undo cannot be kept.
    Capture(usize),
    /// The step fails and has changed nothing.
    Before(usize),
    /// The step has its effect and fails all the same.
    After(usize),
    /// The step is done and what is expected of it does not come.
    Expectation(usize),
    Verification,
    Soak,
}

/// A process that died at a point that the test chose.
pub const DIED: &str = "the process died here";

/// The run journal: durable at once, and the place at which a process can be made to die.
#[derive(Debug, Default)]
pub struct Journal {
    pub records: Vec<Record>,
    /// The number of the append that fails, from 0.
    pub dies_at: Option<usize>,
    /// Whether the record of that append is durable all the same.
    pub durable: bool,
}

impl RunLog for Journal {
    fn append(&mut self, record: &Record) -> Result<(), LogDown> {
        if self.dies_at == Some(self.records.len()) {
            if self.durable {
                self.records.push(record.clone());
            }
            return Err(LogDown(DIED.into()));
        }
        self.records.push(record.clone());
        Ok(())
    }
}

/// The host.
#[derive(Debug)]
pub struct ModelHost {
    pub world: World,
    pub fault: Fault,
    /// How often each step had its effect.
    pub effects: Vec<usize>,
    /// The step whose checks are asked.
    pub at_step: usize,
    /// Steps in whose undo nothing but the repeat of it was seen to change.
    pub undone: Vec<usize>,
    boot_ms: i64,
    performed: BTreeSet<usize>,
    soaking: bool,
}

impl ModelHost {
    pub fn new(world: World, fault: Fault) -> Self {
        Self {
            world,
            fault,
            effects: vec![0; 64],
            at_step: 0,
            undone: Vec::new(),
            boot_ms: 0,
            performed: BTreeSet::new(),
            soaking: false,
        }
    }

    /// Lets time pass while a run waits.
    pub fn wait(&mut self, ms: i64) {
        self.boot_ms += ms;
    }
}

impl Host for ModelHost {
    fn capture(&mut self, step: StepContext<'_>) -> Result<Prior, String> {
        if self.fault == Fault::Capture(step.index) {
            return Err("there is no room to keep it".into());
        }
        Ok(self.world.capture(&step.step.action))
    }

    fn perform(&mut self, step: StepContext<'_>, _: &Prior) -> StepOutcome {
        let failed = |reason: &str| StepResult::Failed { reason: reason.into(), output: String::new() };
        self.at_step = step.index;
        self.performed.insert(step.index);
        if self.fault == Fault::Before(step.index) {
            return failed("it did not begin");
        }
        self.world.perform(&step.step.action);
        self.effects[step.index] += 1;
        if self.fault == Fault::After(step.index) {
            return failed("it failed at its end");
        }
        StepResult::Done { output: String::new() }
    }

    fn probe(&mut self, step: StepContext<'_>, prior: &Prior) -> Effect {
        self.world.probe(&step.step.action, prior)
    }

    fn undo(&mut self, step: StepContext<'_>, prior: &Prior) -> UndoOutcome {
        self.undone.push(step.index);
        match self.world.undo(&step.step.action, prior) {
            // Of what cannot be undone this is said only where it is seen to be as before.
            Ok(()) if matches!(step.step.action, Action::PackageConfigure { .. }) => {
                UndoResult::Untouched { detail: "as it was".into() }
            }
            Ok(()) => UndoResult::Restored { detail: "as it was".into() },
            Err(what) => UndoResult::Residue { what },
        }
    }

    fn await_checks(&mut self, checks: &[Check], within_ms: i64) -> CheckOutcome {
        // The executor asks requirements and the soak at once, and waits for expectations and the verification.
        let next = (0..64).find(|step| !self.performed.contains(step)).unwrap_or(64);
        let refused = match self.fault {
            Fault::Requirement(step) => within_ms == 0 && step == next && !self.soaking,
            Fault::Expectation(step) => {
                within_ms > 0 && step == self.at_step && step + 1 == next && !self.soaking
            }
            Fault::Verification => self.soaking,
            Fault::Soak => self.soaking && within_ms == 0,
            _ => false,
        };
        let failed = checks.iter().find(|check| !self.world.holds(check));
        match failed {
            _ if refused => CheckOutcome { passed: false, detail: "the test has it fail".into() },
            Some(check) => CheckOutcome { passed: false, detail: format!("not so: {}", check.sentence()) },
            None => CheckOutcome { passed: true, detail: String::new() },
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.boot_ms)
    }

    fn boot_ms(&self) -> i64 {
        self.boot_ms
    }

    fn facts(&mut self, _: &Warrant) -> Facts {
        self.plain_facts()
    }
}

impl ModelHost {
    /// Says whether all steps are done, so that checks are those of the verification and the soak.
    pub fn verifying(&mut self, all_done: bool) {
        self.soaking = all_done;
    }

    /// Returns facts that forbid nothing.
    pub fn plain_facts(&self) -> Facts {
        Facts {
            host: HostId::new("host-1").expect("a host name"),
            epoch: Epoch(1),
            server_now: Some(Timestamp(0)),
            stop: None,
            forbidden: None,
            automatic_tries: 0,
            automatic_tries_max: 2,
            demand_signatures: false,
            signed_by: BTreeSet::new(),
            reported: true,
            accepted_ago_ms: 0,
        }
    }
}
