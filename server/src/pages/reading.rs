//! Handlers of the pages that only show. Each takes a view of the state, briefly, and renders it.

use super::answer::{Did, frame, missing, show};
use super::frame::{Frame, Place};
use super::{
    approvals, audit, hosts, incident, incidents, inspection, more, overview, policy, run, runs, sops,
};
use crate::app::App;
use crate::auth::Person;
use crate::exchange::join::{WaitingToken, waiting};
use crate::ledger::{STREAM, inspections, policies};
use crate::readers::ReadFailed;
use crate::views;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use sopwith_domain::ids::{Digest, HostId, IncidentId, PlaybookId};
use sopwith_domain::inspection::Day;
use sopwith_domain::people::Role;
use sopwith_journal::sqlite::read_in;

pub async fn overview_page(State(app): State<App>, person: Person) -> Response {
    let mut frame = frame(&app, &person, "Overview", Place::Overview);
    frame.live = Some("all".into());
    let view = views::overview(&app.ledger.state(), frame.now);
    show(&frame, overview::content(&frame, &view))
}

pub async fn incidents_page(
    State(app): State<App>,
    person: Person,
    Query(query): Query<incidents::Query>,
) -> Response {
    let named = query.q.trim().to_uppercase();
    if let (true, Ok(id)) = (named.starts_with("INC-"), named.parse::<IncidentId>())
        && app.ledger.state().incidents.contains_key(&id)
    {
        return super::answer::on_to(&format!("/incidents/{}", id.0));
    }
    let mut frame = frame(&app, &person, "Incidents", Place::Incidents);
    frame.live = query.after.is_none().then(|| "all".into());
    let list = incidents::select(&app.ledger.state(), &query);
    show(&frame, incidents::content(&frame, &query, &list))
}

pub async fn incident_page(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Query(did): Query<Did>,
) -> Response {
    let now = app.ledger.now();
    let view = id.parse::<IncidentId>().ok().and_then(|id| {
        let state = app.ledger.state();
        Some(app.live.join_all(views::incident_view(&state, state.incidents.get(&id)?, now)))
    });
    let Some(view) = view else {
        return missing(&app, &person, Place::Incidents, "There is no incident with this number.");
    };
    let title = format!("{} {}", view.summary.number, view.summary.title);
    let mut frame = frame(&app, &person, title, Place::Incidents);
    frame.notice = did.notice();
    frame.live = Some(format!("incident:{}", view.summary.id.0));
    show(&frame, incident::content(&frame, &view, ""))
}

pub async fn approvals_page(State(app): State<App>, person: Person, Query(did): Query<Did>) -> Response {
    let mut frame = frame(&app, &person, "Approvals", Place::Approvals);
    frame.notice = did.notice();
    frame.live = Some("all".into());
    let (waiting, more) = approvals::select(&app.ledger.state(), frame.now);
    show(&frame, approvals::content(&frame, &waiting, more))
}

pub async fn runs_page(State(app): State<App>, person: Person, Query(query): Query<runs::Query>) -> Response {
    let mut frame = frame(&app, &person, "Runs", Place::Runs);
    frame.live = (query.page == 0).then(|| "all".into());
    let list = runs::select(&app.ledger.state(), query.page);
    show(&frame, runs::content(&frame, &list))
}

pub async fn run_page(
    State(app): State<App>,
    person: Person,
    Path(digest): Path<String>,
    Query(did): Query<Did>,
) -> Response {
    let view = digest.parse::<Digest>().ok().and_then(|digest| {
        let state = app.ledger.state();
        Some(app.live.join(views::run_view(&digest, state.runs.get(&digest)?)))
    });
    let Some(view) = view else {
        return missing(&app, &person, Place::Runs, "There is no run of this plan.");
    };
    let mut frame = frame(&app, &person, format!("Run {}", view.run.short()), Place::Runs);
    frame.notice = did.notice();
    frame.live = Some(format!("run:{}", view.run));
    show(&frame, run::content(&frame, &view))
}

pub async fn sops_page(State(app): State<App>, person: Person) -> Response {
    let frame = frame(&app, &person, "SOPs", Place::Sops);
    let entries = sops::select(&app.ledger.state());
    show(&frame, sops::library(&entries))
}

pub async fn sop_page(State(app): State<App>, person: Person, Path(id): Path<String>) -> Response {
    let found = PlaybookId::new(id).ok().and_then(|id| {
        let state = app.ledger.state();
        let installed = state.playbooks.get(&id)?.clone();
        let trust = views::trust_views(&state, &installed);
        Some((installed, views::sop_record(&state, &id), state.policy().clone(), trust))
    });
    let Some((installed, record, policy, trust)) = found else {
        return missing(&app, &person, Place::Sops, "No SOP of this name is installed.");
    };
    let frame = frame(&app, &person, installed.playbook.title.clone(), Place::Sops);
    show(&frame, sops::document(&frame, &installed, &record, &policy, &trust))
}

pub async fn hosts_page(State(app): State<App>, person: Person, Query(did): Query<Did>) -> Response {
    let mut frame = frame(&app, &person, "Hosts", Place::Hosts);
    frame.notice = did.notice();
    let waiting = match waiting_tokens(&app, &frame).await {
        Ok(waiting) => waiting,
        Err(error) => return super::fault(&error.into()),
    };
    frame.live = Some("all".into());
    show(&frame, hosts::content(&frame, &host_views(&app), None, &waiting))
}

/// Returns the join tokens that can still be used, to whoever may make some.
pub async fn waiting_tokens(app: &App, frame: &Frame) -> Result<Vec<WaitingToken>, ReadFailed> {
    if !frame.may(Role::Admin) {
        return Ok(Vec::new());
    }
    let now = frame.now;
    app.readers.read(move |db| waiting(db, now)).await
}

pub async fn inspection_page(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<inspection::Query>,
) -> Result<Response, Response> {
    let known = HostId::new(id).ok().filter(|id| app.ledger.state().hosts.contains_key(id));
    let Some(host) = known else {
        return Ok(missing(&app, &person, Place::Hosts, "There is no host of this name."));
    };
    // What is no day is a day of which there is no report.
    let day = query.date.as_deref().map(Day::new).and_then(Result::ok);
    let asked_for = (host.clone(), day.clone());
    let read =
        app.readers.read(move |db| Ok(inspections::read(db, &asked_for.0, asked_for.1.as_ref())?)).await;
    let (report, days) = read.map_err(|error| super::fault(&error.into()))?;
    let frame = frame(&app, &person, format!("Inspection of {host}"), Place::Hosts);
    let Some(report) = report else {
        let content =
            inspection::none(host.as_str(), day.as_ref().map(Day::as_str), days.first().map(String::as_str));
        return Ok(show(&frame, content));
    };
    Ok(show(&frame, inspection::content(&frame, &views::inspection_view(&host, &report, days))))
}

/// Returns all hosts by name.
pub fn host_views(app: &App) -> Vec<sopwith_protocol::api::HostView> {
    let state = app.ledger.state();
    state.hosts.iter().map(|(id, host)| views::host_view(&state, id, host, &app.presence.of(id))).collect()
}

pub async fn audit_page(
    State(app): State<App>,
    person: Person,
    Query(query): Query<audit::Query>,
) -> Result<Response, Response> {
    let (first, last) = audit::range(query, app.ledger.head().seq);
    let limit = usize::try_from(last.saturating_sub(first - 1)).unwrap_or(0);
    let read = app.readers.read(move |db| Ok(read_in(db, STREAM, first - 1, limit)?)).await;
    let entries = read.map_err(|error| super::fault(&error.into()))?;
    let entries: Vec<_> = entries.iter().map(crate::api::audit_entry).collect();
    let frame = frame(&app, &person, "Audit", Place::Audit);
    Ok(show(&frame, audit::content(&frame, &entries)))
}

pub async fn more_page(State(app): State<App>, person: Person) -> Response {
    let frame = frame(&app, &person, "More", Place::More);
    show(&frame, more::more(&frame))
}

pub async fn policy_page(State(app): State<App>, person: Person) -> Result<Response, Response> {
    let mut frame = frame(&app, &person, "Policy and budgets", Place::More);
    frame.live = Some("all".into());
    let history = app.readers.read(|db| Ok(policies::read(db)?)).await;
    let history = history.map_err(|error| super::fault(&error.into()))?;
    let view = policy::View::of(&app.ledger.state(), frame.now, history);
    Ok(show(&frame, policy::content(&frame, &view)))
}

pub async fn automation_page(State(app): State<App>, person: Person, Query(did): Query<Did>) -> Response {
    let mut frame = frame(&app, &person, "Automation", Place::More);
    frame.notice = did.notice();
    frame.live = Some("all".into());
    show(&frame, more::automation(&frame, ""))
}
