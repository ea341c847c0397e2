//! Points in time as the API writes them, for measuring; the calendar of RFC 3339 in UTC and nothing more.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970, by this machine's clock.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Parses a time such as `2026-01-31T03:12:00.123Z`.
pub fn parse_ms(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers =
        |text: &str, by: char| text.split(by).map(|n| n.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (date, clock) = (numbers(date, '-')?, numbers(clock, ':')?);
    let ([year, month, day], [hour, minute, second]) = (date.as_slice(), clock.as_slice()) else {
        return None;
    };
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = days_from_civil(*year, *month, *day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + millis)
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar (Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse_ms;

    #[test]
    fn times_of_the_api() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-02T00:00:00.5Z", Some(86_400_500)),
            ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
            ("2026-01-31T03:12:00.123Z", Some(1_769_829_120_123)),
            ("2026-01-31", None),
            ("x", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }
}
