//! Stands before every route: says who asks, refuses whoever may not, bounds the body, and answers a repeated
//! request with what it was answered before.

use crate::app::App;
use crate::auth::{Person, identify};
use crate::exchange::identity::{AgentHost, PeerCertificate};
use crate::idempotency;
use crate::input::BodyLimit;
use crate::problem::Fault;
use crate::routes::{Face, Need};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

/// What the guard of one route knows of it.
#[derive(Clone)]
pub struct Guard {
    pub app: App,
    pub need: Need,
    pub face: Face,
    pub body_bytes_max: usize,
    pub secret: bool,
}

/// Lets a request through to its handler, or answers it.
pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(BodyLimit(guard.body_bytes_max));
    if let Err(fault) = admit(&guard, &mut request).await {
        return turned_away(&guard, &request, fault);
    }
    let html = guard.face == Face::Page && wants_html(request.headers());
    let person = request.extensions().get::<Person>().cloned();
    let key = idempotency::key(request.headers());
    let response = match (person, key) {
        (Some(person), Some(key)) if guard.face == Face::Api && request.method() == Method::POST => {
            idempotency::once(&guard, &person, &key, request, next).await
        }
        _ => next.run(request).await,
    };
    as_a_problem(response, html).await
}

/// Longest text of a refusal that is passed on, in bytes.
const REFUSAL_BYTES_MAX: usize = 4 * 1024;

/// Passes an answer on; a refusal that the framework made of a path or a query, in plain text, gets the shape that
/// all refusals have here.
async fn as_a_problem(response: Response, html: bool) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !status.is_client_error() || kind.is_some_and(|kind| !kind.starts_with("text/plain")) {
        return response;
    }
    let text = to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let fault = match String::from_utf8_lossy(&text).trim() {
        "" if status == StatusCode::NOT_FOUND => Fault::not_found("there is nothing at this address"),
        text => Fault::new(status, "malformed", "The request cannot be understood", text),
    };
    if html { crate::pages::fault(&fault) } else { fault.into_response() }
}

async fn admit(guard: &Guard, request: &mut Request) -> Result<(), Fault> {
    match guard.need {
        Need::Nobody => {
            // Who comes with a session is known, so that the log-in page can send him on; no session is no fault.
            if let Some(person) = identify(&guard.app, request.headers()).await? {
                request.extensions_mut().insert(person);
            }
            Ok(())
        }
        Need::Agent => {
            let certificate = request.extensions().get::<PeerCertificate>().cloned();
            let certificate = certificate.unwrap_or_default();
            let host: AgentHost = certificate.authenticate(&guard.app).await?;
            request.extensions_mut().insert(host);
            Ok(())
        }
        Need::Role(needed) => {
            let person = identify(&guard.app, request.headers()).await?.ok_or_else(Fault::unauthenticated)?;
            if person.role < needed {
                let detail = format!("{} is {}; this takes {needed}", person.name, person.role);
                return Err(Fault::new(
                    StatusCode::FORBIDDEN,
                    "role-too-low",
                    "This is not permitted",
                    detail,
                ));
            }
            request.extensions_mut().insert(person);
            Ok(())
        }
    }
}

/// Sends people to where they can log in; programs get the problem.
fn turned_away(guard: &Guard, request: &Request, fault: Fault) -> Response {
    if guard.face == Face::Page && fault.status() == StatusCode::UNAUTHORIZED {
        let back = match (request.method(), request.uri().path_and_query()) {
            (&Method::GET, Some(path)) => path.as_str(),
            _ => "/",
        };
        return Redirect::to(&format!("/login?next={}", percent(back))).into_response();
    }
    if guard.face == Face::Page && wants_html(request.headers()) {
        return crate::pages::fault(&fault);
    }
    fault.into_response()
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"))
}

/// Writes a text so that it can stand in a query.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                char::from(b).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_way_back_is_escaped() {
        assert_eq!(super::percent("/incidents/7?x=a&b"), "/incidents/7%3Fx%3Da%26b");
    }
}
