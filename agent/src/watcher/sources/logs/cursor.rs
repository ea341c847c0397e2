//! A place in a log file, as it is kept: which file it is, by device, inode and its first bytes, and how far it was
//! read.

use serde::{Deserialize, Serialize};
use sopwith_domain::ids::Digest;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// How many bytes of a file's beginning tell it from others.
const FINGERPRINT_BYTES: usize = 256;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub path: PathBuf,
    pub device: u64,
    pub inode: u64,
    /// Place after the last whole line that was read.
    pub offset: u64,
    /// The rest of a line that is too long lies here and is skipped.
    pub skipping: bool,
    /// When it was written, as far as it was read.
    pub written: Option<SystemTime>,
    /// Digest of the first bytes, and of how many.
    fingerprint: Digest,
    fingerprinted: usize,
}

impl Cursor {
    pub(super) fn new(path: PathBuf, device: u64, inode: u64, offset: u64) -> Self {
        let (fingerprint, fingerprinted) = (Digest::of(b""), 0);
        Self { path, device, inode, offset, skipping: false, written: None, fingerprint, fingerprinted }
    }

    /// Returns the same place under the file's new name.
    pub(super) fn at(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Returns the name under which it is kept.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.device, self.inode)
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a cursor has string keys and no floats")
    }

    pub(super) fn is(&self, device: u64, inode: u64) -> bool {
        self.device == device && self.inode == inode
    }

    /// Says whether the file begins as it did and is as long as it was read.
    pub(super) fn fits(&self, file: &File) -> bool {
        let mut first = vec![0; self.fingerprinted];
        file.read_exact_at(&mut first, 0).is_ok()
            && Digest::of(&first) == self.fingerprint
            && file.metadata().is_ok_and(|m| m.len() >= self.offset)
    }

    /// Takes in when the file was written, and as much of its beginning as was read and tells it from others.
    pub(super) fn note(&mut self, file: &File) {
        self.written = written_at(file);
        let wanted = usize::try_from(self.offset).unwrap_or(usize::MAX).min(FINGERPRINT_BYTES);
        if wanted <= self.fingerprinted {
            return;
        }
        let mut first = vec![0; wanted];
        if file.read_exact_at(&mut first, 0).is_ok() {
            (self.fingerprint, self.fingerprinted) = (Digest::of(&first), wanted);
        }
    }
}

/// Returns when a file was written.
pub(super) fn written_at(file: &File) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}
