//! The conversation with the server: one exchange is always held open for what the server has to say, and another
//! is made at once when this host has something to say. What the server says goes to the runner as it is, still
//! under its signature. Cut off, it tries again with growing pauses and nothing else changes.

mod backoff;
mod dry_runs;
mod exchange;
mod live;
pub mod runner_link;

pub use dry_runs::DryRuns;
pub use exchange::{ExchangeError, chain};
pub use live::Live;

use super::clock;
use super::keeper::ActiveRuns;
use super::metrics::Metrics;
use super::report::SourceState;
use super::server_clock::ServerClock;
use super::sink::{Afresh, SharedSpool, Sink};
use backoff::Backoff;
use runner_link::{RunnerLink, RunnerState};
use sopwith_domain::ids::HostId;
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::Url;
use sopwith_protocol::exchange::WAIT_MS_MAX;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// An answer that comes sooner than this was not waited for.
const QUICK: Duration = Duration::from_millis(50);
/// So many answers in a row that were not waited for are followed by a pause.
const QUICK_MAX: u32 = 8;
const QUICK_PAUSE: Duration = Duration::from_millis(500);
/// How long records of a run are gathered for which no step and nobody else waits. An exchange for each of them would
/// take the processors and the disk from the very step that it tells of.
const GATHER: Duration = Duration::from_millis(20);

/// How the conversation stands, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UplinkState {
    pub connected: bool,
    pub last_answer: Option<Timestamp>,
    pub error: Option<String>,
}

/// What the conversation works with.
#[derive(Clone, Debug)]
pub struct Uplink {
    pub server: Url,
    pub host: HostId,
    /// Life of the host that was told when it joined, in use until the runner is heard.
    pub joined_epoch: sopwith_domain::ids::Epoch,
    pub client: reqwest::Client,
    pub runner: RunnerLink,
    pub spool: SharedSpool,
    pub head: watch::Receiver<u64>,
    pub active: ActiveRuns,
    pub metrics: Metrics,
    /// For what is to be said about the runner.
    pub sink: Sink,
    pub facts: Arc<Mutex<BTreeMap<String, String>>>,
    pub metrics_address: Option<String>,
    pub state: Arc<Mutex<UplinkState>>,
    /// Run records that the server has, as it said last; `u64::MAX` before it said anything.
    pub records_through: Arc<AtomicU64>,
    /// Requests made, and the newest of them whose lease the runner has.
    pub asked: Arc<AtomicU64>,
    pub leased: Arc<AtomicU64>,
    pub server_clock: ServerClock,
    pub dry_runs: DryRuns,
    pub live: Live,
}

/// Which of the two exchanges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Takes up what this host has to say, and returns at once.
    Prompt,
    /// Is held open by the server until it has something to say.
    Waiting,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Waiting => "waiting",
        }
    }
    fn wait_ms(self) -> u64 {
        match self {
            Self::Prompt => 0,
            Self::Waiting => WAIT_MS_MAX,
        }
    }
}

impl Uplink {
    /// Speaks with the server until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(
            stop.run_until_cancelled(self.clone().prompt()),
            stop.run_until_cancelled(self.clone().waiting()),
            stop.run_until_cancelled(self.live.clone().follow(self.runner.clone())),
        );
    }

    /// Sends what there is as soon as it is there.
    async fn prompt(mut self) {
        let mut backoff = Backoff::default();
        let mut news = self.runner.state.clone();
        let mut looked = self.dry_runs.news();
        let mut spoke = self.live.news();
        loop {
            if !self.pending() {
                tokio::select! {
                    Ok(()) = self.head.changed() => {}
                    Ok(()) = news.changed() => {}
                    Ok(()) = looked.changed() => {}
                    Ok(()) = spoke.changed() => {}
                    else => return,
                }
                continue;
            }
            self.gather(&mut news).await;
            let before = self.progress();
            let done = self.exchange(Kind::Prompt).await;
            self.note(Kind::Prompt, done.as_ref().err());
            // A server that takes nothing is not asked again at once.
            match done.is_ok() && (self.progress() != before || !self.pending()) {
                true => backoff.reset(),
                false => tokio::time::sleep(backoff.next()).await,
            }
        }
    }

    /// Keeps an exchange open, so that the server can speak at any time.
    async fn waiting(self) {
        let mut backoff = Backoff::default();
        let mut quick = 0;
        loop {
            let began = Instant::now();
            let done = self.exchange(Kind::Waiting).await;
            self.note(Kind::Waiting, done.as_ref().err());
            match done {
                Ok(()) => backoff.reset(),
                Err(_) => tokio::time::sleep(backoff.next()).await,
            }
            quick = if began.elapsed() < QUICK { quick + 1 } else { 0 };
            if quick >= QUICK_MAX {
                tokio::time::sleep(QUICK_PAUSE).await;
            }
        }
    }

    /// Waits a moment for more of what nobody waits for; something that is waited for ends it at once.
    async fn gather(&mut self, news: &mut watch::Receiver<RunnerState>) {
        let enough = tokio::time::sleep(GATHER);
        tokio::pin!(enough);
        while !self.urgent() {
            tokio::select! {
                () = &mut enough => return,
                Ok(()) = self.head.changed() => {}
                Ok(()) = news.changed() => {}
            }
        }
    }

    /// Says whether somebody waits for the server to have what this host has to say.
    fn urgent(&self) -> bool {
        let awaited = self.runner.state.borrow().status().is_some_and(|status| status.word_awaited);
        awaited || self.has_items() || !self.dry_runs.answers().is_empty()
    }

    /// Says whether there are items that the server does not have yet.
    fn has_items(&self) -> bool {
        let spool = self.spool.lock();
        spool.acked() < spool.head()
    }

    /// Says whether this host has something that the server does not have yet.
    fn pending(&self) -> bool {
        let records = self
            .runner
            .state
            .borrow()
            .status()
            .is_some_and(|status| status.head.seq > self.records_after(status.acked_through));
        self.has_items() || records || !self.dry_runs.answers().is_empty() || !self.live.waiting().is_empty()
    }

    /// Returns the number of the last record that the server has.
    fn records_after(&self, acked_through: u64) -> u64 {
        match self.records_through.load(Ordering::Relaxed) {
            u64::MAX => acked_through,
            through => through,
        }
    }

    fn progress(&self) -> (bool, u64, u64) {
        let spool = self.spool.lock();
        (spool.greeted(), spool.acked(), self.records_through.load(Ordering::Relaxed))
    }

    fn note(&self, kind: Kind, error: Option<&ExchangeError>) {
        let result = if error.is_some() { "error" } else { "ok" };
        self.metrics.exchanges.with_label_values(&[kind.label(), result]).inc();
        self.metrics.server_up.set(i64::from(error.is_none()));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => {
                if !state.connected {
                    tracing::info!(server = %self.server, "connected");
                }
                let now = clock::now();
                self.metrics.last_exchange.set(now.0 as f64 / 1000.0);
                *state = UplinkState { connected: true, last_answer: Some(now), error: None };
            }
            Some(error) => {
                let text = error.to_string();
                if state.error.as_ref() != Some(&text) {
                    tracing::warn!(server = %self.server, "{text}");
                }
                (state.connected, state.error) = (false, Some(text));
            }
        }
    }
}

/// Follows the runner, also where there is no server: which runs are under way, when one ends, whether it is there.
pub async fn follow_runner(
    mut state: watch::Receiver<RunnerState>,
    active: ActiveRuns,
    metrics: Metrics,
    sink: Sink,
    afresh: Afresh,
) {
    let mut ended = None;
    loop {
        let now = state.borrow_and_update().clone();
        let told = match &now {
            RunnerState::Unknown => Ok(()),
            RunnerState::Away(reason) => {
                metrics.runner_up.set(0);
                active.set(Vec::new());
                let text = format!("the runner does not answer, so nothing is repaired here: {reason}");
                sink.state(SourceState::Broken(text)).await
            }
            RunnerState::Here(status) => {
                metrics.runner_up.set(1);
                active.set(status.active.iter().map(|a| (a.run, a.touches.clone())).collect());
                let one_ended = ended.replace(status.ended_count).is_some_and(|n| n < status.ended_count);
                if one_ended {
                    afresh.ask();
                }
                sink.state(SourceState::Well).await
            }
        };
        if told.is_err() || state.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
