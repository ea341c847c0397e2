//! What the host has to tell and the server does not have yet, in `watcher/spool.db`: items numbered from 1 in each
//! epoch, the places up to which the sources have read, and the conditions that hold. What belongs together is
//! written in one transaction, so that after a crash nothing is told twice or forgotten. It never loses an item
//! without a gap that counts it.

mod delivery;
mod room;
#[cfg(test)]
mod tests;

pub use delivery::{Acknowledged, ServerHead};

use crate::{ballast, memory};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use sopwith_domain::command::Item;
use sopwith_domain::ids::Epoch;
use sopwith_domain::signal::{Condition, Severity, Signal};
use std::collections::BTreeMap;
use std::path::Path;

/// Most of what waits for the server; beyond it lower severities are dropped and counted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub items_max: u64,
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items_max: 100_000, bytes_max: 64 * 1024 * 1024 }
    }
}

/// Key under which [`Spool::known_head`] is kept while it is not the head.
const UNSURE_SINCE: &str = "unsure_since";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS item (
    seq INTEGER PRIMARY KEY, rank INTEGER NOT NULL, fingerprint TEXT, raised INTEGER, gap_from INTEGER,
    lost INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS item_by_rank ON item (rank, seq);
CREATE INDEX IF NOT EXISTS item_by_fingerprint ON item (fingerprint, seq);
CREATE TABLE IF NOT EXISTS cursor (
    source TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (source, name)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS condition (
    rule TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (rule, subject)) STRICT, WITHOUT ROWID;
";

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Nothing was written and the spool is as it was.
    #[error("failed to write the spool: the disk is full")]
    Full,
    /// What is on the disk is not known any more: end the process and look afresh.
    #[error("failed to use the spool: {0}")]
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for SpoolError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Broken(error),
        }
    }
}

/// What is written in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub items: Vec<Item>,
    /// Source, name and value; nothing forgets the cursor.
    pub cursors: Vec<(String, String, Option<String>)>,
    /// Rule, subject and body; nothing forgets the condition.
    pub conditions: Vec<(String, String, Option<String>)>,
}

impl Entry {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.cursors.is_empty() && self.conditions.is_empty()
    }
}

/// How much waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Depth {
    pub items: u64,
    pub bytes: u64,
    /// Items dropped for want of room since the spool was made.
    pub dropped: u64,
}

#[derive(Debug)]
pub struct Spool {
    db: Connection,
    limits: Limits,
    epoch: Epoch,
    /// Highest number given out in this epoch.
    head: u64,
    /// Highest number that the server has.
    acked: u64,
    /// Whether the server has answered this process: then nothing of the spool was lost before it began.
    greeted: bool,
    /// Where the spool stood when it was last certain that nothing of it was lost, if items were put down since.
    unsure_since: Option<u64>,
    depth: Depth,
}

impl Spool {
    /// Opens the spool, and makes it where there is none.
    ///
    /// # Errors
    /// The file cannot be opened or is no spool.
    pub fn open(file: &Path, limits: Limits) -> Result<Self, SpoolError> {
        let db = Connection::open(file)?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        db.execute_batch(SCHEMA)?;
        let mut spool = Self {
            db,
            limits,
            epoch: Epoch(0),
            head: 0,
            acked: 0,
            greeted: false,
            unsure_since: None,
            depth: Depth::default(),
        };
        spool.epoch = Epoch(spool.number("epoch")?);
        spool.head = spool.number("head")?;
        spool.acked = spool.number("acked")?;
        spool.unsure_since = spool.kept_number(UNSURE_SINCE)?;
        spool.measure()?;
        ballast::keep(&spool.db, file.parent().unwrap_or(file))?;
        memory::sparing(&spool.db)?;
        Ok(spool)
    }

    /// Returns the life of the host that the items belong to; 0 before the host has joined.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    pub fn head(&self) -> u64 {
        self.head
    }
    pub fn acked(&self) -> u64 {
        self.acked
    }
    /// Says whether the server has answered this process since it began. Until then it is told of no items: were the
    /// spool an old image of itself, new items would get numbers that the server has seen, and pass for known.
    pub fn greeted(&self) -> bool {
        self.greeted
    }
    /// Returns the highest number that the server can know of, unless the spool was set back.
    pub fn known_head(&self) -> u64 {
        self.unsure_since.unwrap_or(self.head)
    }
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Writes all of the entry, or nothing.
    ///
    /// # Errors
    /// [`SpoolError::Full`] leaves everything as it was; after any other error the process must end.
    pub fn commit(&mut self, entry: &Entry) -> Result<(), SpoolError> {
        match self.write(entry) {
            Err(SpoolError::Full) => {
                ballast::give_up(&self.db)?;
                self.write(entry)
            }
            done => done,
        }
    }

    fn write(&mut self, entry: &Entry) -> Result<(), SpoolError> {
        let (epoch, mut head, mut depth, limits) = (self.epoch, self.head, self.depth, self.limits);
        let unsure = (!self.greeted && !entry.items.is_empty()).then(|| self.known_head());
        let transaction = self.begin()?;
        for item in &entry.items {
            head += 1;
            let row = Row::of(item, epoch);
            row.insert(&transaction, head)?;
            depth.items += 1;
            depth.bytes += row.body.len() as u64;
        }
        for (source, name, value) in &entry.cursors {
            put(&transaction, "cursor", ["source", "name", "value"], [source, name], value.as_deref())?;
        }
        for (rule, subject, body) in &entry.conditions {
            put(&transaction, "condition", ["rule", "subject", "body"], [rule, subject], body.as_deref())?;
        }
        if !entry.items.is_empty() {
            set_number(&transaction, "head", head)?;
            if let Some(since) = unsure {
                set_number(&transaction, UNSURE_SINCE, since)?;
            }
            room::make(&transaction, &limits, &mut depth)?;
            set_number(&transaction, "dropped", depth.dropped)?;
        }
        transaction.commit()?;
        (self.head, self.depth) = (head, depth);
        self.unsure_since = unsure.or(self.unsure_since);
        Ok(())
    }

    /// Returns how far a source had read, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn cursors(&self, source: &str) -> Result<BTreeMap<String, String>, SpoolError> {
        let mut query = self.db.prepare_cached("SELECT name, value FROM cursor WHERE source = ?1")?;
        let rows = query.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the conditions that hold, as they were written.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn conditions(&self) -> Result<Vec<String>, SpoolError> {
        let mut query = self.db.prepare("SELECT body FROM condition ORDER BY rule, subject")?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Says whether the latest that waits about a fingerprint is that it holds; then saying so again adds nothing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn raise_waits(&self, signal: &Signal) -> Result<bool, SpoolError> {
        let mut query = self
            .db
            .prepare_cached("SELECT raised FROM item WHERE fingerprint = ?1 ORDER BY seq DESC LIMIT 1")?;
        let raised: Option<bool> =
            query.query_row([signal.fingerprint().to_string()], |row| row.get(0)).optional()?;
        Ok(raised.unwrap_or(false))
    }

    fn begin(&mut self) -> Result<Transaction<'_>, SpoolError> {
        Ok(self.db.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    fn number(&self, key: &str) -> Result<u64, SpoolError> {
        Ok(self.kept_number(key)?.unwrap_or(0))
    }

    fn kept_number(&self, key: &str) -> Result<Option<u64>, SpoolError> {
        let mut query = self.db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        let text: Option<String> = query.query_row([key], |row| row.get(0)).optional()?;
        Ok(text.and_then(|t| t.parse().ok()))
    }

    fn measure(&mut self) -> Result<(), SpoolError> {
        let query = "SELECT count(*), coalesce(sum(bytes), 0) FROM item";
        let (items, bytes) = self.db.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.depth = Depth { items, bytes, dropped: self.number("dropped")? };
        Ok(())
    }
}

/// Writes or forgets one row of a table with a key of two columns. The names come from this file only.
fn put(
    transaction: &Transaction<'_>,
    table: &str,
    [first, second, value_column]: [&str; 3],
    key: [&String; 2],
    value: Option<&str>,
) -> Result<(), SpoolError> {
    match value {
        None => {
            let text = format!("DELETE FROM {table} WHERE {first} = ?1 AND {second} = ?2");
            transaction.prepare_cached(&text)?.execute(params![key[0], key[1]])?;
        }
        Some(value) => {
            let text = format!(
                "INSERT INTO {table} ({first}, {second}, {value_column}) VALUES (?1, ?2, ?3)
                 ON CONFLICT ({first}, {second}) DO UPDATE SET {value_column} = excluded.{value_column}"
            );
            transaction.prepare_cached(&text)?.execute(params![key[0], key[1], value])?;
        }
    }
    Ok(())
}

fn set_number(transaction: &Transaction<'_>, key: &str, number: u64) -> Result<(), SpoolError> {
    set_text(transaction, key, &number.to_string())
}

fn set_text(transaction: &Transaction<'_>, key: &str, value: &str) -> Result<(), SpoolError> {
    let text = "INSERT INTO meta (key, value) VALUES (?1, ?2)
                ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    transaction.prepare_cached(text)?.execute(params![key, value])?;
    Ok(())
}

/// An item as it lies in its table.
struct Row {
    rank: u8,
    fingerprint: Option<String>,
    raised: Option<bool>,
    body: String,
}

/// Rank of what is never dropped.
const RANK_KEPT: u8 = 6;

impl Row {
    fn of(item: &Item, epoch: Epoch) -> Self {
        let mut item = item.clone();
        let (rank, fingerprint, raised) = match &mut item {
            Item::Signal { signal } => {
                signal.epoch = epoch;
                let raised = signal.condition == Condition::Raised;
                (rank(signal.severity, raised), Some(signal.fingerprint().to_string()), Some(raised))
            }
            Item::Declarations { .. } => (rank(Severity::Critical, false), None, None),
            Item::Inspection { .. } => (rank(Severity::Warning, true), None, None),
            Item::Gap { .. } => (RANK_KEPT, None, None),
        };
        let body = serde_json::to_string(&item).expect("an item has string keys and no floats");
        Self { rank, fingerprint, raised, body }
    }

    fn insert(&self, transaction: &Transaction<'_>, seq: u64) -> Result<(), SpoolError> {
        transaction
            .prepare_cached(
                "INSERT INTO item (seq, rank, fingerprint, raised, bytes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![seq, self.rank, self.fingerprint, self.raised, self.body.len(), self.body])?;
        Ok(())
    }
}

/// Returns how long an item is kept when room is short. That something is over outweighs that it holds: the latter
/// is said again every minute.
fn rank(severity: Severity, raised: bool) -> u8 {
    let severity = match severity {
        Severity::Information => 0,
        Severity::Warning => 2,
        Severity::Critical => 4,
    };
    severity + u8::from(!raised)
}
