//! Hosts: list, revoking, tokens to join, and service discovery for Prometheus.

use super::{Wanted, page};
use crate::app::App;
use crate::auth::Person;
use crate::exchange::join::make_token;
use crate::input::Input;
use crate::ledger::inspections;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::{host_view, inspection_view};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use sopwith_domain::command::Command;
use sopwith_domain::ids::HostId;
use sopwith_domain::inspection::Day;
use sopwith_domain::people::Role;
use sopwith_domain::time::{HOUR_MS, SECOND_MS};
use sopwith_protocol::api::{HostView, InspectionView, JoinToken, JoinTokenBody, Page};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Longest life of a join token, in seconds.
const JOIN_TOKEN_S_MAX: u32 = 86_400;
/// How often Prometheus should ask for its targets, in seconds.
const REFRESH_S: &str = "30";

pub fn routes() -> Vec<Route> {
    let (viewer, admin) = (Need::Role(Role::Viewer), Need::Role(Role::Admin));
    vec![
        Route::api(Method::GET, "/api/v1/hosts", viewer, list)
            .about("Lists managed hosts by name")
            .gives("PageOfHostView"),
        Route::api(Method::POST, "/api/v1/hosts/{id}/revoke", admin, revoke)
            .about("Revokes a host: from its next request on it is refused")
            .gives("HostView"),
        Route::api(Method::GET, "/api/v1/hosts/{id}/inspection", viewer, inspection)
            .about("Returns what a host's checks said on a day, or on the newest day that it reported")
            .gives("InspectionView"),
        Route::api(Method::POST, "/api/v1/join-tokens", admin, join_token)
            .about("Makes a single-use token with which a machine can join")
            .takes("JoinTokenBody")
            .gives("JoinToken")
            .secret(),
        Route::api(Method::GET, "/api/v1/sd", viewer, discovery)
            .about("Lists the agents' metrics addresses in the form of Prometheus' http_sd"),
    ]
}

async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Json<Page<HostView>>, Fault> {
    let after = wanted.after::<HostId>()?.map_or(Bound::Unbounded, Bound::Excluded);
    let state = app.ledger.state();
    let hosts = state.hosts.range((after, Bound::Unbounded));
    let views = hosts.map(|(id, host)| host_view(&state, id, host, &app.presence.of(id)));
    Ok(Json(page(views, wanted.limit(), |view| view.host.clone())))
}

async fn revoke(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Json<HostView>, Fault> {
    let unknown = || Fault::not_found(format!("there is no host {id:.253}"));
    let host = HostId::new(id.clone()).map_err(|_| unknown())?;
    app.ledger.decide(Command::Revoke { host: host.clone(), by: person.name }).await?;
    let state = app.ledger.state();
    let known = state.hosts.get(&host).ok_or_else(unknown)?;
    Ok(Json(host_view(&state, &host, known, &app.presence.of(&host))))
}

/// Which day is wanted.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OfDay {
    date: Option<String>,
}

async fn inspection(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(of): Query<OfDay>,
) -> Result<Json<InspectionView>, Fault> {
    let host =
        HostId::new(id.clone()).map_err(|_| Fault::not_found(format!("there is no host {id:.253}")))?;
    let day = of.date.map(Day::new).transpose().map_err(|e| Fault::malformed(e.to_string()))?;
    let (known, wanted) = (host.clone(), day.clone());
    let (report, days) =
        app.readers.read(move |db| Ok(inspections::read(db, &known, wanted.as_ref())?)).await?;
    let report = report.ok_or_else(|| {
        let of = day.map_or_else(String::new, |day| format!(" of {day}"));
        Fault::not_found(format!("{host} has sent no inspection report{of}"))
    })?;
    Ok(Json(inspection_view(&host, &report, days)))
}

async fn join_token(
    State(app): State<App>,
    person: Person,
    Input(body): Input<JoinTokenBody>,
) -> Result<(StatusCode, Json<JoinToken>), Fault> {
    let host = body.host.map(HostId::new).transpose().map_err(|e| Fault::invalid(e.to_string()))?;
    let valid_ms = match body.valid_s {
        Some(s) if s == 0 || s > JOIN_TOKEN_S_MAX => {
            return Err(Fault::invalid(format!("valid_s is {s}, must be 1 to {JOIN_TOKEN_S_MAX}")));
        }
        Some(s) => i64::from(s) * SECOND_MS,
        None => HOUR_MS,
    };
    let made = make_token(&app, &person.name, host, valid_ms).await?;
    Ok((StatusCode::CREATED, Json(app.join_line(&made.token, made.expires_at))))
}

#[derive(serde::Serialize)]
struct Targets {
    targets: Vec<String>,
    labels: BTreeMap<&'static str, String>,
}

async fn discovery(State(app): State<App>) -> impl IntoResponse {
    let state = app.ledger.state();
    let live = |host: &HostId| state.hosts.get(host).is_some_and(|known| !known.revoked);
    let addresses = app.presence.metrics_addresses().into_iter().filter(|(host, _)| live(host));
    let targets: Vec<Targets> = addresses
        .map(|(host, address)| Targets {
            targets: vec![address.to_string()],
            labels: BTreeMap::from([("host", host.to_string()), ("__meta_sopwith_host", host.to_string())]),
        })
        .collect();
    ([("x-prometheus-refresh-interval-seconds", REFRESH_S)], Json(targets))
}
