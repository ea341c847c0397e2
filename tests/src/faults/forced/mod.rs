//! A failure forced at every step of an entry's fix, on real hosts: a product that was built for tests lets the step fail
//! right after it was done. Each time the run must be undone, the host be as before, and a person be called.

mod judge;

pub(super) use judge::verdict;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::catalogue::{Entry, Expected};
use super::fingerprint::{Fingerprint, Scope};
use super::product::{Answered, Phase, PlanSeen, Product, ProductError, RunSeen, Terms};
use super::round::Setup;
use super::track::Track;
use super::trial::{self, now};
use crate::lab::Host;

const POLL: Duration = Duration::from_millis(250);
const SCRIPT_LIMIT: Duration = Duration::from_secs(120);
/// How long a fault may take to show once it is injected.
const PRESENT_LIMIT: Duration = Duration::from_secs(15);
/// How long a run may take, its undo included.
const RUN_LIMIT: Duration = Duration::from_secs(300);
/// How long the incident of a fault may be without its plan.
const PLAN_LIMIT: Duration = Duration::from_secs(45);
/// A unit that was put back may still be on its way; looks at the host, and the pause between them.
const LOOKS: u32 = 4;
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// Nothing runs without the harness, so that the state before is known.
const TERMS: Terms = Terms { proposal_valid_s: 3600, only_by_people: true };

/// What came of one forced failure.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Forced {
    /// From 1.
    pub step: usize,
    /// How many the plan has.
    pub steps: usize,
    /// One of the steps that were done cannot be taken back.
    pub irreversible: bool,
    pub run: RunSeen,
    /// How the host differs from before.
    pub difference: Option<String>,
    /// A person was called, or is asked about another plan.
    pub in_hands: bool,
    /// Another plan waits for an approval.
    pub asked_again: bool,
    /// The fault is not there any more, as where the step cannot be taken back and mended it.
    pub gone: bool,
    /// What the incident says of it.
    pub words: String,
    pub harm: bool,
    pub steps_before_approval: u32,
    /// Parts of the scope that nobody understood.
    pub not_compared: BTreeSet<String>,
}

/// What is known of an entry after all its trials.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Account {
    pub trials: Vec<Forced>,
    pub detected_s: Option<f64>,
    pub playbook: Option<String>,
    pub about: Option<(String, String)>,
    /// Why the harness could not go on, if it could not.
    pub broken: Option<String>,
}

/// Says whether an entry has a fix whose steps can be made to fail: one that does not fail by itself before them.
pub(super) fn has_fix(entry: &Entry) -> bool {
    matches!(entry.expected, Expected::Fix | Expected::FixAfterApproval)
}

/// Forces a failure at each step of the entry's fix in turn. A host on which the fault is still there as it was, is
/// used again under a fresh installation.
pub(super) fn carry_out(setup: &Setup<'_>, entry: &Entry, undo_twice: bool) -> Account {
    let mut account = Account::default();
    if let Err(error) = every_step(setup, entry, undo_twice, &mut account) {
        account.broken = Some(format!("failed to {error}"));
    }
    account
}

fn every_step(
    setup: &Setup<'_>,
    entry: &Entry,
    undo_twice: bool,
    account: &mut Account,
) -> Result<(), ProductError> {
    let mut stage = Stage::fresh(setup, entry)?;
    let (mut step, mut reuses) = (1, true);
    loop {
        let forced = match stage.force(step, undo_twice) {
            // Some faults are told only when they happen, not to an agent that comes later.
            Err(_) if stage.is_used => {
                (stage, reuses) = (Stage::fresh(setup, entry)?, false);
                stage.force(step, undo_twice)?
            }
            done => done?,
        };
        account.learn(&stage.track);
        let steps = forced.steps;
        let as_before = judge::faults(&forced).is_empty() && !forced.irreversible && !forced.gone;
        account.trials.push(forced);
        if step >= steps || (setup.interrupted)() {
            return Ok(());
        }
        step += 1;
        if reuses && as_before {
            stage.renew()?;
        } else {
            stage = Stage::fresh(setup, entry)?;
        }
    }
}

impl Account {
    fn learn(&mut self, track: &Track<'_>) {
        if self.trials.is_empty() {
            self.detected_s = track.facts.detected_s;
            self.playbook.clone_from(&track.facts.playbook);
            self.about.clone_from(&track.facts.about);
        }
    }
}

/// A host with the fault, under an installation of its own.
struct Stage<'a> {
    setup: &'a Setup<'a>,
    entry: &'a Entry,
    // Before the host, so that the installation ends while its agent still answers.
    product: Box<dyn Product>,
    host: Host,
    track: Track<'a>,
    /// The fault was made before this installation came.
    is_used: bool,
}

impl<'a> Stage<'a> {
    fn fresh(setup: &'a Setup<'a>, entry: &'a Entry) -> Result<Self, ProductError> {
        let mut product = (setup.start)(TERMS)?;
        let host = trial::victim(setup, 1)?;
        product.install(&host)?;
        trial::await_quiet(product.as_ref(), std::slice::from_ref(&host))?;
        let before = product.incidents(&host)?;
        let track = Track::new(setup.map, setup.kinds, entry.sops(), &before);
        let mut stage = Stage { setup, entry, product, host, track, is_used: false };
        stage.product.freeze(&stage.host, true)?;
        if stage.host.sh_for(&entry.inject, SCRIPT_LIMIT)?.timed_out {
            return Err(ProductError::failed("inject the fault", "its script does not end"));
        }
        stage.track.injected(now());
        stage.product.freeze(&stage.host, false)?;
        let made = Instant::now();
        while !stage.is_present()? {
            if made.elapsed() > PRESENT_LIMIT {
                return Err(ProductError::failed("find the fault after its injection", "it is not there"));
            }
            thread::sleep(POLL);
        }
        Ok(stage)
    }

    /// Takes the installation off the host, whose fault stays, and puts a new one there.
    fn renew(&mut self) -> Result<(), ProductError> {
        self.product.remove(&self.host)?;
        self.product = (self.setup.start)(TERMS)?;
        self.product.install(&self.host)?;
        trial::await_connected(self.product.as_ref(), &self.host)?;
        self.track = Track::new(self.setup.map, self.setup.kinds, self.entry.sops(), &[]);
        self.track.injected(now());
        self.is_used = true;
        Ok(())
    }

    fn is_present(&self) -> Result<bool, ProductError> {
        Ok(self.host.sh_for(&self.entry.present, SCRIPT_LIMIT)?.ok())
    }

    /// Approves the plan that waits, whose step is to fail, and looks at what becomes of it.
    fn force(&mut self, step: usize, undo_twice: bool) -> Result<Forced, ProductError> {
        let limit = Duration::from_secs(u64::from(self.entry.budget.detect_s)) + PLAN_LIMIT;
        let plan =
            self.until("see a plan wait for approval", limit, |stage| stage.track.waiting().cloned())?;
        self.product.force_failure(&self.host, step, undo_twice)?;
        let mut scope = Scope::parse(&self.entry.rollback.scope);
        scope.touch(&plan.touches);
        let before = scope.take(&self.host)?;
        self.track.approved(now());
        if let Answered::Refused(why) = self.product.approve(&plan.digest, &plan.digest)? {
            return Err(ProductError::failed("have the plan approved", why));
        }
        let run = self.until("see the run end", RUN_LIMIT, |stage| stage.ended(&plan))?;
        let difference = self.difference(&scope, &before)?;
        let gone = !self.is_present()?;
        if !gone {
            // For a moment all was well, and the agent may have said so; it will see that it is not.
            let _ = self.until("see a person called", limit, |stage| stage.in_hands().then_some(()));
        }
        let main = self.track.main().cloned().unwrap_or_default();
        Ok(Forced {
            step,
            steps: plan.irreversible.len(),
            irreversible: plan.irreversible.iter().take(step).any(|irreversible| *irreversible),
            run,
            difference,
            // Who was called before the fault went away has been called.
            in_hands: self.in_hands() || self.track.facts.called,
            asked_again: main.phase == Phase::AwaitingApproval,
            gone,
            words: main.why_not.unwrap_or(main.status),
            harm: self.is_harmed()?,
            steps_before_approval: self.track.facts.steps_before_approval,
            not_compared: scope.unknown.into_iter().collect(),
        })
    }

    /// Follows the host until something is there.
    fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        there: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, ProductError> {
        let started = Instant::now();
        loop {
            self.track.update(self.product.incidents(&self.host)?);
            if let Some(found) = there(self) {
                return Ok(found);
            }
            if started.elapsed() > limit || (self.setup.interrupted)() {
                let main = self.track.main().map(|seen| format!("{:?} {}", seen.phase, seen.status));
                let said = main.unwrap_or_else(|| "no incident is about it".to_owned());
                return Err(ProductError::failed(what, said));
            }
            thread::sleep(POLL);
        }
    }

    /// Returns the plan's run once it has ended and its incident has gone on from there.
    fn ended(&self, plan: &PlanSeen) -> Option<RunSeen> {
        let main = self.track.main()?;
        let run = main.runs.iter().find(|run| run.digest == plan.digest)?;
        let over = run.end.is_some() && !matches!(main.phase, Phase::Running | Phase::Open);
        over.then(|| run.clone())
    }

    /// Says whether a person is called, or asked about another plan.
    fn in_hands(&self) -> bool {
        let phase = self.track.main().map(|main| main.phase);
        matches!(phase, Some(Phase::NeedsPerson | Phase::AwaitingApproval))
    }

    fn difference(&self, scope: &Scope, before: &Fingerprint) -> Result<Option<String>, ProductError> {
        let mut difference = None;
        for look in 0..LOOKS {
            if look > 0 {
                thread::sleep(LOOK_PAUSE);
            }
            difference = before.difference(&scope.take_after(&self.host, before)?);
            if difference.is_none() {
                break;
            }
        }
        Ok(difference)
    }

    fn is_harmed(&self) -> Result<bool, ProductError> {
        let Some(script) = self.entry.harm.as_deref() else { return Ok(false) };
        Ok(self.host.sh_for(script, SCRIPT_LIMIT)?.ok())
    }
}
