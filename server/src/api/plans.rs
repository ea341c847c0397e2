//! Plans: one with all that a decision needs, and the decision itself, which speaks of exactly the plan that was
//! read or is refused.

use crate::app::App;
use crate::auth::Person;
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::{plan_view, proposal_view};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sopwith_domain::approval::Vote;
use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::people::Role;
use sopwith_protocol::api::{DecisionBody, PlanView};

pub fn routes() -> Vec<Route> {
    let approver = Need::Role(Role::Approver);
    vec![
        Route::api(Method::GET, "/api/v1/plans/{digest}", Need::Role(Role::Viewer), show)
            .about("Returns a plan; its digest is the ETag")
            .gives("PlanView"),
        Route::api(Method::POST, "/api/v1/plans/{digest}/approve", approver, approve)
            .about("Approves a plan; If-Match names the digest that was read")
            .takes("DecisionBody")
            .gives("PlanView"),
        Route::api(Method::POST, "/api/v1/plans/{digest}/deny", approver, deny)
            .about("Denies a plan; If-Match names the digest that was read")
            .takes("DecisionBody"),
    ]
}

fn parse(digest: &str) -> Result<Digest, Fault> {
    digest.parse().map_err(|_| Fault::not_found(format!("there is no plan {digest:.80}")))
}

fn etag(digest: &Digest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("\"{digest}\"")) {
        headers.insert(header::ETAG, value);
    }
    headers
}

/// Returns the plan, whether it is current or was carried out once.
fn find(app: &App, digest: &Digest) -> Result<PlanView, Fault> {
    let now = app.ledger.now();
    let incident = app.ledger.index().incident_of(digest);
    let state = app.ledger.state();
    let incident = incident.and_then(|id| state.incidents.get(&id));
    let current = incident.and_then(|i| Some((i, i.proposal.as_ref()?)));
    if let Some((incident, proposal)) = current.filter(|(_, p)| p.plan.digest() == *digest) {
        return Ok(proposal_view(&state, incident, proposal, now));
    }
    let run = state.runs.get(digest).and_then(|run| run.plan.as_ref());
    match (run, incident) {
        (Some(plan), _) => Ok(plan_view(&state, plan)),
        (None, Some(incident)) => Err(Fault::new(
            StatusCode::GONE,
            "plan-gone",
            "This plan is void",
            format!("plan {} was proposed for {} and is void", digest.short(), incident.id),
        )),
        (None, None) => Err(Fault::not_found(format!("there is no plan {}", digest.short()))),
    }
}

async fn show(
    State(app): State<App>,
    Path(digest): Path<String>,
) -> Result<(HeaderMap, Json<PlanView>), Fault> {
    let digest = parse(&digest)?;
    Ok((etag(&digest), Json(find(&app, &digest)?)))
}

async fn approve(
    State(app): State<App>,
    person: Person,
    Path(digest): Path<String>,
    headers: HeaderMap,
    Input(body): Input<DecisionBody>,
) -> Result<(HeaderMap, Json<PlanView>), Fault> {
    let digest = parse(&digest)?;
    let read = read_before(&headers)?;
    let chosen = Chosen { plan: digest, read, vote: Vote::Approve };
    decide_on(&app, person, chosen, body).await?;
    Ok((etag(&digest), Json(find(&app, &digest)?)))
}

async fn deny(
    State(app): State<App>,
    person: Person,
    Path(digest): Path<String>,
    headers: HeaderMap,
    Input(body): Input<DecisionBody>,
) -> Result<StatusCode, Fault> {
    let chosen = Chosen { plan: parse(&digest)?, read: read_before(&headers)?, vote: Vote::Deny };
    decide_on(&app, person, chosen, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the digest of the plan that the person read, from `If-Match`.
fn read_before(headers: &HeaderMap) -> Result<Digest, Fault> {
    let missing = || {
        Fault::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if-match-required",
            "Say which plan you read",
            "a decision needs the header If-Match with the digest of the plan that was read, in quotes",
        )
    };
    let value = headers.get(header::IF_MATCH).and_then(|v| v.to_str().ok()).ok_or_else(missing)?;
    let digest = value.trim().strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    digest.and_then(|digest| digest.parse().ok()).ok_or_else(missing)
}

/// A decision on its way: which plan is meant, and which one was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chosen {
    pub plan: Digest,
    pub read: Digest,
    pub vote: Vote,
}

/// Takes a person's decision on a plan; the same for API and pages. Returns the incident it was about.
///
/// # Errors
/// Refuses a decision on a plan that has changed (412, with the current digest), and a signature that is not the
/// person's own.
pub async fn decide_on(
    app: &App,
    person: Person,
    chosen: Chosen,
    body: DecisionBody,
) -> Result<IncidentId, Fault> {
    let known = app.ledger.index().incident_of(&chosen.plan);
    let incident =
        known.ok_or_else(|| Fault::not_found(format!("there is no plan {}", chosen.plan.short())))?;
    if chosen.read != chosen.plan {
        let refusal = Refusal::PlanChanged { decided: chosen.read, current: chosen.plan };
        return Err(crate::ledger::Failed::from(refusal).into());
    }
    if let Some(signature) = &body.signature {
        let digest = chosen.plan.to_string();
        app.signers.verify_approval(&person.name, &digest, signature).map_err(|reason| {
            Fault::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad-signature",
                "The signature does not count",
                reason,
            )
        })?;
    }
    let command = Command::Decide {
        incident,
        plan: chosen.plan,
        by: person.name,
        vote: chosen.vote,
        reason: body.reason,
        signature: body.signature,
    };
    app.ledger.decide(command).await?;
    Ok(incident)
}
