//! A dry run as people read it: beside each step what the host found that it would change.

use sopwith_domain::dry_run::{Asked, DryRun, Found};
use sopwith_domain::plan::Plan;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{AskedView, DryRunStepView, DryRunView};

/// Returns a dry run of a plan.
pub fn dry_run_view(plan: &Plan, dry_run: &DryRun, now: Timestamp) -> DryRunView {
    let mut view = DryRunView {
        plan: plan.digest(),
        asked_by: dry_run.by.to_string(),
        asked_at: dry_run.asked_at.to_string(),
        state: if dry_run.waits(now) { "asked" } else { "unanswered" }.into(),
        looked_at: None,
        reason: None,
        against: None,
        steps: Vec::new(),
        verify: Vec::new(),
    };
    let Some(report) = &dry_run.report else { return view };
    view.looked_at = Some(report.looked_at.to_string());
    match &report.found {
        Found::Refused { reason } => (view.state, view.reason) = ("refused".into(), Some(reason.clone())),
        Found::Looked { against, steps, verify } => {
            view.state = "looked".into();
            view.against.clone_from(against);
            view.verify = verify.iter().map(asked_view).collect();
            let steps = plan.steps.iter().zip(steps);
            view.steps = steps
                .map(|(step, seen)| DryRunStepView {
                    sentence: step.action.sentence(),
                    require: seen.require.iter().map(asked_view).collect(),
                    would: seen.would.clone(),
                    cannot: seen.cannot.clone(),
                })
                .collect();
        }
    }
    view
}

fn asked_view(asked: &Asked) -> AskedView {
    AskedView { check: asked.check.clone(), holds: asked.holds, detail: asked.detail.clone() }
}
