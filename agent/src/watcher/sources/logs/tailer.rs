//! Reads log files as they grow, each line once, through every kind of rotation and through restarts. A file is known
//! by its device, inode and first bytes, not by its name: a renamed file is read to its end, an inode that is used
//! again is another file. What cannot be known to have been read is a gap with its reason, counted.
//!
//! Limits: lines that were written and truncated or deleted away between two looks are not seen; a file that was
//! renamed *and* compressed while the agent was down is gone, and counted; a copy-truncated file that regrows beyond its old length with the
//! same first bytes between two looks is taken for the old one.

use super::cursor::{Cursor, written_at};
use crate::watcher::glob::fits;
use sopwith_domain::value::AbsPath;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Longest line, in bytes; of a longer one the beginning is a line and the rest is skipped.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Most bytes of one file in one look, so that the others get their turn.
const LOOK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most files of one log.
const FILES_MAX: usize = 256;
/// How long a file that is at none of the paths any more is still read after it last grew: its writer may not have
/// let go of it.
const GRACE_MS: u64 = 10_000;
/// Ends of names of files that hold no lines.
const PACKED: [&str; 7] = [".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip", ".Z"];
/// `O_NONBLOCK`: opening a pipe that somebody put there must not wait for its other end.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Why a stretch of a file was not read whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Gap {
    LongLine,
    Truncated,
    /// A file with a known place in it was not found again.
    Gone,
    TooManyFiles,
}

impl Gap {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::LongLine => "long-line",
            Self::Truncated => "truncated",
            Self::Gone => "gone",
            Self::TooManyFiles => "too-many-files",
        }
    }
}

/// What a look came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Looked {
    pub lines: u64,
    pub gaps: BTreeMap<Gap, u64>,
    /// There is more to read at once.
    pub more: bool,
}

impl Looked {
    fn gap(&mut self, gap: Gap) {
        *self.gaps.entry(gap).or_default() += 1;
    }
}

#[derive(Debug)]
struct Tracked {
    file: File,
    at: Cursor,
    /// What was read after the last whole line.
    carry: Vec<u8>,
    /// Since when it is at none of the paths, by the boot clock.
    absent_ms: Option<u64>,
    changed: bool,
}

/// The files of one log.
#[derive(Debug)]
pub(super) struct Tailer {
    paths: Vec<AbsPath>,
    tracked: Vec<Tracked>,
    /// Places from before a restart that were not found again yet.
    known: Vec<Cursor>,
    /// Paths that were looked at before. What is there at the first look begins at its end, what comes later at its
    /// beginning.
    begun: BTreeSet<AbsPath>,
    /// What is to be kept, or forgotten, apart from the places of tracked files.
    changes: Vec<(String, Option<String>)>,
}

/// Begins the name under which it is kept that a path was looked at.
const BEGUN: &str = "begun:";

impl Tailer {
    /// Takes up the log where it was left.
    pub(super) fn new(paths: Vec<AbsPath>, cursors: &BTreeMap<String, String>) -> Self {
        let mut tailer = Self {
            paths,
            tracked: Vec::new(),
            known: Vec::new(),
            begun: BTreeSet::new(),
            changes: Vec::new(),
        };
        for (name, text) in cursors {
            let path = name.strip_prefix(BEGUN).map(AbsPath::new);
            match (path, serde_json::from_str(text)) {
                (Some(Ok(path)), _) if tailer.paths.contains(&path) => _ = tailer.begun.insert(path),
                (None, Ok(cursor)) => tailer.known.push(cursor),
                _ => tailer.changes.push((name.clone(), None)),
            }
        }
        tailer
    }

    /// Reads what is new and hands it over in pieces of whole lines.
    pub(super) fn look(&mut self, now_ms: u64, each: &mut dyn FnMut(&[u8])) -> Looked {
        let mut looked = Looked::default();
        self.discover(now_ms, &mut looked);
        // What was renamed is older than what took its name.
        self.tracked.sort_by_key(|t| match t.absent_ms {
            Some(_) => (false, written_at(&t.file), PathBuf::new()),
            None => (true, None, t.at.path.clone()),
        });
        for tracked in &mut self.tracked {
            tracked.read(now_ms, &mut looked, each);
        }
        let over = |t: &Tracked| t.absent_ms.is_some_and(|since_ms| since_ms + GRACE_MS <= now_ms);
        for gone in self.tracked.extract_if(.., |t| over(t)) {
            if !gone.carry.is_empty() {
                // Nobody will end this line any more.
                looked.lines += 1;
                each(&gone.carry);
            }
            self.changes.push((gone.at.name(), None));
        }
        looked
    }

    /// Returns what is to be kept since the last call; a name of nothing is to be forgotten.
    pub(super) fn changes(&mut self) -> Vec<(String, Option<String>)> {
        let mut changes = std::mem::take(&mut self.changes);
        for tracked in self.tracked.iter_mut().filter(|t| t.changed) {
            tracked.changed = false;
            changes.push((tracked.at.name(), Some(tracked.at.text())));
        }
        changes
    }

    /// Returns the folders in which the files lie, for being woken.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let folders = self.paths.iter().filter_map(|path| Path::new(path.as_str()).parent());
        folders.map(Path::to_owned).collect()
    }

    fn discover(&mut self, now_ms: u64, looked: &mut Looked) {
        let mut present = Vec::new();
        for path in self.paths.clone() {
            let seen_before = self.begun.contains(&path);
            for file in files_of(&path) {
                let Some((device, inode)) = identity(&file) else { continue };
                if present.len() >= FILES_MAX {
                    looked.gap(Gap::TooManyFiles);
                    break;
                }
                present.push((device, inode));
                match self.tracked.iter_mut().find(|t| t.at.is(device, inode)) {
                    Some(tracked) => tracked.at.path = file,
                    None => self.track(file, seen_before),
                }
            }
            if !seen_before {
                self.changes.push((format!("{BEGUN}{path}"), Some("1".into())));
                self.begun.insert(path);
            }
        }
        let mut renamed = Vec::new();
        for tracked in &mut self.tracked {
            let here = present.contains(&(tracked.at.device, tracked.at.inode));
            if !here && tracked.absent_ms.is_none() {
                renamed.push((tracked.at.path.clone(), written_at(&tracked.file)));
            }
            tracked.absent_ms = if here { None } else { tracked.absent_ms.or(Some(now_ms)) };
        }
        for lost in std::mem::take(&mut self.known) {
            let (path, found) = (lost.path.clone(), self.find_again(lost, now_ms, looked));
            renamed.extend(found.map(|written| (path, Some(written))));
        }
        for (path, written) in renamed {
            self.find_between(&path, written, now_ms);
        }
    }

    /// Looks for files that were made and renamed again after one was renamed and before its name was looked at.
    fn find_between(&mut self, path: &Path, written: Option<SystemTime>, now_ms: u64) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let siblings = path.parent().and_then(|f| std::fs::read_dir(f).ok()).into_iter().flatten().flatten();
        for entry in siblings.take(FILES_MAX * 16) {
            let rotated = entry.file_name().to_str().and_then(|s| s.strip_prefix(name)).is_some_and(|rest| {
                rest.starts_with(['.', '-'])
                    && rest[1..].starts_with(|c: char| c.is_ascii_digit())
                    && !packed(rest)
            });
            let newer = entry.metadata().ok().and_then(|m| m.modified().ok()) > written;
            if !rotated || !newer || written.is_none() {
                continue;
            }
            let Some((file, device, inode)) = open(&entry.path()) else { continue };
            if !self.tracked.iter().any(|t| t.at.is(device, inode)) && self.tracked.len() < FILES_MAX * 2 {
                let at = Cursor::new(path.to_owned(), device, inode, 0);
                self.tracked.push(Tracked {
                    file,
                    at,
                    carry: Vec::new(),
                    absent_ms: Some(now_ms),
                    changed: true,
                });
            }
        }
    }

    fn track(&mut self, path: PathBuf, seen_before: bool) {
        let Some((file, device, inode)) = open(&path) else { return };
        // A place in a file that had this inode before stays among the known ones, as lost.
        let told_apart = |c: &Cursor| c.is(device, inode) && c.offset > 0 && c.fits(&file);
        let known = self.known.iter().position(told_apart);
        let mut at = match known.map(|at| self.known.remove(at)) {
            Some(known) => known.at(path),
            None if seen_before => Cursor::new(path, device, inode, 0),
            None => Cursor::new(path, device, inode, end_of_lines(&file)),
        };
        at.note(&file);
        self.tracked.push(Tracked { file, at, carry: Vec::new(), absent_ms: None, changed: true });
    }

    /// Looks for a file that was renamed while nobody looked, beside where it was; returns when it was written,
    /// as far as that is known.
    fn find_again(&mut self, lost: Cursor, now_ms: u64, looked: &mut Looked) -> Option<SystemTime> {
        if lost.offset == 0 {
            // Nothing was read of it, so nothing tells it from another file that has its inode now.
            self.changes.push((lost.name(), None));
            return lost.written;
        }
        let (folder, name) = (lost.path.parent(), lost.path.file_name().and_then(|n| n.to_str()));
        let siblings = folder.and_then(|f| std::fs::read_dir(f).ok()).into_iter().flatten().flatten();
        for entry in siblings.take(FILES_MAX * 16) {
            let sibling = entry.file_name();
            let named_alike = sibling.to_str().zip(name).is_some_and(|(s, n)| s.starts_with(n) && !packed(s));
            if !named_alike {
                continue;
            }
            let Some((file, device, inode)) = open(&entry.path()) else { continue };
            if lost.is(device, inode) && lost.fits(&file) {
                let (carry, absent_ms) = (Vec::new(), Some(now_ms));
                let written = written_at(&file);
                self.tracked.push(Tracked { file, at: lost, carry, absent_ms, changed: false });
                return written;
            }
        }
        looked.gap(Gap::Gone);
        self.changes.push((lost.name(), None));
        lost.written
    }
}

impl Tracked {
    fn read(&mut self, now_ms: u64, looked: &mut Looked, each: &mut dyn FnMut(&[u8])) {
        let Ok(length) = self.file.metadata().map(|m| m.len()) else { return };
        if length < self.read_to() || !self.at.fits(&self.file) {
            looked.gap(Gap::Truncated);
            self.at = Cursor::new(self.at.path.clone(), self.at.device, self.at.inode, 0);
            self.at.note(&self.file);
            self.carry.clear();
            self.changed = true;
        }
        let mut chunk =
            vec![0; CHUNK_BYTES.min(usize::try_from(length - self.read_to()).unwrap_or(CHUNK_BYTES))];
        let mut done = 0;
        while !chunk.is_empty() {
            let Ok(count @ 1..) = self.file.read_at(&mut chunk, self.read_to()) else { break };
            self.take(&chunk[..count], looked, each);
            done += count;
            if done >= LOOK_BYTES_MAX {
                looked.more = true;
                break;
            }
        }
        if done > 0 {
            self.changed = true;
            self.absent_ms = self.absent_ms.and(Some(now_ms));
            self.at.note(&self.file);
        }
    }

    /// Returns the place up to which bytes were read, beyond the last whole line.
    fn read_to(&self) -> u64 {
        self.at.offset + self.carry.len() as u64
    }

    fn take(&mut self, mut bytes: &[u8], looked: &mut Looked, each: &mut dyn FnMut(&[u8])) {
        if self.at.skipping {
            let end = bytes.iter().position(|b| *b == b'\n');
            let skipped = end.map_or(bytes.len(), |end| end + 1);
            self.at.offset += skipped as u64;
            self.at.skipping = end.is_none();
            bytes = &bytes[skipped..];
        }
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        if whole > 0 {
            let (lines, rest) = bytes.split_at(whole);
            self.hand_over(lines, looked, each);
            bytes = rest;
        }
        self.carry.extend_from_slice(bytes);
        if self.carry.len() > LINE_BYTES_MAX {
            looked.gap(Gap::LongLine);
            looked.lines += 1;
            each(&self.carry[..LINE_BYTES_MAX]);
            self.at.offset += self.carry.len() as u64;
            self.carry.clear();
            self.at.skipping = true;
        }
    }

    fn hand_over(&mut self, lines: &[u8], looked: &mut Looked, each: &mut dyn FnMut(&[u8])) {
        self.at.offset += (self.carry.len() + lines.len()) as u64;
        looked.lines += lines.iter().filter(|b| **b == b'\n').count() as u64;
        if self.carry.is_empty() {
            each(lines);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(lines);
            each(&carry);
        }
    }
}

fn packed(name: &str) -> bool {
    PACKED.iter().any(|end| name.ends_with(end))
}

/// Returns the files that a path names; in its last part it may be a pattern.
fn files_of(path: &AbsPath) -> Vec<PathBuf> {
    let path = Path::new(path.as_str());
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return vec![path.to_owned()];
    }
    let entries =
        path.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let fitting = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|found| fits(name, found) && !packed(found)));
    let mut files: Vec<_> = fitting.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

fn open(path: &Path) -> Option<(File, u64, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    metadata.is_file().then(|| (file, metadata.dev(), metadata.ino()))
}

/// Returns the place after the last whole line.
fn end_of_lines(file: &File) -> u64 {
    let length = file.metadata().map_or(0, |m| m.len());
    let from = length.saturating_sub(LINE_BYTES_MAX as u64);
    let mut tail = vec![0; usize::try_from(length - from).unwrap_or(0)];
    if file.read_exact_at(&mut tail, from).is_err() {
        return length;
    }
    tail.iter().rposition(|b| *b == b'\n').map_or(length, |end| from + end as u64 + 1)
}

#[cfg(test)]
mod tests;
