//! Which services are meant to run and do, from systemd's files and the kernel's control groups.

use super::listeners::Listening;
use super::proposal::{Proposal, Section};
use super::root::Root;
use super::yaml::Flow;
use crate::watcher::Proc;
use std::collections::{BTreeMap, BTreeSet};

/// Where unit files lie, the first one wins.
const FOLDERS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// Services that come and go by themselves, belong to a login, or are watched by others.
const PASSING: [&str; 9] = [
    "sopwith-",
    "user@",
    "user-runtime-dir@",
    "getty@",
    "serial-getty@",
    "console-getty",
    "container-getty@",
    "systemd-",
    "autovt@",
];

/// What is known of one service.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The unit that wants it.
    pub wanted_by: Option<String>,
    pub masked: bool,
    pub text: String,
    /// Whether it has a process.
    pub runs: bool,
    pub program: String,
}

/// All services and timers, by name.
pub(super) type Units = BTreeMap<String, Unit>;

impl Unit {
    /// Returns the last value of a setting.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        let lines = self.text.lines().map(str::trim);
        lines
            .filter_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))
            .next_back()
            .map(str::trim)
    }

    /// Says whether it stays, once it runs, until somebody stops it.
    fn stays(&self) -> bool {
        let kind = self.setting("Type").unwrap_or("simple");
        kind != "oneshot" && !self.text.contains("\nRuntimeMaxSec")
    }
}

/// Returns what systemd is told and what runs.
pub(super) fn find(root: &Root) -> Units {
    let mut units = Units::new();
    for folder in FOLDERS {
        for name in root.list(folder) {
            let path = format!("{folder}/{name}");
            if let Some(target) = name.strip_suffix(".wants").or_else(|| name.strip_suffix(".requires")) {
                for wanted in root.list(&path).into_iter().filter(|n| is_kind(n)) {
                    units.entry(wanted).or_default().wanted_by.get_or_insert_with(|| target.to_owned());
                }
            } else if is_kind(&name) && root.link(&path).as_deref() == Some("/dev/null") {
                units.entry(name).or_default().masked = true;
            }
        }
    }
    for (name, unit) in &mut units {
        unit.text = text(root, name);
    }
    running(root, &mut units);
    units
}

fn is_kind(name: &str) -> bool {
    name.ends_with(".service") || name.ends_with(".timer")
}

/// Returns a unit's file and what is added to it; an instance's is that of its template.
fn text(root: &Root, name: &str) -> String {
    let template = name.split_once('@').map(|(stem, rest)| {
        let kind = rest.rsplit_once('.').map_or("service", |(_, kind)| kind);
        format!("{stem}@.{kind}")
    });
    let mut text = String::new();
    for name in std::iter::once(name).chain(template.as_deref()) {
        let found = FOLDERS.iter().find_map(|folder| root.read(&format!("{folder}/{name}")));
        for folder in FOLDERS {
            for file in root.list(&format!("{folder}/{name}.d")).iter().filter(|f| f.ends_with(".conf")) {
                let added = root.read(&format!("{folder}/{name}.d/{file}")).unwrap_or_default();
                text = format!("{text}\n{added}");
            }
        }
        if let Some(found) = found {
            return format!("\n{found}\n{text}");
        }
    }
    text
}

fn running(root: &Root, units: &mut Units) {
    let proc = Proc::at(&root.proc());
    let pids = proc.pids();
    if pids.is_empty() {
        root.note("/proc", "no process is there: what runs is not known, so nothing is expected to");
    }
    let mut seen = BTreeSet::new();
    for pid in pids {
        // Only what the system's own manager started, not a user's.
        let Ok(groups) = proc.read(&format!("{pid}/cgroup")) else { continue };
        let system = groups.lines().any(|line| line.contains("/system.slice/"));
        let Some(unit) = proc.unit(pid).filter(|_| system) else { continue };
        if !seen.insert(unit.to_string()) {
            continue;
        }
        let found = units.entry(unit.to_string()).or_default();
        found.runs = true;
        found.program = proc.name(pid);
        if found.text.is_empty() {
            found.text = text(root, unit.as_str());
        }
    }
}

/// Says whether a service is one that is expected to run from now on.
pub(super) fn expected(units: &Units, name: &str) -> bool {
    let Some(unit) = units.get(name).filter(|_| name.ends_with(".service")) else { return false };
    unit.runs
        && !unit.masked
        && unit.wanted_by.is_some()
        && unit.stays()
        && !PASSING.iter().any(|start| name.starts_with(start))
}

/// Proposes to expect what is wanted and runs.
pub(super) fn propose(units: &Units, listening: &[Listening], ask: bool, proposal: &mut Proposal) {
    for (name, unit) in units.iter().filter(|(name, _)| expected(units, name)) {
        let by = unit.wanted_by.as_deref().unwrap_or_default();
        let mut why = format!("Wanted by {by}, and runs ({}).", unit.program);
        let mut flow = Flow::default().word("expect", "active");
        // On its way through a restart it is inactive for a moment.
        flow = flow.word("for", "2s");
        if let Some(pidfile) = unit.setting("PIDFile").filter(|path| path.starts_with('/')) {
            flow = flow.text("pidfile", pidfile);
        }
        if ask && let Some((url, said)) = super::ask::health(listening, name) {
            why = format!("{why} {said}");
            let health = Flow::default().text("url", &url).word("every", "5s").word("timeout", "3s");
            flow = flow.map("health", health.word("failures", 3));
        }
        proposal.add_to(Section::Services, &why, name, &flow.done());
    }
    for (name, unit) in units {
        let stopped = !unit.runs && !unit.masked && unit.wanted_by.is_some() && unit.stays();
        if stopped && name.ends_with(".service") && !unit.text.is_empty() && !name.contains("@.") {
            let passing = PASSING.iter().any(|start| name.starts_with(start));
            // A unit that needs a condition which is not met is well without running.
            if !passing && !unit.text.contains("\nCondition") {
                proposal.note(format!("{name} is wanted and does not run now; so it is not expected to."));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays() {
        for (text, stays) in [
            ("\n[Service]\nExecStart=/x\n", true),
            ("\n[Service]\nType=oneshot\n", false),
            ("\n[Service]\nType = oneshot\n", false),
            ("\n[Service]\nType=oneshot\nType=notify\n", true),
            ("\n[Service]\nRuntimeMaxSec=5\n", false),
        ] {
            assert_eq!(Unit { text: text.into(), ..Unit::default() }.stays(), stays, "{text}");
        }
    }
}
