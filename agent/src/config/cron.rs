//! Schedules in the form of cron: five fields, lists, ranges, steps, names, and the usual words. A job at a fixed hour
//! runs once on the days when clocks are put forward or back; one whose hour is `*` goes by real time and so runs in
//! both of the hours that are there twice.

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone,
};
use std::fmt;
use std::str::FromStr;

/// How far ahead a due time is looked for, in days: a 29 February can be eight years away.
const DAYS_MAX: u64 = 9 * 366;
/// Longest stretch by which clocks are put forward, in minutes.
const GAP_MINUTES_MAX: i64 = 24 * 60;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule; in each mask bit n stands for value n.
#[derive(Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    any_hour: bool,
    any_day: bool,
    any_weekday: bool,
}

impl Cron {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the first due time after a moment, by the clock of a place; nothing if there is none in years.
    pub fn next<Z: TimeZone>(&self, after: &DateTime<Z>) -> Option<DateTime<Z>> {
        let zone = after.timezone();
        let today = after.naive_local().date();
        // Around midnight clocks may be put back into the day before.
        let first = today.checked_sub_days(Days::new(1)).unwrap_or(today);
        (0..DAYS_MAX)
            .filter_map(|ahead| first.checked_add_days(Days::new(ahead)))
            .filter(|day| self.on(*day))
            .find_map(|day| self.in_day(day, after, &zone))
    }

    fn on(&self, day: NaiveDate) -> bool {
        let by_day = self.days & (1 << day.day()) != 0;
        let by_weekday = self.weekdays & (1 << day.weekday().num_days_from_sunday()) != 0;
        let fits = match (self.any_day, self.any_weekday) {
            // As cron has it since ever: where both are restricted, one is enough.
            (false, false) => by_day || by_weekday,
            _ => by_day && by_weekday,
        };
        fits && self.months & (1 << day.month()) != 0
    }

    fn in_day<Z: TimeZone>(&self, day: NaiveDate, after: &DateTime<Z>, zone: &Z) -> Option<DateTime<Z>> {
        let hours = (0..24).filter(|hour| self.hours & (1 << hour) != 0);
        hours.filter_map(|hour| self.in_hour(day, hour, after, zone)).next()
    }

    fn in_hour<Z: TimeZone>(
        &self,
        day: NaiveDate,
        hour: u32,
        after: &DateTime<Z>,
        zone: &Z,
    ) -> Option<DateTime<Z>> {
        // Nothing of an hour that is long over is due; the margin is the longest that clocks are put back.
        let end = day.and_hms_opt(hour, 59, 59)?;
        if end.checked_add_signed(TimeDelta::hours(25))? < after.naive_local() {
            return None;
        }
        let minutes = (0..60).filter(|minute| self.minutes & (1 << minute) != 0);
        let times = minutes.filter_map(|minute| NaiveTime::from_hms_opt(hour, minute, 0));
        let moments = times.flat_map(|time| self.moments(day.and_time(time), zone));
        moments.filter(|moment| moment > after).min_by_key(DateTime::timestamp)
    }

    /// Returns the moments at which the clock shows a time, as far as the job is to run at them.
    fn moments<Z: TimeZone>(&self, time: NaiveDateTime, zone: &Z) -> Vec<DateTime<Z>> {
        match zone.from_local_datetime(&time) {
            LocalResult::Single(moment) => vec![moment],
            LocalResult::Ambiguous(first, second) if self.any_hour => vec![first, second],
            LocalResult::Ambiguous(first, _) => vec![first],
            // The clock skips it. A job that goes by real time has its next run soon enough.
            LocalResult::None if self.any_hour => vec![],
            LocalResult::None => {
                let later =
                    (1..=GAP_MINUTES_MAX).filter_map(|m| time.checked_add_signed(TimeDelta::minutes(m)));
                later.filter_map(|time| zone.from_local_datetime(&time).earliest()).take(1).collect()
            }
        }
    }
}

impl FromStr for Cron {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let spelled = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = spelled.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "{text:?} is not a schedule: minute, hour, day, month and weekday, as in 30 3 * * mon-fri"
            ));
        };
        let weekdays = mask("weekday", weekday, 0, 7, &WEEKDAYS)?;
        let cron = Self {
            text: text.trim().to_owned(),
            minutes: mask("minute", minute, 0, 59, &[])?,
            hours: mask("hour", hour, 0, 23, &[])?,
            days: mask("day", day, 1, 31, &[])?,
            months: mask("month", month, 1, 12, &MONTHS)?,
            // 7 is Sunday too.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            any_hour: hour.starts_with('*'),
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        };
        let leap_year = NaiveDate::from_ymd_opt(2024, 1, 1).and_then(|d| d.and_hms_opt(0, 0, 0));
        match leap_year.and_then(|from| cron.next(&from.and_utc())) {
            Some(_) => Ok(cron),
            None => Err(format!("{text:?} is never due: there is no such day")),
        }
    }
}

/// Reads one field: `*`, `5`, `1-5`, `*/10`, `0-30/5`, `mon`, and lists of them.
fn mask(what: &str, field: &str, min: u32, max: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = || format!("{field:?} is not a {what}: * or {min} to {max}, as in 1,5 or 1-5 or */10");
    let value = |text: &str| {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        // Months are counted from 1, weekdays from 0.
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + min);
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        named.or(number).filter(|n| (min..=max).contains(n)).ok_or_else(wrong)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let digits = step.bytes().all(|b| b.is_ascii_digit());
                let step = if digits { step.parse::<u32>().ok() } else { None };
                (range, step.filter(|n| (1..=max).contains(n)).ok_or_else(wrong)?)
            }
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((from, to)) => (value(from)?, value(to)?),
            None if part.contains('/') => (value(range)?, max),
            None => (value(range)?, value(range)?),
        };
        if from > to {
            return Err(wrong());
        }
        bits = (from..=to).step_by(step as usize).fold(bits, |bits, n| bits | 1 << n);
    }
    Ok(bits)
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests;
