//! `sopwith-agent backup QUESTION NAME`: answers one question about one configured backup, by exit code and a line.
//! People may ask; the runner does too, as root, and so reads neither archives nor what programs answer by itself. It
//! looks and tries; it never makes, moves or removes a backup.

use super::judge::Found;
use super::manifest::{self, Memory};
use super::tool::Trouble;
use super::{borg, drill, files, job, now_s, pgbackrest, restic, users};
use crate::config::{At, Backup, Config, FileSet};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use sopwith_domain::value::AbsPath;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long an answer that took much reading is believed, as long as nothing changes, in seconds.
const BELIEVED_S: i64 = 3600;
/// How long a job is watched before it counts as doing nothing.
const STALLED_MIN: Duration = Duration::from_secs(10);
/// How much older than now the newest may pretend to be from the future, in seconds: clocks differ a little.
const FUTURE_S_MAX: i64 = 300;
/// Most names that are told.
const NAMES_MAX: usize = 5;

#[derive(Args, Debug)]
pub struct BackupArguments {
    #[arg(value_enum)]
    question: Question,
    /// The backup's name in the configuration.
    name: String,
}

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Question {
    /// Is the newest young enough?
    Fresh,
    /// Is the newest whole, as far as that was read within the last hour, or else by reading it?
    Intact,
    /// Is the newest whole, by reading it now?
    Verify,
    /// Are all that are to be kept whole, by reading them now?
    Kept,
    /// Are there no more than are to be kept?
    Few,
    /// Does its job not run?
    Idle,
    /// Does its job run and do nothing at all?
    Stalled,
    /// Can nobody reach it but those who are meant to?
    Private,
    /// Can it be restored?
    Drill,
}

/// It holds, or does not; both with words. An error is that it cannot be told.
type Answer = Result<Result<String, String>, String>;

/// Answers: exit code 0 if it holds, 1 if it does not, 3 if it cannot be told.
pub fn ask(config: &Path, arguments: &BackupArguments) -> ExitCode {
    let (code, text) = match answer(config, arguments) {
        Ok(Ok(text)) => (0, text),
        Ok(Err(text)) => (1, text),
        Err(reason) => (3, reason),
    };
    println!("{}", text.lines().collect::<Vec<_>>().join(" "));
    ExitCode::from(code)
}

fn answer(file: &Path, arguments: &BackupArguments) -> Answer {
    let config = Config::load(file).map_err(|e| e.to_string())?;
    let name = arguments.name.as_str();
    let named = config.backups.iter().find(|backup| backup.name.as_str() == name);
    let backup = named.ok_or_else(|| format!("the configuration names no backup {name}"))?;
    let asked = Asked { backup, folder: config.state_dir.path().join("runner").join("backups") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("failed to start: {e}"))?;
    runtime.block_on(asked.answer(arguments.question))
}

/// What was read whole, for the next who asks.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    files: Memory,
    /// The newest of a repository that was whole, and when.
    repository: Option<(String, i64)>,
}

struct Asked<'a> {
    backup: &'a Backup,
    /// The runner's own.
    folder: PathBuf,
}

impl Asked<'_> {
    async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Fresh => Ok(self.fresh(&self.look().await?)),
            Question::Few => Ok(self.few(&self.look().await?)),
            Question::Intact | Question::Verify => self.whole(question == Question::Verify).await,
            Question::Kept => self.kept(),
            Question::Idle => Ok(match job::sample(self.backup) {
                None => Ok("its job does not run".into()),
                Some(running) => Err(format!("its job runs as process {}", running.holder.pid)),
            }),
            Question::Stalled => self.stalled().await,
            Question::Private => self.private(),
            Question::Drill => self.drill().await,
        }
    }

    async fn look(&self) -> Result<Found, String> {
        let found = match (&self.backup.restic, &self.backup.borg, &self.backup.pgbackrest) {
            (Some(restic), ..) => restic::look(restic, now_s()).await,
            (_, Some(borg), _) => borg::look(borg, &self.folder, now_s()).await,
            (.., Some(backrest)) => pgbackrest::look(backrest).await,
            _ => return Ok(files::found(&self.listing()?.1)),
        };
        found.map_err(told)
    }

    /// Returns the files and what is there of them.
    fn listing(&self) -> Result<(&FileSet, files::Listing), String> {
        let files = self.backup.files.as_ref().ok_or("this backup does not consist of files")?;
        let listing = files::list(files);
        Ok((files, listing.map_err(|e| format!("failed to list {}: {e}", files.directory.as_str()))?))
    }

    fn fresh(&self, found: &Found) -> Result<String, String> {
        let newest = found.newest().ok_or("there is none")?;
        let age_s = now_s() - newest.at_s;
        let age_max_s = i64::try_from(self.backup.age_max().as_secs()).unwrap_or(i64::MAX);
        let text = format!("{} is {age_s} s old, at most {age_max_s} is allowed", newest.id);
        if (-FUTURE_S_MAX..=age_max_s).contains(&age_s) { Ok(text) } else { Err(text) }
    }

    fn few(&self, found: &Found) -> Result<String, String> {
        let count = found.copies.iter().filter(|copy| !copy.failed).count();
        match &self.backup.keep.max {
            Some(max) if count as u64 > u64::from(**max) => {
                Err(format!("there are {count}, at most {} are to be kept", **max))
            }
            _ => Ok(format!("there are {count}")),
        }
    }

    async fn whole(&self, anew: bool) -> Answer {
        let mut remembered = if anew { Remembered::default() } else { self.remembered() };
        let answer = if self.backup.files.is_some() {
            let (files, listing) = self.listing()?;
            judge_files(files, &listing, 1, &mut remembered.files)
        } else {
            self.whole_repository(&mut remembered).await
        };
        self.remember(&remembered);
        answer
    }

    async fn whole_repository(&self, remembered: &mut Remembered) -> Answer {
        let newest = self.look().await?.newest().map(|copy| copy.id.clone());
        let Some(newest) = newest else { return Ok(Err("there is none".into())) };
        if let Some((id, at_s)) = &remembered.repository
            && *id == newest
            && (0..BELIEVED_S).contains(&(now_s() - at_s))
        {
            return Ok(Ok(format!("{newest} was found whole {} s ago", now_s() - at_s)));
        }
        let verify = &self.backup.verify;
        let verified = match (&self.backup.restic, &self.backup.borg, &self.backup.pgbackrest) {
            (Some(restic), ..) => restic::verify(restic, *verify.data, *verify.max_time).await,
            (_, Some(borg), _) => borg::verify(borg, &self.folder, *verify.data, *verify.max_time).await,
            (.., Some(backrest)) => pgbackrest::verify(backrest, *verify.max_time).await,
            _ => Ok(()),
        };
        match verified {
            Ok(()) => {
                remembered.repository = Some((newest.clone(), now_s()));
                Ok(Ok(format!("the repository is whole, its newest is {newest}")))
            }
            Err(Trouble::Repository { reason: "corrupt", words }) => {
                Ok(Err(format!("the repository is damaged: {words}")))
            }
            Err(trouble) => Err(told(trouble)),
        }
    }

    fn kept(&self) -> Answer {
        let (files, listing) = self.listing()?;
        let max = self.backup.keep.max.as_ref().ok_or("keep.max does not say how many are kept")?;
        let mut remembered = Remembered::default();
        let answer = judge_files(files, &listing, **max as usize, &mut remembered.files);
        self.remember(&remembered);
        answer
    }

    async fn stalled(&self) -> Answer {
        let began = crate::watcher::clock::boot_ms();
        let mut tracked = None;
        let Some(first) = job::sample(self.backup) else { return Ok(Err("its job does not run".into())) };
        let pid = first.holder.pid;
        job::observe(&mut tracked, Some(first), self.backup, began);
        let pause = STALLED_MIN.max(self.backup.job.stalled_after.0 / 4).min(3 * STALLED_MIN);
        tokio::time::sleep(pause).await;
        let Some(second) = job::sample(self.backup) else { return Ok(Err("its job has ended".into())) };
        let same = tracked.as_ref().is_some_and(|tracked| !tracked.moved(&second, pause));
        Ok(match same {
            true => Ok(format!("process {pid} did nothing for {} s", pause.as_secs())),
            false => Err("its job gets on".into()),
        })
    }

    fn private(&self) -> Answer {
        let (files, listing) = self.listing()?;
        Ok(match files::exposed(self.backup, files, &listing, &users()) {
            None => Ok("nobody else can reach it".into()),
            Some(fault) => Err(fault.summary),
        })
    }

    async fn drill(&self) -> Answer {
        let drill = self.backup.drill.as_ref().ok_or("this backup has no drill")?;
        let Some(newest) = self.look().await?.newest().map(|copy| copy.id.clone()) else {
            return Ok(Err("there is nothing to restore".into()));
        };
        // The watcher removes what earlier drills left where it restores, so this one has a place of its own.
        let place = drill.scratch.as_ref().map_or_else(|| self.folder.clone(), |at| at.path().to_owned());
        let scratch = AbsPath::new(place.join("by-runner").to_string_lossy().into_owned());
        let scratch = scratch.map_err(|e| format!("the scratch folder cannot be used: {e}"))?;
        let drill = crate::config::Drill { scratch: Some(At::of(scratch)), ..drill.clone() };
        Ok(match drill::run(self.backup, &drill, &newest, &self.folder).await {
            drill::Outcome::Restored { bytes, files, took_ms } => Ok(format!(
                "{newest} was restored: {files} files of {bytes} bytes in {took_ms} ms, removed again"
            )),
            drill::Outcome::Failed { reason, words } => {
                Err(format!("{newest} cannot be restored ({reason}): {words}"))
            }
            drill::Outcome::Unasked(reason) => return Err(reason),
        })
    }

    fn memory(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.backup.name.as_str().replace(['/', '.'], "_")))
    }

    fn remembered(&self) -> Remembered {
        let text = std::fs::read(self.memory()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Who may not write there reads again the next time, and no more comes of it.
    fn remember(&self, remembered: &Remembered) {
        let text = serde_json::to_vec(remembered).expect("it has string keys and no floats");
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let next = self.memory().with_extension("tmp");
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&next);
        let written = made.and_then(|mut file| std::io::Write::write_all(&mut file, &text));
        let _ = written.and_then(|()| std::fs::rename(&next, self.memory()));
    }
}

/// Says whether so many of the newest archives are whole. What `memory` knows and nobody changed is believed.
fn judge_files(files: &FileSet, listing: &files::Listing, count: usize, memory: &mut Memory) -> Answer {
    let (sums, trouble) = files::sums(files, listing);
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    if listing.archives.is_empty() {
        return Ok(Err("there is none".into()));
    }
    let (mut wrong, mut good) = (Vec::new(), 0);
    for listed in listing.archives.iter().take(count) {
        let (name, path) = (&listed.name, files.directory.path().join(&listed.name));
        let fault = match sums.get(name) {
            _ if listed.metadata.len() == 0 => Some("is empty"),
            _ if files::wrong_magic(&path) => Some("is not what its name says"),
            None => (*files.manifest_required).then_some("has no checksum"),
            Some((wanted, _)) => {
                let fresh = |at_s: i64| (0..BELIEVED_S).contains(&(now_s() - at_s));
                let known = memory.get(name).filter(|c| c.is_of(&listed.metadata) && fresh(c.at_s)).cloned();
                let checked = match known {
                    Some(known) => known,
                    None => {
                        let read = manifest::check(&path, now_s(), &AtomicBool::new(false));
                        read.map_err(|e| format!("failed to read {}: {e}", path.display()))?
                    }
                };
                let differs = checked.sha256 != *wanted;
                memory.insert(name.clone(), checked);
                differs.then_some("does not have the checksum that was written with it")
            }
        };
        match fault {
            Some(fault) => wrong.push(format!("{name} {fault}")),
            None => good += 1,
        }
    }
    manifest::forget(memory, |name| listing.archives.iter().any(|listed| listed.name == name));
    if wrong.is_empty() {
        return Ok(Ok(format!("{good} read and whole, the newest is {}", listing.archives[0].name)));
    }
    let more = wrong.len().saturating_sub(NAMES_MAX);
    wrong.truncate(NAMES_MAX);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    Ok(Err(format!("{}{rest}", wrong.join(", "))))
}

fn told(trouble: Trouble) -> String {
    match trouble {
        Trouble::Unasked(reason) => reason,
        Trouble::Repository { reason, words } => {
            format!("the repository does not answer ({reason}): {words}")
        }
    }
}

#[cfg(test)]
mod tests;
