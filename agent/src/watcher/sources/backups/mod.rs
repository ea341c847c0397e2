//! Backups: whether they are there, young, whole and kept as declared, whether their jobs get on, and whether they can
//! be restored. It looks and tries; it never makes, moves or removes a backup, and takes no lock.

mod ask;
mod borg;
mod deep;
mod drill;
mod files;
mod gauges;
mod job;
mod judge;
mod manifest;
mod pgbackrest;
mod restic;
#[cfg(test)]
mod tests;
mod tool;

use super::standing::Standing;
use super::{Context, Source, SourceFailed, Work};
use crate::config::{Backup, Config};
use crate::watcher::clock;
use crate::watcher::report::{Fault, Report, SourceState, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
pub use ask::{BackupArguments, ask as backup};
pub use gauges::BackupGauges;
use job::{JobState, Tracked};
use judge::Found;
use manifest::Memory;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tool::Trouble;

/// Most looks at a time, and most verifications and drills.
const LOOKS_MAX: usize = 2;
const DEEP_MAX: usize = 1;
/// Longest time between two samples of a job.
const SAMPLE_EVERY: Duration = Duration::from_secs(15);
/// Most sizes of earlier backups that are remembered where the program forgets them.
const SIZES_MAX: usize = judge::HISTORY_MAX + 1;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let backups = config.backups.clone();
    let folder = config.state_dir.path().join("watcher").join("backups");
    let gauges = context.metrics.backups.clone();
    let afresh = context.afresh.clone();
    (!backups.is_empty()).then(|| Box::new(Backups { backups, folder, gauges, afresh }) as Box<dyn Source>)
}

struct Backups {
    backups: Vec<Backup>,
    /// For caches of programs and scratch folders.
    folder: PathBuf,
    gauges: BackupGauges,
    afresh: Afresh,
}

/// What every part of the source works with.
#[derive(Clone)]
struct Shared {
    sink: Sink,
    folder: PathBuf,
    gauges: BackupGauges,
    looks: Arc<Semaphore>,
    deep: Arc<Semaphore>,
    states: mpsc::Sender<State>,
    /// Set when the source ends, for threads that read.
    ended: Arc<AtomicBool>,
    cursors: Arc<BTreeMap<String, String>>,
}

/// How one part of the source is.
struct State {
    part: String,
    trouble: Option<String>,
}

impl Shared {
    async fn say(&self, part: String, trouble: Option<String>) {
        // Who ends the source hears nothing more.
        let _ = self.states.send(State { part, trouble }).await;
    }
}

/// Ends the threads that read when the source is dropped, however.
struct Ending(Arc<AtomicBool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Source for Backups {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let cursors =
                sink.cursors().map_err(|e| SourceFailed::new("read what was known of backups", &e))?;
            let ended = Arc::new(AtomicBool::new(false));
            let _ending = Ending(Arc::clone(&ended));
            let (to, states) = mpsc::channel(64);
            self.gauges.reset();
            let shared = Shared {
                sink: sink.clone(),
                folder: self.folder,
                gauges: self.gauges,
                looks: Arc::new(Semaphore::new(LOOKS_MAX)),
                deep: Arc::new(Semaphore::new(DEEP_MAX)),
                states: to,
                ended,
                cursors: Arc::new(cursors),
            };
            let (mut working, mut parts) = (JoinSet::new(), 0);
            for backup in self.backups.into_iter().map(Arc::new) {
                let looking = Looking::new(Arc::clone(&backup), shared.clone());
                working.spawn(stop.clone().run_until_cancelled_owned(looking.follow(self.afresh.clone())));
                let deep = deep::Deep::new(backup, shared.clone());
                working.spawn(stop.clone().run_until_cancelled_owned(deep.follow()));
                parts += 2;
            }
            drop(shared);
            stop.run_until_cancelled(tell(states, parts, &sink)).await.unwrap_or(Ok(()))
        })
    }
}

/// Says when everything was looked at, and what cannot be looked at.
async fn tell(mut states: mpsc::Receiver<State>, parts: usize, sink: &Sink) -> Result<(), SourceFailed> {
    let (mut seen, mut broken) = (BTreeSet::new(), BTreeMap::new());
    let mut said: Option<SourceState> = None;
    while let Some(State { part, trouble }) = states.recv().await {
        match trouble {
            Some(reason) => _ = broken.insert(part.clone(), reason),
            None => _ = broken.remove(&part),
        }
        seen.insert(part);
        if seen.len() < parts {
            continue;
        }
        if said.is_none() {
            sink.report(Report::Settled).await?;
        }
        let told: Vec<_> = broken.iter().map(|(part, reason)| format!("{part}: {reason}")).collect();
        let state = if told.is_empty() { SourceState::Well } else { SourceState::Broken(told.join("; ")) };
        if said.as_ref() != Some(&state) {
            sink.state(state.clone()).await?;
            said = Some(state);
        }
    }
    Err(SourceFailed("looking at the backups ended".into()))
}

/// What of one backup outlives a restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// Files that were read whole.
    read: Memory,
    /// Sizes by name, oldest first.
    sizes: Vec<(String, u64)>,
}

/// Looks at one backup again and again.
struct Looking {
    backup: Arc<Backup>,
    shared: Shared,
    kept: Kept,
    tracked: Option<Tracked>,
    /// What was found last, or why the repository does not answer.
    found: Option<Result<Found, Fault>>,
    standing: Standing,
    content: Standing,
}

impl Looking {
    fn new(backup: Arc<Backup>, shared: Shared) -> Self {
        let kept = shared.cursors.get(&cursor(&backup)).and_then(|text| serde_json::from_str(text).ok());
        Self {
            backup,
            shared,
            kept: kept.unwrap_or_default(),
            tracked: None,
            found: None,
            standing: Standing::default(),
            content: Standing::default(),
        }
    }

    async fn follow(mut self, afresh: Afresh) {
        let mut asked = afresh.asked();
        let (apart, part) = (self.backup.looks_apart(), self.backup.name.to_string());
        let tick = if job::can_be_seen(&self.backup) { apart.min(SAMPLE_EVERY) } else { apart };
        let mut looked: Option<tokio::time::Instant> = None;
        let mut again = false;
        loop {
            let due = again || looked.is_none_or(|at| at.elapsed() + Duration::from_millis(1) >= apart);
            if due {
                looked = Some(tokio::time::Instant::now());
            }
            let trouble = match self.look(due).await {
                Ok(trouble) => trouble,
                // The agent is stopping.
                Err(SourceFailed(_)) => return,
            };
            if again && self.shared.sink.report(Report::LookedAfresh).await.is_err() {
                return;
            }
            if due {
                self.shared.say(part.clone(), trouble).await;
            }
            again = tokio::select! {
                () = tokio::time::sleep(tick) => false,
                Ok(()) = asked.changed() => true,
            };
        }
    }

    /// Looks at the job, and at the backup itself where that is due; returns why it could not.
    async fn look(&mut self, due: bool) -> Result<Option<String>, SourceFailed> {
        let state = self.job().await;
        let mut trouble = None;
        if due {
            // The semaphore is never closed.
            let permits = Arc::clone(&self.shared.looks);
            let permit = permits.acquire().await.map_err(|e| SourceFailed(e.to_string()))?;
            trouble =
                if self.backup.files.is_some() { self.look_at_files().await? } else { self.ask().await };
            drop(permit);
        }
        let now_s = now_s();
        let mut faults: Vec<(Fault, Tolerance)> =
            job::hung(&self.backup, &state, self.tracked.as_ref()).into_iter().collect();
        match &self.found {
            // What is not known has not changed.
            None => return Ok(trouble),
            Some(Ok(found)) => {
                self.measure(found, &state);
                faults.extend(judge::judge(&self.backup, found, &state, now_s));
            }
            Some(Err(fault)) => faults.push((fault.clone(), Tolerance::NONE)),
        }
        self.shared.sink.report_all(self.standing.now(faults)).await?;
        Ok(trouble)
    }

    async fn job(&mut self) -> JobState {
        if !job::can_be_seen(&self.backup) {
            return JobState::Idle;
        }
        let backup = Arc::clone(&self.backup);
        let sample = crate::watcher::files::look(move || job::sample(&backup)).await.flatten();
        job::observe(&mut self.tracked, sample, &self.backup, clock::boot_ms())
    }

    fn measure(&self, found: &Found, state: &JobState) {
        let (gauges, name) = (&self.shared.gauges, self.backup.name.as_str());
        gauges.count.with_label_values(&[name]).set(found.copies.iter().filter(|c| !c.failed).count() as f64);
        gauges.running.with_label_values(&[name]).set(f64::from(u8::from(state.gets_on())));
        if let Some(newest) = found.newest() {
            gauges.newest_at.with_label_values(&[name]).set(newest.at_s as f64);
            if let Some(bytes) = newest.bytes {
                gauges.newest_bytes.with_label_values(&[name]).set(bytes as f64);
            }
        }
    }

    /// Lists the files, says who may reach them, then reads what is new.
    async fn look_at_files(&mut self) -> Result<Option<String>, SourceFailed> {
        let (backup, mut memory) = (Arc::clone(&self.backup), self.kept.read.clone());
        let ended = Arc::clone(&self.shared.ended);
        let now_s = now_s();
        // What the job that runs has written is not whole yet.
        let running_s = self.tracked.as_ref().map(|tracked| now_s - tracked.age_s());
        let looked = tokio::task::spawn_blocking(move || {
            let files = backup.files.as_ref().expect("asked only of files");
            let listing = files::list(files)?;
            let exposed = files::exposed(&backup, files, &listing, &users());
            let content = files::content(&backup, files, &listing, &mut memory, (now_s, running_s), &ended);
            Ok::<_, std::io::Error>((files::found(&listing), exposed, content, memory))
        });
        let (found, exposed, (wrong, trouble), memory) = match looked.await {
            Ok(Ok(looked)) => looked,
            Ok(Err(e)) => {
                let place = self.backup.files.as_ref().map_or("", |f| f.directory.as_str());
                return Ok(Some(format!("failed to read {place}: {e}")));
            }
            Err(e) => return Ok(Some(e.to_string())),
        };
        self.found = Some(Ok(found));
        let faults = exposed.into_iter().chain(wrong).map(|fault| (fault, Tolerance::NONE)).collect();
        let reports = self.content.now(faults);
        self.keep(Kept { read: memory, ..self.kept.clone() }, reports).await?;
        Ok(trouble)
    }

    /// Asks the program, and for the size of a new backup where it does not say it by itself.
    async fn ask(&mut self) -> Option<String> {
        let backup = Arc::clone(&self.backup);
        let asked = match (&backup.restic, &backup.borg, &backup.pgbackrest) {
            (Some(restic), ..) => restic::look(restic, now_s()).await,
            (_, Some(borg), _) => borg::look(borg, &self.shared.folder, now_s()).await,
            (.., Some(backrest)) => pgbackrest::look(backrest).await,
            _ => return None,
        };
        match asked {
            Ok(mut found) => {
                let trouble = self.size(&mut found).await;
                self.found = Some(Ok(found));
                trouble
            }
            Err(Trouble::Unasked(reason)) => Some(reason),
            Err(Trouble::Repository { reason, words }) => {
                self.found = Some(Err(deep::repository_fault(&self.backup, reason, &words)));
                None
            }
        }
    }

    /// Puts the size of the newest to what is known, and those before it.
    async fn size(&mut self, found: &mut Found) -> Option<String> {
        let newest = found.newest()?.clone();
        if newest.bytes.is_some() {
            return None;
        }
        let mut trouble = None;
        if !self.kept.sizes.iter().any(|(id, _)| *id == newest.id) {
            let asked = match (&self.backup.restic, &self.backup.borg) {
                (Some(restic), _) => restic::bytes(restic, &newest.id).await,
                (_, Some(borg)) => borg::bytes(borg, &self.shared.folder, &newest.id).await,
                _ => return None,
            };
            match asked {
                Ok(bytes) => {
                    let mut kept = self.kept.clone();
                    kept.sizes.push((newest.id.clone(), bytes));
                    let excess = kept.sizes.len().saturating_sub(SIZES_MAX);
                    kept.sizes.drain(..excess);
                    self.keep(kept, Vec::new()).await.ok()?;
                }
                Err(Trouble::Unasked(reason)) => trouble = Some(reason),
                // The repository is judged by itself; here only a number is missing.
                Err(Trouble::Repository { reason, .. }) => {
                    trouble = Some(format!("failed to learn a size: {reason}"));
                }
            }
        }
        let known = |id: &str| self.kept.sizes.iter().find(|(of, _)| of == id).map(|(_, bytes)| *bytes);
        found.copies.iter_mut().for_each(|copy| copy.bytes = known(&copy.id));
        let before = self.kept.sizes.iter().filter(|(id, _)| *id != newest.id);
        found.sizes_before = before.map(|(_, bytes)| *bytes).collect();
        trouble
    }

    async fn keep(&mut self, kept: Kept, reports: Vec<Report>) -> Result<(), SourceFailed> {
        if kept == self.kept {
            return Ok(self.shared.sink.report_all(reports).await?);
        }
        self.kept = kept;
        let text = serde_json::to_string(&self.kept).expect("it has string keys and no floats");
        Ok(self.shared.sink.commit(reports, vec![(cursor(&self.backup), Some(text))]).await?)
    }
}

fn cursor(backup: &Backup) -> String {
    format!("look.{}", backup.name.as_str())
}

fn now_s() -> i64 {
    clock::now().0.div_euclid(1000)
}

/// Returns the numbers of the host's users by name.
fn users() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let one = |line: &str| {
        let mut parts = line.split(':');
        Some((parts.next()?.to_owned(), parts.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(one).collect()
}

/// Returns this machine's name as programs write it into their locks.
fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
