//! Whether an update waits for the host to be started again: by the mark that packages leave, by the kernels that are
//! there, and by the library that the first process still holds.

use super::host::{Host, Looked};
use super::norm::{self, Breach};
use sopwith_domain::signal::Subject;
use std::os::unix::fs::MetadataExt;

const MARKS: &[&str] = &["/run/reboot-required", "/var/run/reboot-required"];

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    if let Some(mark) = MARKS.iter().find(|mark| host.is_there(mark)) {
        let packages = host.text(&format!("{mark}.pkgs"), looked).unwrap_or_default();
        let age_s = host.metadata(mark, looked).map_or(0, |m| host.now_s - m.mtime());
        let first = packages.lines().next().unwrap_or_default().to_owned();
        let names: Vec<_> = packages.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let text = match names.as_slice() {
            [] => "a restart is due".to_owned(),
            names => format!("a restart is due for {}", names[..names.len().min(5)].join(", ")),
        };
        let breach = required(text, "mark").path("path", mark).word("package", &first);
        looked.breach(breach.integer("age_s", age_s).show(packages));
        return;
    }
    // In a container the kernel is another host's.
    if host.is_container() {
        return;
    }
    if let Some(newest) = newer_kernel(host, looked) {
        let running = host.text("/proc/sys/kernel/osrelease", looked).unwrap_or_default();
        let text = format!("kernel {newest} is installed, {} runs", running.trim());
        looked.breach(required(text, "kernel").word("installed", &newest).word("running", running.trim()));
    }
}

fn required(text: String, reason: &str) -> Breach {
    Breach::new(norm::REBOOT_REQUIRED, Subject::Host, text).word("reason", reason)
}

/// Returns the newest kernel of the running one's kind that is installed, if it is newer than the one that runs.
fn newer_kernel(host: &Host<'_>, looked: &mut Looked) -> Option<String> {
    let running = host.text("/proc/sys/kernel/osrelease", looked)?;
    let (running, flavour) = (running.trim(), kind(running.trim()));
    let names = host.names("/boot", looked);
    let installed = names.iter().filter_map(|name| name.strip_prefix("vmlinuz-"));
    let mut same: Vec<&str> = installed.filter(|release| kind(release) == flavour).collect();
    // One that is not among them was not installed from here.
    if !same.contains(&running) {
        return None;
    }
    same.sort_by_key(|release| numbers(release));
    let newest = same.last()?;
    (numbers(newest) > numbers(running)).then(|| (*newest).to_owned())
}

/// Returns what is left of a release without its numbers: the flavour, as in `-amd64`.
fn kind(release: &str) -> String {
    release
        .rsplit('-')
        .next()
        .filter(|last| !last.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_default()
        .to_owned()
}

fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).take(6).collect()
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    #[test]
    fn marks_of_packages() {
        let fixture = Fixture::new("");
        assert_eq!(fixture.told(look), "");
        fixture
            .file(MARKS[0], "*** System restart required ***")
            .file("/run/reboot-required.pkgs", "linux-image-6.1.0-99-amd64\nlibc6\n");
        assert!(
            fields(&fixture.looked(look))
                .starts_with("reason=mark path=/run/reboot-required package=linux-image-6.1.0-99-amd64")
        );
    }

    #[test]
    fn kernels() {
        for (running, installed, newest) in [
            ("6.1.0-20-amd64", &["6.1.0-20-amd64"][..], None),
            ("6.1.0-20-amd64", &["6.1.0-9-amd64", "6.1.0-20-amd64"], None),
            ("6.1.0-20-amd64", &["6.1.0-20-amd64", "6.1.0-21-amd64"], Some("6.1.0-21-amd64")),
            (
                "6.1.0-9-amd64",
                &["6.1.0-9-amd64", "6.1.0-20-amd64", "6.10.0-1-cloud-amd64"],
                Some("6.10.0-1-cloud-amd64"),
            ),
            ("6.1.0-20-amd64", &["6.1.0-20-amd64", "6.5.0-1-rt"], None),
            // Booted from somewhere else.
            ("6.18.44", &["6.1.0-20-amd64"], None),
        ] {
            let fixture = Fixture::new("");
            fixture.file("/proc/sys/kernel/osrelease", format!("{running}\n"));
            installed.iter().for_each(|release| _ = fixture.file(&format!("/boot/vmlinuz-{release}"), ""));
            let found = fixture.looked(look).breaches.first().map(|b| b.summary.clone());
            let expected = newest.map(|newest| format!("kernel {newest} is installed, {running} runs"));
            assert_eq!(found, expected, "{running} {installed:?}");
            fixture.file("/run/systemd/container", "");
            assert_eq!(fixture.told(look), "");
        }
    }
}
