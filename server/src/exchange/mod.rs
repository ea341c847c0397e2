//! The agents' door: join, and the one exchange by which a host tells what it has and gets what it is owed.
//! Intake is idempotent, answers follow the commit, and delivery repeats until the host has spoken of it.

pub mod identity;
mod intake;
pub mod join;
mod offer;
mod renew;

use crate::app::App;
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use identity::AgentHost;
use intake::Standing;
pub use offer::{Offer, Print};
use sopwith_domain::command::Refusal;
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::{
    BODY_BYTES_MAX, BeginEpoch, ExchangeRequest, ExchangeResponse, JournalHead, Lease, WAIT_MS_MAX,
};
use std::time::Duration;
use tokio::time::Instant;

/// An order or cancel that was told and not acknowledged is told again after this long, and no sooner.
const REPEAT: Duration = Duration::from_secs(1);
/// While automation is stopped an exchange is held no longer than this, so that a lost answer does not delay the
/// stop.
const STOPPED_WAIT: Duration = Duration::from_secs(4);
/// Largest body of a join, in bytes.
const JOIN_BYTES_MAX: usize = 32 * 1024;
/// Largest body of a renewal, in bytes.
const RENEW_BYTES_MAX: usize = 16 * 1024;

/// Returns the agents' rows of the route table.
pub fn routes() -> Vec<Route> {
    vec![
        Route::agent(Method::POST, "/agent/v1/exchange", Need::Agent, exchange)
            .body_max(BODY_BYTES_MAX)
            .about("Takes over what a host has, and gives it what it is owed"),
        Route::agent(Method::POST, "/agent/v1/renew", Need::Agent, renew::renew)
            .body_max(RENEW_BYTES_MAX)
            .about("Gives a host a new certificate for the key it has"),
        Route::agent(Method::POST, "/agent/v1/join", Need::Nobody, join::join)
            .body_max(JOIN_BYTES_MAX)
            .secret()
            .about("Makes a machine a managed host, for a single-use token"),
    ]
}

async fn exchange(
    State(app): State<App>,
    agent: AgentHost,
    Input(request): Input<ExchangeRequest>,
) -> Result<Json<ExchangeResponse>, Fault> {
    if request.host != agent.host {
        let detail = format!("the certificate is for {}, the request for {}", agent.host, request.host);
        return Err(Fault::forbidden(detail));
    }
    intake::check_bounds(&request)?;
    let arrived = app.ledger.now();
    app.presence.heard(&request, arrived);
    match intake::standing(&app, &request).await? {
        Standing::SetBack { begin } => {
            let reason = &begin.reason;
            tracing::warn!(host = %request.host, reason, "a host's memory seems to have been set back");
            app.metrics.rewinds.inc();
            begin_epoch(&app, &request, arrived, begin)
        }
        Standing::Sound { remember } => {
            let took = intake::take(&app, &request, remember).await?;
            intake::listen(&app, &request);
            let offer = wait(&app, &request, took).await;
            app.metrics.exchanges.inc();
            answer(&app, &request, arrived, offer)
        }
    }
}

/// Waits until there is something to say, but no longer than the host wants.
async fn wait(app: &App, request: &ExchangeRequest, took: bool) -> Offer {
    let began = Instant::now();
    let waiter = app.ledger.news().of_host(&request.host);
    loop {
        // Listens before it looks, so that nothing that happens in between is missed.
        let news = waiter.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let offer = Offer::of(&app.ledger.state(), request, app.ledger.now());
        let mut until = began + Duration::from_millis(request.wait_ms.min(WAIT_MS_MAX));
        match app.presence.told(&request.host, &offer) {
            None => return offer,
            Some(told_at) if offer.unacknowledged() => until = until.min(told_at + REPEAT),
            Some(_) => {}
        }
        if offer.stop.is_some() {
            until = until.min(began + STOPPED_WAIT);
        }
        let over = app.shutdown.is_cancelled() || through(app, &request.host, request.epoch).is_err();
        if took || over || Instant::now() >= until {
            return offer;
        }
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep_until(until) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}

/// `arrived` goes into the lease: the runner counts from its challenge, which is older, so that what it takes for
/// the server's time is never behind it.
fn answer(
    app: &App,
    request: &ExchangeRequest,
    arrived: Timestamp,
    offer: Offer,
) -> Result<Json<ExchangeResponse>, Fault> {
    let (items_through, records_through) = through(app, &request.host, request.epoch)?;
    app.presence.tell(&request.host, &offer);
    let orders = offer.orders.iter().map(|order| app.keys.seal(order));
    let orders = orders.collect::<Result<_, _>>().map_err(|e| Fault::internal(&e))?;
    let dry_runs = offer.dry_runs.iter().map(|question| app.keys.seal(question));
    let dry_runs = dry_runs.collect::<Result<_, _>>().map_err(|e| Fault::internal(&e))?;
    let lease = Lease {
        host: request.host.clone(),
        epoch: request.epoch,
        challenge: request.challenge.clone(),
        server_now: arrived,
        stop: offer.stop.clone(),
    };
    Ok(Json(ExchangeResponse {
        items_through,
        records_through,
        lease: app.keys.seal(&lease).map_err(|e| Fault::internal(&e))?,
        orders,
        cancels: offer.cancels,
        dry_runs,
        begin_epoch: None,
        server_head: head(app),
    }))
}

/// Returns what of this life of the host is durable here; a host that was revoked, or began anew, while it waited
/// is told so.
fn through(app: &App, host: &HostId, epoch: sopwith_domain::ids::Epoch) -> Result<(u64, u64), Fault> {
    let state = app.ledger.state();
    let known = state.hosts.get(host);
    let known = known.ok_or_else(|| crate::ledger::Failed::from(Refusal::UnknownHost(host.clone())))?;
    if known.revoked {
        return Err(crate::ledger::Failed::from(Refusal::HostRevoked(host.clone())).into());
    }
    if known.epoch != epoch {
        let refusal = Refusal::OtherEpoch { host: host.clone(), current: known.epoch };
        return Err(crate::ledger::Failed::from(refusal).into());
    }
    Ok((known.items_through, known.records_through))
}

/// Tells a host to begin anew. Nothing of what it sent is taken over, and it may start nothing meanwhile.
fn begin_epoch(
    app: &App,
    request: &ExchangeRequest,
    arrived: Timestamp,
    begin: BeginEpoch,
) -> Result<Json<ExchangeResponse>, Fault> {
    let lease = Lease {
        host: request.host.clone(),
        epoch: request.epoch,
        challenge: request.challenge.clone(),
        server_now: arrived,
        stop: Some(format!("{}; a new epoch must begin first", begin.reason)),
    };
    Ok(Json(ExchangeResponse {
        items_through: 0,
        records_through: 0,
        lease: app.keys.seal(&lease).map_err(|e| Fault::internal(&e))?,
        orders: Vec::new(),
        cancels: Vec::new(),
        dry_runs: Vec::new(),
        begin_epoch: Some(begin),
        server_head: head(app),
    }))
}

fn head(app: &App) -> JournalHead {
    let head = app.ledger.head();
    JournalHead { seq: head.seq, hash: Digest(head.hash.0) }
}

/// Says that a host sent what cannot be taken.
fn unacceptable(detail: String) -> Fault {
    Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "unacceptable-record", "That cannot be accepted", detail)
}
