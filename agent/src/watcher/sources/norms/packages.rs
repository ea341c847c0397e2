//! Packages that are half installed, while nobody is installing anything.

use super::host::{Host, Looked};
use super::norm::{self, Breach};
use crate::watcher::files;
use sopwith_domain::signal::Subject;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;

const STATUS: &str = "/var/lib/dpkg/status";
/// Locks of those who install.
const LOCKS: &[&str] = &["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];
/// Longest line of the list of packages, in bytes; longer ones are descriptions.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most packages that are told one by one.
const TOLD_MAX: usize = 50;

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    if !host.is_there(STATUS) {
        return;
    }
    // Whoever holds the lock is about to change all this.
    if LOCKS.iter().any(|lock| held(host, lock)) {
        looked.later = Some("packages are being installed");
        return;
    }
    match broken(host) {
        Err(e) => looked.trouble(format!("failed to read {STATUS}: {e}")),
        Ok(found) => {
            for (package, status) in found.into_iter().take(TOLD_MAX) {
                let state = status.split_whitespace().next_back().unwrap_or_default();
                let subject = norm::word(&package).map_or(Subject::Host, Subject::Package);
                let text = format!("package {package} is {state}");
                let breach = Breach::new(norm::PACKAGE_BROKEN, subject, text).exact("package", &package);
                looked.breach(breach.word("state", state).show(status));
            }
        }
    }
    let waiting = host
        .names("/var/lib/dpkg/updates", looked)
        .iter()
        .filter(|name| name.chars().all(|c| c.is_ascii_digit()))
        .count();
    if waiting > 0 {
        let text = "dpkg was interrupted; `dpkg --configure -a` has work left";
        looked.breach(
            Breach::new(norm::PACKAGE_BROKEN, Subject::Host, text)
                .word("state", "interrupted")
                .integer("updates", waiting),
        );
    }
}

/// Returns packages whose state is neither whole nor gone, line by line: the list is long.
fn broken(host: &Host<'_>) -> std::io::Result<Vec<(String, String)>> {
    let mut reader = BufReader::new(File::open(host.at(STATUS))?);
    let (mut found, mut package, mut line) = (Vec::new(), String::new(), Vec::new());
    loop {
        line.clear();
        if std::io::Read::by_ref(&mut reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        if let Some(name) = line.strip_prefix(b"Package: ") {
            package = String::from_utf8_lossy(name).trim().to_owned();
        } else if let Some(status) = line.strip_prefix(b"Status: ") {
            let status = String::from_utf8_lossy(status).trim().to_owned();
            let mut words = status.split_whitespace().skip(1);
            let (flag, state) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if flag != "ok" || !matches!(state, "installed" | "not-installed" | "config-files") {
                found.push((std::mem::take(&mut package), status));
            }
        }
    }
}

fn held(host: &Host<'_>, lock: &str) -> bool {
    let Ok(metadata) = std::fs::metadata(host.at(lock)) else { return false };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let place = format!(
        "{:02x}:{:02x}:{}",
        rustix::fs::major(metadata.dev()),
        rustix::fs::minor(metadata.dev()),
        metadata.ino()
    );
    locks.lines().filter(|line| line.contains(&place) && !line.contains("->")).any(|line| {
        let pid = line.split_whitespace().nth(4).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid: u32| pid > 0 && files::process(pid).is_some())
    })
}

use std::io::Read;

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    #[test]
    fn packages_are_whole_or_gone() {
        for (status, is) in [
            ("install ok installed", ""),
            ("deinstall ok config-files", ""),
            ("unknown ok not-installed", ""),
            ("hold ok installed", ""),
            ("install ok half-configured", "half-configured"),
            ("install ok half-installed", "half-installed"),
            ("install ok unpacked", "unpacked"),
            ("install ok triggers-pending", "triggers-pending"),
            ("install reinstreq half-installed", "half-installed"),
        ] {
            let fixture = Fixture::new("");
            let text = format!(
                "Package: a\nStatus: install ok installed\nDescription: {}\n x\n\nPackage: demo\nStatus: {status}\n",
                "long ".repeat(20_000)
            );
            fixture.file(STATUS, text);
            let says = if is.is_empty() { "" } else { "package-broken package:demo" };
            assert_eq!(fixture.told(look), says, "{status}");
            if !is.is_empty() {
                assert_eq!(fields(&fixture.looked(look)), format!("package=demo state={is}"));
            }
        }
    }

    #[test]
    fn dpkg_that_was_interrupted_and_dpkg_at_work() {
        let fixture = Fixture::new("");
        fixture.file(STATUS, "").file("/var/lib/dpkg/updates/0001", "x").file(LOCKS[0], "");
        assert_eq!(fixture.told(look), "package-broken host");
        let lock = File::options()
            .write(true)
            .open(fixture.folder.path().join(LOCKS[0].trim_start_matches('/')))
            .expect("opened");
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
        assert_eq!(fixture.told(look), "later: packages are being installed");
    }
}
