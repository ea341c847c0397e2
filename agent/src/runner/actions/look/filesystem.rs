//! What fills a file system: its use, its largest folders and files, and what was deleted and is still held open. It
//! stays on the file system of the place, follows no link, and ends after so many entries or seconds.

use super::super::processes;
use super::bytes;
use rustix::fs::statvfs;
use sopwith_domain::value::AbsPath;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most entries that are looked at.
const ENTRIES_MAX: usize = 300_000;
/// Longest that is looked.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How deep below the place folders are told by themselves.
const DEPTH: usize = 3;
/// Unit of the kernel's count of blocks of a file, in bytes.
const BLOCK: u64 = 512;

pub fn fills(place: &AbsPath, most: usize) -> Result<String, String> {
    let root = Path::new(place.as_str());
    let failed = |e: &dyn std::fmt::Display| format!("failed to look at {place}: {e}");
    let device = fs::symlink_metadata(root).map_err(|e| failed(&e))?.dev();
    let space = statvfs(root).map_err(|e| failed(&e))?;
    let percent = |used: u64, all: u64| used.saturating_mul(100).checked_div(all).unwrap_or(0);
    let (blocks, inodes) = (space.f_blocks - space.f_bfree, space.f_files - space.f_ffree);
    let mut out = vec![
        format!(
            "{place}: {} of {} used ({} %), {} free for users",
            bytes(blocks * space.f_frsize),
            bytes(space.f_blocks * space.f_frsize),
            percent(blocks, space.f_blocks),
            bytes(space.f_bavail * space.f_frsize)
        ),
        format!("inodes: {inodes} of {} used ({} %)", space.f_files, percent(inodes, space.f_files)),
    ];
    let found = walk(root, device);
    let list = |title: &str, mut all: Vec<(u64, String)>| {
        all.sort_by(|a, b| b.cmp(a));
        let lines = all.into_iter().take(most).map(|(count, name)| format!("  {}  {name}", bytes(count)));
        std::iter::once(title.to_owned()).chain(lines).collect::<Vec<_>>()
    };
    let name = |path: PathBuf| path.display().to_string();
    out.extend(list("largest folders:", found.folders.into_iter().map(|(at, n)| (n, name(at))).collect()));
    out.extend(list("largest files:", found.files.into_iter().map(|(n, at)| (n, name(at))).collect()));
    let held = held(device);
    if !held.is_empty() {
        out.extend(list("deleted and still held open:", held));
    }
    if !found.whole {
        out.push(format!("looked at the first {ENTRIES_MAX} entries or for {} s only", TIME_MAX.as_secs()));
    }
    Ok(out.join("\n"))
}

#[derive(Debug, Default)]
struct Found {
    folders: BTreeMap<PathBuf, u64>,
    files: Vec<(u64, PathBuf)>,
    whole: bool,
}

/// Most files that are remembered while looking.
const FILES_MAX: usize = 64;

fn walk(root: &Path, device: u64) -> Found {
    let mut found = Found { whole: true, ..Found::default() };
    let (mut seen, began) = (0, Instant::now());
    let mut todo = vec![(root.to_owned(), 0, root.to_owned())];
    while let Some((folder, depth, told)) = todo.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES_MAX || began.elapsed() > TIME_MAX {
                found.whole = false;
                return found;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != device {
                continue;
            }
            let size = meta.blocks().saturating_mul(BLOCK);
            *found.folders.entry(told.clone()).or_default() += size;
            if meta.is_dir() {
                let path = entry.path();
                let told = if depth < DEPTH { path.clone() } else { told.clone() };
                todo.push((path, depth + 1, told));
            } else if meta.is_file() {
                keep(&mut found.files, size, entry.path());
            }
        }
    }
    found
}

fn keep(files: &mut Vec<(u64, PathBuf)>, size: u64, path: PathBuf) {
    let least = files.last().map_or(0, |(size, _)| *size);
    if files.len() == FILES_MAX && size <= least {
        return;
    }
    let at = files.partition_point(|(other, _)| *other >= size);
    files.insert(at, (size, path));
    files.truncate(FILES_MAX);
}

/// Returns what is held open of deleted files on the device, by whom.
fn held(device: u64) -> Vec<(u64, String)> {
    let mut all = BTreeMap::new();
    for process in processes::all() {
        for descriptor in processes::descriptors(process.pid) {
            let Some(target) = descriptor.target.to_str().and_then(|t| t.strip_suffix(" (deleted)")) else {
                continue;
            };
            let Ok(meta) = fs::metadata(&descriptor.link) else { continue };
            if meta.dev() == device && meta.is_file() {
                let told = format!("{target}, by process {}", process.pid);
                all.insert((meta.ino(), process.pid), (meta.blocks().saturating_mul(BLOCK), told));
            }
        }
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().expect("made");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b/c/d/e")).expect("made");
        fs::write(at("a/b/c/d/e/large"), vec![1; 300_000]).expect("written");
        fs::write(at("small"), "x").expect("written");
        std::os::unix::fs::symlink("/", at("a/all")).expect("linked");
        let place = AbsPath::new(folder.path().to_str().expect("text")).expect("a path");
        let text = fills(&place, 2).expect("looked");
        let (folders, files) = text.split_once("largest files:").expect("both");
        assert!(folders.contains("a/b/c\n") || folders.contains("a/b/c"), "{text}");
        assert!(files.lines().nth(1).is_some_and(|line| line.ends_with("a/b/c/d/e/large")), "{text}");
        assert!(!text.contains("/proc"), "{text}");
        let gone = AbsPath::new("/no/such/place").expect("a path");
        assert!(fills(&gone, 2).is_err());
    }
}
