//! The typed actions that a step can perform, each with what it touches and what undoes it.
//! An action is data; performing it is the runner's, through [`crate::run::Host`].

use crate::signal::Subject;
use crate::value::{AbsPath, Glob, ProcessRef, UnitName, Word};
use serde::{Deserialize, Serialize};

/// Longest text that `file.write` may put down, in bytes.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Most arguments of a `command`, the program included.
pub const ARGV_MAX: usize = 64;

/// The names of all actions.
pub const ACTIONS: [&str; 17] = [
    "unit.start",
    "unit.stop",
    "unit.restart",
    "unit.reload",
    "unit.reset-failed",
    "process.signal",
    "process.start",
    "file.truncate",
    "file.rotate",
    "file.prune",
    "file.quarantine",
    "file.restore",
    "file.write",
    "file.mode",
    "file.owner",
    "file.reclaim-deleted",
    "command",
];

/// Signals that a step may send to a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProcessSignal {
    Hup,
    Term,
    Kill,
    Cont,
    Usr1,
    Usr2,
}

/// What a step does. The tag is the name that playbooks use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "action", deny_unknown_fields)]
pub enum Action {
    #[serde(rename = "unit.start")]
    UnitStart { unit: UnitName },
    #[serde(rename = "unit.stop")]
    UnitStop { unit: UnitName },
    #[serde(rename = "unit.restart")]
    UnitRestart { unit: UnitName },
    #[serde(rename = "unit.reload")]
    UnitReload { unit: UnitName },
    #[serde(rename = "unit.reset-failed")]
    UnitResetFailed { unit: UnitName },
    /// Signals one process, found by its number and start time, through a pidfd.
    #[serde(rename = "process.signal")]
    ProcessSignal { process: ProcessRef, signal: ProcessSignal },
    /// Starts a program that the host's administrator named for this process (`processes` in the agent's
    /// configuration), away from the step so that it outlives it, and waits until the process runs. The runner
    /// starts nothing but what its own configuration says. Undone by ending what was started.
    #[serde(rename = "process.start")]
    ProcessStart { process: Word, program: AbsPath },
    /// Empties a file that its writer keeps open; its bytes go to quarantine first where they fit.
    #[serde(rename = "file.truncate")]
    FileTruncate { path: AbsPath },
    /// Renames `path` to `path.1`, `.1` to `.2` and so on; what falls off after `keep` goes to quarantine.
    #[serde(rename = "file.rotate")]
    FileRotate { path: AbsPath, keep: u32 },
    /// Moves files of `directory` (not below it) whose names match the glob `pattern` to quarantine, but for
    /// the newest `keep_newest` of each group, those changed within `min_age_s` seconds and those that a process
    /// holds open for writing. A group are the names that are the same up to their last `group_until` character,
    /// or in their first `group_parts` parts between dots; all are one group where neither is given.
    #[serde(rename = "file.prune")]
    FilePrune {
        directory: AbsPath,
        pattern: Glob,
        keep_newest: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_until: Option<char>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_parts: Option<u32>,
        #[serde(default)]
        min_age_s: u64,
    },
    /// Moves a file out of the way, to be had back until its quarantine expires.
    #[serde(rename = "file.quarantine")]
    FileQuarantine { path: AbsPath },
    /// Puts a known-good copy in a file's place: content, mode, owner, times, extended attributes.
    #[serde(rename = "file.restore")]
    FileRestore { path: AbsPath, from: AbsPath },
    #[serde(rename = "file.write")]
    FileWrite { path: AbsPath, content: String },
    /// Sets the permission bits, in octal such as `0640`.
    #[serde(rename = "file.mode")]
    FileMode { path: AbsPath, mode: Word },
    #[serde(rename = "file.owner")]
    FileOwner { path: AbsPath, user: Word, group: Word },
    /// Empties a file that was deleted but is still held open by a process, found by its inode on a device.
    #[serde(rename = "file.reclaim-deleted")]
    FileReclaimDeleted { process: ProcessRef, path: AbsPath, inode: i64 },
    /// Starts a program with an argument vector, never through a shell. Without `undo_argv` it is irreversible,
    /// without `probe_argv` (exit 0: it took effect, 1: it did not) its effect cannot be known after a crash.
    #[serde(rename = "command")]
    Command {
        argv: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undo_argv: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        probe_argv: Vec<String>,
        /// What the program changes, for locks and declarations.
        touches: Vec<Subject>,
    },
}

/// How a step can be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The runner puts back what it captured before the step.
    Inverse,
    /// The step leaves nothing behind that could be put back (a reload, a signal).
    Nothing,
    /// The step changes something that cannot be put back; it raises the risk.
    Irreversible,
}

impl Action {
    /// Returns the name that playbooks use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnitStart { .. } => "unit.start",
            Self::UnitStop { .. } => "unit.stop",
            Self::UnitRestart { .. } => "unit.restart",
            Self::UnitReload { .. } => "unit.reload",
            Self::UnitResetFailed { .. } => "unit.reset-failed",
            Self::ProcessSignal { .. } => "process.signal",
            Self::ProcessStart { .. } => "process.start",
            Self::FileTruncate { .. } => "file.truncate",
            Self::FileRotate { .. } => "file.rotate",
            Self::FilePrune { .. } => "file.prune",
            Self::FileQuarantine { .. } => "file.quarantine",
            Self::FileRestore { .. } => "file.restore",
            Self::FileWrite { .. } => "file.write",
            Self::FileMode { .. } => "file.mode",
            Self::FileOwner { .. } => "file.owner",
            Self::FileReclaimDeleted { .. } => "file.reclaim-deleted",
            Self::Command { .. } => "command",
        }
    }

    /// Returns what the action touches: its lock, and what declarations and protection are asked about.
    pub fn touches(&self) -> Vec<Subject> {
        match self {
            Self::UnitStart { unit }
            | Self::UnitStop { unit }
            | Self::UnitRestart { unit }
            | Self::UnitReload { unit }
            | Self::UnitResetFailed { unit } => vec![Subject::Unit(unit.clone())],
            Self::ProcessSignal { process, .. } => {
                vec![Subject::Process(Word::new(process.pid.to_string()).expect("digits are a word"))]
            }
            Self::ProcessStart { process, .. } => vec![Subject::Process(process.clone())],
            Self::FileTruncate { path }
            | Self::FileRotate { path, .. }
            | Self::FileQuarantine { path }
            | Self::FileRestore { path, .. }
            | Self::FileWrite { path, .. }
            | Self::FileMode { path, .. }
            | Self::FileOwner { path, .. }
            | Self::FileReclaimDeleted { path, .. } => vec![Subject::Path(path.clone())],
            Self::FilePrune { directory, .. } => vec![Subject::Path(directory.clone())],
            Self::Command { touches, .. } => touches.clone(),
        }
    }

    /// Returns how the action can be taken back.
    pub fn undo(&self) -> Undo {
        match self {
            Self::UnitReload { .. } | Self::UnitResetFailed { .. } => Undo::Nothing,
            Self::ProcessSignal { signal, .. } => match signal {
                ProcessSignal::Term | ProcessSignal::Kill => Undo::Irreversible,
                _ => Undo::Nothing,
            },
            // What a deleted file held is copied to quarantine, but no name leads back to it.
            Self::FileReclaimDeleted { .. } => Undo::Irreversible,
            Self::Command { undo_argv, .. } if undo_argv.is_empty() => Undo::Irreversible,
            _ => Undo::Inverse,
        }
    }

    /// Returns what is wrong with the arguments beyond their types, or nothing.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::FileWrite { content, .. } if content.len() > WRITE_BYTES_MAX => {
                Some(format!("content of {} bytes, at most {WRITE_BYTES_MAX}", content.len()))
            }
            Self::FilePrune { group_until: Some(_), group_parts: Some(_), .. } => {
                Some("group_until and group_parts are two ways to group: give one".into())
            }
            Self::FilePrune { group_parts: Some(parts), .. } if !(1..=16).contains(parts) => {
                Some(format!("group_parts is {parts}, must be 1 to 16"))
            }
            Self::FileRotate { keep, .. } if !(1..=99).contains(keep) => {
                Some(format!("keep is {keep}, must be 1 to 99"))
            }
            Self::FileMode { mode, .. } if octal_mode(mode).is_none() => {
                Some(format!("mode {mode} must be three or four octal digits"))
            }
            Self::Command { argv, undo_argv, probe_argv, touches } => {
                let vectors = [argv, undo_argv, probe_argv];
                if argv.first().is_none_or(|program| AbsPath::new(program.as_str()).is_err()) {
                    Some("argv must begin with the absolute path of a program".into())
                } else if vectors.iter().any(|v| v.len() > ARGV_MAX || v.iter().any(|a| a.contains('\0'))) {
                    Some(format!("an argument vector has at most {ARGV_MAX} parts and no NUL"))
                } else if touches.is_empty() {
                    Some("touches must name what the program changes".into())
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// Returns the action as one sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::UnitStart { unit } => format!("Start {unit}"),
            Self::UnitStop { unit } => format!("Stop {unit}"),
            Self::UnitRestart { unit } => format!("Restart {unit}"),
            Self::UnitReload { unit } => format!("Have {unit} reload its configuration"),
            Self::UnitResetFailed { unit } => format!("Clear the failed state of {unit}"),
            Self::ProcessSignal { process, signal } => {
                format!(
                    "Send {signal:?} to process {} (started at tick {})",
                    process.pid, process.start_ticks
                )
            }
            Self::ProcessStart { process, program } => format!("Start the process {process}: {program}"),
            Self::FileTruncate { path } => format!("Empty {path}, keeping a copy where it fits"),
            Self::FileRotate { path, keep } => format!("Rotate {path}, keeping {keep} old files"),
            Self::FilePrune { directory, pattern, keep_newest, group_until, group_parts, .. } => {
                let grouped = group_until.is_some() || group_parts.is_some();
                let each = if grouped { " of each group" } else { "" };
                format!("Move {pattern} in {directory} to quarantine, but for the newest {keep_newest}{each}")
            }
            Self::FileQuarantine { path } => format!("Move {path} to quarantine"),
            Self::FileRestore { path, from } => format!("Restore {path} from {from}"),
            Self::FileWrite { path, content } => format!("Write {} bytes to {path}", content.len()),
            Self::FileMode { path, mode } => format!("Set the mode of {path} to {mode}"),
            Self::FileOwner { path, user, group } => format!("Set the owner of {path} to {user}:{group}"),
            Self::FileReclaimDeleted { process, path, .. } => {
                format!("Empty the deleted file {path} that process {} still holds open", process.pid)
            }
            Self::Command { argv, .. } => format!("Run {}", argv.join(" ")),
        }
    }
}

/// Parses permission bits in octal, at most 7777.
pub fn octal_mode(mode: &Word) -> Option<u32> {
    let text = mode.as_str();
    ((3..=4).contains(&text.len())).then(|| u32::from_str_radix(text, 8).ok()).flatten()
}
