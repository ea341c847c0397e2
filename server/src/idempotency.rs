//! A POST that comes twice with one `Idempotency-Key` is done once: the first answer is kept for a day and given
//! again. Answers that hold a secret are not kept; their repeat is told that it was done.

use crate::auth::{Person, secret};
use crate::guard::Guard;
use crate::input;
use crate::ledger::{Failed, RowsFailed};
use crate::problem::Fault;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rusqlite::{OptionalExtension, params};
use sopwith_domain::time::DAY_MS;

/// Longest key.
const KEY_BYTES_MAX: usize = 128;
/// Longest answer that is kept, in bytes; a longer one is told like a secret one.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an answer is kept, in milliseconds.
pub const KEPT_MS: i64 = DAY_MS;

/// Returns the request's key, if it carries a usable one.
pub fn key(headers: &HeaderMap) -> Option<String> {
    let key = headers.get("idempotency-key")?.to_str().ok()?;
    (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then(|| key.to_owned())
}

/// Does the request, unless it was done before.
pub async fn once(guard: &Guard, person: &Person, key: &str, request: Request, next: Next) -> Response {
    match attempt(guard, person, key, request, next).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    }
}

async fn attempt(
    guard: &Guard,
    person: &Person,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let bytes = input::read(body, guard.body_bytes_max).await?;
    let print = secret::digest_parts(&[
        parts.method.as_str().as_bytes(),
        parts.uri.to_string().as_bytes(),
        parts.headers.get(header::IF_MATCH).map_or(b"".as_slice(), HeaderValue::as_bytes),
        &bytes,
    ]);
    let name = person.name.to_string();
    match claim(guard, &name, key, print).await? {
        Claim::Answered(status, answer) => return Ok(again(status, answer)),
        Claim::Running => {
            let detail = "a request with this key is being answered";
            return Err(Fault::new(StatusCode::CONFLICT, "idempotency-key-busy", "Not twice", detail));
        }
        Claim::Ours => {}
    }
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    keep(guard, name, key.to_owned(), response).await
}

/// A row: the request's hash, the answer's status and body, and when it was claimed.
type Kept = (Vec<u8>, Option<u16>, Option<Vec<u8>>, i64);

enum Claim {
    Ours,
    Running,
    Answered(u16, Option<Vec<u8>>),
}

/// Takes the key for this request, or tells what became of the one that has it. A claim from before this server
/// started is nobody's: whoever made it died before he could answer.
async fn claim(guard: &Guard, name: &str, key: &str, print: [u8; 32]) -> Result<Claim, Fault> {
    let (send, receive) = std::sync::mpsc::channel();
    let (name, key) = (name.to_owned(), key.to_owned());
    let started_at = guard.app.started_at;
    let rows = move |tx: &rusqlite::Transaction<'_>, now: sopwith_domain::time::Timestamp| {
        tx.execute("DELETE FROM idempotency WHERE created_at < ?1", [now.0 - KEPT_MS])?;
        let known: Option<Kept> = tx
            .query_row(
                "SELECT request, status, answer, created_at FROM idempotency WHERE name = ?1 AND key = ?2",
                params![name, key],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .optional()?;
        let claim = match known {
            Some((request, ..)) if request != print => {
                return Err(RowsFailed::turned_away(
                    "idempotency-key-reused",
                    "this Idempotency-Key came with another request before; make a new one",
                ));
            }
            Some((_, Some(status), answer, _)) => Claim::Answered(status, answer),
            Some((.., created_at)) if created_at >= started_at.0 => Claim::Running,
            _ => {
                tx.execute(
                    "INSERT OR REPLACE INTO idempotency VALUES (?1, ?2, ?3, NULL, NULL, ?4)",
                    params![name, key, print, now.0],
                )?;
                Claim::Ours
            }
        };
        // The receiver waits until the commit and cannot be gone.
        let _ = send.send(claim);
        Ok(())
    };
    guard.app.ledger.change(Box::new(rows)).await?;
    receive.try_recv().map_err(|error| Fault::internal(&error))
}

/// Remembers the answer; a server's own failure is not remembered, so that a retry can succeed.
async fn keep(guard: &Guard, name: String, key: String, response: Response) -> Result<Response, Fault> {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(|e| Fault::internal(&e))?;
    let kept = (!guard.secret && bytes.len() <= ANSWER_BYTES_MAX).then(|| bytes.to_vec());
    let forget = parts.status.is_server_error();
    let rows = move |tx: &rusqlite::Transaction<'_>, _| {
        if forget {
            tx.execute("DELETE FROM idempotency WHERE name = ?1 AND key = ?2", params![name, key])?;
        } else {
            tx.execute(
                "UPDATE idempotency SET status = ?3, answer = ?4 WHERE name = ?1 AND key = ?2",
                params![name, key, status, kept],
            )?;
        }
        Ok(())
    };
    match guard.app.ledger.change(Box::new(rows)).await {
        Ok(()) | Err(Failed::Down) => Ok(Response::from_parts(parts, Body::from(bytes))),
        Err(other) => Err(other.into()),
    }
}

fn again(status: u16, answer: Option<Vec<u8>>) -> Response {
    let Some(answer) = answer else {
        let detail = "it was done before with this key; the answer is shown once only";
        return Fault::new(StatusCode::CONFLICT, "already-done", "It is done already", detail)
            .into_response();
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, answer).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
