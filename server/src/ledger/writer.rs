//! The ledger's thread: takes what waits, decides it all in one transaction, commits, answers.

use super::hooks::Hooks;
use super::index::Index;
use super::news::Gathered;
use super::projection::Touched;
use super::{Answered, Ask, BootError, EXIT_COMMIT_FAILED, RowsFailed, STREAM, Shared, TurnedAway};
use crate::clock::{LedgerClock, Reading};
use rusqlite::{Connection, Transaction};
use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::decide::{decide, due, resumes_at};
use sopwith_domain::event::{EVENT_VERSION, Event, Recorded, Versioned};
use sopwith_domain::evolve::evolve;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_journal::{AppendError, Fatal, Head, sqlite};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Most asks in one transaction.
const BATCH_MAX: usize = 256;
/// How often what time alone brings about is looked for, at the least.
const TIMER: Duration = Duration::from_millis(200);
/// Most rounds of due commands after one batch; what is left comes with the next timer.
const DUE_ROUNDS_MAX: usize = 16;

/// Starts the ledger's thread. It ends when the last handle is gone, and takes the process with it when a commit
/// fails or a decision panics.
pub(super) fn spawn(
    connection: Connection,
    head: Head,
    last_event: Timestamp,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Ask>,
) -> Result<std::thread::JoinHandle<()>, BootError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let reading = Reading::take();
    let goes_on = {
        let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
        resumes_at(&state, last_event, reading.wall)
    };
    let clock = LedgerClock::starting(reading, goes_on);
    let mut writer = Writer { connection, head, clock, shared, hooks: Hooks::default() };
    // The time is known before anybody can ask for it.
    writer.tick();
    let run = move || {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run(&runtime, queue)));
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => die(&error.to_string()),
            Err(_) => die("a decision panicked"),
        }
    };
    Ok(std::thread::Builder::new().name("ledger".into()).spawn(run)?)
}

fn die(reason: &str) -> ! {
    tracing::error!(reason, "the ledger cannot go on; starting again is the way to recover");
    std::process::exit(EXIT_COMMIT_FAILED)
}

/// Why the ledger ends the process.
#[derive(Debug, thiserror::Error)]
enum Fallen {
    #[error("failed to commit: {0}")]
    Commit(#[from] AppendError),
    #[error("failed to write: {0}")]
    Sql(#[from] rusqlite::Error),
}

impl From<Fatal> for Fallen {
    fn from(fatal: Fatal) -> Self {
        Self::Commit(fatal.into())
    }
}

struct Writer {
    connection: Connection,
    head: Head,
    clock: LedgerClock,
    shared: Arc<Shared>,
    hooks: Hooks,
}

impl Writer {
    fn run(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        mut queue: mpsc::Receiver<Ask>,
    ) -> Result<(), Fallen> {
        let now = self.tick();
        self.take(
            vec![Ask { commands: vec![Command::Start], rows: None, reply: oneshot::channel().0 }],
            now,
        )?;
        let mut asks = Vec::with_capacity(BATCH_MAX);
        loop {
            let waited = runtime
                .block_on(async { tokio::time::timeout(TIMER, queue.recv_many(&mut asks, BATCH_MAX)).await });
            if waited == Ok(0) {
                return Ok(());
            }
            let now = self.tick();
            self.take(std::mem::take(&mut asks), now)?;
        }
    }

    /// Reads the clocks and says so when the wall clock has leapt.
    fn tick(&mut self) -> Timestamp {
        let reading = Reading::take();
        let tick = self.clock.tick(reading);
        let gauges = &self.shared.gauges;
        if let Some(leapt_ms) = tick.leapt_ms {
            gauges.clock_leaps.fetch_add(1, Relaxed);
            tracing::warn!(leapt_ms, now = %tick.now, "the wall clock leapt; decisions go by the boot clock");
        }
        gauges.ticked_boot_ms.store(reading.boot_ms, Release);
        gauges.now_ms.store(tick.now.0, Release);
        let apart = reading.wall.since(tick.now);
        gauges.clock_leapt_ms.store(apart, Relaxed);
        tick.now
    }

    fn take(&mut self, asks: Vec<Ask>, now: Timestamp) -> Result<(), Fallen> {
        let shared = self.shared.clone();
        // Whoever asks for nothing wants to know that the ledger lives; that needs no transaction.
        let idle = asks.iter().all(|ask| ask.commands.is_empty() && ask.rows.is_none());
        if idle && due(&shared.state.read().unwrap_or_else(PoisonError::into_inner), now).is_empty() {
            for ask in asks {
                let answered = Answered { head: self.head, now, turned_away: None, outcomes: Vec::new() };
                // Who asked may be gone.
                let _ = ask.reply.send(answered);
            }
            return Ok(());
        }
        // Held until the commit, so that nobody reads what is not durable yet.
        let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let tx = sqlite::begin(&mut self.connection)?;
        let mut index = shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new(&mut state, &mut index, &tx, self.head, now);
        let mut replies = Vec::with_capacity(asks.len());
        for ask in asks {
            let (reply, answered) = batch.answer(ask)?;
            replies.push((reply, answered));
        }
        batch.settle()?;
        let Batch { head, touched, news, dirty, refusals, .. } = batch;
        if dirty {
            touched.write(&tx, &state)?;
            self.hooks.before_commit();
            sqlite::commit(tx)?;
            self.hooks.after_commit();
        } else {
            drop(tx);
        }
        drop((state, index));
        self.head = head;
        let gauges = &shared.gauges;
        gauges.refusals.fetch_add(refusals, Relaxed);
        if dirty {
            gauges.commits.fetch_add(1, Relaxed);
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            gauges.commit_us.fetch_add(took, Relaxed);
        }
        shared.head.send_replace(head);
        for (reply, mut answered) in replies {
            answered.head = head;
            // Who asked may be gone; what he asked for is done all the same.
            let _ = reply.send(answered);
        }
        shared.news.publish(news);
        Ok(())
    }
}

/// One transaction in the making.
struct Batch<'a> {
    state: &'a mut State,
    index: &'a mut Index,
    tx: &'a Transaction<'a>,
    head: Head,
    now: Timestamp,
    touched: Touched,
    news: Gathered,
    refusals: u64,
    dirty: bool,
}

impl<'a> Batch<'a> {
    fn new(
        state: &'a mut State,
        index: &'a mut Index,
        tx: &'a Transaction<'a>,
        head: Head,
        now: Timestamp,
    ) -> Self {
        let (touched, news) = (Touched::default(), Gathered::default());
        Self { state, index, tx, head, now, touched, news, refusals: 0, dirty: false }
    }

    fn answer(&mut self, ask: Ask) -> Result<(oneshot::Sender<Answered>, Answered), Fallen> {
        let Ask { commands, rows, reply } = ask;
        let single = commands.len() <= 1;
        let mut answered =
            Answered { head: self.head, now: self.now, turned_away: None, outcomes: Vec::new() };
        if let Some(rows) = rows {
            self.tx.execute_batch("SAVEPOINT ask")?;
            match rows(self.tx, self.now) {
                Ok(()) => {}
                Err(RowsFailed::TurnedAway(reason)) => {
                    self.give_up()?;
                    answered.turned_away = Some(reason);
                    return Ok((reply, answered));
                }
                Err(RowsFailed::Sql(error)) if is_constraint(&error) => {
                    self.give_up()?;
                    let reason = format!("the database does not accept it: {error}");
                    answered.turned_away = Some(TurnedAway { code: "conflict", reason });
                    return Ok((reply, answered));
                }
                Err(RowsFailed::Sql(error)) => return Err(error.into()),
            }
            answered.outcomes = self.outcomes(&commands)?;
            if single && answered.outcomes.iter().any(Result::is_err) {
                self.give_up()?;
            } else {
                self.tx.execute_batch("RELEASE ask")?;
                self.dirty = true;
            }
        } else {
            answered.outcomes = self.outcomes(&commands)?;
        }
        Ok((reply, answered))
    }

    fn give_up(&self) -> Result<(), Fallen> {
        Ok(self.tx.execute_batch("ROLLBACK TO ask; RELEASE ask")?)
    }

    fn outcomes(&mut self, commands: &[Command]) -> Result<Vec<Result<Vec<Event>, Refusal>>, Fallen> {
        commands.iter().map(|command| self.one(command)).collect()
    }

    /// Decides one command: its events are appended and folded in, all of them, or nothing is.
    fn one(&mut self, command: &Command) -> Result<Result<Vec<Event>, Refusal>, Fallen> {
        let events = match decide(self.state, command, self.now) {
            Ok(events) => events,
            Err(refusal) => {
                self.refusals += 1;
                return Ok(Err(refusal));
            }
        };
        if events.is_empty() {
            return Ok(Ok(events));
        }
        let bodies: Vec<Vec<u8>> = events.iter().map(encode).collect();
        let first = self.head.seq + 1;
        match sqlite::append_in(self.tx, STREAM, &self.head, self.now.0, &bodies) {
            Ok(head) => self.head = head,
            Err(AppendError::Refused(refused)) => {
                self.refusals += 1;
                return Ok(Err(Refusal::Invalid(format!("it is too large to be recorded: {refused}"))));
            }
            Err(fatal) => return Err(fatal.into()),
        }
        self.dirty = true;
        for (seq, event) in (first..).zip(&events) {
            let recorded = Recorded { seq, at: self.now, event: event.clone() };
            self.index.fold(event, self.state);
            evolve(self.state, &recorded);
            self.touched.add(self.now, event, self.state);
            self.news.add(seq, event, self.state);
        }
        Ok(Ok(events))
    }

    /// Decides what is due now, until nothing more follows.
    fn settle(&mut self) -> Result<(), Fallen> {
        for _ in 0..DUE_ROUNDS_MAX {
            let before = self.head.seq;
            for command in due(self.state, self.now) {
                if let Err(refusal) = self.one(&command)? {
                    tracing::warn!(%refusal, ?command, "what was due was refused");
                }
            }
            if self.head.seq == before {
                break;
            }
        }
        Ok(())
    }
}

fn encode(event: &Event) -> Vec<u8> {
    let versioned = Versioned { v: EVENT_VERSION, event: event.clone() };
    serde_json::to_vec(&versioned).expect("events have string keys and no floats")
}

fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}
