//! Reads log files as they grow, each line once, through every kind of rotation and through restarts. A file is known
//! by its device, inode, first bytes and the bytes before the place, not by its name: a renamed file is read to its
//! end, an inode that is used again is another file, and what was copied away before a file was emptied, or packed
//! while nobody looked, is read from where it lies now. What cannot be known to have been read is a gap with its
//! reason, counted.
//!
//! Limits: lines that were written and deleted away between two looks, without a copy left, are not seen; of what is
//! packed only gzip is read.

use super::cursor::{Cursor, FINGERPRINT_BYTES, Head, written_at};
use super::find::{FILES_MAX, Found, Sibling, is_rotated, siblings};
use super::reader::{Reader, first_bytes, open, open_copy};
use super::tracked::{Each, Gap, Looked, Manner, Tracked};
use crate::watcher::wake::Changes;
use sopwith_domain::value::AbsPath;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How long a file that is at none of the paths any more is still read after it last grew: its writer may not have
/// let go of it.
pub(super) const GRACE_MS: u64 = 10_000;
/// Beginnings of files that were read to their end are remembered, so that no copy of them is read: so many.
const DONE_MAX: usize = 64;
/// Begins the name under which it is kept that a path was looked at.
const BEGUN: &str = "begun:";
/// Under this name is kept what was read to its end.
const DONE: &str = "done";

/// The files of one log.
#[derive(Debug)]
pub(super) struct Tailer {
    paths: Vec<AbsPath>,
    manner: Manner,
    tracked: Vec<Tracked>,
    /// Places from before a restart that were not found again yet.
    known: Vec<Cursor>,
    /// Paths that were looked at before. What is there at the first look begins at its end, what comes later at its
    /// beginning.
    begun: BTreeSet<AbsPath>,
    done: Vec<Head>,
    /// What is to be kept, or forgotten, apart from the places of tracked files.
    changes: Vec<(String, Option<String>)>,
    found: Found,
    /// Files that cannot be opened, and why.
    closed: BTreeMap<PathBuf, String>,
    /// Where in `tracked` a file is.
    by_path: HashMap<PathBuf, usize>,
    /// Whether one of them is at none of the paths.
    any_absent: bool,
}

impl Tailer {
    /// Takes up the log where it was left.
    pub(super) fn new(paths: Vec<AbsPath>, manner: Manner, cursors: &BTreeMap<String, String>) -> Self {
        let mut tailer = Self {
            paths,
            manner,
            tracked: Vec::new(),
            known: Vec::new(),
            begun: BTreeSet::new(),
            done: Vec::new(),
            changes: Vec::new(),
            found: Found::default(),
            closed: BTreeMap::new(),
            by_path: HashMap::new(),
            any_absent: false,
        };
        for (name, text) in cursors {
            let path = name.strip_prefix(BEGUN).map(AbsPath::new);
            match (path, serde_json::from_str(text)) {
                (Some(Ok(path)), _) if tailer.paths.contains(&path) => _ = tailer.begun.insert(path),
                (None, _) if name == DONE => tailer.done = serde_json::from_str(text).unwrap_or_default(),
                (None, Ok(cursor)) => tailer.known.push(cursor),
                _ => tailer.changes.push((name.clone(), None)),
            }
        }
        tailer
    }

    /// Reads what is new and hands it over in pieces of whole lines. Where it is known what changed, only that is
    /// looked at.
    pub(super) fn look(&mut self, changes: Option<&Changes>, now_ms: u64, each: Each<'_>) -> Looked {
        let mut looked = Looked::default();
        let all = changes.is_none_or(|changes| changes.structure);
        let renamed = if all { self.discover(now_ms, &mut looked) } else { Vec::new() };
        let wanted = self.wanted(changes.filter(|_| !all));
        let (absent, present): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|index| self.tracked[*index].absent_ms.is_some());
        absent.into_iter().for_each(|index| self.read(index, now_ms, &mut looked, each));
        // Only now it is known how each of them begins, so that no copy is taken for another file.
        for (path, written) in renamed {
            self.read_between(&path, written, now_ms, &mut looked, each);
        }
        present.into_iter().for_each(|index| self.read(index, now_ms, &mut looked, each));
        self.end_absent(now_ms, &mut looked, each);
        looked
    }

    fn read(&mut self, index: usize, now_ms: u64, looked: &mut Looked, each: Each<'_>) {
        if self.tracked[index].truncated() {
            self.emptied(index, now_ms, looked, each);
        }
        let tracked = &mut self.tracked[index];
        tracked.read(&self.manner, now_ms, looked, each);
        if tracked.ended {
            tracked.end(&self.manner, looked, each);
        }
    }

    /// Reads what was made and renamed, or packed, after a file was renamed and before its name was looked at.
    fn read_between(
        &mut self,
        path: &Path,
        written: Option<SystemTime>,
        now_ms: u64,
        looked: &mut Looked,
        each: Each<'_>,
    ) {
        let before = self.tracked.len();
        self.find_between(path, written, now_ms, looked);
        (before..self.tracked.len()).for_each(|index| self.read(index, now_ms, looked, each));
        self.any_absent |= self.tracked.len() > before;
    }

    /// Begins a file anew that was emptied. Before that it may have been copied: the rest of it is read from there.
    fn emptied(&mut self, index: usize, now_ms: u64, looked: &mut Looked, each: Each<'_>) {
        let (path, written) = (self.tracked[index].at.path.clone(), self.tracked[index].at.written);
        let rest = rest_of(&self.tracked[index].at, &self.done, now_ms);
        self.tracked[index].begin_anew();
        match rest {
            None => looked.gap(Gap::Truncated),
            Some(mut copy) => {
                while !copy.ended {
                    copy.read(&self.manner, now_ms, looked, each);
                }
                copy.end(&self.manner, looked, each);
                self.remember(copy.head());
            }
        }
        // It may have been emptied more than once.
        self.read_between(&path, written, now_ms, looked, each);
    }

    /// Returns which files are to be looked at: what changed and what is at none of the paths, or all.
    fn wanted(&self, changes: Option<&Changes>) -> Vec<usize> {
        let Some(changes) = changes else { return (0..self.tracked.len()).collect() };
        let absent = self.tracked.iter().enumerate().filter(|(_, t)| t.absent_ms.is_some()).map(|(n, _)| n);
        let mut wanted: Vec<usize> = if self.any_absent { absent.collect() } else { Vec::new() };
        wanted.extend(changes.written.iter().filter_map(|path| self.by_path.get(path)));
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Says whether changes call for a look.
    pub(super) fn concerned(&self, changes: &Changes) -> bool {
        changes.structure || changes.written.iter().any(|path| self.by_path.contains_key(path))
    }

    fn index(&mut self) {
        self.by_path = self.tracked.iter().enumerate().map(|(n, t)| (t.at.path.clone(), n)).collect();
        self.any_absent = self.tracked.iter().any(|t| t.absent_ms.is_some());
    }

    /// Says whether a file is read that is at none of the paths any more.
    pub(super) fn any_absent(&self) -> bool {
        self.any_absent
    }

    /// Lets go of files that are at none of the paths and grow no more.
    fn end_absent(&mut self, now_ms: u64, looked: &mut Looked, each: Each<'_>) {
        let over = |t: &Tracked| t.ended || t.absent_ms.is_some_and(|since_ms| since_ms + GRACE_MS <= now_ms);
        let gone: Vec<_> = self.tracked.extract_if(.., |t| over(t)).collect();
        if !gone.is_empty() {
            self.index();
        }
        for mut gone in gone {
            gone.end(&self.manner, looked, each);
            self.changes.push((gone.at.name(), None));
            self.remember(gone.head());
        }
    }

    fn remember(&mut self, head: Head) {
        if head.telling() && !self.done.contains(&head) {
            self.done.push(head);
            let over = self.done.len().saturating_sub(DONE_MAX);
            self.done.drain(..over);
            let text = serde_json::to_string(&self.done).expect("heads have string keys and no floats");
            self.changes.push((DONE.into(), Some(text)));
        }
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
    pub(super) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.found.folders
    }

    pub(super) fn files(&self) -> usize {
        self.tracked.len()
    }

    /// Says what cannot be read, and why.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &String> {
        self.found.troubles.iter().chain(self.closed.values())
    }

    /// Returns the plain paths at which nothing is.
    pub(super) fn missing(&self) -> &[PathBuf] {
        &self.found.missing
    }

    /// Looks what is there, and returns what was renamed, or lost and found again, with when it was written.
    fn discover(&mut self, now_ms: u64, looked: &mut Looked) -> Vec<(PathBuf, Option<SystemTime>)> {
        self.found = Found::default();
        self.closed.clear();
        let mut present: HashMap<(u64, u64), usize> =
            self.tracked.iter().enumerate().map(|(n, t)| ((t.at.device, t.at.inode), n)).collect();
        let mut here = vec![false; self.tracked.len()];
        for path in self.paths.clone() {
            let (seen_before, before) = (self.begun.contains(&path), self.found.files.len());
            self.found.add(&path);
            let files = self.found.files[before..].to_vec();
            for (file, device, inode) in files {
                match present.get(&(device, inode)) {
                    Some(at) => {
                        here[*at] = true;
                        let tracked = &mut self.tracked[*at];
                        if tracked.at.path != file {
                            (tracked.at.path, tracked.changed) = (file, true);
                        }
                    }
                    None if self.track(file, seen_before, now_ms) => {
                        present.insert((device, inode), here.len());
                        here.push(true);
                    }
                    None => {}
                }
            }
            if !seen_before {
                self.changes.push((format!("{BEGUN}{path}"), Some("1".into())));
                self.begun.insert(path);
            }
        }
        if self.found.too_many {
            looked.gap(Gap::TooManyFiles);
        }
        let mut renamed = Vec::new();
        for (tracked, here) in self.tracked.iter_mut().zip(here) {
            if !here && tracked.absent_ms.is_none() {
                renamed.push((tracked.at.path.clone(), written_at(tracked.reader.file())));
            }
            tracked.absent_ms = if here { None } else { tracked.absent_ms.or(Some(now_ms)) };
        }
        for lost in std::mem::take(&mut self.known) {
            let (path, written) = (lost.path.clone(), self.find_again(lost, now_ms, looked));
            renamed.extend(written.map(|written| (path, Some(written))));
        }
        // What was renamed is older than what took its name.
        self.tracked.sort_by(|a, b| {
            let age = |t: &Tracked| t.absent_ms.map(|_| written_at(t.reader.file()));
            match (age(a), age(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (None, None) => a.at.path.cmp(&b.at.path),
                (a, b) => a.is_none().cmp(&b.is_none()),
            }
        });
        self.index();
        renamed
    }

    /// Looks for files that were made and renamed, or packed, after one was renamed and before its name was looked
    /// at.
    fn find_between(&mut self, path: &Path, written: Option<SystemTime>, now_ms: u64, looked: &mut Looked) {
        // The clock of a file system is coarse: of the same time are also files that came later.
        let newer = |sibling: &Sibling| written.is_some() && sibling.written >= written;
        let mut siblings: Vec<_> = siblings(path).into_iter().filter(newer).collect();
        siblings.sort_by_key(|sibling| sibling.written);
        for sibling in siblings {
            let (device, inode) = (sibling.device, sibling.inode);
            let tracked = self.tracked.iter().any(|t| t.at.is(device, inode));
            if tracked || self.tracked.len() >= FILES_MAX * 2 {
                continue;
            }
            let first = first_bytes(&sibling.path, sibling.packed, FINGERPRINT_BYTES);
            let Some(first) = first else {
                looked.gap(Gap::Damaged);
                continue;
            };
            if self.is_copy(&first) {
                continue;
            }
            let Ok((file, _, _)) = open(&sibling.path) else { continue };
            let mut at = Cursor::new(path.to_owned(), device, inode, 0);
            let reader = if sibling.packed {
                (at.copy, at.head) = (true, Head::of(&first));
                Reader::unpack(file)
            } else {
                Reader::Plain(file)
            };
            self.tracked.push(Tracked::absent(reader, at, now_ms));
        }
    }

    /// Says whether a file begins as one that is read, or was read to its end.
    fn is_copy(&self, first: &[u8]) -> bool {
        let heads = self.tracked.iter().map(Tracked::head).chain(self.done.iter().copied());
        heads.chain(self.known.iter().map(|k| k.head)).any(|head| head.telling() && head.begins(first))
    }

    /// Begins to read a file; says whether it did.
    fn track(&mut self, path: PathBuf, seen_before: bool, now_ms: u64) -> bool {
        let (file, device, inode) = match open(&path) {
            Ok(opened) => opened,
            Err(e) if e.kind() == ErrorKind::NotFound => return false,
            Err(e) => {
                self.closed.insert(path.clone(), format!("failed to read {}: {e}", path.display()));
                return false;
            }
        };
        // A place in a file that had this inode before stays among the known ones, as lost.
        let told_apart = |c: &Cursor| !c.copy && c.is(device, inode) && c.offset > 0 && c.fits(&file);
        let known = self.known.iter().position(told_apart).map(|at| self.known.remove(at));
        if known.is_none() && seen_before && self.copied_from(&path) {
            let first = first_bytes(&path, false, FINGERPRINT_BYTES).unwrap_or_default();
            if self.is_copy(&first) {
                // It fits a pattern beside the file that it is a copy of.
                return false;
            }
        }
        let begun = known.is_some() || seen_before;
        let at = known.map_or_else(|| Cursor::new(path.clone(), device, inode, 0), |c| c.at(path.clone()));
        let mut tracked = Tracked::new(Reader::Plain(file), at, now_ms);
        if begun {
            tracked.note();
        } else {
            tracked.go_to_end(&self.manner);
        }
        self.tracked.push(tracked);
        true
    }

    /// Says whether by its name a file was rotated from one that is read.
    fn copied_from(&self, path: &Path) -> bool {
        let name = |path: &Path| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        let Some(own) = name(path) else { return false };
        let paths = self.tracked.iter().map(|t| &t.at.path).chain(self.known.iter().map(|k| &k.path));
        paths
            .filter(|p| p.parent() == path.parent())
            .any(|p| name(p).is_some_and(|log| is_rotated(&log, &own)))
    }

    /// Looks for a file that was renamed or packed while nobody looked, beside where it was; returns when it was
    /// written, as far as that is known.
    fn find_again(&mut self, lost: Cursor, now_ms: u64, looked: &mut Looked) -> Option<SystemTime> {
        if lost.offset == 0 && !lost.copy {
            // Nothing was read of it, so nothing tells it from another file that has its inode now.
            self.changes.push((lost.name(), None));
            return lost.written;
        }
        let mut all = siblings(&lost.path);
        // The same file under a new name is surer than one that looks like it.
        all.sort_by_key(|s| !lost.is(s.device, s.inode));
        for sibling in all {
            let same = lost.is(sibling.device, sibling.inode);
            if !same && !lost.head.telling()
                || self.tracked.iter().any(|t| t.at.is(sibling.device, sibling.inode))
            {
                continue;
            }
            let Some((reader, device, inode)) = open_copy(&sibling.path, sibling.packed, &lost) else {
                continue;
            };
            // A copy has a time of its own.
            let written = written_at(reader.file()).min(lost.written);
            if same && !lost.copy {
                self.tracked.push(Tracked::absent(reader, lost, now_ms));
                return written;
            }
            let first = first_bytes(&sibling.path, sibling.packed, FINGERPRINT_BYTES).unwrap_or_default();
            let at = lost.in_copy(device, inode);
            if at.name() != lost.name() {
                self.changes.push((lost.name(), None));
            }
            self.tracked.push(Tracked::copy(reader, at, &first, now_ms));
            return written;
        }
        looked.gap(Gap::Gone);
        self.changes.push((lost.name(), None));
        lost.written
    }
}

/// Opens the copy that was made of a file before it was emptied, at the place up to which the file was read.
fn rest_of(at: &Cursor, done: &[Head], now_ms: u64) -> Option<Tracked> {
    if at.offset == 0 {
        return None;
    }
    siblings(&at.path).into_iter().find_map(|sibling| {
        if at.is(sibling.device, sibling.inode) || was_read(&sibling, at, done) {
            return None;
        }
        let (reader, device, inode) = open_copy(&sibling.path, sibling.packed, at)?;
        let first = first_bytes(&sibling.path, sibling.packed, FINGERPRINT_BYTES)?;
        Some(Tracked::copy(reader, at.in_copy(device, inode), &first, now_ms))
    })
}

/// Says whether a file that looks like another in its few first bytes is known as one that was read to its end.
fn was_read(sibling: &Sibling, at: &Cursor, done: &[Head]) -> bool {
    let first = || first_bytes(&sibling.path, sibling.packed, FINGERPRINT_BYTES);
    !at.head.telling() && first().is_none_or(|first| done.iter().any(|head| head.begins(&first)))
}

#[cfg(test)]
mod tests;
