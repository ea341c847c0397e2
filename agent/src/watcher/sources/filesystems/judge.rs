//! What the use of a file system means: full, filling up, or well, with room between full and well. Pure.

use super::mounts::Usage;
use crate::config::Limits;
use crate::watcher::report::Fault;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::AbsPath;
use std::time::Duration;

pub(super) const USED: &str = "filesystems.used";
pub(super) const INODES: &str = "filesystems.inodes";

/// Used share from which a forecast counts at all: a burst into an empty file system is no trend.
const FORECAST_PERCENT_MIN: u8 = 50;
/// From here on, or nearer to its end than this, it is critical.
const CRITICAL_PERCENT: u8 = 95;
const CRITICAL_S: u64 = 600;
/// So near to its limit, and so far before its end in parts of the time left, a file system is looked at more often.
const NEAR_PERCENT: u8 = 10;
const PARTS: u32 = 20;
const EVERY_NEAR: Duration = Duration::from_secs(5);
const EVERY_MIN: Duration = Duration::from_millis(500);

/// Why it counts as full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Because {
    Used,
    Forecast,
}

/// Says whether it counts as full, given what it counted as before.
pub(super) fn judge(
    before: Option<Because>,
    percent: u8,
    limit: u8,
    limits: &Limits,
    full_in_s: Option<u64>,
) -> Option<Because> {
    let soon =
        percent >= FORECAST_PERCENT_MIN && full_in_s.is_some_and(|s| s < limits.full_within.0.as_secs());
    match before {
        _ if percent >= limit => Some(Because::Used),
        Some(Because::Used) if percent >= limits.clear_percent => Some(Because::Used),
        _ if soon => Some(Because::Forecast),
        _ => None,
    }
}

/// Returns how long to wait before the next look.
pub(super) fn wait(every: Duration, percent: u8, limits: &Limits, full_in_s: Option<u64>) -> Duration {
    let mut wait = every;
    if percent.saturating_add(NEAR_PERCENT) > limits.used_percent {
        wait = wait.min(EVERY_NEAR);
    }
    if let Some(full_in_s) = full_in_s {
        wait = wait.min(Duration::from_secs(full_in_s) / PARTS);
    }
    wait.max(EVERY_MIN)
}

/// Makes the fault.
pub(super) fn fault(
    mount: &AbsPath,
    because: Because,
    inodes: bool,
    percent: u8,
    usage: &Usage,
    full_in_s: Option<u64>,
) -> Fault {
    let critical = percent >= CRITICAL_PERCENT || full_in_s.is_some_and(|s| s < CRITICAL_S);
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let (rule, kind) = if inodes { (INODES, "filesystem.inodes") } else { (USED, "filesystem.full") };
    let what = if inodes { "of its inodes are used" } else { "full" };
    let soon = full_in_s.map(|s| format!(", nothing left in {s} s at this rate")).unwrap_or_default();
    let text = match because {
        Because::Used => format!("{mount}: {percent} % {what}{soon}"),
        Because::Forecast => format!("{mount}: {percent} % {what} and filling up{soon}"),
    };
    let mut fault = Fault::new(rule, kind, Subject::Mount(mount.clone()), severity, text);
    fault.integer("used_percent", percent);
    if let Some(full_in_s) = full_in_s {
        fault.integer("full_in_s", full_in_s);
    }
    fault.show(
        "use",
        &format!(
            "{} MiB of {} MiB used, {} MiB left; {} of {} inodes used",
            usage.used_bytes >> 20,
            usage.total_bytes >> 20,
            usage.free_bytes >> 20,
            usage.inodes_used,
            usage.inodes
        ),
    );
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Period;

    const LIMITS: Limits =
        Limits { used_percent: 90, inodes_percent: 90, clear_percent: 80, full_within: Period::secs(3600) };

    #[test]
    fn full_filling_up_and_well() {
        use Because::{Forecast, Used};
        for (before, percent, full_in_s, is) in [
            (None, 10, None, None),
            (None, 89, None, None),
            (None, 90, None, Some(Used)),
            (Some(Used), 85, None, Some(Used)),
            (Some(Used), 80, None, Some(Used)),
            (Some(Used), 79, None, None),
            (None, 85, None, None),
            (None, 60, Some(3599), Some(Forecast)),
            (None, 60, Some(3600), None),
            (None, 49, Some(10), None),
            (Some(Forecast), 60, Some(3599), Some(Forecast)),
            (Some(Forecast), 85, None, None),
            (Some(Forecast), 91, None, Some(Used)),
            (Some(Used), 79, Some(100), Some(Forecast)),
        ] {
            assert_eq!(
                judge(before, percent, 90, &LIMITS, full_in_s),
                is,
                "{before:?} {percent} {full_in_s:?}"
            );
        }
    }

    #[test]
    fn looks_come_more_often_as_the_end_comes_nearer() {
        let every = Duration::from_secs(60);
        for (percent, full_in_s, wait_ms) in [
            (10, None, 60_000),
            (80, None, 60_000),
            (81, None, 5_000),
            (10, Some(6_000), 60_000),
            (60, Some(200), 10_000),
            (85, Some(40), 2_000),
            (99, Some(0), 500),
        ] {
            let is = wait(every, percent, &LIMITS, full_in_s);
            assert_eq!(is, Duration::from_millis(wait_ms), "{percent} {full_in_s:?}");
        }
    }
}
