//! Brings the logs, the kernel's notices and the journal together: looks at what changed, commits what came of it,
//! and says what cannot be seen. A file system that hangs holds up only the logs that lie on it.

use super::journal::Batch;
use super::watched::Watched;
use crate::watcher::clock;
use crate::watcher::report::{Report, SourceState};
use crate::watcher::sink::{Afresh, Sink, Stopping};
use crate::watcher::sources::SourceFailed;
use crate::watcher::wake::{Changes, Wake};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often time alone is looked at, and places without news are kept, in milliseconds.
const TICK_MS: u64 = 1_000;
/// Most logs whose files are read at the same time.
const LOOKS_MAX: usize = 4;
/// From so long on a look hangs: the file system does not answer.
const HANGS_MS: u64 = 10_000;
/// Most troubles that are named at a time.
const TROUBLES_MAX: usize = 5;

/// A log whose files are being read elsewhere.
#[derive(Debug)]
struct Away {
    name: String,
    since_ms: u64,
    missed: Changes,
}

pub(super) struct Follower {
    logs: Vec<Option<Watched>>,
    looking: JoinSet<(usize, Watched)>,
    away: BTreeMap<usize, Away>,
    journal: Option<mpsc::Receiver<Batch>>,
    journal_trouble: Option<String>,
    wake: Wake,
    settled: bool,
    said: SourceState,
    sink: Sink,
}

impl Follower {
    pub(super) fn new(logs: Vec<Watched>, journal: Option<mpsc::Receiver<Batch>>, sink: Sink) -> Self {
        Self {
            logs: logs.into_iter().map(Some).collect(),
            looking: JoinSet::new(),
            away: BTreeMap::new(),
            journal,
            journal_trouble: None,
            wake: Wake::telling(),
            settled: false,
            said: SourceState::Starting,
            sink,
        }
    }

    pub(super) async fn follow(
        mut self,
        afresh: &Afresh,
        stop: &CancellationToken,
    ) -> Result<(), SourceFailed> {
        let mut asked = afresh.asked();
        let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now_ms = clock::boot_ms();
            self.begin_looks(now_ms);
            let next_ms = self.logs.iter().flatten().map(Watched::next_ms).min().unwrap_or(u64::MAX);
            let pause = Duration::from_millis(next_ms.saturating_sub(now_ms).clamp(1, TICK_MS));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(looked) = self.looking.join_next() => {
                    let (index, log) = looked.map_err(|e| SourceFailed::new("read the logs", &e))?;
                    self.back(index, log).await?;
                }
                () = self.wake.changed() => self.changed(),
                Some(batch) = next_batch(&mut self.journal) => self.take(batch).await?,
                _ = tick.tick() => self.tick().await?,
                () = tokio::time::sleep(pause), if next_ms != u64::MAX => {}
                Ok(()) = asked.changed() => self.sink.report(Report::LookedAfresh).await?,
            }
        }
    }

    /// Has files read, as many logs at a time as may be.
    fn begin_looks(&mut self, now_ms: u64) {
        for index in 0..self.logs.len() {
            if self.looking.len() >= LOOKS_MAX {
                return;
            }
            let Some(mut log) = self.logs[index].take_if(|log| log.next_ms() <= now_ms) else { continue };
            let away = Away { name: log.name.clone(), since_ms: now_ms, missed: Changes::default() };
            self.away.insert(index, away);
            self.looking.spawn_blocking(move || {
                log.look(clock::boot_ms());
                (index, log)
            });
        }
    }

    async fn back(&mut self, index: usize, mut log: Watched) -> Result<(), SourceFailed> {
        if let Some(away) = self.away.remove(&index) {
            log.changed(&away.missed);
        }
        self.logs[index] = Some(log);
        self.commit(index, TICK_MS).await?;
        if !self.settled && self.away.is_empty() {
            self.watch_folders();
            self.settle().await?;
        }
        Ok(())
    }

    fn changed(&mut self) {
        let changes = self.wake.take();
        self.logs.iter_mut().flatten().for_each(|log| log.changed(&changes));
        for away in self.away.values_mut() {
            away.missed.structure |= changes.structure;
            away.missed.written.extend(changes.written.iter().cloned());
        }
    }

    /// Takes lines of the journal, and commits what came of them together with its place.
    async fn take(&mut self, batch: Batch) -> Result<(), SourceFailed> {
        let now_ms = clock::boot_ms();
        let (mut reports, mut places) = (Vec::new(), Vec::new());
        for (index, gap, count) in &batch.gaps {
            if let Some(log) = &mut self.logs[*index] {
                log.judge().gap(*gap, *count);
            }
        }
        for (index, text) in &batch.lines {
            if let Some(log) = &mut self.logs[*index] {
                tokio::task::block_in_place(|| log.take(text, now_ms));
                let (own_reports, own_places) = log.news(0, now_ms).unwrap_or_default();
                reports.extend(own_reports);
                places.extend(own_places);
            }
        }
        places.extend(batch.place.map(|(name, place)| (name.to_owned(), Some(place))));
        if !places.is_empty() {
            self.sink.commit(reports, places).await?;
        }
        if let Some(trouble) = batch.trouble {
            self.journal_trouble = trouble;
            self.say().await?;
        }
        Ok(())
    }

    /// Looks at what time alone brings about.
    async fn tick(&mut self) -> Result<(), SourceFailed> {
        let now_ms = clock::boot_ms();
        for index in 0..self.logs.len() {
            if let Some(log) = self.logs[index].as_mut().filter(|log| !log.is_of_files()) {
                log.judge().due(now_ms);
                self.commit(index, TICK_MS).await?;
            }
        }
        if !self.settled && self.away.is_empty() {
            self.settle().await?;
        }
        self.watch_folders();
        self.say().await?;
        Ok(())
    }

    async fn commit(&mut self, index: usize, every_ms: u64) -> Result<(), Stopping> {
        let news = self.logs[index].as_mut().and_then(|log| log.news(every_ms, clock::boot_ms()));
        match news {
            Some((reports, places)) => self.sink.commit(reports, places).await,
            None => Ok(()),
        }
    }

    async fn settle(&mut self) -> Result<(), Stopping> {
        self.settled = true;
        self.said = SourceState::Well;
        self.sink.settled().await
    }

    fn watch_folders(&mut self) {
        let folders: Vec<PathBuf> = self.logs.iter().flatten().flat_map(Watched::folders).cloned().collect();
        self.wake.forget_missing();
        folders.iter().for_each(|folder| self.wake.watch(folder, false));
    }

    /// Says how the source is, when that has changed.
    async fn say(&mut self) -> Result<(), Stopping> {
        if !self.settled {
            return Ok(());
        }
        let now_ms = clock::boot_ms();
        let mut troubles: Vec<String> = self.logs.iter().flatten().flat_map(Watched::troubles).collect();
        troubles.extend(self.journal_trouble.clone());
        let hangs = self.away.values().filter(|away| away.since_ms + HANGS_MS <= now_ms);
        troubles.extend(hangs.map(|away| format!("log {}: its file system does not answer", away.name)));
        let missing: Vec<String> = self.logs.iter().flatten().filter_map(|log| log.missing(now_ms)).collect();
        let told = |texts: Vec<String>| {
            let more = texts.len().saturating_sub(TROUBLES_MAX);
            let text = texts.into_iter().take(TROUBLES_MAX).collect::<Vec<_>>().join("; ");
            if more > 0 { format!("{text}; and {more} more") } else { text }
        };
        let state = match (troubles.is_empty(), missing.is_empty()) {
            (false, _) => SourceState::Broken(told(troubles)),
            (true, false) => SourceState::Waiting(told(missing)),
            (true, true) => SourceState::Well,
        };
        if state == self.said {
            return Ok(());
        }
        if matches!((&self.said, &state), (SourceState::Broken(_), SourceState::Waiting(_))) {
            // What was broken is over, though something else is waited for.
            self.sink.state(SourceState::Well).await?;
        }
        self.said = state.clone();
        self.sink.state(state).await
    }
}

/// Returns the next batch of the journal; never where there is none, or no more.
async fn next_batch(journal: &mut Option<mpsc::Receiver<Batch>>) -> Option<Batch> {
    let batch = match journal {
        Some(from) => from.recv().await,
        None => None,
    };
    match batch {
        Some(batch) => Some(batch),
        None => std::future::pending().await,
    }
}
