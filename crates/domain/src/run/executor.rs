//! Carries out what [`next`] says, one thing at a call, through seams that the agent and the simulator fill.

use super::{Effect, End, Next, Prior, Record, StepResult, UndoResult, What, next, setback};
use crate::check::Check;
use crate::ids::Digest;
use crate::mutant::{self, Mutant};
use crate::plan::Step;
use crate::time::Timestamp;
use crate::warrant::{Facts, Refusal, Warrant};

/// Longest wait for the server to be heard from again before a run that has begun is undone, in milliseconds.
pub const LEASE_WAIT_MS: i64 = 300_000;
/// How long a verification may take to come true after the last step, in milliseconds.
pub const SETTLE_MS: i64 = 10_000;
/// How often the checks are asked during a soak, in milliseconds.
pub const SOAK_POLL_MS: i64 = 500;

/// The run journal can no longer be written: the process must end, and look at it afresh when it starts again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to write the run journal: {0}")]
pub struct LogDown(pub String);

/// Where a run's records are made durable.
pub trait RunLog {
    /// Makes a record durable before it returns.
    ///
    /// # Errors
    /// After an error nothing may be appended or done until the process has started afresh.
    fn append(&mut self, record: &Record) -> Result<(), LogDown>;
}

/// Which step of which run the host is asked about; names quarantine and other leavings.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    pub run: Digest,
    pub index: usize,
    pub step: &'a Step,
}

/// How performing came out.
pub type StepOutcome = StepResult;
/// How undoing came out.
pub type UndoOutcome = UndoResult;

/// What checks came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckOutcome {
    pub passed: bool,
    pub detail: String,
}

/// The machine that is acted on.
pub trait Host {
    /// Returns what must be known to undo the step; looks only (or copies to quarantine), changes nothing.
    ///
    /// # Errors
    /// Says why the state before the step cannot be captured; then the step does not start.
    fn capture(&mut self, step: StepContext<'_>) -> Result<Prior, String>;
    /// Does the step, within its timeout, with its whole process tree ended when it returns.
    fn perform(&mut self, step: StepContext<'_>, prior: &Prior) -> StepOutcome;
    /// Looks whether a step that was interrupted took effect.
    fn probe(&mut self, step: StepContext<'_>, prior: &Prior) -> Effect;
    /// Puts back what was before the step; may be called again after a crash and then changes nothing more.
    fn undo(&mut self, step: StepContext<'_>, prior: &Prior) -> UndoOutcome;
    /// Asks all checks until they pass or `within_ms` milliseconds are over; 0 asks once.
    fn await_checks(&mut self, checks: &[Check], within_ms: i64) -> CheckOutcome;
    /// Wall clock, for records.
    fn now(&self) -> Timestamp;
    /// Milliseconds of a clock that neither jumps nor stops in sleep (CLOCK_BOOTTIME), for lengths of time.
    fn boot_ms(&self) -> i64;
    /// What the warrant is asked against, afresh.
    fn facts(&mut self, warrant: &Warrant) -> Facts;
}

/// What a call of [`Executor::advance`] came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Something was recorded; call again.
    Moved,
    /// Nothing to do for so many milliseconds.
    Wait {
        ms: i64,
    },
    Ended(End),
}

/// One run in progress on this host.
#[derive(Debug)]
pub struct Executor {
    warrant: Warrant,
    records: Vec<Record>,
    /// Boot clock when the soak, or the wait for a lease, began in this process.
    soak_began_ms: Option<i64>,
    wait_began_ms: Option<i64>,
}

impl Executor {
    /// Takes up a run from its records, the first of which is its acceptance.
    pub fn resume(warrant: Warrant, records: Vec<Record>) -> Self {
        Self { warrant, records, soak_began_ms: None, wait_began_ms: None }
    }

    pub fn warrant(&self) -> &Warrant {
        &self.warrant
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Says whether the run has ended.
    pub fn ended(&self) -> bool {
        next(self.warrant.plan(), &self.records) == Next::Nothing
    }

    /// Records that somebody wants the run stopped and undone.
    pub fn cancel(&mut self, by: &str, log: &mut dyn RunLog, host: &dyn Host) -> Result<(), LogDown> {
        let asked = self.records.iter().any(|r| matches!(r.what, What::CancelRequested { .. }));
        if asked || self.ended() {
            return Ok(());
        }
        self.record(What::CancelRequested { by: by.into() }, log, host)
    }

    /// Sees to it that no further step starts, for a run that is taken up after the machine was started again: the disk
    /// may be an older one, and steps may have been done of which it does not know. What was begun is undone; a run
    /// whose steps have all been done goes on with its checks.
    ///
    /// # Errors
    /// The run journal is down.
    pub fn start_no_more(&mut self, log: &mut dyn RunLog, host: &dyn Host) -> Result<(), LogDown> {
        let begun = |step: usize| {
            self.records.iter().any(|r| matches!(&r.what, What::Started { step: s, .. } if *s == step))
        };
        let all = (0..self.warrant.plan().steps.len()).all(begun);
        if all || setback(&self.records).is_some() || self.ended() || mutant::is(Mutant::GoOnAfterReboot) {
            return Ok(());
        }
        let reason = "the machine was started again in the middle of the run".to_owned();
        self.record(What::Halted { reason }, log, host)
    }

    /// Does the next thing.
    ///
    /// # Errors
    /// The run journal is down: end the process.
    pub fn advance(&mut self, log: &mut dyn RunLog, host: &mut dyn Host) -> Result<Progress, LogDown> {
        match next(self.warrant.plan(), &self.records) {
            Next::Step(step) => self.step(step, log, host),
            Next::Probe(step) => self.probe(step, log, host),
            Next::Verify => self.verify(log, host),
            Next::Soak => self.soak(log, host),
            Next::Undo(step) => self.undo(step, log, host),
            Next::End(end) => {
                self.record(What::Ended { end: end.clone() }, log, host)?;
                Ok(Progress::Ended(end))
            }
            Next::Nothing => Ok(Progress::Ended(self.end())),
        }
    }

    fn end(&self) -> End {
        let ended = self.records.iter().find_map(|r| match &r.what {
            What::Ended { end } => Some(end.clone()),
            _ => None,
        });
        ended.unwrap_or_else(|| End::RolledBack { reason: "the order was refused".into() })
    }

    fn record(&mut self, what: What, log: &mut dyn RunLog, host: &dyn Host) -> Result<(), LogDown> {
        let record = Record { run: self.warrant.plan().digest(), at: host.now(), what };
        log.append(&record)?;
        self.records.push(record);
        Ok(())
    }

    fn context(&self, index: usize) -> StepContext<'_> {
        StepContext { run: self.warrant.plan().digest(), index, step: &self.warrant.plan().steps[index] }
    }

    fn prior(&self, step: usize) -> Prior {
        let prior = self.records.iter().find_map(|r| match &r.what {
            What::Started { step: s, prior } if *s == step => Some(prior.clone()),
            _ => None,
        });
        prior.unwrap_or(Prior::Null)
    }

    fn step(&mut self, index: usize, log: &mut dyn RunLog, host: &mut dyn Host) -> Result<Progress, LogDown> {
        let facts = host.facts(&self.warrant);
        if let Err(refusal) = self.warrant.still_valid(&facts) {
            return self.not_now(&refusal, log, host);
        }
        self.wait_began_ms = None;
        let required = host.await_checks(&self.context(index).step.require, 0);
        if !required.passed {
            let reason = format!("step {} may not start: {}", index + 1, required.detail);
            return self.halt(reason, log, host);
        }
        let prior = match host.capture(self.context(index)) {
            Ok(prior) => prior,
            Err(e) => {
                let reason = format!("step {}: the state before it cannot be kept: {e}", index + 1);
                return self.halt(reason, log, host);
            }
        };
        // Looking and copying take their time, and the warrant must hold at the moment of starting.
        let facts = host.facts(&self.warrant);
        if let Err(refusal) = self.warrant.still_valid(&facts)
            && !mutant::is(Mutant::CheckBeforeCapture)
        {
            return self.not_now(&refusal, log, host);
        }
        let early = mutant::is(Mutant::StartBeforeRecord).then(|| host.perform(self.context(index), &prior));
        self.record(What::Started { step: index, prior: prior.clone() }, log, host)?;
        let outcome = early.unwrap_or_else(|| host.perform(self.context(index), &prior));
        let outcome = self.expected(index, outcome, host);
        self.record(What::Finished { step: index, outcome }, log, host)?;
        Ok(Progress::Moved)
    }

    /// Holds the step's outcome against what the playbook expects of it.
    fn expected(&self, index: usize, outcome: StepOutcome, host: &mut dyn Host) -> StepOutcome {
        let step = &self.warrant.plan().steps[index];
        let StepResult::Done { output } = outcome else { return outcome };
        if step.expect.is_empty() {
            return StepResult::Done { output };
        }
        let seen = host.await_checks(&step.expect, step.timeout_ms);
        if seen.passed {
            StepResult::Done { output }
        } else {
            StepResult::Failed { reason: seen.detail, output }
        }
    }

    /// Waits while waiting can help, and otherwise halts.
    fn not_now(
        &mut self,
        refusal: &Refusal,
        log: &mut dyn RunLog,
        host: &mut dyn Host,
    ) -> Result<Progress, LogDown> {
        let now_ms = host.boot_ms();
        let began_ms = *self.wait_began_ms.get_or_insert(now_ms);
        if refusal.passes() && now_ms - began_ms < LEASE_WAIT_MS {
            return Ok(Progress::Wait { ms: 1000 });
        }
        self.halt(format!("no further step may start: {refusal}"), log, host)
    }

    fn halt(
        &mut self,
        reason: String,
        log: &mut dyn RunLog,
        host: &mut dyn Host,
    ) -> Result<Progress, LogDown> {
        self.record(What::Halted { reason }, log, host)?;
        Ok(Progress::Moved)
    }

    fn probe(
        &mut self,
        index: usize,
        log: &mut dyn RunLog,
        host: &mut dyn Host,
    ) -> Result<Progress, LogDown> {
        let prior = self.prior(index);
        let effect = host.probe(self.context(index), &prior);
        self.record(What::Probed { step: index, effect }, log, host)?;
        Ok(Progress::Moved)
    }

    fn verify(&mut self, log: &mut dyn RunLog, host: &mut dyn Host) -> Result<Progress, LogDown> {
        let seen = host.await_checks(&self.warrant.plan().verify, SETTLE_MS);
        self.record(What::Verified { passed: seen.passed, detail: seen.detail }, log, host)?;
        Ok(Progress::Moved)
    }

    fn soak(&mut self, log: &mut dyn RunLog, host: &mut dyn Host) -> Result<Progress, LogDown> {
        let now_ms = host.boot_ms();
        let began_ms = *self.soak_began_ms.get_or_insert(now_ms);
        let left_ms = self.warrant.plan().soak_ms - (now_ms - began_ms);
        let seen = host.await_checks(&self.warrant.plan().verify, 0);
        if seen.passed && left_ms > 0 {
            return Ok(Progress::Wait { ms: left_ms.min(SOAK_POLL_MS) });
        }
        self.record(What::Soaked { passed: seen.passed, detail: seen.detail }, log, host)?;
        Ok(Progress::Moved)
    }

    fn undo(&mut self, index: usize, log: &mut dyn RunLog, host: &mut dyn Host) -> Result<Progress, LogDown> {
        let prior = self.prior(index);
        self.record(What::UndoStarted { step: index }, log, host)?;
        let result = host.undo(self.context(index), &prior);
        self.record(What::UndoFinished { step: index, result }, log, host)?;
        Ok(Progress::Moved)
    }
}
