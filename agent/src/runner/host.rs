//! The machine that is acted on: joins the facts, the actions and the checks to the domain's [`Host`].

use super::actions::{self, Workbench};
use super::checks;
use super::clock;
use super::forced;
use super::gate::Gate;
use sopwith_domain::check::Check;
use sopwith_domain::run::{
    CheckOutcome, Effect, Host, PRIOR_BYTES_MAX, Prior, StepContext, StepOutcome, UndoOutcome,
};
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::{Facts, Warrant};

/// When the run at hand was accepted, and whether the server knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Acceptance {
    pub at: Timestamp,
    /// Boot clock, where this process accepted it.
    pub boot_ms: Option<i64>,
    /// Number of its record.
    pub seq: u64,
    pub reported: bool,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self { at: Timestamp::default(), boot_ms: None, seq: u64::MAX, reported: false }
    }
}

impl Acceptance {
    /// Returns how long ago it was, by the clock that says longest: the wall clock may have been set back.
    fn ago_ms(&self) -> i64 {
        let by_wall_ms = clock::wall().since(self.at);
        self.boot_ms.map_or(by_wall_ms, |then_ms| by_wall_ms.max(clock::boot_ms() - then_ms))
    }
}

/// This host.
#[derive(Debug)]
pub struct RealHost {
    pub gate: Gate,
    pub bench: Workbench,
    /// Of the run that is being carried out.
    pub acceptance: Acceptance,
}

impl Host for RealHost {
    fn capture(&mut self, step: StepContext<'_>) -> Result<Prior, String> {
        let prior = actions::capture(&mut self.bench, step)?;
        let bytes = prior.to_string().len();
        if bytes > PRIOR_BYTES_MAX {
            return Err(format!("it takes {bytes} bytes to describe, at most {PRIOR_BYTES_MAX}"));
        }
        Ok(prior)
    }

    fn perform(&mut self, step: StepContext<'_>, prior: &Prior) -> StepOutcome {
        let _performing = self.bench.programs.leash.of(step.run);
        let _speaking = self.bench.programs.live.of(step.run, step.index);
        forced::outcome(step, actions::perform(&mut self.bench, step, prior))
    }

    fn probe(&mut self, step: StepContext<'_>, prior: &Prior) -> Effect {
        actions::probe(&mut self.bench, step, prior)
    }

    fn undo(&mut self, step: StepContext<'_>, prior: &Prior) -> UndoOutcome {
        let done = actions::undo(&mut self.bench, step, prior);
        if !forced::undoes_twice() {
            return done;
        }
        match actions::undo(&mut self.bench, step, prior) {
            UndoOutcome::Residue { what } => {
                UndoOutcome::Residue { what: format!("the second time: {what}") }
            }
            _ => done,
        }
    }

    fn await_checks(&mut self, checks: &[Check], within_ms: i64) -> CheckOutcome {
        checks::wait(&mut self.bench, &self.gate.settings, checks, within_ms)
    }

    fn now(&self) -> Timestamp {
        clock::wall()
    }

    fn boot_ms(&self) -> i64 {
        clock::boot_ms()
    }

    fn facts(&mut self, warrant: &Warrant) -> Facts {
        // The server's word may have come in since this turn began.
        let Acceptance { seq, reported, .. } = self.acceptance;
        let reported = reported || seq <= self.gate.desk.acked_through();
        let accepted_ago_ms = self.acceptance.ago_ms();
        Facts { reported, accepted_ago_ms, ..self.gate.facts(warrant.order(), warrant.plan()) }
    }
}
