//! Debian packages that the lab and the tests need on this machine.
//!
//! Installs only what is missing, only as root, and only from the package sources already configured here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::error::LabError;
use super::{exec, lock_file};

/// A program on the search path, and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    pub program: &'static str,
    pub package: &'static str,
}

/// What the lab itself cannot do without.
pub const LAB: &[Needs] = &[
    Needs { program: "debootstrap", package: "debootstrap" },
    Needs { program: "systemd-nspawn", package: "systemd-container" },
    Needs { program: "nsenter", package: "util-linux" },
    Needs { program: "ip", package: "iproute2" },
];

const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const LOCK: &str = "/var/tmp/.sopwith-packages.lock";

/// Makes sure that every program is there, installing packages where it may.
pub fn ensure(needs: &[Needs]) -> Result<(), LabError> {
    if missing(needs).is_empty() {
        return Ok(());
    }
    let _lock = lock_file(Path::new(LOCK))?;
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        return Err(LabError::NoApt { missing: packages.join(", ") });
    }
    // The lists of a fresh machine are empty or old; refresh them only when the first try fails.
    if install(&packages).is_err() {
        apt(&["update", "-q"])?;
        install(&packages)?;
    }
    match missing(needs).as_slice() {
        [] => Ok(()),
        rest => Err(LabError::NoApt { missing: rest.join(", ") }),
    }
}

fn missing(needs: &[Needs]) -> Vec<&'static str> {
    needs.iter().filter(|n| !on_path(n.program)).map(|n| n.package).collect()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(program).is_file())
}

fn install(packages: &[&str]) -> Result<(), LabError> {
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> Result<(), LabError> {
    let what = format!("run apt-get {}", arguments.join(" "));
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    exec::run(&mut command, b"", INSTALL_LIMIT)
        .map_err(|e| LabError::io("start", Path::new("apt-get"), e))?
        .expect(&what)
        .map(drop)
}
