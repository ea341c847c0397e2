//! The standing policy: what may run without a person.

use super::playbooks::verified;
use crate::app::App;
use crate::auth::Person;
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use sopwith_domain::command::Command;
use sopwith_domain::order::SignedText;
use sopwith_domain::people::Role;
use sopwith_domain::policy::{POLICY_BYTES_MAX, Policy};
use sopwith_protocol::signature::POLICY_NAMESPACE;

pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::GET, "/api/v1/policy", Need::Role(Role::Viewer), show)
            .about("Returns the policy in force with its signature")
            .gives("SignedText"),
        Route::api(Method::PUT, "/api/v1/policy", Need::Role(Role::Admin), set)
            .about("Puts a signed policy in force")
            .takes("SignedText")
            .gives("SignedText")
            .body_max(3 * POLICY_BYTES_MAX),
    ]
}

async fn show(State(app): State<App>) -> Result<Json<SignedText>, Fault> {
    let state = app.ledger.state();
    let none = || Fault::not_found("no policy is in force: people decide everything");
    state.policy.as_ref().map(|in_force| Json(in_force.signed.clone())).ok_or_else(none)
}

async fn set(
    State(app): State<App>,
    person: Person,
    Input(signed): Input<SignedText>,
) -> Result<Json<SignedText>, Fault> {
    let signer = verified(&app, POLICY_NAMESPACE, &signed)?;
    let policy = Policy::parse(&signed.text).map_err(|finding| Fault::invalid(finding.to_string()))?;
    let known = app.ledger.state().policy.as_ref().map(|p| (p.policy.version, p.policy.digest));
    if let Some((version, digest)) = known
        && digest != policy.digest
        && version >= policy.version
    {
        return Err(Fault::invalid(format!(
            "policy version {version} is in force; a changed text needs a higher version"
        )));
    }
    app.ledger.decide(Command::SetPolicy { policy: signed, signer, by: person.name }).await?;
    show(State(app)).await
}
