//! States, times and risks in words and glyphs that are the same in every command.

use crate::ui::Tone;
use sopwith_domain::run::End;
use sopwith_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use sopwith_protocol::plain::misleading;

/// Returns an incident's phase as glyph and word.
pub fn phase(name: &str) -> (Tone, String) {
    let (tone, text) = match name {
        "detected" => (Tone::Bad, "● detected"),
        "awaiting_approval" => (Tone::Attention, "◆ needs you"),
        "approved" => (Tone::Attention, "▷ approved"),
        "running" => (Tone::Attention, "▶ running"),
        "watching" => (Tone::Good, "◌ watching"),
        "needs_person" => (Tone::Bad, "! needs person"),
        "closed" => (Tone::Good, "✓ closed"),
        other => return (Tone::Quiet, format!("? {other}")),
    };
    (tone, text.to_owned())
}

/// Returns a run's end as glyph and word.
pub fn run_state(end: Option<&End>, cancel_requested: bool) -> (Tone, String) {
    let (tone, text) = match end {
        None if cancel_requested => (Tone::Attention, "▶ cancelling"),
        None => (Tone::Attention, "▶ running"),
        Some(End::Resolved) => (Tone::Good, "✓ resolved"),
        Some(End::RolledBack { .. }) => (Tone::Attention, "↺ undone"),
        Some(End::Parked { .. }) => (Tone::Bad, "! parked"),
    };
    (tone, text.to_owned())
}

/// Returns a host's state as glyph and word.
pub fn host_state(name: &str) -> (Tone, String) {
    let (tone, text) = match name {
        "connected" => (Tone::Good, "✓ connected"),
        "silent" => (Tone::Bad, "● silent"),
        "revoked" => (Tone::Quiet, "✗ revoked"),
        other => return (Tone::Quiet, format!("? {other}")),
    };
    (tone, text.to_owned())
}

/// Returns how a check stands as glyph and word.
pub fn verdict(name: &str) -> (Tone, String) {
    let (tone, text) = match name {
        "ok" => (Tone::Good, "✓ well"),
        "warning" => (Tone::Attention, "▲ warning"),
        "critical" => (Tone::Bad, "◆ critical"),
        "unknown" => (Tone::Attention, "■ not known"),
        "pending" => (Tone::Quiet, "… not run yet"),
        other => return (Tone::Quiet, format!("? {other}")),
    };
    (tone, text.to_owned())
}

/// Returns a plan's state in words.
pub fn plan_state(name: &str) -> &str {
    match name {
        "waiting" => "waits for approval",
        "approved" => "is approved and waits for the limits",
        "released" => "is approved and on its way to the host",
        "accepted" => "was taken by the host",
        "void" => "is void",
        other => other,
    }
}

/// Returns a number of things, in the right number.
pub fn count(number: impl Into<u64>, thing: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Returns how long ago or ahead a time is, in one unit.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let ms = now.since(at);
    if ms.abs() < SECOND_MS {
        return "now".into();
    }
    let length = duration(ms.abs());
    if ms < 0 { format!("in {length}") } else { format!("{length} ago") }
}

/// Returns a length of time in one unit.
pub fn duration(ms: i64) -> String {
    match ms {
        _ if ms < SECOND_MS => format!("{ms} ms"),
        _ if ms < 2 * MINUTE_MS => format!("{} s", ms / SECOND_MS),
        _ if ms < 2 * HOUR_MS => format!("{} min", ms / MINUTE_MS),
        _ if ms < 2 * DAY_MS => format!("{} h", ms / HOUR_MS),
        _ => format!("{} d", ms / DAY_MS),
    }
}

/// Returns a time that the API gave, relative to now; what is no time stays as it is.
pub fn ago(at: &str, now: Timestamp) -> String {
    at.parse().map_or_else(|_| at.to_owned(), |at| relative(at, now))
}

/// Returns a time that the API gave, absolute and relative.
pub fn when(at: &str, now: Timestamp) -> String {
    at.parse::<Timestamp>()
        .map_or_else(|_| at.to_owned(), |time| format!("{} ({})", to_seconds(at), relative(time, now)))
}

/// Returns the clock time of a time that the API gave.
pub fn clock(at: &str) -> String {
    at.split_once('T').map_or_else(|| at.to_owned(), |(_, time)| time.get(..8).unwrap_or(time).to_owned())
}

fn to_seconds(at: &str) -> String {
    at.get(..19).map_or_else(|| at.to_owned(), |start| format!("{} UTC", start.replace('T', " ")))
}

/// Takes out of a text what could change how a terminal shows it: control characters (but for line break and tab),
/// marks that turn the direction of writing, and what nobody sees.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if misleading(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_one_unit() {
        let table = [
            (0, "now"),
            (999, "now"),
            (1_000, "1 s ago"),
            (119_999, "119 s ago"),
            (120_000, "2 min ago"),
            (HOUR_MS, "60 min ago"),
            (3 * HOUR_MS, "3 h ago"),
            (3 * DAY_MS, "3 d ago"),
            (-5 * MINUTE_MS, "in 5 min"),
        ];
        for (ms, expected) in table {
            assert_eq!(relative(Timestamp(0), Timestamp(ms)), expected);
        }
    }

    #[test]
    fn what_a_host_says_cannot_drive_the_terminal() {
        assert_eq!(
            clean("a\x1b[31mb\r\u{9b}c\u{202e}d\n\te"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}d\n\te"
        );
    }

    #[test]
    fn an_absolute_time_has_its_zone() {
        let at = "2026-01-31T03:12:00.123Z";
        let now = at.parse::<Timestamp>().map(|t| t.plus(180_000)).unwrap_or_default();
        assert_eq!(when(at, now), "2026-01-31 03:12:00 UTC (3 min ago)");
        assert_eq!(clock(at), "03:12:00");
    }
}
