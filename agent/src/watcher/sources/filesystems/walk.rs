//! Goes through the folders of one file system, bounded in files and in time, and follows no link.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most entries that are looked at in one walk, and longest time of it.
pub(super) const ENTRIES_MAX: usize = 50_000;
pub(super) const TIME_MAX: Duration = Duration::from_millis(1500);

/// A folder and the plain files right in it.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    /// Names, and how much room each takes, in bytes.
    pub files: Vec<(OsString, u64)>,
}

impl Folder {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Shows every folder of a file system from one of its folders on, each once. Where a bound is reached the folder at
/// hand is shown as far as it was read, and it is over.
pub(super) fn walk(from: &Path, device: u64, show: impl FnMut(&Folder)) {
    walk_until(from, device, ENTRIES_MAX, Instant::now() + TIME_MAX, show);
}

fn walk_until(from: &Path, device: u64, most: usize, until: Instant, mut show: impl FnMut(&Folder)) {
    let mut folders = vec![from.to_owned()];
    let mut seen = 0;
    while let Some(path) = folders.pop() {
        let mut folder = Folder { files: Vec::new(), path };
        let mut over = false;
        for entry in fs::read_dir(&folder.path).into_iter().flatten().flatten() {
            seen += 1;
            over = seen > most || Instant::now() > until;
            if over {
                break;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.dev() != device {
                continue;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                folder.files.push((entry.file_name(), metadata.blocks() * 512));
            }
        }
        show(&folder);
        if over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_once_and_no_more_than_the_bound() {
        let root = tempfile::tempdir().expect("a folder");
        for folder in ["a", "b", "b/c"] {
            fs::create_dir(root.path().join(folder)).expect("made");
            (0..4)
                .for_each(|n| fs::write(root.path().join(folder).join(n.to_string()), "x").expect("written"));
        }
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).expect("linked");
        let device = fs::metadata(root.path()).expect("there").dev();
        let walked = |device, most, until| {
            let (mut folders, mut files) = (0, 0);
            walk_until(root.path(), device, most, until, |folder| {
                folders += 1;
                files += folder.files.len();
            });
            (folders, files)
        };
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(walked(device, 100, later), (4, 12), "the link is not followed");
        assert_eq!(walked(device + 1, 100, later), (1, 0), "another file system's are not counted");
        let (folders, files) = walked(device, 5, later);
        assert!(files <= 5 && folders <= 3, "{files} files of {folders} folders");
        assert_eq!(walked(device, 100, Instant::now() - Duration::from_millis(1)), (1, 0), "no time is left");
    }
}
