//! `operator.command`: starts a program that the host's administrator named in the agent's own configuration, which
//! nobody but root can write. The files that it is said to touch are kept before it starts, and come back as they were:
//! bytes, mode, owner, times. What else it touches its own `undo_argv` takes back.

use super::act::{Act, At};
use super::place::Place;
use super::quarantine::{Kept, sha256};
use super::{Programs, command};
use crate::runner::profiles;
use crate::runner::settings::NamedCommand;
use serde::{Deserialize, Serialize};
use sopwith_domain::action::Action;
use sopwith_domain::protect;
use sopwith_domain::run::Effect;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, Word};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

/// The file by which the supervisor of the step shows that it lives.
const LOCK: &str = "lock";
/// What the files were after the program had ended.
const AFTER: &str = "after";
const AFTER_BYTES_MAX: u64 = 64 * 1024;

/// A command by its name.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub name: &'a Word,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    already: bool,
    files: Vec<Touched>,
}

/// A file that the command touches; nothing is kept of one that was not there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Touched {
    path: AbsPath,
    kept: Option<Kept>,
}

/// There once `undo_argv` has done its work: it may not be one that can be started twice.
const UNDONE: &str = "undone";

/// Digests of the files by their paths; nothing where there was none.
type After = BTreeMap<AbsPath, Option<String>>;

impl Touched {
    fn is_as_before(&self, place: &Place) -> Result<bool, String> {
        match (place.open(false)?, &self.kept) {
            (None, kept) => Ok(kept.is_none()),
            (Some(_), None) => Ok(false),
            (Some(file), Some(kept)) => kept.is(&file).map_err(|e| place.failed("read", e)),
        }
    }
}

fn digest(place: &Place) -> Result<Option<String>, String> {
    let Some(file) = place.open(false)? else { return Ok(None) };
    sha256(&file).map(Some).map_err(|e| place.failed("read", e))
}

impl Named<'_> {
    fn lock(at: &At<'_>) -> PathBuf {
        at.bench.quarantine.folder(at.step).join(LOCK)
    }

    fn command(&self, at: &At<'_>) -> Result<NamedCommand, String> {
        let named = at.bench.commands.get(self.name).cloned();
        let named = named.ok_or_else(|| format!("this host's configuration has no command {}", self.name))?;
        let as_action =
            Action::OperatorCommand { command: self.name.clone(), touches: named.touches.clone() };
        protect::refuse(&as_action).map_or(Ok(named), Err)
    }

    fn says(programs: &Programs, argv: &[String], timeout_ms: i64) -> Result<bool, String> {
        Ok(!argv.is_empty()
            && command::fault(&programs.run(&profiles::looking(), argv, timeout_ms, None)?).is_none())
    }

    /// Notes what the files are after the program, so that a later change by somebody else is told from its own.
    fn note(at: &At<'_>, files: &[Touched]) -> Result<(), String> {
        let mut after = After::new();
        for touched in files {
            after.insert(touched.path.clone(), digest(&Place::of(&touched.path)?)?);
        }
        let place = at.bench.quarantine.place(at.step, AFTER)?;
        place.remove()?;
        let text = serde_json::to_vec(&after).map_err(|e| e.to_string())?;
        let mut file = place.create()?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| place.failed("write", e))?;
        place.sync_folder()
    }

    fn noted(at: &At<'_>) -> Option<After> {
        let file = at.bench.quarantine.place(at.step, AFTER).ok()?.open(false).ok()??;
        let mut text = Vec::new();
        file.take(AFTER_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn put_back(at: &At<'_>, touched: &Touched, after: Option<&After>) -> Result<(), String> {
        let place = Place::of(&touched.path)?;
        super::quarantine::beside(at.step, &place)?.remove()?;
        if touched.is_as_before(&place)? {
            return Ok(());
        }
        let changed_since = match after.and_then(|after| after.get(&touched.path)) {
            Some(noted) => *noted != digest(&place)?,
            None => false,
        };
        if changed_since {
            return Err(format!("somebody changed {} since; that was left alone", touched.path));
        }
        let Some(kept) = &touched.kept else {
            place.remove()?;
            return place.sync_folder();
        };
        let from = at.bench.quarantine.place(at.step, &kept.name)?;
        let file = from.open(false)?.ok_or_else(|| from.failed("find", "it is gone from quarantine"))?;
        at.bench.quarantine.ready(at.step, kept, &file, &place)?.rename_over(&place)?;
        place.sync_folder()
    }
}

impl Act for Named<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let named = self.command(at)?;
        let already = Self::says(&at.bench.programs, &named.probe_argv, at.timeout_ms())?;
        Ok(match already {
            true => format!("nothing: {} says that it is so already", named.probe_argv[0]),
            false => format!("{} would be run", named.argv.join(" ")),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        let named = self.command(at)?;
        at.bench.quarantine.fresh(at.step)?;
        at.bench.quarantine.place(at.step, LOCK)?.create()?;
        let already = Self::says(&at.bench.programs, &named.probe_argv, at.timeout_ms())?;
        let mut files = Vec::new();
        for subject in &named.touches {
            let Subject::Path(path) = subject else { continue };
            let place = Place::of(path)?;
            let kept = match place.open(false)? {
                None => None,
                Some(file) => {
                    let bytes = file.metadata().map_err(|e| place.failed("look at", e))?.len();
                    if !at.bench.quarantine.fits(bytes, &file)? {
                        return Err(place.failed("keep", format!("{bytes} bytes do not fit quarantine")));
                    }
                    let name = format!("file-{}", files.len());
                    Some(at.bench.quarantine.copy(at.step, &place, &file, &name)?)
                }
            };
            files.push(Touched { path: path.clone(), kept });
        }
        Ok(Prior { already, files })
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        if prior.already {
            return Ok("it was so already; the program was not started".into());
        }
        let named = self.command(at)?;
        let (programs, timeout_ms) = (&at.bench.programs, at.timeout_ms());
        let report = programs.run(
            &profiles::operator_command(&named),
            &named.argv,
            timeout_ms,
            Some(&Self::lock(at)),
        )?;
        Self::note(at, &prior.files)?;
        if let Some(reason) = command::fault(&report) {
            return Err(format!("{}: {reason}: {}", named.argv[0], report.output));
        }
        if !named.check_argv.is_empty() {
            let checked =
                programs.run(&profiles::looking(), &named.check_argv, timeout_ms, Some(&Self::lock(at)))?;
            if let Some(reason) = command::fault(&checked) {
                return Err(format!("after it {}: {reason}: {}", named.check_argv[0], checked.output));
            }
        }
        Ok(report.output)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        if prior.already {
            return Ok(Effect::None { detail: "it was so before the step".into() });
        }
        command::over(&Self::lock(at))?;
        let named = self.command(at)?;
        if !named.probe_argv.is_empty() && Self::says(&at.bench.programs, &named.probe_argv, at.timeout_ms())?
        {
            return Ok(Effect::Took { detail: format!("{} says so", named.probe_argv[0]) });
        }
        Ok(Effect::Unknown { detail: "the program may have been started and interrupted".into() })
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&Self::lock(at))?;
        if prior.already {
            return Ok("it was so before the step and stays so".into());
        }
        let named = self.command(at)?;
        let mut left = Vec::new();
        let gone = prior
            .files
            .iter()
            .all(|t| Place::of(&t.path).and_then(|place| t.is_as_before(&place)).unwrap_or(false));
        // Where all of its files are as before it has nothing to take back a second time.
        let undone = at.bench.quarantine.place(at.step, UNDONE)?;
        let done_before = undone.stat()?.is_some() || !prior.files.is_empty() && gone;
        if !named.undo_argv.is_empty() && !done_before {
            let report = at.bench.programs.run(
                &profiles::operator_command(&named),
                &named.undo_argv,
                at.timeout_ms(),
                Some(&Self::lock(at)),
            )?;
            match command::fault(&report) {
                None => drop(undone.create()?),
                Some(how) => left.push(format!("{}: {how}: {}", named.undo_argv[0], report.output)),
            }
        }
        let after = Self::noted(at).filter(|_| named.undo_argv.is_empty());
        left.extend(prior.files.iter().filter_map(|t| Self::put_back(at, t, after.as_ref()).err()));
        match left.is_empty() {
            true => Ok("what it touched is as it was".into()),
            false => Err(left.join("; ")),
        }
    }
}
