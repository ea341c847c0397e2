//! Restores a backup for real, into a scratch folder, and looks at what came out. Bounded in time and in size, and the
//! folder is removed whatever happens; what an earlier life left behind is removed before the next drill.

use super::tool::Trouble;
use super::{borg, pgbackrest, restic};
use crate::config::{ARCHIVE, At, Backup, Drill, SCRATCH};
use crate::watcher::process::{self, Ended, Program};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most output that is kept of a program, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How often the scratch folder is measured meanwhile.
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// Every scratch folder is named so; nothing else is ever removed.
const PREFIX: &str = "sopwith-drill-";
/// Deepest folder that is measured.
const DEPTH_MAX: usize = 256;

/// What came of a drill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Restored {
        bytes: u64,
        files: u64,
        took_ms: u64,
    },
    Failed {
        reason: &'static str,
        words: String,
    },
    /// It could not be tried.
    Unasked(String),
}

/// How much is in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Measured {
    bytes: u64,
    files: u64,
}

/// A scratch folder that does not outlive this value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Tries to restore a copy of a backup. `folder` is the agent's own.
pub async fn run(backup: &Backup, drill: &Drill, id: &str, folder: &Path) -> Outcome {
    let base = drill.scratch.as_ref().map_or_else(|| folder.join("drills"), |at| at.path().to_owned());
    let (name, bytes_max) = (backup.name.to_string(), drill.max_bytes.0);
    let made = tokio::task::spawn_blocking(move || prepare(&base, &name, bytes_max)).await;
    let scratch = match made {
        Ok(Ok(scratch)) => scratch,
        Ok(Err(outcome)) => return outcome,
        Err(e) => return Outcome::Unasked(e.to_string()),
    };
    let outcome = restore(backup, drill, id, folder, &scratch.0).await;
    // Removing much takes time, which nobody waits for here but the next drill.
    let _ = tokio::task::spawn_blocking(move || drop(scratch)).await;
    outcome
}

/// Removes what an earlier life left and makes a scratch folder, where there is room.
fn prepare(base: &Path, name: &str, bytes_max: u64) -> Result<Scratch, Outcome> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        Outcome::Unasked(format!("failed to {what} {}: {e}", base.display()))
    };
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let prefix = format!("{PREFIX}{safe}-");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(base).map_err(|e| failed("make", &e))?;
    for entry in fs::read_dir(base).map_err(|e| failed("read", &e))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove(&entry.path());
        }
    }
    let room = rustix::fs::statvfs(base).map_err(|e| failed("measure", &e))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < bytes_max.saturating_add(bytes_max / 20) {
        let words = format!("{} has {free} bytes free, the drill may take {bytes_max}", base.display());
        return Err(Outcome::Failed { reason: "room", words });
    }
    let path = base.join(format!("{prefix}{:08x}", rand::random::<u32>()));
    fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| failed("make a folder in", &e))?;
    Ok(Scratch(path))
}

async fn restore(backup: &Backup, drill: &Drill, id: &str, folder: &Path, scratch: &Path) -> Outcome {
    let began = Instant::now();
    let failed = |reason, words: String| Outcome::Failed { reason, words };
    let program = match program(backup, drill, id, folder, scratch) {
        Ok(program) => program,
        Err(Trouble::Unasked(reason)) => return Outcome::Unasked(reason),
        Err(Trouble::Repository { reason, words }) => return failed(reason, words),
    };
    if let Err((reason, words)) = bounded(&program, drill, scratch, began).await {
        return if reason == "unasked" { Outcome::Unasked(words) } else { failed(reason, words) };
    }
    let place = scratch.to_owned();
    let measured = tokio::task::spawn_blocking(move || measure(&place)).await.unwrap_or_default();
    if measured.bytes > drill.max_bytes.0 {
        return failed(
            "size",
            format!("{} bytes came out, at most {} may", measured.bytes, drill.max_bytes.0),
        );
    }
    if measured.files == 0 || measured.bytes == 0 {
        return failed("empty", "nothing came out".into());
    }
    if let Some(missing) = drill.expect.iter().find(|path| !is_there(scratch, path.as_str())) {
        return failed("incomplete", format!("{} did not come out", missing.as_str()));
    }
    if !drill.check.is_empty() {
        let check = Program {
            argv: filled(&drill.check, None, scratch),
            folder: Some(scratch.to_owned()),
            ..Program::default()
        };
        if let Err((reason, words)) = bounded(&check, drill, scratch, began).await {
            return failed(if reason == "restore" { "check" } else { reason }, words);
        }
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Outcome::Restored { bytes: measured.bytes, files: measured.files, took_ms }
}

/// Returns the program that restores.
fn program(
    backup: &Backup,
    drill: &Drill,
    id: &str,
    folder: &Path,
    scratch: &Path,
) -> Result<Program, Trouble> {
    if let Some(restic) = &backup.restic {
        return restic::restore(restic, id, drill, scratch);
    }
    if let Some(borg) = &backup.borg {
        return borg::restore(borg, folder, id, drill, scratch);
    }
    if let Some(backrest) = &backup.pgbackrest {
        let made = fs::DirBuilder::new().mode(0o700).create(scratch.join("data"));
        made.map_err(|e| Trouble::Unasked(format!("failed to make a folder in {}: {e}", scratch.display())))?;
        return pgbackrest::restore(backrest, id, scratch);
    }
    let Some(files) = &backup.files else { return Err(Trouble::Unasked("it says not what makes it".into())) };
    let archive = files.directory.path().join(id);
    let argv = if drill.unpack.is_empty() {
        let options = ["/bin/tar", "--no-same-owner", "--no-same-permissions", "-x", "-f"];
        let (archive, scratch) = (archive.display().to_string(), scratch.display().to_string());
        options.iter().map(ToString::to_string).chain([archive, "-C".to_owned(), scratch]).collect()
    } else {
        filled(&drill.unpack, Some(&archive), scratch)
    };
    Ok(Program { argv, folder: Some(scratch.to_owned()), ..Program::default() })
}

/// Puts archive and scratch folder in the place of the arguments that stand for them, whole.
fn filled(argv: &[At<String>], archive: Option<&Path>, scratch: &Path) -> Vec<String> {
    let argument = |argument: &At<String>| match (argument.as_str(), archive) {
        (SCRATCH, _) => scratch.display().to_string(),
        (ARCHIVE, Some(archive)) => archive.display().to_string(),
        (other, _) => other.to_owned(),
    };
    argv.iter().map(argument).collect()
}

/// Runs a program until it ends, its time is over, or the scratch folder has grown too big.
async fn bounded(
    program: &Program,
    drill: &Drill,
    scratch: &Path,
    began: Instant,
) -> Result<(), (&'static str, String)> {
    let broken = std::sync::OnceLock::new();
    let until = async {
        loop {
            let left = drill.max_time.0.saturating_sub(began.elapsed());
            if left.is_zero() {
                return broken.set("time").unwrap_or_default();
            }
            tokio::time::sleep(left.min(MEASURE_EVERY)).await;
            let place = scratch.to_owned();
            let measured = tokio::task::spawn_blocking(move || measure(&place)).await.unwrap_or_default();
            if measured.bytes > drill.max_bytes.0 {
                return broken.set("size").unwrap_or_default();
            }
        }
    };
    let name = program.argv.first().cloned().unwrap_or_default();
    let ran = process::run_until(program, until, OUTPUT_BYTES_MAX).await;
    let (done, errors) = ran.map_err(|e| ("unasked", format!("failed to start {name}: {e}")))?;
    let words =
        || String::from_utf8_lossy(if errors.is_empty() { &done.output } else { &errors }).into_owned();
    match done.ended {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(code) => Err(("restore", format!("{name} ended with {code}\n{}", words()))),
        Ended::Signalled(signal) => {
            Err(("restore", format!("{name} was ended by signal {signal}\n{}", words())))
        }
        Ended::TimedOut if broken.get() == Some(&"size") => {
            Err(("size", format!("more than {} bytes came out", drill.max_bytes.0)))
        }
        Ended::TimedOut => Err(("time", format!("it took longer than {:?}", *drill.max_time))),
    }
}

/// Says whether something that is not empty lies at a path below the scratch folder, and nowhere else.
fn is_there(scratch: &Path, path: &str) -> bool {
    let (Ok(scratch), Ok(found)) = (scratch.canonicalize(), scratch.join(path).canonicalize()) else {
        return false;
    };
    let Ok(metadata) = fs::metadata(&found) else { return false };
    let empty_folder = || fs::read_dir(&found).is_ok_and(|mut entries| entries.next().is_none());
    found.starts_with(scratch) && if metadata.is_dir() { !empty_folder() } else { metadata.size() > 0 }
}

/// Measures what a folder takes up on its disk, following no link.
fn measure(folder: &Path) -> Measured {
    let (mut found, mut todo) = (Measured::default(), vec![(folder.to_owned(), 0)]);
    while let Some((folder, depth)) = todo.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && depth < DEPTH_MAX {
                todo.push((entry.path(), depth + 1));
            } else if metadata.is_file() {
                // Sparse files count by what they take, small ones by what they hold.
                found.bytes += metadata.size().min(metadata.blocks() * 512).max(metadata.size().min(4096));
                found.files += 1;
            }
        }
    }
    found
}

/// Removes a scratch folder with everything in it, also what was restored without the right to write.
fn remove(folder: &Path) {
    if fs::remove_dir_all(folder).is_ok() {
        return;
    }
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        let below = fs::read_dir(&folder).into_iter().flatten().flatten();
        todo.extend(
            below.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).map(|entry| entry.path()),
        );
    }
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(
                "failed to remove {}: {e}; it is tried again before the next drill",
                folder.display()
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
