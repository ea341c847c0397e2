//! Verification of a chain, offline: needs the entries and, to notice a cut end, a head kept elsewhere.
//!
//! It never repairs. A chain proves that nothing was edited, removed or reordered *before* a head that the
//! verifier trusts; who can rewrite every entry and every kept head can forge it, which is why heads are
//! handed to others (agents, exports).

use std::borrow::Borrow;

use crate::{Entry, Head, Log, ReadError, entries};

/// What is wrong with a chain, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("entry {seq} is missing: entry {found} stands in its place")]
    Gap { seq: u64, found: u64 },
    #[error("entry {found} stands where entry {seq} belongs")]
    Reordered { seq: u64, found: u64 },
    #[error("entry {seq} does not follow the entry before it")]
    WrongPrev { seq: u64 },
    #[error("entry {seq} was altered: its contents do not have its hash")]
    WrongHash { seq: u64 },
    #[error("the chain ends at entry {last}, but entry {expected} is known to have existed")]
    Truncated { last: u64, expected: u64 },
    #[error("entry {seq} is sound but not the one that was expected: the chain was rewritten")]
    Rewritten { seq: u64 },
}

/// Why the chain of a log could not be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the journal of {stream} is not what was written: {error}")]
    Chain { stream: String, error: ChainError },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Checks the entries of a whole stream from entry 1 and returns its head.
///
/// `expected` is a head known from elsewhere that the chain must contain; it may be older than the end.
pub fn verify<I>(stream: &str, entries: I, expected: Option<Head>) -> Result<Head, ChainError>
where
    I: IntoIterator,
    I::Item: Borrow<Entry>,
{
    let mut head = Head::EMPTY;
    let mut entries = entries.into_iter();
    while let Some(entry) = entries.next() {
        match follow(stream, &head, entry.borrow(), expected) {
            Ok(next) => head = next,
            // A missing entry that turns up later was not removed but moved.
            Err(ChainError::Gap { seq, found }) if entries.any(|later| later.borrow().seq == seq) => {
                return Err(ChainError::Reordered { seq, found });
            }
            Err(error) => return Err(error),
        }
    }
    reached(&head, expected)?;
    Ok(head)
}

/// Checks a stored log page by page, so that its size does not matter.
pub fn verify_log<L: Log + ?Sized>(log: &L, expected: Option<Head>) -> Result<Head, VerifyError> {
    verify_stored(log.stream(), entries(log, 0), expected)
}

/// Checks entries that come from a store and may fail to.
pub(crate) fn verify_stored(
    stream: &str,
    entries: impl Iterator<Item = Result<Entry, ReadError>>,
    expected: Option<Head>,
) -> Result<Head, VerifyError> {
    let broken = |error| VerifyError::Chain { stream: stream.to_owned(), error };
    let mut head = Head::EMPTY;
    for entry in entries {
        head = follow(stream, &head, &entry?, expected).map_err(broken)?;
    }
    reached(&head, expected).map_err(broken)?;
    Ok(head)
}

/// Checks one entry against the head before it.
fn follow(stream: &str, head: &Head, entry: &Entry, expected: Option<Head>) -> Result<Head, ChainError> {
    let seq = head.seq + 1;
    if entry.seq > seq {
        return Err(ChainError::Gap { seq, found: entry.seq });
    }
    if entry.seq < seq {
        return Err(ChainError::Reordered { seq, found: entry.seq });
    }
    if entry.prev != head.hash {
        return Err(ChainError::WrongPrev { seq });
    }
    if entry.hash != entry.computed_hash(stream) {
        return Err(ChainError::WrongHash { seq });
    }
    if expected.is_some_and(|expected| expected.seq == seq && expected.hash != entry.hash) {
        return Err(ChainError::Rewritten { seq });
    }
    Ok(entry.as_head())
}

/// Checks that the chain went as far as the expected head.
fn reached(head: &Head, expected: Option<Head>) -> Result<(), ChainError> {
    match expected {
        Some(expected) if expected.seq > head.seq => {
            Err(ChainError::Truncated { last: head.seq, expected: expected.seq })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn chain(len: u64) -> Vec<Entry> {
        let bodies: Vec<Vec<u8>> = (0..len).map(|n| vec![n as u8; 3]).collect();
        crate::log::chain("s", &Head::EMPTY, 7, &bodies).collect()
    }

    /// Re-hashes everything after an edit, as a forger with write access would.
    fn forge(mut entries: Vec<Entry>, from: usize) -> Vec<Entry> {
        for n in from..entries.len() {
            let head = if n == 0 { Head::EMPTY } else { entries[n - 1].as_head() };
            entries[n] = Entry::following(&head, "s", entries[n].at_ms, entries[n].body.clone());
        }
        entries
    }

    #[test]
    fn a_sound_chain_has_its_head() {
        let entries = chain(4);
        let head = entries[3].as_head();
        assert_eq!(verify("s", &entries, None), Ok(head));
        assert_eq!(verify("s", &entries, Some(head)), Ok(head));
        assert_eq!(verify("s", &entries, Some(entries[1].as_head())), Ok(head), "an older head is enough");
        assert_eq!(verify("s", chain(0), None), Ok(Head::EMPTY));
        assert_eq!(verify("t", &entries, None), Err(ChainError::WrongHash { seq: 1 }), "other stream");
    }

    #[test]
    fn every_change_is_named() {
        type Edit = fn(&mut Vec<Entry>);
        let table: [(Edit, ChainError); 11] = [
            (|e| drop(e.remove(0)), ChainError::Gap { seq: 1, found: 2 }),
            (|e| drop(e.remove(1)), ChainError::Gap { seq: 2, found: 3 }),
            (|e| drop(e.pop()), ChainError::Truncated { last: 3, expected: 4 }),
            (Vec::clear, ChainError::Truncated { last: 0, expected: 4 }),
            (|e| e.swap(1, 2), ChainError::Reordered { seq: 2, found: 3 }),
            (|e| e[2] = e[1].clone(), ChainError::Reordered { seq: 3, found: 2 }),
            (|e| e[1].body[0] ^= 1, ChainError::WrongHash { seq: 2 }),
            (|e| e[1].at_ms += 1, ChainError::WrongHash { seq: 2 }),
            (|e| e[1].prev = Digest([9; 32]), ChainError::WrongPrev { seq: 2 }),
            (|e| e[3].hash = Digest([9; 32]), ChainError::WrongHash { seq: 4 }),
            (|e| e[0].prev = Digest([9; 32]), ChainError::WrongPrev { seq: 1 }),
        ];
        for (n, (edit, expected)) in table.into_iter().enumerate() {
            let mut entries = chain(4);
            let head = entries[3].as_head();
            edit(&mut entries);
            assert_eq!(verify("s", &entries, Some(head)), Err(expected), "case {n}");
        }
    }

    #[test]
    fn a_forged_chain_is_found_by_a_kept_head() {
        let mut entries = chain(4);
        let kept = entries[2].as_head();
        entries[1].body = b"forged".to_vec();
        let forged = forge(entries, 1);
        assert!(verify("s", &forged, None).is_ok(), "nothing but a kept head can tell");
        assert_eq!(verify("s", &forged, Some(kept)), Err(ChainError::Rewritten { seq: 3 }));
    }
}
