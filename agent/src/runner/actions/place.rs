//! A name in a folder, held by the folder's descriptor, so that nobody can slip another folder under an action.
//!
//! Folders on the way may be symbolic links where root (or the runner's own user) made the link, as in /var/run;
//! a link that anybody else made is not followed, and the last part of a path is never followed.

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, fstat, fsync, linkat, openat, readlinkat,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use sopwith_domain::value::AbsPath;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Most symbolic links on one path.
const LINKS_MAX: usize = 8;
const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A name in an open folder. The name need not exist.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    name: OsString,
    shown: String,
}

impl Place {
    /// Walks to the folder of an absolute path.
    ///
    /// # Errors
    /// Says which part cannot be passed, and why.
    pub fn of(path: &AbsPath) -> Result<Self, String> {
        Self::at(Path::new(path.as_str()))
    }

    /// The same for a path of the runner's own.
    ///
    /// # Errors
    /// Says which part cannot be passed, and why.
    pub fn at(path: &Path) -> Result<Self, String> {
        let shown = path.display().to_string();
        let name = path.file_name().ok_or_else(|| format!("{shown} names no file"))?.to_owned();
        let folder = walk(path.parent().unwrap_or(Path::new("/")))?;
        Ok(Self { folder, name, shown })
    }

    /// Returns another name in the same folder.
    pub fn beside(&self, name: impl Into<OsString>) -> Result<Self, String> {
        let name = name.into();
        let folder = self.folder.try_clone().map_err(|e| self.failed("keep open", e))?;
        let parent = Path::new(&self.shown).parent().unwrap_or(Path::new("/"));
        let shown = parent.join(&name).display().to_string();
        Ok(Self { folder, name, shown })
    }

    pub fn name(&self) -> &OsStr {
        &self.name
    }
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Completes "failed to … PATH: reason".
    pub fn failed(&self, what: &str, error: impl std::fmt::Display) -> String {
        format!("failed to {what} {}: {error}", self.shown)
    }

    /// Looks at the name itself; nothing where it does not exist.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn stat(&self) -> Result<Option<Stat>, String> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("look at", e)),
        }
    }

    /// Opens a regular file, for reading and with `write` for writing too; nothing where it does not exist.
    ///
    /// # Errors
    /// It is no regular file or cannot be opened.
    pub fn open(&self, write: bool) -> Result<Option<File>, String> {
        self.open_as(write, &[FileType::RegularFile])
    }

    /// Opens a regular file or a folder, to look at it or to change its mode or owner.
    ///
    /// # Errors
    /// It is something else, is not there or cannot be opened.
    pub fn open_file_or_folder(&self) -> Result<File, String> {
        let opened = self.open_as(false, &[FileType::RegularFile, FileType::Directory])?;
        opened.ok_or_else(|| self.failed("open", "it does not exist"))
    }

    fn open_as(&self, write: bool, types: &[FileType]) -> Result<Option<File>, String> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // Without NONBLOCK a pipe put in the file's place would hold the runner up for ever.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = openat(&self.folder, &self.name, flags | OFlags::NOATIME, Mode::empty())
            .or_else(|_| openat(&self.folder, &self.name, flags, Mode::empty()));
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(self.failed("open", "it is a symbolic link")),
            Err(e) => return Err(self.failed("open", e)),
        };
        let stat = fstat(&file).map_err(|e| self.failed("look at", e))?;
        if !types.contains(&FileType::from_raw_mode(stat.st_mode)) {
            return Err(self.failed("open", "it is not a regular file"));
        }
        Ok(Some(file))
    }

    /// Makes a new file, which must not be there yet.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub fn create(&self) -> Result<File, String> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.folder, &self.name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|e| self.failed("create", e))
    }

    /// Removes the name; that it is gone already is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> Result<(), String> {
        match unlinkat(&self.folder, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.failed("remove", e)),
        }
    }

    /// Renames over `to`, whatever is there.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename_over(&self, to: &Place) -> Result<(), String> {
        renameat(&self.folder, &self.name, &to.folder, &to.name).map_err(|e| to.failed("rename to", e))
    }

    /// Renames to `to`, where nothing may be.
    ///
    /// # Errors
    /// Something is there, or it cannot be renamed.
    pub fn rename_to_free(&self, to: &Place) -> Result<(), String> {
        renameat_with(&self.folder, &self.name, &to.folder, &to.name, RenameFlags::NOREPLACE)
            .map_err(|e| to.failed("rename to", e))
    }

    /// Gives the same file a second name, where nothing may be.
    ///
    /// # Errors
    /// The kernel's reason: [`Errno::XDEV`] on another file system.
    pub fn link_to(&self, to: &Place) -> Result<(), Errno> {
        linkat(&self.folder, &self.name, &to.folder, &to.name, AtFlags::empty())
    }

    /// Makes what was done to names in the folder durable.
    ///
    /// # Errors
    /// The disk did not confirm it.
    pub fn sync_folder(&self) -> Result<(), String> {
        fsync(&self.folder).map_err(|e| self.failed("make durable the folder of", e))
    }
}

fn walk(path: &Path) -> Result<OwnedFd, String> {
    let parts = |path: &Path| path.components().map(|c| c.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut todo: VecDeque<OsString> = parts(path).into();
    let failed = |part: &OsStr, e: &dyn std::fmt::Display| {
        format!("failed to pass {} on the way to {}: {e}", part.display(), path.display())
    };
    let open =
        |folder: &dyn AsFd, part: &OsStr, flags: OFlags| openat(folder.as_fd(), part, flags, Mode::empty());
    let mut links = 0;
    let mut folder = open(&CWD, OsStr::new("/"), FOLDER_FLAGS).map_err(|e| failed(OsStr::new("/"), &e))?;
    while let Some(part) = todo.pop_front() {
        if part.as_bytes() == b"/" {
            folder = open(&CWD, &part, FOLDER_FLAGS).map_err(|e| failed(&part, &e))?;
            continue;
        }
        let looked_at = open(&folder, &part, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC);
        let looked_at = looked_at.map_err(|e| failed(&part, &e))?;
        let stat = fstat(&looked_at).map_err(|e| failed(&part, &e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                folder = open(&looked_at, OsStr::new("."), FOLDER_FLAGS).map_err(|e| failed(&part, &e))?;
            }
            FileType::Symlink => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(failed(&part, &"too many symbolic links"));
                }
                if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
                    return Err(failed(&part, &format!("user {} made it a symbolic link", stat.st_uid)));
                }
                let target = readlinkat(&folder, &part, Vec::new()).map_err(|e| failed(&part, &e))?;
                let target = OsString::from_vec(target.into_bytes());
                for part in parts(Path::new(&target)).into_iter().rev() {
                    todo.push_front(part);
                }
            }
            _ => return Err(failed(&part, &"it is not a folder")),
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_on_the_way_when_they_are_ours_and_never_at_the_end() {
        let folder = tempfile::tempdir().expect("tempdir");
        let real = folder.path().join("real");
        fs::create_dir(&real).expect("mkdir");
        fs::write(real.join("file"), "text").expect("write");
        symlink("real", folder.path().join("link")).expect("symlink");
        symlink("loop", folder.path().join("loop")).expect("symlink");
        symlink("file", real.join("last")).expect("symlink");
        let open = |path: &str| Place::at(&folder.path().join(path)).and_then(|place| place.open(false));
        assert!(open("link/file").expect("opens").is_some());
        assert!(open("link/absent").expect("opens").is_none());
        for bad in ["link/last", "loop/file", "absent/file", "real/file/x", "real"] {
            assert!(open(bad).is_err(), "{bad}");
        }
        if geteuid().is_root() {
            let theirs = folder.path().join("link");
            std::os::unix::fs::lchown(&theirs, Some(12345), None).expect("chown");
            assert!(open("link/file").is_err(), "somebody else's link");
        }
    }
}
