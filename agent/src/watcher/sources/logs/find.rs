//! Which files a path names, and which files beside a log were rotated from it.

use crate::watcher::glob::{fits, is_pattern};
use sopwith_domain::value::AbsPath;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most files of one log.
pub(super) const FILES_MAX: usize = 8192;
/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Ends of names of files that hold no lines.
const PACKED: [&str; 7] = [".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip", ".Z"];
/// The one of them that is unpacked.
const UNPACKED: &str = ".gz";

/// What the paths of a log name.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Path, device and inode of each file.
    pub files: Vec<(PathBuf, u64, u64)>,
    /// Folders in which files come and go.
    pub folders: BTreeSet<PathBuf>,
    /// What cannot be looked at, and why.
    pub troubles: Vec<String>,
    /// Plain paths at which nothing is.
    pub missing: Vec<PathBuf>,
    /// There were more files than are read.
    pub too_many: bool,
}

impl Found {
    /// Adds what a path names.
    pub(super) fn add(&mut self, path: &AbsPath) {
        let parts: Vec<&str> = path.as_str().split('/').filter(|part| !part.is_empty()).collect();
        let (files, missing) = (self.files.len(), self.missing.len());
        self.descend(PathBuf::from("/"), &parts);
        self.files[files..].sort();
        if is_pattern(path.as_str()) {
            // A pattern promises nothing.
            self.missing.truncate(missing);
        }
    }

    fn descend(&mut self, at: PathBuf, parts: &[&str]) {
        let Some((part, rest)) = parts.split_first() else {
            self.leaf(at);
            return;
        };
        if !is_pattern(part) {
            if rest.is_empty() || is_pattern(rest[0]) {
                self.folders.insert(if rest.is_empty() { at.clone() } else { at.join(part) });
            }
            self.descend(at.join(part), rest);
            return;
        }
        self.folders.insert(at.clone());
        for (name, path) in self.entries(&at) {
            if fits(part, &name) && (!rest.is_empty() || !is_packed(&name)) {
                self.descend(path, rest);
            }
        }
    }

    fn leaf(&mut self, path: PathBuf) {
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                self.folders.insert(path.clone());
                for (name, path) in self.entries(&path) {
                    if !name.starts_with('.') && !is_packed(&name) {
                        let metadata = std::fs::metadata(&path);
                        metadata.ok().filter(std::fs::Metadata::is_file).inspect(|m| self.file(path, m));
                    }
                }
            }
            Ok(metadata) if metadata.is_file() => self.file(path, &metadata),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => self.missing.push(path),
            Err(e) => self.trouble(&path, &e),
        }
    }

    fn file(&mut self, path: PathBuf, metadata: &std::fs::Metadata) {
        if self.files.len() >= FILES_MAX {
            self.too_many = true;
        } else {
            self.files.push((path, metadata.dev(), metadata.ino()));
        }
    }

    fn entries(&mut self, folder: &Path) -> Vec<(String, PathBuf)> {
        match std::fs::read_dir(folder) {
            Ok(entries) => {
                let named = entries.flatten().take(ENTRIES_MAX);
                named.filter_map(|e| Some((e.file_name().to_str()?.to_owned(), e.path()))).collect()
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            Err(e) => {
                self.trouble(folder, &e);
                Vec::new()
            }
        }
    }

    fn trouble(&mut self, path: &Path, error: &std::io::Error) {
        if self.troubles.len() < 8 {
            self.troubles.push(format!("failed to read {}: {error}", path.display()));
        }
    }
}

/// Says whether a file of this name holds no lines as it lies there.
pub(super) fn is_packed(name: &str) -> bool {
    PACKED.iter().any(|end| name.ends_with(end))
}

/// A file beside a log that by its name was rotated from it.
#[derive(Debug)]
pub(super) struct Sibling {
    pub path: PathBuf,
    pub packed: bool,
    pub device: u64,
    pub inode: u64,
    pub written: Option<std::time::SystemTime>,
}

/// Returns the files that were rotated from a log, as far as their names tell and they can be read.
pub(super) fn siblings(log: &Path) -> Vec<Sibling> {
    let Some(name) = log.file_name().and_then(|n| n.to_str()) else { return Vec::new() };
    let entries = log.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let entries = entries.flatten().take(ENTRIES_MAX);
    let siblings = entries.filter_map(|entry| {
        let found = entry.file_name();
        let found = found.to_str()?;
        let (bare, packed) = match found.strip_suffix(UNPACKED) {
            Some(bare) => (bare, true),
            None => (found, false),
        };
        if !is_rotated(name, bare) || is_packed(bare) {
            return None;
        }
        let metadata = std::fs::metadata(entry.path()).ok().filter(std::fs::Metadata::is_file)?;
        let (device, inode, written) = (metadata.dev(), metadata.ino(), metadata.modified().ok());
        Some(Sibling { path: entry.path(), packed, device, inode, written })
    });
    siblings.collect()
}

/// Says whether a name is that of a log after its rotation: `a.log.1`, `a.log-20260101`, `a.log.old`, `a-1.log`.
pub(super) fn is_rotated(log: &str, name: &str) -> bool {
    let marked = |rest: &str| {
        let rest = rest.strip_prefix(['.', '-']);
        rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit()) || rest == "old" || rest == "bak"
        })
    };
    let within = |(stem, end): (&str, &str)| {
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(&format!(".{end}")));
        rest.is_some_and(marked)
    };
    name.strip_prefix(log).is_some_and(marked) || log.rsplit_once('.').is_some_and(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_logs() {
        for (log, name, is) in [
            ("a.log", "a.log.1", true),
            ("a.log", "a.log-20260101", true),
            ("a.log", "a.log.old", true),
            ("a.log", "a-20260101.log", true),
            ("a.log", "a.1.log", true),
            ("syslog", "syslog.1", true),
            ("a.log", "a.log", false),
            ("a.log", "ab.log", false),
            ("a.log", "a.log.tmp", false),
            ("a.log", "a-b.log", false),
            ("a", "a1", false),
        ] {
            assert_eq!(is_rotated(log, name), is, "{log} {name}");
        }
    }

    #[test]
    fn paths_name_files_in_every_way() {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["one/a.log", "one/b.log.gz", "two/a.log", "two/.hidden", "two/x/deep.log", "three/b.txt"]
        {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, "").expect("made");
        }
        for (path, expected, missing) in [
            ("one/a.log", "one/a.log", 0),
            ("one/none.log", "", 1),
            ("one/*", "one/a.log", 0),
            ("*/a.log", "one/a.log two/a.log", 0),
            ("*/*", "one/a.log three/b.txt two/.hidden two/a.log two/x/deep.log", 0),
            ("two", "two/a.log", 0),
            ("t*/*.txt", "three/b.txt", 0),
            ("none/*", "", 0),
        ] {
            let mut found = Found::default();
            found.add(&AbsPath::new(format!("{}/{path}", folder.path().display())).expect("a path"));
            let told: Vec<_> = found
                .files
                .iter()
                .map(|(p, _, _)| p.strip_prefix(folder.path()).expect("within").display().to_string())
                .collect();
            assert_eq!((told.join(" ").as_str(), found.missing.len()), (expected, missing), "{path}");
            assert!(found.troubles.is_empty(), "{path} {:?}", found.troubles);
        }
    }
}
