//! Logs, of files, of systemd's journal and of the kernel: lines that fit a rule, rates of them, silence, and lines
//! that nothing followed. What is read and what follows from it is committed together, so that after a crash no line
//! counts twice and none is passed over.

mod budget;
mod cursor;
mod encoding;
mod find;
mod follower;
mod journal;
mod judge;
mod literals;
mod rates;
mod reader;
mod records;
mod rules;
mod search;
mod silence;
mod tailer;
mod tracked;
mod trial;
mod waits;
mod watched;
mod words;

pub use trial::{Trial, try_log};

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, Log};
use crate::watcher::clock;
use crate::watcher::metrics::Metrics;
use crate::watcher::sink::{Afresh, Sink};
use follower::Follower;
use tokio_util::sync::CancellationToken;
use watched::Watched;

/// Most files that may be open at once, where the system lets them be.
const OPEN_FILES_MAX: u64 = 20_000;

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
            allow_open_files();
            let kept = sink.cursors().map_err(SourceFailed)?;
            let now_ms = clock::boot_ms();
            let logs: Result<Vec<_>, _> = self
                .logs
                .iter()
                .map(|log| {
                    let made = Watched::new(log, &kept, &self.metrics, now_ms);
                    made.map_err(|e| {
                        SourceFailed::new(&format!("prepare the rules of log {}", *log.name), &e)
                    })
                })
                .collect();
            // Ends with this source, also where it fails.
            let stop_journal = stop.child_token();
            let _ends = stop_journal.clone().drop_guard();
            let journal = journal::follow(&self.logs, &kept, &stop_journal);
            let follower = Follower::new(logs?, journal, sink);
            follower.follow(&self.afresh, &stop).await
        })
    }
}

/// Lets this process have as many files open as it may and needs.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(OPEN_FILES_MAX, |most| most.min(OPEN_FILES_MAX));
    if limit.current.is_some_and(|current| current < most) {
        // With the old limit fewer files are read, which is said of each.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    }
}

#[cfg(test)]
mod tests;
