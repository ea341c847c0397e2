//! What the watcher watches, one file a source. A source looks, reports what holds and what is over, and says how it
//! is itself; tolerance, repeats and clearing are not its business. To add one: write its file and add its line to
//! [`SOURCES`].

use super::metrics::Metrics;
use super::report::SourceState;
use super::server_clock::ServerClock;
use super::sink::{Afresh, Sink, Stopping};
use crate::config::Config;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

mod backups;
mod baseline;
mod checks;
mod clock;
mod cores;
mod declarations;
mod deleted;
mod filesystems;
mod links;
mod log_writers;
mod logrotate;
mod logs;
mod metrics_rules;
mod mounts;
mod norms;
mod oom;
mod ports;
mod pressure;
mod processes;
mod standing;
mod tables;
mod tasks;
mod units;

pub use backups::{BackupArguments, BackupGauges, backup};
pub use checks::{CheckArguments, CheckMetrics, HandArguments, check, hand};
pub use norms::{NormGauges, NormsArguments, command as norms_command};
pub(crate) use ports::{Owners, listeners};

pub use logs::{Trial, try_log};

/// What a source is made with.
#[derive(Clone, Debug)]
pub struct Context {
    pub metrics: Metrics,
    /// Asked when something changed that the server judges by: then all is looked at and what holds said again.
    pub afresh: Afresh,
    pub server_clock: ServerClock,
}

/// Makes a source of its part of the configuration; nothing where there is nothing to watch.
pub type Make = fn(&Config, &Context) -> Option<Box<dyn Source>>;

/// All sources, by name.
pub const SOURCES: &[(&str, Make)] = &[
    ("declarations", declarations::make),
    ("units", units::make),
    ("filesystems", filesystems::make),
    ("logs", logs::make),
    ("log_writers", log_writers::make),
    ("logrotate", logrotate::make),
    ("processes", processes::make),
    ("checks", checks::make),
    ("backups", backups::make),
    ("pressure", pressure::make),
    ("mounts", mounts::make),
    ("oom", oom::make),
    ("clock", clock::make),
    ("links", links::make),
    ("metrics_rules", metrics_rules::make),
    ("ports", ports::make),
    ("tasks", tasks::make),
    ("tables", tables::make),
    ("deleted", deleted::make),
    ("cores", cores::make),
    ("baseline", baseline::make),
    ("norms", norms::make),
];

/// Why a source can see no more.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceFailed(pub String);

impl From<Stopping> for SourceFailed {
    fn from(stopping: Stopping) -> Self {
        Self(stopping.to_string())
    }
}

impl SourceFailed {
    pub fn new(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self(format!("failed to {what}: {error}"))
    }
}

/// A source's work, until it is stopped or fails.
pub type Work = Pin<Box<dyn Future<Output = Result<(), SourceFailed>> + Send>>;

/// Something that watches.
pub trait Source: Send {
    /// Begins to watch. The first full look ends with [`Sink::settled`].
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work;
}

/// First and longest pause before a source that failed is begun again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Returns the sources that the configuration has something to watch for.
pub fn wanted(config: &Config, context: &Context) -> Vec<(&'static str, Make)> {
    SOURCES.iter().filter(|(_, make)| make(config, context).is_some()).copied().collect()
}

/// Keeps one source going until it is stopped.
pub async fn supervise(
    name: &'static str,
    make: Make,
    config: std::sync::Arc<Config>,
    context: Context,
    sink: Sink,
    stop: CancellationToken,
) {
    let sink = sink.named(name);
    let _turn = sink.turn().await;
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        let Some(source) = make(&config, &context) else { return };
        if sink.begin().await.is_err() {
            return;
        }
        let began = std::time::Instant::now();
        let worked = tokio::spawn(source.run(sink.clone(), stop.clone())).await;
        let reason = match worked {
            Ok(Ok(())) if stop.is_cancelled() => return,
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(_)) if stop.is_cancelled() => return,
            Ok(Err(failed)) => failed.to_string(),
            Err(panicked) => format!("it broke off: {panicked}"),
        };
        if sink.state(SourceState::Broken(reason)).await.is_err() {
            return;
        }
        pause = if began.elapsed() > PAUSE_MAX { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
