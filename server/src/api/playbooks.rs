//! Playbooks: list, one with its signed text, installing and retiring.

use crate::app::App;
use crate::auth::Person;
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::playbook_view;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use sopwith_domain::command::Command;
use sopwith_domain::event::Event;
use sopwith_domain::ids::PlaybookId;
use sopwith_domain::order::SignedText;
use sopwith_domain::people::Role;
use sopwith_domain::playbook::{PLAYBOOK_BYTES_MAX, Playbook};
use sopwith_protocol::api::{Page, PlaybookView};
use sopwith_protocol::signature::PLAYBOOK_NAMESPACE;

pub fn routes() -> Vec<Route> {
    let (viewer, admin) = (Need::Role(Role::Viewer), Need::Role(Role::Admin));
    vec![
        Route::api(Method::GET, "/api/v1/playbooks", viewer, list)
            .about("Lists the playbooks in force")
            .gives("PageOfPlaybookView"),
        Route::api(Method::GET, "/api/v1/playbooks/{id}", viewer, show)
            .about("Returns one playbook with its signed text")
            .gives("PlaybookView"),
        Route::api(Method::POST, "/api/v1/playbooks", admin, install)
            .about("Installs a signed playbook")
            .takes("SignedText")
            .gives("PlaybookView")
            .body_max(3 * PLAYBOOK_BYTES_MAX),
        Route::api(Method::DELETE, "/api/v1/playbooks/{id}", admin, retire).about("Retires a playbook"),
    ]
}

fn parse(id: &str) -> Result<PlaybookId, Fault> {
    PlaybookId::new(id).map_err(|_| Fault::not_found(format!("there is no playbook {id:.64}")))
}

fn find(app: &App, id: &PlaybookId) -> Result<Json<PlaybookView>, Fault> {
    let state = app.ledger.state();
    let installed = state.playbooks.get(id);
    installed
        .map(|installed| Json(playbook_view(&state, installed)))
        .ok_or_else(|| Fault::not_found(format!("there is no playbook {id}")))
}

async fn list(State(app): State<App>) -> Json<Page<PlaybookView>> {
    let state = app.ledger.state();
    Json(Page { items: state.playbooks.values().map(|p| playbook_view(&state, p)).collect(), next: None })
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<PlaybookView>, Fault> {
    find(&app, &parse(&id)?)
}

async fn install(
    State(app): State<App>,
    person: Person,
    Input(signed): Input<SignedText>,
) -> Result<(StatusCode, Json<PlaybookView>), Fault> {
    let signer = verified(&app, PLAYBOOK_NAMESPACE, &signed)?;
    let playbook = Playbook::parse(&signed.text).map_err(|findings| {
        let mut fault = Fault::invalid("the playbook cannot be read");
        fault.problem.errors = findings.iter().map(ToString::to_string).collect();
        fault
    })?;
    let command = Command::InstallPlaybook { playbook: signed, signer, by: person.name };
    let events = app.ledger.decide(command).await?;
    let fresh = events.iter().any(|event| matches!(event, Event::PlaybookInstalled { .. }));
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, find(&app, &playbook.id)?))
}

/// Verifies a document's signature against the owners' signers.
pub(super) fn verified(app: &App, namespace: &str, signed: &SignedText) -> Result<String, Fault> {
    app.signers.verify(namespace, signed).map_err(|error| {
        Fault::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-signature",
            "The signature does not count",
            error.to_string(),
        )
        .help("Sign it with a key that stands in the server's allowed_signers: `sopwith playbook sign FILE`.")
    })
}

async fn retire(State(app): State<App>, person: Person, Path(id): Path<String>) -> Result<StatusCode, Fault> {
    let playbook = parse(&id)?;
    drop(find(&app, &playbook)?);
    app.ledger.decide(Command::RetirePlaybook { playbook, by: person.name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
