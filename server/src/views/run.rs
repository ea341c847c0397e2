//! Runs as people follow them.

use super::plan::step_view;
use super::words::record_sentence;
use sopwith_domain::check::Check;
use sopwith_domain::ids::Digest;
use sopwith_domain::incident::Run;
use sopwith_domain::run::{Effect, End, Record, StepResult, What, setback};
use sopwith_domain::time::SECOND_MS;
use sopwith_protocol::api::{RunRecordView, RunView};

/// Returns a run with all that was heard of it.
pub fn run_view(digest: &Digest, run: &Run) -> RunView {
    let plan = run.plan.as_ref();
    let names: Vec<String> =
        plan.iter().flat_map(|plan| plan.steps.iter().map(|step| step.name.clone())).collect();
    RunView {
        run: *digest,
        host: run.host.to_string(),
        incident: run.incident,
        playbook: plan.map(|plan| plan.playbook.to_string()),
        title: plan.map(|plan| plan.title.clone()),
        state: run_state(run).into(),
        steps: plan.iter().flat_map(|plan| plan.steps.iter().map(step_view)).collect(),
        verify: plan.iter().flat_map(|plan| plan.verify.iter().map(Check::sentence)).collect(),
        soak_s: plan.map_or(0, |plan| plan.soak_ms / SECOND_MS),
        records: run.records.iter().map(|record| record_view(record, &names)).collect(),
        end: run.records.iter().find_map(|record| match &record.what {
            What::Ended { end } => Some(end.clone()),
            _ => None,
        }),
        cancel_requested: run.cancel_requested.as_ref().map(ToString::to_string),
        live: None,
    }
}

fn record_view(record: &Record, names: &[String]) -> RunRecordView {
    let (tag, step) = tag(&record.what);
    RunRecordView {
        at: record.at.to_string(),
        record: tag.into(),
        step,
        sentence: record_sentence(&record.what, names),
        what: shown(&record.what),
    }
}

/// Leaves out the order and what was captured before a step.
fn shown(what: &What) -> Option<What> {
    match what {
        What::Accepted { .. } => None,
        What::Started { step, .. } => Some(What::Started { step: *step, prior: serde_json::Value::Null }),
        other => Some(other.clone()),
    }
}

fn tag(what: &What) -> (&'static str, Option<usize>) {
    match what {
        What::Refused { .. } => ("refused", None),
        What::Accepted { .. } => ("accepted", None),
        What::Started { step, .. } => ("started", Some(*step)),
        What::Finished { step, .. } => ("finished", Some(*step)),
        What::Probed { step, .. } => ("probed", Some(*step)),
        What::Halted { .. } => ("halted", None),
        What::CancelRequested { .. } => ("cancel_requested", None),
        What::Verified { .. } => ("verified", None),
        What::Soaked { .. } => ("soaked", None),
        What::UndoStarted { step } => ("undo_started", Some(*step)),
        What::UndoFinished { step, .. } => ("undo_finished", Some(*step)),
        What::Ended { .. } => ("ended", None),
    }
}

/// Returns where a run stands by its records: accepted, running, verifying, soaking, undoing, resolved,
/// rolled_back, parked, refused.
pub fn run_state(run: &Run) -> &'static str {
    let records = &run.records;
    for record in records {
        match &record.what {
            What::Refused { .. } => return "refused",
            What::Ended { end: End::Resolved } => return "resolved",
            What::Ended { end: End::RolledBack { .. } } => return "rolled_back",
            What::Ended { end: End::Parked { .. } } => return "parked",
            _ => {}
        }
    }
    if setback(records).is_some() {
        return "undoing";
    }
    let done = |what: &What| match what {
        What::Finished { outcome: StepResult::Done { .. }, step } => Some(step + 1),
        What::Probed { effect: Effect::Took { .. }, step } => Some(step + 1),
        _ => None,
    };
    let last = records.last().map(|record| &record.what);
    match last {
        Some(What::Verified { passed: true, .. }) => "soaking",
        Some(What::Accepted { .. }) | None => "accepted",
        Some(what) if done(what).is_some() && done(what) == run.plan.as_ref().map(|p| p.steps.len()) => {
            "verifying"
        }
        Some(_) => "running",
    }
}
