//! Handlers of the page about oneself: one's own password, sessions and tokens, and nobody else's.

use super::account::{self, TOKEN_DAYS};
use super::answer::{Did, Fields, frame, on_to, refusal, show, show_as};
use super::frame::{Frame, Place};
use crate::api::session_cookie;
use crate::app::App;
use crate::auth::login::prove;
use crate::auth::token::LABEL_BYTES_MAX;
use crate::auth::{Person, Via, access, accounts, session, token};
use crate::problem::Fault;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use serde::Deserialize;
use sopwith_domain::time::DAY_MS;
use sopwith_protocol::api::NewToken;
use std::net::SocketAddr;

pub async fn page(State(app): State<App>, person: Person, Query(did): Query<Did>) -> Response {
    let frame = Frame { notice: did.notice(), ..frame(&app, &person, "You", Place::More) };
    shown(&app, &person, frame, None, None).await
}

/// Shows what one has, with a token that was made or what was refused.
async fn shown(
    app: &App,
    person: &Person,
    frame: Frame,
    made: Option<&NewToken>,
    fault: Option<&Fault>,
) -> Response {
    let (name, now) = (person.name.clone(), frame.now);
    let this = match person.via {
        Via::Session(hash) => Some(hash),
        Via::Token(_) => None,
    };
    let access = match app.readers.read(move |db| access::of(db, &name, this, now)).await {
        Ok(access) => access,
        Err(error) => return super::fault(&error.into()),
    };
    let notice = fault.map(refusal).or(frame.notice.clone());
    let frame = Frame { notice, ..frame };
    let content = account::content(&frame, &access, made);
    match fault {
        None => show(&frame, content),
        Some(fault) => show_as(fault.status(), &frame, content),
    }
}

async fn done(app: &App, person: &Person, did: &str, outcome: Result<(), Fault>) -> Response {
    match outcome {
        Ok(()) => on_to(&format!("/account?did={did}")),
        Err(fault) => shown(app, person, frame(app, person, "You", Place::More), None, Some(&fault)).await,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTokenFields {
    label: String,
    days: u32,
}

pub async fn make_token(
    State(app): State<App>,
    person: Person,
    Fields(new): Fields<NewTokenFields>,
) -> Response {
    let label = new.label.trim().to_owned();
    let made = if label.is_empty() || label.len() > LABEL_BYTES_MAX {
        Err(Fault::invalid(format!("say what it is for, in at most {LABEL_BYTES_MAX} bytes")))
    } else if !TOKEN_DAYS.contains(&new.days) {
        Err(Fault::invalid(format!("{} days: choose one of those that are offered", new.days)))
    } else {
        let expires_at = app.ledger.now().plus(i64::from(new.days) * DAY_MS);
        let made = token::make(&app, &person.name, label, Some(expires_at)).await;
        made.map(|(id, token)| NewToken { id, token, expires_at: Some(expires_at.to_string()) })
            .map_err(Fault::from)
    };
    let frame = frame(&app, &person, "You", Place::More);
    match made {
        Ok(made) => shown(&app, &person, frame, Some(&made), None).await,
        Err(fault) => shown(&app, &person, frame, None, Some(&fault)).await,
    }
}

pub async fn revoke_token(State(app): State<App>, person: Person, Path(id): Path<String>) -> Response {
    let outcome = token::revoke(&app, &person.name, &id).await.map_err(Fault::from);
    done(&app, &person, "token-revoked", outcome).await
}

pub async fn end_session(State(app): State<App>, person: Person, Path(id): Path<String>) -> Response {
    let outcome = session::end_listed(&app, &person.name, &person.name, &id).await.map_err(Fault::from);
    done(&app, &person, "session-ended", outcome).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordFields {
    current: String,
    new: String,
}

/// Sets another password for whoever knows the one that he has, and goes on in a session of his own.
pub async fn password(
    State(app): State<App>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    person: Person,
    jar: CookieJar,
    Fields(fields): Fields<PasswordFields>,
) -> Response {
    let outcome = async {
        let Via::Session(_) = person.via else {
            return Err(Fault::forbidden("a token cannot change its owner's password: log in"));
        };
        prove(&app, from.ip(), person.name.as_str(), fields.current).await.map_err(|failed| {
            let fault = Fault::from(failed);
            match fault.code() {
                "wrong-login" => Fault::invalid("the password that you have is another one"),
                _ => fault,
            }
        })?;
        accounts::set_password(&app, person.name.clone(), person.name.clone(), fields.new).await?;
        Ok(session::begin(&app, &person.name, &format!("from {}, with a new password", from.ip())).await?)
    };
    match outcome.await {
        Ok(session) => {
            (jar.add(session_cookie(&app, session.token)), on_to("/account?did=password")).into_response()
        }
        Err(fault) => done(&app, &person, "", Err(fault)).await,
    }
}
