//! Checks: programs of the administrator's, plugins of Nagios' kind, and the agent's own probes, run at intervals or
//! by the calendar, at once when their files change, and when asked for. What they see becomes conditions, numbers
//! and the day's inspection report.

mod book;
mod by;
mod command;
mod hands;
mod metrics;
mod one;
mod perfdata;
mod plugin;
mod probes;
mod schedule;
mod seen;

pub use command::{CheckArguments, check};
pub use hands::{HandArguments, hand};
pub use metrics::CheckMetrics;

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Check, Config};
use crate::watcher::clock;
use crate::watcher::metrics::Metrics;
use crate::watcher::report::{Fault, Report, SourceState};
use crate::watcher::sink::{Afresh, Sink};
use book::{Book, Entry};
use by::By;
use chrono::{DateTime, Local};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use one::{One, Outcome, Permits, What};
use schedule::Schedule;
use seen::{Seen, one_line, reports};
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::inspection::{Day, Verdict};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::Word;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Most programs, and most probes, that run at a time.
const PROGRAMS_MAX: usize = 4;
const PROBES_MAX: usize = 16;
/// Most outcomes that wait to be reported.
const OUTCOMES_MAX: usize = 64;
/// How often it is looked whether another day has begun and the book is to be saved.
const ROUND: Duration = Duration::from_secs(20);

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let checks: Vec<_> = config.checks.iter().cloned().map(Arc::new).collect();
    let (metrics, afresh) = (context.metrics.clone(), context.afresh.clone());
    let (by, host) = (By::Runner(config.runtime_dir.path().into()), (*config.host).clone());
    (!checks.is_empty()).then(|| Box::new(Checks { checks, host, metrics, afresh, by }) as Box<dyn Source>)
}

struct Checks {
    checks: Vec<Arc<Check>>,
    host: HostId,
    metrics: Metrics,
    afresh: Afresh,
    by: By,
}

impl Source for Checks {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            self.metrics.checks.begin();
            let (to, outcomes) = mpsc::channel(OUTCOMES_MAX);
            let permits = Permits::new(PROGRAMS_MAX, PROBES_MAX);
            let schedules: Vec<_> = self.checks.iter().map(|check| Schedule::of(check, &self.host)).collect();
            let entries: Vec<_> = self.checks.iter().zip(&schedules).map(|(c, s)| entry(c, s)).collect();
            let saved = sink.cursors().map_err(|e| SourceFailed::new("read what the checks said", &e))?;
            let now = clock::now();
            let book = Book::open(&saved, &entries, &today(now), now);
            // All in one task: those that are due together wake the process once.
            let looking = FuturesUnordered::new();
            for (check, schedule) in self.checks.iter().cloned().zip(schedules) {
                let (page, to, permits) = (book.page(&check.name).cloned(), to.clone(), permits.clone());
                let one = One { check, schedule, by: self.by.clone(), permits, page, to };
                looking.push(one.follow(self.afresh.clone()));
            }
            drop(to);
            let mut told = Teller::new(&self.checks, book, self.metrics.clone(), sink);
            let ended = stop.run_until_cancelled(told.tell(looking, outcomes)).await;
            // What was counted since the last save; whoever stops the agent waits for it a moment.
            told.save().await?;
            ended.unwrap_or(Ok(()))
        })
    }
}

fn entry(check: &Check, schedule: &Schedule) -> Entry {
    let config = Digest::of(format!("{check:?}").as_bytes()).short();
    let kind = Word::new(check.kind().name()).expect("kinds of checks are words");
    Entry { name: (*check.name).clone(), kind, schedule: schedule.words().to_owned(), config }
}

/// Returns the day by the calendar of the place.
fn today(now: Timestamp) -> Day {
    let local = DateTime::from_timestamp_millis(now.0).unwrap_or_default().with_timezone(&Local);
    let text = local.format("%Y-%m-%d").to_string();
    // Before the year 0 and after the year 9999 there is no day that could be told.
    Day::new(text).unwrap_or_else(|_| Day::new("1970-01-01").expect("a day"))
}

/// Passes on what the checks see, and keeps the book.
struct Teller {
    checks: BTreeMap<Word, Arc<Check>>,
    book: Book,
    metrics: Metrics,
    sink: Sink,
    /// Checks that cannot look, and why.
    blind: BTreeMap<Word, String>,
    /// Checks of which all was said to be well, so that nothing is to be said while it stays so.
    quiet: BTreeSet<Word>,
    /// When a fault of a check that counts its failures was said last, by the boot clock.
    failed_ms: BTreeMap<Word, u64>,
    /// A minute of the wall clock and its day; days change between minutes.
    day: (i64, Day),
}

impl Teller {
    fn new(checks: &[Arc<Check>], book: Book, metrics: Metrics, sink: Sink) -> Self {
        let checks = checks.iter().map(|check| ((*check.name).clone(), Arc::clone(check))).collect();
        let (blind, quiet, failed_ms) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let day = (0, today(Timestamp(0)));
        Self { checks, book, metrics, sink, blind, quiet, failed_ms, day }
    }

    /// Lets the checks look, and says what they see: of those that looked together in one message.
    async fn tell(
        &mut self,
        mut looking: FuturesUnordered<impl Future<Output = ()>>,
        mut outcomes: mpsc::Receiver<Outcome>,
    ) -> Result<(), SourceFailed> {
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut heard, mut batch) = (BTreeSet::new(), Vec::new());
        let mut settled = false;
        loop {
            tokio::select! {
                biased;
                Some(()) = looking.next() => return Err(SourceFailed("a check ended".into())),
                _ = outcomes.recv_many(&mut batch, OUTCOMES_MAX) => {}
                _ = round.tick() => {
                    self.turn().await?;
                    continue;
                }
            }
            let blind_before = self.blind.clone();
            let mut reports = Vec::new();
            for outcome in batch.drain(..) {
                let first = heard.insert(outcome.name.clone());
                self.take(outcome, first, &mut reports);
            }
            let all = heard.len() == self.checks.len();
            if all && !settled {
                reports.push(Report::Settled);
            }
            self.sink.report_all(reports).await?;
            if all && (self.blind != blind_before || !settled) {
                self.sink.state(self.state()).await?;
            }
            if all && !settled {
                settled = true;
                self.turn().await?;
            }
        }
    }

    fn state(&self) -> SourceState {
        let told: Vec<_> = self.blind.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        if told.is_empty() { SourceState::Well } else { SourceState::Broken(told.join("; ")) }
    }

    /// Takes what one check has to tell; `first` since the source began.
    fn take(&mut self, outcome: Outcome, first: bool, told: &mut Vec<Report>) {
        let Outcome { name, at, what, missed, afresh } = outcome;
        let Some(check) = self.checks.get(&name).cloned() else { return };
        let minute = at.0.div_euclid(60_000);
        if self.day.0 != minute {
            self.day = (minute, today(at));
        }
        if let Some(whole) = self.book.turn(&self.day.1, at) {
            told.push(Report::Inspected(Box::new(whole)));
        }
        if missed > 0 {
            tracing::warn!(check = %name, missed, "runs were due and did not happen");
            self.book.missed(&name, missed);
            self.metrics.checks.missed(name.as_str(), missed);
        }
        let faults = match what {
            What::Ran { seen, faults, took } => {
                self.blind.remove(&name);
                self.count(&name, seen.verdict.word());
                self.metrics.checks.ran(name.as_str(), &seen, at, took);
                self.book.ran(&name, &seen, Some(faults.clone()), at);
                Some(faults)
            }
            What::Blind(reason) => self.blind(&name, reason, at, first),
            What::Stands { faults } => {
                if let Some(page) = self.book.page(&name) {
                    let (verdict, last_at) = (page.inspected.verdict, page.inspected.last_at);
                    self.metrics.checks.stands(name.as_str(), verdict.unwrap_or(Verdict::Unknown), last_at);
                }
                // While it goes on nothing has changed, and a repetition would count as another failure.
                first.then_some(faults)
            }
        };
        if let Some(faults) = faults
            && self.is_news(&check, faults.is_empty(), clock::boot_ms())
        {
            told.extend(reports(&check, &faults));
        }
        if afresh {
            told.push(Report::LookedAfresh);
        }
    }

    /// Says whether there is anything to say of a check: not that all is well of one that was well before.
    fn is_news(&mut self, check: &Check, well: bool, now_ms: u64) -> bool {
        let name = &*check.name;
        if !well {
            self.quiet.remove(name);
            if check.failures.is_some() {
                self.failed_ms.insert(name.clone(), now_ms);
            }
            return true;
        }
        // What is counted is over only when the failures are too far back; that must be said then.
        let within_ms = check.failures.as_ref().map_or(0, |failures| failures.within.ms());
        if self.failed_ms.get(name).is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) <= within_ms) {
            return true;
        }
        self.failed_ms.remove(name);
        self.quiet.insert(name.clone())
    }

    /// Notes that a check cannot look. That is no fault of what it looks at; what was known of that before stays, and
    /// is said once, so that a restart does not take it for over.
    fn blind(&mut self, name: &Word, reason: String, at: Timestamp, first: bool) -> Option<Vec<Fault>> {
        self.count(name, "not-started");
        let seen = Seen { verdict: Verdict::Unknown, ..Seen::well(one_line(&reason)) };
        self.metrics.checks.stands(name.as_str(), Verdict::Unknown, Some(at));
        let before = self.book.page(name).map(|page| page.faults.clone());
        self.book.ran(name, &seen, None, at);
        self.blind.insert(name.clone(), reason);
        before.filter(|faults| first && !faults.is_empty())
    }

    fn count(&self, name: &Word, result: &str) {
        self.metrics.check_runs.with_label_values(&[name.as_str(), result]).inc();
    }

    /// Sends what is due of the day's report, and saves the book from time to time.
    async fn turn(&mut self) -> Result<(), SourceFailed> {
        let now = clock::now();
        let whole = self.book.turn(&today(now), now);
        let first = self.book.first_report(now);
        let reports: Vec<_> =
            whole.into_iter().chain(first).map(|report| Report::Inspected(Box::new(report))).collect();
        // The report and that it was sent are durable together.
        if !reports.is_empty() || self.book.due(now) {
            let cursors = self.book.save(now);
            self.sink.commit(reports, cursors).await?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), SourceFailed> {
        let cursors = self.book.save(clock::now());
        Ok(self.sink.commit(Vec::new(), cursors).await?)
    }
}

#[cfg(test)]
mod tests;
