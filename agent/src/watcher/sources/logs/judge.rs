//! What follows from the lines of one log: by each rule a match, a rate, a silence, or a line that nothing followed.
//! What is counted is kept together with the places in the files, so that after a crash no line counts twice.

use super::encoding::lines_not_text;
use super::rates::{Rates, Reached};
use super::rules::{Hit, Rules};
use super::silence::Silence;
use super::tracked::{Gap, Lines};
use super::waits::{Key, Waits};
use super::words::Words;
use crate::config::LogRule;
use crate::watcher::metrics::Metrics;
use crate::watcher::report::{Report, Tolerance};
use serde::{Deserialize, Serialize};
use sopwith_domain::ids::Digest;
use sopwith_domain::signal::Subject;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shortest time between two reports of the same thing, in milliseconds.
const REPORT_MS: u64 = 1_000;
/// How long after its last match a condition is over, where the rule does not say.
const QUIET: Duration = Duration::from_secs(600);
/// Most things whose last report is remembered.
const REPORTED_MAX: usize = 10_000;
/// How often counts that are over are forgotten, in milliseconds.
const FORGET_MS: u64 = 60_000;
/// Under this name is kept what was seen so far; under the others what counts, by rule and key.
const SEEN: &str = "seen";
const COUNT: &str = "count:";

/// What a rule looks for in the lines that fit it.
#[derive(Debug)]
enum Looks {
    Match,
    Rate(Rates<Key>),
    Silence(Silence),
    Sequence(Waits),
}

/// What was seen of a log since it was first watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// Times by the boot clock count only within this life of the machine.
    boot: String,
    lines: u64,
    /// Matches by rule.
    matches: BTreeMap<String, u64>,
    /// For each rule of silence, when it was last broken.
    heard: BTreeMap<String, super::silence::Moment>,
}

/// What one log's lines come to.
#[derive(Debug)]
pub(super) struct Judge {
    name: String,
    rules: Rules,
    looks: Vec<Looks>,
    /// When something was reported last, by rule and subject.
    reported: BTreeMap<(usize, Subject), u64>,
    seen: Seen,
    changed: bool,
    forgot_ms: u64,
    pub reports: Vec<Report>,
    /// What is kept and cannot be used any more.
    forgotten: Vec<String>,
    metrics: Metrics,
}

impl Judge {
    /// Takes up what was counted.
    pub(super) fn new(
        name: &str,
        rules: Rules,
        kept: &BTreeMap<String, String>,
        metrics: &Metrics,
        now_ms: u64,
    ) -> Self {
        let boot = boot_id();
        let mut seen: Seen = kept.get(SEEN).and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
        let same_boot = seen.boot == boot;
        seen.boot = boot;
        let looks = rules.all().iter().map(|rule| {
            let heard = seen.heard.get(rule.name.as_str()).map(|moment| moment.here(same_boot, now_ms));
            match (&rule.rate, &rule.silence, &rule.unless) {
                (Some(rate), _, _) => Looks::Rate(Rates::new(*rate.count as usize, rate.within.ms())),
                (_, Some(after), _) => Looks::Silence(Silence::new(after.ms(), heard.unwrap_or(now_ms))),
                (_, _, Some(unless)) => Looks::Sequence(Waits::new(unless.within.ms())),
                _ => Looks::Match,
            }
        });
        let mut judge = Self {
            name: name.to_owned(),
            looks: looks.collect(),
            rules,
            reported: BTreeMap::new(),
            seen,
            changed: true,
            forgot_ms: now_ms,
            reports: Vec::new(),
            forgotten: Vec::new(),
            metrics: metrics.clone(),
        };
        for (name, text) in kept {
            let Some(rest) = name.strip_prefix(COUNT) else { continue };
            if !(same_boot && judge.restore(rest, text)) {
                judge.forgotten.push(name.clone());
            }
        }
        judge
    }

    fn restore(&mut self, name: &str, text: &str) -> bool {
        let rule = name.rsplit_once(':').map(|(rule, _)| rule);
        let at = self.rules.all().iter().position(|r| Some(r.name.as_str()) == rule);
        match at.map(|at| &mut self.looks[at]) {
            Some(Looks::Rate(rates)) => rates.restore(text),
            Some(Looks::Sequence(waits)) => waits.restore(text),
            _ => false,
        }
    }

    /// Says whether a name under which something is kept is one of these.
    pub(super) fn keeps(name: &str) -> bool {
        name == SEEN || name.starts_with(COUNT)
    }

    /// Takes lines as they are read.
    pub(super) fn take(&mut self, lines: &Lines<'_>, now_ms: u64) {
        let mut hits = Vec::new();
        let asked = self.rules.find(lines.text, lines.records, now_ms, &mut |hit| hits.push(hit));
        let count = memchr::memchr_iter(b'\n', lines.text).count().max(1) as u64;
        self.seen.lines += count;
        self.changed = true;
        let metrics = &self.metrics.logs;
        metrics.lines.with_label_values(&[&self.name]).inc_by(count);
        if !lines.text.is_ascii() {
            metrics.not_text.with_label_values(&[&self.name]).inc_by(lines_not_text(lines.text));
        }
        for (rule, used_us) in asked.used_us {
            let label = label(&self.name, self.rules.rule(rule));
            metrics.rule_cpu.with_label_values(&[&label]).inc_by(used_us as f64 / 1e6);
        }
        for rule in asked.paused {
            metrics
                .rule_skipped
                .with_label_values(&[&label(&self.name, self.rules.rule(rule))])
                .inc_by(count);
        }
        for (rule, looks) in self.looks.iter_mut().enumerate() {
            let any_line = self.rules.rule(rule).all_patterns().next().is_none();
            if let (true, Looks::Silence(silence)) = (any_line, looks) {
                silence.heard(now_ms);
            }
        }
        hits.into_iter().for_each(|hit| self.hit(hit, now_ms));
    }

    fn hit(&mut self, hit: Hit, now_ms: u64) {
        let index = hit.rule;
        let rule = self.rules.rule(index);
        if hit.rejected > 0 {
            let label = label(&self.name, rule);
            self.metrics.captures_rejected.with_label_values(&[&label]).inc_by(hit.rejected.into());
        }
        if !hit.unless {
            *self.seen.matches.entry(rule.name.to_string()).or_default() += 1;
        }
        let by = rule.rate.as_ref().and_then(|r| r.by.as_ref());
        let by = by.or(rule.unless.as_ref().and_then(|u| u.by.as_ref()));
        let key = by.map(|by| hit.values.get(&**by).cloned());
        if key == Some(None) {
            // What it is to be counted by was not of its type.
            return;
        }
        let key: Key = key.flatten();
        let reached = match &mut self.looks[index] {
            Looks::Silence(silence) => {
                silence.heard(now_ms);
                None
            }
            Looks::Sequence(waits) if hit.unless => {
                waits.came(&key, now_ms);
                None
            }
            Looks::Sequence(waits) => {
                if !waits.begin(key, hit.values, hit.line, now_ms) {
                    self.metrics.log_gaps.with_label_values(&[&self.name, "too-many-keys"]).inc();
                }
                return;
            }
            Looks::Match => Some(Reached { count: 1, lines: vec![hit.line.clone()] }),
            Looks::Rate(rates) => rates.note(key.clone(), hit.line.clone(), now_ms),
        };
        if let Some(reached) = reached {
            let words = Words { log: &self.name, rule: self.rules.rule(index), values: &hit.values };
            let subject = words.subject(&key);
            if reported_lately(&mut self.reported, index, &subject, now_ms) {
                return;
            }
            let fault = words.happened(subject, &reached);
            let rule = self.rules.rule(index);
            self.reports.push(Report::Happened { fault: Box::new(fault), quiet: quiet(rule) });
        }
    }

    /// Says what time alone brings about, once everything that was written is read.
    pub(super) fn due(&mut self, now_ms: u64) {
        if self.forgot_ms + FORGET_MS <= now_ms {
            self.forgot_ms = now_ms;
            for looks in &mut self.looks {
                if let Looks::Rate(rates) = looks {
                    rates.forget_over(now_ms);
                }
            }
        }
        for index in 0..self.looks.len() {
            let rule = self.rules.rule(index);
            match &mut self.looks[index] {
                Looks::Silence(silence) => {
                    let words = Words { log: &self.name, rule, values: &BTreeMap::new() };
                    match silence.news(now_ms) {
                        Some(Some(silent_ms)) => {
                            let fault = words.silent(silent_ms);
                            self.reports.push(Report::holds(fault, Tolerance::NONE));
                        }
                        Some(None) => self.reports.push(Report::over(&words.id(), words.subject(&None))),
                        None => {}
                    }
                }
                Looks::Sequence(waits) => {
                    for (key, waiting) in waits.over(now_ms) {
                        let words = Words { log: &self.name, rule, values: &waiting.values };
                        let fault = words.missing(words.subject(&key), waiting.line.clone());
                        self.reports.push(Report::Happened { fault: Box::new(fault), quiet: quiet(rule) });
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn gap(&self, gap: Gap, count: u64) {
        self.metrics.log_gaps.with_label_values(&[self.name.as_str(), gap.label()]).inc_by(count);
    }

    /// Says which rules have used up their time, for the state of the source, and in a metric.
    pub(super) fn troubles(&self) -> Vec<String> {
        let mut paused = Vec::new();
        for rule in self.rules.paused() {
            let label = label(&self.name, rule);
            paused.push(format!("rule {label} is paused: it took more processor time than it may"));
        }
        self.metrics.logs.paused.with_label_values(&[&self.name]).set(paused.len() as i64);
        paused
    }

    /// Returns what is to be kept since the last call; a name of nothing is to be forgotten.
    pub(super) fn changes(&mut self, now_ms: u64) -> Vec<(String, Option<String>)> {
        let mut changes: Vec<_> = self.forgotten.drain(..).map(|name| (name, None)).collect();
        for (index, looks) in self.looks.iter_mut().enumerate() {
            let rule = self.rules.rule(index).name.as_str();
            let rows = match looks {
                Looks::Rate(rates) => rates.changes(),
                Looks::Sequence(waits) => waits.changes(),
                Looks::Silence(silence) => {
                    let heard = super::silence::Moment::new(silence.heard_ms(), now_ms);
                    self.seen.heard.insert(rule.to_owned(), heard);
                    continue;
                }
                Looks::Match => continue,
            };
            changes.extend(rows.into_iter().map(|(key, text)| {
                let key = serde_json::to_string(&key).expect("a value has string keys and no floats");
                (format!("{COUNT}{rule}:{}", &Digest::of(key.as_bytes()).to_string()[..24]), text)
            }));
        }
        if std::mem::take(&mut self.changed) {
            let text =
                serde_json::to_string(&self.seen).expect("what was seen has string keys and no floats");
            changes.push((SEEN.into(), Some(text)));
        }
        changes
    }
}

fn label(log: &str, rule: &LogRule) -> String {
    format!("{log}.{}", *rule.name)
}

fn quiet(rule: &LogRule) -> Duration {
    let own = rule.quiet.as_ref().map(|quiet| quiet.0);
    own.or(rule.rate.as_ref().map(|rate| rate.within.0)).unwrap_or(QUIET)
}

fn reported_lately(
    reported: &mut BTreeMap<(usize, Subject), u64>,
    rule: usize,
    subject: &Subject,
    now_ms: u64,
) -> bool {
    if reported.len() >= REPORTED_MAX {
        reported.retain(|_, at_ms| *at_ms + REPORT_MS > now_ms);
    }
    let key = (rule, subject.clone());
    if reported.get(&key).is_some_and(|at_ms| *at_ms + REPORT_MS > now_ms) {
        return true;
    }
    reported.insert(key, now_ms);
    false
}

pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
