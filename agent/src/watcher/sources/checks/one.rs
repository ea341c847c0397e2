//! One check: waits until it is due, looks, and hands on what it saw.

use super::book::{Page, SAVE_MS};
use super::by::By;
use super::probes;
use super::schedule::{Next, Schedule};
use super::seen::{Seen, faults};
use crate::config::{Check, Kind};
use crate::watcher::clock;
use crate::watcher::files;
use crate::watcher::report::Fault;
use crate::watcher::sink::Afresh;
use crate::watcher::wake::Wake;
use chrono::Local;
use sopwith_domain::inspection::Verdict;
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::Word;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};

/// Longest time that is slept at a time: the wall clock may be put meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How late a run may begin that is not to be made up for.
const LATE_MS: u64 = 300_000;
/// A check that could not look tries again after so long, however seldom it is due: the runner may just be starting.
const BLIND_AGAIN: Duration = Duration::from_secs(60);

/// What one check has to tell.
#[derive(Debug)]
pub(super) struct Outcome {
    pub name: Word,
    pub at: Timestamp,
    pub what: What,
    /// Runs that were due since the last outcome and did not happen.
    pub missed: u64,
    /// Whether all were to look afresh.
    pub afresh: bool,
}

#[derive(Debug)]
pub(super) enum What {
    Ran {
        seen: Seen,
        faults: Vec<Fault>,
        took: Duration,
    },
    /// It could not look, and why.
    Blind(String),
    /// It was not run; this is what it said last.
    Stands {
        faults: Vec<Fault>,
    },
}

/// How many programs and how many probes run at a time.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    programs: Arc<Semaphore>,
    probes: Arc<Semaphore>,
}

impl Permits {
    pub(super) fn new(programs: usize, probes: usize) -> Self {
        Self { programs: Arc::new(Semaphore::new(programs)), probes: Arc::new(Semaphore::new(probes)) }
    }

    fn of(&self, check: &Check) -> &Semaphore {
        let program = check.argv().is_some() || matches!(check.kind(), Kind::Postgresql(_));
        if program { &self.programs } else { &self.probes }
    }
}

pub(super) struct One {
    pub check: Arc<Check>,
    pub schedule: Schedule,
    pub by: By,
    pub permits: Permits,
    /// What is known of it from before the start.
    pub page: Option<Page>,
    pub to: mpsc::Sender<Outcome>,
}

/// What follows after a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Turn {
    run: bool,
    afresh: bool,
    missed: u64,
}

impl One {
    pub(super) async fn follow(self, all_afresh: Afresh) {
        let mut wake = Wake::new();
        let mut asked = all_afresh.asked();
        let mut said = self.page.as_ref().map(|page| page.faults.clone()).unwrap_or_default();
        let mut turn = self.first(clock::now());
        loop {
            wake.forget_missing();
            self.check.files.iter().for_each(|file| wake.watch(file.path(), true));
            let (boot_ms, wall) = (clock::boot_ms(), clock::now());
            let what = if turn.run { self.look().await } else { What::Stands { faults: said.clone() } };
            if let What::Ran { faults, .. } = &what {
                said.clone_from(faults);
            }
            let blind = matches!(what, What::Blind(_));
            let overrun = if turn.run { self.overrun(boot_ms, wall) } else { 0 };
            let outcome = Outcome {
                name: (*self.check.name).clone(),
                at: wall,
                what,
                missed: turn.missed + overrun,
                afresh: turn.afresh,
            };
            if self.to.send(outcome).await.is_err() {
                return;
            }
            turn = self.wait(&wake, &mut asked, !said.is_empty(), blind).await;
        }
    }

    /// Says whether it runs at the start. What runs seldom is not run anew only because the agent was started again.
    fn first(&self, now: Timestamp) -> Turn {
        let Some(page) = &self.page else { return Turn { run: true, afresh: false, missed: 0 } };
        let ran = page.inspected.last_at.unwrap_or(now);
        // Runs that came after the book was saved last are not known to have been missed.
        let from = if self.schedule.is_inspection() { ran } else { page.saved_at.max(ran).plus(SAVE_MS) };
        let missed = self.schedule.due_between(from, now, &Local);
        let seldom = self.schedule.is_inspection();
        let unknown = page.inspected.verdict == Some(Verdict::Unknown);
        Turn { run: !seldom || unknown || (missed > 0 && *self.check.catch_up), afresh: false, missed }
    }

    fn overrun(&self, began_boot_ms: u64, began: Timestamp) -> u64 {
        match self.check.cron {
            Some(_) => self.schedule.due_between(began, clock::now(), &Local),
            None => self.schedule.overrun(began_boot_ms, clock::boot_ms()),
        }
    }

    /// Waits until it is due, a file changes, or all are to look afresh.
    async fn wait(&self, wake: &Wake, asked: &mut watch::Receiver<u64>, failing: bool, blind: bool) -> Turn {
        let again = tokio::time::sleep(BLIND_AGAIN);
        tokio::pin!(again);
        let mut next = self.schedule.next(clock::boot_ms(), clock::now(), &Local);
        loop {
            let (boot_ms, wall) = (clock::boot_ms(), clock::now());
            if next.outdated(wall) {
                next = self.schedule.next(boot_ms, wall, &Local);
            }
            let Some(pause) = next.wait(boot_ms, wall, SLEEP_MAX) else {
                return self.due(next, boot_ms, wall);
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut again, if blind => return Turn { run: true, afresh: false, missed: 0 },
                () = wake.changed() => return Turn { run: true, afresh: false, missed: 0 },
                // What runs seldom may cost much: it looks afresh only where that could end a fault.
                Ok(()) = asked.changed() => {
                    let run = failing || !self.schedule.is_inspection();
                    return Turn { run, afresh: true, missed: 0 };
                }
            }
        }
    }

    /// Judges a due time that has come, perhaps long ago: the machine may have slept, or the clock been put.
    fn due(&self, next: Next, boot_ms: u64, wall: Timestamp) -> Turn {
        let (late_ms, missed) = match next {
            Next::Boot(due_ms) => (boot_ms.saturating_sub(due_ms), self.schedule.overrun(due_ms, boot_ms)),
            Next::Wall { due, .. } => {
                (u64::try_from(wall.since(due)).unwrap_or(0), self.schedule.due_between(due, wall, &Local))
            }
            Next::Never => (0, 0),
        };
        let run = *self.check.catch_up || late_ms <= LATE_MS;
        Turn { run, afresh: false, missed: missed + u64::from(!run) }
    }

    async fn look(&self) -> What {
        // The semaphore is never closed.
        let Ok(permit) = self.permits.of(&self.check).acquire().await else {
            return What::Blind("the agent is stopping".into());
        };
        let began = std::time::Instant::now();
        let looked = probes::look(&self.check, &self.by).await;
        drop(permit);
        let took = began.elapsed();
        match looked {
            Err(reason) => What::Blind(reason),
            Ok(seen) => {
                let mut faults = faults(&self.check, &seen);
                if !faults.is_empty() && !self.check.config.is_empty() {
                    let config = self.check.config.clone();
                    let drifted = files::look(move || files::drifted(&config).cloned()).await.flatten();
                    faults.iter_mut().for_each(|fault| files::add_drift(fault, drifted.as_ref()));
                }
                What::Ran { seen, faults, took }
            }
        }
    }
}

#[cfg(test)]
mod tests;
