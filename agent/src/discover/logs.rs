//! Log files of programs that no pack knows.

use super::proposal::{Proposal, Section};
use super::root::Root;
use super::yaml::Flow;

/// Folders of /var/log that packs read, that hold no lines, or that nobody's program writes.
const KNOWN: [&str; 16] = [
    "nginx",
    "postgresql",
    "redis",
    "pgbackrest",
    "journal",
    "private",
    "apt",
    "installer",
    "sysstat",
    "unattended-upgrades",
    "samba",
    "audit",
    "chrony",
    "ntpsec",
    "sopwith",
    "cups",
];

/// Proposes to notice bursts of errors in each folder of logs.
pub(super) fn propose(root: &Root, proposal: &mut Proposal) {
    for folder in root.list("/var/log") {
        let path = format!("/var/log/{folder}");
        if KNOWN.contains(&folder.as_str()) || !root.is_folder(&path) {
            continue;
        }
        let logs = root.list(&path).into_iter().filter(|name| name.ends_with(".log")).count();
        if logs == 0 {
            continue;
        }
        let name = proposal.name(Section::Logs, &folder);
        // What stands in the name of a folder must not become a pattern.
        if folder.contains(['*', '?', '[', ']', '\\']) {
            proposal.note(format!("{path} is left out: its name would be taken for a pattern."));
            continue;
        }
        let flow = Flow::default()
            .text("name", &name)
            .texts("paths", &[format!("{path}/*.log")])
            .word("use", "[errors]");
        proposal.add(
            Section::Logs,
            &format!("Files *.log there: {logs}. Many lines of errors at once are noticed."),
            flow.done(),
        );
    }
}
