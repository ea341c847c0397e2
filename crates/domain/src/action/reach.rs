//! What an action touches, and how it can be taken back.

use super::{Action, ProcessSignal, Undo};
use crate::signal::Subject;
use crate::value::Word;

impl Action {
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
            Self::FilePrune { discard: true, .. } => Undo::Irreversible,
            // What a deleted file held is copied to quarantine, but no name leads back to it.
            Self::FileReclaimDeleted { .. } => Undo::Irreversible,
            Self::Command { undo_argv, .. } if undo_argv.is_empty() => Undo::Irreversible,
            _ => Undo::Inverse,
        }
    }
}
