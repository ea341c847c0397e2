//! What a process of this very program does for the runner, which itself opens no connection and reads neither archives
//! nor what a service answers: `sopwith-agent backup …` and `sopwith-agent hand …`, supervised like any program of a
//! step. Of their answers only the exit code decides anything; their line is for people.

use super::Workbench;
use super::act::{Act, At};
use super::command::fault;
use crate::config::Backup;
use crate::runner::confine::Confinement;
use crate::runner::profiles;
use crate::runner::step_exec::{Ending, Report};
use sopwith_domain::action::{Action, Undo};
use sopwith_domain::run::Effect;
use sopwith_domain::value::Word;
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// How long a question may take that only looks, in milliseconds.
pub const QUESTION_MS: i64 = 60_000;

/// How long sessions are waited for that are not idle for long enough yet, in seconds.
const IDLE_WAIT_S: i64 = 90;

/// How this program is started, and what its configuration says of backups.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The program and the arguments that all its parts need.
    pub argv: Vec<String>,
    pub backups: BTreeMap<Word, Backup>,
}

/// It is so, or it is not; both with words. An error is that it cannot be told.
pub type Answer = Result<Result<String, String>, String>;

impl Workbench {
    /// Returns what the host's configuration says of a backup.
    ///
    /// # Errors
    /// It says nothing.
    pub fn backup(&self, name: &Word) -> Result<&Backup, String> {
        let backup = self.own.backups.get(name);
        backup.ok_or_else(|| format!("this host's configuration has no backup {name}"))
    }

    /// Asks a question, or has something done.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn ask(&self, words: &[String], timeout_ms: i64, lock: Option<&Path>) -> Answer {
        let argv: Vec<String> = self.own.argv.iter().chain(words).cloned().collect();
        let report = self.programs.run(&self.profile(words)?, &argv, timeout_ms, lock)?;
        let said = report.output.trim().to_owned();
        match report {
            Report { survivors: 0, ending: Ending::Exited(0), .. } => Ok(Ok(said)),
            Report { survivors: 0, ending: Ending::Exited(1), .. } => Ok(Err(said)),
            report => Err(format!("{}: {said}", fault(&report).unwrap_or_default())),
        }
    }
}

impl Workbench {
    /// Returns what is left to a process of this program that is asked this.
    fn profile(&self, words: &[String]) -> Result<Confinement, String> {
        let [what, question, name, ..] = words else { return Ok(profiles::hand()) };
        if what != "backup" {
            return Ok(profiles::hand());
        }
        let backup = self.backup(&Word::new(name.as_str()).map_err(|e| e.to_string())?)?;
        // What was found whole is remembered there, and drills restore there.
        let memory = self.settings.as_ref().map(|settings| settings.folder().join("backups"));
        if let Some(memory) = &memory {
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(memory);
        }
        Ok(profiles::backup_question(question, backup, memory))
    }
}

/// Returns the words of a question about a backup.
pub fn about(question: &str, backup: &Word) -> Vec<String> {
    vec!["backup".into(), question.into(), backup.to_string()]
}

/// Returns the words of something that is done to, or asked of, the service of a check.
pub fn hand(check: &Word, deed: &str, arguments: &[String]) -> Vec<String> {
    let words = ["hand".to_owned(), check.to_string(), deed.to_owned()];
    words.into_iter().chain(arguments.iter().cloned()).collect()
}

/// Something that is done whole by a process of this program, and mostly of which nothing can be put back.
#[derive(Clone, Debug)]
pub struct Deed {
    pub words: Vec<String>,
    /// Asks whether it took effect; without it the deed only looks.
    pub took: Option<Vec<String>>,
    /// Takes it back.
    pub back: Option<Vec<String>>,
    /// Whether that nothing can be put back is a loss.
    pub irreversible: bool,
    /// Whether it may have been done in part, so that `took` does not tell that nothing was.
    pub in_parts: bool,
    /// What it does, for people.
    pub what: String,
}

impl Deed {
    /// Returns how the action is done; of one that is done otherwise it only says so.
    pub fn of(action: &Action) -> Self {
        let texts = |numbers: &[i64]| -> Vec<String> { numbers.iter().map(ToString::to_string).collect() };
        let (words, took) = match action {
            Action::BackupVerify { backup } => (about("verify", backup), None),
            Action::BackupRestoreDrill { backup } => (about("drill", backup), None),
            Action::RedisBgsave { name } => {
                (hand(name, "redis-save", &[]), Some(hand(name, "redis-persisting", &[])))
            }
            Action::PostgresqlTerminate { name, pid, start_us, idle_s } => (
                hand(name, "postgresql-terminate", &texts(&[*pid, *start_us, *idle_s])),
                Some(hand(name, "postgresql-gone", &texts(&[*pid, *start_us]))),
            ),
            Action::PostgresqlTerminateIdle { name, below_percent, idle_s, most } => {
                let numbers = texts(&[*below_percent, *idle_s, *most, IDLE_WAIT_S]);
                let took = hand(name, "postgresql-connections-below", &texts(&[*below_percent]));
                (hand(name, "postgresql-terminate-idle", &numbers), Some(took))
            }
            Action::PostgresqlDropSlot { name, slot, retained_mb } => (
                hand(name, "postgresql-drop-slot", &[slot.to_string(), retained_mb.to_string()]),
                Some(hand(name, "postgresql-slot-absent", &[slot.to_string()])),
            ),
            Action::PostgresqlAllowWrites { name } => {
                (hand(name, "postgresql-allow-writes", &[]), Some(hand(name, "postgresql-writable", &[])))
            }
            other => (vec![other.name().into()], None),
        };
        let back = match action {
            Action::PostgresqlAllowWrites { name } => Some(hand(name, "postgresql-forbid-writes", &[])),
            _ => None,
        };
        let irreversible = action.undo() == Undo::Irreversible;
        let in_parts = matches!(action, Action::PostgresqlTerminateIdle { .. });
        Self { words, took, back, irreversible, in_parts, what: action.sentence() }
    }

    /// Asks the host's configuration whether it knows what this is about.
    fn known(&self, at: &At<'_>) -> Result<(), String> {
        match self.words.as_slice() {
            [what, question, name] if what == "backup" => {
                let backup = at.bench.backup(&Word::new(name.as_str()).map_err(|e| e.to_string())?)?;
                match question == "drill" && backup.drill.is_none() {
                    true => Err(format!("this host's configuration says of no drill for {name}")),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Act for Deed {
    type Prior = ();

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        self.known(at)?;
        Ok(format!("would be done: {}", self.what))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<(), String> {
        self.known(at)?;
        // What is so already would be undone to what it never was.
        match (&self.took, &self.back) {
            (Some(took), Some(_)) => match at.bench.ask(took, QUESTION_MS, None)? {
                Ok(so) => Err(format!("there is nothing to do: {so}")),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn perform(&self, at: &mut At<'_>, (): &()) -> Result<String, String> {
        at.bench.ask(&self.words, at.timeout_ms(), None)?
    }

    fn probe(&self, at: &mut At<'_>, (): &()) -> Result<Effect, String> {
        let Some(took) = &self.took else {
            return Ok(Effect::None { detail: "it only looks".into() });
        };
        Ok(match at.bench.ask(took, QUESTION_MS, None)? {
            Ok(detail) => Effect::Took { detail },
            Err(detail) => Effect::None { detail },
        })
    }

    fn undo(&self, at: &mut At<'_>, (): &()) -> Result<String, String> {
        if let Some(back) = &self.back {
            return match self.probe(at, &())? {
                Effect::None { detail } => Ok(detail),
                _ => at.bench.ask(back, QUESTION_MS, None)?,
            };
        }
        if !self.irreversible {
            return Ok("nothing is to be put back".into());
        }
        match (&self.took, self.in_parts) {
            (Some(_), false) => match self.probe(at, &())? {
                Effect::None { detail } => Ok(detail),
                _ => Err(format!("it was done and cannot be taken back: {}", self.what)),
            },
            _ => Err(format!("it may have been done in part and cannot be taken back: {}", self.what)),
        }
    }
}
