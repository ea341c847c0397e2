//! Sessions: a random token whose hash is stored; idle and absolute ends; looked up with each request.

use super::secret;
use crate::app::App;
use crate::ledger::Failed;
use crate::readers::ReadFailed;
use rusqlite::{Connection, OptionalExtension, params};
use sopwith_domain::command::Command;
use sopwith_domain::ids::AccountName;
use sopwith_domain::time::{HOUR_MS, MINUTE_MS, Timestamp};

/// A session ends when it was not used for this long.
pub const IDLE_MS: i64 = 12 * HOUR_MS;
/// A session ends this long after the log-in.
pub const ABSOLUTE_MS: i64 = 24 * HOUR_MS;
/// Use is noted this often, so that reading does not write.
const TOUCH_MS: i64 = 5 * MINUTE_MS;

/// A session that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub name: AccountName,
    pub seen_at: Timestamp,
}

/// A new session with its token, which is shown once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSession {
    pub token: String,
    pub expires_at: Timestamp,
}

/// Returns the session with this hash if it has not ended.
///
/// # Errors
/// Returns the database's failure.
pub fn find(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<Option<Session>, ReadFailed> {
    let row: Option<(String, i64, i64)> = db
        .prepare_cached("SELECT name, created_at, seen_at FROM sessions WHERE hash = ?1")?
        .query_row([hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(row.and_then(|(name, created_at, seen_at)| {
        let holds = now.0 - created_at < ABSOLUTE_MS && now.0 - seen_at < IDLE_MS;
        let name = AccountName::new(name).ok()?;
        holds.then_some(Session { name, seen_at: Timestamp(seen_at) })
    }))
}

/// Begins a session for a person who has proved who he is.
///
/// # Errors
/// Returns the ledger's failure.
pub async fn begin(app: &App, name: &AccountName, how: &str) -> Result<NewSession, Failed> {
    let token = secret::make("sps");
    let hash = secret::digest(&token);
    let expires_at = app.ledger.now().plus(ABSOLUTE_MS);
    let noted = Command::NoteAccess { by: name.clone(), what: format!("logged in {how}") };
    let name = name.to_string();
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        tx.execute(
            "DELETE FROM sessions WHERE created_at <= ?1 OR seen_at <= ?2",
            params![now.0 - ABSOLUTE_MS, now.0 - IDLE_MS],
        )?;
        let row = params![hash.as_slice(), name, now.0];
        tx.execute("INSERT INTO sessions VALUES (?1, ?2, ?3, ?3)", row)?;
        Ok(())
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(NewSession { token, expires_at })
}

/// Ends a session.
///
/// # Errors
/// Returns the ledger's failure.
pub async fn end(app: &App, name: &AccountName, hash: [u8; 32]) -> Result<(), Failed> {
    let noted = Command::NoteAccess { by: name.clone(), what: "logged out".into() };
    let rows = move |tx: &rusqlite::Transaction<'_>, _| {
        tx.execute("DELETE FROM sessions WHERE hash = ?1", [hash.as_slice()])?;
        Ok(())
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(())
}

/// Notes that a session was used, now and then.
pub(super) async fn touch(app: &App, hash: [u8; 32], session: &Session, now: Timestamp) {
    if now.since(session.seen_at) < TOUCH_MS {
        return;
    }
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        tx.execute("UPDATE sessions SET seen_at = ?2 WHERE hash = ?1", params![hash.as_slice(), now.0])?;
        Ok(())
    };
    if let Err(error) = app.ledger.change(Box::new(rows)).await {
        tracing::debug!(%error, "the use of a session was not noted");
    }
}
