//! The journal in SQLite: one table that refuses to be edited, in WAL mode, durable at each commit.
//!
//! Two ways in: [`SqliteLog`] owns its connection (agent), [`append_in`] writes inside the caller's own
//! transaction so that a ledger's projections can never differ from its journal (server). Neither ever
//! retries a commit: when one fails, the connection counts as crashed.

mod connection;

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, ffi, params};

use crate::log::{chain, check_limits, paged, stored_digest};
use crate::verify::verify_stored;
use crate::{AppendError, Entry, Fatal, Head, Log, PAGE_ENTRIES, ReadError, Refused, VerifyError};
pub use connection::{OpenError, SQLITE_VERSION_MIN, ensure_schema, open_connection, open_read_only};

/// One stream on a connection of its own.
#[derive(Debug)]
pub struct SqliteLog {
    connection: Connection,
    stream: String,
    head: Head,
    dead: bool,
}

impl SqliteLog {
    /// Opens a stream in a database file, creating both when they are missing.
    pub fn open(path: &Path, stream: &str) -> Result<SqliteLog, OpenError> {
        SqliteLog::on(open_connection(path)?, stream)
    }

    /// Opens a stream on a connection that [`open_connection`] made.
    pub fn on(connection: Connection, stream: &str) -> Result<SqliteLog, OpenError> {
        ensure_schema(&connection)?;
        let head = head_in(&connection, stream)?;
        Ok(SqliteLog { connection, stream: stream.to_owned(), head, dead: false })
    }

    /// Gives the connection back, for reads of other tables by the owner of the file.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Marks the file as crashed. Closing must not checkpoint: that would be one more fsync, whose success
    /// would say nothing about the pages that the failed one has dropped.
    fn die(&mut self) {
        self.dead = true;
        let no_checkpoint = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        // When even this fails the handle is dead all the same, and recovery at the next open decides.
        let _ = self.connection.set_db_config(no_checkpoint, true);
    }
}

impl Log for SqliteLog {
    fn append(&mut self, at_ms: i64, bodies: &[Vec<u8>]) -> Result<Head, AppendError> {
        if self.dead {
            return Err(Fatal::Crashed.into());
        }
        if bodies.is_empty() {
            return Ok(self.head);
        }
        let result = append_now(&mut self.connection, &self.stream, &self.head, at_ms, bodies);
        match &result {
            Ok(head) => self.head = *head,
            Err(AppendError::Fatal(_)) => self.die(),
            Err(AppendError::Refused(_)) => {}
        }
        result
    }

    fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        if self.dead {
            return Err(ReadError::Crashed);
        }
        read_in(&self.connection, &self.stream, after_seq, limit)
    }

    fn head(&self) -> Head {
        self.head
    }

    fn stream(&self) -> &str {
        &self.stream
    }
}

fn append_now(
    connection: &mut Connection,
    stream: &str,
    head: &Head,
    at_ms: i64,
    bodies: &[Vec<u8>],
) -> Result<Head, AppendError> {
    // Checked before the lock is taken; append_in checks again for callers with their own transaction.
    check_limits(stream, bodies)?;
    let tx = begin(connection)?;
    let head = append_in(&tx, stream, head, at_ms, bodies)?;
    commit(tx)?;
    Ok(head)
}

/// Begins a writing transaction, with the write lock taken at once (`BEGIN IMMEDIATE`): a transaction that
/// upgrades later fails with "database is locked" whatever the timeout.
pub fn begin(connection: &mut Connection) -> Result<Transaction<'_>, AppendError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => Refused::Busy.into(),
            _ => fatal(&error).into(),
        }
    })
}

/// Commits. Any failure is fatal, whatever SQLite calls it: whether the commit is on the disk is unknown.
pub fn commit(tx: Transaction<'_>) -> Result<(), AppendError> {
    tx.commit().map_err(|error| fatal(&error).into())
}

/// Appends a batch behind `head` inside the caller's transaction and returns the head that holds once that
/// transaction has been committed.
///
/// After `Refused` the transaction is as it was; after `Fatal` it must be dropped and the connection with it.
/// When `head` is not the stream's (another writer has been there), the answer is [`Fatal::Fenced`].
pub fn append_in(
    tx: &Transaction<'_>,
    stream: &str,
    head: &Head,
    at_ms: i64,
    bodies: &[Vec<u8>],
) -> Result<Head, AppendError> {
    check_limits(stream, bodies)?;
    let mut insert = tx
        .prepare_cached(
            "INSERT INTO journal (stream, seq, at_ms, prev, hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(|error| fatal(&error))?;
    let mut head = *head;
    for entry in chain(stream, &head.clone(), at_ms, bodies) {
        let row = params![stream, to_sql(entry.seq), entry.at_ms, entry.prev.0, entry.hash.0, entry.body];
        insert.execute(row).map_err(|error| fatal_insert(&error, entry.seq))?;
        head = entry.as_head();
    }
    Ok(head)
}

/// Returns the head of a stream. The last entry must hash right; the chain before it is not looked at.
pub fn head_in(connection: &Connection, stream: &str) -> Result<Head, ReadError> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(seq) FROM journal WHERE stream = ?1")
        .and_then(|mut select| select.query_row([stream], |row| row.get(0)))
        .map_err(store)?;
    let Some(last) = last else { return Ok(Head::EMPTY) };
    let before = u64::try_from(last.saturating_sub(1)).unwrap_or(0);
    let Some(entry) = read_in(connection, stream, before, 1)?.pop() else {
        return Err(ReadError::Malformed { seq: before, what: "seq" });
    };
    if entry.hash != entry.computed_hash(stream) {
        return Err(ReadError::Malformed { seq: entry.seq, what: "hash" });
    }
    Ok(entry.as_head())
}

/// Reads at most `limit` entries of a stream after `after_seq`, on any connection.
pub fn read_in(
    connection: &Connection,
    stream: &str,
    after_seq: u64,
    limit: usize,
) -> Result<Vec<Entry>, ReadError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = connection
        .prepare_cached(
            "SELECT seq, at_ms, prev, hash, body FROM journal WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )
        .map_err(store)?;
    let mut rows = select.query(params![stream, to_sql(after_seq), limit]).map_err(store)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(store)? {
        entries.push(entry_of(row)?);
    }
    Ok(entries)
}

/// Iterates over all entries of a stream after `after_seq`, a page at a time, on any connection.
pub fn entries_in<'a>(
    connection: &'a Connection,
    stream: &'a str,
    after_seq: u64,
) -> impl Iterator<Item = Result<Entry, ReadError>> + 'a {
    paged(after_seq, move |after_seq| read_in(connection, stream, after_seq, PAGE_ENTRIES))
}

/// Checks the whole chain of a stream on any connection; see [`crate::verify`] about `expected`.
pub fn verify_in(connection: &Connection, stream: &str, expected: Option<Head>) -> Result<Head, VerifyError> {
    verify_stored(stream, entries_in(connection, stream, 0), expected)
}

/// Returns the names of the streams in a database, for audits of a whole file.
pub fn streams_in(connection: &Connection) -> Result<Vec<String>, ReadError> {
    // A jump from name to name: the table may hold millions of rows of few streams.
    let mut next =
        connection.prepare_cached("SELECT min(stream) FROM journal WHERE stream > ?1").map_err(store)?;
    let mut streams: Vec<String> = Vec::new();
    loop {
        let after = streams.last().map_or("", String::as_str);
        let Some(stream) = next.query_row([after], |row| row.get(0)).optional().map_err(store)?.flatten()
        else {
            return Ok(streams);
        };
        streams.push(stream);
    }
}

fn entry_of(row: &rusqlite::Row<'_>) -> Result<Entry, ReadError> {
    let seq: i64 = row.get(0).map_err(store)?;
    let seq = u64::try_from(seq).map_err(|_| ReadError::Malformed { seq: 0, what: "seq" })?;
    let blob = |column| row.get_ref(column).map_err(store);
    let bytes = |column, what| blob(column)?.as_blob().map_err(|_| ReadError::Malformed { seq, what });
    Ok(Entry {
        seq,
        at_ms: row.get(1).map_err(store)?,
        prev: stored_digest(seq, bytes(2, "prev")?, "prev")?,
        hash: stored_digest(seq, bytes(3, "hash")?, "hash")?,
        body: bytes(4, "body")?.to_vec(),
    })
}

/// SQLite's integers are signed; no stream will ever reach the difference.
fn to_sql(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn store(error: rusqlite::Error) -> ReadError {
    ReadError::Store(error.to_string())
}

/// Says what a failed write means for the file.
pub fn fatal(error: &rusqlite::Error) -> Fatal {
    let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
        return Fatal::Store(error.to_string());
    };
    match code {
        ffi::SQLITE_FULL => Fatal::DiskFull,
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => Fatal::FsyncFailed,
        _ => Fatal::Store(error.to_string()),
    }
}

fn fatal_insert(error: &rusqlite::Error, seq: u64) -> Fatal {
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(ffi::SQLITE_CONSTRAINT_TRIGGER | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Fatal::Fenced { seq },
        _ => fatal(error),
    }
}
