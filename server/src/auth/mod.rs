//! Who a person is: by a session (cookie or bearer) or by an API token. What he may is his role in the journal's
//! state, looked at anew with each request, so that disabling him takes effect at once.

pub mod access;
pub mod accounts;
pub mod login;
pub mod one_time;
pub mod password;
pub mod secret;
pub mod session;
pub mod throttle;
pub mod token;

use crate::app::App;
use crate::problem::Fault;
use crate::readers::ReadFailed;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum_extra::extract::CookieJar;
use sopwith_domain::ids::AccountName;
use sopwith_domain::people::Role;

/// A person who was identified by the guard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    pub name: AccountName,
    pub role: Role,
    pub via: Via,
}

/// What a person was identified by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    /// A session, by the hash of its token.
    Session([u8; 32]),
    /// An API token, by its id.
    Token(String),
}

impl<S: Send + Sync> FromRequestParts<S> for Person {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Fault::unauthenticated)
    }
}

/// Returns the person whose credential the request carries, if it is valid and his account is active.
///
/// # Errors
/// Only when the database cannot be read.
pub async fn identify(app: &App, headers: &HeaderMap) -> Result<Option<Person>, ReadFailed> {
    let Some(credential) = credential(app, headers) else { return Ok(None) };
    let hash = secret::digest(&credential);
    let now = app.ledger.now();
    let found = app
        .readers
        .read(move |db| match session::find(db, &hash, now)? {
            Some(session) => Ok(Some((session.name.clone(), Via::Session(hash), Some(session)))),
            None => Ok(token::find(db, &hash, now)?.map(|(name, id)| (name, Via::Token(id), None))),
        })
        .await?;
    let Some((name, via, session)) = found else { return Ok(None) };
    let person = app.ledger.state().people.get(&name).filter(|p| !p.disabled).cloned();
    let Some(person) = person else { return Ok(None) };
    if let Some(session) = session {
        session::touch(app, hash, &session, now).await;
    }
    Ok(Some(Person { name, role: person.role, via }))
}

fn credential(app: &App, headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        return Some(token.trim().to_owned()).filter(|token| secret::plausible(token));
    }
    let cookie = CookieJar::from_headers(headers).get(app.cookie_name())?.value().to_owned();
    Some(cookie).filter(|token| secret::plausible(token))
}
