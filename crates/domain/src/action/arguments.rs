//! What must hold of an action's arguments beyond their types.

use super::{ARGV_MAX, Action, WRITE_BYTES_MAX, account_name, octal_mode};
use crate::value::AbsPath;

/// Longest time for which an address is put into a set: thirty days, in seconds.
const BLOCK_S_MAX: u64 = 30 * 86_400;
/// Values of settings from which the kernel lets nobody back.
const ONE_WAY: [(&str, &str); 2] =
    [("kernel.yama.ptrace_scope", "3"), ("kernel.unprivileged_bpf_disabled", "1")];
/// Options that a place can be given.
const REMOUNTS: [&str; 8] = ["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec"];

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
            Self::ProcessEnd { grace_s, .. } if !(0..=600).contains(grace_s) => {
                Some(format!("grace_s is {grace_s}, must be 0 to 600"))
            }
            Self::ProcessRenice { nice, .. } if !(-20..=19).contains(nice) => {
                Some(format!("nice is {nice}, must be -20 to 19"))
            }
            Self::SysctlSet { key, value } if ONE_WAY.contains(&(key.as_str(), value.as_str())) => {
                Some(format!("{key} cannot be set back from {value} until the machine starts again"))
            }
            Self::LinkMtu { mtu, .. } if !(68..=65_536).contains(mtu) => {
                Some(format!("mtu is {mtu}, must be 68 to 65,536"))
            }
            Self::NftAddElement { timeout_s, .. } if *timeout_s > BLOCK_S_MAX => {
                Some(format!("timeout_s is {timeout_s}, at most {BLOCK_S_MAX}"))
            }
            Self::MountRemount { option, .. } if !REMOUNTS.contains(&option.as_str()) => {
                Some(format!("option is {option}, must be one of {}", REMOUNTS.join(", ")))
            }
            Self::ClockStep { max_offset_s } if !(1..=86_400).contains(max_offset_s) => {
                Some(format!("max_offset_s is {max_offset_s}, must be 1 to 86,400"))
            }
            Self::FileMode { mode, .. } | Self::DirectoryCreate { mode, .. }
                if octal_mode(mode).is_none() =>
            {
                Some(format!("mode {mode} must be three or four octal digits"))
            }
            Self::BackupPrune { keep, .. } if *keep < 1 => {
                Some(format!("keep is {keep}, must be at least 1"))
            }
            Self::PostgresqlTerminate { pid, start_us, idle_s, .. }
                if *pid < 2 || *start_us < 1 || *idle_s < 1 =>
            {
                Some("pid must be at least 2, start_us and idle_s at least 1".into())
            }
            Self::PostgresqlTerminateIdle { below_percent, idle_s, most, .. }
                if !(1..=100).contains(below_percent) || *idle_s < 1 || !(1..=1000).contains(most) =>
            {
                Some("below_percent must be 1 to 100, idle_s at least 1, most 1 to 1000".into())
            }
            Self::PostgresqlDropSlot { retained_mb, .. } if *retained_mb < 1 => {
                Some(format!("retained_mb is {retained_mb}, must be at least 1"))
            }
            Self::HttpCall { status, .. } if !(100..=599).contains(status) => {
                Some(format!("status is {status}, must be 100 to 599"))
            }
            Self::HttpCall { touches, .. } if touches.is_empty() => {
                Some("touches must name what the call changes".into())
            }
            Self::HttpCall { undo_url: Some(_), irreversible: true, .. } => {
                Some("a call with an undo_url is not irreversible".into())
            }
            Self::AccountLock { account, .. }
            | Self::AccountUnlock { account }
            | Self::AccountExpiry { account, .. }
                if !account_name(account) =>
            {
                Some(format!("{account} cannot be the name of an account"))
            }
            Self::AccountExpiry { days, .. } if !(1..=400).contains(days) => {
                Some(format!("days is {days}, must be 1 to 400"))
            }
            Self::PackageConfigure { package: Some(package) }
                if !package.as_str().starts_with(|c: char| c.is_ascii_alphanumeric()) =>
            {
                Some(format!("{package} cannot be the name of a package"))
            }
            Self::FileMove { path, to } if path == to => Some("path and to are the same".into()),
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
