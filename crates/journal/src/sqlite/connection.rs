//! Connections to a journal's database file: their settings, and the table with its guards.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::ReadError;

/// Oldest SQLite that is trusted with a WAL: before 3.51.3 a reset of the WAL could race with a writer and
/// corrupt the database.
pub const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// How long a connection waits for another one's lock before it answers that the database is busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size to which the WAL file is cut back after a large transaction.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("failed to open the journal: this program has SQLite {found}, at least 3.51.3 is needed")]
    SqliteTooOld { found: &'static str },
    #[error("failed to open the journal: its file system does not support SQLite's WAL (it offers {mode:?})")]
    NoWal { mode: String },
    #[error("failed to open the journal at {path}: {error}")]
    Open { path: String, error: rusqlite::Error },
    #[error("failed to set up the journal: {0}")]
    SetUp(#[from] rusqlite::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Opens a database for writing, creating the file when it is missing: WAL, fsync at every commit, foreign
/// keys enforced. The caller decides about the folder and its permissions.
pub fn open_connection(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(path, flags)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NoWal { mode });
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    Ok(connection)
}

/// Opens a database for reading only. SQLite still needs to write the `-shm` file beside it.
pub fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens with the settings that every connection has. Without the URI flag a path is only ever a path.
fn open(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::SqliteTooOld { found: rusqlite::version() });
    }
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| OpenError::Open { path: path.display().to_string(), error })?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Nothing that SQL can say may damage the file's structure or run what a hostile schema brings along.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

/// Creates the journal's table and guards where they are missing.
pub fn ensure_schema(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(SCHEMA)
}

/// The guards are against mistakes of our own code, the hash chain is against everybody else. The insert
/// guard is also the fence: a writer whose head is stale cannot append, and `INSERT OR REPLACE` (which
/// deletes without telling the delete guard) cannot replace.
const SCHEMA: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS journal (
    stream TEXT NOT NULL CHECK (length(stream) > 0),
    seq INTEGER NOT NULL CHECK (seq >= 1),
    at_ms INTEGER NOT NULL,
    prev BLOB NOT NULL CHECK (length(prev) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    body BLOB NOT NULL CHECK (length(body) <= 1048576),
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS journal_no_update BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no update'); END;
CREATE TRIGGER IF NOT EXISTS journal_no_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no delete'); END;
CREATE TRIGGER IF NOT EXISTS journal_only_next BEFORE INSERT ON journal
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM journal WHERE stream = NEW.stream)
  OR NEW.prev IS NOT coalesce(
       (SELECT hash FROM journal WHERE stream = NEW.stream AND seq = NEW.seq - 1),
       x'0000000000000000000000000000000000000000000000000000000000000000')
BEGIN SELECT RAISE(ABORT, 'the journal is append-only: not the next entry'); END;
COMMIT;
";
