//! Puts the watcher together, and takes it apart: keeper, sources, uplink and pages, the reload, the stop.

use super::evidence::Evidencer;
use super::facts;
use super::http::{self, Pages};
use super::identity::{Files, IdentityError, Joined};
use super::keeper::{ActiveRuns, Keeper, SourceStates};
use super::metrics::Metrics;
use super::notify::{self, Notifier};
use super::renewal::Renewal;
use super::report::SourceState;
use super::server_clock::ServerClock;
use super::shared::Shared;
use super::sink::{Afresh, MESSAGES_MAX, SharedSpool, Sink};
use super::sources::{self, Context};
use super::spool::{Limits, Spool, SpoolError};
use super::uplink::runner_link::RunnerLink;
use super::uplink::{DryRuns, Live, Uplink, follow_runner};
use crate::config::Config;
use crate::memory::Thrift;
use sopwith_domain::value::Url;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How often the facts are gathered, and a host that has not joined looks whether it has.
const ROUND: Duration = Duration::from_secs(5);
/// Longest time that sources get to end.
const SOURCES_END_MAX: Duration = Duration::from_secs(5);
/// Names under which other parts than sources say how they are.
const SERVER: &str = "server";
const RUNNER: &str = "runner";
const PAGES: &str = "metrics";

/// Why the watcher cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    #[error("failed to make the folder {}: {error}", .folder.display())]
    Folder { folder: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("failed to start: {0}")]
    Start(#[from] std::io::Error),
    #[error("the main loop broke off: {0}")]
    Keeper(#[from] tokio::task::JoinError),
}

/// Watches this host until it is asked to end.
pub fn watch(config: &Path) -> ExitCode {
    log_to_stderr();
    // Another part of this process may have installed it before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Err(e) => Err(e.into()),
        Ok(runtime) => {
            let ended = runtime.block_on(run(config));
            // Threads that hang in a dead file system are left behind.
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // journald has its own time; a subscriber that is there already stays.
    let _ = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => builder.without_time().with_ansi(false).try_init(),
        None => builder.try_init(),
    };
}

async fn run(file: &Path) -> Result<(), WatchError> {
    let config = Config::load(file)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    let (mut watcher, mut keeper) = Watcher::start(config).await?;
    notify::ready("watching");
    tracing::info!(host = %*watcher.config.host, version = env!("CARGO_PKG_VERSION"), "watching");
    let mut round = tokio::time::interval(ROUND);
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = reload.recv() => watcher.reload(file).await,
            _ = round.tick() => watcher.round().await,
            ended = &mut keeper => break Some(ended),
        }
    };
    notify::stopping();
    watcher.stop().await;
    match ended {
        Some(ended) => ended??,
        None => keeper.await??,
    }
    Ok(())
}

/// A running watcher.
struct Watcher {
    config: Arc<Config>,
    files: Files,
    shared: Arc<Shared>,
    sink: Sink,
    head: watch::Receiver<u64>,
    runner: RunnerLink,
    afresh: Afresh,
    server_clock: ServerClock,
    sources: watch::Sender<Vec<&'static str>>,
    /// Ends everything.
    stop: CancellationToken,
    /// Ends the keeper, after everything else.
    stop_keeper: CancellationToken,
    working: JoinSet<()>,
    stop_sources: CancellationToken,
    stop_uplink: Option<CancellationToken>,
    no_uplink_because: Option<String>,
    renewal: Renewal,
    thrift: Thrift,
    /// How the server is reached for a new certificate.
    speaks: Option<(reqwest::Client, Url)>,
}

impl Watcher {
    async fn start(config: Config) -> Result<(Self, JoinHandle<Result<(), SpoolError>>), WatchError> {
        let files = Files::of(config.state_dir.path());
        let folder = files.folder().to_owned();
        files.make_folder().map_err(|error| WatchError::Folder { folder, error })?;
        let spool = SharedSpool::new(Spool::open(&files.spool(), Limits::default())?);
        let metrics = Metrics::new();
        read_at(&metrics);
        let (to, from) = mpsc::channel(MESSAGES_MAX);
        let (head_to, head) = watch::channel(spool.lock().head());
        let (sources, sources_seen) = watch::channel(Vec::new());
        let runner = RunnerLink::start(config.runtime_dir.path())?;
        let shared = Arc::new(Shared {
            host: config.host.to_string(),
            metrics: metrics.clone(),
            spool: spool.clone(),
            states: SourceStates::default(),
            active: ActiveRuns::default(),
            facts: Arc::default(),
            uplink: Arc::default(),
            server: Mutex::default(),
            runner: runner.clone(),
        });
        let keeper = Keeper {
            host: config.host.clone().into_inner(),
            spool: spool.clone(),
            metrics,
            states: shared.states.clone(),
            active: shared.active.clone(),
            head: head_to,
            evidencer: Evidencer::new(&to),
            notifier: Notifier::from_environment(),
            sources: sources_seen,
            declared: None,
        };
        let (stop, stop_keeper) = (CancellationToken::new(), CancellationToken::new());
        let keeper = tokio::spawn(keeper.run(from, stop_keeper.clone()));
        let mut watcher = Self {
            config: Arc::new(config),
            files,
            sink: Sink::new(SERVER, to, spool),
            shared,
            head,
            runner,
            afresh: Afresh::default(),
            server_clock: ServerClock::default(),
            sources,
            stop_sources: stop.child_token(),
            stop,
            stop_keeper,
            working: JoinSet::new(),
            stop_uplink: None,
            no_uplink_because: None,
            renewal: Renewal::default(),
            thrift: Thrift::default(),
            speaks: None,
        };
        watcher.start_following();
        watcher.start_pages().await;
        watcher.start_sources();
        watcher.start_uplink().await;
        Ok((watcher, keeper))
    }

    fn start_following(&mut self) {
        let (active, metrics) = (self.shared.active.clone(), self.shared.metrics.clone());
        let (state, sink) = (self.runner.state.clone(), self.sink.named(RUNNER));
        let following = follow_runner(state, active, metrics, sink, self.afresh.clone());
        self.working.spawn(self.stop.clone().run_until_cancelled_owned(following).map_unit());
    }

    async fn start_pages(&mut self) {
        let address = *self.config.metrics_listen;
        let state = match TcpListener::bind(address).await {
            Ok(listener) => {
                self.working.spawn(http::serve(
                    listener,
                    Arc::clone(&self.shared) as Arc<dyn Pages>,
                    self.stop.clone(),
                ));
                SourceState::Well
            }
            Err(e) => SourceState::Broken(format!("failed to listen on {address}: {e}")),
        };
        // The keeper has just been started.
        let _ = self.sink.named(PAGES).state(state).await;
    }

    fn start_sources(&mut self) {
        self.shared.metrics.node.configure(self.config.metrics.clone(), self.config.metrics_listen.port());
        let context = Context {
            metrics: self.shared.metrics.clone(),
            afresh: self.afresh.clone(),
            server_clock: self.server_clock.clone(),
        };
        let wanted = sources::wanted(&self.config, &context);
        let names = wanted.iter().map(|(name, _)| *name).chain([SERVER, RUNNER, PAGES]);
        self.sources.send_replace(names.collect());
        let sink = self.sink.depending(self.config.dependencies()).restarting(self.config.restartable());
        let sink = sink.answered_by(self.config.commands.clone());
        for (name, make) in wanted {
            self.working.spawn(sources::supervise(
                name,
                make,
                Arc::clone(&self.config),
                context.clone(),
                sink.clone(),
                self.stop_sources.clone(),
            ));
        }
    }

    /// Begins to speak with the server, once the host has joined one.
    async fn start_uplink(&mut self) {
        let uplink = self
            .files
            .read_joined()
            .map_err(|e| (e.to_string(), matches!(e, IdentityError::NotJoined)))
            .and_then(|joined| self.uplink(joined).map_err(|reason| (reason, false)));
        match uplink {
            Ok(uplink) => {
                tracing::info!(server = %uplink.server, "speaking with the server");
                *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(uplink.server.to_string());
                let stop = self.stop.child_token();
                self.speaks = Some((uplink.client.clone(), uplink.server.clone()));
                self.working.spawn(uplink.run(stop.clone()));
                self.stop_uplink = Some(stop);
                let _ = self.sink.state(SourceState::Well).await;
            }
            Err((reason, _)) if self.no_uplink_because.as_ref() == Some(&reason) => {}
            Err((reason, expected)) => {
                tracing::warn!("{reason}");
                let state = if expected { SourceState::Waiting } else { SourceState::Broken };
                let _ = self.sink.state(state(reason.clone())).await;
                self.no_uplink_because = Some(reason);
            }
        }
    }

    fn uplink(&self, joined: Joined) -> Result<Uplink, String> {
        if joined.host != *self.config.host {
            return Err(format!(
                "failed to speak as {}: this host joined as {}; set `host: {}` or join again",
                *self.config.host, joined.host, joined.host
            ));
        }
        let server = self.config.server.as_ref().map_or(joined.server, |url| url.clone().into_inner());
        let tls = self.files.tls().map_err(|e| e.to_string())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| format!("failed to prepare the connection: {e}"))?;
        Ok(Uplink {
            metrics_address: metrics_address(&self.config, server.as_str()),
            server,
            host: joined.host,
            joined_epoch: joined.epoch,
            client,
            runner: self.runner.clone(),
            spool: self.shared.spool.clone(),
            head: self.head.clone(),
            active: self.shared.active.clone(),
            metrics: self.shared.metrics.clone(),
            sink: self.sink.clone(),
            facts: Arc::clone(&self.shared.facts),
            state: Arc::clone(&self.shared.uplink),
            records_through: Arc::new(AtomicU64::new(u64::MAX)),
            asked: Arc::default(),
            leased: Arc::default(),
            server_clock: self.server_clock.clone(),
            dry_runs: DryRuns::new(self.config.runtime_dir.path().into()),
            live: Live::default(),
        })
    }

    async fn round(&mut self) {
        let facts = facts::gather(&self.shared.states, &self.runner.state.borrow());
        *self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        while self.working.try_join_next().is_some() {}
        self.thrift.turn();
        if let Some((client, server)) = &self.speaks {
            self.renewal.go_on(&self.files, client, server, &self.shared.metrics);
        }
        if self.renewal.done()
            && let Some(stop) = self.stop_uplink.take()
        {
            stop.cancel();
        }
        if self.stop_uplink.is_none() {
            self.start_uplink().await;
        }
    }

    /// Takes over a changed configuration, or keeps the one in force when the new one cannot be used.
    async fn reload(&mut self, file: &Path) {
        notify::reloading();
        let metrics = &self.shared.metrics;
        match Config::load(file) {
            Err(e) => {
                metrics.reload_successful.set(0);
                tracing::error!("the configuration in force stays: {e}");
            }
            Ok(new) => {
                read_at(metrics);
                let old = std::mem::replace(&mut self.config, Arc::new(new));
                self.stop_sources.cancel();
                if let Some(stop) = self.stop_uplink.take() {
                    stop.cancel();
                }
                self.stop_sources = self.stop.child_token();
                self.keep_fixed(&old);
                self.start_sources();
                self.start_uplink().await;
                tracing::info!("the configuration was read anew");
            }
        }
        notify::ready("watching");
    }

    /// Some settings are in use from the start to the end.
    fn keep_fixed(&mut self, old: &Config) {
        let new = Arc::make_mut(&mut self.config);
        let fixed = new.host == old.host
            && new.state_dir == old.state_dir
            && new.runtime_dir == old.runtime_dir
            && new.metrics_listen == old.metrics_listen;
        if !fixed {
            tracing::warn!("host, state_dir, runtime_dir and metrics_listen change at the next start only");
        }
        (new.host, new.state_dir) = (old.host.clone(), old.state_dir.clone());
        (new.runtime_dir, new.metrics_listen) = (old.runtime_dir.clone(), old.metrics_listen.clone());
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        let ended = async { while self.working.join_next().await.is_some() {} };
        if tokio::time::timeout(SOURCES_END_MAX, ended).await.is_err() {
            self.working.abort_all();
        }
        self.stop_keeper.cancel();
    }
}

fn read_at(metrics: &Metrics) {
    metrics.reload_successful.set(1);
    metrics.reload_timestamp.set(super::clock::now().0 as f64 / 1000.0);
}

/// Returns where Prometheus reaches the metrics from outside, if it does.
fn metrics_address(config: &Config, server: &str) -> Option<String> {
    let mut address = *config.metrics_listen;
    if address.ip().is_loopback() {
        return None;
    }
    if address.ip().is_unspecified() {
        let authority = server.split("://").nth(1)?.split('/').next()?;
        // Nothing is sent: the kernel only says from which address it would be.
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect(authority).ok()?;
        address.set_ip(socket.local_addr().ok()?.ip());
    }
    Some(address.to_string())
}

/// Makes a task of something whose result nobody needs.
trait Unit: Future + Sized {
    async fn map_unit(self) {
        let _ = self.await;
    }
}
impl<F: Future> Unit for F {}
