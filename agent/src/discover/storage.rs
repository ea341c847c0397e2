//! File systems: all of them are watched anyway; what is said here is what is so now and would raise a fault at once.

use super::proposal::{Proposal, Section};
use super::root::Root;
use super::yaml::Flow;

/// Types whose fill says nothing.
const KERNELS_OWN: [&str; 16] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup2",
    "cgroup",
    "mqueue",
    "hugetlbfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "autofs",
    "fusectl",
    "configfs",
];

/// Proposes limits of their own for file systems that are nearly full now.
pub(super) fn propose(root: &Root, proposal: &mut Proposal) {
    let Some(mounts) = root.read("/proc/self/mounts").or_else(|| root.read("/proc/mounts")) else {
        root.note("/proc/mounts", "is not there: which file systems are mounted is not known");
        return;
    };
    let mut mounted = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(place), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let place = unescaped(place);
        let read_only = options.split(',').any(|option| option == "ro");
        if !KERNELS_OWN.contains(&kind)
            && !read_only
            && !place.starts_with("/run")
            && !place.starts_with("/dev")
        {
            mounted.push((place, kind.to_owned()));
        }
    }
    for (place, kind) in &mounted {
        // Without its mounts, what lies below another root says nothing of this host's file systems.
        if !root.is_the_hosts() || kind.starts_with("nfs") || kind == "cifs" || kind.starts_with("fuse") {
            continue;
        }
        let Ok(space) = rustix::fs::statvfs(place.as_str()) else { continue };
        let used = percent(space.f_blocks - space.f_bfree.min(space.f_blocks), space.f_blocks);
        if (80..98).contains(&used) {
            let limit = used + 2;
            let flow = Flow::default()
                .word("used_percent", limit)
                .word("clear_percent", used.saturating_sub(1).min(limit - 1));
            let why =
                format!("{used} % of it are used already; the general limit is 90 %. Better make room.");
            proposal.add_to(Section::Mounts, &why, place, &flow.done());
        }
    }
    let places: Vec<_> = mounted.iter().map(|(place, kind)| format!("{place} ({kind})")).collect();
    proposal.note(format!("File systems that are watched, as all are: {}", places.join(", ")));
    missing(root, &mounted, proposal);
}

fn missing(root: &Root, mounted: &[(String, String)], proposal: &mut Proposal) {
    for line in root.read("/etc/fstab").unwrap_or_default().lines() {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [source, place, kind, options, ..] = fields.as_slice() else { continue };
        let by_hand = options.split(',').any(|o| o == "noauto" || o.starts_with("x-systemd.automount"));
        let place = unescaped(place);
        if source.starts_with('#') || *kind == "swap" || by_hand || mounted.iter().any(|(m, _)| *m == place) {
            continue;
        }
        if root.is_the_hosts() && !root.is_mounted(&place) {
            proposal.note(format!(
                "{place} stands in /etc/fstab and is not mounted: that is a fault, which is told at once."
            ));
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

/// Spaces and the like are written in octal in the kernel's table.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
