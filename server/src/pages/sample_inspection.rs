//! An inspection report to look at: something of every kind, and what a hostile plugin prints.

use super::samples::HOSTILE;
use sopwith_domain::inspection::{Day, Inspected, Inspection, LINE_BYTES_MAX, Verdict};
use sopwith_domain::time::{HOUR_MS, MINUTE_MS, Timestamp};
use sopwith_domain::value::Word;

type Row = (&'static str, &'static str, &'static str, Option<Verdict>, [u64; 5], &'static str);

/// Name, kind, schedule, verdict; runs, warnings, criticals, unknowns, missed; what it says.
const ROWS: [Row; 8] = [
    ("shop", "http", "every 30s", Some(Verdict::Critical), [1_310, 0, 4, 0, 0], HOSTILE),
    (
        "certificates",
        "certificate",
        "cron 0 6 * * * (jitter 30m)",
        Some(Verdict::Warning),
        [1, 1, 0, 0, 0],
        "shop.example.com expires in 12 days",
    ),
    (
        "raid",
        "plugin",
        "every 10m",
        Some(Verdict::Unknown),
        [64, 0, 0, 64, 0],
        "CHECK_RAID UNKNOWN - No RAID configuration found (tried: mdstat, megaraid, hpsa)",
    ),
    ("audit", "command", "cron 0 3 * * 0", None, [0, 0, 0, 0, 0], ""),
    ("backup-window", "command", "cron 0 1 * * *", Some(Verdict::Ok), [1, 0, 0, 0, 1], "well"),
    (
        "postgresql",
        "postgresql",
        "every 1m",
        Some(Verdict::Ok),
        [655, 3, 0, 0, 0],
        "23 of 100 connections, no transaction idle, 1 slot holds 16 MB",
    ),
    ("resolver", "dns", "every 1m", Some(Verdict::Ok), [655, 0, 0, 0, 0], "2 name servers answer in 1 ms"),
    (
        "root-disk",
        "plugin",
        "every 5m",
        Some(Verdict::Ok),
        [131, 0, 0, 0, 0],
        "DISK OK - free space: / 8734 MiB (45%)",
    ),
];

/// Returns a report of a day that is not over.
pub fn report(now: Timestamp) -> Inspection {
    let checks = ROWS.iter().map(|(check, kind, schedule, verdict, counts, line)| {
        let [runs, warnings, criticals, unknowns, missed] = *counts;
        Inspected {
            check: Word::new(*check).expect("a sample name"),
            kind: Word::new(*kind).expect("a sample kind"),
            schedule: (*schedule).into(),
            runs,
            warnings,
            criticals,
            unknowns,
            missed,
            verdict: *verdict,
            since: verdict.map(|_| Timestamp(now.0 - 3 * HOUR_MS)),
            last_at: verdict.map(|_| Timestamp(now.0 - MINUTE_MS)),
            line: line.chars().take(LINE_BYTES_MAX / 4).collect(),
        }
    });
    Inspection {
        day: Day::new("2026-01-02").expect("a day"),
        made_at: now,
        complete: false,
        checks: checks.collect(),
        left_out: 0,
    }
}
