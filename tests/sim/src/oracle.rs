//! What must hold, judged from outside: by true time, by the world's own log of effects, and by the events as they
//! became durable. Nothing here asks the code under test whether it did right.

mod chains;
mod fleet;
mod history;
mod hosts;
mod looks;
mod silence;
mod trust;

pub use history::History;
pub use hosts::{StartContext, TrueRun};

use super::catalogue::PolicyFacts;
use super::machine::{EffectKey, Machine};
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Plan;
use std::collections::{BTreeMap, BTreeSet};

/// Something that must never happen, and happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Number of the invariant in the list of invariants.
    pub invariant: &'static str,
    pub text: String,
}

/// A plan as any history of the server has it.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Box<Plan>,
    /// True time at which its approval ends, and whether a standing policy gave it.
    pub approved: Option<(i64, bool)>,
    pub denied: bool,
    pub voided: bool,
    pub released: bool,
}

/// One raise whose commit succeeded, with every number under which it was or will be sent.
#[derive(Clone, Debug)]
pub struct Raise {
    pub agent: usize,
    pub origin: u64,
    pub sent_as: Vec<(u64, u64)>,
    /// The host's disk was set back to before it: only the server knows of it now.
    forgotten: bool,
}

#[derive(Debug)]
pub struct Oracle {
    pub violation: Option<Violation>,
    pub policy: PolicyFacts,
    /// Of all histories, also those that a restored backup does not know.
    pub plans: BTreeMap<Digest, Planned>,
    /// When approvals to look end, of all histories, and the looks that hosts began.
    pub looks: BTreeMap<Digest, i64>,
    pub looks_begun: BTreeSet<(usize, Digest)>,
    pub history: History,
    pub runs: BTreeMap<(usize, Digest), TrueRun>,
    pub effects: BTreeMap<EffectKey, u32>,
    pub raises: Vec<Raise>,
    /// Entries of each agent's run journal that were judged; the first one names its epoch.
    pub judged: Vec<u64>,
    /// The latest answers of checks on each host: when, and the truth.
    pub looked: Vec<(i64, bool)>,
}

impl Oracle {
    pub fn new(policy: PolicyFacts, agents: usize) -> Self {
        Self {
            violation: None,
            policy,
            plans: BTreeMap::new(),
            looks: BTreeMap::new(),
            looks_begun: BTreeSet::new(),
            history: History::default(),
            runs: BTreeMap::new(),
            effects: BTreeMap::new(),
            raises: Vec::new(),
            judged: vec![1; agents],
            looked: vec![(0, false); agents],
        }
    }

    /// Notes the first violation; what comes after it may only follow from it.
    pub fn fail(&mut self, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation { invariant, text });
    }

    /// A step is being performed: its record must be durable already.
    pub fn performed(&mut self, agent: usize, run: Digest, step: usize) {
        let started = self.runs.get(&(agent, run)).is_some_and(|run| run.begun.contains(&step));
        if !started {
            self.fail("I9", format!("h-{agent} performs step {step} of {} before its record", run.short()));
        }
    }

    /// A step took effect.
    pub fn effect(&mut self, agent: usize, run: Digest, step: usize, before: Option<(usize, u32)>) {
        let count = self.effects.entry((agent, run, step)).or_default();
        *count += 1;
        if *count > 1 {
            let count = *count;
            self.fail("I8", format!("step {step} of {} took effect {count} times on h-{agent}", run.short()));
        }
        if let Some((cell, content)) = before
            && let Some(run) = self.runs.get_mut(&(agent, run))
        {
            run.before.entry(cell).or_insert(content);
        }
    }

    /// A raise is durable in the spool.
    pub fn raised(&mut self, agent: usize, origin: u64, epoch: u64, seq: u64) {
        match self.raises.iter_mut().find(|raise| raise.agent == agent && raise.origin == origin) {
            Some(raise) => raise.sent_as.push((epoch, seq)),
            None => self.raises.push(Raise { agent, origin, sent_as: vec![(epoch, seq)], forgotten: false }),
        }
    }

    /// Items that were given up are told in a new life, as a gap under its first numbers.
    pub fn renumber(&mut self, agent: usize, old: u64, acked: u64, lost: u64, epoch: u64) {
        // Not its latest number, which may be of a life that a disk set back has undone.
        for raise in self.raises.iter_mut().filter(|raise| raise.agent == agent) {
            let lost_as = |(of, seq): &&(u64, u64)| *of == old && (acked + 1..=acked + lost).contains(seq);
            if let Some((_, seq)) = raise.sent_as.iter().rev().find(lost_as).copied() {
                raise.sent_as.push((epoch, seq - acked));
            }
        }
    }

    /// The host's disk was set back: what it had raised since, and nobody took over, is gone with the disk.
    pub fn forget_raises(&mut self, agent: usize, from_origin: u64) {
        let history = &self.history;
        let gone = |raise: &Raise| raise.agent == agent && raise.origin >= from_origin;
        self.raises.retain(|raise| !gone(raise) || history.covers(agent, &raise.sent_as));
        self.raises.iter_mut().filter(|raise| gone(raise)).for_each(|raise| raise.forgotten = true);
    }

    /// The server was restored: it can only ask for what the hosts' present lives still have.
    pub fn forget_lives(&mut self, epochs: &[u64]) {
        self.raises.retain(|raise| {
            !raise.forgotten && raise.sent_as.last().is_some_and(|(epoch, _)| *epoch == epochs[raise.agent])
        });
    }

    /// At the end every raise is in an incident once, or in a gap.
    pub fn judge_raises(&mut self) {
        let lost =
            self.raises.iter().find(|raise| !self.history.covers(raise.agent, &raise.sent_as)).cloned();
        if let Some(raise) = lost {
            let text = format!(
                "raise {} of h-{} (sent as {:?}) is nowhere",
                raise.origin, raise.agent, raise.sent_as
            );
            self.fail("I1", text);
        }
    }

    /// At the end every accepted run has ended, and what it says is so.
    pub fn judge_runs(&mut self) {
        let open =
            self.runs.iter().find(|(_, run)| run.ended.is_none()).map(|((agent, run), _)| (*agent, *run));
        if let Some((agent, run)) = open {
            self.fail("I11", format!("run {} on h-{agent} never ended", run.short()));
        }
    }

    pub fn machine_after(&mut self, agent: usize, run: Digest, machine: &Machine) {
        hosts::judge_end(self, agent, run, machine);
    }
}
