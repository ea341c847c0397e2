//! What is approved is what was read: the digest is computed here, from the plan itself, and the lines that a person
//! reads are made from that same plan. A server that shows one thing and asks for approval of another is found out.

use crate::client;
use crate::failure::Failure;
use serde_json::Value as Json;
use sopwith_domain::action::Undo;
use sopwith_domain::check::Check;
use sopwith_domain::plan::{Plan, Step};
use sopwith_domain::playbook::Risk;
use sopwith_domain::time::SECOND_MS;
use sopwith_protocol::api::{PlanView, StepView};

/// Returns the view with everything that the plan says taken from the plan; `raw` is the view as it came. A view
/// without a plan stays as it is, and says that its digest is the server's word.
///
/// # Errors
/// The plan does not have the digest that the server asks approval of.
pub fn computed(view: PlanView, raw: &Json) -> Result<PlanView, Failure> {
    if raw.get("plan").is_none_or(Json::is_null) {
        return Ok(PlanView { plan: None, ..view });
    }
    // As it came, since cleaning a text would change the digest.
    let plan: Plan = client::view_raw(&raw["plan"])?;
    if plan.digest() != view.digest || plan.target.incident != view.incident {
        return Err(Failure::failed(format!(
            "the plan that the server shows has digest {}, but it asks for a decision on {}",
            plan.digest().short(),
            view.digest.short()
        ))
        .help("do not approve this: the server or something between is broken or lies"));
    }
    let risk = match plan.risk {
        Risk::Look => "look",
        Risk::Auto => "auto",
        Risk::Approval => "approval",
        Risk::Never => "never",
    };
    let shown = PlanView {
        host: plan.target.host.to_string(),
        playbook: plan.playbook.to_string(),
        version: plan.version,
        title: plan.title.clone(),
        risk: risk.into(),
        attempt: plan.target.attempt,
        parameters: plan
            .parameters
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        steps: plan.steps.iter().map(step).collect(),
        verify: sentences(&plan.verify),
        soak_s: plan.soak_ms / SECOND_MS,
        plan: Some(Box::new(plan)),
        ..view
    };
    // Sentences made here hold what the plan holds, so they are cleaned like any other answer.
    let shown =
        serde_json::to_value(&shown).map_err(|e| Failure::failed(format!("cannot show the plan: {e}")))?;
    client::view(&shown)
}

fn sentences(checks: &[Check]) -> Vec<String> {
    checks.iter().map(Check::sentence).collect()
}

fn step(step: &Step) -> StepView {
    let undo = match (step.undo, step.irreversible_because.as_deref()) {
        (Undo::Inverse, _) => "put back what was there before, as captured on the host".to_owned(),
        (Undo::Nothing, _) => "nothing; it leaves nothing behind".into(),
        (Undo::Irreversible, because) => format!("IMPOSSIBLE; accepted because {}", because.unwrap_or("–")),
    };
    StepView {
        name: step.name.clone(),
        sentence: step.action.sentence(),
        action: serde_json::to_value(&step.action).unwrap_or_default(),
        require: sentences(&step.require),
        expect: sentences(&step.expect),
        undo,
        irreversible: step.undo == Undo::Irreversible,
        timeout_s: step.timeout_ms / SECOND_MS,
    }
}
