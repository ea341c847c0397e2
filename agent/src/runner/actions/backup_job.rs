//! `backup.run` and `backup.stop`: a backup's job is started, by the unit or the command that this host's configuration
//! names, and waited for; or it is stopped, where it holds its lock and does nothing. A second job is never started
//! beside one that runs, and a lock file is never touched.
//!
//! Undoing a run ends it if it still runs, and moves what it put into the backup's folder to quarantine, or aside where
//! quarantine is on another file system: what a failed run left must not pass for a backup. A repository keeps what was
//! added to it, and the undo says so.

use super::act::{Act, At};
use super::aside::{Aside, Named, few};
use super::backup_files::{aside_of, is_manifest};
use super::command;
use super::own::{QUESTION_MS, about};
use super::systemd::{Job, UnitState};
use crate::config::FileSet;
use crate::runner::clock;
use crate::runner::profiles;
use crate::watcher::glob::fits;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::Effect;
use sopwith_domain::value::{UnitName, Word};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The file by which the supervisor of a command shows that it lives, and the list of what was there before.
const LOCK: &str = "lock";
const LIST: &str = "files.json";
/// Longest list, in bytes.
const LIST_BYTES_MAX: u64 = 8 * 1024 * 1024;
const POLL: Duration = Duration::from_millis(200);
/// Longest that the end of a unit is waited for, in milliseconds.
const STOP_MS: i64 = 90_000;
/// Fewest letters that all archives begin with by which a half-written one is known.
const HEAD_MIN: usize = 3;

/// Makes a backup.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub backup: &'a Word,
    pub unit: Option<&'a UnitName>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The unit's run before, and whether it had failed.
    #[serde(default)]
    invocation: Option<String>,
    #[serde(default)]
    was_failed: bool,
    /// Digest of the list of the files that were there, where the backup consists of files.
    #[serde(default)]
    list_sha256: Option<String>,
    /// Whether the folder aside was there before.
    was_there: bool,
}

/// Says whether a unit is at work: not one that has done its work and stays active.
fn works(state: &UnitState) -> bool {
    let active = matches!(state.active_state.as_str(), "active" | "reloading" | "refreshing");
    matches!(state.active_state.as_str(), "activating" | "deactivating")
        || (active && state.sub_state != "exited")
}

impl Run<'_> {
    /// Returns the command that makes the backup, where no unit does; refuses a unit that is not the configured one.
    fn command(&self, at: &At<'_>) -> Result<Vec<String>, String> {
        let backup = at.bench.backup(self.backup)?;
        let configured = backup.unit.as_deref();
        if configured != self.unit {
            let named = configured.map_or("no unit".to_owned(), ToString::to_string);
            return Err(format!("this host's configuration names {named} for the backup {}", self.backup));
        }
        let command: Vec<String> = backup.job.command.iter().map(|word| (**word).clone()).collect();
        match self.unit.is_none() && command.is_empty() {
            true => {
                Err(format!("this host's configuration does not say what makes the backup {}", self.backup))
            }
            false => Ok(command),
        }
    }

    fn files<'b>(&self, at: &'b At<'_>) -> Result<Option<(&'b FileSet, Aside)>, String> {
        let files = at.bench.backup(self.backup)?.files.as_ref();
        Ok(files.map(|files| (files, aside_of(files))))
    }

    fn lock(at: &At<'_>) -> PathBuf {
        at.bench.quarantine.folder(at.step).join(LOCK)
    }

    fn names(at: &At<'_>, prior: &Prior) -> Result<BTreeSet<String>, String> {
        let list = at.bench.quarantine.place(at.step, LIST)?;
        let file = list.open(false)?.ok_or_else(|| list.failed("find", "it is gone"))?;
        let mut text = Vec::new();
        file.take(LIST_BYTES_MAX).read_to_end(&mut text).map_err(|e| list.failed("read", e))?;
        if Some(hex::encode(Sha256::digest(&text))) != prior.list_sha256 {
            return Err(list.failed("trust", "it is not what the step wrote"));
        }
        serde_json::from_slice(&text).map_err(|e| list.failed("read", e))
    }

    fn wait(&self, at: &mut At<'_>, unit: &UnitName) -> Result<(), String> {
        let deadline_ms = clock::boot_ms() + at.timeout_ms();
        at.bench.systemd.job(Job::Start, unit, at.timeout_ms())?;
        loop {
            let state = at.bench.systemd.state(unit)?;
            match state.active_state.as_str() {
                "failed" => return Err(format!("{unit} failed ({})", state.sub_state)),
                _ if !works(&state) => return Ok(()),
                _ if clock::boot_ms() >= deadline_ms => return Err(format!("{unit} has not ended in time")),
                _ => std::thread::sleep(POLL),
            }
        }
    }

    /// Returns what is new in the folder and looks like this backup's.
    fn news(&self, at: &At<'_>, prior: &Prior) -> Result<Vec<Named>, String> {
        let Some((files, aside)) = self.files(at)? else { return Ok(Vec::new()) };
        let before = Self::names(at, prior)?;
        let all = aside.files()?;
        Ok(all
            .into_iter()
            .filter(|file| !before.contains(&file.name) && looks_like(files, &file.name))
            .collect())
    }

    /// Ends what the step started, if it still runs.
    fn end(&self, at: &mut At<'_>, prior: &Prior) -> Result<(), String> {
        let Some(unit) = self.unit else { return command::over(&Self::lock(at)) };
        let state = at.bench.systemd.state(unit)?;
        let anew = prior.invocation.as_ref() != Some(&state.invocation);
        if anew && works(&state) {
            at.bench.systemd.job(Job::Stop, unit, STOP_MS)?;
        }
        // That this run failed stands in the step; the unit is as it was.
        if anew && !prior.was_failed && at.bench.systemd.state(unit)?.active_state == "failed" {
            at.bench.systemd.reset_failed(unit)?;
        }
        Ok(())
    }
}

/// Moves files out of the backup's folder, and returns where they are. Nothing is copied, so that it takes no room.
fn put_away(at: &At<'_>, aside: &Aside, files: &[Named]) -> Result<PathBuf, String> {
    let own = Aside { directory: aside.directory.clone(), root: at.bench.quarantine.root().to_owned() };
    if own.put(at.step, files).is_ok() {
        return Ok(at.bench.quarantine.folder(at.step));
    }
    // What has gone already is passed over.
    aside.prepare_again(at.step)?;
    aside.put(at.step, files)?;
    Ok(aside.root.clone())
}

/// Says whether a file is an archive of this backup, a checksum, or one of them half-written.
fn looks_like(files: &FileSet, name: &str) -> bool {
    let pattern = files.pattern.as_str();
    let head = &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())];
    let half =
        head.len() >= HEAD_MIN && name.trim_start_matches('.').starts_with(head.trim_start_matches('.'));
    fits(pattern, name) || is_manifest(files, name) || half
}

impl Act for Run<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let command = self.command(at)?;
        at.bench.ask(&about("idle", self.backup), QUESTION_MS, None)??;
        let what = self.unit.map_or_else(|| command.join(" "), ToString::to_string);
        Ok(format!("{what} would be started and waited for"))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        self.command(at)?;
        at.bench.ask(&about("idle", self.backup), QUESTION_MS, None)??;
        let (mut invocation, mut was_failed) = (None, false);
        if let Some(unit) = self.unit {
            let state = at.bench.systemd.state(unit)?;
            if state.load_state != "loaded" {
                return Err(format!("{unit} cannot be worked with: its load state is {}", state.load_state));
            }
            if works(&state) {
                return Err(format!("{unit} runs already"));
            }
            was_failed = state.active_state == "failed";
            invocation = Some(state.invocation);
        }
        at.bench.quarantine.fresh(at.step)?;
        at.bench.quarantine.place(at.step, LOCK)?.create()?;
        let Some((_, aside)) = self.files(at)? else {
            return Ok(Prior { invocation, was_failed, list_sha256: None, was_there: true });
        };
        let names: BTreeSet<String> = match std::fs::metadata(&aside.directory) {
            Ok(_) => aside.files()?.into_iter().map(|file| file.name).collect(),
            Err(_) => BTreeSet::new(),
        };
        let text = serde_json::to_vec(&names).map_err(|e| e.to_string())?;
        let list = at.bench.quarantine.place(at.step, LIST)?;
        let written = list.create().and_then(|mut file| {
            file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| list.failed("write", e))
        });
        written.and_then(|()| list.sync_folder())?;
        let was_there = aside.root.exists();
        Ok(Prior { invocation, was_failed, list_sha256: Some(hex::encode(Sha256::digest(&text))), was_there })
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let began_ms = clock::boot_ms();
        match self.unit {
            Some(unit) => self.wait(at, unit)?,
            None => {
                let command = self.command(at)?;
                let profile = profiles::backup_job(at.bench.backup(self.backup)?);
                let report =
                    at.bench.programs.run(&profile, &command, at.timeout_ms(), Some(&Self::lock(at)))?;
                if let Some(how) = command::fault(&report) {
                    return Err(format!("{}: {how}: {}", command[0], report.output.trim()));
                }
            }
        }
        let took_s = (clock::boot_ms() - began_ms) / 1000;
        let news: Vec<_> = self.news(at, prior)?.into_iter().map(|file| file.name).collect();
        let new = if news.is_empty() { String::new() } else { format!("; new: {}", few(news)) };
        Ok(format!("the backup was made in {took_s} s{new}"))
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        let Some(unit) = self.unit else {
            command::over(&Self::lock(at))?;
            let detail = "its command was interrupted with this program".to_owned();
            return Ok(match self.news(at, prior)?.is_empty() {
                true if self.files(at)?.is_some() => Effect::None { detail },
                _ => Effect::Unknown { detail },
            });
        };
        let deadline_ms = clock::boot_ms() + at.timeout_ms();
        loop {
            let state = at.bench.systemd.state(unit)?;
            let detail = format!("{unit} is {} ({})", state.active_state, state.sub_state);
            if works(&state) && clock::boot_ms() < deadline_ms {
                std::thread::sleep(POLL);
                continue;
            }
            let anew = prior.invocation.as_ref() != Some(&state.invocation);
            return Ok(match anew {
                false => Effect::None { detail },
                true if works(&state) || state.active_state == "failed" => Effect::Unknown { detail },
                true => Effect::Took { detail },
            });
        }
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        self.end(at, prior)?;
        let Some((_, aside)) = self.files(at)? else {
            return Ok("what was added to the repository stays there".into());
        };
        let before = Self::names(at, prior)?;
        let there: BTreeSet<String> = aside.files()?.into_iter().map(|file| file.name).collect();
        let news = self.news(at, prior)?;
        let mut text = "the job left nothing in its folder".to_owned();
        if !news.is_empty() {
            let names = few(news.iter().map(|file| file.name.clone()).collect());
            let away = put_away(at, &aside, &news)?;
            text = format!("what the job left is in {}: {names}", away.display());
        }
        aside.tidy(at.step, prior.was_there);
        let gone: Vec<String> = before.difference(&there).cloned().collect();
        match gone.is_empty() {
            true => Ok(text),
            false => Err(format!("{text}; the job removed {}, which cannot be had back", few(gone))),
        }
    }
}

/// Stops the job of a backup that does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Stop<'a> {
    pub backup: &'a Word,
    pub unit: &'a UnitName,
}

impl Stop<'_> {
    /// Watches the job for some seconds; one that gets on is left alone.
    fn is_stalled(&self, at: &At<'_>) -> Result<String, String> {
        let configured = at.bench.backup(self.backup)?.unit.as_deref();
        if configured != Some(self.unit) {
            return Err(format!(
                "{} is not what this host's configuration names for {}",
                self.unit, self.backup
            ));
        }
        at.bench.ask(&about("stalled", self.backup), QUESTION_MS, None)?
    }
}

impl Act for Stop<'_> {
    type Prior = UnitState;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let why = self.is_stalled(at)?;
        Ok(format!("{} would be stopped: {why}", self.unit))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<UnitState, String> {
        self.is_stalled(at)?;
        let state = at.bench.systemd.state(self.unit)?;
        if works(&state) { Ok(state) } else { Err(format!("{} does not run", self.unit)) }
    }

    fn perform(&self, at: &mut At<'_>, prior: &UnitState) -> Result<String, String> {
        if at.bench.systemd.state(self.unit)?.invocation != prior.invocation {
            return Err(format!("{} runs anew since it was looked at", self.unit));
        }
        at.bench.systemd.job(Job::Stop, self.unit, at.timeout_ms())?;
        let now = at.bench.systemd.state(self.unit)?;
        Ok(format!("{} is {} ({})", self.unit, now.active_state, now.sub_state))
    }

    fn probe(&self, at: &mut At<'_>, prior: &UnitState) -> Result<Effect, String> {
        let now = at.bench.systemd.state(self.unit)?;
        let detail = format!("{} is {}", self.unit, now.active_state);
        Ok(match works(&now) && now.invocation == prior.invocation {
            true => Effect::None { detail },
            false => Effect::Took { detail },
        })
    }

    fn undo(&self, at: &mut At<'_>, prior: &UnitState) -> Result<String, String> {
        match self.probe(at, prior)? {
            Effect::None { detail } => Ok(detail),
            _ => {
                Err(format!("{} was stopped; what it had done so far cannot be given back to it", self.unit))
            }
        }
    }
}
