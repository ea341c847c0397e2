//! What every host has: keys that must stay as they are, timers, names to look up.

use super::proposal::{Proposal, Section};
use super::root::Root;
use super::units::Units;
use super::yaml::Flow;

/// Files that change only when somebody means it, and how they must be.
const KEYS: [(&str, &str); 3] = [
    ("/etc/ssh/ssh_host_ed25519_key", "0600"),
    ("/etc/ssh/ssh_host_rsa_key", "0600"),
    ("/etc/ssh/ssh_host_ecdsa_key", "0600"),
];

/// Norms that a host breaks only by mistake. Others (passwords, sshd, sysctl) need to be declared first.
const NORMS: [&str; 13] = [
    "account-uid-zero",
    "account-no-password",
    "account-unshadowed",
    "account-duplicate",
    "sudoers-writable",
    "sudoers-invalid",
    "keys-open",
    "sshd-invalid",
    "rotation-invalid",
    "cron-stopped",
    "timer-stopped",
    "package-broken",
    "certificate-expired",
];

/// Proposes a baseline of keys, and tells of timers.
pub(super) fn propose(root: &Root, units: &Units, proposal: &mut Proposal) {
    use std::os::unix::fs::MetadataExt;
    for (path, mode) in KEYS {
        let Some(metadata) = root.metadata(path) else { continue };
        if metadata.mode() & 0o7777 == 0o600 {
            let flow = Flow::default().text("path", path).word("content", "first-seen").word("mode", mode);
            proposal.add(Section::Baseline, "By it this host is known to those who log in.", flow.done());
        } else {
            let mode = metadata.mode() & 0o7777;
            proposal
                .note(format!("{path} has mode {mode:04o}, where 0600 is usual; so it is in no baseline."));
        }
    }
    if root.is_there("/etc/passwd") {
        let why = "Norms that hold on a host without being declared; `sopwith-agent norms` shows what is broken now.";
        proposal.add(Section::Norms, why, format!("watch: [{}]", NORMS.join(", ")));
    }
    let timers: Vec<_> = units
        .iter()
        .filter(|(name, unit)| name.ends_with(".timer") && unit.wanted_by.is_some() && !unit.masked)
        .map(|(name, _)| name.as_str())
        .collect();
    if !timers.is_empty() {
        proposal.note(format!(
            "A run of a timer that fails is told as the failed unit of it. Timers: {}",
            timers.join(", ")
        ));
    }
    let jobs: Vec<_> = root.list("/etc/cron.d").into_iter().filter(|name| !name.starts_with('.')).collect();
    if !jobs.is_empty() {
        proposal.note(format!(
            "Jobs of cron in /etc/cron.d, whose failing only their mail or log tells: {}",
            jobs.join(", ")
        ));
    }
    if root.read("/etc/resolv.conf").is_some_and(|text| text.contains("nameserver")) {
        let probe = Flow::default().word("name", "www.example.com");
        let line = Flow::default().word("name", "resolver").map("dns", probe).word("every", "1m").done();
        proposal.show(
            Section::Checks,
            "Name servers stand in /etc/resolv.conf; say a name that this host needs:",
            line,
        );
    }
}
