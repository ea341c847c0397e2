//! A dry run as people read it: beside each step what the host found that it would change; and a look, which is told
//! in the same form with what was seen.

use sopwith_domain::diagnosis::Diagnosis;
use sopwith_domain::dry_run::{Asked, DryRun, Found, Report};
use sopwith_domain::plan::Plan;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{AskedView, DryRunStepView, DryRunView};

/// Returns a dry run of a plan.
pub fn dry_run_view(plan: &Plan, dry_run: &DryRun, now: Timestamp) -> DryRunView {
    let state = if dry_run.waits(now) { "asked" } else { "unanswered" };
    let asked = (dry_run.by.to_string(), dry_run.asked_at);
    view(plan, asked, state, dry_run.report.as_ref())
}

/// Returns a look that the policy's rule approved.
pub fn diagnosis_view(diagnosis: &Diagnosis, now: Timestamp) -> DryRunView {
    let state = if diagnosis.waits(now) { "asked" } else { "unanswered" };
    let by = format!("the policy's rule for diagnosis, with {}", diagnosis.plan.playbook);
    view(&diagnosis.plan, (by, diagnosis.approval.granted_at), state, diagnosis.report.as_ref())
}

fn view(plan: &Plan, asked: (String, Timestamp), state: &str, report: Option<&Report>) -> DryRunView {
    let mut view = DryRunView {
        plan: plan.digest(),
        asked_by: asked.0,
        asked_at: asked.1.to_string(),
        state: state.into(),
        looked_at: None,
        reason: None,
        against: None,
        steps: Vec::new(),
        verify: Vec::new(),
    };
    let Some(report) = report else { return view };
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
