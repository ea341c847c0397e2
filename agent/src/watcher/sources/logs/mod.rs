//! Log files: lines that fit a rule, and rates of them. What is read and what follows from it is committed together,
//! so that after a crash no line counts twice and none is passed over. A restart forgets a rate that is still
//! counting.

mod cursor;
mod rates;
mod rules;
mod tailer;

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, Log, LogRule, Period};
use crate::watcher::clock;
use crate::watcher::metrics::Metrics;
use crate::watcher::report::{Fault, Report};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use rates::{Rates, Reached};
use rules::{Hit, Rules};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tailer::Tailer;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at where the kernel tells nothing, and places without news are kept.
const EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two reports of the same thing, in milliseconds.
const REPORT_MS: u64 = 1_000;
/// How long after its last match a condition is over, where the rule does not say.
const QUIET: Period = Period::secs(600);
/// Most things whose last report is remembered.
const REPORTED_MAX: usize = 10_000;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let (logs, metrics, afresh) = (config.logs.clone(), context.metrics.clone(), context.afresh.clone());
    (!logs.is_empty()).then(|| Box::new(Logs { logs, metrics, afresh }) as Box<dyn Source>)
}

struct Logs {
    logs: Vec<Log>,
    metrics: Metrics,
    afresh: Afresh,
}

impl Source for Logs {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let kept = sink.cursors().map_err(SourceFailed)?;
            let logs = self.logs.iter().map(|log| Watched::new(log, &kept, &self.metrics));
            let logs = logs.collect::<Result<Vec<_>, _>>()?;
            follow(logs, &sink, &self.afresh, &stop).await
        })
    }
}

async fn follow(
    mut logs: Vec<Watched>,
    sink: &Sink,
    afresh: &Afresh,
    stop: &CancellationToken,
) -> Result<(), SourceFailed> {
    let (mut asked, mut wake) = (afresh.asked(), Wake::new());
    let mut settled = false;
    let mut kept_at_ms = 0;
    loop {
        wake.forget_missing();
        logs.iter().flat_map(|log| log.tailer.folders()).for_each(|folder| wake.watch(&folder, false));
        let looked = tokio::task::spawn_blocking(move || {
            let mut more = false;
            for log in &mut logs {
                more |= log.look(clock::boot_ms());
            }
            (logs, more)
        });
        let (back, more) = looked.await.map_err(|e| SourceFailed::new("read the logs", &e))?;
        logs = back;
        let now_ms = clock::boot_ms();
        let reports: Vec<Report> = logs.iter_mut().flat_map(|log| log.reports.drain(..)).collect();
        if !reports.is_empty() || now_ms - kept_at_ms >= EVERY.as_millis() as u64 {
            let places: Vec<_> = logs.iter_mut().flat_map(Watched::places).collect();
            if !reports.is_empty() || !places.is_empty() {
                sink.commit(reports, places).await?;
            }
            kept_at_ms = now_ms;
        }
        if !settled {
            sink.settled().await?;
            settled = true;
        }
        if more {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = wake.changed() => {}
            () = tokio::time::sleep(EVERY) => {}
            Ok(()) = asked.changed() => sink.report(Report::LookedAfresh).await?,
        }
    }
}

/// By what a rate counts: the value of a capture, or all alike.
type Key = Option<Value>;

/// One log, its rules, and what they have counted.
struct Watched {
    name: String,
    tailer: Tailer,
    rules: Rules,
    rates: BTreeMap<usize, Rates<Key>>,
    /// When something was reported last, by rule and subject.
    reported: BTreeMap<(usize, Subject), u64>,
    reports: Vec<Report>,
    metrics: Metrics,
}

impl Watched {
    fn new(log: &Log, kept: &BTreeMap<String, String>, metrics: &Metrics) -> Result<Self, SourceFailed> {
        let name = log.name.to_string();
        let prefix = format!("{name}/");
        let own = kept.iter().filter_map(|(n, v)| Some((n.strip_prefix(&prefix)?.to_owned(), v.clone())));
        let rates = log.rules.iter().enumerate().filter_map(|(index, rule)| {
            let rate = rule.rate.as_ref()?;
            Some((index, Rates::new(*rate.count as usize, rate.within.ms())))
        });
        Ok(Self {
            tailer: Tailer::new(log.paths.iter().map(|p| (**p).clone()).collect(), &own.collect()),
            rules: Rules::new(log)
                .map_err(|e| SourceFailed::new(&format!("prepare the rules of log {name}"), &e))?,
            rates: rates.collect(),
            reported: BTreeMap::new(),
            reports: Vec::new(),
            metrics: metrics.clone(),
            name,
        })
    }

    /// Reads what is new; returns whether there is more.
    fn look(&mut self, now_ms: u64) -> bool {
        let mut hits = Vec::new();
        let rules = &self.rules;
        let looked = self.tailer.look(now_ms, &mut |lines| rules.find(lines, &mut |hit| hits.push(hit)));
        self.metrics.log_lines.with_label_values(&[&self.name]).inc_by(looked.lines);
        for (gap, count) in looked.gaps {
            self.metrics.log_gaps.with_label_values(&[self.name.as_str(), gap.label()]).inc_by(count);
        }
        for hit in hits {
            self.take(hit, now_ms);
        }
        looked.more
    }

    /// Returns the places to keep, under names of this log.
    fn places(&mut self) -> Vec<(String, Option<String>)> {
        let name = &self.name;
        self.tailer.changes().into_iter().map(|(place, text)| (format!("{name}/{place}"), text)).collect()
    }

    fn take(&mut self, hit: Hit, now_ms: u64) {
        let rule = self.rules.rule(hit.rule).clone();
        if hit.rejected > 0 {
            let label = format!("{}.{}", self.name, *rule.name);
            self.metrics.captures_rejected.with_label_values(&[&label]).inc_by(hit.rejected.into());
        }
        let by = rule.rate.as_ref().and_then(|rate| rate.by.as_ref());
        let key = by.map(|by| hit.values.get(&**by).cloned());
        if key == Some(None) {
            // What it is to be counted by was not of its type.
            return;
        }
        let key: Key = key.flatten();
        let reached = match self.rates.get_mut(&hit.rule) {
            None => Some(Reached { count: 1, lines: vec![hit.line.clone()] }),
            Some(rates) => rates.note(key.clone(), hit.line.clone(), now_ms),
        };
        let Some(reached) = reached else { return };
        let subject = match &key {
            Some(Value::Ip(address)) => Subject::Address(*address),
            _ => Subject::Check((*rule.name).clone()),
        };
        if self.reported_lately(hit.rule, &subject, now_ms) {
            return;
        }
        let fault = self.fault(&rule, subject, hit, reached);
        let quiet = rule.quiet.as_ref().map(|q| **q);
        let quiet = quiet.or(rule.rate.as_ref().map(|rate| *rate.within)).unwrap_or(QUIET);
        self.reports.push(Report::Happened { fault: Box::new(fault), quiet: quiet.0 });
    }

    fn reported_lately(&mut self, rule: usize, subject: &Subject, now_ms: u64) -> bool {
        if self.reported.len() >= REPORTED_MAX {
            self.reported.retain(|_, at_ms| *at_ms + REPORT_MS > now_ms);
        }
        let key = (rule, subject.clone());
        if self.reported.get(&key).is_some_and(|at_ms| *at_ms + REPORT_MS > now_ms) {
            return true;
        }
        self.reported.insert(key, now_ms);
        false
    }

    fn fault(&self, rule: &LogRule, subject: Subject, hit: Hit, reached: Reached) -> Fault {
        let id = format!("logs.{}.{}", self.name, *rule.name);
        let mut fault = match &rule.rate {
            None => {
                let text = format!("{}: a line fits {}", self.name, *rule.name);
                Fault::new(&id, "log.match", subject, *rule.severity, text)
            }
            Some(rate) => {
                let within_s = rate.within.0.as_secs();
                let of = match &subject {
                    Subject::Address(address) => format!(" from {address}"),
                    _ => String::new(),
                };
                let (name, rule_name) = (&self.name, &*rule.name);
                let text = format!("{name}: {rule_name} {} times within {within_s} s{of}", reached.count);
                let mut fault = Fault::new(&id, "log.rate", subject, *rule.severity, text);
                fault.integer("count", reached.count);
                fault.integer("within_s", within_s);
                fault
            }
        };
        let constants = rule.fields.iter().map(|(name, value)| (name, (**value).clone()));
        for (name, value) in constants.chain(hit.values.iter().map(|(name, value)| (name, value.clone()))) {
            fault.field(name.as_str(), value);
        }
        fault.show("lines", &reached.lines.join("\n"));
        fault
    }
}

#[cfg(test)]
mod tests;
