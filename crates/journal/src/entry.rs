//! One journal entry and what binds it to the entry before: digest, entry, head of a stream.
//!
//! Pure: hashing and comparing, no storage.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Keeps these hashes apart from every other use of SHA-256, and names the version of the layout.
const DOMAIN_TAG: &[u8] = b"sopwith-journal-v1";

/// A SHA-256 hash; all zero stands for "nothing came before".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest before the first entry.
    pub const ZERO: Digest = Digest([0; 32]);

    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The text or bytes are not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 bytes, written as 64 hexadecimal digits")]
pub struct NotADigest;

impl TryFrom<&[u8]> for Digest {
    type Error = NotADigest;

    fn try_from(bytes: &[u8]) -> Result<Self, NotADigest> {
        bytes.try_into().map(Digest).map_err(|_| NotADigest)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotADigest)?;
        Ok(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// One entry as it stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the stream, from 1, without gaps.
    pub seq: u64,
    /// Wall clock of the writer in milliseconds since 1970; it may jump, `seq` is the order.
    pub at_ms: i64,
    /// Hash of the entry before, [`Digest::ZERO`] for the first.
    pub prev: Digest,
    /// Hash over stream name, seq, time, `prev` and body.
    pub hash: Digest,
    /// What the caller wrote.
    pub body: Vec<u8>,
}

impl Entry {
    /// Makes the entry that follows `head` in `stream`.
    pub fn following(head: &Head, stream: &str, at_ms: i64, body: Vec<u8>) -> Entry {
        let seq = head.seq + 1;
        let hash = hash(stream, seq, at_ms, &head.hash, &body);
        Entry { seq, at_ms, prev: head.hash, hash, body }
    }

    /// Computes what the hash of these contents has to be.
    pub fn computed_hash(&self, stream: &str) -> Digest {
        hash(stream, self.seq, self.at_ms, &self.prev, &self.body)
    }

    /// Returns the head of a stream that ends with this entry.
    pub fn as_head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// The last entry of a stream: all that a writer or a witness has to remember of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Seq of the last entry, 0 when the stream is empty.
    pub seq: u64,
    /// Hash of the last entry, [`Digest::ZERO`] when the stream is empty.
    pub hash: Digest,
}

impl Head {
    /// The head of a stream without entries.
    pub const EMPTY: Head = Head { seq: 0, hash: Digest::ZERO };
}

/// Hashes one entry. Every part of variable length is preceded by its length, so that no two different
/// entries have the same input.
fn hash(stream: &str, seq: u64, at_ms: i64, prev: &Digest, body: &[u8]) -> Digest {
    let mut sha = Sha256::new();
    sha.update(DOMAIN_TAG);
    sha.update((stream.len() as u64).to_be_bytes());
    sha.update(stream.as_bytes());
    sha.update(seq.to_be_bytes());
    sha.update(at_ms.to_be_bytes());
    sha.update(prev.0);
    sha.update((body.len() as u64).to_be_bytes());
    sha.update(body);
    Digest(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_entry_is_hashed() {
        let base = hash("s", 1, 2, &Digest::ZERO, b"body");
        let others = [
            hash("t", 1, 2, &Digest::ZERO, b"body"),
            hash("s", 2, 2, &Digest::ZERO, b"body"),
            hash("s", 1, 3, &Digest::ZERO, b"body"),
            hash("s", 1, 2, &Digest([1; 32]), b"body"),
            hash("s", 1, 2, &Digest::ZERO, b"bodz"),
            hash("s", 1, 2, &Digest::ZERO, b""),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    /// The layout is a promise to everyone who keeps an export: this value, computed once with another
    /// SHA-256 implementation, must never change.
    #[test]
    fn the_layout_is_golden() {
        let entry = Entry::following(&Head::EMPTY, "ledger", 1_700_000_000_000, b"hello".to_vec());
        assert_eq!(
            entry.hash.to_string(),
            "9491a277dcfb3c24fd974f971a89231b633319efb730fbbfcc97a114585a31e6"
        );
    }

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = hash("s", 1, 2, &Digest::ZERO, b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("00".parse::<Digest>(), Err(NotADigest));
        assert_eq!("zz".repeat(32).parse::<Digest>(), Err(NotADigest));
        assert_eq!(Digest::try_from(&[0_u8; 31][..]), Err(NotADigest));
    }
}
