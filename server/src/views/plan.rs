//! Plans and playbooks as people read them, with what speaks for and against going on: record and budget.

use super::run::run_state;
use super::{dry_run_view, trust_views};
use sopwith_domain::action::Undo;
use sopwith_domain::check::Check;
use sopwith_domain::decide::{self, Left, Of};
use sopwith_domain::ids::PlaybookId;
use sopwith_domain::incident::{Incident, Phase, Proposal};
use sopwith_domain::plan::{Plan, Step};
use sopwith_domain::playbook::Risk;
use sopwith_domain::state::{Installed, State};
use sopwith_domain::time::{SECOND_MS, Timestamp};
use sopwith_protocol::api::{Budget, BudgetRow, PlanView, PlaybookView, SopRecord, StepView};

/// Returns the incident's proposal where it still is the plan to talk about.
pub fn current_plan(incident: &Incident) -> Option<&Proposal> {
    incident.proposal.as_ref()
}

/// Returns where a proposal stands: waiting, approved, released, accepted, void.
pub fn plan_state(incident: &Incident, proposal: &Proposal, now: Timestamp) -> &'static str {
    if proposal.accepted_at.is_some() {
        "accepted"
    } else if proposal.released_at.is_some() {
        "released"
    } else if proposal.approved.is_some() {
        "approved"
    } else if matches!(incident.phase, Phase::AwaitingApproval) && now < proposal.expires_at {
        "waiting"
    } else {
        "void"
    }
}

/// Returns an incident's current plan with everything that a decision needs.
pub fn proposal_view(state: &State, incident: &Incident, proposal: &Proposal, now: Timestamp) -> PlanView {
    PlanView {
        proposed_at: proposal.proposed_at.to_string(),
        expires_at: proposal.expires_at.to_string(),
        required_approvals: proposal.required_approvals,
        decisions: proposal.decisions.clone(),
        approved_until: proposal.approved.as_ref().map(|a| a.approval().expires_at.to_string()),
        state: plan_state(incident, proposal, now).into(),
        budget: Some(budget(state, incident, &proposal.plan, now)),
        dry_run: proposal.dry_run.as_ref().map(|dry_run| dry_run_view(&proposal.plan, dry_run, now)),
        ..plan_view(state, &proposal.plan)
    }
}

/// Returns a plan by itself, as one that is no longer current.
pub fn plan_view(state: &State, plan: &Plan) -> PlanView {
    PlanView {
        digest: plan.digest(),
        incident: plan.target.incident,
        host: plan.target.host.to_string(),
        playbook: plan.playbook.to_string(),
        version: plan.version,
        title: plan.title.clone(),
        risk: risk(plan.risk).into(),
        attempt: plan.target.attempt,
        parameters: plan
            .parameters
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        steps: plan.steps.iter().map(step_view).collect(),
        verify: plan.verify.iter().map(Check::sentence).collect(),
        soak_s: plan.soak_ms / SECOND_MS,
        proposed_at: String::new(),
        expires_at: String::new(),
        required_approvals: 0,
        decisions: Vec::new(),
        approved_until: None,
        state: "void".into(),
        record: sop_record(state, &plan.playbook),
        budget: None,
        dry_run: None,
        plan: Some(Box::new(plan.clone())),
    }
}

/// Returns one step as sentences.
pub fn step_view(step: &Step) -> StepView {
    StepView {
        name: step.name.clone(),
        sentence: step.action.sentence(),
        action: serde_json::to_value(&step.action).unwrap_or_default(),
        require: step.require.iter().map(Check::sentence).collect(),
        expect: step.expect.iter().map(Check::sentence).collect(),
        undo: undo_sentence(step.undo, step.irreversible_because.as_deref()),
        irreversible: step.undo == Undo::Irreversible,
        timeout_s: step.timeout_ms / SECOND_MS,
    }
}

/// Says how a step is taken back.
pub fn undo_sentence(undo: Undo, because: Option<&str>) -> String {
    match (undo, because) {
        (Undo::Inverse, _) => "Put back what was there before, as captured on the host".into(),
        (Undo::Nothing, _) => "Nothing to put back; it leaves nothing behind".into(),
        (Undo::Irreversible, Some(because)) => format!("Cannot be undone. Accepted because: {because}"),
        (Undo::Irreversible, None) => "Cannot be undone".into(),
    }
}

pub fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::Look => "look",
        Risk::Auto => "auto",
        Risk::Approval => "approval",
        Risk::Never => "never",
    }
}

/// Counts how all runs of a playbook ended.
pub fn sop_record(state: &State, playbook: &PlaybookId) -> SopRecord {
    let mut record = SopRecord::default();
    let of_this =
        state.runs.values().filter(|run| run.plan.as_ref().is_some_and(|p| p.playbook == *playbook));
    for run in of_this {
        record.runs += 1;
        match run_state(run) {
            "resolved" => record.resolved += 1,
            "rolled_back" => record.rolled_back += 1,
            "parked" => record.parked += 1,
            "refused" => record.refused += 1,
            _ => record.under_way += 1,
        }
    }
    record
}

/// Returns how all budgets stand.
pub fn budget_rows(state: &State, now: Timestamp) -> Vec<BudgetRow> {
    let row = |left: Left| {
        let (of, name, host) = match left.of {
            Of::Overall => ("overall", None, None),
            Of::Sop(id) => ("sop", Some(id), None),
            Of::Host(host) => ("host", Some(host), None),
            Of::Service(host, subject) => ("service", Some(subject), Some(host)),
        };
        BudgetRow {
            of: of.into(),
            name,
            host,
            under_way: left.at_once.map(|(used, _)| used),
            at_once: left.at_once.map(|(_, max)| max),
            hour_used: left.hour.0,
            hour_max: left.hour.1,
        }
    };
    decide::left(state, now).into_iter().map(row).collect()
}

/// Returns what the limits leave for a plan.
pub fn budget(state: &State, incident: &Incident, plan: &Plan, now: Timestamp) -> Budget {
    let policy = state.policy();
    let limits = state.playbooks.get(&plan.playbook).map(|i| i.playbook.limits.clone()).unwrap_or_default();
    let tries_max = policy.attempts_per_day.min(limits.attempts_per_day.unwrap_or(u32::MAX));
    let playbook_max = policy.at_once.per_playbook.min(limits.at_once.unwrap_or(u32::MAX));
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let others = || state.under_way().filter(|other| other.id != incident.id);
    let same = others()
        .filter(|other| other.proposal.as_ref().is_some_and(|p| p.plan.playbook == plan.playbook))
        .count();
    Budget {
        tries_left: tries_max.saturating_sub(state.tries_today(&incident.fingerprint, now)),
        tries_max,
        hour_left: policy.per_hour.saturating_sub(state.releases_in_hour(now)),
        hour_max: policy.per_hour,
        playbook_left: playbook_max.saturating_sub(count(same)),
        playbook_max,
        overall_left: policy.at_once.overall.saturating_sub(count(others().count())),
        overall_max: policy.at_once.overall,
    }
}

/// Returns an installed playbook with its text and signature.
pub fn playbook_view(state: &State, installed: &Installed) -> PlaybookView {
    let playbook = &installed.playbook;
    PlaybookView {
        id: playbook.id.to_string(),
        version: playbook.version,
        title: playbook.title.clone(),
        risk: risk(playbook.risk).into(),
        digest: playbook.digest,
        signer: installed.signer.clone(),
        text: installed.signed.text.clone(),
        signature: installed.signed.signature.clone(),
        trust: trust_views(state, installed),
    }
}
