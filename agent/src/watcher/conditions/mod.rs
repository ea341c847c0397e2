//! Which conditions hold on this host, and what is to be said about them: raised when the tolerance is used up, said
//! again every minute, cleared when over, and one kind at a time for each unit. Pure: time is an argument, and what
//! is to be said is returned.

mod ripeness;
#[cfg(test)]
mod tests;

use super::report::{Fault, Report};
use ripeness::Ripeness;
use serde::{Deserialize, Serialize};
use sopwith_domain::ids::RuleId;
use sopwith_domain::signal::{Condition, Evidence, Severity, Subject};
use sopwith_domain::value::Word;
use std::collections::BTreeMap;

/// How often a condition that holds is said again, in milliseconds.
pub const RERAISE_MS: u64 = 60_000;
/// Shortest time between two times that a condition is said because more became known of it, in milliseconds.
const NEWS_MS: u64 = 5_000;
/// Most conditions that are kept at a time; above it new ones are counted and not raised.
pub const CONDITIONS_MAX: usize = 10_000;

/// Something to tell the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emit {
    pub fault: Fault,
    pub condition: Condition,
    /// Whether it adds nothing as long as the raise before it still waits to be sent.
    pub again: bool,
}

/// A raised condition as it outlives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub source: String,
    pub fault: Fault,
    /// For what happens rather than holds: after how long without it, in milliseconds, it is over.
    pub quiet_ms: Option<u64>,
}

#[derive(Debug)]
struct Held {
    source: String,
    fault: Fault,
    ripeness: Ripeness,
    raised: bool,
    said_ms: u64,
    /// For what happens: its quiet time, and when it ends.
    quiet: Option<(u64, u64)>,
    /// Whether the source has reported it since it last began.
    seen: bool,
    /// Whether the next occurrence is to be said at once.
    wanted: bool,
}

type Key = (Subject, RuleId);

#[derive(Debug, Default)]
pub struct Conditions {
    held: BTreeMap<Key, Held>,
    /// Sources whose conditions are known to hold or not.
    settled: BTreeMap<String, bool>,
    overflowed: u64,
}

/// Returns the rank of a rule among those of which only one at a time is raised for a subject.
fn rank(rule: &RuleId) -> Option<u8> {
    match rule.as_str() {
        "units.failed" => Some(4),
        "units.inactive" => Some(3),
        "units.flapping" => Some(2),
        "units.unhealthy" => Some(1),
        "oom.killed" => Some(0),
        _ => None,
    }
}

/// Returns what playbooks are chosen by: how bad it is and what is known of it, though not every number.
fn shape(fault: &Fault) -> (Severity, Vec<Word>) {
    (fault.severity, fault.fields.keys().cloned().collect())
}

impl Conditions {
    /// Takes up what was raised before a restart. It is neither said again nor cleared before its source has
    /// looked.
    pub fn restore(&mut self, kept: Kept, now_ms: u64) {
        let key = (kept.fault.subject.clone(), kept.fault.rule.clone());
        let held = Held {
            source: kept.source,
            fault: kept.fault,
            ripeness: Ripeness::ripe(),
            raised: true,
            said_ms: now_ms,
            quiet: kept.quiet_ms.map(|ms| (ms, now_ms + ms)),
            seen: false,
            wanted: false,
        };
        self.held.insert(key, held);
    }

    /// Returns a raised condition in the form that outlives a restart.
    pub fn kept(&self, subject: &Subject, rule: &RuleId) -> Option<Kept> {
        let held = self.held.get(&(subject.clone(), rule.clone())).filter(|h| h.raised)?;
        let (source, fault) = (held.source.clone(), held.fault.clone());
        Some(Kept { source, fault, quiet_ms: held.quiet.map(|(ms, _)| ms) })
    }

    /// Says that a source begins to look; what it does not see again before it has settled is over.
    pub fn begin(&mut self, source: &str) {
        self.settled.insert(source.into(), false);
        self.held.values_mut().filter(|h| h.source == source).for_each(|h| h.seen = false);
    }

    /// Says that a source's conditions are known without a look.
    pub fn trust(&mut self, source: &str) {
        self.settled.insert(source.into(), true);
    }

    /// Clears what belongs to sources that are not there any more, and what `about` said of them.
    pub fn retire(&mut self, sources: &[&str], about: &str) -> Vec<Emit> {
        let gone = |held: &Held| match &held.fault.subject {
            Subject::Check(name) if held.source == about => !sources.contains(&name.as_str()),
            _ => held.source != about && !sources.contains(&held.source.as_str()),
        };
        let gone = self.keys(gone);
        gone.into_iter().filter_map(|key| self.drop_held(&key)).collect()
    }

    /// Takes one report of a source.
    pub fn take(&mut self, source: &str, report: Report, now_ms: u64) -> Vec<Emit> {
        match report {
            Report::Holds { fault, tolerance, .. } => {
                let key = (fault.subject.clone(), fault.rule.clone());
                let before = self.held.get(&key).map(|held| shape(&held.fault));
                let Some(held) = self.entry(source, *fault, &key, now_ms) else { return Vec::new() };
                held.ripeness.seen(tolerance, now_ms);
                let other = before.is_some_and(|before| before != shape(&held.fault));
                if held.raised && other && held.said_ms + NEWS_MS <= now_ms {
                    return vec![held.say(false, now_ms)];
                }
                self.settle_subject(&key.0, now_ms)
            }
            Report::Happened { fault, quiet } => self.happened(source, *fault, quiet, now_ms),
            Report::Over { rule, subject } => self.over(&(subject, rule), now_ms),
            Report::Gathered { rule, subject, evidence } => self.gathered(&(subject, rule), evidence, now_ms),
            Report::Settled => self.source_settled(source, now_ms),
            Report::LookedAfresh => self.say_again(|of| of == source, now_ms),
            Report::BeginAgain => self.say_again(|_| true, now_ms),
            Report::Declared(_) | Report::Inspected(_) => Vec::new(),
        }
    }

    /// Says what time alone brings about.
    pub fn due(&mut self, now_ms: u64) -> Vec<Emit> {
        let mut said = Vec::new();
        let quiet: Vec<Key> = self.keys(|h| h.quiet.is_some_and(|(_, until_ms)| until_ms <= now_ms));
        said.extend(quiet.iter().filter_map(|key| self.drop_held(key)));
        let ripe: Vec<Key> = self.keys(|h| !h.raised && h.ripeness.is_ripe(now_ms));
        for (subject, _) in ripe {
            said.extend(self.settle_subject(&subject, now_ms));
        }
        let settled = &self.settled;
        for held in self.held.values_mut() {
            let known = settled.get(&held.source).copied().unwrap_or(false);
            if held.raised && known && held.quiet.is_none() && held.said_ms + RERAISE_MS <= now_ms {
                said.push(held.say(true, now_ms));
            }
        }
        said
    }

    /// Returns when [`Conditions::due`] has something to say, at the earliest, after it was asked at `now_ms`.
    pub fn next_due_ms(&self, now_ms: u64) -> Option<u64> {
        let one = |held: &Held| match (held.raised, held.quiet) {
            (_, Some((_, until_ms))) => Some(until_ms),
            (true, None) => Some(held.said_ms + RERAISE_MS),
            (false, None) => held.ripeness.ripe_at_ms(),
        };
        // What is past was said, or waits for something other than time.
        self.held.values().filter_map(one).filter(|at_ms| *at_ms > now_ms).min()
    }

    /// Returns how many conditions are raised.
    pub fn raised(&self) -> usize {
        self.held.values().filter(|h| h.raised).count()
    }

    /// Returns how many could not be kept for want of room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn keys(&self, wanted: impl Fn(&Held) -> bool) -> Vec<Key> {
        self.held.iter().filter(|(_, held)| wanted(held)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the condition, made anew or brought up to date.
    fn entry(&mut self, source: &str, mut fault: Fault, key: &Key, now_ms: u64) -> Option<&mut Held> {
        if !self.held.contains_key(key) && self.held.len() >= CONDITIONS_MAX {
            self.overflowed += 1;
            return None;
        }
        let held = self.held.entry(key.clone()).or_insert_with(|| Held {
            source: source.into(),
            fault: fault.clone(),
            ripeness: Ripeness::default(),
            raised: false,
            said_ms: now_ms,
            quiet: None,
            seen: true,
            wanted: false,
        });
        if fault.evidence.is_empty() {
            fault.evidence = std::mem::take(&mut held.fault.evidence);
        }
        (held.fault, held.seen, held.source) = (fault, true, source.into());
        Some(held)
    }

    fn happened(&mut self, source: &str, fault: Fault, quiet: std::time::Duration, now_ms: u64) -> Vec<Emit> {
        let key = (fault.subject.clone(), fault.rule.clone());
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let Some(held) = self.entry(source, fault, &key, now_ms) else { return Vec::new() };
        held.quiet = Some((quiet_ms, now_ms.saturating_add(quiet_ms)));
        let again = held.raised;
        if !again || held.wanted || held.said_ms + RERAISE_MS <= now_ms {
            (held.raised, held.wanted) = (true, false);
            return vec![held.say(again, now_ms)];
        }
        Vec::new()
    }

    fn over(&mut self, key: &Key, now_ms: u64) -> Vec<Emit> {
        let Some(held) = self.held.get_mut(key) else { return Vec::new() };
        held.seen = true;
        held.ripeness.unseen();
        if held.ripeness.counts(now_ms) {
            let over = held.raised && !held.ripeness.is_ripe(now_ms);
            held.raised &= !over;
            let fault = held.fault.clone();
            return if over {
                vec![Emit { fault, condition: Condition::Cleared, again: false }]
            } else {
                vec![]
            };
        }
        let mut said: Vec<Emit> = self.drop_held(key).into_iter().collect();
        said.extend(self.settle_subject(&key.0, now_ms));
        said
    }

    fn gathered(&mut self, key: &Key, evidence: Vec<Evidence>, now_ms: u64) -> Vec<Emit> {
        let Some(held) = self.held.get_mut(key) else { return Vec::new() };
        held.fault.evidence = evidence;
        if held.raised { vec![held.say(false, now_ms)] } else { Vec::new() }
    }

    fn source_settled(&mut self, source: &str, now_ms: u64) -> Vec<Emit> {
        self.settled.insert(source.into(), true);
        let over = self.keys(|held| held.source == source && !held.seen && held.quiet.is_none());
        over.iter().flat_map(|key| self.over(key, now_ms)).collect()
    }

    fn say_again(&mut self, wanted: impl Fn(&str) -> bool, now_ms: u64) -> Vec<Emit> {
        let settled = &self.settled;
        let mut said = Vec::new();
        for held in self.held.values_mut().filter(|held| held.raised && wanted(&held.source)) {
            let known = settled.get(&held.source).copied().unwrap_or(false);
            match held.quiet {
                Some(_) => held.wanted = true,
                None if known => said.push(held.say(true, now_ms)),
                None => {}
            }
        }
        said
    }

    /// Raises what is ripe on a subject. Of ranked kinds only the highest that holds is raised, after the others
    /// are cleared.
    fn settle_subject(&mut self, subject: &Subject, now_ms: u64) -> Vec<Emit> {
        let ranks = |wanted: &dyn Fn(&Held) -> bool| {
            let of_subject = self.held.iter().filter(|((s, _), held)| s == subject && wanted(held));
            of_subject.filter_map(|((_, rule), _)| rank(rule)).max()
        };
        let (highest, highest_ripe) = (ranks(&|_| true), ranks(&|held| held.ripeness.is_ripe(now_ms)));
        let (mut cleared, mut raised) = (Vec::new(), Vec::new());
        for ((_, rule), held) in self.held.iter_mut().filter(|(key, _)| key.0 == *subject) {
            let leads = rank(rule).is_none() || rank(rule) == highest;
            if leads && !held.raised && held.quiet.is_none() && held.ripeness.is_ripe(now_ms) {
                held.raised = true;
                raised.push(held.say(false, now_ms));
            } else if held.raised && rank(rule).is_some() && rank(rule) < highest_ripe {
                held.raised = false;
                cleared.push(Emit { condition: Condition::Cleared, ..held.say(false, now_ms) });
            }
        }
        cleared.extend(raised);
        cleared
    }

    fn drop_held(&mut self, key: &Key) -> Option<Emit> {
        let held = self.held.remove(key)?;
        let fault = held.fault;
        held.raised.then_some(Emit { fault, condition: Condition::Cleared, again: false })
    }
}

impl Held {
    fn say(&mut self, again: bool, now_ms: u64) -> Emit {
        self.said_ms = now_ms;
        Emit { fault: self.fault.clone(), condition: Condition::Raised, again }
    }
}
