//! What costs much and is done seldom: a repository is verified, and a restore is tried. What came of the last time
//! is remembered over restarts and said again at once.

use super::judge::{self, Found};
use super::tool::Trouble;
use super::{Shared, borg, drill, files, now_s, pgbackrest, restic};
use crate::config::{Backup, Drill, Period};
use crate::watcher::report::{Fault, Report, Tolerance};
use crate::watcher::sources::standing::Standing;
use serde::{Deserialize, Serialize};
use sopwith_domain::ids::RuleId;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::AbsPath;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the first verification or drill after a start: the agent has better to do then.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time between two looks whether something is due.
const EVERY_MAX: Duration = Duration::from_secs(60);
/// That there is no backup is told by the ordinary look, and is no trouble of this one.
const NOTHING: &str = "there is nothing to restore";
/// What could not be tried is tried again after so long, in seconds.
const AGAIN_S: i64 = 3600;

/// What outlives a restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    verified: Last,
    drilled: Last,
}

/// When something was last done, and what was wrong.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Last {
    at_s: i64,
    good_s: i64,
    fault: Option<Fault>,
    /// It could not be tried.
    unasked: Option<String>,
}

impl Last {
    fn is_due(&self, every: Period, now_s: i64) -> bool {
        let every_s = i64::try_from(every.0.as_secs()).unwrap_or(i64::MAX);
        let wait_s = if self.unasked.is_some() { AGAIN_S.min(every_s) } else { every_s };
        // A clock that was in the future once must not put it off for ever.
        !(0..wait_s.max(1)).contains(&(now_s - self.at_s))
    }
}

pub struct Deep {
    backup: Arc<Backup>,
    shared: Shared,
    kept: Kept,
    standing: Standing,
}

impl Deep {
    pub fn new(backup: Arc<Backup>, shared: Shared) -> Self {
        let kept = shared.cursors.get(&cursor(&backup)).and_then(|text| serde_json::from_str(text).ok());
        let mut kept: Kept = kept.unwrap_or_default();
        if !wants_verification(&backup) {
            kept.verified = Last::default();
        }
        if backup.drill.is_none() {
            kept.drilled = Last::default();
        }
        Self { backup, shared, kept, standing: Standing::default() }
    }

    pub async fn follow(mut self) {
        self.measure();
        let mut going = self.tell().await;
        let mut pause = FIRST_PAUSE;
        while going {
            tokio::time::sleep(pause).await;
            going = self.round().await;
            let drills = self.backup.drill.as_ref().map_or(EVERY_MAX, |drill| drill.every.0);
            pause = EVERY_MAX.min(drills).max(Duration::from_secs(1));
        }
    }

    /// Does what is due; false when the agent is stopping.
    async fn round(&mut self) -> bool {
        let before = self.kept.clone();
        if wants_verification(&self.backup) && self.kept.verified.is_due(*self.backup.verify.every, now_s()) {
            let verified = self.verify().await;
            note(&mut self.kept.verified, verified);
        }
        if let Some(drill) = self.backup.drill.clone()
            && self.kept.drilled.is_due(*drill.every, now_s())
        {
            let drilled = self.drill(&drill).await;
            note(&mut self.kept.drilled, drilled);
        }
        self.kept == before || self.tell().await
    }

    async fn tell(&mut self) -> bool {
        self.measure();
        let lasts = [&self.kept.verified, &self.kept.drilled];
        let faults = lasts.iter().filter_map(|last| last.fault.clone()).map(|fault| (fault, Tolerance::NONE));
        let reports: Vec<Report> = self.standing.now(faults.collect());
        let text = serde_json::to_string(&self.kept).expect("it has string keys and no floats");
        if self.shared.sink.commit(reports, vec![(cursor(&self.backup), Some(text))]).await.is_err() {
            return false;
        }
        let troubles = lasts.iter().filter_map(|last| last.unasked.clone());
        let troubles: Vec<_> = troubles.filter(|trouble| trouble != NOTHING).collect();
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        self.shared.say(format!("{} verified and restored", self.backup.name.as_str()), trouble).await;
        true
    }

    fn measure(&self) {
        let (gauges, name) = (&self.shared.gauges, self.backup.name.as_str());
        for (gauge, last) in
            [(&gauges.verified_at, &self.kept.verified), (&gauges.drilled_at, &self.kept.drilled)]
        {
            if last.good_s > 0 {
                gauge.with_label_values(&[name]).set(last.good_s as f64);
            }
        }
    }

    async fn verify(&self) -> Result<(), Result<Fault, String>> {
        let Ok(_permit) = self.shared.deep.acquire().await else { return Err(Err("it ends".into())) };
        let (verify, folder) = (&self.backup.verify, &self.shared.folder);
        let verified = match (&self.backup.restic, &self.backup.borg, &self.backup.pgbackrest) {
            (Some(restic), ..) => restic::verify(restic, *verify.data, *verify.max_time).await,
            (_, Some(borg), _) => borg::verify(borg, folder, *verify.data, *verify.max_time).await,
            (.., Some(backrest)) => pgbackrest::verify(backrest, *verify.max_time).await,
            _ => Ok(()),
        };
        verified.map_err(|trouble| match trouble {
            Trouble::Unasked(reason) => Err(reason),
            Trouble::Repository { reason: "corrupt", words } => {
                // The ordinary look may find the same damage, and must not clear what it does not find.
                let rule = format!("backups.{}.verified", self.backup.name.as_str());
                let rule = RuleId::new(rule).expect("names of backups can be part of a rule's name");
                Ok(Fault { rule, ..repository_fault(&self.backup, "corrupt", &words) })
            }
            // That it does not answer at all is seen, and told, by the ordinary look.
            Trouble::Repository { reason, .. } => Err(format!("it could not be verified: {reason}")),
        })
    }

    async fn drill(&self, drill: &Drill) -> Result<(), Result<Fault, String>> {
        let Ok(_permit) = self.shared.deep.acquire().await else { return Err(Err("it ends".into())) };
        let found = match self.look().await {
            Ok(found) => found,
            Err(Trouble::Unasked(reason)) => return Err(Err(reason)),
            Err(Trouble::Repository { reason, .. }) => {
                return Err(Err(format!("nothing to restore from: {reason}")));
            }
        };
        // That there is none is told elsewhere.
        let Some(newest) = found.newest() else { return Err(Err(NOTHING.into())) };
        match drill::run(&self.backup, drill, &newest.id, &self.shared.folder).await {
            drill::Outcome::Restored { bytes, files, took_ms } => {
                let name = self.backup.name.as_str();
                tracing::info!(backup = name, bytes, files, took_ms, "a restore was tried and succeeded");
                self.shared.gauges.drill_took.with_label_values(&[name]).set(took_ms as f64 / 1000.0);
                Ok(())
            }
            drill::Outcome::Failed { reason, words } => {
                Err(Ok(unrestorable(&self.backup, reason, &words, &newest.id)))
            }
            drill::Outcome::Unasked(reason) => Err(Err(reason)),
        }
    }

    async fn look(&self) -> Result<Found, Trouble> {
        match (&self.backup.restic, &self.backup.borg, &self.backup.pgbackrest) {
            (Some(restic), ..) => restic::look(restic, now_s()).await,
            (_, Some(borg), _) => borg::look(borg, &self.shared.folder, now_s()).await,
            (.., Some(backrest)) => pgbackrest::look(backrest).await,
            _ => {
                let backup = Arc::clone(&self.backup);
                let listed =
                    tokio::task::spawn_blocking(move || backup.files.as_ref().map(files::list).transpose());
                let listing = listed.await.map_err(|e| Trouble::Unasked(e.to_string()))?;
                let listing = listing.map_err(|e| Trouble::Unasked(format!("failed to list it: {e}")))?;
                Ok(listing.map(|listing| files::found(&listing)).unwrap_or_default())
            }
        }
    }
}

/// Notes what came of it; what could not be tried leaves what was known as it was.
fn note(last: &mut Last, outcome: Result<(), Result<Fault, String>>) {
    last.at_s = now_s();
    last.unasked = None;
    match outcome {
        Ok(()) => (last.good_s, last.fault) = (last.at_s, None),
        Err(Ok(fault)) => last.fault = Some(fault),
        Err(Err(reason)) => last.unasked = Some(reason),
    }
}

fn wants_verification(backup: &Backup) -> bool {
    backup.files.is_none() && !backup.verify.every.0.is_zero()
}

fn cursor(backup: &Backup) -> String {
    format!("deep.{}", backup.name.as_str())
}

/// Returns the fault of a repository that is damaged or does not answer.
pub fn repository_fault(backup: &Backup, reason: &str, words: &str) -> Fault {
    let (what, says) = match reason {
        "corrupt" => ("corrupt", "its repository is damaged"),
        "no-repository" => ("unreadable", "there is no repository where it should be"),
        "password" => ("unreadable", "its repository does not open with this password"),
        "locked" => ("unreadable", "its repository is locked"),
        "timeout" => ("unreadable", "its repository does not answer"),
        _ => ("unreadable", "its repository cannot be read"),
    };
    // Reasons that have no words of their own are in the program's.
    let first = words.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let text = if says.ends_with("read") { format!("{says}: {first}") } else { says.to_owned() };
    let mut fault = judge::fault(backup, what, judge::subject(backup), *backup.severity, text);
    fault.word("reason", reason);
    fault.show("what the program said", words);
    fault
}

fn unrestorable(backup: &Backup, reason: &str, words: &str, id: &str) -> Fault {
    let first = words.lines().next().unwrap_or_default();
    let text = format!("it cannot be restored: {first}");
    let mut fault = judge::fault(backup, "unrestorable", judge::subject(backup), *backup.severity, text);
    fault.word("reason", reason);
    judge::name_copy(&mut fault, "newest", backup.files.as_ref(), id);
    // Of an archive that is known to be damaged nothing else is to be expected.
    let archive =
        backup.files.as_ref().map(|files| AbsPath::new(format!("{}/{id}", files.directory.as_str())));
    if let Some(Ok(archive)) = archive {
        fault.depends_on(Subject::Path(archive));
    }
    fault.show("what happened", words);
    fault
}
