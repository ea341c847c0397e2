//! Every action on the real machine: capture what an undo needs, do it, look whether it took effect, undo it. One
//! file per noun. Every one of them can be interrupted anywhere and then probed or undone; an undo done twice
//! changes nothing more.

pub mod accounts;
pub mod command;
mod file_attributes;
mod file_prune;
mod file_quarantine;
mod file_reclaim_deleted;
mod file_replace;
mod file_rotate;
mod file_truncate;
mod meta;
mod place;
mod process;
mod process_start;
pub mod processes;
mod quarantine;
mod systemd;
mod unit;

pub use command::Programs;
pub use place::Place;
pub use quarantine::{Quarantine, prepare, sha256};
pub use systemd::{Systemd, UnitState};

use super::settings::NamedProcess;
use file_attributes::Wanted;
use file_prune::Choice;
use file_reclaim_deleted::Deleted;
use file_replace::Content;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sopwith_domain::action::Action;
use sopwith_domain::run::{
    Effect, OUTPUT_BYTES_MAX, Prior, StepContext, StepOutcome, StepResult, UndoOutcome, UndoResult,
};
use sopwith_domain::value::Word;
use std::collections::BTreeMap;
use std::path::PathBuf;
use systemd::Job;
use unit::Doing;

/// Longest text about a probe or an undo, in bytes.
const DETAIL_BYTES_MAX: usize = 4096;
/// The file by which the supervisor of a `command` shows that it lives.
const LOCK: &str = "lock";

/// What actions work with.
#[derive(Debug)]
pub struct Workbench {
    pub quarantine: Quarantine,
    pub systemd: Systemd,
    pub programs: Programs,
    /// What the host's administrator named, by its name.
    pub processes: BTreeMap<Word, NamedProcess>,
}

impl Workbench {
    fn process(&self, name: &Word) -> Result<&NamedProcess, String> {
        self.processes.get(name).ok_or_else(|| format!("this host's configuration has no process {name}"))
    }

    fn lock(&self, step: StepContext<'_>) -> PathBuf {
        self.quarantine.folder(step).join(LOCK)
    }
}

/// The same action as its module wants it.
fn doing(action: &Action) -> Doing {
    match action {
        Action::UnitStart { .. } => Doing::Job(Job::Start),
        Action::UnitStop { .. } => Doing::Job(Job::Stop),
        Action::UnitRestart { .. } => Doing::Job(Job::Restart),
        Action::UnitReload { .. } => Doing::Job(Job::Reload),
        _ => Doing::ResetFailed,
    }
}

fn wanted(action: &Action) -> Option<Wanted<'_>> {
    match action {
        Action::FileMode { mode, .. } => Some(Wanted::Mode(mode)),
        Action::FileOwner { user, group, .. } => Some(Wanted::Owner { user, group }),
        _ => None,
    }
}

fn content(action: &Action) -> Content<'_> {
    match action {
        Action::FileRestore { from, .. } => Content::Copy { from },
        Action::FileWrite { content, .. } => Content::Text(content),
        _ => Content::Text(""),
    }
}

fn choice(action: &Action) -> Option<Choice<'_>> {
    let Action::FilePrune { directory, pattern, keep_newest, group_until, group_parts, min_age_s } = action
    else {
        return None;
    };
    Some(Choice {
        directory,
        pattern,
        keep_newest: *keep_newest,
        group_until: *group_until,
        group_parts: *group_parts,
        min_age_s: *min_age_s,
    })
}

fn kept<T: Serialize>(prior: Result<T, String>) -> Result<Prior, String> {
    serde_json::to_value(prior?).map_err(|e| e.to_string())
}

fn read<T: DeserializeOwned>(prior: &Prior) -> Result<T, String> {
    serde_json::from_value(prior.clone()).map_err(|e| format!("what was captured cannot be read: {e}"))
}

pub fn capture(bench: &mut Workbench, step: StepContext<'_>) -> Result<Prior, String> {
    let (quarantine, action) = (&bench.quarantine, &step.step.action);
    match action {
        Action::UnitStart { unit }
        | Action::UnitStop { unit }
        | Action::UnitRestart { unit }
        | Action::UnitReload { unit }
        | Action::UnitResetFailed { unit } => kept(unit::capture(&mut bench.systemd, unit, doing(action))),
        Action::ProcessSignal { process, .. } => kept(process::capture(*process)),
        Action::ProcessStart { process, program } => {
            kept(bench.process(process).and_then(|named| process_start::capture(named, program)))
        }
        Action::FileTruncate { path } => kept(file_truncate::capture(quarantine, step, path)),
        Action::FileRotate { path, keep } => kept(file_rotate::capture(quarantine, step, path, *keep)),
        Action::FilePrune { .. } => kept(
            choice(action).ok_or_else(String::new).and_then(|c| file_prune::capture(quarantine, step, c)),
        ),
        Action::FileQuarantine { path } => kept(file_quarantine::capture(quarantine, step, path)),
        Action::FileRestore { path, .. } | Action::FileWrite { path, .. } => {
            kept(file_replace::capture(quarantine, step, path, &content(action)))
        }
        Action::FileMode { path, .. } | Action::FileOwner { path, .. } => {
            kept(wanted(action).ok_or_else(String::new).and_then(|w| file_attributes::capture(path, w)))
        }
        Action::FileReclaimDeleted { process, path, inode } => {
            let deleted = Deleted { process: *process, path, inode: *inode };
            kept(file_reclaim_deleted::capture(quarantine, step, deleted))
        }
        Action::Command { probe_argv, .. } => {
            quarantine.fresh(step)?;
            quarantine.place(step, LOCK)?.create()?;
            kept(command::capture(&bench.programs, probe_argv, step.step.timeout_ms))
        }
    }
}

pub fn perform(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> StepOutcome {
    if let Action::Command { argv, .. } = &step.step.action {
        let (timeout_ms, lock) = (step.step.timeout_ms, bench.lock(step));
        return match read(prior) {
            Ok(prior) => command::perform(&bench.programs, argv, timeout_ms, &lock, prior),
            Err(reason) => StepResult::Failed { reason, output: String::new() },
        };
    }
    match do_it(bench, step, prior) {
        Ok(output) => StepResult::Done { output: cut(output, OUTPUT_BYTES_MAX) },
        Err(reason) => StepResult::Failed { reason: cut(reason, DETAIL_BYTES_MAX), output: String::new() },
    }
}

fn do_it(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> Result<String, String> {
    let (quarantine, action, timeout_ms) = (&bench.quarantine, &step.step.action, step.step.timeout_ms);
    match action {
        Action::UnitStart { unit }
        | Action::UnitStop { unit }
        | Action::UnitRestart { unit }
        | Action::UnitReload { unit }
        | Action::UnitResetFailed { unit } => {
            unit::perform(&mut bench.systemd, unit, doing(action), timeout_ms)
        }
        Action::ProcessSignal { process, signal } => process::perform(*process, *signal, timeout_ms),
        Action::ProcessStart { process, program } => {
            let supervisor = &bench.programs.supervisor;
            process_start::perform(supervisor, step, bench.process(process)?, program, &read(prior)?)
        }
        Action::FileTruncate { path } => file_truncate::perform(quarantine, step, path, &read(prior)?),
        Action::FileRotate { path, .. } => file_rotate::perform(path, &read(prior)?),
        Action::FilePrune { .. } => {
            file_prune::perform(quarantine, step, choice(action).ok_or_else(String::new)?, &read(prior)?)
        }
        Action::FileQuarantine { path } => file_quarantine::perform(path, &read(prior)?),
        Action::FileRestore { path, .. } | Action::FileWrite { path, .. } => {
            file_replace::perform(step, path, &content(action), &read(prior)?)
        }
        Action::FileMode { path, .. } | Action::FileOwner { path, .. } => {
            file_attributes::perform(path, &read(prior)?)
        }
        Action::FileReclaimDeleted { process, path, inode } => {
            let deleted = Deleted { process: *process, path, inode: *inode };
            file_reclaim_deleted::perform(deleted, &read(prior)?)
        }
        Action::Command { .. } => Err("a program is not started here".into()),
    }
}

pub fn probe(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> Effect {
    let effect = look(bench, step, prior).unwrap_or_else(|detail| Effect::Unknown { detail });
    match effect {
        Effect::Took { detail } => Effect::Took { detail: cut(detail, DETAIL_BYTES_MAX) },
        Effect::None { detail } => Effect::None { detail: cut(detail, DETAIL_BYTES_MAX) },
        Effect::Unknown { detail } => Effect::Unknown { detail: cut(detail, DETAIL_BYTES_MAX) },
    }
}

fn look(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> Result<Effect, String> {
    let (quarantine, action, timeout_ms) = (&bench.quarantine, &step.step.action, step.step.timeout_ms);
    Ok(match action {
        Action::UnitStart { unit }
        | Action::UnitStop { unit }
        | Action::UnitRestart { unit }
        | Action::UnitReload { unit }
        | Action::UnitResetFailed { unit } => {
            unit::probe(&mut bench.systemd, unit, doing(action), &read(prior)?)
        }
        Action::ProcessSignal { process, signal } => process::probe(*process, *signal),
        Action::ProcessStart { process, .. } => {
            process_start::probe(step, bench.process(process)?, &read(prior)?)
        }
        Action::FileTruncate { path } => file_truncate::probe(path, &read(prior)?),
        Action::FileRotate { path, .. } => file_rotate::probe(path, &read(prior)?),
        Action::FilePrune { .. } => {
            file_prune::probe(quarantine, step, choice(action).ok_or_else(String::new)?, &read(prior)?)
        }
        Action::FileQuarantine { path } => file_quarantine::probe(path, &read(prior)?),
        Action::FileRestore { path, .. } | Action::FileWrite { path, .. } => {
            file_replace::probe(path, &read(prior)?)
        }
        Action::FileMode { path, .. } | Action::FileOwner { path, .. } => {
            file_attributes::probe(path, &read(prior)?)
        }
        Action::FileReclaimDeleted { process, path, inode } => {
            let deleted = Deleted { process: *process, path, inode: *inode };
            file_reclaim_deleted::probe(deleted, &read(prior)?)
        }
        Action::Command { probe_argv, .. } => {
            command::probe(&bench.programs, probe_argv, timeout_ms, &bench.lock(step), read(prior)?)
        }
    })
}

pub fn undo(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> UndoOutcome {
    match put_back(bench, step, prior) {
        Ok(detail) => UndoResult::Restored { detail: cut(detail, DETAIL_BYTES_MAX) },
        Err(what) => UndoResult::Residue { what: cut(what, DETAIL_BYTES_MAX) },
    }
}

fn put_back(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> Result<String, String> {
    let (quarantine, action, timeout_ms) = (&bench.quarantine, &step.step.action, step.step.timeout_ms);
    match action {
        Action::UnitStart { unit }
        | Action::UnitStop { unit }
        | Action::UnitRestart { unit }
        | Action::UnitReload { unit }
        | Action::UnitResetFailed { unit } => {
            unit::undo(&mut bench.systemd, unit, doing(action), &read(prior)?, timeout_ms)
        }
        Action::ProcessSignal { process, signal } => process::undo(*process, *signal),
        Action::ProcessStart { .. } => process_start::undo(step),
        Action::FileTruncate { path } => file_truncate::undo(quarantine, step, path, &read(prior)?),
        Action::FileRotate { path, .. } => file_rotate::undo(quarantine, step, path, &read(prior)?),
        Action::FilePrune { .. } => {
            file_prune::undo(quarantine, step, choice(action).ok_or_else(String::new)?, &read(prior)?)
        }
        Action::FileQuarantine { path } => file_quarantine::undo(quarantine, step, path, &read(prior)?),
        Action::FileRestore { path, .. } | Action::FileWrite { path, .. } => {
            file_replace::undo(quarantine, step, path, &read(prior)?)
        }
        Action::FileMode { path, .. } | Action::FileOwner { path, .. } => {
            file_attributes::undo(path, &read(prior)?)
        }
        Action::FileReclaimDeleted { process, path, inode } => {
            let deleted = Deleted { process: *process, path, inode: *inode };
            file_reclaim_deleted::undo(quarantine, step, deleted, &read(prior)?)
        }
        Action::Command { undo_argv, probe_argv, .. } => {
            let programs = (undo_argv.as_slice(), probe_argv.as_slice());
            command::undo(&bench.programs, programs, timeout_ms, &bench.lock(step), read(prior)?)
        }
    }
}

fn cut(text: String, bytes_max: usize) -> String {
    super::admission::short_to(text, bytes_max)
}

#[cfg(test)]
mod tests;
