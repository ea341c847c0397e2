//! An append-only, hash-chained journal: numbered byte bodies, each bound to the one before it.
//!
//! One stream has one writer. An append is one atomic batch: all of its entries are durable when it is
//! acknowledged, or none of them will ever be seen. Two stores keep that promise: SQLite for the real
//! programs ([`sqlite`]) and memory with planned faults for the simulator ([`memory`]).
//!
//! This crate knows bytes. It never looks into a body, never reads a clock (time is an argument), never
//! changes or removes an entry, and never retries a write whose outcome it does not know.

mod entry;
mod log;
pub mod memory;
pub mod mutant;
pub mod sqlite;
mod verify;

pub use entry::{Digest, Entry, Head, NotADigest};
pub use log::{
    AppendError, BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BODY_BYTES_MAX, Fatal, Log, PAGE_ENTRIES, ReadError,
    Refused, STREAM_NAME_BYTES_MAX, entries,
};
pub use memory::{Fault, FaultPlan, MemoryDisk, MemoryLog, Rest};
pub use sqlite::SqliteLog;
pub use verify::{ChainError, VerifyError, verify, verify_log};
