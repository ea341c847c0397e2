//! The simulated host: units and files with values, faults that the schedule brings, and what a run's steps do to
//! them. Its effects are counted outside of the agent, by the oracles.

use super::catalogue::KINDS;
use super::coverage::Kind;
use super::looks::Begun;
use super::shared::{Shared, note};
use sopwith_domain::action::{Action, Undo};
use sopwith_domain::check::Check;
use sopwith_domain::declaration::Declarations;
use sopwith_domain::ids::Digest;
use sopwith_domain::run::{
    CheckOutcome, Effect, Host, Prior, StepContext, StepOutcome, StepResult, UndoOutcome, UndoResult,
};
use sopwith_domain::signal::Subject;
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::{AbsPath, UnitName};
use sopwith_domain::warrant::{Facts, Warrant};
use std::cell::{Cell, RefCell};

pub const UNITS: [&str; 3] = ["a.service", "b.service", "sopwith-agent.service"];
pub const PATHS: [&str; 2] = ["/srv/a.conf", "/srv/b.conf"];

/// A unit: what its last change left, and what ails it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    pub content: u32,
    pub sick: bool,
    pub stopped: bool,
    /// Index into [`KINDS`] of its sickness.
    pub kind: usize,
    /// A step does not heal it.
    pub stubborn: bool,
    pub level: i64,
    /// What mends one of these sicknesses brings about the other.
    pub haunted: Option<[usize; 2]>,
}

/// Everything of a host that steps can change, and what its administrator declared.
#[derive(Clone, Debug)]
pub struct Machine {
    pub units: [Unit; UNITS.len()],
    pub paths: [u32; PATHS.len()],
    pub declared: Declarations,
    pub local_stop: bool,
    /// Which failure domain the host's administrator names, as the declarations have it.
    pub domain: u8,
    /// Looks that were begun here.
    pub looks: Vec<Begun>,
}

impl Default for Machine {
    fn default() -> Self {
        let unit = Unit {
            content: 0,
            sick: false,
            stopped: false,
            kind: 0,
            stubborn: false,
            level: 1,
            haunted: None,
        };
        Self {
            units: [unit; UNITS.len()],
            paths: [0; PATHS.len()],
            declared: Declarations::default(),
            local_stop: false,
            domain: 0,
            looks: Vec::new(),
        }
    }
}

/// Returns the cell that a name stands for: units first, then paths.
pub fn cell_of(subject: &Subject) -> Option<usize> {
    match subject {
        Subject::Unit(unit) => UNITS.iter().position(|name| *name == unit.as_str()),
        Subject::Path(path) => PATHS.iter().position(|name| *name == path.as_str()).map(|n| n + UNITS.len()),
        _ => None,
    }
}

/// Returns the cell whose content an action changes, if it changes any.
pub fn changes(action: &Action) -> Option<usize> {
    if action.undo() == Undo::Nothing {
        return None;
    }
    action.touches().first().and_then(cell_of)
}

pub fn unit_name(unit: usize) -> UnitName {
    UnitName::new(UNITS[unit]).expect("a unit")
}

pub fn path_name(path: usize) -> AbsPath {
    AbsPath::new(PATHS[path]).expect("a path")
}

impl Machine {
    pub fn content(&self, cell: usize) -> u32 {
        if cell < UNITS.len() { self.units[cell].content } else { self.paths[cell - UNITS.len()] }
    }

    pub fn active(&self, unit: usize) -> bool {
        !self.units[unit].sick && !self.units[unit].stopped
    }

    /// Answers a check truly.
    pub fn holds(&self, check: &Check) -> bool {
        let unit = |name: &UnitName| UNITS.iter().position(|n| *n == name.as_str());
        match check {
            Check::UnitActive { unit: name } => unit(name).is_some_and(|n| self.active(n)),
            Check::UnitNotActive { unit: name } => unit(name).is_some_and(|n| !self.active(n)),
            _ => false,
        }
    }

    /// Does what an action does when it works.
    fn apply(&mut self, action: &Action, content: u32) {
        let Some(cell) = changes(action) else { return };
        if cell >= UNITS.len() {
            self.paths[cell - UNITS.len()] = content;
            return;
        }
        let unit = &mut self.units[cell];
        unit.content = content;
        match action {
            Action::UnitStop { .. } => unit.stopped = true,
            Action::UnitStart { .. } | Action::UnitRestart { .. } => {
                unit.stopped = false;
                unit.sick &= unit.stubborn;
            }
            _ => {}
        }
    }

    fn capture(&self, action: &Action) -> Prior {
        match changes(action) {
            None => Prior::Null,
            Some(cell) if cell >= UNITS.len() => self.content(cell).into(),
            Some(cell) => {
                let unit = &self.units[cell];
                // One number, because JSON costs more than the rest of the step.
                (u64::from(unit.content) << 2 | u64::from(unit.sick) << 1 | u64::from(unit.stopped)).into()
            }
        }
    }

    fn restore(&mut self, action: &Action, prior: &Prior) {
        let (Some(cell), Some(prior)) = (changes(action), prior.as_u64()) else { return };
        if cell >= UNITS.len() {
            self.paths[cell - UNITS.len()] = prior as u32;
        } else {
            let unit = &mut self.units[cell];
            (unit.content, unit.sick, unit.stopped) = ((prior >> 2) as u32, prior & 2 != 0, prior & 1 != 0);
        }
    }

    fn changed_since(&self, action: &Action, prior: &Prior) -> Option<bool> {
        let (cell, prior) = (changes(action)?, prior.as_u64()?);
        let before = if cell >= UNITS.len() { prior as u32 } else { (prior >> 2) as u32 };
        Some(self.content(cell) != before)
    }

    /// Returns the units that were mended of one sickness and get another by that, with its kind.
    pub fn relapses(&self) -> Vec<(usize, usize)> {
        let other = |unit: &Unit| {
            let [a, b] = unit.haunted.filter(|_| !unit.sick && !unit.stopped)?;
            Some(if unit.kind == a { b } else { a })
        };
        self.units.iter().enumerate().filter_map(|(n, unit)| Some((n, other(unit)?))).collect()
    }

    /// Returns the kind of a unit's sickness.
    pub fn kind(&self, unit: usize) -> &'static str {
        KINDS[self.units[unit].kind]
    }
}

/// How often things go wrong on hosts, in permille.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub step_fails: u32,
    pub step_half: u32,
    pub step_lies: u32,
    pub step_hangs: u32,
    pub dies_in_step: u32,
    pub unknown: u32,
    pub undo_fails: u32,
    pub flaps: u32,
    pub slow_capture: u32,
}

/// What the runner knows besides its journal, gathered for one call of the executor.
pub struct Hands<'a> {
    pub agent: usize,
    pub machine: &'a mut Machine,
    pub shared: &'a RefCell<Shared>,
    pub rates: Rates,
    /// Milliseconds that the call has taken so far.
    pub debt: &'a Cell<i64>,
    /// The process is about to die: nothing more gets written.
    pub dying: &'a Cell<bool>,
    pub boot_ms: i64,
    pub wall: i64,
    pub facts: &'a dyn Fn(&Warrant, &Machine, i64) -> Facts,
}

impl Hands<'_> {
    fn take_ms(&self, low: i64, high: i64) {
        let ms = self.shared.borrow_mut().rng.between(low, high);
        self.debt.set(self.debt.get() + ms);
    }

    fn happens(&self, permille: u32, kind: Kind) -> bool {
        self.shared.borrow_mut().happens(permille, kind)
    }

    /// Brings the step's effect about and tells the oracles.
    fn effect(&mut self, context: &StepContext<'_>) {
        let mut shared = self.shared.borrow_mut();
        let before = changes(&context.step.action).map(|cell| (cell, self.machine.content(cell)));
        shared.content += 1;
        let content = shared.content;
        self.machine.apply(&context.step.action, content);
        shared.oracle.effect(self.agent, context.run, context.index, before);
        note!(shared, "h-{} effect {} step {}", self.agent, context.run.short(), context.index);
    }
}

impl Host for Hands<'_> {
    fn capture(&mut self, step: StepContext<'_>) -> Result<Prior, String> {
        if self.happens(self.rates.slow_capture, Kind::SlowCapture) {
            self.take_ms(5_000, 90_000);
        }
        Ok(self.machine.capture(&step.step.action))
    }

    fn perform(&mut self, step: StepContext<'_>, _prior: &Prior) -> StepOutcome {
        let done = || StepResult::Done { output: String::new() };
        let failed = |reason: &str| StepResult::Failed { reason: reason.into(), output: String::new() };
        let rates = self.rates;
        self.shared.borrow_mut().oracle.performed(self.agent, step.run, step.index);
        if self.happens(rates.dies_in_step, Kind::DiesInStep) {
            if self.shared.borrow_mut().rng.chance(500) {
                self.effect(&step);
            }
            self.dying.set(true);
            return failed("the process died");
        }
        if self.happens(rates.step_hangs, Kind::StepHangs) {
            if self.shared.borrow_mut().rng.chance(500) {
                self.effect(&step);
            }
            self.debt.set(self.debt.get() + step.step.timeout_ms);
            return failed("it took too long and was ended");
        }
        self.take_ms(20, 1500);
        if self.happens(rates.step_lies, Kind::StepLies) {
            return done();
        }
        if self.happens(rates.step_fails, Kind::StepFails) {
            return failed("exit 1");
        }
        self.effect(&step);
        if self.happens(rates.step_half, Kind::StepHalf) {
            return failed("exit 1, half done");
        }
        done()
    }

    fn probe(&mut self, step: StepContext<'_>, prior: &Prior) -> Effect {
        if self.happens(self.rates.unknown, Kind::Unknown) {
            return Effect::Unknown { detail: "it does not say".into() };
        }
        match self.machine.changed_since(&step.step.action, prior) {
            None => Effect::Unknown { detail: "it leaves no trace".into() },
            Some(true) => Effect::Took { detail: String::new() },
            Some(false) => Effect::None { detail: "all is as before".into() },
        }
    }

    fn undo(&mut self, step: StepContext<'_>, prior: &Prior) -> UndoOutcome {
        self.take_ms(20, 1500);
        if step.step.undo != Undo::Inverse {
            return UndoResult::Restored { detail: "nothing to put back".into() };
        }
        if self.happens(self.rates.undo_fails, Kind::UndoFails) {
            return UndoResult::Residue { what: "it could not be put back".into() };
        }
        self.machine.restore(&step.step.action, prior);
        let shared = self.shared.borrow();
        note!(shared, "h-{} undo {} step {}", self.agent, step.run.short(), step.index);
        UndoResult::Restored { detail: String::new() }
    }

    fn await_checks(&mut self, checks: &[Check], within_ms: i64) -> CheckOutcome {
        if let Some(Check::UnitActive { unit }) = checks.first()
            && self.happens(self.rates.flaps, Kind::Flaps)
            && let Some(unit) = UNITS.iter().position(|n| *n == unit.as_str())
        {
            self.machine.units[unit].sick = true;
        }
        let failing = checks.iter().find(|check| !self.machine.holds(check));
        if failing.is_some() {
            self.debt.set(self.debt.get() + within_ms);
        }
        let mut shared = self.shared.borrow_mut();
        let at = shared.now + self.debt.get();
        shared.oracle.looked[self.agent] = (at, failing.is_none());
        let detail = failing.map_or_else(String::new, |check| check.name().into());
        CheckOutcome { passed: failing.is_none(), detail }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.wall + self.debt.get())
    }

    fn boot_ms(&self) -> i64 {
        self.boot_ms + self.debt.get()
    }

    fn facts(&mut self, warrant: &Warrant) -> Facts {
        (self.facts)(warrant, self.machine, self.debt.get())
    }
}

/// Names an effect.
pub type EffectKey = (usize, Digest, usize);
