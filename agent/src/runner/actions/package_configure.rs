//! `package.configure`: has dpkg go on with what it left half done, of one package or of all. Files of configuration
//! that are there stay, and nobody is asked anything. dpkg's own locks are respected, never removed.
//!
//! What a package's scripts do nobody can take back. An undo looks whether dpkg has every package as before, and says
//! so. All that it changes are the times of dpkg's list, which dpkg writes anew, byte for byte the same, also when it
//! gets nowhere.

use super::act::{Act, At};
use super::command;
use super::meta::Meta;
use crate::runner::profiles;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::{Effect, StepResult};
use sopwith_domain::value::Word;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const STATUS: &str = "/var/lib/dpkg/status";
const LOCKS: [&str; 2] = ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];
const ENV: &str = "/usr/bin/env";
const DPKG: &str = "/usr/bin/dpkg";
/// The file by which the supervisor of the step shows that it lives.
const LOCK: &str = "lock";
/// Longest line that is read of the list; longer ones are descriptions.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Most packages that are half done.
const BROKEN_MAX: usize = 1000;

/// One package, or all that are half done.
#[derive(Clone, Copy, Debug)]
pub struct Configure<'a> {
    pub package: Option<&'a Word>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// Packages that are neither whole nor gone, and dpkg's words for each.
    broken: BTreeMap<String, String>,
    /// dpkg's list, where it could be read whole; older journals do not have it.
    #[serde(default)]
    list: Option<List>,
}

/// A file as it was: its digest in hexadecimal, and the rest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct List {
    sha256: String,
    meta: Meta,
}

impl List {
    fn of(path: &Path) -> std::io::Result<(Self, File)> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash)?;
        let meta = Meta::of(&file)?;
        Ok((Self { sha256: hex::encode(hash.finalize()), meta }, file))
    }

    /// Gives the list its times again if it is the same to the byte; says whether it is as it was.
    fn restore_times(&self, path: &Path) -> std::io::Result<bool> {
        let (now, file) = Self::of(path)?;
        let attributes = |list: &Self| (list.meta.mode, list.meta.uid, list.meta.gid);
        if now.sha256 != self.sha256 || attributes(&now) != attributes(self) {
            return Ok(false);
        }
        if now.meta.mtime != self.meta.mtime {
            self.meta.apply_times(&file)?;
            file.sync_all()?;
        }
        Ok(true)
    }
}

/// Returns what dpkg's list says of packages that are neither whole nor gone.
///
/// # Errors
/// The list cannot be read.
pub fn broken(status: &Path) -> Result<BTreeMap<String, String>, String> {
    let failed = |e: std::io::Error| format!("failed to read {}: {e}", status.display());
    let mut reader = BufReader::new(File::open(status).map_err(failed)?);
    let (mut found, mut package, mut line) = (BTreeMap::new(), String::new(), Vec::new());
    loop {
        line.clear();
        let read = Read::by_ref(&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            return Ok(found);
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(name) = text.strip_prefix("Package: ") {
            package = name.trim().to_owned();
        } else if let Some(state) = text.strip_prefix("Status: ")
            && !whole(state.trim())
        {
            found.insert(package.clone(), state.trim().to_owned());
            if found.len() > BROKEN_MAX {
                return Err(format!("more than {BROKEN_MAX} packages are half done"));
            }
        }
    }
}

fn whole(status: &str) -> bool {
    let mut words = status.split_whitespace().skip(1);
    let (flag, state) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    flag == "ok" && matches!(state, "installed" | "not-installed" | "config-files")
}

/// Says that nobody holds dpkg's locks, which are asked for, not taken.
///
/// # Errors
/// Somebody does.
pub fn manager_free() -> Result<(), String> {
    for lock in LOCKS {
        let Ok(file) = File::open(lock) else { continue };
        let holder = rustix::process::fcntl_getlk(
            &file,
            &rustix::process::Flock::from(rustix::process::FlockType::WriteLock),
        );
        if let Ok(Some(holder)) = holder {
            let pid = holder.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
            return Err(format!("process {pid} holds {lock}"));
        }
    }
    Ok(())
}

/// Says whether one package, or every package, is whole or gone.
///
/// # Errors
/// Names those that are not.
pub fn configured(package: Option<&Word>) -> Result<(), String> {
    let broken = broken(Path::new(STATUS))?;
    let of = |name: &&String| package.is_none_or(|package| package.as_str() == name.as_str());
    let told: Vec<_> = broken.iter().filter(|(name, _)| of(name)).take(20).collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(told.into_iter().map(|(name, state)| format!("{name} is {state}")).collect::<Vec<_>>().join(", "))
}

impl Configure<'_> {
    fn argv(&self) -> Vec<String> {
        let which = self.package.map_or("--pending", Word::as_str);
        [
            ENV,
            "DEBIAN_FRONTEND=noninteractive",
            DPKG,
            "--force-confdef",
            "--force-confold",
            "--configure",
            which,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn of(&self, broken: BTreeMap<String, String>) -> BTreeMap<String, String> {
        match self.package {
            None => broken,
            Some(package) => broken.into_iter().filter(|(name, _)| name == package.as_str()).collect(),
        }
    }

    fn lock(at: &At<'_>) -> PathBuf {
        at.bench.quarantine.folder(at.step).join(LOCK)
    }
}

impl Act for Configure<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        manager_free()?;
        let half_done = self.of(broken(Path::new(STATUS))?);
        let names: Vec<_> = half_done.iter().map(|(name, state)| format!("{name} ({state})")).collect();
        Ok(match names.is_empty() {
            true => "nothing: dpkg has left nothing half done".into(),
            false => format!("dpkg would configure {}", names.join(", ")),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        manager_free()?;
        at.bench.quarantine.fresh(at.step)?;
        at.bench.quarantine.place(at.step, LOCK)?.create()?;
        let broken = broken(Path::new(STATUS))?;
        Ok(Prior { broken, list: List::of(Path::new(STATUS)).ok().map(|(list, _)| list) })
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        match self.outcome(at, prior) {
            StepResult::Done { output } => Ok(output),
            StepResult::Failed { reason, .. } => Err(reason),
        }
    }

    fn outcome(&self, at: &mut At<'_>, prior: &Prior) -> StepResult {
        if self.of(prior.broken.clone()).is_empty() {
            return StepResult::Done { output: "dpkg had left nothing half done".into() };
        }
        let lock = Self::lock(at);
        match at.bench.programs.run(&profiles::packages(), &self.argv(), at.timeout_ms(), Some(&lock)) {
            Err(reason) => StepResult::Failed { reason, output: String::new() },
            Ok(report) => match command::fault(&report) {
                None => StepResult::Done { output: report.output },
                Some(reason) => {
                    StepResult::Failed { reason: format!("dpkg: {reason}"), output: report.output }
                }
            },
        }
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        command::over(&Self::lock(at))?;
        let now = broken(Path::new(STATUS))?;
        Ok(if self.of(now.clone()).is_empty() && now != prior.broken {
            Effect::Took { detail: "dpkg has left nothing half done".into() }
        } else {
            Effect::Unknown {
                detail: "packages are still half done; what their scripts did is not known".into(),
            }
        })
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&Self::lock(at))?;
        let now = broken(Path::new(STATUS))?;
        if now == prior.broken {
            let times = prior.list.as_ref().map(|list| list.restore_times(Path::new(STATUS)));
            return match times {
                None | Some(Ok(_)) => Ok("dpkg has every package as it was before".into()),
                Some(Err(e)) => Err(format!("failed to give {STATUS} its times again: {e}")),
            };
        }
        let changed = prior.broken.iter().filter(|(name, state)| now.get(*name) != Some(*state));
        let changed: Vec<_> = changed.map(|(name, state)| format!("{name} (was {state})")).take(20).collect();
        Err(format!("dpkg went on with {}; that cannot be taken back", changed.join(", ")))
    }

    fn untouched(&self, at: &mut At<'_>, prior: &Prior) -> bool {
        command::over(&Self::lock(at)).is_ok()
            && broken(Path::new(STATUS)).is_ok_and(|now| now == prior.broken)
            && prior.list.as_ref().is_none_or(|list| {
                List::of(Path::new(STATUS)).is_ok_and(|(now, _)| now.meta.mtime == list.meta.mtime)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_done_is_read_from_the_list() {
        let folder = tempfile::tempdir().expect("a folder");
        let status = folder.path().join("status");
        let text = format!(
            "Package: a\nStatus: install ok installed\nDescription: {}\n x\n\nPackage: b\nStatus: install ok half-configured\n\nPackage: c\nStatus: deinstall ok config-files\n\nPackage: d\nStatus: install reinstreq half-installed\n",
            "long ".repeat(40_000)
        );
        std::fs::write(&status, text).expect("written");
        let found = broken(&status).expect("read");
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["b", "d"]);
        let b = Word::new("b").expect("a word");
        assert_eq!(Configure { package: Some(&b) }.of(found.clone()).len(), 1);
        assert_eq!(Configure { package: None }.of(found).len(), 2);
    }

    #[test]
    fn the_list_gets_its_times_again_only_if_it_is_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("status");
        let cases: [(&str, bool); 2] = [("Package: a\n", true), ("Package: b\n", false)];
        for (later, same) in cases {
            std::fs::write(&path, "Package: a\n").expect("written");
            let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123);
            File::open(&path).and_then(|file| file.set_modified(old)).expect("utimes");
            let (list, _) = List::of(&path).expect("read");
            let aside = folder.path().join("status-new");
            std::fs::write(&aside, later)
                .and_then(|()| std::fs::rename(&aside, &path))
                .expect("written anew");
            for _ in 0..2 {
                assert_eq!(list.restore_times(&path).expect("looked"), same, "{later}");
            }
            let modified = std::fs::metadata(&path).and_then(|m| m.modified()).expect("times");
            assert_eq!(modified == old, same, "{later}");
        }
    }

    #[test]
    fn nobody_is_asked_and_no_configuration_is_replaced() {
        let b = Word::new("b").expect("a word");
        let argv = Configure { package: Some(&b) }.argv();
        assert!(argv.contains(&"--force-confold".to_owned()) && argv.last().is_some_and(|last| last == "b"));
        assert!(argv.contains(&"DEBIAN_FRONTEND=noninteractive".to_owned()));
        assert_eq!(Configure { package: None }.argv().last().map(String::as_str), Some("--pending"));
    }
}
