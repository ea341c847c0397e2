use super::*;
use chrono::{FixedOffset, Offset, Utc};

/// The clock of New York in 2026: put forward at 07:00 UTC on 8 March, back at 06:00 UTC on 1 November.
#[derive(Clone, Debug)]
struct NewYork;

#[derive(Clone, Copy, Debug, PartialEq)]
struct At(FixedOffset);

impl Offset for At {
    fn fix(&self) -> FixedOffset {
        self.0
    }
}

fn hours(hours: i32) -> At {
    At(FixedOffset::west_opt(hours * 3600).expect("an offset"))
}

impl TimeZone for NewYork {
    type Offset = At;
    fn from_offset(_: &At) -> Self {
        Self
    }
    fn offset_from_local_date(&self, local: &NaiveDate) -> LocalResult<At> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }
    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<At> {
        let fits = |offset: At| {
            let utc = local.checked_sub_offset(offset.0).expect("in range");
            self.offset_from_utc_datetime(&utc) == offset
        };
        match (fits(hours(4)), fits(hours(5))) {
            (true, true) => LocalResult::Ambiguous(hours(4), hours(5)),
            (true, false) => LocalResult::Single(hours(4)),
            (false, true) => LocalResult::Single(hours(5)),
            (false, false) => LocalResult::None,
        }
    }
    fn offset_from_utc_date(&self, utc: &NaiveDate) -> At {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }
    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> At {
        let at = |text: &str| text.parse::<NaiveDateTime>().expect("a time");
        match *utc >= at("2026-03-08T07:00:00") && *utc < at("2026-11-01T06:00:00") {
            true => hours(4),
            false => hours(5),
        }
    }
}

fn utc(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Returns the next due times, in UTC.
fn due<Z: TimeZone>(cron: &str, from: DateTime<Z>, count: usize) -> Vec<String> {
    let cron: Cron = cron.parse().unwrap_or_else(|e| panic!("{cron}: {e}"));
    let times = std::iter::successors(cron.next(&from), |at| cron.next(at));
    times.take(count).map(|at| at.naive_utc().format("%Y-%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn due_times() {
    for (cron, from, next) in [
        ("* * * * *", "2026-01-31T23:59", &["2026-02-01T00:00", "2026-02-01T00:01"][..]),
        ("30 3 * * *", "2026-01-31T03:30", &["2026-02-01T03:30"]),
        ("30 3 * * *", "2026-01-31T03:29", &["2026-01-31T03:30"]),
        ("*/20 5 * * *", "2026-01-01T05:10", &["2026-01-01T05:20", "2026-01-01T05:40", "2026-01-02T05:00"]),
        ("0 0 29 2 *", "2026-03-01T00:00", &["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 31 * *", "2026-01-31T00:00", &["2026-03-31T00:00"]),
        ("0 12 * * mon-fri", "2026-11-27T12:00", &["2026-11-30T12:00"]),
        ("0 12 * * 7", "2026-11-24T00:00", &["2026-11-29T12:00", "2026-12-06T12:00"]),
        ("0 12 * * sun,0", "2026-11-24T00:00", &["2026-11-29T12:00"]),
        // Day and weekday both restricted: one is enough.
        ("0 0 1 * mon", "2026-11-24T00:00", &["2026-11-30T00:00", "2026-12-01T00:00", "2026-12-07T00:00"]),
        ("0 0 */10 * mon", "2026-11-24T00:00", &["2026-12-21T00:00"]),
        ("5/20 0 1 jan *", "2026-11-24T00:00", &["2027-01-01T00:05", "2027-01-01T00:25", "2027-01-01T00:45"]),
        ("@weekly", "2026-11-24T00:00", &["2026-11-29T00:00"]),
        ("@yearly", "2026-11-24T00:00", &["2027-01-01T00:00"]),
    ] {
        assert_eq!(due(cron, utc(from), next.len()), next, "{cron} after {from}");
    }
}

#[test]
fn days_on_which_clocks_are_put() {
    for (what, cron, from, next) in [
        // 02:30 is not there on 8 March: it runs when the clock shows 03:00, which is 07:00 UTC, and once.
        (
            "forward, fixed hour",
            "30 2 * * *",
            "2026-03-07T08:00",
            &["2026-03-08T07:00", "2026-03-09T06:30"][..],
        ),
        (
            "forward, any hour",
            "30 * * * *",
            "2026-03-08T05:40",
            &["2026-03-08T06:30", "2026-03-08T07:30", "2026-03-08T08:30"],
        ),
        // 01:30 is there twice on 1 November, at 05:30 and at 06:30 UTC.
        ("back, fixed hour", "30 1 * * *", "2026-10-31T06:00", &["2026-11-01T05:30", "2026-11-02T06:30"]),
        (
            "back, any hour",
            "*/30 * * * *",
            "2026-11-01T04:45",
            &[
                "2026-11-01T05:00",
                "2026-11-01T05:30",
                "2026-11-01T06:00",
                "2026-11-01T06:30",
                "2026-11-01T07:00",
            ],
        ),
        (
            "back, a minute of any hour",
            "59 */1 * * *",
            "2026-11-01T05:00",
            &["2026-11-01T05:59", "2026-11-01T06:59", "2026-11-01T07:59"],
        ),
    ] {
        assert_eq!(due(cron, utc(from).with_timezone(&NewYork), next.len()), next, "{what}");
    }
}

#[test]
fn what_is_no_schedule() {
    for text in [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "1,,2 * * * *",
        "1- * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "* * * foo *",
        "@reboot",
        "0 0 30 2 *",
        "0 0 31 4,6 *",
    ] {
        assert!(text.parse::<Cron>().is_err(), "{text:?}");
    }
}
