//! Asking a host what a plan would change, and what it answered.

use super::incidents::{incident_id, unknown};
use crate::app::App;
use crate::auth::Person;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::dry_run_view;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use sopwith_domain::command::Command;
use sopwith_domain::ids::{AccountName, IncidentId};
use sopwith_domain::people::Role;
use sopwith_protocol::api::DryRunView;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is waited for before the question alone is shown; it goes on waiting at the host.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::POST, "/api/v1/incidents/{id}/dry-run", Need::Role(Role::Operator), ask)
            .about("Asks the host what the incident's plan would change, and waits a while for its answer")
            .gives("DryRunView"),
        Route::api(Method::GET, "/api/v1/incidents/{id}/dry-run", Need::Role(Role::Viewer), show)
            .about("Returns the latest dry run of the incident's plan")
            .gives("DryRunView"),
    ]
}

async fn ask(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Json<DryRunView>, Fault> {
    let id = incident_id(&id)?;
    ask_and_wait(&app, id, person.name).await?;
    latest(&app, id).map(Json)
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DryRunView>, Fault> {
    latest(&app, incident_id(&id)?).map(Json)
}

fn latest(app: &App, id: IncidentId) -> Result<DryRunView, Fault> {
    let now = app.ledger.now();
    let state = app.ledger.state();
    let incident = state.incidents.get(&id).ok_or_else(|| unknown(id))?;
    let proposal = incident.proposal.as_ref();
    let view = proposal.and_then(|p| Some(dry_run_view(&p.plan, p.dry_run.as_ref()?, now)));
    view.ok_or_else(|| Fault::not_found(format!("nobody asked what the plan of {id} would change")))
}

/// Asks, the same for API and pages, and returns when the host has answered or [`ANSWER_WAIT`] is over.
///
/// # Errors
/// Returns why nothing was asked.
pub async fn ask_and_wait(app: &App, incident: IncidentId, by: AccountName) -> Result<(), Fault> {
    // Listens before it asks, so that an answer in between is not missed.
    let mut changes = app.ledger.news().changes();
    let until = Instant::now() + ANSWER_WAIT;
    app.ledger.decide(Command::AskDryRun { incident, by }).await?;
    let waits = || {
        let now = app.ledger.now();
        let state = app.ledger.state();
        let proposal = state.incidents.get(&incident).and_then(|i| i.proposal.as_ref());
        proposal.and_then(|p| p.dry_run.as_ref()).is_some_and(|dry_run| dry_run.waits(now))
    };
    while waits() {
        tokio::select! {
            _ = changes.recv() => {}
            () = tokio::time::sleep_until(until) => break,
            () = app.shutdown.cancelled() => break,
        }
    }
    Ok(())
}
