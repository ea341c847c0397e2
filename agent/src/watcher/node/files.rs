//! Reads what the kernel tells in small files below a root, `/` but for tests, into one buffer that is used again.

use rustix::fs::{Mode, OFlags, openat};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

/// Longest file that is read; what the kernel tells is far shorter.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A buffer that grew beyond this is given back after use.
const KEPT_BYTES_MAX: usize = 256 * 1024;
const CHUNK: usize = 16 * 1024;
/// Longest file that holds one value, and most of these that stay open: opening takes longer than reading.
const VALUE_BYTES_MAX: usize = 4096;
const KEPT_MAX: usize = 256;

/// The root, and the buffer.
#[derive(Debug)]
pub struct Files {
    root: OwnedFd,
    buffer: Vec<u8>,
    /// Files that stay open, by path.
    kept: HashMap<String, OwnedFd>,
}

impl Files {
    /// # Errors
    /// The root cannot be opened.
    pub fn below(root: &str) -> io::Result<Self> {
        let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, buffer: Vec::new(), kept: HashMap::new() })
    }

    /// Opens a path, which is given without its leading slash. What is no file does not make it wait.
    ///
    /// # Errors
    /// The path cannot be opened.
    pub fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.root, path, flags, Mode::empty())?)
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// It cannot be read, or is too long.
    pub fn read(&mut self, path: &str) -> io::Result<&str> {
        let file = self.open(path)?;
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        loop {
            let from = self.buffer.len();
            self.buffer.resize(from + CHUNK, 0);
            let read = rustix::io::read(&file, &mut self.buffer[from..]);
            self.buffer.truncate(from + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) if self.buffer.len() > FILE_BYTES_MAX => return Err(io::ErrorKind::FileTooLarge.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        if std::str::from_utf8(&self.buffer).is_err() {
            self.buffer = String::from_utf8_lossy(&self.buffer).into_owned().into_bytes();
        }
        std::str::from_utf8(&self.buffer).map_err(io::Error::other)
    }

    /// Reads a file of `/sys` that holds one value.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn value(&mut self, path: &str) -> io::Result<&str> {
        self.buffer.resize(VALUE_BYTES_MAX.max(self.buffer.len()), 0);
        let buffer = &mut self.buffer[..VALUE_BYTES_MAX];
        let known = self.kept.get(path).map(|file| rustix::io::pread(file, &mut *buffer, 0));
        let count = match known {
            Some(Ok(count)) => count,
            _ => {
                // The device may be another one of the same name by now.
                self.kept.remove(path);
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = openat(&self.root, path, flags, Mode::empty())?;
                let count = rustix::io::pread(&file, &mut *buffer, 0)?;
                if self.kept.len() < KEPT_MAX {
                    self.kept.insert(path.to_owned(), file);
                }
                count
            }
        };
        Ok(std::str::from_utf8(&self.buffer[..count]).unwrap_or_default().trim())
    }

    /// Forgets the open files of which a path is not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.kept.retain(|path, _| wanted(path));
    }

    /// Reads a number that stands alone in a file.
    ///
    /// # Errors
    /// It cannot be read, or is no number.
    pub fn number(&mut self, path: &str) -> io::Result<u64> {
        let text = self.read(path)?.trim();
        whole(text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Returns the names in a folder, in order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.root, path, flags, Mode::empty())?;
        let entries = rustix::fs::Dir::new(folder)?.flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").collect();
        names.sort();
        Ok(names)
    }

    /// Says whether there is something at a path.
    pub fn exists(&self, path: &str) -> bool {
        rustix::fs::statat(&self.root, path, rustix::fs::AtFlags::empty()).is_ok()
    }
}

/// Reads a whole number, decimal or after `0x`.
pub fn whole(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Returns the whole numbers of a line's words from one on; what is no number counts as 0.
pub fn numbers(line: &str, skip: usize) -> impl Iterator<Item = u64> + '_ {
    line.split_ascii_whitespace().skip(skip).map(|word| word.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_a_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("sys")).expect("made");
        std::fs::write(root.join("sys/b"), "0x1f\n").expect("written");
        std::fs::write(root.join("sys/a"), [b'x', 0xff]).expect("written");
        std::fs::write(root.join("long"), vec![b'9'; 3 * CHUNK]).expect("written");
        let mut files = Files::below(root.to_str().expect("a path")).expect("opened");
        assert_eq!(files.list("sys").expect("listed"), ["a", "b"]);
        assert_eq!(files.number("sys/b").expect("a number"), 31);
        assert_eq!(files.read("sys/a").expect("read"), "x\u{fffd}");
        assert_eq!(files.read("long").expect("read").len(), 3 * CHUNK);
        assert_eq!(files.read("none").expect_err("not there").kind(), io::ErrorKind::NotFound);
        assert!(files.number("sys/a").is_err() && files.exists("sys") && !files.exists("proc"));
    }
}
