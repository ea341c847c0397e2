//! BorgBackup: archives, sizes and locks of a repository, through its JSON and past its lock.

use super::judge::{Copy, Found, Lock};
use super::tool::{self, Signs, Trouble};
use crate::config::{Borg, Drill, Period};
use crate::watcher::process::Program;
use serde::Deserialize;
use sopwith_domain::time::Timestamp;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
/// A lock of another host counts as left behind after so long: borg renews none.
const FOREIGN_LOCK_STALE_S: i64 = 2 * 86_400;

const SIGNS: Signs = Signs {
    // Those of 1.4; before it everything is 2.
    codes: &[
        (13, "no-repository"),
        (15, "no-repository"),
        (50, "password"),
        (51, "password"),
        (52, "password"),
        (73, "locked"),
    ],
    words: &[
        ("does not exist", "no-repository"),
        ("is not a valid repository", "no-repository"),
        ("passphrase supplied", "password"),
        ("is incorrect", "password"),
        ("failed to create/acquire the lock", "locked"),
        ("integrity error", "corrupt"),
        ("integrityerror", "corrupt"),
        ("data integrity", "corrupt"),
        ("has incorrect", "corrupt"),
        ("checksum mismatch", "corrupt"),
        ("inconsisten", "corrupt"),
        ("object with key", "corrupt"),
        ("finished checking, errors found", "corrupt"),
        ("missing segment", "corrupt"),
    ],
};

#[derive(Deserialize)]
struct Listed {
    archives: Vec<Archive>,
}

#[derive(Deserialize)]
struct Archive {
    name: String,
    /// When it was begun; without a zone, so borg is run in UTC.
    start: String,
}

#[derive(Deserialize)]
struct Infos {
    archives: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    stats: Stats,
}

#[derive(Deserialize)]
struct Stats {
    original_size: u64,
}

/// Returns the program; `folder` is where it may keep its cache.
fn program(borg: &Borg, folder: &Path, arguments: &[&str]) -> Result<Program, Trouble> {
    let mut variables = tool::variables(borg.environment.as_ref())?;
    if let Some(file) = &borg.passphrase_file {
        let mut text = String::new();
        let read = std::fs::File::open(file.path())
            .and_then(|f| f.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|e| Trouble::Unasked(format!("failed to read {}: {e}", file.as_str())))?;
        variables.push(("BORG_PASSPHRASE".into(), text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    // It asks people in these cases, and there are none here.
    for name in ["BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "BORG_RELOCATED_REPO_ACCESS_IS_OK"] {
        variables.push((name.into(), "yes".into()));
    }
    variables.push(("BORG_BASE_DIR".into(), folder.join("borg").display().to_string()));
    variables.push(("BORG_EXIT_CODES".into(), "modern".into()));
    variables.push(("TZ".into(), "UTC".into()));
    let argv = std::iter::once(borg.program.as_str()).chain(arguments.iter().copied());
    Ok(Program { argv: argv.map(str::to_owned).collect(), variables, apart: true, ..Program::default() })
}

/// Asks what is there.
///
/// # Errors
/// See [`Trouble`].
pub async fn look(borg: &Borg, folder: &Path, now_s: i64) -> Result<Found, Trouble> {
    let mut list = program(borg, folder, &["list", "--bypass-lock", "--json"])?;
    if let Some(pattern) = &borg.archives {
        list.argv.extend(["--glob-archives".to_owned(), pattern.to_string()]);
    }
    list.argv.push(borg.repository.clone().into_inner());
    let answer = tool::ask(&list, *borg.timeout, &SIGNS).await?;
    Ok(Found { copies: copies(&answer)?, locks: locks(borg.repository.as_str(), now_s), ..Found::default() })
}

fn copies(answer: &str) -> Result<Vec<Copy>, Trouble> {
    let read: Listed = tool::parse("borg", answer)?;
    let copy = |archive: Archive| {
        let at: Timestamp = format!("{}Z", archive.start).parse().ok()?;
        // While it is made an archive shows itself under such a name now and then, and is none yet.
        let unfinished = archive.name.ends_with(".checkpoint") || archive.name.contains(".checkpoint.");
        (!unfinished).then_some(Copy { id: archive.name, at_s: at.0 / 1000, bytes: None, failed: false })
    };
    Ok(read.archives.into_iter().filter_map(copy).collect())
}

/// Returns the exclusive lock of a repository on this host: a folder with a file named after its holder.
fn locks(repository: &str, now_s: i64) -> Vec<Lock> {
    if !repository.starts_with('/') {
        return Vec::new();
    }
    let entries =
        std::fs::read_dir(Path::new(repository).join("lock.exclusive")).into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| {
        let changed = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let age_s = now_s - i64::try_from(changed.as_secs()).ok()?;
        let alive = |pid: u32| crate::watcher::files::process(pid).is_some();
        lock(entry.file_name().to_str()?, &super::own_name(), age_s, alive)
    };
    entries.filter_map(one).collect()
}

/// Reads `HOST@ID.PID-THREAD`.
fn lock(name: &str, own_name: &str, age_s: i64, alive: impl Fn(u32) -> bool) -> Option<Lock> {
    let (host, rest) = name.rsplit_once('@')?;
    let (_, process) = rest.rsplit_once('.')?;
    let pid = process.split('-').next()?.parse().ok()?;
    let own = host == own_name || host.split('.').next() == own_name.split('.').next();
    let stale = if own { !alive(pid) } else { age_s > FOREIGN_LOCK_STALE_S };
    Some(Lock { holder: format!("{host}:{pid}"), age_s, stale })
}

/// Returns how an archive is named to borg.
fn full_name(borg: &Borg, id: &str) -> String {
    format!("{}::{id}", borg.repository.as_str())
}

/// Asks how much an archive holds.
///
/// # Errors
/// See [`Trouble`].
pub async fn bytes(borg: &Borg, folder: &Path, id: &str) -> Result<u64, Trouble> {
    let mut info = program(borg, folder, &["info", "--bypass-lock", "--json"])?;
    info.argv.push(full_name(borg, id));
    let answer = tool::ask(&info, *borg.timeout, &SIGNS).await?;
    let read: Infos = tool::parse("borg", &answer)?;
    let first = read.archives.into_iter().next();
    first
        .map(|info| info.stats.original_size)
        .ok_or_else(|| Trouble::Unasked(format!("borg says nothing of {id}")))
}

/// Has borg check its repository, and all data where that is wanted.
///
/// # Errors
/// See [`Trouble`]; a repository that is damaged is one.
pub async fn verify(borg: &Borg, folder: &Path, data: bool, time_max: Period) -> Result<(), Trouble> {
    let mut check = program(borg, folder, &["check", "--bypass-lock"])?;
    check.argv.extend(data.then(|| "--verify-data".to_owned()));
    check.argv.push(borg.repository.clone().into_inner());
    match tool::ask(&check, time_max, &SIGNS).await {
        Err(Trouble::Repository { reason: "other", words }) => {
            Err(Trouble::Repository { reason: "corrupt", words })
        }
        other => other.map(drop),
    }
}

/// Returns the program that restores an archive into a folder.
///
/// # Errors
/// See [`Trouble`].
pub fn restore(
    borg: &Borg,
    folder: &Path,
    id: &str,
    drill: &Drill,
    scratch: &Path,
) -> Result<Program, Trouble> {
    let mut program = program(borg, folder, &["extract", "--bypass-lock"])?;
    program.argv.push(full_name(borg, id));
    // Its archives hold paths without the leading slash.
    program.argv.extend(drill.include.iter().map(|path| path.as_str().trim_start_matches('/').to_owned()));
    program.folder = Some(scratch.to_owned());
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_read_and_unfinished_ones_left_out() {
        let answer = r#"{"archives":[{"name":"a","archive":"a","start":"2026-01-02T03:04:05.000000","time":"x"},{"name":"b.checkpoint","start":"2026-01-02T03:04:05.000000"}],"repository":{}}"#;
        let read = copies(answer).expect("it is read");
        assert_eq!(read.iter().map(|c| (c.id.as_str(), c.at_s)).collect::<Vec<_>>(), [("a", 1_767_323_045)]);
    }

    #[test]
    fn a_lock_is_stale_when_its_owner_is_gone() {
        for (name, alive, age_s, told) in [
            ("web-1@345052312.777-0", true, 60, Some(("web-1:777", false))),
            ("web-1@345052312.777-0", false, 60, Some(("web-1:777", true))),
            ("web-1.example.org@1.777-0", false, 60, Some(("web-1.example.org:777", true))),
            ("db-1@345052312.777-0", false, 60, Some(("db-1:777", false))),
            ("db-1@345052312.777-0", false, 172_801, Some(("db-1:777", true))),
            ("nonsense", true, 60, None),
        ] {
            let lock = lock(name, "web-1", age_s, |_| alive);
            assert_eq!(lock.as_ref().map(|l| (l.holder.as_str(), l.stale)), told, "{name}");
        }
    }
}
