//! Starts everything, and ends it in order: long polls answer, event streams end, requests under way have ten
//! seconds.

use crate::app::{App, OpenFailed};
use crate::config::{Config, Connections};
use crate::doors::{self, DoorError, Opened, Patience};
use crate::routes::Door;
use crate::{documents, local};
use rustix::process::{Resource, Rlimit};
use sd_notify::NotifyState;
use sopwith_domain::command::Command;
use sopwith_domain::ids::HostId;
use sopwith_domain::time::{SECOND_MS, Timestamp};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// How long requests under way may take once the server is told to end.
const DRAIN: Duration = Duration::from_secs(10);
/// Open files for the database, its readers, logs and local commands.
const OWN_FILES: usize = 256;
/// How often hosts that fell silent are looked for.
const SILENCE_EVERY: Duration = Duration::from_secs(5);
/// How long a host may be unheard of before it counts as silent, in milliseconds: longer than the longest exchange
/// and a few failed tries.
pub const SILENT_MS: i64 = 90 * SECOND_MS;

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailed {
    #[error(transparent)]
    Open(#[from] OpenFailed),
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error("failed to open the socket for local commands: {0}")]
    Local(std::io::Error),
    #[error("failed to listen for signals: {0}")]
    Signals(std::io::Error),
}

/// A running server, for programs and tests.
pub struct Running {
    pub app: App,
    pub operator: SocketAddr,
    pub agent: SocketAddr,
    doors: JoinSet<Result<(), DoorError>>,
    handles: [axum_server::Handle<SocketAddr>; 2],
}

impl Running {
    /// Opens data folder, ports and socket and begins to answer.
    ///
    /// # Errors
    /// Says which part is in the way.
    pub async fn start(config: Config) -> Result<Self, ServeFailed> {
        Self::start_with(config, Patience::default()).await
    }

    /// Does so with another patience towards slow peers.
    ///
    /// # Errors
    /// Says which part is in the way.
    pub async fn start_with(mut config: Config, patience: Patience) -> Result<Self, ServeFailed> {
        config.connections = fitting(config.connections);
        let app = App::open(config)?;
        let operator = doors::listen(app.config.operator_listen)?;
        let agent = doors::listen(app.config.agent_listen)?;
        documents::load(&app).await;
        local::listen(&app).map_err(ServeFailed::Local)?;
        tokio::spawn(watch_silence(app.clone()));
        let addresses = (operator.address, agent.address);
        let mut doors = JoinSet::new();
        let mut open = |door: Door, opened: Opened| {
            let handle = axum_server::Handle::new();
            doors.spawn(doors::serve(app.clone(), door, opened, handle.clone(), patience));
            handle
        };
        let handles = [open(Door::Operator, operator), open(Door::Agent, agent)];
        Ok(Self { app, operator: addresses.0, agent: addresses.1, doors, handles })
    }

    /// Ends the server in order.
    pub async fn stop(mut self) {
        self.app.shutdown.cancel();
        for handle in &self.handles {
            handle.graceful_shutdown(Some(DRAIN));
        }
        while self.doors.join_next().await.is_some() {}
        local::unlink(&self.app);
    }

    /// Returns when a door has failed.
    async fn failed(&mut self) -> Option<DoorError> {
        while let Some(ended) = self.doors.join_next().await {
            if let Ok(Err(error)) = ended {
                return Some(error);
            }
        }
        None
    }
}

/// Raises the number of files that this process may have open, and returns the shares of the doors that fit into it.
fn fitting(wanted: Connections) -> Connections {
    let known = |limit: Option<u64>| limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted.operators + wanted.agents + OWN_FILES).unwrap_or(u64::MAX);
    let raised = Rlimit { current: limit.maximum.map_or(Some(needed), |max| Some(needed.min(max))), ..limit };
    let files = match limit.current.is_some_and(|now| now < needed) {
        // Where it may not be raised, what there is is shared out.
        true if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() => known(raised.current),
        _ => known(limit.current),
    };
    let fits = wanted.within(files, OWN_FILES);
    if fits != wanted {
        let (operators, agents) = (fits.operators, fits.agents);
        tracing::warn!(files, operators, agents, "too few files may be open for the connections configured");
    }
    fits
}

/// Runs the server until a signal ends it. SIGHUP reads signers, playbooks and policy again.
///
/// # Errors
/// Says what could not be started, or what failed while it ran.
pub async fn run(config: Config) -> Result<(), ServeFailed> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeFailed::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeFailed::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(ServeFailed::Signals)?;
    let mut running = Running::start(config).await?;
    tracing::info!(operator = %running.operator, agent = %running.agent, "serving");
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog(running.app.clone()));
    let failure = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => reload(&running.app).await,
            failure = running.failed() => break failure,
        }
    };
    notify(&[NotifyState::Stopping]);
    tracing::info!("ending");
    watchdog.abort();
    running.stop().await;
    failure.map_or(Ok(()), |error| Err(error.into()))
}

async fn reload(app: &App) {
    let reloading = NotifyState::monotonic_usec_now();
    notify(&[NotifyState::Reloading]);
    if let Ok(since) = reloading {
        notify(&[since]);
    }
    documents::load(app).await;
    notify(&[NotifyState::Ready]);
}

/// Tells systemd, where there is one; elsewhere there is nobody to tell.
fn notify(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

/// Feeds systemd's watchdog as long as the ledger answers.
async fn feed_watchdog(app: App) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut every = tokio::time::interval(limit / 3);
    loop {
        every.tick().await;
        if app.ledger.submit(Vec::new()).await.is_ok() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Declares hosts silent that were not heard of for too long, counted from the start at the earliest: a server that
/// was away must not take that for its hosts' silence.
async fn watch_silence(app: App) {
    let mut every = tokio::time::interval(SILENCE_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        let now = app.ledger.now();
        let silent: Vec<(HostId, Timestamp)> = {
            let state = app.ledger.state();
            let live = state.hosts.iter().filter(|(_, h)| !h.revoked && h.silent_since.is_none());
            live.map(|(id, _)| (id.clone(), app.presence.of(id).last_seen.unwrap_or(app.started_at)))
                .filter(|(_, last_seen)| now.since(*last_seen) >= SILENT_MS)
                .collect()
        };
        let commands = silent.into_iter();
        let commands: Vec<Command> =
            commands.map(|(host, last_seen)| Command::DeclareSilent { host, last_seen }).collect();
        if !commands.is_empty() && app.ledger.submit(commands).await.is_err() {
            return;
        }
    }
}
