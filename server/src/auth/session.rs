//! Sessions: a random token whose hash is stored; idle and absolute ends; looked up with each request.

use super::secret;
use crate::app::App;
use crate::ledger::{Failed, RowsFailed};
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
    let (name, how) = (name.to_string(), how.to_owned());
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        tx.execute(
            "DELETE FROM sessions WHERE created_at <= ?1 OR seen_at <= ?2",
            params![now.0 - ABSOLUTE_MS, now.0 - IDLE_MS],
        )?;
        let row = params![hash.as_slice(), name, now.0];
        tx.execute("INSERT INTO sessions VALUES (?1, ?2, ?3, ?3)", row)?;
        tx.execute("INSERT OR REPLACE INTO last_logins VALUES (?1, ?2, ?3)", params![name, now.0, how])?;
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

/// Ends one of a person's sessions, by the id under which it is listed.
///
/// # Errors
/// Turns away an id that is none of his.
pub async fn end_listed(app: &App, by: &AccountName, owner: &AccountName, id: &str) -> Result<(), Failed> {
    let noted = Command::NoteAccess { by: by.clone(), what: format!("ended a session of {owner}") };
    let (owner, id) = (owner.to_string(), id.to_owned());
    let rows = move |tx: &rusqlite::Transaction<'_>, _| {
        let ended = tx.execute(
            "DELETE FROM sessions WHERE name = ?1 AND lower(hex(substr(hash, 1, 8))) = ?2",
            params![owner, id],
        )?;
        match ended {
            0 => Err(RowsFailed::turned_away("not-found", "there is no such session; it may have ended")),
            _ => Ok(()),
        }
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(())
}

/// Ends all of a person's sessions.
///
/// # Errors
/// Returns the ledger's failure.
pub async fn end_all(app: &App, by: &AccountName, owner: &AccountName) -> Result<(), Failed> {
    let noted = Command::NoteAccess { by: by.clone(), what: format!("ended all sessions of {owner}") };
    let owner = owner.to_string();
    let rows = move |tx: &rusqlite::Transaction<'_>, _| {
        tx.execute("DELETE FROM sessions WHERE name = ?1", [owner])?;
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
