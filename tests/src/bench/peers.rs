//! The peers as Debian packages them, in a layer that only benchmarks use: no test has to download them.

use super::BenchError;
use crate::lab::{Lab, Root, run_command};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// fail2ban with what it recommends for reading logs, so that it is at its fastest.
const PACKAGES: &[&str] = &["monit", "fail2ban", "python3-pyinotify", "python3-systemd"];
const FIXTURE: &str = include_str!("../../bench/fixture.sh");
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);

/// Returns the root of a host with the peers, their services disabled, and the benchmark's own services.
pub fn root(lab: &Lab) -> Result<Root, BenchError> {
    let folder = lab.cache("peers").map_err(|e| e.to_string())?;
    let files = packages(&folder)?;
    let mut placed = Vec::new();
    for path in files {
        let bytes = fs::read(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace('%', "_");
        placed.push((format!("/root/peers/{name}"), bytes));
    }
    lab.layer_with(FIXTURE.as_bytes(), &placed).map_err(|e| format!("build the host's layer: {e}"))
}

/// Returns the package files, downloading those that are missing with this machine's own apt.
fn packages(folder: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let missing: Vec<&str> = PACKAGES.iter().copied().filter(|name| find(folder, name).is_none()).collect();
    if !missing.is_empty() && (download(folder, &missing).is_err() || !all_there(folder)) {
        // The lists of a fresh machine are empty or old; refresh them only when the first try fails.
        apt(folder, &["update", "-q"])?;
        download(folder, &missing)?;
    }
    let found = PACKAGES.iter().map(|name| find(folder, name).ok_or(format!("find the package {name}")));
    found.collect()
}

fn all_there(folder: &Path) -> bool {
    PACKAGES.iter().all(|name| find(folder, name).is_some())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let prefix = format!("{name}_");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    found.sort();
    found.pop()
}

fn download(folder: &Path, names: &[&str]) -> Result<(), BenchError> {
    let mut arguments = vec!["download", "-q"];
    arguments.extend(names);
    apt(folder, &arguments)
}

fn apt(folder: &Path, arguments: &[&str]) -> Result<(), BenchError> {
    let what = format!("run apt-get {}", arguments.join(" "));
    let mut command = Command::new("apt-get");
    command.args(["-o", "APT::Sandbox::User=root"]).args(arguments).current_dir(folder);
    let done = run_command(&mut command, b"", DOWNLOAD_LIMIT).map_err(|e| format!("{what}: {e}"))?;
    done.expect(&what).map(drop).map_err(|e| e.to_string())
}
