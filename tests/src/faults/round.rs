//! Carries out the entries of a catalogue, a few at a time, and judges each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::catalogue::Entry;
use super::forced;
use super::judge::{Facts, Row, Terms as JudgeTerms, Verdict, join, judge};
use super::kinds::Kinds;
use super::product::{Product, ProductError, Terms};
use super::scenario::{self, Scenario};
use super::sop_map::SopMap;
use super::trial;
use crate::lab::{Lab, Root};

/// Starts one installation of the product for one trial.
pub type Start<'a> = dyn Fn(Terms) -> Result<Box<dyn Product>, ProductError> + Sync + 'a;

/// What all trials of a round share.
pub struct Setup<'a> {
    pub lab: &'a Lab,
    /// The root of a pristine victim.
    pub victim: &'a Root,
    /// Script that is run on every victim before the agent comes.
    pub ready: &'a str,
    pub map: &'a SopMap,
    pub kinds: &'a Kinds,
    pub start: &'a Start<'a>,
    pub detect_only: bool,
    /// Says whether a person wants to stop.
    pub interrupted: &'a (dyn Fn() -> bool + Sync),
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Judged(Verdict),
    Skipped(Row),
}

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    AsItIs,
    /// Its variant in which the fix must fail.
    Fails,
    /// A failure is forced at each step of its fix in turn.
    Forced {
        undo_twice: bool,
    },
}

/// Which ways of carrying entries out are wanted besides the plain one, or in place of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    pub fail_variants: bool,
    /// Only this one, then.
    pub forced: bool,
    pub undo_twice: bool,
}

/// One thing to carry out.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    pub entry: &'a Entry,
    pub way: Way,
}

impl Task<'_> {
    /// Returns the id under which the row stands.
    pub fn id(&self) -> String {
        match self.way {
            Way::AsItIs => self.entry.id.clone(),
            Way::Fails => format!("{}/fail", self.entry.id),
            Way::Forced { undo_twice: false } => format!("{}/step", self.entry.id),
            Way::Forced { undo_twice: true } => format!("{}/twice", self.entry.id),
        }
    }
}

/// Returns what is to be carried out, in the catalogue's order.
pub fn tasks<'a>(entries: &'a [Entry], only: &[String], ways: Ways) -> Result<Vec<Task<'a>>, String> {
    if let Some(unknown) = only.iter().find(|id| !entries.iter().any(|entry| entry.id == **id)) {
        return Err(format!("the catalogue has no entry {unknown}"));
    }
    let wanted = entries.iter().filter(|entry| only.is_empty() || only.contains(&entry.id));
    let mut tasks = Vec::new();
    for entry in wanted {
        if ways.forced {
            let way = Way::Forced { undo_twice: ways.undo_twice };
            tasks.extend(forced::has_fix(entry).then_some(Task { entry, way }));
            continue;
        }
        tasks.push(Task { entry, way: Way::AsItIs });
        if ways.fail_variants && entry.fail_variant.is_some() {
            tasks.push(Task { entry, way: Way::Fails });
        }
    }
    Ok(tasks)
}

/// Carries out all tasks, at most `jobs` at a time, and tells the progress. `kept` gets what there is after each,
/// in the order of the tasks: a long round that is cut off has not run for nothing.
pub fn run(
    setup: &Setup<'_>,
    tasks: &[Task<'_>],
    jobs: usize,
    kept: &(dyn Fn(&[Outcome]) + Sync),
) -> Vec<Outcome> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(vec![None; tasks.len()]);
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                while let Some((position, task)) = take(&next, tasks) {
                    if (setup.interrupted)() {
                        return;
                    }
                    let started = Instant::now();
                    let outcome = one(setup, task);
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    tell(count, tasks.len(), task, &outcome, started);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes[position] = Some(outcome);
                        kept(&outcomes.iter().flatten().cloned().collect::<Vec<_>>());
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default().into_iter().flatten().collect()
}

fn take<'t>(next: &AtomicUsize, tasks: &'t [Task<'t>]) -> Option<(usize, Task<'t>)> {
    let position = next.fetch_add(1, Ordering::Relaxed);
    tasks.get(position).map(|task| (position, *task))
}

fn one(setup: &Setup<'_>, task: Task<'_>) -> Outcome {
    if let Some(why) = task.entry.unfit() {
        return Outcome::Skipped(skipped(&task, &why));
    }
    let terms = match task.way {
        Way::AsItIs => JudgeTerms::of(task.entry, setup.detect_only),
        Way::Fails => JudgeTerms::of_failure(task.entry, setup.detect_only),
        Way::Forced { undo_twice } => {
            let account = forced::carry_out(setup, task.entry, undo_twice);
            return Outcome::Judged(forced::verdict(task.id(), task.entry, &account));
        }
    };
    let (scenarios, unknown) = scenarios_of(&task);
    let mut parts: Vec<(&str, Verdict)> = Vec::new();
    for scenario in scenarios {
        let facts = trial::carry_out(setup, task.entry, scenario);
        parts.push((scenario.name(), judge(&terms, &note_unknown(facts, &unknown))));
    }
    match join(&parts) {
        Some(verdict) => Outcome::Judged(verdict),
        None => Outcome::Skipped(skipped(&task, "no scenario")),
    }
}

fn scenarios_of(task: &Task<'_>) -> (Vec<Scenario>, Vec<String>) {
    if task.way == Way::Fails { (vec![Scenario::FixFails], Vec::new()) } else { scenario::of(task.entry) }
}

fn note_unknown(mut facts: Facts, unknown: &[String]) -> Facts {
    if !unknown.is_empty() {
        facts
            .broken
            .get_or_insert(format!("what the harness is to do is not understood: {}", unknown.join("; ")));
    }
    facts
}

fn skipped(task: &Task<'_>, why: &str) -> Row {
    Row {
        id: task.id(),
        expected: task.entry.expected.name().to_owned(),
        detected: None,
        detect_s: None,
        matched: None,
        sop: None,
        fixed: None,
        recover_s: None,
        rollback_exact: None,
        harm: None,
        steps_before_approval: None,
        reason: format!("skipped: {why}"),
        kind: None,
        subject: None,
        other_incidents: Vec::new(),
        forced: None,
    }
}

fn tell(count: usize, of: usize, task: Task<'_>, outcome: &Outcome, started: Instant) {
    let word = match outcome {
        Outcome::Judged(verdict) if verdict.passed => "ok",
        Outcome::Judged(_) => "FAILED",
        Outcome::Skipped(_) => "skipped",
    };
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("[{count:>2}/{of}] {:<11} {word:<7} {seconds:>6.1} s  {}", task.id(), task.entry.title);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue;

    #[test]
    fn picks_entries_and_their_variants() {
        let entry = |id: &str, rest: &str| {
            format!(
                "- {{id: {id}, sop: S, risk: auto, expected: fix, inject: a, present: b, budget: {{detect_s: 1}}{rest}}}\n"
            )
        };
        let text = entry("A", "") + &entry("B", ", fail_variant: c");
        let entries = catalogue::parse(&text).expect("valid");
        let ids = |only: &[&str], fail_variants| -> Result<Vec<String>, String> {
            let only: Vec<String> = only.iter().map(|id| (*id).to_owned()).collect();
            let ways = Ways { fail_variants, ..Ways::default() };
            Ok(tasks(&entries, &only, ways)?.iter().map(Task::id).collect())
        };
        assert_eq!(ids(&[], false).expect("all"), ["A", "B"]);
        assert_eq!(ids(&[], true).expect("all"), ["A", "B", "B/fail"]);
        assert_eq!(ids(&["B"], false).expect("one"), ["B"]);
        assert!(ids(&["C"], false).expect_err("unknown").contains('C'));
        let ways = Ways { fail_variants: true, forced: true, undo_twice: true };
        let forced: Vec<String> = tasks(&entries, &[], ways).expect("all").iter().map(Task::id).collect();
        assert_eq!(forced, ["A/twice", "B/twice"]);
    }
}
