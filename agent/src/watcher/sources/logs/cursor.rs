//! A place in a log file, as it is kept: which file it is, by device, inode, its first bytes and the last that were
//! read, and how far that is.

use serde::{Deserialize, Serialize};
use sopwith_domain::ids::Digest;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// How many bytes of a file's beginning tell it from others.
pub(super) const FINGERPRINT_BYTES: usize = 256;
/// From so many bytes on a beginning is taken for one of a kind without its inode.
const TELLING_BYTES: usize = 48;
/// How many bytes before the place tell that it is still the same file.
const TAIL_BYTES: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Where the log was; what is read may lie beside it.
    pub path: PathBuf,
    pub device: u64,
    pub inode: u64,
    /// Place after the last whole line, or record, that was read.
    pub offset: u64,
    /// The rest of a line that is too long lies here and is skipped.
    pub skipping: bool,
    /// When it was written, as far as it was read.
    pub written: Option<SystemTime>,
    /// Whether it is not the file itself that is read but a copy, packed or not, to whose end nobody writes.
    #[serde(default)]
    pub copy: bool,
    /// What the file began with.
    #[serde(flatten)]
    pub head: Head,
    /// Digest of the last bytes that were read.
    #[serde(default)]
    tail: Option<Digest>,
}

/// How a file begins: the digest of its first bytes, and of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    fingerprint: Digest,
    fingerprinted: usize,
}

impl Head {
    fn none() -> Self {
        Self { fingerprint: Digest::of(b""), fingerprinted: 0 }
    }

    pub(super) fn of(first: &[u8]) -> Self {
        let first = &first[..first.len().min(FINGERPRINT_BYTES)];
        Self { fingerprint: Digest::of(first), fingerprinted: first.len() }
    }

    /// Says whether other files are not likely to begin so.
    pub(super) fn telling(&self) -> bool {
        self.fingerprinted >= TELLING_BYTES
    }

    /// Says whether a file with these first bytes begins so.
    pub(super) fn begins(&self, first: &[u8]) -> bool {
        first.get(..self.fingerprinted).is_some_and(|first| Digest::of(first) == self.fingerprint)
    }
}

/// What is kept of bytes that pass: the first and the last.
#[derive(Debug, Default)]
pub(super) struct Tail {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Tail {
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let wanted = FINGERPRINT_BYTES.saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..wanted]);
        self.last.extend_from_slice(bytes);
        let over = self.last.len().saturating_sub(TAIL_BYTES);
        self.last.drain(..over);
    }
}

impl Cursor {
    pub(super) fn new(path: PathBuf, device: u64, inode: u64, offset: u64) -> Self {
        let (head, tail) = (Head::none(), None);
        Self { path, device, inode, offset, skipping: false, written: None, copy: false, head, tail }
    }

    /// Returns the same place under the file's new name.
    pub(super) fn at(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Returns the same place in a copy of the file.
    pub(super) fn in_copy(&self, device: u64, inode: u64) -> Self {
        Self { device, inode, copy: true, ..self.clone() }
    }

    /// Returns the name under which it is kept.
    pub(super) fn name(&self) -> String {
        let kind = if self.copy { "copy-" } else { "" };
        format!("{kind}{}-{}", self.device, self.inode)
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a cursor has string keys and no floats")
    }

    pub(super) fn is(&self, device: u64, inode: u64) -> bool {
        self.device == device && self.inode == inode
    }

    /// Says whether the file begins as it did, is as long as it was read, and holds there what it held.
    pub(super) fn fits(&self, file: &File) -> bool {
        let mut first = vec![0; self.head.fingerprinted];
        file.metadata().is_ok_and(|m| m.len() >= self.offset)
            && file.read_exact_at(&mut first, 0).is_ok()
            && self.head.begins(&first)
            && self
                .tail
                .is_none_or(|tail| last_bytes(file, self.offset).is_some_and(|b| Digest::of(&b) == tail))
    }

    /// Says the same of what has passed up to the place.
    pub(super) fn fits_passed(&self, passed: &Tail) -> bool {
        let last = &passed.last;
        // Of what was just begun only the name tells.
        let first = self.offset == 0 || self.head.begins(&passed.first);
        first && self.tail.is_none_or(|tail| Digest::of(last) == tail)
    }

    /// Takes in when the file was written, as much of its beginning as was read and tells it from others, and what
    /// was read last.
    pub(super) fn note(&mut self, file: &File) {
        self.written = written_at(file);
        let wanted = usize::try_from(self.offset).unwrap_or(usize::MAX).min(FINGERPRINT_BYTES);
        self.tail = last_bytes(file, self.offset).map(|bytes| Digest::of(&bytes));
        if wanted <= self.head.fingerprinted {
            return;
        }
        let mut first = vec![0; wanted];
        if file.read_exact_at(&mut first, 0).is_ok() {
            self.head = Head::of(&first);
        }
    }

    /// Forgets what was read last, where that cannot be read again.
    pub(super) fn forget_tail(&mut self) {
        self.tail = None;
    }
}

fn last_bytes(file: &File, offset: u64) -> Option<Vec<u8>> {
    let from = offset.saturating_sub(TAIL_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(offset - from).ok()?];
    file.read_exact_at(&mut bytes, from).ok()?;
    Some(bytes)
}

/// Returns when a file was written.
pub(super) fn written_at(file: &File) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}
