//! Units near their own limit of tasks (`TasksMax=`): the kernel lets them start no process and no thread more, and
//! tells it nobody but the program that wanted to.

use super::CLEAR;
use crate::watcher::report::Fault;
use crate::watcher::tasks::unit_of_groups;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{UnitName, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the kernel counts tasks by group, by the second version of its groups and by the first.
const ROOTS: &[(&str, &str)] =
    &[("/sys/fs/cgroup", "cgroup.controllers"), ("/sys/fs/cgroup/pids", "cgroup.procs")];
/// Units that are made for the moment.
const TRANSIENT: &str = "/run/systemd/transient";
/// Most groups that are gone through, and how deep.
const GROUPS_MAX: usize = 2048;
const DEPTH_MAX: usize = 6;
/// Only every so many looks the groups are gone through.
const EVERY: u32 = 2;

/// The groups, and which of them were near their limit.
#[derive(Debug)]
pub(super) struct Groups {
    /// None where the kernel counts no tasks by group.
    root: Option<PathBuf>,
    transient: PathBuf,
    near: BTreeSet<UnitName>,
    looks: u32,
    faults: Vec<Fault>,
}

impl Groups {
    pub(super) fn find() -> Self {
        let there = |(root, sign): &&(&str, &str)| Path::new(root).join(sign).exists();
        let root = ROOTS.iter().find(there).map(|(root, _)| PathBuf::from(root));
        Self::at(root, Path::new(TRANSIENT))
    }

    pub(super) fn none() -> Self {
        Self::at(None, Path::new(TRANSIENT))
    }

    fn at(root: Option<PathBuf>, transient: &Path) -> Self {
        Self { root, transient: transient.into(), near: BTreeSet::new(), looks: 0, faults: Vec::new() }
    }

    /// Returns a fault for every unit that uses so much of its limit; 0 percent means never.
    pub(super) fn look(&mut self, percent: u8) -> Vec<Fault> {
        let Some(root) = self.root.as_deref().filter(|_| percent > 0) else { return Vec::new() };
        if self.looks.is_multiple_of(EVERY) {
            let before = std::mem::take(&mut self.near);
            let mut faults = Vec::new();
            for (unit, tasks, most) in limited(root) {
                let limit = u64::from(percent).saturating_sub(if before.contains(&unit) { CLEAR } else { 0 });
                if self.near.contains(&unit) || tasks * 100 < most * limit {
                    continue;
                }
                faults.push(fault(&unit, tasks, most, self.transient.join(unit.as_str()).exists()));
                self.near.insert(unit);
            }
            self.faults = faults;
        }
        self.looks = self.looks.wrapping_add(1);
        self.faults.clone()
    }
}

/// Returns the units that have a limit, with their tasks and how many they may have.
fn limited(root: &Path) -> Vec<(UnitName, u64, u64)> {
    let (mut found, mut todo, mut seen) = (Vec::new(), vec![(PathBuf::new(), 0)], 0);
    while let Some((group, depth)) = todo.pop() {
        let folder = root.join(&group);
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if depth < DEPTH_MAX && seen < GROUPS_MAX && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                seen += 1;
                todo.push((group.join(entry.file_name()), depth + 1));
            }
        }
        let number = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        // `max` is no number, and no limit.
        let Some(most) = number("pids.max").filter(|most| *most > 0) else { continue };
        if let (Some(unit), Some(tasks)) = (unit(&group), number("pids.current")) {
            found.push((unit, tasks, most));
        }
    }
    found
}

/// Returns the unit whose group this is: itself a unit, not a group within one.
fn unit(group: &Path) -> Option<UnitName> {
    let name = UnitName::new(group.file_name()?.to_str()?).ok()?;
    let innermost = unit_of_groups(&format!("0::/{}", group.to_str()?));
    (name.as_str().ends_with(".slice") || innermost.as_ref() == Some(&name)).then_some(name)
}

/// Of what was made for the moment, of a session and of a group of units nothing would start it again as it was.
fn fault(unit: &UnitName, tasks: u64, most: u64, transient: bool) -> Fault {
    let percent = tasks * 100 / most;
    let text = format!("{unit} has {tasks} processes and threads, at most {most} are allowed");
    let mut fault =
        Fault::new("tables.unit-tasks", "unit.tasks", Subject::Unit(unit.clone()), Severity::Critical, text);
    fault.field("unit", Value::Unit(unit.clone()));
    // In steps, so that every task is no news.
    fault.integer("used_percent", percent / 5 * 5);
    fault.integer("size", most);
    if transient || !unit.as_str().ends_with(".service") {
        fault.field("by_hand", Value::Boolean(true));
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn group(root: &Path, path: &str, tasks: u64, most: &str) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("pids.current"), format!("{tasks}\n")).expect("written");
        fs::write(folder.join("pids.max"), format!("{most}\n")).expect("written");
    }

    fn told(groups: &mut Groups, percent: u8) -> String {
        let one = |fault: &Fault| {
            let field = |name: &str| {
                fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string())
            };
            let by_hand = field("by_hand").map_or("", |_| " by hand");
            format!("{} {}{by_hand}", fault.subject, field("used_percent").unwrap_or_default())
        };
        groups.looks = 0;
        groups.look(percent).iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn units_near_their_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, transient) = (folder.path().join("groups"), folder.path().join("transient"));
        group(&root, "system.slice/web.service", 89, "100");
        group(&root, "system.slice/free.service", 5000, "max");
        group(&root, "system.slice/web.service/worker", 10, "10");
        group(&root, "user.slice/user-7.slice", 10, "100");
        let mut groups = Groups::at(Some(root.clone()), &transient);
        assert_eq!(told(&mut groups, 90), "");
        group(&root, "system.slice/web.service", 90, "100");
        assert_eq!(told(&mut groups, 90), "unit:web.service 90");
        assert_eq!(told(&mut groups, 0), "", "never");
        group(&root, "system.slice/web.service", 80, "100");
        assert_eq!(told(&mut groups, 90), "unit:web.service 80", "it is well only some way below");
        group(&root, "system.slice/web.service", 79, "100");
        assert_eq!(told(&mut groups, 90), "");
        group(&root, "user.slice/user-7.slice", 99, "100");
        assert_eq!(told(&mut groups, 90), "unit:user-7.slice 95 by hand");
        group(&root, "user.slice/user-7.slice", 1, "100");
        fs::create_dir_all(&transient).expect("made");
        fs::write(transient.join("try.service"), "").expect("written");
        group(&root, "system.slice/try.service", 100, "100");
        assert_eq!(told(&mut groups, 90), "unit:try.service 100 by hand");
        assert_eq!(told(&mut Groups::at(None, &transient), 90), "", "the kernel counts nothing");
    }

    #[test]
    fn the_kernel_counts_and_refuses() {
        let groups = Groups::find();
        let Some(root) = &groups.root else {
            eprintln!("SKIPPED: this kernel counts no tasks by group");
            return;
        };
        let name = format!("sopwith-test-{}.service", std::process::id());
        let own = root.join(&name);
        let limited_to =
            |most: &str| fs::create_dir(&own).and_then(|()| fs::write(own.join("pids.max"), most));
        if let Err(e) = limited_to("10") {
            eprintln!("SKIPPED: no group can be made here: {e}");
            let _ = fs::remove_dir(&own);
            return;
        }
        let found = limited(root);
        let removed = fs::remove_dir(&own);
        let one = found.iter().find(|(unit, ..)| unit.as_str() == name);
        assert_eq!(one.map(|(_, tasks, most)| (*tasks, *most)), Some((0, 10)));
        removed.expect("removed");
    }
}
