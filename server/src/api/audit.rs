//! The journal as it is, for whoever audits: a page of it, or all of it as JSON Lines that verify offline.

use super::Wanted;
use crate::app::App;
use crate::ledger::STREAM;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use sopwith_domain::ids::Digest;
use sopwith_domain::people::Role;
use sopwith_domain::time::Timestamp;
use sopwith_journal::{Entry, sqlite::read_in};
use sopwith_protocol::api::{AuditEntry, Page};
use tokio_stream::wrappers::ReceiverStream;

/// Entries read at once for an export, and chunks of them that wait for a slow reader.
const EXPORT_ENTRIES: usize = 256;
const EXPORT_CHUNKS: usize = 4;

pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::GET, "/api/v1/audit", Need::Role(Role::Viewer), list)
            .about("Returns journal entries in order, from after= on")
            .gives("PageOfAuditEntry"),
        Route::api(Method::GET, "/api/v1/audit/export", Need::Role(Role::Admin), export)
            .about("Returns the whole journal as JSON Lines of AuditEntry"),
    ]
}

/// Returns a journal entry as the API and exports show it.
pub fn audit_entry(entry: &Entry) -> AuditEntry {
    AuditEntry {
        seq: entry.seq,
        at: Timestamp(entry.at_ms).to_string(),
        at_ms: entry.at_ms,
        prev: Digest(entry.prev.0),
        hash: Digest(entry.hash.0),
        body: String::from_utf8_lossy(&entry.body).into_owned(),
        left_out: false,
    }
}

/// Returns a journal entry as everybody may see it who may sign in: without what a step captured of its host.
fn shown_entry(entry: &Entry) -> AuditEntry {
    let whole = audit_entry(entry);
    let mut body: serde_json::Value = serde_json::from_str(&whole.body).unwrap_or_default();
    match body.pointer_mut("/record/what/prior").filter(|prior| !prior.is_null()) {
        None => whole,
        Some(prior) => {
            *prior = serde_json::Value::Null;
            AuditEntry { body: body.to_string(), left_out: true, ..whole }
        }
    }
}

async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Json<Page<AuditEntry>>, Fault> {
    let after = wanted.after::<u64>()?.unwrap_or(0);
    let limit = wanted.limit();
    let mut entries = app.readers.read(move |db| Ok(read_in(db, STREAM, after, limit + 1)?)).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.seq.to_string());
    Ok(Json(Page { items: entries.iter().map(shown_entry).collect(), next }))
}

async fn export(State(app): State<App>) -> Response {
    let (lines, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(EXPORT_CHUNKS);
    tokio::spawn(async move {
        let through = app.ledger.head().seq;
        let mut after = 0;
        while after < through {
            let chunk = app.readers.read(move |db| Ok(read_in(db, STREAM, after, EXPORT_ENTRIES)?)).await;
            let chunk = match chunk {
                Ok(entries) => {
                    after = entries.last().map_or(through, |entry| entry.seq);
                    Ok(entries.iter().flat_map(line).collect())
                }
                Err(error) => {
                    after = through;
                    Err(std::io::Error::other(error.to_string()))
                }
            };
            if lines.send(chunk).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let kind = [
        (header::CONTENT_TYPE, "application/jsonl"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"sopwith-audit.jsonl\""),
    ];
    (kind, body).into_response()
}

/// Writes one line of an export.
pub fn line(entry: &Entry) -> Vec<u8> {
    let mut line = serde_json::to_vec(&audit_entry(entry)).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_captured_of_a_host_is_not_for_everybody() {
        for (body, shown) in [
            (r#"{"event":"host_silent","host":"web-1"}"#, None),
            (r#"{"event":"run_reported","record":{"what":{"prior":null}}}"#, None),
            (
                r#"{"event":"run_reported","record":{"what":{"prior":{"bytes":"c2VjcmV0"},"step":0}}}"#,
                Some(r#"{"event":"run_reported","record":{"what":{"prior":null,"step":0}}}"#),
            ),
        ] {
            let hash = sopwith_journal::Digest([1; 32]);
            let entry = Entry { seq: 1, at_ms: 2, prev: hash, hash, body: body.as_bytes().to_vec() };
            let listed = shown_entry(&entry);
            assert_eq!((listed.body.as_str(), listed.left_out), (shown.unwrap_or(body), shown.is_some()));
            assert_eq!(audit_entry(&entry).body, body, "an export has everything");
        }
    }
}
