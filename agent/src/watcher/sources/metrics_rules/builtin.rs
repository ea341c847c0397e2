//! Two faults that every host may have and no rule need name: a unit whose memory grows until there is none left, and
//! a process of a person that takes a processor for itself. Pure but for what is kept of the values before.

use super::series::Series;
use crate::config::{Leaks, Runaways};
use crate::watcher::node::{Busy, UnitMemory};
use crate::watcher::report::Fault;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{ProcessRef, UnitName, Value, Word};
use std::collections::BTreeMap;

pub(super) const LEAKING: &str = "metrics.leaking";
pub(super) const RUNAWAY: &str = "metrics.runaway";

/// So many times as long must the time left be again before a leak is over.
const CLEAR_FACTOR: f64 = 2.0;
/// Memory that falls by this part was given back: what grew before it says nothing any more.
const FALLEN_PARTS: f64 = 5.0;
/// A unit that is new grows into its work; so long it is left alone.
const SETTLE_MS: u64 = 120_000;
/// Users of people; below are those of services, above are those that systemd and the kernel lend.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;
/// From this niceness on a process takes only what nobody else wants.
const NICE_MIN: i64 = 10;

/// What is kept of one unit.
#[derive(Debug)]
struct Kept {
    series: Series,
    since_ms: u64,
    leaks: bool,
}

/// Units by name.
#[derive(Debug, Default)]
pub(super) struct Units(BTreeMap<String, Kept>);

/// What is to be said: what holds, and what held before and does not any more.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub faults: Vec<Fault>,
    pub over: Vec<Subject>,
}

impl Units {
    /// Takes a look at all units.
    pub(super) fn look(&mut self, seen: &[UnitMemory], config: &Leaks, now_ms: u64) -> Said {
        let mut said = Said::default();
        let gone: Vec<String> =
            self.0.keys().filter(|unit| !seen.iter().any(|memory| memory.unit == **unit)).cloned().collect();
        for unit in gone {
            let leaked = self.0.remove(&unit).is_some_and(|kept| kept.leaks);
            said.over.extend(UnitName::new(unit).ok().filter(|_| leaked).map(Subject::Unit));
        }
        for memory in seen.iter().filter(|memory| config.watch.takes(&memory.unit)) {
            let Ok(unit) = UnitName::new(memory.unit.as_str()) else { continue };
            let kept = self.0.entry(memory.unit.clone()).or_insert_with(|| Kept {
                series: Series::over(config.over.0),
                since_ms: now_ms,
                leaks: false,
            });
            let before = kept.leaks;
            let fault = kept.look(&unit, memory, config, now_ms);
            if before && fault.is_none() {
                said.over.push(Subject::Unit(unit));
            }
            said.faults.extend(fault);
        }
        said
    }
}

impl Kept {
    fn look(&mut self, unit: &UnitName, memory: &UnitMemory, config: &Leaks, now_ms: u64) -> Option<Fault> {
        let bytes = memory.bytes as f64;
        if self.series.least_and_last().is_some_and(|(_, last)| bytes < last - last / FALLEN_PARTS) {
            self.series.clear();
            (self.since_ms, self.leaks) = (now_ms, false);
        }
        if self.since_ms.saturating_add(SETTLE_MS) > now_ms {
            return None;
        }
        self.series.note(now_ms, bytes);
        // What is left to it: its own limit's rest, or the host's, whichever is less.
        let own = memory.limit.map_or(u64::MAX, |limit| limit.saturating_sub(memory.bytes));
        let left = own.min(memory.available) as f64;
        let in_s = self.series.reaches_in_s(bytes + left);
        let within_s = config.within.0.as_secs_f64() * if self.leaks { CLEAR_FACTOR } else { 1.0 };
        let grown = self.series.least_and_last().map_or(0.0, |(least, last)| last - least);
        let soon = in_s.filter(|in_s| *in_s <= within_s && grown >= config.grown.0);
        self.leaks = soon.is_some() && self.series.climbs();
        let in_s = soon.filter(|_| self.leaks)?;
        let text = format!(
            "{unit} uses {} MiB, {} more than lately, and will have used up its memory in {in_s:.0} s",
            memory.bytes >> 20,
            (grown as u64) >> 20
        );
        let mut fault =
            Fault::new(LEAKING, "unit.leaking", Subject::Unit(unit.clone()), Severity::Warning, text);
        fault.field("unit", Value::Unit(unit.clone()));
        fault.integer("memory_bytes", memory.bytes);
        fault.integer("grown_bytes", grown as u64);
        fault.integer("full_in_s", in_s as u64);
        // What it has to be below again for it to have helped that it was started anew.
        fault.integer("limit", memory.bytes.saturating_sub(grown as u64 / 2));
        if let Some(limit) = memory.limit {
            fault.integer("memory_limit_bytes", limit);
        }
        Some(fault)
    }
}

/// Says which of the busy processes are of people and outside of services, each with its user's name.
pub(super) fn runaways(
    busy: &[Busy],
    config: &Runaways,
    name_of: impl Fn(u32) -> Option<String>,
) -> Vec<Fault> {
    let of_people = busy.iter().filter(|process| {
        let served = process.unit.as_deref().is_some_and(|group| {
            // What systemd runs for a person lies below user.slice.
            group.ends_with(".service") && !group.starts_with("/user.slice/")
        });
        PEOPLE.contains(&process.uid) && process.nice < NICE_MIN && !served
    });
    let fault = |process: &Busy| {
        let user = name_of(process.uid).unwrap_or_else(|| process.uid.to_string());
        let percent = (process.share * 100.0).round() as i64;
        let over_s = config.over.0.as_secs();
        let waits = (process.waits * 100.0).round() as i64;
        let text = format!(
            "process {} ({}) of {user} took {percent} % of a processor over {over_s} s, and waited for one for {waits} %",
            process.pid, process.name
        );
        let named = Word::new(format!("{}@{}", process.name, process.pid));
        let named = named.or_else(|_| Word::new(format!("pid@{}", process.pid))).expect("letters and digits");
        let mut fault =
            Fault::new(RUNAWAY, "process.runaway", Subject::Process(named), Severity::Warning, text);
        let process_ref = ProcessRef { pid: process.pid, start_ticks: process.start_ticks };
        fault.field("process", Value::Process(process_ref));
        fault.word("command", &process.name);
        fault.word("user", &user);
        fault.integer("uid", process.uid);
        fault.integer("cpu_percent", percent);
        fault.integer("waits_percent", waits);
        fault.integer("over_s", over_s);
        fault.integer("nice", process.nice);
        let unit = process.unit.as_deref().and_then(|group| group.rsplit('/').next());
        if let Some(Ok(unit)) = unit.map(UnitName::new) {
            fault.field("unit", Value::Unit(unit));
        }
        fault
    };
    of_people.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Says of each look, 30 seconds apart, whether the unit leaks: megabytes used, and left to the host.
    fn course(limit_mib: Option<u64>, looks: &[(u64, u64)]) -> String {
        let mut units = Units::default();
        let mut line = String::new();
        for (n, (used, available)) in looks.iter().enumerate() {
            let memory = UnitMemory {
                unit: "web.service".into(),
                bytes: used * MIB,
                limit: limit_mib.map(|limit| limit * MIB),
                available: available * MIB,
            };
            let said = units.look(&[memory], &Leaks::default(), n as u64 * 30_000);
            line.push(if said.faults.is_empty() { '.' } else { '!' });
            assert!(said.over.is_empty() || line.ends_with('.') && line.len() > 1, "{line}");
        }
        line
    }

    fn grows(from: u64, step: u64, count: u64, available: u64) -> Vec<(u64, u64)> {
        (0..count).map(|n| (from + step * n, available.saturating_sub(step * n))).collect()
    }

    #[test]
    fn memory_that_grows_until_there_is_none() {
        // 20 MiB in 30 s.
        assert_eq!(course(None, &grows(100, 20, 14, 1000)), ".........!!!!!");
        assert_eq!(course(Some(500), &grows(100, 20, 14, 1_000_000)), ".........!!!!!");
        assert_eq!(course(None, &grows(100, 20, 14, 1_000_000)), "..............", "it lasts for days");
        assert_eq!(course(None, &grows(100, 1, 30, 100)), ".".repeat(30), "too little to tell");
        assert_eq!(course(None, &[(900, 10); 14]), "..............", "much is no growth");
        let mut restarted = grows(100, 20, 12, 1000);
        restarted.extend([(100, 1000); 3]);
        assert_eq!(course(None, &restarted), ".........!!!...");
        let mut step = vec![(100, 400); 10];
        step.extend([(400, 100); 20]);
        assert_eq!(course(None, &step), ".".repeat(30), "a step is no leak");
    }

    #[test]
    fn a_unit_that_is_gone_leaks_no_more() {
        let mut units = Units::default();
        for (n, (used, available)) in grows(100, 20, 12, 1000).into_iter().enumerate() {
            let (bytes, available) = (used * MIB, available * MIB);
            let memory = UnitMemory { unit: "web.service".into(), bytes, limit: None, available };
            let said = units.look(&[memory], &Leaks::default(), n as u64 * 30_000);
            assert_eq!(said.faults.len(), usize::from(n >= 9));
            let fields =
                said.faults.first().map(|f| f.fields.keys().map(Word::as_str).collect::<Vec<_>>().join(" "));
            assert!(fields.is_none_or(|fields| fields == "full_in_s grown_bytes limit memory_bytes unit"));
        }
        let said = units.look(&[], &Leaks::default(), 999_000);
        assert_eq!(said.over.first().map(ToString::to_string).as_deref(), Some("unit:web.service"));
        assert!(units.look(&[], &Leaks::default(), 999_999).over.is_empty());
    }

    #[test]
    fn processes_of_people_run_away_and_those_of_services_work() {
        let one = |uid, nice, unit: Option<&str>| Busy {
            pid: 7,
            start_ticks: 9,
            name: "a loop".into(),
            uid,
            nice,
            share: 0.987,
            waits: 0.0,
            unit: unit.map(Into::into),
        };
        let name_of = |uid| (uid == 1000).then(|| "alice".to_owned());
        for (process, is) in [
            (one(1000, 0, None), true),
            (one(1001, 0, Some("/user.slice/user-1001.slice/session-3.scope")), true),
            (one(1000, 0, Some("/user.slice/user-1000.slice/user@1000.service")), true),
            (one(1000, 0, Some("/system.slice/build.service")), false),
            (one(1000, 19, None), false),
            (one(0, 0, None), false),
            (one(33, 0, None), false),
            (one(65_534, 0, None), false),
        ] {
            let faults = runaways(std::slice::from_ref(&process), &Runaways::default(), name_of);
            assert_eq!(!faults.is_empty(), is, "{process:?}");
        }
        let faults =
            runaways(&[one(1000, 0, Some("/user.slice/session-3.scope"))], &Runaways::default(), name_of);
        let told: Vec<_> = faults[0].fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = "cpu_percent=99 nice=0 over_s=60 process=7@9 uid=1000 unit=session-3.scope user=alice waits_percent=0";
        assert_eq!(told.join(" "), expected);
        assert_eq!(faults[0].subject.to_string(), "process:pid@7");
    }
}
