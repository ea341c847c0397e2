//! A healthy victim that lives its ordinary life under full watch: what is raised there is a false alarm, and every
//! step that is started there is a change that nobody needed.

use std::thread;
use std::time::{Duration, Instant};

use super::product::{Millis, ProductError, Seen};
use super::round::Setup;
use super::trial;

/// How many times the account is drawn up.
const MARKS: u32 = 10;
const POLL: Duration = Duration::from_secs(1);
/// How often something ordinary happens.
const LIFE_EVERY: Duration = Duration::from_secs(60);
const LIFE_LIMIT: Duration = Duration::from_secs(50);

/// What was raised and done until a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub after: Duration,
    pub incidents: usize,
    pub changes: usize,
}

/// An incident on a host that was well.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    pub after_s: f64,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Account {
    pub marks: Vec<Mark>,
    pub alarms: Vec<Alarm>,
}

impl Account {
    /// Says whether nothing was raised and nothing done.
    pub fn is_quiet(&self) -> bool {
        self.marks.last().is_some_and(|mark| mark.incidents == 0 && mark.changes == 0)
    }

    fn note(&mut self, began_at: Millis, after: Duration, all: &[Seen]) {
        let changes = all.iter().flat_map(|seen| &seen.runs).map(|run| run.started.len()).sum();
        self.marks.push(Mark { after, incidents: all.len(), changes });
        let alarm = |seen: &Seen| {
            #[expect(clippy::cast_precision_loss, reason = "hours, in milliseconds")]
            let after_s = (seen.opened_at - began_at) as f64 / 1000.0;
            Alarm { after_s, what: format!("{} {} {}: {}", seen.id, seen.kind, seen.subject, seen.title) }
        };
        self.alarms = all.iter().map(alarm).collect();
    }
}

/// Watches one victim for a time, and lets `life` happen on it every minute with the minute's number.
pub fn watch(setup: &Setup<'_>, life: &str, window: Duration) -> Result<Account, ProductError> {
    let (product, host) = trial::one_victim(setup)?;
    let began_at = trial::now();
    let began = Instant::now();
    let (mut account, mut minute) = (Account::default(), 0_u32);
    for mark in 1..=MARKS {
        while began.elapsed() < window * mark / MARKS && !(setup.interrupted)() {
            if began.elapsed() >= LIFE_EVERY * minute {
                minute += 1;
                host.sh_for(&format!("set -- {minute}\n{life}"), LIFE_LIMIT)?;
            }
            thread::sleep(POLL);
        }
        account.note(began_at, began.elapsed(), &product.incidents(&host)?);
        if let Some(line) = table(&account).lines().last() {
            eprintln!("{line}");
        }
    }
    Ok(account)
}

/// Returns the account as a table; its last line is the sum.
pub fn table(account: &Account) -> String {
    let mut text = format!("{:>8}{:>11}{:>9}\n", "minutes", "incidents", "changes");
    for mark in &account.marks {
        let minutes = mark.after.as_secs_f64() / 60.0;
        text.push_str(&format!("{minutes:>8.1}{:>11}{:>9}\n", mark.incidents, mark.changes));
    }
    for alarm in &account.alarms {
        text.push_str(&format!("    after {:.0} s: {}\n", alarm.after_s, alarm.what));
    }
    if let Some(last) = account.marks.last() {
        let minutes = last.after.as_secs_f64() / 60.0;
        let Mark { incidents, changes, .. } = last;
        text.push_str(&format!(
            "a healthy host, {minutes:.0} minutes: {incidents} incidents, {changes} changes\n"
        ));
    }
    text
}

/// Reads a time such as `90s`, `30m` or `1h`.
pub fn window(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 90s, 30m or 1h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let time = Duration::from_secs(u64::from(number) * factor);
    if time.is_zero() { Err(wrong()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::product::RunSeen;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [("90s", Some(90)), ("30m", Some(1800)), ("1h", Some(3600))] {
            assert_eq!(window(text).ok().map(|time| time.as_secs()), seconds);
        }
        for wrong in ["", "m", "0m", "-1m", "1", "1d", "1.5h", "99999999999h", "1é"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quiet_is_nothing_raised_and_nothing_done() {
        let incident = |steps: usize| Seen {
            id: "INC-1".into(),
            opened_at: 65_000,
            kind: "unit.failed".into(),
            subject: "unit:a.service".into(),
            title: "it failed".into(),
            runs: vec![RunSeen { started: vec![1; steps], ..RunSeen::default() }],
            ..Seen::default()
        };
        for (all, quiet, last) in [
            (vec![], true, "a healthy host, 30 minutes: 0 incidents, 0 changes"),
            (vec![incident(0)], false, "a healthy host, 30 minutes: 1 incidents, 0 changes"),
            (vec![incident(2)], false, "a healthy host, 30 minutes: 1 incidents, 2 changes"),
        ] {
            let mut account = Account::default();
            account.note(5_000, Duration::from_secs(900), &[]);
            account.note(5_000, Duration::from_secs(1800), &all);
            assert_eq!(account.is_quiet(), quiet);
            let text = table(&account);
            assert_eq!(text.lines().last(), Some(last));
            assert_eq!(
                text.contains("after 60 s: INC-1 unit.failed unit:a.service: it failed"),
                !quiet,
                "{text}"
            );
        }
        assert!(!Account::default().is_quiet());
    }
}
