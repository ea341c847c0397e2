//! The typed actions that a step can perform. An action is data; performing it is the runner's, through
//! [`crate::run::Host`].

mod arguments;
mod reach;
mod words;

use crate::signal::Subject;
use crate::value::{AbsPath, Glob, ProcessRef, UnitName, Word, Words};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Longest text that `file.write` may put down, in bytes.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Most arguments of a `command`, the program included.
pub const ARGV_MAX: usize = 64;

/// The names of all actions.
pub const ACTIONS: [&str; 28] = [
    "unit.start",
    "unit.stop",
    "unit.restart",
    "unit.reload",
    "unit.reset-failed",
    "process.signal",
    "process.start",
    "process.end",
    "process.renice",
    "file.truncate",
    "file.rotate",
    "file.prune",
    "file.quarantine",
    "file.restore",
    "file.write",
    "file.mode",
    "file.owner",
    "file.reclaim-deleted",
    "sysctl.set",
    "link.mtu",
    "nft.add-element",
    "nft.delete-element",
    "nft.delete-rule",
    "mount.mount",
    "mount.unmount",
    "mount.remount",
    "clock.step",
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

/// Which packets a table of the packet filter sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NftFamily {
    #[default]
    Inet,
    Ip,
    Ip6,
}

impl NftFamily {
    /// Returns nft's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
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
    /// Asks one process to end, and ends it if it has not after `grace_s` seconds.
    #[serde(rename = "process.end")]
    ProcessEnd { process: ProcessRef, grace_s: i64 },
    /// Gives every thread of one process another niceness.
    #[serde(rename = "process.renice")]
    ProcessRenice { process: ProcessRef, nice: i32 },
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
        /// Deletes them instead, for where quarantine lies on the file system that is to be relieved and keeping
        /// them would free nothing. Only of files that the host's administrator marked as reclaimable
        /// (`filesystems.mounts.X.reclaim` in the agent's configuration), and core dumps. Cannot be undone.
        #[serde(default, skip_serializing_if = "is_false")]
        discard: bool,
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
    /// Gives a setting of the running kernel another value. Nothing in `/etc` is changed.
    #[serde(rename = "sysctl.set")]
    SysctlSet { key: Word, value: Words },
    /// Sets the largest packet of an interface that is not this host's way to the server.
    #[serde(rename = "link.mtu")]
    LinkMtu { interface: Word, mtu: u32 },
    /// Puts one address into a set of the packet filter, for some seconds or, with 0, until it is taken out.
    #[serde(rename = "nft.add-element")]
    NftAddElement {
        #[serde(default)]
        family: NftFamily,
        table: Word,
        set: Word,
        ip: IpAddr,
        timeout_s: u64,
    },
    /// Takes one address out of a set of the packet filter.
    #[serde(rename = "nft.delete-element")]
    NftDeleteElement {
        #[serde(default)]
        family: NftFamily,
        table: Word,
        set: Word,
        ip: IpAddr,
    },
    /// Takes one rule out of the packet filter, known by its handle and by the digest of what it says.
    #[serde(rename = "nft.delete-rule")]
    NftDeleteRule {
        #[serde(default)]
        family: NftFamily,
        table: Word,
        chain: Word,
        handle: u64,
        rule: Word,
    },
    /// Mounts what `/etc/fstab` declares for a folder, if nothing lies in it.
    #[serde(rename = "mount.mount")]
    MountMount { mount: AbsPath },
    /// Unmounts what `/etc/fstab` declares, if nobody uses it.
    #[serde(rename = "mount.unmount")]
    MountUnmount { mount: AbsPath },
    /// Gives a mounted place one other option: ro, rw, nosuid, suid, nodev, dev, noexec or exec.
    #[serde(rename = "mount.remount")]
    MountRemount { mount: AbsPath, option: Word },
    /// Has chrony set the clock right at once, if by its own measurement it is off by no more than this.
    #[serde(rename = "clock.step")]
    ClockStep { max_offset_s: i64 },
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
            Self::ProcessEnd { .. } => "process.end",
            Self::ProcessRenice { .. } => "process.renice",
            Self::SysctlSet { .. } => "sysctl.set",
            Self::LinkMtu { .. } => "link.mtu",
            Self::NftAddElement { .. } => "nft.add-element",
            Self::NftDeleteElement { .. } => "nft.delete-element",
            Self::NftDeleteRule { .. } => "nft.delete-rule",
            Self::MountMount { .. } => "mount.mount",
            Self::MountUnmount { .. } => "mount.unmount",
            Self::MountRemount { .. } => "mount.remount",
            Self::ClockStep { .. } => "clock.step",
            Self::Command { .. } => "command",
        }
    }
}

/// Parses permission bits in octal, at most 7777.
pub fn octal_mode(mode: &Word) -> Option<u32> {
    let text = mode.as_str();
    ((3..=4).contains(&text.len())).then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// For fields that came later: a plan that does not use them keeps its digest.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
