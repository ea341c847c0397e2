//! What the tests need of Debian's packages: installed as root where it is missing, else named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{on_path, root, succeed, target};

/// A program and the package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("git", "git"),
    ("curl", "curl"),
    ("ssh-keygen", "openssh-client"),
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("systemd-analyze", "systemd"),
    ("nsenter", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("logrotate", "logrotate"),
    ("restic", "restic"),
    ("borg", "borgbackup"),
    ("pgbackrest", "pgbackrest"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
];

/// PostgreSQL keeps its programs off the search path, and its package starts a server unless told not to.
const POSTGRESQL: &str = "postgresql";
const POSTGRESQL_PROGRAMS: &str = "/usr/lib/postgresql";
const CLUSTER_SETTINGS: &str = "/etc/postgresql-common/createcluster.d";

/// Says whether this process may install packages and start containers.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}

/// Installs what is missing, or says what it is.
pub fn ensure() -> Result<(), String> {
    let missing = missing();
    if missing.is_empty() {
        return promtool();
    }
    if !is_root() || !on_path("apt-get") {
        return Err(format!("missing, and not root on Debian to install it: {}", missing.join(" ")));
    }
    // The lists of a fresh machine are empty or old; refresh them only when the first try fails.
    if install(&missing).is_err() {
        apt(&["update", "-q"])?;
        install(&missing)?;
    }
    promtool()
}

fn missing() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package);
    let mut versions = fs::read_dir(POSTGRESQL_PROGRAMS).into_iter().flatten().flatten();
    let database =
        (!versions.any(|version| version.path().join("bin/initdb").exists())).then_some(POSTGRESQL);
    programs.chain(database).collect()
}

fn install(packages: &[&str]) -> Result<(), String> {
    println!("installing {}", packages.join(" "));
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    if !packages.contains(&POSTGRESQL) {
        return apt(&arguments);
    }
    let settings = Path::new(CLUSTER_SETTINGS);
    let told = settings.join("sopwith-tests.conf");
    fs::create_dir_all(settings)
        .and_then(|()| fs::write(&told, "create_main_cluster = false\n"))
        .map_err(|e| format!("failed to write {}: {e}", told.display()))?;
    let installed = apt(&arguments);
    fs::remove_file(&told).map_err(|e| format!("failed to remove {}: {e}", told.display()))?;
    installed
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    succeed(command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
}

/// Returns the folder in which unpacked tools lie, for the search path of the tests.
pub fn tools() -> PathBuf {
    target().join("tools").join("usr").join("bin")
}

/// Unpacks promtool without installing its package, which would start a service.
fn promtool() -> Result<(), String> {
    if on_path("promtool") || tools().join("promtool").is_file() {
        return Ok(());
    }
    if !on_path("apt-get") || !on_path("dpkg") {
        return Err("missing: promtool, from the package prometheus".into());
    }
    let dir = target().join("tools");
    fs::create_dir_all(&dir).map_err(|e| format!("failed to create {}: {e}", dir.display()))?;
    let download = || {
        let mut command = Command::new("apt-get");
        command.args(["download", "-q", "prometheus"]).current_dir(&dir).stdout(Stdio::null());
        succeed(&mut command)
    };
    if download().is_err() {
        if is_root() {
            apt(&["update", "-q"])?;
        }
        download()?;
    }
    let packages = fs::read_dir(&dir).map_err(|e| format!("failed to list {}: {e}", dir.display()))?;
    for package in packages.flatten().map(|entry| entry.path()) {
        if package.extension().is_some_and(|extension| extension == "deb") {
            succeed(Command::new("dpkg").arg("-x").arg(&package).arg(&dir).current_dir(root()))?;
            let _ = fs::remove_file(&package); // unpacked; left behind it is only untidy
        }
    }
    if tools().join("promtool").is_file() {
        Ok(())
    } else {
        Err("the package prometheus holds no promtool".into())
    }
}
