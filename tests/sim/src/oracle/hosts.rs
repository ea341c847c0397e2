//! What runs really did on hosts, judged record by record as they became durable.

use super::Oracle;
use crate::machine::{Machine, PATHS, UNITS, changes};
use sopwith_domain::approval::Basis;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{End, Record, What};
use sopwith_domain::signal::Subject;
use sopwith_domain::warrant::LEASE_MS;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A run as it really went.
#[derive(Clone, Debug)]
pub struct TrueRun {
    pub plan: Rc<Plan>,
    pub standing: bool,
    pub begun: BTreeSet<usize>,
    /// Content of each cell before the run's first effect on it.
    pub before: BTreeMap<usize, u32>,
    undone: Vec<usize>,
    last_step_at: i64,
    verified_at: Option<i64>,
    soaked_at: Option<i64>,
    pub ended: Option<End>,
}

impl TrueRun {
    fn went_on(&mut self, now: i64, what: &What) {
        match what {
            What::Started { step, .. } => drop(self.begun.insert(*step)),
            What::Finished { .. } | What::Probed { .. } => self.last_step_at = now,
            What::Verified { passed: true, .. } => self.verified_at = Some(now),
            What::Soaked { passed: true, .. } => self.soaked_at = Some(now),
            What::UndoFinished { step, .. } => self.undone.push(*step),
            What::Ended { end } => self.ended = Some(end.clone()),
            _ => {}
        }
    }
}

/// What is true of a host at the moment when a step starts.
#[derive(Clone, Copy, Debug)]
pub struct StartContext {
    pub epoch: u64,
    /// The host's administrator forbids touching what the plan touches.
    pub forbidden: bool,
    /// The newest word that the host has is a stop, of the server or its own.
    pub heard_stop: bool,
    /// When the newest question that the server answered was asked.
    pub asked_at: Option<i64>,
}

impl Oracle {
    /// Judges one durable record of a run journal.
    pub fn recorded(
        &mut self,
        agent: usize,
        now: i64,
        record: &Record,
        plan: Option<&Plan>,
        context: &StartContext,
    ) {
        let key = (agent, record.run);
        match &record.what {
            What::Accepted { order } => {
                let Some(plan) = plan else { return };
                let standing = matches!(order.approval.basis, Basis::Standing { .. });
                self.accepted(agent, record.run, plan, standing);
            }
            What::Started { step, .. } => self.started(agent, now, record.run, *step, context),
            other => {
                let Some(run) = self.runs.get_mut(&key) else { return };
                run.went_on(now, other);
                if matches!(other, What::Verified { passed: true, .. } | What::Soaked { passed: true, .. })
                    && self.looked[agent] != (now, true)
                {
                    self.fail(
                        "I14",
                        format!("{} says that its checks passed, and they did not", record.run.short()),
                    );
                }
            }
        }
    }

    /// A record is found that became durable as its process died.
    pub fn found(&mut self, agent: usize, now: i64, record: &Record) {
        if let Some(run) = self.runs.get_mut(&(agent, record.run)) {
            run.went_on(now, &record.what);
        }
    }

    fn accepted(&mut self, agent: usize, run: Digest, plan: &Plan, standing: bool) {
        let overlap = self.runs.iter().find(|((host, other), known)| {
            *host == agent && *other != run && known.ended.is_none() && known.plan.collides(plan)
        });
        if let Some(((_, other), _)) = overlap {
            let text = format!("{} begins on h-{agent} while {} is on the same", run.short(), other.short());
            self.fail("I16", text);
        }
        let fresh = TrueRun {
            plan: Rc::new(plan.clone()),
            standing,
            begun: BTreeSet::new(),
            before: BTreeMap::new(),
            undone: Vec::new(),
            last_step_at: 0,
            verified_at: None,
            soaked_at: None,
            ended: None,
        };
        self.runs.insert((agent, run), fresh);
    }

    fn started(&mut self, agent: usize, now: i64, digest: Digest, step: usize, context: &StartContext) {
        let short = digest.short();
        let approved = self.plans.get(&digest).filter(|p| p.released && !p.denied).and_then(|p| p.approved);
        match approved {
            None => {
                self.fail("I4", format!("h-{agent} starts step {step} of {short}, which nobody approved"));
            }
            Some((until, _)) if now >= until => {
                self.fail(
                    "I4",
                    format!("h-{agent} starts step {step} of {short}, its approval ended at {until}"),
                );
            }
            Some(_) => {}
        }
        self.may_start(agent, now, &short, context);
        let Some(run) = self.runs.get_mut(&(agent, digest)) else {
            return self.fail("I4", format!("h-{agent} starts a step of {short}, which it never accepted"));
        };
        if !run.begun.insert(step) {
            self.fail("I8", format!("step {step} of {short} is started again on h-{agent}"));
            return;
        }
        let plan = Rc::clone(&run.plan);
        if plan.target.epoch.0 != context.epoch {
            self.fail("I8", format!("h-{agent} starts {short}, which is for another life of it"));
        }
        if plan.steps[step].action.touches().iter().any(protected) {
            self.fail("I22", format!("{short} touches what no plan may"));
        }
        if self.runs[&(agent, digest)].standing && step == 0 {
            self.tries(agent, &plan);
        }
    }

    fn may_start(&mut self, agent: usize, now: i64, short: &str, context: &StartContext) {
        if context.heard_stop {
            self.fail("I21", format!("h-{agent} starts a step of {short} after it heard the stop"));
        }
        if self.history.stopped.is_some_and(|at| now > at + LEASE_MS) {
            self.fail("I21", format!("h-{agent} starts a step of {short} long after the stop"));
        }
        if context.asked_at.is_none_or(|at| now - at > LEASE_MS) {
            self.fail("I25", format!("h-{agent} starts a step of {short} although it is cut off"));
        }
        if context.forbidden {
            self.fail("I4", format!("h-{agent} starts a step of {short} against its own declarations"));
        }
    }

    /// Counts automatic tries by what really began. The schedules are shorter than a day.
    fn tries(&mut self, agent: usize, plan: &Plan) {
        let same = |run: &&TrueRun| {
            run.standing && !run.begun.is_empty() && run.plan.target.fingerprint == plan.target.fingerprint
        };
        let tries =
            self.runs.iter().filter(|((host, _), _)| *host == agent).map(|(_, run)| run).filter(same).count();
        if tries > 2 {
            self.fail("I20", format!("{tries} automatic tries on h-{agent} for one fault within a day"));
        }
    }
}

fn protected(subject: &Subject) -> bool {
    matches!(subject, Subject::Unit(unit) if unit.as_str().starts_with("sopwith"))
}

/// Judges what a run left behind, once it has ended.
pub fn judge_end(oracle: &mut Oracle, agent: usize, digest: Digest, machine: &Machine) {
    let Some(run) = oracle.runs.get(&(agent, digest)) else { return };
    let Some(end) = &run.ended else { return };
    let fault = match end {
        End::Resolved => resolved(run),
        End::RolledBack { .. } => undone_in_order(run).or_else(|| as_before(run, machine, &BTreeSet::new())),
        End::Parked { residue, .. } => {
            let named: BTreeSet<usize> = run
                .begun
                .iter()
                .filter(|step| residue.iter().any(|text| text.starts_with(&format!("step {}", **step + 1))))
                .filter_map(|step| changes(&run.plan.steps[*step].action))
                .collect();
            undone_in_order(run).or_else(|| as_before(run, machine, &named))
        }
    };
    if let Some((invariant, text)) = fault {
        oracle.fail(invariant, format!("{} on h-{agent}: {text}", digest.short()));
    }
}

fn resolved(run: &TrueRun) -> Option<(&'static str, String)> {
    let (Some(verified), Some(soaked)) = (run.verified_at, run.soaked_at) else {
        return Some(("I14", "it says resolved without having looked".into()));
    };
    if run.begun.len() != run.plan.steps.len() || verified < run.last_step_at {
        return Some(("I14", "it says resolved before its last step".into()));
    }
    (soaked - verified < run.plan.soak_ms)
        .then(|| ("I14", format!("it soaked {} ms only", soaked - verified)))
}

fn undone_in_order(run: &TrueRun) -> Option<(&'static str, String)> {
    let expected: Vec<usize> = run.begun.iter().rev().copied().collect();
    (run.undone != expected).then(|| ("I13", format!("begun {:?}, undone {:?}", run.begun, run.undone)))
}

fn as_before(run: &TrueRun, machine: &Machine, but: &BTreeSet<usize>) -> Option<(&'static str, String)> {
    let changed =
        run.before.iter().find(|(cell, content)| machine.content(**cell) != **content && !but.contains(cell));
    changed.map(|(cell, _)| {
        let name = if *cell < UNITS.len() { UNITS[*cell] } else { PATHS[*cell - UNITS.len()] };
        ("I13", format!("{name} is not as it was, and it is not said"))
    })
}
