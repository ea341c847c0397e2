//! Faults that the host's numbers show: rules of the administrator over any metric, and what [`builtin`] knows by
//! itself. Also says how the telling of the metrics goes: files that cannot be used, rules that find no sample.

mod builtin;
mod judge;
mod series;

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, MetricRule, Metrics as Settings};
use crate::watcher::clock;
use crate::watcher::metrics::Metrics;
use crate::watcher::node::out::{Picked, Sample};
use crate::watcher::report::{Report, SourceState, Tolerance, bounded};
use crate::watcher::sink::{Afresh, Sink};
use builtin::{LEAKING, RUNAWAY};
use judge::Held;
use sopwith_domain::signal::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often something that holds is said anew with its present value.
const SAY_EVERY_MS: u64 = 15_000;
/// How often units and processes are looked at, at most; the look itself may take longer pauses.
const USAGE_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked how the telling goes.
const STATE_EVERY_MS: u64 = 10_000;
/// Most samples of all rules that are kept in mind.
const HELD_MAX: usize = 5_000;
const STATE_BYTES_MAX: usize = 512;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let (settings, metrics) = (config.metrics.clone(), context.metrics.clone());
    Some(Box::new(Numbers { settings, metrics, afresh: context.afresh.clone() }))
}

struct Numbers {
    settings: Settings,
    metrics: Metrics,
    afresh: Afresh,
}

impl Source for Numbers {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let afresh = self.afresh.clone();
            let watched = Watched {
                settings: self.settings,
                metrics: self.metrics,
                sink,
                held: BTreeMap::new(),
                look: 0,
                forgotten: 0,
                units: builtin::Units::default(),
                runaways: BTreeSet::new(),
                silent: Vec::new(),
                state: SourceState::Well,
                state_ms: 0,
            };
            watched.follow(&afresh, &stop).await
        })
    }
}

/// A rule's number and the labels of a sample.
type Key = (usize, Vec<(String, String)>);

struct Watched {
    settings: Settings,
    metrics: Metrics,
    sink: Sink,
    held: BTreeMap<Key, Held>,
    look: u64,
    /// Samples for which there was no room at the last look.
    forgotten: usize,
    units: builtin::Units,
    runaways: BTreeSet<Subject>,
    /// Rules that no sample fits.
    silent: Vec<String>,
    state: SourceState,
    state_ms: u64,
}

impl Watched {
    async fn follow(mut self, afresh: &Afresh, stop: &CancellationToken) -> Result<(), SourceFailed> {
        let mut asked = afresh.asked();
        self.judge_rules(true).await?;
        self.judge_usage().await?;
        self.sink.settled().await?;
        self.tell_state().await?;
        let mut rules = tokio::time::interval(self.settings.every.0);
        let mut usage = tokio::time::interval(USAGE_EVERY);
        for interval in [&mut rules, &mut usage] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval.reset();
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = rules.tick(), if !self.settings.rules.is_empty() => self.judge_rules(false).await?,
                _ = usage.tick() => {
                    self.judge_usage().await?;
                    self.tell_state().await?;
                }
                Ok(()) = asked.changed() => {
                    self.judge_rules(true).await?;
                    self.sink.report(Report::LookedAfresh).await?;
                }
            }
        }
    }

    /// Judges every sample that a rule takes.
    async fn judge_rules(&mut self, anew: bool) -> Result<(), SourceFailed> {
        if self.settings.rules.is_empty() {
            return Ok(());
        }
        let both = |rule: &MetricRule| {
            let names = [Some(rule.metric.name.clone()), rule.per.as_ref().map(|per| per.name.clone())];
            names.into_iter().flatten().collect::<Vec<_>>()
        };
        let names: BTreeSet<String> = self.settings.rules.iter().flat_map(both).collect();
        let picked = self.metrics.node.pick(names.into_iter().collect()).await;
        let picked = picked.map_err(|e| SourceFailed::new("read the host's metrics", &e))?;
        let reports = self.judge(&picked, clock::boot_ms(), anew);
        Ok(self.sink.report_all(reports).await?)
    }

    fn judge(&mut self, picked: &Picked, now_ms: u64, anew: bool) -> Vec<Report> {
        let mut reports = Vec::new();
        self.look += 1;
        (self.forgotten, self.silent) = (usize::try_from(picked.left_out).unwrap_or(usize::MAX), Vec::new());
        for (number, rule) in self.settings.rules.iter().enumerate() {
            let takes =
                |sample: &&Sample| sample.name == rule.metric.name && rule.metric.takes(&sample.labels);
            let mut any = false;
            for sample in picked.samples.iter().filter(takes) {
                any = true;
                let Some(value) = divided(rule, sample, &picked.samples) else { continue };
                let key = (number, sample.labels.clone());
                if !self.held.contains_key(&key) && self.held.len() >= HELD_MAX {
                    self.forgotten += 1;
                    continue;
                }
                let held = self.held.entry(key).or_insert_with(|| Held::of(rule));
                held.seen = self.look;
                reports.extend(report(rule, sample, held, value, now_ms, anew));
            }
            if !any {
                self.silent.push(rule.name.to_string());
            }
        }
        // A sample that is not there any more is no fault.
        let (look, rules) = (self.look, &self.settings.rules);
        self.held.retain(|(number, labels), held| {
            if held.seen != look && held.held_ms.is_some() {
                let sample = Sample { name: String::new(), labels: labels.clone(), value: 0.0 };
                let subject = judge::subject(&rules[*number], &sample);
                reports.push(Report::over(&judge::rule_id(&rules[*number]), subject));
            }
            held.seen == look
        });
        reports
    }

    /// Looks at units and processes.
    async fn judge_usage(&mut self) -> Result<(), SourceFailed> {
        let (leaks, config) = (&self.settings.leaks, &self.settings.runaways);
        let wanted = *config.cpu_percent > 0;
        let share = if wanted { f64::from(*config.cpu_percent) / 100.0 } else { f64::INFINITY };
        let seen = self.metrics.node.usage(share, config.over.0).await;
        let seen = seen.map_err(|e| SourceFailed::new("look at the processes", &e))?;
        let Some((memory, busy)) = seen else { return Ok(()) };
        let said = self.units.look(&memory, leaks, clock::boot_ms());
        let mut reports: Vec<Report> =
            said.over.into_iter().map(|subject| Report::over(LEAKING, subject)).collect();
        reports.extend(said.faults.into_iter().map(|fault| Report::holds(fault, Tolerance::NONE)));
        let faults = match busy.is_empty() {
            true => Vec::new(),
            false => builtin::runaways(&busy, config, user_name),
        };
        let now: BTreeSet<Subject> = faults.iter().map(|fault| fault.subject.clone()).collect();
        let over = self.runaways.difference(&now).cloned();
        reports.extend(over.map(|subject| Report::over(RUNAWAY, subject)));
        reports.extend(faults.into_iter().map(|fault| Report::holds(fault, Tolerance::NONE)));
        self.runaways = now;
        Ok(self.sink.report_all(reports).await?)
    }

    /// Says how the telling goes, when that has changed.
    async fn tell_state(&mut self) -> Result<(), SourceFailed> {
        let now_ms = clock::boot_ms();
        if self.state_ms + STATE_EVERY_MS > now_ms && self.state_ms != 0 {
            return Ok(());
        }
        self.state_ms = now_ms;
        let trouble = self.metrics.node.trouble().await;
        let trouble = trouble.map_err(|e| SourceFailed::new("read the host's metrics", &e))?;
        let state = match (trouble, self.forgotten, self.silent.is_empty()) {
            (Some(trouble), ..) => SourceState::Broken(bounded(&trouble, STATE_BYTES_MAX)),
            (None, 1.., _) => {
                SourceState::Broken(format!("the rules take {} samples too many", self.forgotten))
            }
            (None, 0, false) => {
                let text = format!("there is no sample for the rules {}", self.silent.join(", "));
                SourceState::Waiting(bounded(&text, STATE_BYTES_MAX))
            }
            (None, 0, true) => SourceState::Well,
        };
        if state != self.state {
            // What was broken is well again, even if something is waited for.
            if matches!(self.state, SourceState::Broken(_)) {
                self.sink.state(SourceState::Well).await?;
            }
            self.sink.state(state.clone()).await?;
            self.state = state;
        }
        Ok(())
    }
}

/// Returns what is to be said of a sample, if anything is.
fn report(
    rule: &MetricRule,
    sample: &Sample,
    held: &mut Held,
    value: f64,
    now_ms: u64,
    anew: bool,
) -> Option<Report> {
    let before = held.holds;
    let verdict = held.judge(rule, value, now_ms)?;
    if verdict.holds {
        let counted = rule.times.is_some();
        let due = held.said_ms.is_none_or(|at_ms| at_ms + SAY_EVERY_MS <= now_ms);
        if before && !counted && !due && !anew {
            return None;
        }
        held.said_ms = Some(now_ms);
        let tolerance = match &rule.times {
            Some(times) => Tolerance::Times { count: *times.count, within: times.within.0 },
            None => Tolerance::For(rule.tolerance.0),
        };
        return Some(Report::holds(judge::fault(rule, sample, &verdict), tolerance));
    }
    let held_ms = held.held_ms?;
    // What is counted is over only when the times are too far back; that must be said then.
    let counts_ms = rule.times.as_ref().map_or(0, |times| times.within.ms());
    if now_ms.saturating_sub(held_ms) > counts_ms {
        held.held_ms = None;
    }
    Some(Report::over(&judge::rule_id(rule), judge::subject(rule, sample)))
}

/// Returns what a rule compares: the value, or its part of another.
fn divided(rule: &MetricRule, sample: &Sample, all: &[Sample]) -> Option<f64> {
    let Some(per) = &rule.per else { return Some(sample.value) };
    let mut fitting = all.iter().filter(|other| other.name == per.name && per.takes(&other.labels));
    let same = fitting.clone().find(|other| other.labels == sample.labels);
    let whole = same.or_else(|| fitting.next().filter(|_| fitting.next().is_none()))?.value;
    (whole != 0.0).then(|| sample.value / whole)
}

/// Returns a user's name from this host's own list.
fn user_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let wanted = uid.to_string();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|parts| parts.get(2) == Some(&wanted.as_str()))?;
    found.first().map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests;
