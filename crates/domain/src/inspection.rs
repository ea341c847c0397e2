//! What a host's checks said in the course of a day, for people and for the record: how often each ran, how it
//! stands, and which runs were missed. A report decides nothing and opens no incident; signals do that.

use crate::ids::checked_text;
use crate::time::Timestamp;
use crate::value::Word;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// Most checks in one report; what is beyond it is counted.
pub const CHECKS_MAX: usize = 512;
/// Longest line that a check says, in bytes.
pub const LINE_BYTES_MAX: usize = 256;
/// Longest description of a schedule, in bytes.
pub const SCHEDULE_BYTES_MAX: usize = 128;

checked_text!(
    /// A day by the host's own calendar, as in `2026-01-31`.
    Day, "day", "a day of the calendar, as in 2026-01-31",
    |t| written(t) && NaiveDate::parse_from_str(t, "%Y-%m-%d").is_ok()
);

/// Says whether a text has the form of a day, which is narrower than what the library reads: four digits, two and two.
fn written(text: &str) -> bool {
    let fits =
        |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(fits)
}

/// How a check stands, in the words and the order of the plugin contract.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Warning,
    Critical,
    /// It could not be found out.
    Unknown,
}

impl Verdict {
    /// Returns the exit code of a plugin that says so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// Returns what a plugin's exit code says; what is not of the contract is unknown.
    pub fn of_exit_code(code: i32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Warning,
            2 => Self::Critical,
            _ => Self::Unknown,
        }
    }

    /// Returns the word in lower case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// One check in the course of the day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inspected {
    pub check: Word,
    /// How it looks: `command`, `plugin`, `http`, `certificate`, …
    pub kind: Word,
    /// When it runs, in words: `every 1m`, `cron 0 3 * * *`.
    pub schedule: String,
    /// Runs of the day, all of them, and those that were not well.
    pub runs: u64,
    pub warnings: u64,
    pub criticals: u64,
    pub unknowns: u64,
    /// Runs that were due and did not happen: the host was down or asleep, or the run before took too long.
    pub missed: u64,
    /// How it stood last, since when, and when that was seen; nothing if it has not run yet.
    pub verdict: Option<Verdict>,
    pub since: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    /// What it said last, one line; tainted.
    pub line: String,
}

/// A day's report of one host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inspection {
    pub day: Day,
    /// When the report was made, by the host's own clock.
    pub made_at: Timestamp,
    /// Whether the day was over when it was made.
    pub complete: bool,
    pub checks: Vec<Inspected>,
    /// Checks that did not fit in.
    pub left_out: u64,
}

impl Inspection {
    /// Says which bound the report breaks, if any.
    pub fn bound_broken(&self) -> Option<String> {
        if self.checks.len() > CHECKS_MAX {
            return Some(format!("{} checks, at most {CHECKS_MAX}", self.checks.len()));
        }
        self.checks.iter().find_map(|one| {
            if one.line.len() > LINE_BYTES_MAX {
                Some(format!("a line of {} bytes, at most {LINE_BYTES_MAX}", one.line.len()))
            } else if one.schedule.len() > SCHEDULE_BYTES_MAX {
                Some(format!("a schedule of {} bytes, at most {SCHEDULE_BYTES_MAX}", one.schedule.len()))
            } else {
                None
            }
        })
    }

    /// Returns how many checks stood so at the end, for one line of summary.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|one| one.verdict == Some(verdict)).count()
    }

    /// Returns how many runs were missed.
    pub fn missed(&self) -> u64 {
        self.checks.iter().map(|one| one.missed).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (text, good) in [
            ("2026-01-31", true),
            ("2028-02-29", true),
            ("2026-02-29", false),
            ("2026-1-31", false),
            ("2026-13-01", false),
            ("26-01-31xx", false),
            ("+026-01-31", false),
            ("", false),
        ] {
            assert_eq!(Day::new(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn verdicts_and_exit_codes() {
        for (code, verdict) in [
            (0, Verdict::Ok),
            (1, Verdict::Warning),
            (2, Verdict::Critical),
            (3, Verdict::Unknown),
            (4, Verdict::Unknown),
            (-1, Verdict::Unknown),
            (127, Verdict::Unknown),
        ] {
            assert_eq!(Verdict::of_exit_code(code), verdict, "{code}");
        }
        assert_eq!(Verdict::of_exit_code(i32::from(Verdict::Critical.exit_code())), Verdict::Critical);
    }

    #[test]
    fn bounds() {
        let one = |line: usize, schedule: usize| Inspected {
            check: Word::new("a").expect("a word"),
            kind: Word::new("http").expect("a word"),
            schedule: "x".repeat(schedule),
            runs: 1,
            warnings: 0,
            criticals: 0,
            unknowns: 0,
            missed: 2,
            verdict: Some(Verdict::Ok),
            since: None,
            last_at: None,
            line: "x".repeat(line),
        };
        let report = |checks| Inspection {
            day: Day::new("2026-01-31").expect("a day"),
            made_at: Timestamp(0),
            complete: false,
            checks,
            left_out: 0,
        };
        for (checks, fits) in [
            (vec![one(LINE_BYTES_MAX, SCHEDULE_BYTES_MAX); CHECKS_MAX], true),
            (vec![one(0, 0); CHECKS_MAX + 1], false),
            (vec![one(LINE_BYTES_MAX + 1, 0)], false),
            (vec![one(0, SCHEDULE_BYTES_MAX + 1)], false),
        ] {
            assert_eq!(report(checks).bound_broken().is_none(), fits);
        }
        let both = report(vec![one(0, 0); 2]);
        assert_eq!((both.count(Verdict::Ok), both.count(Verdict::Critical), both.missed()), (2, 0, 4));
        let bytes = serde_json::to_vec(&report(vec![one(LINE_BYTES_MAX, SCHEDULE_BYTES_MAX); CHECKS_MAX]));
        assert!(bytes.expect("JSON").len() < 512 * 1024, "the server takes no larger item");
    }
}
