//! One-time log-ins: a path that opens one session for one person, soon, once. Made on the server's own machine only.

use super::secret;
use super::session::{self, NewSession};
use crate::app::App;
use crate::ledger::{Failed, RowsFailed};
use rusqlite::params;
use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::ids::AccountName;
use sopwith_domain::time::{MINUTE_MS, Timestamp};

/// How long a one-time log-in waits, in milliseconds.
pub const VALID_MS: i64 = 10 * MINUTE_MS;

/// Makes a one-time log-in and returns its secret.
///
/// # Errors
/// Refuses a person who is unknown or disabled.
pub async fn make(app: &App, name: &AccountName) -> Result<String, Failed> {
    if app.ledger.state().people.get(name).is_none_or(|person| person.disabled) {
        return Err(Refusal::UnknownPerson(name.clone()).into());
    }
    let token = secret::make("spo");
    let hash = secret::digest(&token);
    let noted =
        Command::NoteAccess { by: name.clone(), what: "one-time log-in made on the server's machine".into() };
    let name = name.to_string();
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        tx.execute("DELETE FROM one_time_logins WHERE expires_at < ?1", [now.0])?;
        tx.execute(
            "INSERT INTO one_time_logins VALUES (?1, ?2, ?3, NULL)",
            params![hash.as_slice(), name, now.0 + VALID_MS],
        )?;
        Ok(())
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(token)
}

/// Uses a one-time log-in up and begins the session it stands for.
///
/// # Errors
/// Turns away one that is unknown, used or expired, and refuses a person who was disabled meanwhile.
pub async fn spend(app: &App, token: &str) -> Result<(AccountName, NewSession), Failed> {
    let hash = secret::digest(token);
    let (send, receive) = std::sync::mpsc::channel::<String>();
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        let gone = || {
            RowsFailed::turned_away(
                "token-used",
                "this log-in was used before or has expired; make a new one on the server's machine",
            )
        };
        let name = tx
            .query_row(
                "UPDATE one_time_logins SET used_at = ?2 WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2
                 RETURNING name",
                params![hash.as_slice(), now.0],
                |row| row.get(0),
            )
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => gone(),
                other => other.into(),
            })?;
        // The receiver waits until the commit and cannot be gone.
        let _ = send.send(name);
        Ok(())
    };
    app.ledger.change(Box::new(rows)).await?;
    let name = receive.try_recv().map_err(|_| Failed::Down)?;
    let name = AccountName::new(name).map_err(|e| Refusal::Invalid(e.to_string()))?;
    if app.ledger.state().people.get(&name).is_none_or(|person| person.disabled) {
        return Err(Refusal::UnknownPerson(name).into());
    }
    let session = session::begin(app, &name, "by a one-time log-in").await?;
    Ok((name, session))
}
