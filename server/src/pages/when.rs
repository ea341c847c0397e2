//! Times as people read them: how long ago, with the absolute time on hover, in print and for machines.

use maud::{Markup, html};
use sopwith_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};

/// Returns a time element for an RFC 3339 text; what is no time is shown as it stands.
pub fn when(text: &str, now: Timestamp) -> Markup {
    match text.parse::<Timestamp>() {
        Ok(at) => html! { time datetime=(text) title=(absolute(at)) { (relative(at, now)) } },
        Err(_) => html! { (text) },
    }
}

/// Returns the time of day by itself, for lists of things that follow each other closely.
pub fn clock(text: &str) -> Markup {
    match text.parse::<Timestamp>() {
        Ok(at) => {
            let absolute = absolute(at);
            let of_day = absolute.split(' ').nth(1).unwrap_or(&absolute).to_owned();
            html! { time datetime=(text) title=(absolute) data-clock { (of_day) } }
        }
        Err(_) => html! { (text) },
    }
}

/// Returns the time with its zone, to the second.
pub fn absolute(at: Timestamp) -> String {
    let whole = Timestamp(at.0.div_euclid(SECOND_MS) * SECOND_MS).to_string();
    whole.replacen('T', " ", 1).replace('Z', " UTC")
}

/// Returns how long before or after `now` the time lies.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let ms = now.since(at);
    if ms.abs() < 5 * SECOND_MS {
        return "just now".into();
    }
    let span = span(ms.abs());
    if ms > 0 { format!("{span} ago") } else { format!("in {span}") }
}

/// Returns a length of time in its largest sensible unit.
pub fn span(ms: i64) -> String {
    match ms {
        ms if ms < MINUTE_MS => format!("{} s", ms / SECOND_MS),
        ms if ms < HOUR_MS => format!("{} min", ms / MINUTE_MS),
        ms if ms < 2 * DAY_MS => format!("{} h", ms / HOUR_MS),
        ms => format!("{} days", ms / DAY_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_directions() {
        let now = Timestamp(1_767_225_600_000);
        let cases = [
            (0, "just now"),
            (-4_999, "just now"),
            (-59_000, "59 s ago"),
            (-60_000, "1 min ago"),
            (-3_599_000, "59 min ago"),
            (-47 * HOUR_MS, "47 h ago"),
            (-48 * HOUR_MS, "2 days ago"),
            (55 * MINUTE_MS, "in 55 min"),
        ];
        for (offset, text) in cases {
            assert_eq!(relative(now.plus(offset), now), text, "{offset} ms");
        }
    }

    #[test]
    fn text_that_is_no_time_is_escaped_and_shown() {
        assert_eq!(when("<b>", Timestamp(0)).into_string(), "&lt;b&gt;");
    }

    #[test]
    fn the_absolute_time_has_its_zone() {
        assert_eq!(absolute(Timestamp(1_767_225_600_123)), "2026-01-01 00:00:00 UTC");
        assert!(clock("2026-01-01T03:12:09.5Z").into_string().contains(">03:12:09<"));
    }
}
