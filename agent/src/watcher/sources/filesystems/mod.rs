//! File systems: full or filling up, in bytes and in inodes. The kernel tells nothing of it, so it is asked, more
//! often the nearer the end; a mount that does not answer holds up nobody but itself.

mod caches;
mod forecast;
mod judge;
mod mounts;
mod space;
mod volumes;
mod walk;

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, Filesystems, Watch};
use crate::watcher::report::{Report, SourceState, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::{clock, files};
use forecast::Trend;
use judge::{Because, INODES, USED};
use mounts::Usage;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::AbsPath;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use volumes::Volume;

/// Longest time that a mount may take to answer before the others are looked at.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often it is looked again where the space of a full file system went.
const EXPLAIN_EVERY_MS: u64 = 15_000;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let filesystems = config.filesystems.clone();
    if filesystems.watch == Watch::None && filesystems.mounts.is_empty() {
        return None;
    }
    let state_dir = config.state_dir.path().into();
    Some(Box::new(Disks { filesystems, state_dir, afresh: context.afresh.clone() }))
}

struct Disks {
    filesystems: Filesystems,
    state_dir: PathBuf,
    afresh: Afresh,
}

impl Source for Disks {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let disks = Watched {
                config: self.filesystems,
                state_dir: self.state_dir,
                sink,
                known: BTreeMap::new(),
                unread: None,
                told: None,
            };
            disks.follow(&self.afresh, &stop).await
        })
    }
}

/// What is known of one mount.
#[derive(Debug, Default)]
struct Known {
    trend: Trend,
    used: Option<Because>,
    inodes: Option<Because>,
    explained_ms: u64,
    /// An earlier look that has not come back.
    asked: Option<JoinHandle<std::io::Result<Usage>>>,
}

struct Watched {
    config: Filesystems,
    state_dir: PathBuf,
    sink: Sink,
    known: BTreeMap<AbsPath, Known>,
    /// Why the volume group of a full file system cannot be read.
    unread: Option<String>,
    /// What was said of what cannot be seen.
    told: Option<String>,
}

impl Watched {
    async fn follow(mut self, afresh: &Afresh, stop: &CancellationToken) -> Result<(), SourceFailed> {
        let mut asked = afresh.asked();
        let mut wait = self.look(true).await?;
        self.sink.settled().await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => wait = self.look(false).await?,
                Ok(()) = asked.changed() => {
                    wait = self.look(true).await?;
                    self.sink.report(Report::LookedAfresh).await?;
                }
            }
        }
    }

    /// Looks at all mounts and returns how long to wait before the next look.
    async fn look(&mut self, explain: bool) -> Result<Duration, SourceFailed> {
        let config = self.config.clone();
        let mounts = files::look(move || mounts::watched(&config)).await;
        let mounts =
            mounts.unwrap_or_else(|| Err("the list of mounts does not come".into())).map_err(SourceFailed)?;
        for gone in self.known.keys().filter(|m| !mounts.contains(m)).cloned().collect::<Vec<_>>() {
            self.known.remove(&gone);
            self.over(&gone, USED).await?;
            self.over(&gone, INODES).await?;
        }
        let mut wait = self.config.every.0;
        let mut hung = Vec::new();
        for mount in mounts {
            match self.usage(&mount).await {
                Some(Ok(usage)) => wait = wait.min(self.judge(&mount, usage, explain).await?),
                // Unmounted since the list was read.
                Some(Err(_)) => {}
                None => hung.push(mount),
            }
        }
        self.tell_unseen(hung).await?;
        Ok(wait)
    }

    /// Asks a mount, unless an earlier question is still open.
    async fn usage(&mut self, mount: &AbsPath) -> Option<std::io::Result<Usage>> {
        let known = self.known.entry(mount.clone()).or_default();
        let asked = known.asked.get_or_insert_with(|| {
            let mount = mount.clone();
            tokio::task::spawn_blocking(move || Usage::of(&mount))
        });
        let answer = tokio::time::timeout(ANSWER_MAX, asked).await.ok()?;
        known.asked = None;
        Some(answer.unwrap_or_else(|e| Err(std::io::Error::other(e))))
    }

    /// Says what cannot be seen, when that changed.
    async fn tell_unseen(&mut self, hung: Vec<AbsPath>) -> Result<(), SourceFailed> {
        let names: Vec<_> = hung.iter().map(ToString::to_string).collect();
        let answers = (!names.is_empty()).then(|| format!("{} does not answer", names.join(", ")));
        let reasons: Vec<String> = answers.into_iter().chain(self.unread.clone()).collect();
        let told = (!reasons.is_empty()).then(|| reasons.join("; "));
        if told == self.told {
            return Ok(());
        }
        self.told.clone_from(&told);
        Ok(self.sink.state(told.map_or(SourceState::Well, SourceState::Broken)).await?)
    }

    async fn judge(
        &mut self,
        mount: &AbsPath,
        usage: Usage,
        explain: bool,
    ) -> Result<Duration, SourceFailed> {
        let (now_ms, limits) = (clock::boot_ms(), self.config.limits_of(mount));
        let known = self.known.entry(mount.clone()).or_default();
        known.trend.note(now_ms, usage.used_bytes);
        let full_in_s = known.trend.full_in_s(usage.total_bytes, usage.free_bytes);
        let (used, inodes) = (usage.used_percent(), usage.inodes_percent());
        let before = (known.used, known.inodes);
        known.used = judge::judge(known.used, used, limits.used_percent, &limits, full_in_s);
        known.inodes = inodes
            .and_then(|percent| judge::judge(known.inodes, percent, limits.inodes_percent, &limits, None));
        let (is_full, no_inodes) = (known.used, known.inodes);
        let due = known.explained_ms + EXPLAIN_EVERY_MS <= now_ms;
        if is_full.is_some() || no_inodes.is_some() {
            let explain = explain || due || before != (is_full, no_inodes);
            if explain {
                known.explained_ms = now_ms;
            }
            for (because, inode, percent) in
                [(is_full, false, used), (no_inodes, true, inodes.unwrap_or_default())]
            {
                if let Some(because) = because.filter(|_| explain) {
                    let growing = full_in_s.filter(|_| !inode);
                    let fault = judge::fault(mount, because, inode, percent, &usage, growing);
                    self.holds(mount, usage, fault).await?;
                }
            }
        }
        for (rule, was, is) in [(USED, before.0, is_full), (INODES, before.1, no_inodes)] {
            if was.is_some() && is.is_none() {
                self.unread = None;
                self.over(mount, rule).await?;
            }
        }
        Ok(judge::wait(self.config.every.0, used, &limits, full_in_s))
    }

    async fn holds(
        &mut self,
        mount: &AbsPath,
        usage: Usage,
        fault: crate::watcher::report::Fault,
    ) -> Result<(), SourceFailed> {
        let (plain, on, told) = (fault.clone(), mount.clone(), self.config.mounts.get(mount).cloned());
        let state = self.state_dir.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut fault = fault;
            space::explain(&mut fault, &on, told.as_ref(), &usage, &state);
            fault
        });
        let mut fault = match tokio::time::timeout(ANSWER_MAX * 3, looked).await {
            Ok(Ok(fault)) => fault,
            _ => plain,
        };
        let on = mount.clone();
        if let Some(volume) = files::look(move || Volume::of(&on)).await.flatten() {
            let read = volume.add(&mut fault).await;
            self.unread = read.err();
        }
        Ok(self.sink.report(Report::holds(fault, Tolerance::NONE)).await?)
    }

    async fn over(&self, mount: &AbsPath, rule: &str) -> Result<(), SourceFailed> {
        Ok(self.sink.report(Report::over(rule, Subject::Mount(mount.clone()))).await?)
    }
}
