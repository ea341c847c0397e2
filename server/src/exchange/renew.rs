//! A host's certificate ends after a while, and is renewed by the host itself: for the same key, and only while the host
//! may speak at all. A new key takes a join.

use super::identity::AgentHost;
use crate::app::App;
use crate::input::Input;
use crate::ledger::{Rows, RowsFailed};
use crate::problem::Fault;
use axum::Json;
use axum::extract::State;
use rusqlite::params;
use sopwith_protocol::exchange::{RenewRequest, RenewResponse};
use time::OffsetDateTime;

pub async fn renew(
    State(app): State<App>,
    agent: AgentHost,
    Input(request): Input<RenewRequest>,
) -> Result<Json<RenewResponse>, Fault> {
    let certificate = app
        .keys
        .certify(&request.csr_pem, &agent.host, OffsetDateTime::now_utc())
        .map_err(|error| Fault::malformed(error.to_string()))?;
    let (host, key, not_after_ms) =
        (agent.host.to_string(), certificate.key_digest, certificate.not_after_ms);
    let rows: Rows = Box::new(move |tx, _| {
        let same = tx.execute(
            "UPDATE host_keys SET not_after = ?3 WHERE host = ?1 AND key_digest = ?2",
            params![host, key, not_after_ms],
        )?;
        match same {
            0 => Err(RowsFailed::turned_away(
                "other-key",
                format!(
                    "a certificate is renewed for the key that {host} has joined with; a new key takes a join"
                ),
            )),
            _ => Ok(()),
        }
    });
    app.ledger.change(rows).await?;
    tracing::info!(host = %agent.host, "a host's certificate was renewed");
    Ok(Json(RenewResponse { certificate_pem: certificate.pem }))
}
