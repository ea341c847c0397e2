//! Debian packages for hosts of the lab: downloaded once with this machine's own apt, and kept.

use super::error::LabError;
use super::{Lab, exec};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the packages lie in the host before its layer's script runs.
pub const PLACE: &str = "/root/packages";
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);

impl Lab {
    /// Returns package files as files to place in a host, in [`PLACE`].
    pub fn packages(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, LabError> {
        let folder = self.cache("packages")?;
        // Tests run beside each other: one downloads, the others then find it there.
        let _lock = self.lock("packages")?;
        let missing: Vec<&str> = names.iter().copied().filter(|name| find(&folder, name).is_none()).collect();
        let there = || names.iter().all(|name| find(&folder, name).is_some());
        if !missing.is_empty() && (download(&folder, &missing).is_err() || !there()) {
            // The lists of a fresh machine are empty or old; refresh them only when the first try fails.
            apt(&folder, &["update", "-q"])?;
            download(&folder, &missing)?;
        }
        let mut placed = Vec::new();
        for name in names {
            let what = format!("find the package {name}");
            let path =
                find(&folder, name).ok_or(LabError::Failed { what, code: None, tail: String::new() })?;
            let bytes = fs::read(&path).map_err(|e| LabError::io("read", &path, e))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().replace('%', "_");
            placed.push((format!("{PLACE}/{file}"), bytes));
        }
        Ok(placed)
    }
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

fn download(folder: &Path, names: &[&str]) -> Result<(), LabError> {
    let mut arguments = vec!["download", "-q"];
    arguments.extend(names);
    apt(folder, &arguments)
}

fn apt(folder: &Path, arguments: &[&str]) -> Result<(), LabError> {
    let what = format!("run apt-get {}", arguments.join(" "));
    let mut command = Command::new("apt-get");
    command.args(["-o", "APT::Sandbox::User=root"]).args(arguments).current_dir(folder);
    let done = exec::run(&mut command, b"", DOWNLOAD_LIMIT);
    done.map_err(|e| LabError::io("start", Path::new("apt-get"), e))?.expect(&what).map(drop)
}
