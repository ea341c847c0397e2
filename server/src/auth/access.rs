//! Who has access by what: sessions, tokens and the last log-in of each person, for the pages that show it. Reads
//! only, and never a secret: there are hashes in the database, and none of them leaves this module.

use super::session::{ABSOLUTE_MS, IDLE_MS};
use super::token::{self, TokenRow};
use crate::readers::ReadFailed;
use rusqlite::{Connection, OptionalExtension, params};
use sopwith_domain::ids::AccountName;
use sopwith_domain::time::Timestamp;
use std::collections::BTreeMap;

/// A log-in that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entered {
    pub at: Timestamp,
    /// As in `from 192.0.2.1`.
    pub how: String,
}

/// What one person has, in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub last: Option<Entered>,
    pub sessions: u64,
    pub tokens: u64,
}

/// A session that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionRow {
    /// The first digits of its token's hash.
    pub id: String,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    /// The one that asks.
    pub this: bool,
}

/// All that one person has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    pub last: Option<Entered>,
    pub sessions: Vec<SessionRow>,
    pub tokens: Vec<TokenRow>,
}

/// Returns what each person has who has anything.
///
/// # Errors
/// Returns the database's failure.
pub fn summaries(db: &Connection, now: Timestamp) -> Result<BTreeMap<String, Summary>, ReadFailed> {
    let mut all: BTreeMap<String, Summary> = BTreeMap::new();
    let mut select = db.prepare_cached("SELECT name, at, how FROM last_logins")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let last = Entered { at: Timestamp(row.get(1)?), how: row.get(2)? };
        all.entry(row.get(0)?).or_default().last = Some(last);
    }
    let mut select = db.prepare_cached(
        "SELECT name, count(*) FROM sessions WHERE created_at > ?1 AND seen_at > ?2 GROUP BY name",
    )?;
    let mut rows = select.query(params![now.0 - ABSOLUTE_MS, now.0 - IDLE_MS])?;
    while let Some(row) = rows.next()? {
        all.entry(row.get(0)?).or_default().sessions = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    }
    let mut select = db.prepare_cached(
        "SELECT name, count(*) FROM tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)
         GROUP BY name",
    )?;
    let mut rows = select.query([now.0])?;
    while let Some(row) = rows.next()? {
        all.entry(row.get(0)?).or_default().tokens = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    }
    Ok(all)
}

/// Returns what a person has; `this` is the hash of the session that asks, if one does.
///
/// # Errors
/// Returns the database's failure.
pub fn of(
    db: &Connection,
    name: &AccountName,
    this: Option<[u8; 32]>,
    now: Timestamp,
) -> Result<Access, ReadFailed> {
    let last = db
        .prepare_cached("SELECT at, how FROM last_logins WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok(Entered { at: Timestamp(row.get(0)?), how: row.get(1)? }))
        .optional()?;
    let mut select = db.prepare_cached(
        "SELECT hash, created_at, seen_at FROM sessions WHERE name = ?1 AND created_at > ?2 AND seen_at > ?3
         ORDER BY seen_at DESC LIMIT 200",
    )?;
    let sessions = select.query_map(params![name.as_str(), now.0 - ABSOLUTE_MS, now.0 - IDLE_MS], |row| {
        let hash: Vec<u8> = row.get(0)?;
        Ok(SessionRow {
            this: this.is_some_and(|this| this.as_slice() == hash),
            id: hex::encode(hash.get(..8).unwrap_or_default()),
            created_at: Timestamp(row.get(1)?),
            seen_at: Timestamp(row.get(2)?),
        })
    })?;
    Ok(Access { last, sessions: sessions.collect::<Result<_, _>>()?, tokens: token::list(db, name)? })
}
