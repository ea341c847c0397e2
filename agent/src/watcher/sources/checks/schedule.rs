//! When a check is due. `every` goes by the boot clock, at times that are a host's own, so that a thousand hosts that
//! were started together do not ask one server together; `cron` goes by the wall clock of the place, later by an
//! amount that is a host's own. Time is an argument.

use crate::config::{Check, Cron, EVERY_DEFAULT};
use chrono::{DateTime, TimeZone};
use sha2::{Digest as _, Sha256};
use sopwith_domain::ids::HostId;
use sopwith_domain::inspection::SCHEDULE_BYTES_MAX;
use sopwith_domain::time::Timestamp;
use std::time::Duration;

/// Most missed runs that are counted at once: after a jump of the wall clock by years nobody wants to know.
pub const MISSED_MAX: u64 = 10_000;
/// From this distance on a check is an inspection: it is not run anew only because the agent was started again.
const INSPECTION_MS: u64 = 3_600_000;
/// A wall clock that was put back by more than this is believed, and the schedule thought over.
const BACK_MS: i64 = 60_000;
/// Checks of one host run at times so far apart, by an amount that is the host's own: what is due together wakes the
/// processor once.
const TOGETHER_MS: u64 = 250;

/// A check's schedule on one host.
#[derive(Clone, Debug)]
pub struct Schedule {
    when: When,
    /// What is the host's own: where in the interval it runs, or how much later.
    own_ms: u64,
    words: String,
}

#[derive(Clone, Debug)]
enum When {
    Every { ms: u64 },
    Cron(Box<Cron>),
}

/// The next run, by the clock that the schedule goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Boot(u64),
    /// When it is due by the wall clock, and since when that has been waited for.
    Wall {
        due: Timestamp,
        from: Timestamp,
    },
    Never,
}

impl Schedule {
    pub fn of(check: &Check, host: &HostId) -> Self {
        let jitter = check.jitter.as_ref().map(|jitter| jitter.ms());
        let (when, spread_ms, words) = match &check.cron {
            Some(cron) => (
                When::Cron(Box::new((**cron).clone())),
                jitter.unwrap_or(0),
                format!("cron {}", cron.as_str()),
            ),
            None => {
                let every = check.every.as_ref().map_or(EVERY_DEFAULT, |every| **every);
                let ms = every.ms().max(1);
                (When::Every { ms }, jitter.unwrap_or(ms), format!("every {}", spelled(ms)))
            }
        };
        let words = match (&when, jitter) {
            (When::Cron(_), Some(jitter)) => format!("{words} (jitter {})", spelled(jitter)),
            _ => words,
        };
        let words = crate::watcher::report::bounded(&words, SCHEDULE_BYTES_MAX);
        Self { when, own_ms: place(host, check.name.as_str(), spread_ms), words }
    }

    /// Returns it in words.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Says whether the check runs seldom.
    pub fn is_inspection(&self) -> bool {
        match &self.when {
            When::Every { ms } => *ms >= INSPECTION_MS,
            When::Cron(_) => true,
        }
    }

    /// Returns the first run after now.
    pub fn next<Z: TimeZone>(&self, boot_ms: u64, wall: Timestamp, zone: &Z) -> Next {
        match &self.when {
            When::Every { ms } => {
                let phase = self.own_ms % ms;
                let steps = boot_ms.saturating_sub(phase) / ms + u64::from(boot_ms >= phase);
                Next::Boot(phase + steps * ms)
            }
            When::Cron(cron) => {
                // What is due now, in the host's own time, was due by the calendar so much earlier.
                let due = local(wall.plus(-self.own()), zone).and_then(|from| cron.next(&from));
                due.map_or(Next::Never, |due| Next::Wall {
                    due: Timestamp(due.timestamp_millis()).plus(self.own()),
                    from: wall,
                })
            }
        }
    }

    fn own(&self) -> i64 {
        i64::try_from(self.own_ms).unwrap_or(0)
    }

    /// Returns how many runs were due after one moment and up to another, both by the wall clock.
    pub fn due_between<Z: TimeZone>(&self, from: Timestamp, to: Timestamp, zone: &Z) -> u64 {
        match &self.when {
            When::Every { ms } => {
                let passed = u64::try_from(to.since(from)).unwrap_or(0);
                (passed / ms).min(MISSED_MAX)
            }
            When::Cron(cron) => {
                let Some(first) = local(from.plus(-self.own()), zone) else { return 0 };
                let until_ms = to.plus(-self.own()).0;
                let due = std::iter::successors(cron.next(&first), |at| cron.next(at));
                let due = due.take_while(|at| at.timestamp_millis() <= until_ms);
                u64::try_from(due.take(MISSED_MAX as usize).count()).unwrap_or(MISSED_MAX)
            }
        }
    }

    /// Returns how many runs by the boot clock were passed over while the last one went on.
    pub fn overrun(&self, began_boot_ms: u64, boot_ms: u64) -> u64 {
        match &self.when {
            When::Every { ms } => {
                let steps = |at: u64| (at + ms - self.own_ms % ms) / ms;
                steps(boot_ms).saturating_sub(steps(began_boot_ms)).min(MISSED_MAX)
            }
            When::Cron(_) => 0,
        }
    }
}

impl Next {
    /// Returns how long to wait; at most so long at a time, because the wall clock may be put meanwhile. Nothing
    /// means that it is due.
    pub fn wait(self, boot_ms: u64, wall: Timestamp, at_a_time: Duration) -> Option<Duration> {
        let left_ms = match self {
            Self::Boot(due_ms) => due_ms.saturating_sub(boot_ms),
            Self::Wall { due, .. } => u64::try_from(due.since(wall)).unwrap_or(0),
            Self::Never => u64::MAX,
        };
        (left_ms > 0).then(|| Duration::from_millis(left_ms).min(at_a_time))
    }

    /// Says whether the wall clock was put back since, so that the schedule must be thought over.
    pub fn outdated(self, wall: Timestamp) -> bool {
        matches!(self, Self::Wall { from, .. } if wall.since(from) < -BACK_MS)
    }
}

fn local<Z: TimeZone>(at: Timestamp, zone: &Z) -> Option<DateTime<Z>> {
    DateTime::from_timestamp_millis(at.0).map(|utc| utc.with_timezone(zone))
}

/// Returns a check's place in an interval on a host: its own among those that the host has.
fn place(host: &HostId, check: &str, below_ms: u64) -> u64 {
    let step_ms = TOGETHER_MS.min(below_ms).max(1);
    let all_ms = own(host, check, below_ms) / step_ms * step_ms + own(host, "", step_ms);
    all_ms.min(below_ms.saturating_sub(1))
}

/// Returns an amount below a limit that is a host's and a check's own and stays the same.
fn own(host: &HostId, check: &str, below_ms: u64) -> u64 {
    let digest = Sha256::digest(format!("{host}/{check}"));
    let seed = digest.iter().take(8).fold(0_u64, |seed, byte| seed << 8 | u64::from(*byte));
    if below_ms == 0 { 0 } else { seed % below_ms }
}

/// Returns a length of time in its largest whole unit.
fn spelled(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use chrono::Utc;
    use std::collections::BTreeSet;

    fn schedule(host: &str, text: &str) -> Schedule {
        let text = format!("checks:\n- {{name: c, argv: [/bin/true], {text}}}\n");
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        Schedule::of(&config.checks[0], &HostId::new(host).expect("a host"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn intervals_keep_their_distance_and_hosts_theirs_from_each_other() {
        let mut phases = BTreeSet::new();
        for n in 0..200 {
            let one = schedule(&format!("web-{n}"), "every: 1m");
            let mut boot_ms = 12_345;
            let mut last = None;
            for _ in 0..5 {
                let Next::Boot(due_ms) = one.next(boot_ms, Timestamp(0), &Utc) else { panic!("no interval") };
                assert!(due_ms > boot_ms && due_ms <= boot_ms + 60_000);
                assert!(last.is_none_or(|last| due_ms == last + 60_000));
                (last, boot_ms) = (Some(due_ms), due_ms);
            }
            phases.insert(boot_ms % 60_000 / 6_000);
        }
        assert_eq!(phases.len(), 10, "hosts are spread over the whole interval");
        let same = |n| schedule("web-1", "every: 1m").next(n, Timestamp(0), &Utc);
        assert_eq!(same(5), same(5), "a host's place stays the same");
        for n in 0..50 {
            let near = schedule(&format!("web-{n}"), "every: 1m, jitter: 1s");
            let Next::Boot(due_ms) = near.next(60_000 - 1, Timestamp(0), &Utc) else { panic!("no interval") };
            assert!((60_000..61_000).contains(&due_ms), "{due_ms}");
        }
    }

    #[test]
    fn checks_of_one_host_wake_it_together() {
        let places = |host: &str| {
            let host = HostId::new(host).expect("a host");
            (0..200).map(|n| place(&host, &format!("c{n}"), 1_000)).collect::<BTreeSet<u64>>()
        };
        assert_eq!(places("web-1").len(), 4, "in a second they run at four times");
        let hosts: BTreeSet<_> = (0..20).map(|n| places(&format!("web-{n}"))).collect();
        assert!(hosts.len() > 15, "which are other ones on other hosts");
        let host = HostId::new("web-1").expect("a host");
        for below_ms in [0, 1, 100, 250, 251, 999, 1_100] {
            let all: Vec<u64> = (0..50).map(|n| place(&host, &format!("c{n}"), below_ms)).collect();
            assert!(all.iter().all(|ms| *ms < below_ms.max(1)), "{below_ms}: {all:?}");
        }
    }

    #[test]
    fn the_calendar_with_a_hosts_own_delay() {
        let day = at("2026-01-31T12:00:00Z");
        let due = |host: &str, text: &str| match schedule(host, text).next(0, day, &Utc) {
            Next::Wall { due, .. } => due,
            other => panic!("{other:?}"),
        };
        assert_eq!(due("a", "cron: 0 3 * * *"), at("2026-02-01T03:00:00Z"));
        let delays: BTreeSet<i64> = (0..50)
            .map(|n| due(&format!("h{n}"), "cron: 0 3 * * *, jitter: 30m").since(at("2026-02-01T03:00:00Z")))
            .collect();
        assert!(delays.len() > 40 && delays.iter().all(|ms| (0..1_800_000).contains(ms)), "{delays:?}");
        // A run that is due by the calendar but not yet by the host's own delay still comes.
        let late = schedule("h1", "cron: 0 3 * * *, jitter: 30m");
        let Next::Wall { due, .. } = late.next(0, at("2026-02-01T03:00:00.001Z"), &Utc) else { panic!() };
        assert_eq!(due.0 / 86_400_000, at("2026-02-01T00:00:00Z").0 / 86_400_000, "{due}");
    }

    #[test]
    fn waiting_and_clocks_that_are_put() {
        let minute = Duration::from_secs(60);
        let wall = at("2026-01-31T12:00:00Z");
        let next = Next::Wall { due: wall.plus(90_000), from: wall };
        for (now, wait_s, outdated) in [
            (wall, Some(60), false),
            (wall.plus(60_000), Some(30), false),
            (wall.plus(90_000), None, false),
            (wall.plus(10 * 365 * 86_400_000), None, false),
            (wall.plus(-59_000), Some(60), false),
            (wall.plus(-10 * 365 * 86_400_000), Some(60), true),
        ] {
            assert_eq!(next.wait(0, now, minute).map(|t| t.as_secs()), wait_s, "{now}");
            assert_eq!(next.outdated(now), outdated, "{now}");
        }
        assert_eq!(Next::Boot(500).wait(200, wall, minute), Some(Duration::from_millis(300)));
        assert_eq!(Next::Boot(500).wait(500, wall, minute), None);
        assert_eq!(Next::Never.wait(0, wall, minute), Some(minute));
    }

    #[test]
    fn missed_runs_are_counted() {
        let noon = at("2026-01-31T12:00:00Z");
        for (text, hours, missed) in [
            ("cron: 0 3 * * *", 1, 0),
            ("cron: 0 3 * * *", 15, 1),
            ("cron: 0 3 * * *", 24 * 3, 3),
            ("cron: '*/10 * * * *'", 1, 6),
            ("every: 1h", 5, 5),
            ("every: 1m", 24 * 365, MISSED_MAX),
            ("cron: '* * * * *'", 24 * 365, MISSED_MAX),
            ("every: 1m", -5, 0),
        ] {
            let one = schedule("a", text);
            assert_eq!(one.due_between(noon, noon.plus(hours * 3_600_000), &Utc), missed, "{text} {hours}");
        }
        let one = schedule("a", "every: 1s, jitter: 1ms");
        for (began, ended, over) in [(0, 500, 0), (999, 1_001, 1), (0, 3_500, 3), (5_000, 5_000, 0)] {
            assert_eq!(one.overrun(began, ended), over, "{began} {ended}");
        }
    }

    #[test]
    fn words() {
        for (text, words) in [
            ("every: 90s", "every 90s"),
            ("every: 120s", "every 2m"),
            ("every: 24h", "every 1d"),
            ("every: 500ms", "every 500ms"),
            ("cron: 0 3 * * *", "cron 0 3 * * *"),
            ("cron: 0 3 * * *, jitter: 30m", "cron 0 3 * * * (jitter 30m)"),
            ("timeout: 5s", "every 1m"),
        ] {
            assert_eq!(schedule("a", text).words(), words);
        }
        assert!(schedule("a", "every: 1h").is_inspection() && !schedule("a", "every: 59m").is_inspection());
    }
}
