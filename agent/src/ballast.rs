//! Space that a database keeps for the day on which its disk is full: filled while there is room, given up when there
//! is none, so that what has to be written then still can be.
//!
//! The filling lies inside the database, so that nobody else takes what it frees. On its way in it has grown the
//! write-ahead log, too, which is written over from its beginning; that log therefore outlives the process.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::Path;

/// Bytes that are kept: some hundred records.
pub const BYTES: usize = 1024 * 1024;
/// A disk with less room than this counts as full, in bytes.
const FULL_BYTES: u64 = 2 * BYTES as u64;
/// Pages of the log after which it is carried over into the database; fewer than the filling has made of it.
const LOG_PAGES: u32 = 200;

/// Makes the database of a folder ready to keep ballast, and lays it where there is room.
///
/// # Errors
/// The database cannot be written for another reason than a full disk.
pub fn keep(db: &Connection, folder: &Path) -> Result<(), rusqlite::Error> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    let made = db.execute_batch(
        "CREATE TABLE IF NOT EXISTS ballast (id INTEGER PRIMARY KEY, fill BLOB NOT NULL) STRICT;",
    );
    match made.and_then(|()| if is_full_at(folder) { Ok(()) } else { lay(db) }) {
        Err(e) if is_full(&e) => Ok(()),
        done => done,
    }
}

/// Fills the space that [`give_up`] frees, in the database and, on the way, in its log.
fn lay(db: &Connection) -> Result<(), rusqlite::Error> {
    if !is_laid(db)? {
        db.execute("INSERT INTO ballast (fill) VALUES (zeroblob(?1))", [BYTES])?;
        checkpoint(db)?;
    }
    Ok(())
}

/// Says whether the space is there to be given up.
fn is_laid(db: &Connection) -> Result<bool, rusqlite::Error> {
    db.query_row("SELECT count(*) > 0 FROM ballast", [], |row| row.get(0))
}

/// Frees the space for what is written from here on.
///
/// # Errors
/// The database cannot be written.
pub fn give_up(db: &Connection) -> Result<(), rusqlite::Error> {
    checkpoint(db)?;
    db.execute("DELETE FROM ballast", [])?;
    checkpoint(db)
}

/// Gives the space up while the folder's disk is full, and takes it back when there is room again.
///
/// # Errors
/// The database cannot be written, or the disk cannot be asked.
pub fn balance(db: &Connection, folder: &Path) -> Result<(), rusqlite::Error> {
    match (is_full_at(folder), is_laid(db)?) {
        (true, true) => give_up(db),
        (false, false) => match lay(db) {
            Err(e) if is_full(&e) => Ok(()),
            done => done,
        },
        _ => Ok(()),
    }
}

/// Says whether the disk of a folder counts as full. One that cannot be asked does not.
fn is_full_at(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) < FULL_BYTES)
}

/// Says whether an error means that the disk is full.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

fn checkpoint(db: &Connection) -> Result<(), rusqlite::Error> {
    db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
}
