//! The watcher's main loop: takes what the sources say, lets the conditions decide what follows, and writes it to
//! the spool, together with the cursors, in one transaction. Nothing is sent from here and nothing waits here but
//! for the disk.

use super::clock;
use super::conditions::{Conditions, Emit, Kept};
use super::evidence::Evidencer;
use super::metrics::Metrics;
use super::notify::Notifier;
use super::report::{Fault, Look, Report, SourceState, Tolerance};
use super::sink::{Message, SharedSpool};
use super::spool::{Entry, SpoolError};
use sopwith_domain::command::Item;
use sopwith_domain::declaration::Declarations;
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::signal::{Condition, Severity, Signal, Subject};
use sopwith_domain::value::Word;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Most messages that share one transaction.
const MESSAGES_AT_ONCE: usize = 256;
/// Longest time between two rounds of the loop, which also feeds the watchdog.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// Pause before a full disk is tried again. Sources wait meanwhile; logs and units keep what they have.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// How long a source must have been broken before it is a fault: runner and watcher start at the same time.
const BROKEN_TOLERANCE: Duration = Duration::from_secs(5);
/// Under this name conditions about sources are kept.
const ABOUT_SOURCES: &str = "sources";

/// A run and what it touches.
type Touching = (Digest, Vec<Subject>);

/// Runs under way on this host and what they touch.
#[derive(Clone, Debug, Default)]
pub struct ActiveRuns(Arc<RwLock<Vec<Touching>>>);

impl ActiveRuns {
    pub fn set(&self, runs: Vec<Touching>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = runs;
    }

    /// Returns the run that touches what a signal is about.
    pub fn on(&self, subject: &Subject) -> Option<Digest> {
        let runs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let touches = |touched: &Subject| touched.covers(subject) || subject.covers(touched);
        runs.iter().find(|(_, subjects)| subjects.iter().any(touches)).map(|(run, _)| *run)
    }
}

/// How each source is, for people.
#[derive(Clone, Debug, Default)]
pub struct SourceStates(Arc<Mutex<BTreeMap<&'static str, SourceState>>>);

impl SourceStates {
    pub fn all(&self) -> BTreeMap<&'static str, SourceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn set(&self, source: &'static str, state: SourceState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(source, state);
    }
    /// Forgets all but these.
    pub fn retain(&self, sources: &[&str]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| sources.contains(name));
    }
}

/// What the keeper works with.
#[derive(Debug)]
pub struct Keeper {
    pub host: HostId,
    pub spool: SharedSpool,
    pub metrics: Metrics,
    pub states: SourceStates,
    pub active: ActiveRuns,
    /// Told the number of the newest item.
    pub head: watch::Sender<u64>,
    pub evidencer: Evidencer,
    pub notifier: Notifier,
    /// Sources that are there; conditions of others are over.
    pub sources: watch::Receiver<Vec<&'static str>>,
    /// What the host said of itself last.
    pub declared: Option<Declarations>,
}

/// What one round writes.
#[derive(Default)]
struct Round {
    entry: Entry,
    done: Vec<oneshot::Sender<()>>,
    looks: Vec<(Look, Fault)>,
}

impl Round {
    /// Says whether the last word of this round about a fingerprint is that it holds.
    fn raises(&self, signal: &Signal) -> bool {
        let last = self.entry.items.iter().rev().find_map(|item| match item {
            Item::Signal { signal: said } if said.rule == signal.rule && said.subject == signal.subject => {
                Some(said.condition == Condition::Raised)
            }
            _ => None,
        });
        last.unwrap_or(false)
    }
}

impl Keeper {
    /// Runs until it is stopped and everything that was said before is written.
    ///
    /// # Errors
    /// The spool is broken: the process must end and look afresh.
    pub async fn run(
        mut self,
        mut from: mpsc::Receiver<Message>,
        stop: CancellationToken,
    ) -> Result<(), SpoolError> {
        let mut conditions = self.restored()?;
        let mut messages = Vec::new();
        loop {
            self.notifier.alive();
            let now_ms = clock::boot_ms();
            let wait = conditions.next_due_ms(now_ms).map_or(ROUND_MAX, |at_ms| {
                Duration::from_millis(at_ms.saturating_sub(now_ms)).min(ROUND_MAX)
            });
            let mut round = Round::default();
            let stopping = tokio::select! {
                count = from.recv_many(&mut messages, MESSAGES_AT_ONCE) => count == 0,
                () = tokio::time::sleep(wait) => false,
                Ok(()) = self.sources.changed() => {
                    let sources = self.sources.borrow_and_update().clone();
                    self.states.retain(&sources);
                    let retired = conditions.retire(&sources, ABOUT_SOURCES);
                    self.tell(&conditions, ABOUT_SOURCES, retired, &mut round)?;
                    false
                }
                () = stop.cancelled() => {
                    from.close();
                    from.recv_many(&mut messages, MESSAGES_AT_ONCE).await == 0
                }
            };
            let now_ms = clock::boot_ms();
            for message in messages.drain(..) {
                self.take(&mut conditions, message, now_ms, &mut round)?;
            }
            let due = conditions.due(now_ms);
            self.tell(&conditions, "time", due, &mut round)?;
            self.write(round).await?;
            self.metrics.conditions.set(i64::try_from(conditions.raised()).unwrap_or(i64::MAX));
            let refused = conditions.overflowed() - self.metrics.conditions_refused.get();
            self.metrics.conditions_refused.inc_by(refused);
            if stopping {
                return Ok(());
            }
        }
    }

    fn restored(&self) -> Result<Conditions, SpoolError> {
        let mut conditions = Conditions::default();
        let now_ms = clock::boot_ms();
        for body in self.spool.lock().conditions()? {
            match serde_json::from_str::<Kept>(&body) {
                Ok(kept) => conditions.restore(kept, now_ms),
                Err(e) => tracing::error!("a kept condition cannot be read and is looked for anew: {e}"),
            }
        }
        // Each source says itself when it is well again.
        conditions.trust(ABOUT_SOURCES);
        Ok(conditions)
    }

    fn take(
        &mut self,
        conditions: &mut Conditions,
        message: Message,
        now_ms: u64,
        round: &mut Round,
    ) -> Result<(), SpoolError> {
        let source = message.source;
        if message.begin {
            conditions.begin(source);
        }
        if let Some(state) = message.state {
            self.source_state(conditions, source, state, now_ms, round)?;
        }
        for report in message.reports {
            match &report {
                Report::Declared(declarations) => self.declare(declarations.clone(), round),
                Report::Inspected(report) => {
                    round.entry.items.push(Item::Inspection { report: report.clone() });
                }
                Report::BeginAgain => {
                    if let Some(declarations) = self.declared.clone() {
                        self.declare(declarations, round);
                    }
                }
                _ => {}
            }
            let look = match &report {
                Report::Holds { fault, look: Some(look), .. } => Some((look.clone(), (**fault).clone())),
                _ => None,
            };
            let said = conditions.take(source, report, now_ms);
            let fresh = said.iter().any(|e| e.condition == Condition::Raised && !e.again);
            round.looks.extend(look.filter(|_| fresh));
            self.tell(conditions, source, said, round)?;
        }
        let cursors = message.cursors.into_iter().map(|(name, value)| (source.to_owned(), name, value));
        round.entry.cursors.extend(cursors);
        round.done.extend(message.done);
        Ok(())
    }

    fn declare(&mut self, declarations: Declarations, round: &mut Round) {
        round.entry.items.push(Item::Declarations { declarations: declarations.clone() });
        self.declared = Some(declarations);
    }

    fn source_state(
        &mut self,
        conditions: &mut Conditions,
        source: &'static str,
        state: SourceState,
        now_ms: u64,
        round: &mut Round,
    ) -> Result<(), SpoolError> {
        let up = f64::from(u8::from(state == SourceState::Well));
        self.metrics.source_up.with_label_values(&[source]).set(up);
        let subject = Subject::Check(Word::new(source).expect("sources have names that are words"));
        let rule = format!("{ABOUT_SOURCES}.{source}");
        let report = match &state {
            SourceState::Starting | SourceState::Waiting(_) => None,
            SourceState::Well => Some(Report::over(&rule, subject)),
            SourceState::Broken(reason) => {
                tracing::warn!(source, "a source is broken: {reason}");
                let text = format!("the agent does not see {source}: {reason}");
                let fault = Fault::new(&rule, "source.broken", subject, Severity::Warning, text);
                Some(Report::holds(fault, Tolerance::For(BROKEN_TOLERANCE)))
            }
        };
        self.states.set(source, state);
        let said = report.map(|report| conditions.take(ABOUT_SOURCES, report, now_ms)).unwrap_or_default();
        self.tell(conditions, ABOUT_SOURCES, said, round)
    }

    /// Turns what is to be said into items of the spool.
    fn tell(
        &self,
        conditions: &Conditions,
        source: &str,
        said: Vec<Emit>,
        round: &mut Round,
    ) -> Result<(), SpoolError> {
        for emit in said {
            let (subject, rule) = (emit.fault.subject.clone(), emit.fault.rule.clone());
            let kept = conditions
                .kept(&subject, &rule)
                .map(|kept| serde_json::to_string(&kept).expect("a condition has string keys and no floats"));
            round.entry.conditions.push((rule.to_string(), subject.to_string(), kept));
            let (again, signal) = (emit.again, self.signal(emit));
            if again && (round.raises(&signal) || self.spool.lock().raise_waits(&signal)?) {
                continue;
            }
            if !again {
                tracing::info!(source, rule = %rule, subject = %subject, condition = ?signal.condition, "{}", signal.summary);
            }
            let label = if signal.condition == Condition::Raised { "raised" } else { "cleared" };
            self.metrics.signals.with_label_values(&[label]).inc();
            round.entry.items.push(Item::Signal { signal: Box::new(signal) });
        }
        Ok(())
    }

    fn signal(&self, emit: Emit) -> Signal {
        let Emit { fault, condition, .. } = emit;
        let cause = self.active.on(&fault.subject);
        Signal {
            host: self.host.clone(),
            // The spool puts its own.
            epoch: sopwith_domain::ids::Epoch(0),
            rule: fault.rule,
            kind: fault.kind,
            subject: fault.subject,
            condition,
            severity: fault.severity,
            summary: fault.summary,
            fields: fault.fields,
            evidence: if condition == Condition::Raised { fault.evidence } else { Vec::new() },
            observed_at: clock::now(),
            cause,
            depends_on: fault.depends_on,
        }
    }

    /// Writes a round; on a full disk it is tried until there is room.
    async fn write(&mut self, round: Round) -> Result<(), SpoolError> {
        if !round.entry.is_empty() {
            while let Err(error) = self.commit(&round.entry) {
                match error {
                    SpoolError::Full => {
                        tracing::error!("{error}; trying again");
                        self.notifier.alive();
                        tokio::time::sleep(FULL_PAUSE).await;
                    }
                    broken @ SpoolError::Broken(_) => return Err(broken),
                }
            }
        }
        for done in round.done {
            // Who asked may have stopped waiting.
            let _ = done.send(());
        }
        for (look, fault) in round.looks {
            if !self.evidencer.look(look, fault) {
                self.metrics.looks_skipped.inc();
            }
        }
        Ok(())
    }

    fn commit(&self, entry: &Entry) -> Result<(), SpoolError> {
        let timer = self.metrics.spool_commit.start_timer();
        let (committed, head, depth) = tokio::task::block_in_place(|| {
            let mut spool = self.spool.lock();
            (spool.commit(entry), spool.head(), spool.depth())
        });
        timer.observe_duration();
        committed?;
        if !entry.items.is_empty() {
            self.head.send_replace(head);
        }
        self.metrics.spool_items.set(i64::try_from(depth.items).unwrap_or(i64::MAX));
        self.metrics.spool_bytes.set(i64::try_from(depth.bytes).unwrap_or(i64::MAX));
        self.metrics.spool_dropped.inc_by(depth.dropped.saturating_sub(self.metrics.spool_dropped.get()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
