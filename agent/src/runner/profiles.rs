//! What each kind of program gets that the runner starts: the narrowest with which the real tool does its work. The
//! reasons stand in `docs/design/confinement.md`.
//!
//! One kind gets everything: what `process.start` starts is a service of this host's, which its administrator named,
//! and it outlives the step.

use super::confine::{Confinement, Rights};
use super::settings::NamedCommand;
use crate::config::Backup;
use std::path::PathBuf;

/// Longest file that something writes which only looks, in bytes: what a plugin remembers of its last look.
const NOTE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Where programs that make backups keep what they know of their repositories, their locks and their logs.
const BACKUP_PLACES: [&str; 6] = [
    "/root/.cache",
    "/root/.config/borg",
    "/var/lib/pgbackrest",
    "/var/spool/pgbackrest",
    "/var/log/pgbackrest",
    "/var/log",
];
/// Where plugins remember their last look.
const PLUGIN_PLACES: [&str; 2] = ["/var/lib/monitoring-plugins", "/var/cache/monitoring-plugins"];

fn bound(rights: Rights) -> Confinement {
    Confinement { confine: true, rights, ..Confinement::default() }
}

/// A check or probe that the administrator or a signed playbook names: it looks at anything, and writes scratch files.
pub fn looking() -> Confinement {
    let write = PLUGIN_PLACES.iter().map(PathBuf::from).filter(|place| place.exists()).collect();
    Confinement { write, file_max: Some(NOTE_BYTES_MAX), ..bound(Rights::Look) }
}

/// A tool of the system's that reads configuration and says whether it is right.
pub fn reading() -> Confinement {
    let file_max = Some(NOTE_BYTES_MAX);
    Confinement { no_tcp: true, no_signals: true, file_max, ..bound(Rights::Files) }
}

/// The program that reads the host's journal: it writes no file at all and reaches nobody.
pub fn journal() -> Confinement {
    Confinement {
        no_scratch: true,
        no_tcp: true,
        no_signals: true,
        file_max: Some(0),
        ..bound(Rights::Files)
    }
}

/// This program at a service of a check: it writes no file at all and sends no signal.
pub fn hand() -> Confinement {
    Confinement { no_scratch: true, no_signals: true, file_max: Some(0), ..bound(Rights::Reach) }
}

/// This program asked about a backup. Whether its job runs is seen at other processes, which nobody may look at who
/// is held by Landlock; so that question is held by capabilities and by the bound of what it writes: nothing.
pub fn backup_question(question: &str, backup: &Backup, memory: Option<PathBuf>) -> Confinement {
    if matches!(question, "idle" | "stalled") {
        return Confinement { write_all: true, file_max: Some(0), ..bound(Rights::Watch) };
    }
    let mut write = places(backup);
    write.extend(memory);
    write.extend(backup.drill.iter().filter_map(|drill| drill.scratch.as_ref()).map(|at| at.path().into()));
    let no_tcp = backup.files.is_some();
    Confinement { write, no_tcp, no_signals: true, ..bound(Rights::Files) }
}

/// What makes a backup: it reads everything and writes where backups go.
pub fn backup_job(backup: &Backup) -> Confinement {
    Confinement { write: places(backup), ..bound(Rights::Files) }
}

fn places(backup: &Backup) -> Vec<PathBuf> {
    let job = &backup.job;
    let mut all: Vec<PathBuf> =
        BACKUP_PLACES.iter().map(PathBuf::from).filter(|place| place.exists()).collect();
    if let Some(files) = &backup.files {
        all.extend([files.directory.path().into(), files.aside()]);
    }
    let repositories =
        backup.restic.iter().map(|r| &r.repository).chain(backup.borg.iter().map(|b| &b.repository));
    // One that is elsewhere is reached by the network.
    let local = repositories.map(|at| at.strip_prefix("local:").unwrap_or(at.as_str()));
    all.extend(local.filter(|repository| repository.starts_with('/')).map(PathBuf::from));
    let own = job.lock.iter().chain(&job.progress).filter_map(|at| at.path().parent());
    all.extend(own.map(PathBuf::from));
    all.extend(job.writes.iter().map(|at| at.path().to_owned()));
    all
}

/// A command of the administrator's, held to what its configuration says that it writes, where it says so.
pub fn operator_command(named: &NamedCommand) -> Confinement {
    let mut of = Confinement::of(&named.touches);
    match &named.writes {
        None => of.write_all = true,
        Some(writes) => {
            // What is replaced is made beside the old.
            let beside: Vec<PathBuf> = of
                .write
                .iter()
                .filter(|path| path.is_file())
                .filter_map(|path| path.parent())
                .map(Into::into)
                .collect();
            of.write.extend(beside);
            of.write.extend(writes.iter().cloned());
        }
    }
    of
}

/// dpkg and the scripts of packages, which reach nearly everywhere: what is taken is the kernel itself, raw devices,
/// the network's settings, mounts and the clock.
pub fn packages() -> Confinement {
    Confinement { write_all: true, ..bound(Rights::Packages) }
}

/// nft, which speaks with the kernel only.
pub fn packet_filter() -> Confinement {
    let of = Confinement { no_scratch: true, no_tcp: true, no_signals: true, ..bound(Rights::None) };
    Confinement { network: true, file_max: Some(0), ..of }
}

/// mount and umount, which nobody may use who is held by Landlock.
pub fn mounting() -> Confinement {
    Confinement { write_all: true, system: true, ..bound(Rights::Mounts) }
}

/// chronyc, which asks its daemon by a socket; it is the daemon that sets the clock.
pub fn clock() -> Confinement {
    Confinement { no_tcp: true, no_signals: true, file_max: Some(0), ..bound(Rights::Files) }
}
