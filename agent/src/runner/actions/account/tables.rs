//! passwd and shadow on the disk: locked as Debian's own tools lock them, read whole, and replaced whole, so that at
//! any instant the old or the new file is there. Mode, owner and attributes stay.

use super::super::meta::Meta;
use super::super::place::Place;
use super::super::quarantine::beside;
use crate::runner::clock;
use rustix::fs::{FlockOperation, fcntl_lock};
use sopwith_domain::run::StepContext;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// Longest table, in bytes.
const TABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest wait for whoever else changes accounts, in milliseconds; lckpwdf(3) waits as long.
const LOCK_MS_MAX: i64 = 15_000;
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The two tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    Passwd,
    Shadow,
}

/// Where the tables are: `/`, but for tests.
#[derive(Clone, Debug)]
pub struct Tables {
    root: PathBuf,
}

/// Held while accounts are changed: by lckpwdf(3)'s lock, which passwd, usermod, chage and PAM take too.
#[derive(Debug)]
pub struct Locked(#[expect(dead_code, reason = "it is held, not used")] File);

/// A table as it was read.
#[derive(Debug)]
pub struct Whole {
    pub place: Place,
    pub bytes: Vec<u8>,
    pub meta: Meta,
}

impl Default for Tables {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

impl Tables {
    #[cfg(test)]
    pub fn below(root: &std::path::Path) -> Self {
        Self { root: root.into() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns what lies below the root, for homes as passwd has them.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Waits for the lock of those who change accounts.
    ///
    /// # Errors
    /// Somebody else holds it for too long.
    pub fn lock(&self) -> Result<Locked, String> {
        let path = self.path("etc/.pwd.lock");
        let failed = |e: &dyn std::fmt::Display| format!("failed to lock {}: {e}", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|e| failed(&e))?;
        let began_ms = clock::boot_ms();
        while fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if clock::boot_ms() - began_ms > LOCK_MS_MAX {
                return Err(failed(&"somebody else is changing accounts"));
            }
            std::thread::sleep(LOCK_POLL);
        }
        Ok(Locked(file))
    }

    /// # Errors
    /// It cannot be read.
    pub fn read(&self, table: Table) -> Result<Whole, String> {
        let name = match table {
            Table::Passwd => "etc/passwd",
            Table::Shadow => "etc/shadow",
        };
        let place = Place::at(&self.path(name))?;
        let file = place.open(false)?.ok_or_else(|| place.failed("open", "it does not exist"))?;
        let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
        super::super::file_replace::single(&place, &meta)?;
        let mut bytes = Vec::new();
        file.take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| place.failed("read", e))?;
        if bytes.len() as u64 > TABLE_BYTES_MAX {
            return Err(place.failed("read", format!("it has more than {TABLE_BYTES_MAX} bytes")));
        }
        Ok(Whole { place, bytes, meta })
    }
}

impl Whole {
    /// Puts other bytes in its place. With `times` it also has these times.
    ///
    /// # Errors
    /// It could not be written; then it is as it was.
    pub fn replace(&self, step: StepContext<'_>, bytes: &[u8], times: Option<&Meta>) -> Result<(), String> {
        let waiting = beside(step, &self.place)?;
        waiting.remove()?;
        let mut file = waiting.create()?;
        let write = |file: &mut File| {
            file.write_all(bytes)?;
            let now = Meta::of(file)?;
            let timed = times.unwrap_or(&now);
            Meta { mtime: timed.mtime, atime: timed.atime, ..self.meta.clone() }.apply(file)
        };
        if let Err(e) = write(&mut file) {
            waiting.remove()?;
            return Err(self.place.failed("write", e));
        }
        waiting.rename_over(&self.place)?;
        self.place.sync_folder()
    }
}
