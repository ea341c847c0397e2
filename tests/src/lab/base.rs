//! The base root: a minimal Debian 12 with the services that the fixtures build upon.
//!
//! Built once by debootstrap from the mirror that this machine already uses, then only read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::LabError;
use super::{Lab, Root, exec};

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,procps,iproute2,cron,logrotate,rsyslog,openssh-server,nginx-light,\
curl,openssl,python3,nftables,psmisc,lsof,chrony,ca-certificates,sudo,libpam-pwquality,redis-server,postgresql,restic,\
iputils-ping";
/// Slow to start and of no use to a host whose fixture does not enable them.
const DISABLED: &[&str] =
    &["postgresql.service", "redis-server.service", "nginx.service", "e2scrub_reap.service"];
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// Raise it when the steps after debootstrap change, so that old caches are not used.
const RECIPE: u32 = 1;

pub(super) fn ensure(lab: &Lab) -> Result<Root, LabError> {
    let name = format!("base-{}", key());
    let (root, done) = (lab.roots().join(&name), lab.roots().join(format!("{name}.done")));
    let found = Root { layers: vec![root.clone()] };
    if done.exists() {
        return Ok(found);
    }
    // Test processes run in parallel: one builds, the others wait here and then find it done.
    let _lock = lab.lock("base")?;
    if done.exists() {
        return Ok(found);
    }
    if root.exists() {
        fs::remove_dir_all(&root).map_err(|e| LabError::io("remove the half-built", &root, e))?;
    }
    eprintln!("lab: building the base root in {} (a minute or two, once)", root.display());
    debootstrap(&root)?;
    configure(&root)?;
    fs::write(&done, "").map_err(|e| LabError::io("mark", &done, e))?;
    Ok(found)
}

fn key() -> String {
    let digest = Sha256::digest(format!("{RECIPE}\n{SUITE}\n{PACKAGES}\n{DISABLED:?}"));
    hex::encode(&digest[..6])
}

fn debootstrap(root: &Path) -> Result<(), LabError> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(root);
    command.args(mirror()).env("DEBIAN_FRONTEND", "noninteractive");
    let log = exec::run(&mut command, b"", BUILD_LIMIT)
        .map_err(|e| LabError::io("start", Path::new("debootstrap"), e))?;
    if log.timed_out {
        return Err(LabError::TimedOut { what: "run debootstrap".into(), seconds: BUILD_LIMIT.as_secs() });
    }
    log.expect("run debootstrap").map(drop)
}

fn configure(root: &Path) -> Result<(), LabError> {
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    let networkd = wants.join("systemd-networkd.service");
    symlink("/lib/systemd/system/systemd-networkd.service", &networkd)
        .map_err(|e| LabError::io("enable", &networkd, e))?;
    let mut disable = Command::new("systemctl");
    disable.arg("--root").arg(root).arg("disable").args(DISABLED);
    exec::run(&mut disable, b"", Duration::from_secs(60))
        .map_err(|e| LabError::io("start", Path::new("systemctl"), e))?
        .expect("disable services of the base root")?;
    let resolv = root.join("etc/resolv.conf");
    let _ = fs::remove_file(&resolv); // it may be a link into the building machine
    fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        .map_err(|e| LabError::io("write", &resolv, e))?;
    let archives = root.join("var/cache/apt/archives");
    for entry in fs::read_dir(&archives).map_err(|e| LabError::io("list", &archives, e))?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "deb") {
            fs::remove_file(entry.path()).map_err(|e| LabError::io("remove", &entry.path(), e))?;
        }
    }
    Ok(())
}

/// Returns the Debian mirror configured on this machine; none lets debootstrap use its default.
fn mirror() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        return None;
    }
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.to_owned();
    source_files()
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|text| mirror_in(&text, &codename))
}

fn source_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let mut parts: Vec<PathBuf> =
        fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|e| e.path()).collect();
    parts.sort();
    files.extend(parts);
    files
}

/// Finds the address of the source that serves `codename main`, in either of apt's two formats.
fn mirror_in(text: &str, codename: &str) -> Option<String> {
    one_line_mirror(text, codename)
        .or_else(|| text.split("\n\n").find_map(|stanza| stanza_mirror(stanza, codename)))
}

fn one_line_mirror(text: &str, codename: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let without_options = match (line.find('['), line.find(']')) {
            (Some(from), Some(to)) if from < to => format!("{}{}", &line[..from], &line[to + 1..]),
            _ => line.to_owned(),
        };
        match without_options.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["deb", address, suite, components @ ..]
                if *suite == codename && components.contains(&"main") =>
            {
                Some((*address).to_owned())
            }
            _ => None,
        }
    })
}

fn stanza_mirror(stanza: &str, codename: &str) -> Option<String> {
    let field = |name: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or("")
            .split_whitespace()
    };
    let serves = field("Types").any(|t| t == "deb")
        && field("Suites").any(|s| s == codename)
        && field("Components").any(|c| c == "main");
    if serves { field("URIs").next().map(str::to_owned) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mirror_in_both_formats_and_skips_other_sources() {
        let other = "deb https://tools.example/apt stable main\n";
        let one_line = "# comment\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\n";
        let stanzas = "Types: deb\nURIs: http://sec.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
                       Types: deb\n# note\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        let cases = [
            (other, None),
            (one_line, Some("http://mirror.example/debian")),
            (stanzas, Some("http://mirror.example/debian")),
        ];
        for (text, expected) in cases {
            assert_eq!(mirror_in(text, "bookworm").as_deref(), expected, "{text}");
        }
    }
}
