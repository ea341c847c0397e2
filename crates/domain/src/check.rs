//! Questions that a step or a verification asks of the host. A check looks and never changes anything.

use crate::value::{AbsPath, ProcessRef, UnitName, Url, Word};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The names of all checks.
pub const CHECKS: [&str; 20] = [
    "unit.active",
    "unit.not-active",
    "http.ok",
    "file.exists",
    "file.absent",
    "file.same",
    "file.differs",
    "file.fresh",
    "file.mode-is",
    "filesystem.below",
    "filesystem.inodes-below",
    "filesystem.all-below",
    "pidfile.stale",
    "process.gone",
    "process.present",
    "process.running",
    "process.not-running",
    "address.foreign",
    "check.passes",
    "command.ok",
];

/// What can be asked. The tag is the name that playbooks use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "check", deny_unknown_fields)]
pub enum Check {
    #[serde(rename = "unit.active")]
    UnitActive { unit: UnitName },
    #[serde(rename = "unit.not-active")]
    UnitNotActive { unit: UnitName },
    /// The address answers with a status of 200 to 299; only loopback and the host's own addresses are asked.
    #[serde(rename = "http.ok")]
    HttpOk { url: Url },
    #[serde(rename = "file.exists")]
    FileExists { path: AbsPath },
    #[serde(rename = "file.absent")]
    FileAbsent { path: AbsPath },
    /// Both files hold the same bytes.
    #[serde(rename = "file.same")]
    FileSame { path: AbsPath, other: AbsPath },
    #[serde(rename = "file.differs")]
    FileDiffers { path: AbsPath, other: AbsPath },
    /// The file was written within so many seconds.
    #[serde(rename = "file.fresh")]
    FileFresh { path: AbsPath, within_s: i64 },
    #[serde(rename = "file.mode-is")]
    FileModeIs { path: AbsPath, mode: Word },
    /// Used share of the file system that holds `path`, in percent, is below the limit.
    #[serde(rename = "filesystem.below")]
    FilesystemBelow { path: AbsPath, used_percent: i64 },
    #[serde(rename = "filesystem.inodes-below")]
    FilesystemInodesBelow { path: AbsPath, used_percent: i64 },
    /// Every local file system that can be written is used below the limit: a restart mends no full disk.
    #[serde(rename = "filesystem.all-below")]
    FilesystemAllBelow { used_percent: i64 },
    /// The file holds a process number, and no process with that number was started by this unit.
    #[serde(rename = "pidfile.stale")]
    PidfileStale { path: AbsPath, unit: UnitName },
    #[serde(rename = "process.gone")]
    ProcessGone { process: ProcessRef },
    #[serde(rename = "process.present")]
    ProcessPresent { process: ProcessRef },
    /// The address is that of one other machine: not loopback, unspecified, multicast, broadcast or link-local,
    /// none of the host's own, and not the one by which it reaches the server.
    #[serde(rename = "address.foreign")]
    AddressForeign { ip: IpAddr },
    /// The process that the host's administrator gave this name (`processes` in the agent's configuration) runs.
    #[serde(rename = "process.running")]
    ProcessRunning { process: Word },
    #[serde(rename = "process.not-running")]
    ProcessNotRunning { process: Word },
    /// A check that the host's own administrator defined, by its name in the agent's configuration.
    #[serde(rename = "check.passes")]
    CheckPasses { name: Word },
    /// The program exits with 0; argument vector, never a shell.
    #[serde(rename = "command.ok")]
    CommandOk { argv: Vec<String> },
}

impl Check {
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnitActive { .. } => "unit.active",
            Self::UnitNotActive { .. } => "unit.not-active",
            Self::HttpOk { .. } => "http.ok",
            Self::FileExists { .. } => "file.exists",
            Self::FileAbsent { .. } => "file.absent",
            Self::FileSame { .. } => "file.same",
            Self::FileDiffers { .. } => "file.differs",
            Self::FileFresh { .. } => "file.fresh",
            Self::FileModeIs { .. } => "file.mode-is",
            Self::FilesystemBelow { .. } => "filesystem.below",
            Self::FilesystemInodesBelow { .. } => "filesystem.inodes-below",
            Self::FilesystemAllBelow { .. } => "filesystem.all-below",
            Self::PidfileStale { .. } => "pidfile.stale",
            Self::ProcessGone { .. } => "process.gone",
            Self::ProcessPresent { .. } => "process.present",
            Self::ProcessRunning { .. } => "process.running",
            Self::ProcessNotRunning { .. } => "process.not-running",
            Self::AddressForeign { .. } => "address.foreign",
            Self::CheckPasses { .. } => "check.passes",
            Self::CommandOk { .. } => "command.ok",
        }
    }

    /// Returns what is wrong with the arguments beyond their types, or nothing.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::FilesystemBelow { used_percent, .. }
            | Self::FilesystemInodesBelow { used_percent, .. }
            | Self::FilesystemAllBelow { used_percent }
                if !(1..=100).contains(used_percent) =>
            {
                Some(format!("used_percent is {used_percent}, must be 1 to 100"))
            }
            Self::FileFresh { within_s, .. } if *within_s < 1 => Some("within_s must be at least 1".into()),
            Self::FileModeIs { mode, .. } if crate::action::octal_mode(mode).is_none() => {
                Some(format!("mode {mode} must be three or four octal digits"))
            }
            Self::CommandOk { argv }
                if argv.first().is_none_or(|program| AbsPath::new(program.as_str()).is_err()) =>
            {
                Some("argv must begin with the absolute path of a program".into())
            }
            _ => None,
        }
    }

    /// Returns what must hold, as one sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::UnitActive { unit } => format!("{unit} is active"),
            Self::UnitNotActive { unit } => format!("{unit} is not active"),
            Self::HttpOk { url } => format!("{url} answers with success"),
            Self::FileExists { path } => format!("{path} exists"),
            Self::FileAbsent { path } => format!("{path} does not exist"),
            Self::FileSame { path, other } => format!("{path} holds the same bytes as {other}"),
            Self::FileDiffers { path, other } => format!("{path} differs from {other}"),
            Self::FileFresh { path, within_s } => format!("{path} was written in the last {within_s} s"),
            Self::FileModeIs { path, mode } => format!("{path} has mode {mode}"),
            Self::FilesystemBelow { path, used_percent } => {
                format!("the file system of {path} is used below {used_percent} %")
            }
            Self::FilesystemInodesBelow { path, used_percent } => {
                format!("the inodes of {path}'s file system are used below {used_percent} %")
            }
            Self::FilesystemAllBelow { used_percent } => {
                format!("every file system of the host is used below {used_percent} %")
            }
            Self::PidfileStale { path, unit } => format!("{path} names no living process of {unit}"),
            Self::ProcessGone { process } => format!("process {} is gone", process.pid),
            Self::ProcessPresent { process } => format!("process {} is still the same one", process.pid),
            Self::AddressForeign { ip } => {
                format!("{ip} is another machine's address, neither this host's nor the server's")
            }
            Self::ProcessRunning { process } => format!("the process {process} runs"),
            Self::ProcessNotRunning { process } => format!("the process {process} does not run"),
            Self::CheckPasses { name } => format!("the host's check {name} passes"),
            Self::CommandOk { argv } => format!("{} exits with 0", argv.join(" ")),
        }
    }
}
