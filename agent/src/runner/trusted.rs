//! Reads files that decide what may run: only those that nobody but root (or the runner's own user) can have
//! written. A file that others can write, or that lies in a folder which others can write, is not read at all.

use rustix::process::geteuid;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bits of a mode that let a group or everybody write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    #[error("failed to read {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("failed to trust {path}: it belongs to user {uid}, not to root")]
    Owner { path: PathBuf, uid: u32 },
    #[error("failed to trust {path}: others than its owner can write it (mode {mode:04o})")]
    Writable { path: PathBuf, mode: u32 },
    #[error("failed to read {path}: it has more than {max} bytes")]
    TooLong { path: PathBuf, max: usize },
    #[error("failed to read {path}: it is not a regular file")]
    NoFile { path: PathBuf },
    #[error("failed to read {path}: it is not UTF-8 text")]
    NoText { path: PathBuf },
}

/// Reads a file of at most `max` bytes, if it can be trusted.
///
/// # Errors
/// Says what is wrong with the file, or with the folder that it lies in.
pub fn read(path: &Path, max: usize) -> Result<String, Distrust> {
    let unreadable = |error| Distrust::Unreadable { path: path.into(), error };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Distrust::NoFile { path: path.into() });
    }
    owned(path, &metadata)?;
    if let Some(folder) = path.parent() {
        self::folder(folder)?;
    }
    let mut bytes = Vec::new();
    file.by_ref().take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(Distrust::TooLong { path: path.into(), max });
    }
    String::from_utf8(bytes).map_err(|_| Distrust::NoText { path: path.into() })
}

/// Checks a folder. One that others can write must be sticky, so that they cannot take away what is not theirs.
///
/// # Errors
/// Says what is wrong with it.
pub fn folder(path: &Path) -> Result<(), Distrust> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let metadata = fs::metadata(path).map_err(|error| Distrust::Unreadable { path: path.into(), error })?;
    if metadata.mode() & STICKY != 0 { owner(path, &metadata) } else { owned(path, &metadata) }
}

fn owned(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
    owner(path, metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(Distrust::Writable { path: path.into(), mode });
    }
    Ok(())
}

fn owner(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
    let uid = metadata.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        return Err(Distrust::Owner { path: path.into(), uid });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn only_what_nobody_else_can_write_is_read() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("file");
        fs::write(&path, "text").expect("write");
        for (file_mode, folder_mode, trusted) in [
            (0o600, 0o700, true),
            (0o644, 0o755, true),
            (0o664, 0o755, false),
            (0o646, 0o755, false),
            (0o644, 0o775, false),
            (0o644, 0o757, false),
            (0o644, 0o1770, true),
        ] {
            set(&path, file_mode);
            set(folder.path(), folder_mode);
            assert_eq!(read(&path, 10).is_ok(), trusted, "{file_mode:o} in {folder_mode:o}");
        }
        assert!(matches!(read(&path, 3), Err(Distrust::TooLong { .. })));
        assert!(matches!(read(folder.path(), 3), Err(Distrust::NoFile { .. })));
        fs::write(&path, [0xff]).expect("write");
        assert!(matches!(read(&path, 3), Err(Distrust::NoText { .. })));
    }

    #[test]
    fn somebody_elses_file_is_not_read() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("file");
        fs::write(&path, "text").expect("write");
        std::os::unix::fs::chown(&path, Some(12345), None).expect("chown");
        assert!(matches!(read(&path, 10), Err(Distrust::Owner { uid: 12345, .. })));
    }
}
