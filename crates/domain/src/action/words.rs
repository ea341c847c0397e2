//! Actions in words, for plans and pages.

use super::Action;

impl Action {
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
            Self::FilePrune {
                directory, pattern, keep_newest, group_until, group_parts, discard, ..
            } => {
                let grouped = group_until.is_some() || group_parts.is_some();
                let each = if grouped { " of each group" } else { "" };
                let but = format!("but for the newest {keep_newest}{each}");
                match discard {
                    true => format!("Delete {pattern} in {directory}, {but}"),
                    false => format!("Move {pattern} in {directory} to quarantine, {but}"),
                }
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
