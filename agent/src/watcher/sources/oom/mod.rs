//! Processes that the kernel ended for want of memory, with the unit that they belonged to. Control groups count them
//! and tell of every change; what is counted nowhere else is the machine's own count.

mod groups;

use super::{Context, Source, Work};
use crate::config::{Config, Oom, Watch};
use crate::watcher::clock;
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::{Proc, unit_of_path};
use groups::{Notified, Tree};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{UnitName, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RULE: &str = "oom.killed";
const EVERY: Duration = Duration::from_secs(5);
/// A unit that fails of it is told as failed; only one that lives on, or was started again, is told here.
const TOLERANCE: Duration = Duration::from_secs(3);
/// Most units that are remembered.
const UNITS_MAX: usize = 256;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.oom.clone();
    let wanted = config.watch != Watch::None;
    let source = Kills { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Kills {
    config: Oom,
    afresh: Afresh,
}

impl Source for Kills {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let tree = Tree::find(Path::new("/sys/fs/cgroup"));
            let touched = Touched::default();
            let notified = Notified::start(&tree, touched.clone());
            let mut watched = Watched::new(self.config, Proc::default(), tree, touched);
            // In a container the machine counts the kills of all others too.
            watched.alone = !Path::new("/run/systemd/container").exists();
            rounds::run(watched, notified, &sink, &self.afresh, &stop).await
        })
    }
}

/// Groups whose counts changed, as the kernel told since the last look.
#[derive(Clone, Debug, Default)]
struct Touched(Arc<Mutex<Vec<PathBuf>>>);

impl Touched {
    fn add(&self, path: PathBuf) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paths.len() < UNITS_MAX && !paths.contains(&path) {
            paths.push(path);
        }
    }
    fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Kills in one unit, or nowhere in particular.
#[derive(Clone, Debug, Default)]
struct Killed {
    count: u64,
    last_ms: u64,
}

struct Watched {
    config: Oom,
    proc: Proc,
    tree: Tree,
    touched: Touched,
    alone: bool,
    machine: Option<u64>,
    /// Counts of each group at the last look.
    counts: Option<BTreeMap<PathBuf, u64>>,
    killed: BTreeMap<Option<UnitName>, Killed>,
    /// Groups that changed and went away with their unit: told if the unit is back.
    gone: Vec<(PathBuf, u64)>,
}

impl Watched {
    fn new(config: Oom, proc: Proc, tree: Tree, touched: Touched) -> Self {
        let (machine, counts) = (None, None);
        let (killed, gone) = (BTreeMap::new(), Vec::new());
        Self { config, proc, tree, touched, alone: true, machine, counts, killed, gone }
    }

    fn machine_count(&self) -> Option<u64> {
        let text = self.proc.read("vmstat").ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
    }

    fn note(&mut self, unit: Option<UnitName>, count: u64, now_ms: u64) {
        let watched = unit.as_ref().is_none_or(|unit| self.config.watch.takes(unit.as_str()));
        if count > 0 && watched && (self.killed.len() < UNITS_MAX || self.killed.contains_key(&unit)) {
            let killed = self.killed.entry(unit).or_default();
            killed.count += count;
            killed.last_ms = now_ms;
        }
    }

    fn compare(&mut self, machine: Option<u64>, touched: Vec<PathBuf>, now_ms: u64) {
        let counts = self.tree.counts();
        let before = self.counts.replace(counts.clone());
        let grown = machine.zip(self.machine).map_or(0, |(now, before)| now.saturating_sub(before));
        let Some(before) = before else { return };
        let mut found = 0;
        for (path, count) in &counts {
            let more = count.saturating_sub(before.get(path).copied().unwrap_or(0));
            found += more;
            self.note(unit_of_path(&path.to_string_lossy()), more, now_ms);
        }
        let lost = touched.into_iter().filter(|path| {
            let restarted = before.get(path) > counts.get(path);
            grown > found && (restarted || !counts.contains_key(path))
        });
        let lost: Vec<_> = lost.map(|path| (path, now_ms)).collect();
        let nowhere = grown.saturating_sub(found + lost.len() as u64);
        self.gone.extend(lost);
        self.gone.truncate(UNITS_MAX);
        if self.alone {
            self.note(None, nowhere, now_ms);
        }
    }

    /// A unit whose group went away is told when it is there again after a while: it was started again.
    fn come_back(&mut self, now_ms: u64) {
        let (due, wait) = std::mem::take(&mut self.gone)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, at_ms)| at_ms + TOLERANCE.as_millis() as u64 <= now_ms);
        self.gone = wait;
        for (path, _) in due {
            if self.tree.holds(&path) {
                self.note(unit_of_path(&path.to_string_lossy()), 1, now_ms);
            }
        }
    }
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let now_ms = clock::boot_ms();
        let (machine, touched) = (self.machine_count(), self.touched.take());
        if self.counts.is_none() || machine.is_none() || machine != self.machine || !touched.is_empty() {
            self.compare(machine, touched, now_ms);
            self.machine = machine;
        }
        self.come_back(now_ms);
        let quiet_ms = self.config.quiet.ms();
        self.killed.retain(|_, killed| killed.last_ms + quiet_ms > now_ms);
        let mut seen = Seen::default();
        if machine.is_none() && self.tree.is_none() {
            seen.blind.push("neither control groups nor the machine count what memory cost".into());
        }
        for (unit, killed) in &self.killed {
            seen.hold(fault(unit.as_ref(), killed.count), TOLERANCE);
        }
        seen
    }

    fn wait(&self) -> Duration {
        if self.gone.is_empty() { EVERY } else { TOLERANCE }
    }
}

fn fault(unit: Option<&UnitName>, count: u64) -> Fault {
    let (subject, whose) = match unit {
        Some(unit) => (Subject::Unit(unit.clone()), unit.to_string()),
        None => (Subject::Host, "the host".into()),
    };
    let text = format!("the kernel ended {count} processes of {whose} for want of memory");
    let mut fault = Fault::new(RULE, "memory.oom-kill", subject, Severity::Warning, text);
    fault.integer("kills", count);
    if let Some(unit) = unit {
        fault.field("unit", Value::Unit(unit.clone()));
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Fake(tempfile::TempDir);

    impl Fake {
        fn group(&self, name: &str, kills: u64) {
            let folder = self.0.path().join("cgroup").join(name);
            fs::create_dir_all(&folder).expect("made");
            let text = format!("low 0\nhigh 0\nmax 9\noom 1\noom_kill {kills}\n");
            fs::write(folder.join("memory.events"), &text).expect("written");
            fs::write(folder.join("memory.events.local"), text).expect("written");
        }
        fn machine(&self, kills: u64) {
            fs::write(self.0.path().join("vmstat"), format!("nr_x 1\noom_kill {kills}\nz 0\n"))
                .expect("written");
        }
    }

    fn told(watched: &mut Watched) -> String {
        let seen = watched.look();
        assert!(seen.blind.is_empty());
        seen.holds
            .iter()
            .map(|(f, _)| f.subject.to_string() + " " + &f.summary[17..18])
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn kills_and_whose_they_were() {
        let fake = Fake(tempfile::tempdir().expect("a folder"));
        let root = fake.0.path().join("cgroup");
        fs::create_dir_all(&root).expect("made");
        fs::write(root.join("cgroup.controllers"), "memory").expect("written");
        fake.group("system.slice/a.service", 3);
        fake.group("system.slice/b.service", 0);
        fake.machine(3);
        let touched = Touched::default();
        let mut watched =
            Watched::new(Oom::default(), Proc::at(fake.0.path()), Tree::find(&root), touched.clone());
        assert_eq!(told(&mut watched), "", "what was before counts for nothing");
        fake.group("system.slice/b.service", 2);
        assert_eq!(told(&mut watched), "", "nothing has told of a change");
        fake.machine(5);
        assert_eq!(told(&mut watched), "unit:b.service 2");
        fake.group("system.slice/new.service/inner", 1);
        fake.machine(6);
        assert_eq!(told(&mut watched), "unit:b.service 2, unit:new.service 1");
        // One that nobody counts is the host's; one whose group changed and went is looked for later.
        fake.machine(7);
        assert_eq!(told(&mut watched), "host 1, unit:b.service 2, unit:new.service 1");
        fs::remove_dir_all(root.join("system.slice/a.service")).expect("removed");
        touched.add("system.slice/a.service".into());
        fake.machine(8);
        assert_eq!(told(&mut watched), "host 1, unit:b.service 2, unit:new.service 1");
        watched.gone[0].1 = 0;
        assert_eq!(
            told(&mut watched),
            "host 1, unit:b.service 2, unit:new.service 1",
            "it failed, which is told"
        );
        touched.add("system.slice/b.service".into());
        fake.group("system.slice/b.service", 0);
        fake.machine(9);
        told(&mut watched);
        watched.gone[0].1 = 0;
        assert_eq!(told(&mut watched), "host 1, unit:b.service 3, unit:new.service 1", "started again");
        watched.config.quiet = crate::config::At::of(crate::config::Period::secs(0));
        assert_eq!(told(&mut watched), "");
    }
}
