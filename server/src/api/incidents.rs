//! Incidents: list, one with all that is known of it, and closing by a person.

use super::{Wanted, page};
use crate::app::App;
use crate::auth::Person;
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::{incident_summary, incident_view};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use sopwith_domain::command::Command;
use sopwith_domain::ids::IncidentId;
use sopwith_domain::people::Role;
use sopwith_protocol::api::{IncidentSummary, IncidentView, Page, WithReason};

pub fn routes() -> Vec<Route> {
    let viewer = Need::Role(Role::Viewer);
    vec![
        Route::api(Method::GET, "/api/v1/incidents", viewer, list)
            .about("Lists incidents, newest first")
            .gives("PageOfIncidentSummary"),
        Route::api(Method::GET, "/api/v1/incidents/{id}", viewer, show)
            .about("Returns one incident; the ETag is its current plan's digest")
            .gives("IncidentView"),
        Route::api(Method::POST, "/api/v1/incidents/{id}/close", Need::Role(Role::Operator), close)
            .about("Closes an incident that is in a person's hands")
            .takes("WithReason")
            .gives("IncidentSummary"),
    ]
}

/// Reads `7` or `INC-7`.
pub(super) fn incident_id(text: &str) -> Result<IncidentId, Fault> {
    text.parse().map_err(|_| Fault::not_found(format!("there is no incident {text:.40}")))
}

pub(super) fn unknown(id: IncidentId) -> Fault {
    Fault::not_found(format!("there is no incident {id}"))
}

async fn list(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page<IncidentSummary>>, Fault> {
    let before = wanted.after::<u64>()?.map_or(u64::MAX, |id| id);
    let state = app.ledger.state();
    let found = state.incidents.range(..IncidentId(before)).rev().map(|(_, incident)| incident);
    let found = found.filter(|incident| wanted.open.is_none_or(|open| incident.open() == open));
    let summaries = found.map(|incident| incident_summary(&state, incident));
    Ok(Json(page(summaries, wanted.limit(), |summary| summary.id.0.to_string())))
}

async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<(HeaderMap, Json<IncidentView>), Fault> {
    let id = incident_id(&id)?;
    let now = app.ledger.now();
    let state = app.ledger.state();
    let incident = state.incidents.get(&id).ok_or_else(|| unknown(id))?;
    let view = app.live.join_all(incident_view(&state, incident, now));
    let mut headers = HeaderMap::new();
    if let Some(plan) = view.summary.plan
        && let Ok(etag) = HeaderValue::from_str(&format!("\"{plan}\""))
    {
        headers.insert(header::ETAG, etag);
    }
    Ok((headers, Json(view)))
}

async fn close(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Input(body): Input<WithReason>,
) -> Result<Json<IncidentSummary>, Fault> {
    let incident = incident_id(&id)?;
    app.ledger.decide(Command::Close { incident, by: person.name, reason: body.reason }).await?;
    let state = app.ledger.state();
    let closed = state.incidents.get(&incident).ok_or_else(|| unknown(incident))?;
    Ok(Json(incident_summary(&state, closed)))
}
