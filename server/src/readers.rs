//! Read-only connections to the server's database, for what is not in memory: credentials, old journal entries,
//! remembered answers. Nothing here can write.

use rusqlite::Connection;
use sopwith_journal::sqlite::{OpenError, open_read_only};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections kept open between reads; more are opened while more reads run at once.
const IDLE_MAX: usize = 4;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailed {
    #[error("failed to open the database for reading: {0}")]
    Open(#[from] OpenError),
    #[error("failed to read the database: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("failed to read the journal: {0}")]
    Journal(#[from] sopwith_journal::ReadError),
    #[error("failed to read the database: the read was cut short")]
    Cancelled,
}

/// A small pool of read-only connections.
#[derive(Clone, Debug)]
pub struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Arc::default() }
    }

    /// Runs a read on the calling thread.
    ///
    /// # Errors
    /// Returns the read's own failure, or that no connection could be had.
    pub fn read_now<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadFailed>,
    ) -> Result<T, ReadFailed> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => open_read_only(&self.path)?,
        };
        let answer = read(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.is_ok() && idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        answer
    }

    /// Runs a read off the async threads.
    ///
    /// # Errors
    /// As [`Self::read_now`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadFailed> + Send + 'static,
    ) -> Result<T, ReadFailed> {
        let readers = self.clone();
        tokio::task::spawn_blocking(move || readers.read_now(read))
            .await
            .unwrap_or(Err(ReadFailed::Cancelled))
    }
}
