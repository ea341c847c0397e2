//! Reads the host's files below a root, within bounds, and remembers what could not be read. Links lead nowhere
//! outside of the root.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{Error, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

/// Longest file that is read, in bytes; what is longer is read so far.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 20_000;
/// Most links that a path may lead over.
const LINKS_MAX: usize = 40;
/// Most things that could not be read that are told.
const UNREAD_MAX: usize = 50;

/// The root, and what below it could not be read.
#[derive(Debug)]
pub(super) struct Root {
    prefix: PathBuf,
    unread: RefCell<BTreeMap<String, String>>,
}

impl Root {
    pub(super) fn new(prefix: &Path) -> Self {
        Self { prefix: prefix.into(), unread: RefCell::default() }
    }

    /// Returns where a path of the host lies, with its links followed as the host would.
    fn place(&self, path: &str) -> Result<PathBuf, Error> {
        let mut done = PathBuf::new();
        let mut left: Vec<PathBuf> = parts(Path::new(path));
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == Path::new("..") {
                done.pop();
                continue;
            }
            let at = self.prefix.join(&done).join(&part);
            match std::fs::symlink_metadata(&at) {
                // The kernel's own links, such as /proc/PID/root, are not followed by their text.
                Ok(metadata) if metadata.is_symlink() && !done.starts_with("proc") => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Error::new(ErrorKind::InvalidInput, "too many links"));
                    }
                    let target = std::fs::read_link(&at)?;
                    if target.is_absolute() {
                        done = PathBuf::new();
                    }
                    left.extend(parts(&target));
                }
                _ => done.push(part),
            }
        }
        Ok(self.prefix.join(done))
    }

    /// Returns a file's text, nothing if it is not there or cannot be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let read = || -> Result<String, Error> {
            let place = self.place(path)?;
            // A pipe would make us wait for somebody to write.
            if !std::fs::metadata(&place)?.is_file() {
                return Err(Error::new(ErrorKind::NotFound, "not a file"));
            }
            let mut bytes = Vec::new();
            std::fs::File::open(place)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        self.told(path, read())
    }

    /// Returns the names in a folder, in their order.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let list = || -> Result<Vec<String>, Error> {
            let entries = std::fs::read_dir(self.place(path)?)?.take(ENTRIES_MAX);
            Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        };
        let mut names = self.told(path, list()).unwrap_or_default();
        names.sort();
        names
    }

    pub(super) fn metadata(&self, path: &str) -> Option<Metadata> {
        self.told(path, self.place(path).and_then(std::fs::metadata))
    }

    pub(super) fn is_there(&self, path: &str) -> bool {
        self.metadata(path).is_some()
    }

    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.metadata(path).is_some_and(|m| m.is_dir())
    }

    /// Returns where a link points to, as it is written.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let (folder, name) = path.rsplit_once('/')?;
        let place = self.place(folder).ok()?.join(name);
        std::fs::read_link(place).ok()?.into_os_string().into_string().ok()
    }

    /// Says whether this is the host itself, not its files in a folder.
    pub(super) fn is_the_hosts(&self) -> bool {
        self.prefix == Path::new("/")
    }

    /// Says whether something is mounted here.
    pub(super) fn is_mounted(&self, place: &str) -> bool {
        let mounts = self.read("/proc/self/mounts").unwrap_or_default();
        mounts.lines().any(|line| line.split(' ').nth(1) == Some(place))
    }

    /// Returns the folder of processes.
    pub(super) fn proc(&self) -> PathBuf {
        self.prefix.join("proc")
    }

    /// Returns what could not be read, and why.
    pub(super) fn unread(&self) -> BTreeMap<String, String> {
        self.unread.borrow().clone()
    }

    /// Notes something that could not be read.
    pub(super) fn note(&self, what: &str, why: &str) {
        let mut unread = self.unread.borrow_mut();
        if unread.len() < UNREAD_MAX {
            unread.insert(what.to_owned(), why.to_owned());
        }
    }

    fn told<T>(&self, path: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(e) => {
                self.note(path, &e.kind().to_string());
                None
            }
        }
    }
}

/// Returns the parts of a path, the last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut named: Vec<_> = named.collect();
    named.reverse();
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("etc/a")).expect("made");
        std::fs::write(folder.path().join("etc/a/file"), "inside").expect("written");
        for (link, target) in
            [("abs", "/etc/a/file"), ("up", "../../../etc/a/file"), ("loop", "loop"), ("out", "/etc/passwd")]
        {
            std::os::unix::fs::symlink(target, folder.path().join("etc").join(link)).expect("linked");
        }
        let root = Root::new(folder.path());
        for (path, text) in [
            ("/etc/abs", Some("inside")),
            ("/etc/up", Some("inside")),
            ("/etc/../../etc/a/file", Some("inside")),
            ("/etc/out", None),
            ("/etc/none", None),
            ("/etc/loop", None),
        ] {
            assert_eq!(root.read(path).as_deref(), text, "{path}");
        }
        assert_eq!(root.unread().keys().collect::<Vec<_>>(), ["/etc/loop"]);
        assert_eq!(root.link("/etc/abs").as_deref(), Some("/etc/a/file"));
    }
}
