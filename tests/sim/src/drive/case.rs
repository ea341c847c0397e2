//! One schedule by its name, so that it can be run again: a seed, or a scenario with its crash points.

use crate::machine::Rates;
use crate::schedule::Schedule;
use crate::world;
use sopwith_journal::{Fault, Rest};
use std::fmt;
use std::str::FromStr;

/// Which disk fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Disk {
    Ledger,
    Spool,
    Journal,
}

/// How it fails; the first two are combined in pairs.
const FAULTS: [Fault; 7] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Torn { keep_bytes: 40, rest: Rest::Missing },
    Fault::Torn { keep_bytes: 95, rest: Rest::Zeros },
    Fault::FsyncFails { survives: false },
    Fault::FsyncFails { survives: true },
    Fault::DiskFull,
];

/// One write of one disk that fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point {
    disk: Disk,
    write: u64,
    fault: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Case {
    Seed(u64),
    Crash { scenario: usize, points: Vec<Point> },
}

/// Policy, sickness and what goes wrong on the host.
type Scenario = (usize, usize, fn() -> Rates);

/// Small matters that go every way a run can go.
const SCENARIOS: [Scenario; 9] = [
    (0, 0, Rates::default),
    (0, 1, Rates::default),
    (0, 2, Rates::default),
    (0, 3, Rates::default),
    (0, 4, Rates::default),
    (0, 1, || Rates { step_half: 400, ..Rates::default() }),
    (0, 3, || Rates { step_lies: 500, ..Rates::default() }),
    (0, 2, || Rates { unknown: 1000, flaps: 200, ..Rates::default() }),
    (0, 1, || Rates { undo_fails: 500, step_fails: 400, ..Rates::default() }),
];

impl Case {
    pub fn scenarios() -> usize {
        SCENARIOS.len()
    }

    /// Returns the schedule of this case.
    pub fn schedule(&self) -> Schedule {
        match self {
            Self::Seed(seed) => Schedule::random(*seed),
            Self::Crash { scenario, points } => {
                let (policy, kind, rates) = SCENARIOS[*scenario];
                let mut schedule = Schedule::quiet(*scenario as u64 + 7, policy, kind);
                schedule.rates = rates();
                for point in points {
                    let (spool, journal) = &mut schedule.agent_faults[0];
                    let plan = match point.disk {
                        Disk::Ledger => &mut schedule.server_faults,
                        Disk::Spool => spool,
                        Disk::Journal => journal,
                    };
                    *plan = std::mem::take(plan).and(point.write, FAULTS[point.fault]);
                }
                schedule
            }
        }
    }

    /// Returns the crash points of a scenario: every write of a run of it without crashes, and a few more.
    fn points(scenario: usize, faults: usize) -> Vec<Point> {
        const MORE: u64 = 6;
        let case = Self::Crash { scenario, points: Vec::new() };
        let (ledger, agents) = world::run(case.schedule(), false).writes;
        let (spool, journal) = agents[0];
        let of = |disk, from: u64, through: u64| {
            (from..=through + MORE)
                .flat_map(move |write| (0..faults).map(move |fault| Point { disk, write, fault }))
        };
        of(Disk::Ledger, 2, ledger)
            .chain(of(Disk::Spool, 2, spool))
            .chain(of(Disk::Journal, 2, journal))
            .collect()
    }

    /// Returns every single crash point of a scenario, with every kind of fault.
    pub fn singles(scenario: usize) -> Vec<Case> {
        let points = Self::points(scenario, FAULTS.len());
        points.into_iter().map(|point| Self::Crash { scenario, points: vec![point] }).collect()
    }

    /// Returns every pair of crash points of a scenario.
    pub fn pairs(scenario: usize) -> Vec<Case> {
        let points = Self::points(scenario, 2);
        let pair = |(n, first): (usize, &Point)| {
            let first = *first;
            let rest = points[n + 1..].iter().filter(move |p| (p.disk, p.write) != (first.disk, first.write));
            rest.map(|second| Self::Crash { scenario, points: vec![first, *second] }).collect::<Vec<_>>()
        };
        points.iter().enumerate().flat_map(pair).collect()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "seed:{seed}"),
            Self::Crash { scenario, points } => {
                write!(f, "crash:{scenario}")?;
                points.iter().try_for_each(|point| {
                    let disk = match point.disk {
                        Disk::Ledger => 'l',
                        Disk::Spool => 's',
                        Disk::Journal => 'j',
                    };
                    write!(f, ":{disk}{}.{}", point.write, point.fault)
                })
            }
        }
    }
}

/// Says that a text names no case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no case: expected seed:N or crash:SCENARIO:POINT:…, as a failure prints it")]
pub struct NoCase(String);

impl FromStr for Case {
    type Err = NoCase;
    fn from_str(text: &str) -> Result<Self, NoCase> {
        let wrong = || NoCase(text.into());
        let (what, rest) = text.split_once(':').ok_or_else(wrong)?;
        if what == "seed" {
            return rest.parse().map(Self::Seed).map_err(|_| wrong());
        }
        let mut parts = rest.split(':');
        let scenario = parts.next().and_then(|n| n.parse().ok()).filter(|n| *n < SCENARIOS.len());
        let points: Option<Vec<Point>> = parts.map(point).collect();
        match (what, scenario, points) {
            ("crash", Some(scenario), Some(points)) => Ok(Self::Crash { scenario, points }),
            _ => Err(wrong()),
        }
    }
}

fn point(text: &str) -> Option<Point> {
    let disk = match text.chars().next()? {
        'l' => Disk::Ledger,
        's' => Disk::Spool,
        'j' => Disk::Journal,
        _ => return None,
    };
    let (write, fault) = text[1..].split_once('.')?;
    let fault = fault.parse().ok().filter(|n| *n < FAULTS.len())?;
    Some(Point { disk, write: write.parse().ok()?, fault })
}
