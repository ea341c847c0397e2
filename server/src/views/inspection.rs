//! A host's inspection report of a day, the exceptions first.

use sopwith_domain::ids::HostId;
use sopwith_domain::inspection::{Inspected, Inspection, Verdict};
use sopwith_protocol::api::{InspectedView, InspectionView};

/// Returns a report as it is shown.
pub fn inspection_view(host: &HostId, report: &Inspection, days: Vec<String>) -> InspectionView {
    let mut checks: Vec<&Inspected> = report.checks.iter().collect();
    checks.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.check.cmp(&b.check)));
    InspectionView {
        host: host.to_string(),
        day: report.day.to_string(),
        days,
        made_at: report.made_at.to_string(),
        complete: report.complete,
        left_out: report.left_out,
        checks: checks.into_iter().map(inspected).collect(),
    }
}

/// Returns what is read first: what is wrong now, what could not be found out, what was missed, what is well.
fn rank(one: &Inspected) -> u8 {
    match one.verdict {
        Some(Verdict::Critical) => 0,
        Some(Verdict::Warning) => 1,
        Some(Verdict::Unknown) => 2,
        None => 3,
        Some(Verdict::Ok) if one.missed > 0 => 4,
        Some(Verdict::Ok) if one.warnings + one.criticals + one.unknowns > 0 => 5,
        Some(Verdict::Ok) => 6,
    }
}

fn inspected(one: &Inspected) -> InspectedView {
    InspectedView {
        check: one.check.to_string(),
        kind: one.kind.to_string(),
        schedule: one.schedule.clone(),
        verdict: one.verdict.map_or("pending", Verdict::word).into(),
        line: one.line.clone(),
        runs: one.runs,
        warnings: one.warnings,
        criticals: one.criticals,
        unknowns: one.unknowns,
        missed: one.missed,
        since: one.since.map(|at| at.to_string()),
        last_at: one.last_at.map(|at| at.to_string()),
    }
}
