//! What must hold of an action's arguments beyond their types.

use super::{ARGV_MAX, Action, WRITE_BYTES_MAX, octal_mode};
use crate::value::AbsPath;

impl Action {
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
}
