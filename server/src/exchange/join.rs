//! A machine becomes a managed host: a single-use token, the machine's own public key, a certificate for it.

use crate::app::App;
use crate::auth::secret;
use crate::input::Input;
use crate::ledger::{Failed, Rows, RowsFailed};
use crate::problem::Fault;
use crate::readers::ReadFailed;
use axum::Json;
use axum::extract::State;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sopwith_domain::command::Command;
use sopwith_domain::ids::{AccountName, HostId};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::{JoinRequest, JoinResponse};
use time::OffsetDateTime;

pub async fn join(
    State(app): State<App>,
    Input(request): Input<JoinRequest>,
) -> Result<Json<JoinResponse>, Fault> {
    if !secret::plausible(&request.token) {
        return Err(unknown_token().into_fault());
    }
    let certificate = app
        .keys
        .certify(&request.csr_pem, &request.host, OffsetDateTime::now_utc())
        .map_err(|error| Fault::malformed(error.to_string()))?;
    let rows = spend(&request, certificate.key_digest, certificate.not_after_ms);
    let enrol = Command::Enrol { host: request.host.clone(), epoch: request.epoch };
    app.ledger.decide_with(enrol, rows).await?;
    tracing::info!(host = %request.host, "a host joined");
    Ok(Json(JoinResponse {
        certificate_pem: certificate.pem,
        ca_pem: app.keys.ca_pem.clone(),
        server_key: app.keys.order_public().map_err(|e| Fault::internal(&e))?,
        allowed_signers: app.signers.text(),
    }))
}

fn unknown_token() -> RowsFailed {
    RowsFailed::turned_away(
        "token-unknown",
        "this join token is not known, was used, or has expired; ask for a new one",
    )
}

impl RowsFailed {
    fn into_fault(self) -> Fault {
        match self {
            Self::TurnedAway(reason) => Failed::TurnedAway(reason).into(),
            Self::Sql(error) => Fault::internal(&error),
        }
    }
}

/// Uses the token up and binds the host's name to its key, in the transaction of its enrolment. The same machine
/// asking again (its answer was lost) is answered again.
fn spend(request: &JoinRequest, key_digest: [u8; 32], not_after_ms: i64) -> Rows {
    let hash = secret::digest(&request.token);
    let (host, epoch) = (request.host.clone(), request.epoch.0.to_string());
    Box::new(move |tx, now| {
        let token: Option<(Option<String>, i64, Option<String>)> = tx
            .query_row(
                "SELECT host, expires_at, used_by FROM join_tokens WHERE hash = ?1",
                [hash.as_slice()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        let Some((bound_to, expires_at, used_by)) = token else { return Err(unknown_token()) };
        let known_key: Option<Vec<u8>> = tx
            .query_row("SELECT key_digest FROM host_keys WHERE host = ?1", [host.as_str()], |row| row.get(0))
            .optional()?;
        let again = used_by.as_deref() == Some(host.as_str()) && known_key.as_deref() == Some(&key_digest);
        if again {
            return Ok(());
        }
        if used_by.is_some() || expires_at <= now.0 {
            return Err(unknown_token());
        }
        check_name(tx, &host, bound_to.as_deref(), known_key.is_some(), &epoch)?;
        tx.execute(
            "UPDATE join_tokens SET used_at = ?2, used_by = ?3 WHERE hash = ?1",
            params![hash.as_slice(), now.0, host.as_str()],
        )?;
        let row = params![host.as_str(), key_digest, not_after_ms];
        tx.execute("INSERT OR REPLACE INTO host_keys VALUES (?1, ?2, ?3)", row)?;
        tx.execute("DELETE FROM host_heads WHERE host = ?1", [host.as_str()])?;
        Ok(())
    })
}

/// A name that is taken can be joined again only with a token made for it, and only as a new life of the host.
fn check_name(
    tx: &Transaction<'_>,
    host: &HostId,
    bound_to: Option<&str>,
    taken: bool,
    epoch: &str,
) -> Result<(), RowsFailed> {
    match bound_to {
        Some(name) if name != host.as_str() => {
            return Err(RowsFailed::turned_away(
                "token-other-host",
                format!("this token is for host {name}, not for {host}"),
            ));
        }
        None if taken => {
            return Err(RowsFailed::turned_away(
                "host-taken",
                format!("there is a host {host} already; to join it again ask for a token for that name"),
            ));
        }
        _ => {}
    }
    let lived = tx
        .prepare_cached("SELECT 1 FROM host_epochs WHERE host = ?1 AND epoch = ?2")?
        .exists(params![host.as_str(), epoch])?;
    if lived {
        return Err(RowsFailed::turned_away("epoch-used", "joining again takes a new epoch"));
    }
    Ok(())
}

/// A join token that was made, to be shown once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewJoinToken {
    pub token: String,
    pub expires_at: Timestamp,
}

/// Makes a join token, for one host name or for any new one.
///
/// # Errors
/// Returns the ledger's failure.
pub async fn make_token(
    app: &App,
    by: &AccountName,
    host: Option<HostId>,
    valid_ms: i64,
) -> Result<NewJoinToken, Failed> {
    let token = secret::make("spj");
    let hash = secret::digest(&token);
    let expires_at = app.ledger.now().plus(valid_ms);
    let whom = host.as_ref().map_or("any new host".to_owned(), |host| format!("host {host}"));
    let noted = Command::NoteAccess { by: by.clone(), what: format!("made a join token for {whom}") };
    let by = by.to_string();
    let rows = move |tx: &Transaction<'_>, now: Timestamp| {
        tx.execute("DELETE FROM join_tokens WHERE expires_at < ?1 AND used_at IS NULL", [now.0])?;
        tx.execute(
            "INSERT INTO join_tokens VALUES (?1, ?2, ?3, ?4, NULL, NULL)",
            params![hash.as_slice(), host.as_ref().map(HostId::as_str), by, expires_at.0],
        )?;
        Ok(())
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(NewJoinToken { token, expires_at })
}

/// A join token that can still be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingToken {
    /// The first digits of its hash.
    pub id: String,
    /// The host that it is for, where it is for one.
    pub host: Option<String>,
    pub by: String,
    pub expires_at: Timestamp,
}

/// Returns the join tokens that can still be used, those that end first first.
///
/// # Errors
/// Returns the database's failure.
pub fn waiting(db: &Connection, now: Timestamp) -> Result<Vec<WaitingToken>, ReadFailed> {
    let mut select = db.prepare_cached(
        "SELECT lower(hex(substr(hash, 1, 8))), host, created_by, expires_at FROM join_tokens
         WHERE used_at IS NULL AND expires_at > ?1 ORDER BY expires_at LIMIT 200",
    )?;
    let rows = select.query_map([now.0], |row| {
        Ok(WaitingToken {
            id: row.get(0)?,
            host: row.get(1)?,
            by: row.get(2)?,
            expires_at: Timestamp(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes a join token back that nobody has used, by the id under which it is listed.
///
/// # Errors
/// Turns away an id that is none.
pub async fn take_back(app: &App, by: &AccountName, id: &str) -> Result<(), Failed> {
    let noted = Command::NoteAccess { by: by.clone(), what: "took a join token back".into() };
    let id = id.to_owned();
    let rows = move |tx: &Transaction<'_>, _| {
        let gone = tx.execute(
            "DELETE FROM join_tokens WHERE used_at IS NULL AND lower(hex(substr(hash, 1, 8))) = ?1",
            [id],
        )?;
        match gone {
            0 => Err(RowsFailed::turned_away(
                "not-found",
                "there is no such token; it was used or has expired",
            )),
            _ => Ok(()),
        }
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(())
}
