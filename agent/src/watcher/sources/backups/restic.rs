//! restic: snapshots, sizes and locks of a repository, through its JSON and without ever taking a lock.

use super::judge::{Copy, Found, Lock};
use super::tool::{self, Signs, Trouble};
use crate::config::{Drill, Period, Restic};
use crate::watcher::process::Program;
use serde::Deserialize;
use sopwith_domain::time::Timestamp;
use std::path::Path;

/// Most locks that are looked at.
const LOCKS_MAX: usize = 8;
/// A lock that was not renewed for so long is stale; restic itself renews every five minutes and says the same.
const LOCK_STALE_S: i64 = 30 * 60;

const SIGNS: Signs = Signs {
    codes: &[(10, "no-repository"), (11, "locked"), (12, "password")],
    words: &[
        ("is there a repository at the following location", "no-repository"),
        ("unable to open config file", "no-repository"),
        ("wrong password or no key found", "password"),
        ("resolving password failed", "password"),
        ("repository is already locked", "locked"),
        ("repository contains errors", "corrupt"),
        ("ciphertext verification failed", "corrupt"),
        ("is corrupt", "corrupt"),
        ("invalid data returned", "corrupt"),
        ("error loading index", "corrupt"),
        ("unable to load index", "corrupt"),
        ("does not match id", "corrupt"),
        ("unexpected eof", "corrupt"),
        ("pack file", "corrupt"),
        ("load <", "corrupt"),
    ],
};

#[derive(Deserialize)]
struct Snapshot {
    time: String,
    id: String,
    #[serde(default)]
    summary: Option<Summary>,
}

/// What restic from 0.17 on says of a snapshot itself.
#[derive(Deserialize)]
struct Summary {
    total_bytes_processed: u64,
}

#[derive(Deserialize)]
struct Stats {
    total_size: u64,
}

#[derive(Deserialize)]
struct LockFile {
    time: String,
    hostname: String,
    pid: u32,
}

/// Returns the program with the arguments that all its commands share.
fn program(restic: &Restic, arguments: &[&str]) -> Result<Program, Trouble> {
    let shared = [restic.program.as_str(), "-r", restic.repository.as_str(), "--no-lock", "--no-cache"];
    let mut variables = tool::variables(restic.environment.as_ref())?;
    if let Some(file) = &restic.password_file {
        variables.push(("RESTIC_PASSWORD_FILE".into(), file.to_string()));
    }
    // Its memory counts as the agent's; it does with less when it tidies up more often.
    variables.push(("GOGC".into(), "25".into()));
    let argv = shared.iter().chain(arguments).map(ToString::to_string).collect();
    Ok(Program { argv, variables, apart: true, ..Program::default() })
}

/// Returns the arguments that choose this backup's snapshots.
fn chosen(restic: &Restic) -> Vec<String> {
    let mut chosen = Vec::new();
    for (option, value) in restic
        .host
        .iter()
        .map(|host| ("--host", host.to_string()))
        .chain(restic.tags.iter().map(|tag| ("--tag", tag.to_string())))
        .chain(restic.paths.iter().map(|path| ("--path", path.to_string())))
    {
        chosen.extend([option.to_owned(), value]);
    }
    chosen
}

/// Asks what is there.
///
/// # Errors
/// See [`Trouble`].
pub async fn look(restic: &Restic, now_s: i64) -> Result<Found, Trouble> {
    let mut snapshots = program(restic, &["--json", "snapshots"])?;
    snapshots.argv.extend(chosen(restic));
    let answer = tool::ask(&snapshots, *restic.timeout, &SIGNS).await?;
    Ok(Found { copies: copies(&answer)?, locks: locks(restic, now_s).await?, ..Found::default() })
}

fn copies(answer: &str) -> Result<Vec<Copy>, Trouble> {
    // An empty repository is an empty list, of old versions `null`.
    let read: Option<Vec<Snapshot>> = tool::parse("restic", answer)?;
    let copy = |snapshot: Snapshot| {
        let at: Timestamp = snapshot.time.parse().ok()?;
        let bytes = snapshot.summary.map(|s| s.total_bytes_processed);
        Some(Copy { id: snapshot.id, at_s: at.0 / 1000, bytes, failed: false })
    };
    Ok(read.unwrap_or_default().into_iter().filter_map(copy).collect())
}

async fn locks(restic: &Restic, now_s: i64) -> Result<Vec<Lock>, Trouble> {
    let listed = tool::ask(&program(restic, &["list", "locks"])?, *restic.timeout, &SIGNS).await?;
    let mut locks = Vec::new();
    let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit());
    for id in listed.lines().map(str::trim).filter(is_id).take(LOCKS_MAX) {
        // One that is gone meanwhile is none.
        let Ok(text) = tool::ask(&program(restic, &["cat", "lock", id])?, *restic.timeout, &SIGNS).await
        else {
            continue;
        };
        locks.extend(lock(&text, &super::own_name(), now_s, |pid| {
            crate::watcher::files::process(pid).is_some()
        }));
    }
    Ok(locks)
}

/// Reads one lock.
fn lock(text: &str, own_name: &str, now_s: i64, alive: impl Fn(u32) -> bool) -> Option<Lock> {
    let read: LockFile = serde_json::from_str(text).ok()?;
    let at: Timestamp = read.time.parse().ok()?;
    let age_s = now_s - at.0 / 1000;
    let gone = read.hostname == own_name && !alive(read.pid);
    Some(Lock {
        holder: format!("{}:{}", read.hostname, read.pid),
        age_s,
        stale: gone || age_s > LOCK_STALE_S,
    })
}

/// Asks how much a snapshot holds.
///
/// # Errors
/// See [`Trouble`].
pub async fn bytes(restic: &Restic, id: &str) -> Result<u64, Trouble> {
    let asked = program(restic, &["--json", "stats", "--mode", "restore-size", id])?;
    let answer = tool::ask(&asked, *restic.timeout, &SIGNS).await?;
    tool::parse::<Stats>("restic", &answer).map(|stats| stats.total_size)
}

/// Has restic check its repository, and read all of it where that is wanted.
///
/// # Errors
/// See [`Trouble`]; a repository that is damaged is one.
pub async fn verify(restic: &Restic, data: bool, time_max: Period) -> Result<(), Trouble> {
    let mut check = program(restic, &["check"])?;
    check.argv.extend(data.then(|| "--read-data".to_owned()));
    match tool::ask(&check, time_max, &SIGNS).await {
        // All that goes wrong in a check that could begin is damage.
        Err(Trouble::Repository { reason: "other", words }) => {
            Err(Trouble::Repository { reason: "corrupt", words })
        }
        other => other.map(drop),
    }
}

/// Returns the program that restores a snapshot into a folder.
///
/// # Errors
/// See [`Trouble`].
pub fn restore(restic: &Restic, id: &str, drill: &Drill, scratch: &Path) -> Result<Program, Trouble> {
    let mut program = program(restic, &["restore", id, "--target"])?;
    program.argv.push(scratch.display().to_string());
    for path in &drill.include {
        program.argv.extend(["--include".to_owned(), path.to_string()]);
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_of_all_versions_are_read() {
        for (answer, told) in [
            ("[]", "[]"),
            ("null", "[]"),
            (
                r#"[{"time":"2026-01-02T03:04:05.678901234+01:00","id":"ab","paths":["/a"],"hostname":"h"}]"#,
                r#"[("ab", 1767319445, None)]"#,
            ),
            (
                r#"[{"time":"2026-01-02T03:04:05Z","id":"ab","summary":{"total_bytes_processed":7,"x":1}}]"#,
                r#"[("ab", 1767323045, Some(7))]"#,
            ),
        ] {
            let copies = copies(answer).expect("it is read");
            let read: Vec<_> = copies.iter().map(|c| (c.id.as_str(), c.at_s, c.bytes)).collect();
            assert_eq!(format!("{read:?}"), told, "{answer}");
        }
        assert!(copies("Fatal").is_err());
    }

    #[test]
    fn a_lock_is_stale_when_its_owner_is_gone_or_forgot_it() {
        let text = |host: &str| {
            format!(r#"{{"time":"2026-01-02T03:04:05Z","exclusive":false,"hostname":"{host}","pid":7}}"#)
        };
        let taken_s = 1_767_323_045;
        for (host, age_s, alive, stale) in [
            ("web-1", 60, true, false),
            ("web-1", 60, false, true),
            // Nothing is known of another host's processes.
            ("db-1", 60, false, false),
            ("db-1", 1801, false, true),
            ("web-1", 1801, true, true),
        ] {
            let lock = lock(&text(host), "web-1", taken_s + age_s, |_| alive).expect("it is read");
            assert_eq!((lock.age_s, lock.stale), (age_s, stale), "{host} {age_s} {alive}");
        }
    }
}
