//! The typed actions that a step can perform. An action is data; performing it is the runner's, through
//! [`crate::run::Host`].

mod arguments;
mod names;
mod reach;
mod words;

pub use names::ACTIONS;

use crate::signal::Subject;
use crate::value::{AbsPath, Glob, ProcessRef, UnitName, Url, Word, Words};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Longest text that `file.write` may put down, in bytes.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Most arguments of a `command`, the program included.
pub const ARGV_MAX: usize = 64;

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

/// How a service on this host is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// How a line-based configuration is written, and which of its lines counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// `KEY VALUE`, the last counts.
    LoginDefs,
    /// `key = value`, the last counts.
    Pwquality,
    /// `a.b.c = value`, the last counts.
    Sysctl,
    /// `Key value`, the first before any `Match` counts.
    Sshd,
}

/// By what processes are put in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LookBy {
    Cpu,
    Memory,
    Io,
    /// Open descriptors.
    Files,
}

impl LookBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Files => "files",
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
    /// Has the unit start with the host, as its file says; undone by what was before, link for link.
    #[serde(rename = "unit.enable")]
    UnitEnable { unit: UnitName },
    #[serde(rename = "unit.disable")]
    UnitDisable { unit: UnitName },
    /// Makes it impossible to start the unit.
    #[serde(rename = "unit.mask")]
    UnitMask { unit: UnitName },
    #[serde(rename = "unit.unmask")]
    UnitUnmask { unit: UnitName },
    /// Has systemd read the files of all units again: done after a file of the unit was changed, and undone the same
    /// way, so that a step of it before that change sees to what the change's undo brings back.
    #[serde(rename = "unit.read-definitions")]
    UnitReadDefinitions { unit: UnitName },
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
    /// Sets one key of a line-based configuration, in the line that counts, or in a new one; all else stays.
    #[serde(rename = "file.edit")]
    FileEdit { path: AbsPath, format: FileFormat, key: Word, value: Word },
    /// Renames a file to where nothing is, on the same file system.
    #[serde(rename = "file.move")]
    FileMove { path: AbsPath, to: AbsPath },
    /// Sets the permission bits, in octal such as `0640`.
    #[serde(rename = "file.mode")]
    FileMode { path: AbsPath, mode: Word },
    #[serde(rename = "file.owner")]
    FileOwner { path: AbsPath, user: Word, group: Word },
    /// Empties a file that was deleted but is still held open by a process, found by its inode on a device.
    #[serde(rename = "file.reclaim-deleted")]
    FileReclaimDeleted { process: ProcessRef, path: AbsPath, inode: i64 },
    /// Removes a socket at which nobody listens. Undone by one of the same mode, owner and time.
    #[serde(rename = "socket.remove")]
    SocketRemove { path: AbsPath },
    /// Makes an empty folder where nothing is, as it is declared. Undone by removing it while it is empty.
    #[serde(rename = "directory.create")]
    DirectoryCreate { path: AbsPath, mode: Word, user: Word, group: Word },
    /// Gives a setting of the running kernel another value. Nothing in `/etc` is changed.
    #[serde(rename = "sysctl.set")]
    SysctlSet { key: Word, value: Words },
    /// Sets the largest packet of an interface that is not this host's way to the server.
    #[serde(rename = "link.mtu")]
    LinkMtu { interface: Word, mtu: u32 },
    /// Sets an interface up; it keeps its addresses. Undone by setting it down.
    #[serde(rename = "link.up")]
    LinkUp { interface: Word },
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
    /// Starts what the agent's configuration names for this backup (its unit, or its command) and waits for its end.
    /// Refuses while its job runs. Undone by moving what the job left in its folder out of the way.
    #[serde(rename = "backup.run")]
    BackupRun {
        backup: Word,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<UnitName>,
    },
    /// Stops the unit of a backup's job that holds its lock and does nothing; one that gets on is left alone.
    #[serde(rename = "backup.stop")]
    BackupStop { backup: Word, unit: UnitName },
    /// Reads the newest of a backup whole, or has its program check the repository. Changes nothing.
    #[serde(rename = "backup.verify")]
    BackupVerify { backup: Word },
    /// Moves one archive and its own checksum aside, on the same file system.
    #[serde(rename = "backup.quarantine")]
    BackupQuarantine { backup: Word, path: AbsPath },
    /// Moves all but the newest `keep` archives and their checksums aside, on the same file system. `keep` is what the
    /// agent's configuration says (`keep.max`), and those that are kept must be whole.
    #[serde(rename = "backup.prune")]
    BackupPrune { backup: Word, directory: AbsPath, keep: i64 },
    /// Takes the permissions beyond those declared from a backup's folder, archives and checksums.
    #[serde(rename = "backup.modes")]
    BackupModes { backup: Word, directory: AbsPath },
    /// Restores the newest into a scratch folder within the declared bounds, and removes it again.
    #[serde(rename = "backup.restore-drill")]
    BackupRestoreDrill { backup: Word },
    /// Ends one session of PostgreSQL, told by its number and the microsecond of its beginning, that has done nothing
    /// for `idle_s` seconds; never a superuser's or a replication's. `name` is a check of the agent's configuration.
    #[serde(rename = "postgresql.terminate")]
    PostgresqlTerminate { name: Word, pid: i64, start_us: i64, idle_s: i64 },
    /// Ends at most `most` sessions without a transaction that have done nothing for `idle_s` seconds, the longest idle
    /// first, until less than `below_percent` of the connections is in use.
    #[serde(rename = "postgresql.terminate-idle")]
    PostgresqlTerminateIdle { name: Word, below_percent: i64, idle_s: i64, most: i64 },
    /// Drops a replication slot that nobody reads and that holds back `retained_mb` megabytes of log or more.
    #[serde(rename = "postgresql.drop-slot")]
    PostgresqlDropSlot { name: Word, slot: Word, retained_mb: i64 },
    /// Lets PostgreSQL take writes again where `ALTER SYSTEM` has forbidden them (`default_transaction_read_only`).
    #[serde(rename = "postgresql.allow-writes")]
    PostgresqlAllowWrites { name: Word },
    /// Has Redis save a snapshot and waits for its success.
    #[serde(rename = "redis.bgsave")]
    RedisBgsave { name: Word },
    /// Calls a service on this very host, by http and one of its own addresses, and wants this status.
    #[serde(rename = "http.call")]
    HttpCall {
        url: Url,
        method: Method,
        status: i64,
        /// Called the same way by an undo.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo_url: Option<Url>,
        /// Whether the call changes something that cannot be taken back.
        irreversible: bool,
        /// What the call changes, for locks and declarations.
        touches: Vec<Subject>,
    },
    /// Locks an account: no password opens it, and it is expired, so that keys do not open it either. With
    /// `close_shell` it has none any more.
    #[serde(rename = "account.lock")]
    AccountLock {
        account: Word,
        #[serde(default)]
        close_shell: bool,
    },
    /// Takes a lock off again; an account that never had a password gets none.
    #[serde(rename = "account.unlock")]
    AccountUnlock { account: Word },
    /// Lets an account that has run out last so many days more, and its password with it; never for ever.
    #[serde(rename = "account.expiry")]
    AccountExpiry { account: Word, days: u32 },
    /// Has dpkg configure one package that is half installed, or without a name all that are, keeping the
    /// configuration files that are there.
    #[serde(rename = "package.configure")]
    PackageConfigure {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package: Option<Word>,
    },
    /// Looks who uses most of something, and how scarce it is: the first of what a person would ask a host.
    #[serde(rename = "look.processes")]
    LookProcesses { by: LookBy, most: u32 },
    /// Looks at a unit: its state, how it ended last, its process, and which units it needs that do not run.
    #[serde(rename = "look.unit")]
    LookUnit { unit: UnitName },
    /// Looks at the last lines that a unit wrote to the host's journal.
    #[serde(rename = "look.journal")]
    LookJournal { unit: UnitName, lines: u32 },
    /// Looks what fills a file system: its use, its largest folders and files, and what was deleted and is still held open.
    #[serde(rename = "look.filesystem")]
    LookFilesystem { path: AbsPath, most: u32 },
    /// Looks at interfaces, routes, the resolver, listening sockets and how many connections stand in which state.
    #[serde(rename = "look.network")]
    LookNetwork { most: u32 },
    /// Starts the program that the host's administrator named so (`commands` in the agent's configuration). The
    /// runner takes it from its own configuration; the plan cannot change it.
    #[serde(rename = "operator.command")]
    OperatorCommand {
        command: Word,
        /// What it is for, for locks and declarations; what the configuration says it changes is asked as well.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        touches: Vec<Subject>,
    },
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

/// Says whether a word can name an account of a host.
pub fn account_name(name: &Word) -> bool {
    let text = name.as_str();
    text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
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
