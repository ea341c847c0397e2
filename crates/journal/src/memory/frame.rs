//! The bytes of a batch on a memory disk, needed only where a crash cuts one short.
//!
//! A record is: length of what follows (u32), number of records after it in its batch (u32), seq, time,
//! prev, hash, body; all big-endian. A batch counts only when every record of it is there and hashes right.

use super::Rest;
use crate::{Digest, Entry, Head};

/// Everything in a record but its body.
const FRAME_BYTES: usize = 4 + HEADER_BYTES;
const HEADER_BYTES: usize = 4 + 8 + 8 + 32 + 32;

/// Returns the size on disk of a record with a body of this size, for loops over every torn byte.
pub const fn record_bytes(body_bytes: usize) -> usize {
    FRAME_BYTES + body_bytes
}

/// What recovery finds behind the last whole batch.
#[derive(Debug)]
pub(super) enum Decoded {
    /// Every record of the batch is sound (or there is nothing).
    Whole(Vec<Entry>),
    /// The batch is incomplete; these records of it are sound.
    Torn(Vec<Entry>),
}

/// Writes a batch whose last record is cut after `keep_bytes`.
pub(super) fn torn_batch(batch: &[Entry], keep_bytes: usize, rest: Rest) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last_at = 0;
    for (n, entry) in batch.iter().enumerate() {
        last_at = bytes.len();
        encode(&mut bytes, entry, batch.len() - 1 - n);
    }
    let cut = (last_at.saturating_add(keep_bytes)).min(bytes.len());
    match rest {
        Rest::Missing => bytes.truncate(cut),
        Rest::Zeros => bytes[cut..].fill(0),
    }
    bytes
}

fn encode(bytes: &mut Vec<u8>, entry: &Entry, batch_left: usize) {
    // Both fit: a body has at most 1 MiB, a batch at most 4,096 entries.
    bytes.extend(((HEADER_BYTES + entry.body.len()) as u32).to_be_bytes());
    bytes.extend((batch_left as u32).to_be_bytes());
    bytes.extend(entry.seq.to_be_bytes());
    bytes.extend(entry.at_ms.to_be_bytes());
    bytes.extend(entry.prev.0);
    bytes.extend(entry.hash.0);
    bytes.extend(&entry.body);
}

/// Reads one batch that has to follow `head`.
pub(super) fn decode_batch(stream: &str, mut head: Head, mut bytes: &[u8]) -> Decoded {
    let mut batch = Vec::new();
    if bytes.is_empty() {
        return Decoded::Whole(batch);
    }
    loop {
        let Some((entry, batch_left)) = decode(&mut bytes) else { return Decoded::Torn(batch) };
        let follows = entry.seq == head.seq + 1 && entry.prev == head.hash;
        if !follows || entry.hash != entry.computed_hash(stream) {
            return Decoded::Torn(batch);
        }
        head = entry.as_head();
        batch.push(entry);
        if batch_left == 0 {
            return Decoded::Whole(batch);
        }
    }
}

fn decode(bytes: &mut &[u8]) -> Option<(Entry, u32)> {
    let len = u32::from_be_bytes(take(bytes)?) as usize;
    let body_len = len.checked_sub(HEADER_BYTES)?;
    let batch_left = u32::from_be_bytes(take(bytes)?);
    let seq = u64::from_be_bytes(take(bytes)?);
    let at_ms = i64::from_be_bytes(take(bytes)?);
    let (prev, hash) = (Digest(take(bytes)?), Digest(take(bytes)?));
    let (body, rest) = bytes.split_at_checked(body_len)?;
    *bytes = rest;
    Some((Entry { seq, at_ms, prev, hash, body: body.to_vec() }, batch_left))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
