//! Every action on the real machine: foresee what it would change, capture what an undo needs, do it, look whether it
//! took effect, undo it. One file per noun, one line in [`of`]. Every one of them can be interrupted anywhere and
//! then probed or undone; an undo done twice changes nothing more.

pub mod account;
pub mod accounts;
mod act;
mod aside;
mod backup_files;
mod backup_job;
pub mod clock_step;
pub mod command;
mod directory;
mod file_attributes;
mod file_discard;
pub mod file_edit;
mod file_move;
mod file_prune;
mod file_quarantine;
mod file_reclaim_deleted;
mod file_replace;
mod file_rotate;
mod file_truncate;
mod http_call;
mod leash;
pub mod link_mtu;
pub mod link_up;
pub mod look;
mod meta;
mod mount;
mod mount_remount;
pub mod mount_table;
pub mod nft;
mod operator_command;
mod own;
pub mod package_configure;
mod place;
mod process;
mod process_end;
mod process_renice;
mod process_start;
pub mod processes;
mod programs;
mod quarantine;
mod route;
pub mod socket;
pub mod sysctl;
mod systemd;
mod tool;
mod unit;
mod unit_definitions;
mod unit_file;

pub use leash::Leash;
pub use own::{Own, QUESTION_MS, about, hand};
pub use place::Place;
pub use programs::{AWAITED as STEP_AWAITED, Programs, awaited as awaited_step};
pub use quarantine::{Quarantine, prepare, sha256};
pub use systemd::{Systemd, UnitState};

use super::settings::{NamedCommand, NamedProcess, Settings};
use account::{Account, Change, Tables};
use act::{At, Journaled};
use backup_files::{Away, Which};
use file_attributes::Wanted;
use file_replace::Content;
use sopwith_domain::action::{Action, Undo};
use sopwith_domain::run::{
    Effect, OUTPUT_BYTES_MAX, Prior, StepContext, StepOutcome, StepResult, UndoOutcome, UndoResult,
};
use sopwith_domain::value::{AbsPath, Glob, Word};
use std::collections::BTreeMap;
use std::sync::Arc;
use systemd::{Job, UnitFiles};
use unit::Doing;

/// Longest text about a probe or an undo, in bytes.
const DETAIL_BYTES_MAX: usize = 4096;

/// What actions work with.
#[derive(Debug)]
pub struct Workbench {
    pub quarantine: Quarantine,
    pub systemd: Systemd,
    pub programs: Programs,
    /// What the host's administrator named, by its name.
    pub processes: BTreeMap<Word, NamedProcess>,
    /// Folders and names of files that may go for good.
    pub reclaimable: Vec<(AbsPath, Glob)>,
    /// What the host's administrator configured; none in a test that has no such host.
    pub settings: Option<Arc<Settings>>,
    pub own: Own,
    pub commands: BTreeMap<Word, NamedCommand>,
    /// Where accounts are.
    pub tables: Tables,
}

impl Workbench {
    fn process(&self, name: &Word) -> Result<&NamedProcess, String> {
        self.processes.get(name).ok_or_else(|| format!("this host's configuration has no process {name}"))
    }
}

/// Returns what carries the action out.
fn of(action: &Action) -> Box<dyn Journaled + '_> {
    match action {
        Action::UnitStart { unit } => Box::new(unit::Unit { unit, doing: Doing::Job(Job::Start) }),
        Action::UnitStop { unit } => Box::new(unit::Unit { unit, doing: Doing::Job(Job::Stop) }),
        Action::UnitRestart { unit } => Box::new(unit::Unit { unit, doing: Doing::Job(Job::Restart) }),
        Action::UnitReload { unit } => Box::new(unit::Unit { unit, doing: Doing::Job(Job::Reload) }),
        Action::UnitResetFailed { unit } => Box::new(unit::Unit { unit, doing: Doing::ResetFailed }),
        Action::UnitEnable { unit } => Box::new(unit_file::UnitFile { unit, doing: UnitFiles::Enable }),
        Action::UnitDisable { unit } => Box::new(unit_file::UnitFile { unit, doing: UnitFiles::Disable }),
        Action::UnitMask { unit } => Box::new(unit_file::UnitFile { unit, doing: UnitFiles::Mask }),
        Action::UnitUnmask { unit } => Box::new(unit_file::UnitFile { unit, doing: UnitFiles::Unmask }),
        Action::UnitReadDefinitions { unit } => Box::new(unit_definitions::Read { unit }),
        Action::SocketRemove { path } => Box::new(socket::Remove { path }),
        Action::DirectoryCreate { path, mode, user, group } => {
            Box::new(directory::Create { path, mode, user, group })
        }
        Action::LinkUp { interface } => Box::new(link_up::Up { interface }),
        Action::ProcessSignal { process, signal } => {
            Box::new(process::Signalled { process: *process, signal: *signal })
        }
        Action::ProcessStart { process, program } => Box::new(process_start::Start { process, program }),
        Action::FileTruncate { path } => Box::new(file_truncate::Truncate { path }),
        Action::FileRotate { path, keep } => Box::new(file_rotate::Rotate { path, keep: *keep }),
        Action::FilePrune {
            directory,
            pattern,
            keep_newest,
            group_until,
            group_parts,
            min_age_s,
            discard,
        } => {
            let choice = file_prune::Choice {
                directory,
                pattern,
                keep_newest: *keep_newest,
                group_until: *group_until,
                group_parts: *group_parts,
                min_age_s: *min_age_s,
            };
            if *discard { Box::new(file_discard::Discard(choice)) } else { Box::new(choice) }
        }
        Action::FileQuarantine { path } => Box::new(file_quarantine::PutAway { path }),
        Action::FileRestore { path, from } => {
            Box::new(file_replace::Replace { path, content: Content::Copy { from } })
        }
        Action::FileWrite { path, content } => {
            Box::new(file_replace::Replace { path, content: Content::Bytes(content.as_bytes()) })
        }
        Action::FileEdit { path, format, key, value } => {
            Box::new(file_edit::Edit { path, format: *format, key, value })
        }
        Action::FileMove { path, to } => Box::new(file_move::Move { path, to }),
        Action::FileMode { path, mode } => {
            Box::new(file_attributes::Change { path, wanted: Wanted::Mode(mode) })
        }
        Action::FileOwner { path, user, group } => {
            Box::new(file_attributes::Change { path, wanted: Wanted::Owner { user, group } })
        }
        Action::FileReclaimDeleted { process, path, inode } => {
            Box::new(file_reclaim_deleted::Deleted { process: *process, path, inode: *inode })
        }
        Action::ProcessEnd { process, grace_s } => {
            Box::new(process_end::End { process: *process, grace_s: *grace_s })
        }
        Action::ProcessRenice { process, nice } => {
            Box::new(process_renice::Renice { process: *process, nice: *nice })
        }
        Action::SysctlSet { key, value } => Box::new(sysctl::Set { key, value }),
        Action::LinkMtu { interface, mtu } => Box::new(link_mtu::Mtu { interface, mtu: *mtu }),
        Action::NftAddElement { family, table, set, ip, timeout_s } => Box::new(nft::element::Add {
            element: nft::element::Element { family: *family, table, set, ip: *ip },
            timeout_s: *timeout_s,
        }),
        Action::NftDeleteElement { family, table, set, ip } => Box::new(nft::element::Delete {
            element: nft::element::Element { family: *family, table, set, ip: *ip },
        }),
        Action::NftDeleteRule { family, table, chain, handle, rule } => {
            Box::new(nft::rule::Rule { family: *family, table, chain, handle: *handle, digest: rule })
        }
        Action::MountMount { mount } => {
            Box::new(mount::Mount { point: mount, wanted: mount::Wanted::Mounted })
        }
        Action::MountUnmount { mount } => {
            Box::new(mount::Mount { point: mount, wanted: mount::Wanted::Unmounted })
        }
        Action::MountRemount { mount, option } => Box::new(mount_remount::Remount { point: mount, option }),
        Action::ClockStep { max_offset_s } => Box::new(clock_step::ClockStep { max_offset_s: *max_offset_s }),
        Action::BackupRun { backup, unit } => Box::new(backup_job::Run { backup, unit: unit.as_ref() }),
        Action::BackupStop { backup, unit } => Box::new(backup_job::Stop { backup, unit }),
        Action::BackupQuarantine { backup, path } => Box::new(Away { backup, which: Which::One(path) }),
        Action::BackupPrune { backup, directory, keep } => {
            Box::new(Away { backup, which: Which::AllBut { directory, keep: *keep } })
        }
        Action::BackupModes { backup, directory } => Box::new(backup_files::Modes { backup, directory }),
        Action::BackupVerify { .. }
        | Action::BackupRestoreDrill { .. }
        | Action::PostgresqlTerminate { .. }
        | Action::PostgresqlTerminateIdle { .. }
        | Action::PostgresqlDropSlot { .. }
        | Action::PostgresqlAllowWrites { .. }
        | Action::RedisBgsave { .. } => Box::new(own::Deed::of(action)),
        Action::HttpCall { url, method, status, undo_url, irreversible, .. } => Box::new(http_call::Call {
            url,
            method: *method,
            status: *status,
            undo_url: undo_url.as_ref(),
            irreversible: *irreversible,
        }),
        Action::AccountLock { account, close_shell } => {
            Box::new(Account { name: account, change: Change::Lock { close_shell: *close_shell } })
        }
        Action::AccountUnlock { account } => Box::new(Account { name: account, change: Change::Unlock }),
        Action::AccountExpiry { account, days } => {
            Box::new(Account { name: account, change: Change::Last { days: *days } })
        }
        Action::PackageConfigure { package } => {
            Box::new(package_configure::Configure { package: package.as_ref() })
        }
        Action::LookProcesses { .. }
        | Action::LookUnit { .. }
        | Action::LookJournal { .. }
        | Action::LookFilesystem { .. }
        | Action::LookNetwork { .. } => Box::new(look::Look(action)),
        Action::OperatorCommand { command, .. } => Box::new(operator_command::Named { name: command }),
        Action::Command { argv, undo_argv, probe_argv, touches } => {
            Box::new(command::Started { argv, undo_argv, probe_argv, touches })
        }
    }
}

/// Says what performing the step now would change. Changes nothing.
///
/// # Errors
/// Says why it could not be carried out now.
pub fn foresee(bench: &mut Workbench, step: StepContext<'_>) -> Result<String, String> {
    let told = of(&step.step.action).foresee(&mut At { bench, step });
    told.map(|text| cut(text, OUTPUT_BYTES_MAX)).map_err(|reason| cut(reason, DETAIL_BYTES_MAX))
}

pub fn capture(bench: &mut Workbench, step: StepContext<'_>) -> Result<Prior, String> {
    of(&step.step.action).capture(&mut At { bench, step })
}

pub fn perform(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> StepOutcome {
    match of(&step.step.action).outcome(&mut At { bench, step }, prior) {
        StepResult::Done { output } => StepResult::Done { output: cut(output, OUTPUT_BYTES_MAX) },
        StepResult::Failed { reason, output } => StepResult::Failed {
            reason: cut(reason, DETAIL_BYTES_MAX),
            output: cut(output, OUTPUT_BYTES_MAX),
        },
    }
}

pub fn probe(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> Effect {
    let effect = of(&step.step.action).probe(&mut At { bench, step }, prior);
    match effect.unwrap_or_else(|detail| Effect::Unknown { detail }) {
        Effect::Took { detail } => Effect::Took { detail: cut(detail, DETAIL_BYTES_MAX) },
        Effect::None { detail } => Effect::None { detail: cut(detail, DETAIL_BYTES_MAX) },
        Effect::Unknown { detail } => Effect::Unknown { detail: cut(detail, DETAIL_BYTES_MAX) },
    }
}

pub fn undo(bench: &mut Workbench, step: StepContext<'_>, prior: &Prior) -> UndoOutcome {
    let action = of(&step.step.action);
    match action.undo(&mut At { bench, step }, prior) {
        // Of a step that cannot be undone this is said only where nothing was changed.
        Ok(detail)
            if step.step.undo == Undo::Irreversible && action.untouched(&mut At { bench, step }, prior) =>
        {
            UndoResult::Untouched { detail: cut(detail, DETAIL_BYTES_MAX) }
        }
        Ok(detail) => UndoResult::Restored { detail: cut(detail, DETAIL_BYTES_MAX) },
        Err(what) => UndoResult::Residue { what: cut(what, DETAIL_BYTES_MAX) },
    }
}

fn cut(text: String, bytes_max: usize) -> String {
    super::admission::short_to(text, bytes_max)
}

#[cfg(test)]
mod tests;
