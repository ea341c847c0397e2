//! Questions that a step or a verification asks of the host. A check looks and never changes anything.

mod words;

use crate::action::{FileFormat, NftFamily};
use crate::value::{AbsPath, ProcessRef, UnitName, Url, Word, Words};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The names of all checks.
pub const CHECKS: &[&str] = &[
    "unit.active",
    "unit.not-active",
    "unit.not-failed",
    "unit.writes",
    "unit.enabled",
    "unit.not-enabled",
    "http.ok",
    "file.exists",
    "file.absent",
    "file.same",
    "file.differs",
    "file.fresh",
    "file.mode-is",
    "file.owner-is",
    "file.key-is",
    "filesystem.below",
    "filesystem.inodes-below",
    "filesystem.all-below",
    "pidfile.stale",
    "socket.stale",
    "process.not-stopped",
    "process.gone",
    "process.present",
    "process.running",
    "process.not-running",
    "address.foreign",
    "account.locked",
    "account.usable",
    "account.unused",
    "package.configured",
    "package.manager-free",
    "sudoers.valid",
    "sshd.valid",
    "sshd.runs-with",
    "logrotate.valid",
    "certificate.valid",
    "check.passes",
    "sysctl.is",
    "link.mtu-is",
    "link.is-up",
    "nft.has-set",
    "nft.has-element",
    "nft.lacks-rule",
    "mount.present",
    "mount.absent",
    "mount.vacant",
    "mount.option",
    "mount.sound",
    "process.below-cpu",
    "process.zombies-below",
    "port.free",
    "port.held-by",
    "port.reached",
    "ports.below",
    "conntrack.below",
    "clock.synchronised",
    "unit.descriptors-below",
    "backup.fresh",
    "backup.intact",
    "backup.idle",
    "backup.stalled",
    "backup.private",
    "backup.few",
    "postgresql.connections-below",
    "postgresql.session-gone",
    "postgresql.slot-absent",
    "postgresql.writable",
    "redis.persisting",
    "memory.below",
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
    /// It is not `failed`: it runs, or it has ended as it should.
    #[serde(rename = "unit.not-failed")]
    UnitNotFailed { unit: UnitName },
    /// A process of the unit has the file open for writing.
    #[serde(rename = "unit.writes")]
    UnitWrites { unit: UnitName, path: AbsPath },
    /// The unit starts with the host, by itself or by another that wants it.
    #[serde(rename = "unit.enabled")]
    UnitEnabled { unit: UnitName },
    /// It is disabled: neither enabled nor masked.
    #[serde(rename = "unit.not-enabled")]
    UnitNotEnabled { unit: UnitName },
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
    #[serde(rename = "file.owner-is")]
    FileOwnerIs { path: AbsPath, user: Word, group: Word },
    /// The configuration says this for the key, as the program that reads it takes it.
    #[serde(rename = "file.key-is")]
    FileKeyIs { path: AbsPath, format: FileFormat, key: Word, value: Word },
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
    /// It is a socket, and nobody listens at it.
    #[serde(rename = "socket.stale")]
    SocketStale { path: AbsPath },
    /// The process lives, and no signal has stopped it.
    #[serde(rename = "process.not-stopped")]
    ProcessNotStopped { process: ProcessRef },
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
    /// No password opens the account, and it is expired.
    #[serde(rename = "account.locked")]
    AccountLocked { account: Word },
    /// Neither the account nor its password has run out: cron and su take it.
    #[serde(rename = "account.usable")]
    AccountUsable { account: Word },
    /// No process runs as the account, and no crontab is its own.
    #[serde(rename = "account.unused")]
    AccountUnused { account: Word },
    /// dpkg has the package, or without a name every package, whole or gone.
    #[serde(rename = "package.configured")]
    PackageConfigured {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package: Option<Word>,
    },
    /// Nobody holds dpkg's locks.
    #[serde(rename = "package.manager-free")]
    PackageManagerFree {},
    /// sudo understands its configuration: `visudo -c`.
    #[serde(rename = "sudoers.valid")]
    SudoersValid {},
    /// sshd understands its configuration: `sshd -t`.
    #[serde(rename = "sshd.valid")]
    SshdValid {},
    /// `sshd -T` says this for the key.
    #[serde(rename = "sshd.runs-with")]
    SshdRunsWith { key: Word, value: Word },
    /// logrotate understands this file of its configuration: `logrotate --debug`.
    #[serde(rename = "logrotate.valid")]
    LogrotateValid { path: AbsPath },
    /// The first certificate of the file is valid now and for so many days more.
    #[serde(rename = "certificate.valid")]
    CertificateValid { path: AbsPath, days: i64 },
    /// A check that the host's own administrator defined, by its name in the agent's configuration.
    #[serde(rename = "check.passes")]
    CheckPasses { name: Word },
    /// A setting of the running kernel has this value.
    #[serde(rename = "sysctl.is")]
    SysctlIs { key: Word, value: Words },
    #[serde(rename = "link.mtu-is")]
    LinkMtuIs { interface: Word, mtu: i64 },
    #[serde(rename = "link.is-up")]
    LinkIsUp { interface: Word },
    /// The packet filter has a set of this name that takes addresses such as this one.
    #[serde(rename = "nft.has-set")]
    NftHasSet {
        #[serde(default)]
        family: NftFamily,
        table: Word,
        set: Word,
        ip: IpAddr,
    },
    #[serde(rename = "nft.has-element")]
    NftHasElement {
        #[serde(default)]
        family: NftFamily,
        table: Word,
        set: Word,
        ip: IpAddr,
    },
    /// No rule of the chain says what the rule with this digest says.
    #[serde(rename = "nft.lacks-rule")]
    NftLacksRule {
        #[serde(default)]
        family: NftFamily,
        table: Word,
        chain: Word,
        rule: Word,
    },
    #[serde(rename = "mount.present")]
    MountPresent { mount: AbsPath },
    #[serde(rename = "mount.absent")]
    MountAbsent { mount: AbsPath },
    /// Nothing lies in the folder that a mount would hide.
    #[serde(rename = "mount.vacant")]
    MountVacant { mount: AbsPath },
    /// The mounted place has this option; `rw` only where its whole file system can be written.
    #[serde(rename = "mount.option")]
    MountOption { mount: AbsPath, option: Word },
    /// The kernel counted no errors on the file system (ext4 counts them; others say nothing).
    #[serde(rename = "mount.sound")]
    MountSound { mount: AbsPath },
    /// The process takes less than this share of one processor, or is gone.
    #[serde(rename = "process.below-cpu")]
    ProcessBelowCpu { process: ProcessRef, percent: i64 },
    /// The process has fewer ended children than this that it does not wait for, or is gone.
    #[serde(rename = "process.zombies-below")]
    ProcessZombiesBelow { process: ProcessRef, count: i64 },
    /// Nothing listens on the port.
    #[serde(rename = "port.free")]
    PortFree { port: u16, protocol: Word },
    /// A process of the unit listens on the port.
    #[serde(rename = "port.held-by")]
    PortHeldBy { port: u16, protocol: Word, unit: UnitName },
    /// A connection to the port at one of the host's own addresses is taken.
    #[serde(rename = "port.reached")]
    PortReached { port: u16 },
    /// Toward no one destination more than this share of the local ports is in use.
    #[serde(rename = "ports.below")]
    PortsBelow { percent: i64 },
    /// The table of tracked connections is filled below this share.
    #[serde(rename = "conntrack.below")]
    ConntrackBelow { percent: i64 },
    /// A daemon keeps the clock, hears a source, and the clock is right within so much.
    #[serde(rename = "clock.synchronised")]
    ClockSynchronised { within_ms: i64 },
    /// The unit's main process has fewer files open than this share of its limit.
    #[serde(rename = "unit.descriptors-below")]
    UnitDescriptorsBelow { unit: UnitName, percent: i64 },
    /// The newest of this backup (`backups` in the agent's configuration) is young enough.
    #[serde(rename = "backup.fresh")]
    BackupFresh { backup: Word },
    /// Its newest is whole: found so within the last hour, or read now.
    #[serde(rename = "backup.intact")]
    BackupIntact { backup: Word },
    /// Its job does not run, and nobody holds its lock.
    #[serde(rename = "backup.idle")]
    BackupIdle { backup: Word },
    /// Its job runs and does nothing at all, watched for some seconds.
    #[serde(rename = "backup.stalled")]
    BackupStalled { backup: Word },
    /// Nobody can reach it but those who are declared.
    #[serde(rename = "backup.private")]
    BackupPrivate { backup: Word },
    /// There are no more of it than are to be kept.
    #[serde(rename = "backup.few")]
    BackupFew { backup: Word },
    /// Less than a share of PostgreSQL's connections is in use; `name` is a check of the agent's configuration.
    #[serde(rename = "postgresql.connections-below")]
    PostgresqlConnectionsBelow { name: Word, percent: i64 },
    #[serde(rename = "postgresql.session-gone")]
    PostgresqlSessionGone { name: Word, pid: i64, start_us: i64 },
    #[serde(rename = "postgresql.slot-absent")]
    PostgresqlSlotAbsent { name: Word, slot: Word },
    /// Sessions that begin now may write.
    #[serde(rename = "postgresql.writable")]
    PostgresqlWritable { name: Word },
    /// Redis could save what it holds when it last tried.
    #[serde(rename = "redis.persisting")]
    RedisPersisting { name: Word },
    /// The processes of a unit together use less memory than this, without what they share with files.
    #[serde(rename = "memory.below")]
    MemoryBelow { unit: UnitName, bytes: i64 },
    /// The program exits with 0; argument vector, never a shell.
    #[serde(rename = "command.ok")]
    CommandOk { argv: Vec<String> },
}

impl Check {
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnitActive { .. } => "unit.active",
            Self::UnitNotActive { .. } => "unit.not-active",
            Self::UnitNotFailed { .. } => "unit.not-failed",
            Self::UnitWrites { .. } => "unit.writes",
            Self::UnitEnabled { .. } => "unit.enabled",
            Self::UnitNotEnabled { .. } => "unit.not-enabled",
            Self::HttpOk { .. } => "http.ok",
            Self::FileExists { .. } => "file.exists",
            Self::FileAbsent { .. } => "file.absent",
            Self::FileSame { .. } => "file.same",
            Self::FileDiffers { .. } => "file.differs",
            Self::FileFresh { .. } => "file.fresh",
            Self::FileModeIs { .. } => "file.mode-is",
            Self::FileOwnerIs { .. } => "file.owner-is",
            Self::FileKeyIs { .. } => "file.key-is",
            Self::FilesystemBelow { .. } => "filesystem.below",
            Self::FilesystemInodesBelow { .. } => "filesystem.inodes-below",
            Self::FilesystemAllBelow { .. } => "filesystem.all-below",
            Self::PidfileStale { .. } => "pidfile.stale",
            Self::SocketStale { .. } => "socket.stale",
            Self::ProcessNotStopped { .. } => "process.not-stopped",
            Self::ProcessGone { .. } => "process.gone",
            Self::ProcessPresent { .. } => "process.present",
            Self::ProcessRunning { .. } => "process.running",
            Self::ProcessNotRunning { .. } => "process.not-running",
            Self::AddressForeign { .. } => "address.foreign",
            Self::AccountLocked { .. } => "account.locked",
            Self::AccountUsable { .. } => "account.usable",
            Self::AccountUnused { .. } => "account.unused",
            Self::PackageConfigured { .. } => "package.configured",
            Self::PackageManagerFree {} => "package.manager-free",
            Self::SudoersValid {} => "sudoers.valid",
            Self::SshdValid {} => "sshd.valid",
            Self::SshdRunsWith { .. } => "sshd.runs-with",
            Self::LogrotateValid { .. } => "logrotate.valid",
            Self::CertificateValid { .. } => "certificate.valid",
            Self::CheckPasses { .. } => "check.passes",
            Self::SysctlIs { .. } => "sysctl.is",
            Self::LinkMtuIs { .. } => "link.mtu-is",
            Self::LinkIsUp { .. } => "link.is-up",
            Self::NftHasSet { .. } => "nft.has-set",
            Self::NftHasElement { .. } => "nft.has-element",
            Self::NftLacksRule { .. } => "nft.lacks-rule",
            Self::MountPresent { .. } => "mount.present",
            Self::MountAbsent { .. } => "mount.absent",
            Self::MountVacant { .. } => "mount.vacant",
            Self::MountOption { .. } => "mount.option",
            Self::MountSound { .. } => "mount.sound",
            Self::ProcessBelowCpu { .. } => "process.below-cpu",
            Self::ProcessZombiesBelow { .. } => "process.zombies-below",
            Self::PortFree { .. } => "port.free",
            Self::PortHeldBy { .. } => "port.held-by",
            Self::PortReached { .. } => "port.reached",
            Self::PortsBelow { .. } => "ports.below",
            Self::ConntrackBelow { .. } => "conntrack.below",
            Self::ClockSynchronised { .. } => "clock.synchronised",
            Self::UnitDescriptorsBelow { .. } => "unit.descriptors-below",
            Self::BackupFresh { .. } => "backup.fresh",
            Self::BackupIntact { .. } => "backup.intact",
            Self::BackupIdle { .. } => "backup.idle",
            Self::BackupStalled { .. } => "backup.stalled",
            Self::BackupPrivate { .. } => "backup.private",
            Self::BackupFew { .. } => "backup.few",
            Self::PostgresqlConnectionsBelow { .. } => "postgresql.connections-below",
            Self::PostgresqlSessionGone { .. } => "postgresql.session-gone",
            Self::PostgresqlSlotAbsent { .. } => "postgresql.slot-absent",
            Self::PostgresqlWritable { .. } => "postgresql.writable",
            Self::RedisPersisting { .. } => "redis.persisting",
            Self::MemoryBelow { .. } => "memory.below",
            Self::CommandOk { .. } => "command.ok",
        }
    }
}
