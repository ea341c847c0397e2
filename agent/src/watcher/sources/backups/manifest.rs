//! Checksums of archives: reads manifests in the forms of sha256sum, hashes files without filling the page cache, and
//! remembers what was read whole, so that it is not read again at every look.

use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most files whose checks are remembered for one backup.
const REMEMBERED_MAX: usize = 1000;
const CHUNK_BYTES: usize = 256 * 1024;

/// What a file was when it was read whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checked {
    pub inode: u64,
    pub bytes: u64,
    pub changed_ns: i64,
    pub sha256: String,
    /// When it was read, in seconds since 1970.
    pub at_s: i64,
}

impl Checked {
    /// Says whether a file is still the one that was read.
    pub fn is_of(&self, metadata: &std::fs::Metadata) -> bool {
        (self.inode, self.bytes, self.changed_ns) == (metadata.ino(), metadata.size(), changed_ns(metadata))
    }
}

fn changed_ns(metadata: &std::fs::Metadata) -> i64 {
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

/// What was read, by file name.
pub type Memory = BTreeMap<String, Checked>;

/// Forgets files that are gone, and the oldest checks beyond the bound.
pub fn forget(memory: &mut Memory, present: impl Fn(&str) -> bool) {
    memory.retain(|name, _| present(name));
    while memory.len() > REMEMBERED_MAX {
        let oldest = memory.iter().min_by_key(|(_, checked)| checked.at_s).map(|(name, _)| name.clone());
        oldest.and_then(|name| memory.remove(&name));
    }
}

/// Reads a manifest: the checksum of each file of the same folder. Entries that name other folders are left out.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn read(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut text = Vec::new();
    File::open(path)?.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    Ok(String::from_utf8_lossy(&text).lines().filter_map(|line| entry(line, folder)).collect())
}

/// Reads `HEX  NAME`, `HEX *NAME`, and `SHA256 (NAME) = HEX`.
fn entry(line: &str, folder: &Path) -> Option<(String, String)> {
    let line = line.trim_end();
    let (name, hex) = match line.strip_prefix("SHA256 (") {
        Some(rest) => rest.rsplit_once(") = ")?,
        None => {
            let (hex, name) = line.split_once(' ')?;
            (name.strip_prefix([' ', '*'])?, hex)
        }
    };
    let is_sum = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = match Path::new(name).strip_prefix(folder) {
        Ok(below) => below.to_str()?,
        Err(_) => name,
    };
    (is_sum && !name.is_empty() && !name.contains('/')).then(|| (name.to_owned(), hex.to_ascii_lowercase()))
}

/// Reads a file whole and returns what it was. Ends early, as an error, when told to stop.
///
/// # Errors
/// It cannot be read, changed meanwhile, or is not wanted any more.
pub fn check(path: &Path, now_s: i64, stop: &AtomicBool) -> io::Result<Checked> {
    let mut file = File::open(path)?;
    let before = file.metadata()?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    // Where it is not heeded the cache is only fuller.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let after = file.metadata()?;
    if (before.size(), changed_ns(&before)) != (after.size(), changed_ns(&after)) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read"));
    }
    Ok(Checked {
        inode: after.ino(),
        bytes: after.size(),
        changed_ns: changed_ns(&after),
        sha256: hex::encode(hasher.finalize()),
        at_s: now_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn entries() {
        let upper = SUM.to_uppercase();
        for (line, name) in [
            (format!("{SUM}  a.tar.gz"), Some("a.tar.gz")),
            (format!("{SUM} *a.tar.gz"), Some("a.tar.gz")),
            (format!("{upper}  a.tar.gz\r"), Some("a.tar.gz")),
            (format!("{SUM}  ./a.tar.gz"), Some("a.tar.gz")),
            (format!("{SUM}  /backups/a b.tar.gz"), Some("a b.tar.gz")),
            (format!("SHA256 (a (1).tar.gz) = {SUM}"), Some("a (1).tar.gz")),
            (format!("{SUM}  ../a.tar.gz"), None),
            (format!("{SUM}  /elsewhere/a.tar.gz"), None),
            (format!("{SUM} a"), None),
            ("d41d8cd98f00b204e9800998ecf8427e  a".into(), None),
            ("# comment".into(), None),
            (String::new(), None),
        ] {
            let read = entry(&line, Path::new("/backups"));
            assert_eq!(read.as_ref().map(|(n, _)| n.as_str()), name, "{line}");
            assert!(read.is_none_or(|(_, hex)| hex == SUM));
        }
    }

    #[test]
    fn a_file_is_known_again_until_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "").expect("written");
        let checked = check(&path, 5, &AtomicBool::new(false)).expect("read");
        assert_eq!(checked.sha256, SUM);
        assert!(checked.is_of(&std::fs::metadata(&path).expect("metadata")));
        std::fs::write(&path, "x").expect("written");
        assert!(!checked.is_of(&std::fs::metadata(&path).expect("metadata")));
        let stopped = check(&path, 5, &AtomicBool::new(true)).expect_err("it was stopped");
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn memory_is_bounded() {
        let one = |at_s| Checked { inode: 1, bytes: 1, changed_ns: 1, sha256: String::new(), at_s };
        let mut memory: Memory = (0..1500).map(|i| (format!("{i:05}"), one(i))).collect();
        forget(&mut memory, |name| name >= "00100");
        assert_eq!((memory.len(), memory.keys().next().map(String::as_str)), (1000, Some("00500")));
    }
}
