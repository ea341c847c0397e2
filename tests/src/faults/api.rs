//! Reads what the REST API shows into what the runner follows. Pure.

use sopwith_domain::action::Action;
use sopwith_domain::run::{End, What};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{IncidentView, PlanView, RunView};

use super::product::{EndSeen, Millis, Phase, PlanSeen, RunSeen, Seen};

/// Reads one incident; a phase or time that is not known here is an error, never a guess.
pub fn seen(view: &IncidentView) -> Result<Seen, String> {
    let summary = &view.summary;
    Ok(Seen {
        id: summary.number.clone(),
        opened_at: millis(&summary.opened_at)?,
        kind: summary.kind.clone(),
        subject: summary.subject.clone(),
        title: summary.title.clone(),
        phase: phase(&summary.phase)?,
        status: summary.status.clone(),
        playbook: summary.playbook.clone(),
        why_not: view.why_not.clone(),
        plan: view.plan_view.as_ref().map(|plan| plan_seen(plan, summary.needs_decision)),
        runs: view.runs.iter().map(run_seen).collect::<Result<_, _>>()?,
    })
}

fn millis(text: &str) -> Result<Millis, String> {
    text.parse::<Timestamp>().map(|time| time.0).map_err(|error| error.to_string())
}

fn phase(name: &str) -> Result<Phase, String> {
    match name {
        "detected" | "approved" => Ok(Phase::Open),
        "awaiting_approval" => Ok(Phase::AwaitingApproval),
        "running" => Ok(Phase::Running),
        "watching" => Ok(Phase::Watching),
        "needs_person" => Ok(Phase::NeedsPerson),
        "closed" => Ok(Phase::Closed),
        other => Err(format!("unknown phase {other}")),
    }
}

fn plan_seen(plan: &PlanView, needs_decision: bool) -> PlanSeen {
    let mut touches: Vec<String> = plan.plan.iter().map(|plan| plan.target.subject.to_string()).collect();
    touches.extend(plan.plan.iter().flat_map(|plan| &plan.steps).flat_map(|step| changed(&step.action)));
    touches.dedup();
    PlanSeen {
        digest: plan.digest.to_string(),
        waits: needs_decision,
        decisions: plan.decisions.len(),
        irreversible: plan.steps.iter().map(|step| step.irreversible).collect(),
        touches,
    }
}

/// What an action changes, as in `path:/etc/x`. Of a folder whose mode or owner it sets that is `attributes`: what is in
/// it is not touched.
fn changed(action: &Action) -> Vec<String> {
    match action {
        Action::FileMode { path, .. } | Action::FileOwner { path, .. } => vec![format!("attributes:{path}")],
        action => action.touches().iter().map(ToString::to_string).collect(),
    }
}

fn run_seen(run: &RunView) -> Result<RunSeen, String> {
    let mut seen = RunSeen { digest: run.run.to_string(), ..RunSeen::default() };
    for record in &run.records {
        match &record.what {
            Some(What::Started { .. }) => seen.started.push(millis(&record.at)?),
            Some(What::Verified { passed: true, .. }) => {
                seen.verified_at.get_or_insert(millis(&record.at)?);
            }
            Some(What::Refused { refusal }) => seen.end = Some(EndSeen::Refused(refusal.to_string())),
            _ => {}
        }
    }
    match &run.end {
        None => {}
        Some(End::Resolved) => seen.end = Some(EndSeen::Resolved),
        Some(End::RolledBack { reason }) => seen.end = Some(EndSeen::RolledBack(reason.clone())),
        Some(End::Parked { reason, .. }) => seen.end = Some(EndSeen::Parked(reason.clone())),
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::ids::Digest;
    use sopwith_protocol::api::RunRecordView;

    fn record(at: &str, what: What) -> RunRecordView {
        RunRecordView {
            at: at.into(),
            record: String::new(),
            step: None,
            sentence: String::new(),
            what: Some(what),
        }
    }

    fn run(records: Vec<RunRecordView>, end: Option<End>) -> RunView {
        RunView {
            run: Digest::of(b"run"),
            host: "h".into(),
            incident: None,
            playbook: None,
            title: None,
            state: String::new(),
            steps: Vec::new(),
            verify: Vec::new(),
            soak_s: 0,
            records,
            end,
            cancel_requested: None,
            live: None,
        }
    }

    #[test]
    fn a_run_is_told_by_its_records() {
        let started = |at| record(at, What::Started { step: 0, prior: serde_json::Value::Null });
        let verified = |at, passed| record(at, What::Verified { passed, detail: String::new() });
        let records = vec![
            started("2026-01-01T00:00:01Z"),
            verified("2026-01-01T00:00:02Z", false),
            started("2026-01-01T00:00:03.5Z"),
            verified("2026-01-01T00:00:04Z", true),
            verified("2026-01-01T00:00:09Z", true),
        ];
        let seen = run_seen(&run(records, Some(End::Resolved))).expect("valid");
        let base = millis("2026-01-01T00:00:00Z").expect("time");
        assert_eq!(seen.started, [base + 1000, base + 3500]);
        assert_eq!((seen.verified_at, seen.end), (Some(base + 4000), Some(EndSeen::Resolved)));
        let parked = End::Parked { reason: "why".into(), residue: Vec::new() };
        assert_eq!(
            run_seen(&run(vec![], Some(parked))).expect("valid").end,
            Some(EndSeen::Parked("why".into()))
        );
        assert!(run_seen(&run(vec![started("yesterday")], None)).is_err());
    }

    #[test]
    fn every_phase_that_the_domain_has_is_known() {
        use sopwith_domain::incident::Phase as Domain;
        let (at, reason) = (Timestamp(0), String::new());
        let all = [
            Domain::Detected,
            Domain::AwaitingApproval,
            Domain::Approved,
            Domain::Running,
            Domain::Watching { since: at },
            Domain::NeedsPerson { reason, since: at },
            Domain::Closed { at },
        ];
        for one in all {
            assert!(phase(one.name()).is_ok(), "{}", one.name());
        }
        assert!(phase("asleep").is_err());
    }
}
