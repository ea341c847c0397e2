//! API tokens: a person's own, with his role, for as long as he says or until he revokes them.

use super::secret;
use crate::app::App;
use crate::ledger::{Failed, RowsFailed};
use crate::readers::ReadFailed;
use rusqlite::{Connection, OptionalExtension, params};
use sopwith_domain::command::Command;
use sopwith_domain::ids::AccountName;
use sopwith_domain::time::Timestamp;

/// Longest label of a token, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// Most tokens of one person that have not ended.
pub const TOKENS_MAX: i64 = 50;

/// A token as its owner sees it in the list.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub created_at: String,
    pub expires_at: Option<String>,
    pub revoked: bool,
}

/// Returns whose valid token has this hash, and its id.
///
/// # Errors
/// Returns the database's failure.
pub fn find(
    db: &Connection,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<Option<(AccountName, String)>, ReadFailed> {
    let row: Option<(String, String)> = db
        .prepare_cached(
            "SELECT name, id FROM tokens WHERE hash = ?1 AND revoked_at IS NULL
             AND (expires_at IS NULL OR expires_at > ?2)",
        )?
        .query_row(params![hash.as_slice(), now.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(row.and_then(|(name, id)| Some((AccountName::new(name).ok()?, id))))
}

/// Returns a person's tokens, newest first.
///
/// # Errors
/// Returns the database's failure.
pub fn list(db: &Connection, name: &AccountName) -> Result<Vec<TokenRow>, ReadFailed> {
    let mut select = db.prepare_cached(
        "SELECT id, label, created_at, expires_at, revoked_at FROM tokens WHERE name = ?1
         ORDER BY created_at DESC, id LIMIT 200",
    )?;
    let time = |ms: i64| Timestamp(ms).to_string();
    let rows = select.query_map([name.as_str()], |row| {
        Ok(TokenRow {
            id: row.get(0)?,
            name: row.get(1)?,
            created_at: time(row.get(2)?),
            expires_at: row.get::<_, Option<i64>>(3)?.map(time),
            revoked: row.get::<_, Option<i64>>(4)?.is_some(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes a token for a person; returns its id and the token, which is shown once.
///
/// # Errors
/// Turns away the one that would be too many.
pub async fn make(
    app: &App,
    name: &AccountName,
    label: String,
    expires_at: Option<Timestamp>,
) -> Result<(String, String), Failed> {
    let (id, token) = (secret::id(), secret::make("spt"));
    let hash = secret::digest(&token);
    let noted = Command::NoteAccess { by: name.clone(), what: format!("made API token {id}") };
    let (owner, row_id) = (name.to_string(), id.clone());
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        let live: i64 = tx.query_row(
            "SELECT count(*) FROM tokens WHERE name = ?1 AND revoked_at IS NULL
             AND (expires_at IS NULL OR expires_at > ?2)",
            params![owner, now.0],
            |row| row.get(0),
        )?;
        if live >= TOKENS_MAX {
            return Err(RowsFailed::turned_away(
                "too-many-tokens",
                format!("there are {live} tokens already, at most {TOKENS_MAX}: revoke one first"),
            ));
        }
        let ends = expires_at.map(|at| at.0);
        tx.execute(
            "INSERT INTO tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)",
            params![row_id, hash.as_slice(), owner, label, now.0, ends],
        )?;
        Ok(())
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok((id, token))
}

/// Revokes a person's own token.
///
/// # Errors
/// Turns away an id that is not his or is revoked already.
pub async fn revoke(app: &App, name: &AccountName, id: &str) -> Result<(), Failed> {
    revoke_of(app, name, name, id).await
}

/// Revokes a person's token on behalf of another, who may.
///
/// # Errors
/// Turns away an id that is not the owner's or is revoked already.
pub async fn revoke_of(app: &App, by: &AccountName, owner: &AccountName, id: &str) -> Result<(), Failed> {
    let whose = if by == owner { String::new() } else { format!(" of {owner}") };
    let what = format!("revoked API token {:.64}{whose}", sopwith_protocol::plain::visible(id));
    let noted = Command::NoteAccess { by: by.clone(), what };
    let (owner, id) = (owner.to_string(), id.to_owned());
    let rows = move |tx: &rusqlite::Transaction<'_>, now: Timestamp| {
        let revoked = tx.execute(
            "UPDATE tokens SET revoked_at = ?3 WHERE id = ?1 AND name = ?2 AND revoked_at IS NULL",
            params![id, owner, now.0],
        )?;
        match revoked {
            0 => {
                Err(RowsFailed::turned_away("not-found", "there is no such token; it may be revoked already"))
            }
            _ => Ok(()),
        }
    };
    app.ledger.decide_with(noted, Box::new(rows)).await?;
    Ok(())
}
