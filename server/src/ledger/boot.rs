//! Opens the ledger's database: tables, chain check and fold of the whole journal in one pass.
//! A journal that is not exactly what was written is not used.

use super::index::Index;
use super::projection::Touched;
use super::schema;
use rusqlite::Connection;
use sopwith_domain::event::{EVENT_VERSION, Event, Recorded, Versioned};
use sopwith_domain::evolve::evolve;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_journal::sqlite::{self, OpenError};
use sopwith_journal::{AppendError, ChainError, Entry, Head, ReadError};
use std::path::Path;

pub use sopwith_protocol::api::LEDGER_STREAM as STREAM;

/// Events folded between two writes of projections while rebuilding.
const REBUILD_BATCH: u64 = 512;

/// Why the ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("failed to open the ledger: {0}")]
    Open(#[from] OpenError),
    #[error("failed to set up the ledger's tables: {0}")]
    Tables(#[from] rusqlite::Error),
    #[error("failed to read the ledger's journal: {0}")]
    Read(#[from] ReadError),
    #[error("failed to trust the ledger's journal: {0}")]
    Chain(#[from] ChainError),
    #[error("failed to understand journal entry {seq}: {error}")]
    Event { seq: u64, error: String },
    #[error("failed to write projections: {0}")]
    Write(#[from] AppendError),
    #[error("failed to start the ledger's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// An opened ledger.
pub(super) struct Booted {
    pub connection: Connection,
    pub state: State,
    pub index: Index,
    pub head: Head,
    pub last_event: Timestamp,
}

/// Opens the database for the one writer.
pub(super) fn open(database: &Path) -> Result<Booted, BootError> {
    let connection = open_tables(database)?;
    let mut state = State::default();
    let mut index = Index::default();
    let mut last_event = Timestamp(0);
    let head = fold(&connection, |recorded| {
        index.fold(&recorded.event, &state);
        evolve(&mut state, recorded);
        last_event = last_event.max(recorded.at);
        Ok(())
    })?;
    Ok(Booted { connection, state, index, head, last_event })
}

fn open_tables(database: &Path) -> Result<Connection, BootError> {
    let connection = sqlite::open_connection(database)?;
    sqlite::ensure_schema(&connection)?;
    connection.execute_batch(schema::PROJECTIONS)?;
    connection.execute_batch(schema::ACCESS)?;
    Ok(connection)
}

/// Reads one journal entry as an event.
///
/// # Errors
/// Says why it is none that this program knows.
pub fn decode(entry: &Entry) -> Result<Recorded<Event>, BootError> {
    let wrong = |error: String| BootError::Event { seq: entry.seq, error };
    let versioned: Versioned = serde_json::from_slice(&entry.body).map_err(|e| wrong(e.to_string()))?;
    if versioned.v > EVENT_VERSION {
        return Err(wrong(format!(
            "it has version {}, this program knows {EVENT_VERSION} at most; a newer program has written here",
            versioned.v
        )));
    }
    Ok(Recorded { seq: entry.seq, at: Timestamp(entry.at_ms), event: versioned.event })
}

/// Checks the chain and hands each event over, in one pass; returns the head.
fn fold(
    connection: &Connection,
    mut take: impl FnMut(&Recorded<Event>) -> Result<(), BootError>,
) -> Result<Head, BootError> {
    let mut head = Head::EMPTY;
    for entry in sqlite::entries_in(connection, STREAM, 0) {
        let entry = entry?;
        head = follow(&head, &entry)?;
        take(&decode(&entry)?)?;
    }
    Ok(head)
}

/// Checks one entry against the head before it, before the event in it is looked at.
fn follow(head: &Head, entry: &Entry) -> Result<Head, ChainError> {
    let seq = head.seq + 1;
    match entry {
        Entry { seq: found, .. } if *found != seq => Err(ChainError::Gap { seq, found: *found }),
        Entry { prev, .. } if *prev != head.hash => Err(ChainError::WrongPrev { seq }),
        Entry { hash, .. } if *hash != entry.computed_hash(STREAM) => Err(ChainError::WrongHash { seq }),
        _ => Ok(entry.as_head()),
    }
}

/// Drops all projections and writes them again from the journal, in one transaction; returns how many events there
/// were. The caller holds the lock of the data folder.
///
/// # Errors
/// Says why; the projections are then as they were.
pub fn rebuild_projections(database: &Path) -> Result<u64, BootError> {
    let mut connection = open_tables(database)?;
    let reading = sqlite::open_read_only(database)?;
    let tx = sqlite::begin(&mut connection)?;
    for table in schema::PROJECTION_TABLES {
        tx.execute_batch(&format!("DROP TABLE {table}"))?;
    }
    tx.execute_batch(schema::PROJECTIONS)?;
    let mut state = State::default();
    let mut touched = Touched::default();
    let head = fold(&reading, |recorded| {
        evolve(&mut state, recorded);
        touched.add(recorded.at, &recorded.event, &state);
        if recorded.seq % REBUILD_BATCH == 0 {
            std::mem::take(&mut touched).write(&tx, &state)?;
        }
        Ok(())
    })?;
    touched.write(&tx, &state)?;
    sqlite::commit(tx)?;
    Ok(head.seq)
}
