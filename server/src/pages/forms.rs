//! Handlers of forms: each becomes one command, on the same way as through the API. What is refused is shown where
//! it was asked, with what was typed kept.

use super::answer::{Fields, frame, missing, on_to, refusal, show, show_as};
use super::frame::{Frame, Place};
use super::{diff, hosts, incident, more, past};
use crate::api::{Chosen, ask_and_wait, decide_on};
use crate::app::App;
use crate::auth::Person;
use crate::exchange::join::{make_token, take_back as take_token_back};
use crate::problem::Fault;
use crate::views;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use sopwith_domain::approval::Vote;
use sopwith_domain::command::Command;
use sopwith_domain::ids::{Digest, HostId, IncidentId};
use sopwith_domain::time::HOUR_MS;
use sopwith_protocol::api::{DecisionBody, JoinToken, PlanView};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionFields {
    /// Digest of the plan that stood beside the form.
    plan: Digest,
    vote: Vote,
    #[serde(default)]
    reason: String,
}

pub async fn decide(
    State(app): State<App>,
    person: Person,
    Path(id): Path<IncidentId>,
    Fields(fields): Fields<DecisionFields>,
) -> Response {
    let reason = fields.reason.trim().to_owned();
    let chosen = Chosen { plan: fields.plan, read: fields.plan, vote: fields.vote };
    let body = DecisionBody { reason: reason.clone(), signature: None };
    match decide_on(&app, person.clone(), chosen, body).await {
        Ok(incident) => {
            on_to(&format!("/incidents/{}?did={}", incident.0, done(&app, incident, fields.vote)))
        }
        Err(fault) if fault.code() == "plan-changed" => changed(&app, &person, id, fields.plan, &fault).await,
        Err(fault) => incident_refused(&app, &person, id, &fault, &reason),
    }
}

fn done(app: &App, incident: IncidentId, vote: Vote) -> &'static str {
    let state = app.ledger.state();
    let phase = state.incidents.get(&incident).map(|incident| incident.phase.name());
    match (vote, phase) {
        (Vote::Deny, _) => "denied",
        (Vote::Approve, Some("awaiting_approval")) => "voted",
        (Vote::Approve, _) => "approved",
    }
}

/// Shows what changed since the plan that was decided on, and the plan that stands now.
async fn changed(app: &App, person: &Person, id: IncidentId, read: Digest, fault: &Fault) -> Response {
    let now = app.ledger.now();
    let current: Option<PlanView> = {
        let state = app.ledger.state();
        let incident = state.incidents.get(&id);
        incident.and_then(|i| Some(views::proposal_view(&state, i, views::current_plan(i)?, now)))
    };
    let Some(current) = current else { return incident_refused(app, person, id, fault, "") };
    let was = match past::plan(app, read).await {
        Ok(plan) => plan.map(|plan| views::plan_view(&app.ledger.state(), &plan)),
        Err(error) => return super::fault(&error.into()),
    };
    let frame = frame(app, person, "The plan changed", Place::Approvals);
    show_as(fault.status(), &frame, diff::refused(&frame, was.as_ref(), &current))
}

/// Shows the incident again with the refusal on top.
fn incident_refused(app: &App, person: &Person, id: IncidentId, fault: &Fault, reason: &str) -> Response {
    let now = app.ledger.now();
    let view = {
        let state = app.ledger.state();
        state.incidents.get(&id).map(|incident| views::incident_view(&state, incident, now))
    };
    let Some(view) = view else {
        return missing(app, person, Place::Incidents, "There is no incident with this number.");
    };
    let title = format!("{} {}", view.summary.number, view.summary.title);
    let frame = Frame { notice: Some(refusal(fault)), ..frame(app, person, title, Place::Incidents) };
    show_as(fault.status(), &frame, incident::content(&frame, &view, reason))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonFields {
    #[serde(default)]
    reason: String,
}

impl ReasonFields {
    /// Returns the reason, bounded like that of a decision.
    fn checked(&self) -> Result<String, Fault> {
        let reason = self.reason.trim();
        if reason.is_empty() {
            return Err(Fault::invalid("a reason is needed; whoever comes after will want to know it"));
        }
        if reason.len() > more::REASON_MAX {
            return Err(Fault::invalid(format!("the reason has more than {} bytes", more::REASON_MAX)));
        }
        Ok(reason.to_owned())
    }
}

pub async fn close(
    State(app): State<App>,
    person: Person,
    Path(id): Path<IncidentId>,
    Fields(fields): Fields<ReasonFields>,
) -> Response {
    let outcome = match fields.checked() {
        Ok(reason) => {
            let command = Command::Close { incident: id, by: person.name.clone(), reason };
            app.ledger.decide(command).await.map_err(Fault::from)
        }
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(_) => on_to(&format!("/incidents/{}?did=closed", id.0)),
        Err(fault) => incident_refused(&app, &person, id, &fault, ""),
    }
}

/// Asks the host what the plan would change; the answer stands beside the plan, or comes there when it is late.
pub async fn dry_run(State(app): State<App>, person: Person, Path(id): Path<IncidentId>) -> Response {
    match ask_and_wait(&app, id, person.name.clone()).await {
        Ok(()) => on_to(&format!("/incidents/{}", id.0)),
        Err(fault) => incident_refused(&app, &person, id, &fault, ""),
    }
}

pub async fn cancel(State(app): State<App>, person: Person, Path(run): Path<Digest>) -> Response {
    match app.ledger.decide(Command::Cancel { run, by: person.name.clone() }).await {
        Ok(_) => on_to(&format!("/runs/{run}?did=cancelled")),
        Err(failed) => {
            let fault = Fault::from(failed);
            let view = app.ledger.state().runs.get(&run).map(|known| views::run_view(&run, known));
            let Some(view) = view else {
                return missing(&app, &person, Place::Runs, "There is no run of this plan.");
            };
            let frame = Frame {
                notice: Some(refusal(&fault)),
                ..frame(&app, &person, format!("Run {}", run.short()), Place::Runs)
            };
            show_as(fault.status(), &frame, super::run::content(&frame, &view))
        }
    }
}

pub async fn stop(State(app): State<App>, person: Person, Fields(fields): Fields<ReasonFields>) -> Response {
    switch(&app, &person, &fields, "stopped", |by, reason| Command::Stop { by, reason }).await
}

pub async fn resume(
    State(app): State<App>,
    person: Person,
    Fields(fields): Fields<ReasonFields>,
) -> Response {
    switch(&app, &person, &fields, "resumed", |by, reason| Command::Resume { by, reason }).await
}

async fn switch(
    app: &App,
    person: &Person,
    fields: &ReasonFields,
    did: &str,
    command: fn(sopwith_domain::ids::AccountName, String) -> Command,
) -> Response {
    let outcome = match fields.checked() {
        Ok(reason) => app.ledger.decide(command(person.name.clone(), reason)).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(_) => on_to(&format!("/automation?did={did}")),
        Err(fault) => {
            let frame =
                Frame { notice: Some(refusal(&fault)), ..frame(app, person, "Automation", Place::More) };
            show_as(fault.status(), &frame, more::automation(&frame, &fields.reason))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinFields {
    host: String,
}

pub async fn join_token(
    State(app): State<App>,
    person: Person,
    Fields(fields): Fields<JoinFields>,
) -> Response {
    let name = Some(fields.host.trim()).filter(|name| !name.is_empty());
    let made = match name.map(HostId::new).transpose() {
        Ok(host) => make_token(&app, &person.name, host, HOUR_MS).await.map_err(Fault::from),
        Err(invalid) => Err(Fault::invalid(invalid.to_string())),
    };
    match made {
        Ok(made) => hosts_again(&app, &person, Ok(&app.join_line(&made.token, made.expires_at))).await,
        Err(fault) => hosts_again(&app, &person, Err(&fault)).await,
    }
}

/// Shows the hosts with a token that was made, or with what was refused.
async fn hosts_again(app: &App, person: &Person, outcome: Result<&JoinToken, &Fault>) -> Response {
    let frame = frame(app, person, "Hosts", Place::Hosts);
    let waiting = match super::reading::waiting_tokens(app, &frame).await {
        Ok(waiting) => waiting,
        Err(error) => return super::fault(&error.into()),
    };
    let all = super::reading::host_views(app);
    match outcome {
        Ok(token) => show(&frame, hosts::content(&frame, &all, Some(token), &waiting)),
        Err(fault) => {
            let frame = Frame { notice: Some(refusal(fault)), ..frame };
            show_as(fault.status(), &frame, hosts::content(&frame, &all, None, &waiting))
        }
    }
}

pub async fn take_back(State(app): State<App>, person: Person, Path(id): Path<String>) -> Response {
    match take_token_back(&app, &person.name, &id).await {
        Ok(()) => on_to("/hosts?did=taken-back"),
        Err(failed) => hosts_again(&app, &person, Err(&failed.into())).await,
    }
}

pub async fn revoke(State(app): State<App>, person: Person, Path(host): Path<HostId>) -> Response {
    match app.ledger.decide(Command::Revoke { host, by: person.name.clone() }).await {
        Ok(_) => on_to("/hosts?did=revoked"),
        Err(failed) => hosts_again(&app, &person, Err(&failed.into())).await,
    }
}
