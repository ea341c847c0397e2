//! Pressure: how much of the time work waits for processor, memory or disks (PSI). The kernel is asked to tell when a
//! share is passed, where it lets an unprivileged process ask; else it is looked at.

use super::{Context, Source, Work};
use crate::config::{Config, Pressure};
use crate::watcher::notices::Notices;
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{UnitName, Value};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(10);
/// Window of a trigger, in microseconds. Without privileges only multiples of two seconds are allowed.
const WINDOW_US: u64 = 2_000_000;
/// Part of the limit below which it is over.
const CLEAR: f64 = 0.5;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.pressure.clone();
    let wanted = [&config.cpu_percent, &config.memory_percent, &config.io_percent].iter().any(|p| ***p > 0);
    let source = Pressures { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Pressures {
    config: Pressure,
    afresh: Afresh,
}

impl Source for Pressures {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let watched = Watched::new(&self.config, Path::new("/sys/fs/cgroup"), Path::new("/proc"));
            let mut notices = Notices::default();
            for one in &watched.resources {
                if let Err(e) = one.trigger(&mut notices) {
                    tracing::debug!("pressure is looked at every {} s: {e}", EVERY.as_secs());
                }
            }
            rounds::run(watched, notices, &sink, &self.afresh, &stop).await
        })
    }
}

/// One resource and its limit.
#[derive(Debug)]
struct Resource {
    name: &'static str,
    /// `some` or `full`.
    line: &'static str,
    limit: u8,
    path: PathBuf,
    holds: bool,
}

impl Resource {
    fn trigger(&self, notices: &mut Notices) -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let stall_us = WINDOW_US * u64::from(self.limit) / 100;
        // The kernel takes a trigger in one piece, with its terminating NUL.
        file.write_all(format!("{} {stall_us} {WINDOW_US}\0", self.line).as_bytes())?;
        notices.add(file)
    }
}

struct Watched {
    resources: Vec<Resource>,
    tolerance: Duration,
}

impl Watched {
    /// A container has pressure of its own in the root of its control groups; what `/proc` tells is the machine's.
    fn new(config: &Pressure, groups: &Path, proc: &Path) -> Self {
        let resource = |name: &'static str, line, limit: u8| {
            let own = groups.join(format!("{name}.pressure"));
            let path = if own.exists() { own } else { proc.join("pressure").join(name) };
            Resource { name, line, limit, path, holds: false }
        };
        let all = [
            resource("cpu", "some", *config.cpu_percent),
            resource("memory", "full", *config.memory_percent),
            resource("io", "full", *config.io_percent),
        ];
        let resources = all.into_iter().filter(|resource| resource.limit > 0).collect();
        Self { resources, tolerance: config.tolerance.0 }
    }
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        for resource in &mut self.resources {
            let text = match std::fs::read_to_string(&resource.path) {
                Ok(text) => text,
                Err(e) => {
                    seen.blind.push(format!("failed to read {}: {e}", resource.path.display()));
                    continue;
                }
            };
            let percent = average(&text, resource.line).unwrap_or(0.0);
            resource.holds = judge(resource.holds, percent, f64::from(resource.limit));
            if resource.holds {
                seen.hold(fault(resource, percent), self.tolerance);
            }
        }
        seen
    }

    fn wait(&self) -> Duration {
        EVERY
    }
}

fn judge(before: bool, percent: f64, limit: f64) -> bool {
    percent >= limit || before && percent >= limit * CLEAR
}

/// Returns the average over ten seconds, in percent.
fn average(text: &str, line: &str) -> Option<f64> {
    let line = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '))?;
    line.split(' ').find_map(|part| part.strip_prefix("avg10="))?.parse().ok()
}

fn fault(resource: &Resource, percent: f64) -> Fault {
    let name = resource.name;
    let rule = format!("pressure.{name}");
    let who = if resource.line == "full" { "everything waits" } else { "some work waits" };
    let words = format!("{who} for {name} {} % of the time or more", resource.limit);
    let mut fault = Fault::new(&rule, "pressure.high", Subject::Host, Severity::Warning, words);
    fault.word("resource", name);
    fault.integer("limit_percent", resource.limit);
    // In steps, so that small changes are no news.
    fault.integer("percent", (percent / 10.0) as i64 * 10);
    if name == "memory"
        && let Some((unit, bytes, percent)) = biggest()
    {
        fault.field("unit", Value::Unit(unit));
        fault.integer("memory_bytes", bytes);
        fault.integer("memory_percent", percent);
    }
    fault
}

/// Returns the service that holds the most memory that no file stands behind, how much, and the share of all memory, in
/// steps. Looked at only while memory is short.
fn biggest() -> Option<(UnitName, u64, u64)> {
    let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let all = meminfo.lines().find(|line| line.starts_with("MemTotal:")).and_then(kib)?.saturating_mul(1024);
    let mut units: BTreeMap<String, u64> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let path = entry.path();
        let Ok(status) = std::fs::read_to_string(path.join("status")) else { continue };
        let counts = |line: &&str| line.starts_with("RssAnon:") || line.starts_with("RssShmem:");
        let used: u64 = status.lines().filter(counts).filter_map(kib).sum();
        let groups = std::fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let unit = groups.lines().find_map(|line| line.rsplit('/').find(|part| part.ends_with(".service")));
        if let Some(unit) = unit.filter(|_| used > 0) {
            *units.entry(unit.to_owned()).or_default() += used * 1024;
        }
    }
    let (unit, bytes) = units.into_iter().max_by_key(|(_, bytes)| *bytes)?;
    let percent = bytes.saturating_mul(100).checked_div(all)?;
    // In steps, so that small changes are no news.
    let (bytes, percent) = (bytes >> 26 << 26, percent / 5 * 5);
    (bytes > 0).then_some((UnitName::new(unit).ok()?, bytes, percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_and_the_way_back() {
        for (before, percent, holds) in
            [(false, 29.9, false), (false, 30.0, true), (true, 15.0, true), (true, 14.9, false)]
        {
            assert_eq!(judge(before, percent, 30.0), holds, "{before} {percent}");
        }
    }

    #[test]
    fn a_container_has_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let (groups, proc) = (folder.path().join("cgroup"), folder.path().join("proc"));
        std::fs::create_dir_all(proc.join("pressure")).expect("made");
        std::fs::create_dir_all(&groups).expect("made");
        let text = |full: f64| {
            format!(
                "some avg10=99.00 avg60=0 avg300=0 total=1\nfull avg10={full:.2} avg60=0 avg300=0 total=1\n"
            )
        };
        std::fs::write(proc.join("pressure/memory"), text(80.0)).expect("written");
        let look = || {
            let mut watched = Watched::new(&Pressure::default(), &groups, &proc);
            let seen = watched.look();
            (seen.holds.iter().map(|(f, _)| f.fields.len()).collect::<Vec<_>>(), seen.blind.len())
        };
        // Where a service uses much memory it is named with three fields more.
        let (fields, blind) = look();
        assert!(matches!(fields.as_slice(), [3] | [6]), "{fields:?}");
        assert_eq!(blind, 0);
        std::fs::write(groups.join("memory.pressure"), text(1.0)).expect("written");
        assert_eq!(look(), (vec![], 0));
        std::fs::remove_file(groups.join("memory.pressure")).expect("removed");
        std::fs::remove_file(proc.join("pressure/memory")).expect("removed");
        assert_eq!(look(), (vec![], 1));
    }
}
