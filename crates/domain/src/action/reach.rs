//! What an action touches, and how it can be taken back.

use super::{Action, ProcessSignal, Undo};
use crate::mutant::{self, Mutant};
use crate::signal::Subject;
use crate::value::{AbsPath, Word};

fn path(text: &str) -> Subject {
    Subject::Path(AbsPath::new(text).expect("it is a path in normal form"))
}

impl Action {
    /// Returns what the action touches: its lock, and what declarations and protection are asked about.
    pub fn touches(&self) -> Vec<Subject> {
        match self {
            Self::UnitStart { unit }
            | Self::UnitStop { unit }
            | Self::UnitRestart { unit }
            | Self::UnitReload { unit }
            | Self::UnitResetFailed { unit }
            | Self::UnitEnable { unit }
            | Self::UnitDisable { unit }
            | Self::UnitMask { unit }
            | Self::UnitUnmask { unit }
            | Self::UnitReadDefinitions { unit } => vec![Subject::Unit(unit.clone())],
            Self::ProcessSignal { process, .. }
            | Self::ProcessEnd { process, .. }
            | Self::ProcessRenice { process, .. } => {
                vec![Subject::Process(Word::new(process.pid.to_string()).expect("digits are a word"))]
            }
            Self::ProcessStart { process, .. } => vec![Subject::Process(process.clone())],
            Self::FileTruncate { path }
            | Self::FileRotate { path, .. }
            | Self::FileQuarantine { path }
            | Self::FileRestore { path, .. }
            | Self::FileWrite { path, .. }
            | Self::FileEdit { path, .. }
            | Self::FileMode { path, .. }
            | Self::FileOwner { path, .. }
            | Self::SocketRemove { path }
            | Self::DirectoryCreate { path, .. }
            | Self::FileReclaimDeleted { path, .. } => vec![Subject::Path(path.clone())],
            Self::FilePrune { directory, .. } => vec![Subject::Path(directory.clone())],
            Self::SysctlSet { key, .. } => vec![Subject::Sysctl(key.clone())],
            Self::LinkMtu { interface, .. } | Self::LinkUp { interface } => {
                vec![named("link:", interface.as_str())]
            }
            Self::NftAddElement { ip, .. } | Self::NftDeleteElement { ip, .. } => vec![Subject::Address(*ip)],
            Self::NftDeleteRule { family, table, .. } => {
                vec![named("nft:", &format!("{}:{table}", family.as_str()))]
            }
            Self::MountMount { mount } | Self::MountUnmount { mount } | Self::MountRemount { mount, .. } => {
                vec![Subject::Mount(mount.clone())]
            }
            Self::ClockStep { .. } => vec![named("", "clock")],
            Self::BackupRun { backup, unit } => {
                let unit = unit.iter().cloned().map(Subject::Unit);
                std::iter::once(Subject::Check(backup.clone())).chain(unit).collect()
            }
            Self::BackupStop { backup, unit } => {
                vec![Subject::Check(backup.clone()), Subject::Unit(unit.clone())]
            }
            Self::BackupVerify { backup: name }
            | Self::BackupRestoreDrill { backup: name }
            | Self::PostgresqlTerminate { name, .. }
            | Self::PostgresqlTerminateIdle { name, .. }
            | Self::PostgresqlDropSlot { name, .. }
            | Self::PostgresqlAllowWrites { name }
            | Self::RedisBgsave { name } => vec![Subject::Check(name.clone())],
            Self::BackupQuarantine { backup, path }
            | Self::BackupPrune { backup, directory: path, .. }
            | Self::BackupModes { backup, directory: path } => {
                vec![Subject::Check(backup.clone()), Subject::Path(path.clone())]
            }
            Self::FileMove { path, to } => vec![Subject::Path(path.clone()), Subject::Path(to.clone())],
            Self::AccountLock { account, close_shell: true } => {
                vec![Subject::Account(account.clone()), path("/etc/shadow"), path("/etc/passwd")]
            }
            Self::AccountLock { account, .. }
            | Self::AccountUnlock { account }
            | Self::AccountExpiry { account, .. } => {
                vec![Subject::Account(account.clone()), path("/etc/shadow")]
            }
            Self::PackageConfigure { package } => {
                let own = package.iter().map(|package| Subject::Package(package.clone()));
                own.chain([path("/var/lib/dpkg")]).collect()
            }
            Self::LookProcesses { .. }
            | Self::LookUnit { .. }
            | Self::LookJournal { .. }
            | Self::LookFilesystem { .. }
            | Self::LookNetwork { .. } => Vec::new(),
            // The host's own configuration says what it changes; here its name stands for that.
            Self::OperatorCommand { command, touches } if touches.is_empty() => {
                vec![Subject::Process(command.clone())]
            }
            Self::HttpCall { touches, .. }
            | Self::Command { touches, .. }
            | Self::OperatorCommand { touches, .. } => touches.clone(),
        }
    }

    /// Returns how the action can be taken back.
    pub fn undo(&self) -> Undo {
        match self {
            Self::UnitReload { .. } | Self::UnitResetFailed { .. } => Undo::Nothing,
            Self::LookProcesses { .. }
            | Self::LookUnit { .. }
            | Self::LookJournal { .. }
            | Self::LookFilesystem { .. }
            | Self::LookNetwork { .. } => Undo::Nothing,
            Self::ProcessSignal { signal, .. } => match signal {
                ProcessSignal::Term | ProcessSignal::Kill => Undo::Irreversible,
                _ => Undo::Nothing,
            },
            Self::FilePrune { discard: true, .. } => Undo::Irreversible,
            Self::ProcessEnd { .. } | Self::ClockStep { .. } => Undo::Irreversible,
            // What a deleted file held is copied to quarantine, but no name leads back to it.
            Self::FileReclaimDeleted { .. } => Undo::Irreversible,
            Self::BackupVerify { .. } | Self::BackupRestoreDrill { .. } | Self::RedisBgsave { .. } => {
                Undo::Nothing
            }
            Self::BackupStop { .. }
            | Self::PostgresqlTerminate { .. }
            | Self::PostgresqlTerminateIdle { .. }
            | Self::PostgresqlDropSlot { .. } => Undo::Irreversible,
            Self::HttpCall { undo_url: None, irreversible: false, .. } => Undo::Nothing,
            Self::HttpCall { irreversible: true, .. } => Undo::Irreversible,
            // What a package's own scripts did nobody can take back.
            Self::PackageConfigure { .. } => Undo::Irreversible,
            Self::Command { undo_argv, .. } if undo_argv.is_empty() => Undo::Irreversible,
            _ => Undo::Inverse,
        }
    }
}

impl Action {
    /// Says whether the action only looks: it touches nothing, and so there is nothing to take back.
    pub fn only_looks(&self) -> bool {
        self.touches().is_empty() && self.undo() == Undo::Nothing || mutant::is(Mutant::LooksMayWrite)
    }
}

/// Returns the subject of what has no kind of its own. A name that is too long for a word is cut: then two share a lock.
fn named(of: &str, name: &str) -> Subject {
    let text: String = format!("{of}{name}").chars().take(128).collect();
    Subject::Check(Word::new(text).expect("a prefix and a word are a word"))
}
