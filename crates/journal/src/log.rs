//! The `Log` trait: what every store of a journal promises, its limits and its errors.
//!
//! The one distinction that callers live by: after `Refused` nothing was written and the handle lives on;
//! after `Fatal` nobody knows what is on the disk, and only opening it again can tell.

use crate::{Digest, Entry, Head};

/// Largest body: more than any decision needs; bulky output belongs in a blob table, by hash.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most entries in one batch: one command's events, or some hundred commands committed together.
pub const BATCH_ENTRIES_MAX: usize = 4096;
/// Most bytes of bodies in one batch, so that one transaction stays well inside memory and WAL.
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest stream name.
pub const STREAM_NAME_BYTES_MAX: usize = 128;
/// How many entries [`entries`] fetches at a time.
pub const PAGE_ENTRIES: usize = 512;

/// One stream with one writer.
pub trait Log {
    /// Appends all bodies as one atomic batch and returns the new head once they are durable.
    /// An empty batch writes nothing and returns the head as it is.
    fn append(&mut self, at_ms: i64, bodies: &[Vec<u8>]) -> Result<Head, AppendError>;

    /// Returns at most `limit` entries after `after_seq`, in order.
    fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Entry>, ReadError>;

    /// Returns the last acknowledged entry; after a fatal error the disk may hold more.
    fn head(&self) -> Head;

    /// Returns the name of the stream, which is part of every hash.
    fn stream(&self) -> &str;
}

/// Why an append failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written; the handle is as good as before.
    #[error("failed to append to the journal, nothing was written: {0}")]
    Refused(#[from] Refused),
    /// The outcome is unknown and the handle is dead: open the journal again to learn what it holds.
    #[error("failed to append to the journal, it must be opened again: {0}")]
    Fatal(#[from] Fatal),
}

impl AppendError {
    /// Tells whether the handle is dead.
    pub fn is_fatal(&self) -> bool {
        matches!(self, AppendError::Fatal(_))
    }
}

/// An append that was turned away before anything was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("body {index} has {bytes} bytes, the limit is {BODY_BYTES_MAX}")]
    BodyTooLarge { index: usize, bytes: usize },
    #[error("the batch has {entries} entries, the limit is {BATCH_ENTRIES_MAX}")]
    TooManyEntries { entries: usize },
    #[error("the batch has {bytes} bytes, the limit is {BATCH_BYTES_MAX}")]
    BatchTooLarge { bytes: usize },
    #[error("a stream name has 1 to {STREAM_NAME_BYTES_MAX} bytes, this one {bytes}")]
    StreamName { bytes: usize },
    #[error("another connection kept the database locked")]
    Busy,
}

/// A failure after which the file counts as crashed. The first append that meets it names the cause, every
/// later one on the same handle answers `Crashed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error("this handle has crashed")]
    Crashed,
    #[error("the disk did not confirm that the data is durable")]
    FsyncFailed,
    #[error("the disk is full")]
    DiskFull,
    #[error("another writer has appended since: entry {seq} is not the next one")]
    Fenced { seq: u64 },
    #[error("the store failed: {0}")]
    Store(String),
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("failed to read the journal: this handle has crashed, open it again")]
    Crashed,
    #[error("failed to read the journal: entry {seq} is not well formed: {what}")]
    Malformed { seq: u64, what: &'static str },
    #[error("failed to read the journal: {0}")]
    Store(String),
}

/// Checks a batch against the limits before any store touches it.
pub(crate) fn check_limits(stream: &str, bodies: &[Vec<u8>]) -> Result<(), Refused> {
    if stream.is_empty() || stream.len() > STREAM_NAME_BYTES_MAX {
        return Err(Refused::StreamName { bytes: stream.len() });
    }
    if bodies.len() > BATCH_ENTRIES_MAX {
        return Err(Refused::TooManyEntries { entries: bodies.len() });
    }
    if let Some(index) = bodies.iter().position(|body| body.len() > BODY_BYTES_MAX) {
        return Err(Refused::BodyTooLarge { index, bytes: bodies[index].len() });
    }
    let bytes = bodies.iter().map(Vec::len).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(Refused::BatchTooLarge { bytes });
    }
    Ok(())
}

/// Chains the bodies of one batch behind `head`.
pub(crate) fn chain<'a>(
    stream: &'a str,
    head: &Head,
    at_ms: i64,
    bodies: &'a [Vec<u8>],
) -> impl Iterator<Item = Entry> + 'a {
    bodies.iter().scan(*head, move |head, body| {
        let entry = Entry::following(head, stream, at_ms, body.clone());
        *head = entry.as_head();
        Some(entry)
    })
}

/// Iterates over all entries after `after_seq`, a page at a time; ends after the first error.
pub fn entries<L: Log + ?Sized>(log: &L, after_seq: u64) -> impl Iterator<Item = Result<Entry, ReadError>> {
    paged(after_seq, |after_seq| log.read(after_seq, PAGE_ENTRIES))
}

/// Iterates over what `read_page` returns, which is at most [`PAGE_ENTRIES`] after the given seq.
pub(crate) fn paged<F>(after_seq: u64, read_page: F) -> impl Iterator<Item = Result<Entry, ReadError>>
where
    F: Fn(u64) -> Result<Vec<Entry>, ReadError>,
{
    Pages { read_page, after_seq, page: Vec::new().into_iter(), done: false }
}

struct Pages<F> {
    read_page: F,
    after_seq: u64,
    page: std::vec::IntoIter<Entry>,
    done: bool,
}

impl<F: Fn(u64) -> Result<Vec<Entry>, ReadError>> Iterator for Pages<F> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty() && !self.done {
            match (self.read_page)(self.after_seq) {
                Ok(page) => {
                    self.done = page.len() < PAGE_ENTRIES;
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        let entry = self.page.next()?;
        self.after_seq = entry.seq;
        Some(Ok(entry))
    }
}

/// Turns stored bytes into a digest, or says which column of which entry is not one.
pub(crate) fn stored_digest(seq: u64, bytes: &[u8], what: &'static str) -> Result<Digest, ReadError> {
    Digest::try_from(bytes).map_err(|_| ReadError::Malformed { seq, what })
}
