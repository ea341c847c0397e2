//! A person's word on a plan. What is sent names the digest that was shown, so that a plan which changed between
//! reading and deciding is refused and its difference shown; a decision is never sent again by itself.

use crate::client::Client;
use crate::failure::Failure;
use crate::ui::{Tone, Ui};
use crate::{incident, keys, plan_text, proof, words};
use clap::Args;
use reqwest::Method;
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_protocol::api::{DecisionBody, IncidentSummary, IncidentView, PlanView};
use sopwith_protocol::signature::APPROVAL_NAMESPACE;
use std::path::PathBuf;

/// Fewest digits by which a digest may be named.
const DIGEST_PREFIX_MIN: usize = 8;
/// Open incidents among which a shortened digest is looked for.
const SEARCH_MAX: usize = 1000;

#[derive(Args, Debug)]
#[command(after_help = "\
The plan is shown exactly as the host will run it. What you approve is its
digest: if the plan changes before your answer arrives, nothing is approved,
the difference is shown, and the exit code is 3.

Examples:
  sopwith approve INC-7
  sopwith approve 1a2b3c4d5e6f --reason \"seen, harmless\" --sign ~/.ssh/id_ed25519")]
pub struct Approve {
    /// An incident such as INC-7, or a plan's digest or its first 8 digits or more.
    #[arg(value_name = "PLAN_OR_INCIDENT")]
    what: String,
    #[arg(long, default_value = "")]
    reason: String,
    /// Signs the approval with this SSH key.
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
pub struct Deny {
    /// An incident such as INC-7, or a plan's digest or its first 8 digits or more.
    #[arg(value_name = "PLAN_OR_INCIDENT")]
    what: String,
    /// Why; the incident keeps it.
    #[arg(long)]
    reason: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

/// Shows a plan, asks, and approves it.
pub async fn approve(args: Approve, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let plan = find(&args.what, client).await?;
    waiting(&plan)?;
    let shown = plan_text::lines(&plan, ui);
    ui.say(&shown.join("\n"))?;
    if args.sign.is_some() && plan.plan.is_none() {
        return Err(Failure::failed(
            "the server did not send the plan itself, so its digest is only its word",
        )
        .help("do not sign what you cannot check; is the server older than this command?"));
    }
    ui.confirm(&format!("\nApprove plan {} on {}?", plan.digest.short(), plan.host), args.yes)?;
    let signature = match &args.sign {
        Some(path) => {
            Some(keys::sign(&keys::load(path)?, APPROVAL_NAMESPACE, &plan.digest.to_string())?.signature)
        }
        None => None,
    };
    let signed = signature.is_some();
    let body = DecisionBody { reason: args.reason, signature };
    let raw = decide("approve", &plan, &shown, body, client, ui).await?;
    ui.show(&raw, || {
        let how = if signed { "Approved and signed" } else { "Approved" };
        let word = ui.paint(Tone::Good, &format!("✓ {how}"));
        format!(
            "{word}: plan {} for {}.\nFollow it: sopwith incident watch {}",
            plan.digest.short(),
            plan.incident,
            plan.incident
        )
    })
}

/// Shows a plan, asks, and denies it.
pub async fn deny(args: Deny, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let plan = find(&args.what, client).await?;
    waiting(&plan)?;
    let shown = plan_text::lines(&plan, ui);
    ui.say(&shown.join("\n"))?;
    ui.confirm(&format!("\nDeny plan {} on {}?", plan.digest.short(), plan.host), args.yes)?;
    let body = DecisionBody { reason: args.reason, signature: None };
    let raw = decide("deny", &plan, &shown, body, client, ui).await?;
    ui.show(&raw, || format!("✗ Denied: plan {}. {} needs a person now.", plan.digest.short(), plan.incident))
}

async fn decide(
    verb: &str,
    plan: &PlanView,
    shown: &[String],
    body: DecisionBody,
    client: &Client,
    ui: &Ui,
) -> Result<serde_json::Value, Failure> {
    let path = format!("/plans/{}/{verb}", plan.digest);
    match client.send(Method::POST, &path, Some(&body), Some(plan.digest)).await {
        Err(failure) if failure.status == Some(412) => Err(changed(plan, shown, failure, client, ui).await),
        other => other,
    }
}

/// Shows what is different in the plan that stands now.
async fn changed(plan: &PlanView, shown: &[String], failure: Failure, client: &Client, ui: &Ui) -> Failure {
    let now = client.get::<IncidentView>(&incident::path(plan.incident)).await;
    let told = match now.as_ref().map(|answer| &answer.view.plan_view) {
        Ok(Some(new)) => {
            let raw = now.as_ref().map(|answer| answer.raw["plan_view"].clone()).unwrap_or_default();
            let new = match proof::computed(new.clone(), &raw) {
                Ok(new) => new,
                Err(failure) => return failure,
            };
            let lines = plan_text::difference(shown, &plan_text::lines(&new, ui));
            format!("\nThe plan changed after you read it:\n{}", lines.join("\n"))
        }
        Ok(None) => format!("\n{} has no plan any more.", plan.incident),
        Err(_) => String::new(),
    };
    let _ = ui.say(&told);
    Failure { text: format!("nothing was decided: {}", failure.text), ..failure }
        .help(format!("read the new plan and decide again: sopwith approve {}", plan.incident))
}

fn waiting(plan: &PlanView) -> Result<(), Failure> {
    if plan.state == "waiting" {
        return Ok(());
    }
    let text = format!(
        "plan {} {}, there is nothing to decide",
        plan.digest.short(),
        words::plan_state(&plan.state)
    );
    Err(Failure::refused(text).help(format!("sopwith incident show {}", plan.incident)))
}

/// Finds the plan that a person named.
async fn find(what: &str, client: &Client) -> Result<PlanView, Failure> {
    if let Ok(digest) = what.parse::<Digest>() {
        return by_digest(digest, client).await;
    }
    if what.len() >= DIGEST_PREFIX_MIN && what.chars().all(|c| c.is_ascii_hexdigit()) {
        return by_prefix(&what.to_lowercase(), client).await;
    }
    let incident: IncidentId = what.parse().map_err(|_| {
        Failure::usage(format!("{what:?} is neither an incident nor a plan"))
            .help("as in INC-7, or at least 8 digits of the plan's digest")
    })?;
    let answer = client.get::<IncidentView>(&incident::path(incident)).await?;
    let status = answer.view.summary.status;
    let view = answer.view.plan_view.ok_or_else(|| {
        Failure::refused(format!("{incident} has no plan to decide on: {status}"))
            .help(format!("sopwith explain {incident}"))
    })?;
    proof::computed(view, &answer.raw["plan_view"])
}

async fn by_digest(digest: Digest, client: &Client) -> Result<PlanView, Failure> {
    let answer = client.get::<PlanView>(&format!("/plans/{digest}")).await?;
    if answer.view.digest != digest {
        return Err(Failure::failed(format!(
            "the server answered with another plan than {}",
            digest.short()
        )));
    }
    proof::computed(answer.view, &answer.raw)
}

async fn by_prefix(prefix: &str, client: &Client) -> Result<PlanView, Failure> {
    let open = client.list::<IncidentSummary>("/incidents", "&open=true", SEARCH_MAX).await?.view;
    let mut plans = open.iter().filter_map(|i| i.plan).filter(|d| d.to_string().starts_with(prefix));
    match (plans.next(), plans.next()) {
        (Some(digest), None) => by_digest(digest, client).await,
        (None, _) => Err(Failure::failed(format!("no open incident has a plan that begins with {prefix}"))
            .help("`sopwith incident list` shows what waits for you")),
        _ => Err(Failure::usage(format!("several plans begin with {prefix}")).help("give more digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_waiting_plan_can_be_decided() {
        for state in ["approved", "released", "accepted", "void"] {
            let raw = serde_json::json!({
                "digest": "00".repeat(32), "incident": 7, "host": "h", "playbook": "p", "version": 1, "title": "t",
                "risk": "approval", "attempt": 1, "parameters": {}, "steps": [], "verify": [], "soak_s": 0,
                "proposed_at": "", "expires_at": "", "required_approvals": 1, "decisions": [],
                "approved_until": null, "state": state,
            });
            let plan: PlanView = crate::client::view(&raw).unwrap_or_else(|f| panic!("{}", f.text));
            assert_eq!(waiting(&plan).map_err(|f| f.exit_code()), Err(3), "{state}");
        }
    }
}
