//! The folder where what a step took away waits to be had back: `quarantine/RUN/STEP/`. What is in it is durable
//! before the step that it belongs to is recorded as begun.
//!
//! A file is kept as a second name of itself where quarantine lies on its file system (nothing is copied and even
//! its inode comes back), and as a copy elsewhere. Copies leave room on the file system that they go to.

use super::meta::Meta;
use super::place::Place;
use rustix::fs::{fstat, fstatvfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::StepContext;
use std::fs::{self, DirBuilder, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Room that a copy must leave on quarantine's file system, in bytes, or a tenth of it if that is less. On the
/// very file system that is being relieved, it is the greater of the two: a copy there would undo the relief.
const ROOM_BYTES: u64 = 64 * 1024 * 1024;
/// Up to so many bytes a copy is too small to undo any relief.
const SMALL_BYTES: u64 = 1024 * 1024;
/// Inodes that must stay free.
const ROOM_INODES: u64 = 64;
const BUFFER_BYTES: usize = 128 * 1024;

/// Where everything is kept.
#[derive(Clone, Debug)]
pub struct Quarantine {
    root: PathBuf,
}

/// One file that was kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its name in the step's folder.
    pub name: String,
    /// Absent where the file itself is kept by a second name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    pub meta: Meta,
}

impl Quarantine {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the step's folder, which may not exist.
    pub fn folder(&self, step: StepContext<'_>) -> PathBuf {
        self.root.join(step.run.to_string()).join(step.index.to_string())
    }

    /// Makes the step's folder anew; what an earlier capture of a step that never began left there goes.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn fresh(&self, step: StepContext<'_>) -> Result<PathBuf, String> {
        let folder = self.fresh_until_boot(step)?;
        let failed = |e: &dyn std::fmt::Display| format!("failed to make {}: {e}", folder.display());
        for made in folder.ancestors().take(3) {
            File::open(made).and_then(|f| f.sync_all()).map_err(|e| failed(&e))?;
        }
        Ok(folder)
    }

    /// The same for what is worth nothing after the machine's next start, such as a lock that processes hold: it need not
    /// outlast a power cut, and the step need not wait for the disk.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn fresh_until_boot(&self, step: StepContext<'_>) -> Result<PathBuf, String> {
        let folder = self.folder(step);
        let failed = |e: &dyn std::fmt::Display| format!("failed to make {}: {e}", folder.display());
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&e)),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| failed(&e))?;
        Ok(folder)
    }

    /// Returns the place of something kept in the step's folder.
    ///
    /// # Errors
    /// The folder is not there.
    pub fn place(&self, step: StepContext<'_>, name: &str) -> Result<Place, String> {
        Place::at(&self.folder(step).join(name))
    }

    /// Says whether a copy of so many bytes fits, leaving room. `of` is the file to be copied.
    ///
    /// # Errors
    /// The file systems cannot be asked.
    pub fn fits(&self, bytes: u64, of: &File) -> Result<bool, String> {
        let failed = |e: Errno| format!("failed to ask for the room in {}: {e}", self.root.display());
        let root =
            File::open(&self.root).map_err(|e| format!("failed to open {}: {e}", self.root.display()))?;
        let room = fstatvfs(&root).map_err(failed)?;
        let same = fstat(&root).map_err(failed)?.st_dev == fstat(of).map_err(failed)?.st_dev;
        let (total, free) = (room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize);
        let relief = same && bytes > SMALL_BYTES;
        let reserve = if relief { ROOM_BYTES.max(total / 10) } else { ROOM_BYTES.min(total / 10) };
        let inodes = room.f_files == 0 || room.f_favail > ROOM_INODES;
        Ok(inodes && free.saturating_sub(bytes) >= reserve)
    }

    /// Keeps a file by a second name, or else by a copy.
    ///
    /// # Errors
    /// It cannot be kept, or a copy would not leave enough room.
    pub fn keep(&self, step: StepContext<'_>, from: &Place, file: &File, name: &str) -> Result<Kept, String> {
        let meta = Meta::of(file).map_err(|e| from.failed("look at", e))?;
        let to = self.place(step, name)?;
        match from.link_to(&to) {
            Ok(()) => {
                let linked = to.stat()?.is_some_and(|s| (s.st_dev, s.st_ino) == (meta.dev, meta.ino));
                if !linked {
                    to.remove()?;
                    return Err(from.failed("keep", "it was exchanged meanwhile"));
                }
                to.sync_folder()?;
                Ok(Kept { name: name.into(), sha256: None, meta })
            }
            Err(_) if !self.fits(meta.size, file)? => {
                Err(from.failed("keep", format!("{} bytes do not fit quarantine", meta.size)))
            }
            Err(_) => self.copy(step, from, file, name),
        }
    }

    /// Keeps a copy of a file's bytes.
    ///
    /// # Errors
    /// It cannot be read or the copy cannot be made durable.
    pub fn copy(&self, step: StepContext<'_>, from: &Place, file: &File, name: &str) -> Result<Kept, String> {
        let meta = Meta::of(file).map_err(|e| from.failed("look at", e))?;
        let to = self.place(step, name)?;
        let mut target = to.create()?;
        let sha256 = copy(file, &mut target).map_err(|e| from.failed("copy to quarantine", e))?;
        target.sync_all().map_err(|e| to.failed("make durable", e))?;
        to.sync_folder()?;
        // Reading it may have touched its access time, which is not a change that anybody asked for.
        let _ = meta.apply_times(file);
        Ok(Kept { name: name.into(), sha256: Some(sha256), meta })
    }

    /// Puts a kept file back to where nothing is.
    ///
    /// # Errors
    /// It is not in quarantine as it was kept, or something stands in its place.
    pub fn put_back(&self, step: StepContext<'_>, kept: &Kept, to: &Place) -> Result<(), String> {
        let from = self.place(step, &kept.name)?;
        let file = from.open(false)?.ok_or_else(|| from.failed("find", "it is gone from quarantine"))?;
        if kept.sha256.is_none() {
            let meta = Meta::of(&file).map_err(|e| from.failed("look at", e))?;
            if !meta.same_file(&kept.meta) {
                return Err(from.failed("put back", "it is not the file that was kept"));
            }
            from.rename_to_free(to)?;
            from.sync_folder()?;
            return to.sync_folder();
        }
        let waiting = self.ready(step, kept, &file, to)?;
        waiting.rename_to_free(to)?;
        to.sync_folder()
    }

    /// Makes a durable copy of a kept file beside `to`, ready to be renamed there.
    ///
    /// # Errors
    /// The copy in quarantine is not what was kept, or there is no room.
    pub fn ready(
        &self,
        step: StepContext<'_>,
        kept: &Kept,
        file: &File,
        to: &Place,
    ) -> Result<Place, String> {
        let waiting = beside(step, to)?;
        waiting.remove()?;
        let mut target = waiting.create()?;
        let sha256 = copy(file, &mut target).map_err(|e| to.failed("write a copy beside", e))?;
        if Some(&sha256) != kept.sha256.as_ref() {
            waiting.remove()?;
            return Err(to.failed("put back", "the copy in quarantine is not what was kept"));
        }
        kept.meta.apply(&target).map_err(|e| to.failed("put back mode, owner and times of", e))?;
        Ok(waiting)
    }
}

impl Kept {
    /// Says whether a file is what was kept: itself, or a copy that nobody has changed since.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is(&self, file: &File) -> std::io::Result<bool> {
        let meta = Meta::of(file)?;
        if self.meta.same_file(&meta) && (self.sha256.is_none() || self.meta.unchanged(&meta)) {
            return Ok(true);
        }
        let of = |m: &Meta| (m.size, m.mode, m.uid, m.gid, m.mtime);
        if of(&meta) != of(&self.meta) || meta.xattrs != self.meta.xattrs {
            return Ok(false);
        }
        Ok(self.sha256.as_deref() == Some(sha256(file)?.as_str()))
    }
}

/// Returns the name beside a file under which a step makes its next content ready. It is the same after a crash,
/// so that what a crash left is found and removed.
///
/// # Errors
/// The folder cannot be held.
pub fn beside(step: StepContext<'_>, place: &Place) -> Result<Place, String> {
    place.beside(format!(".sopwith-{}-{}.tmp", step.run.short(), step.index))
}

/// Copies all bytes and returns their SHA-256.
fn copy(mut from: &File, to: &mut File) -> std::io::Result<String> {
    from.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

/// Returns the SHA-256 of a file's bytes.
///
/// # Errors
/// It cannot be read.
pub fn sha256(mut file: &File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// Says whether the folder holds the root of quarantine, for a clear error at start.
///
/// # Errors
/// It cannot be made.
pub fn prepare(root: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(root)
}
