//! Backups that are files in a folder: what is there, who may read it, and whether what is in them is what was
//! written. Blocking; the caller gives it a thread of its own.

use super::judge::{self, Copy, Found};
use super::manifest::{self, Memory};
use crate::config::{Backup, FileSet, Mode};
use crate::watcher::glob;
use crate::watcher::report::Fault;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, Value};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Most files of a folder that are looked at.
const LISTED_MAX: usize = 20_000;
/// How much is read at one look, unless a single file is bigger.
const READ_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most archives of one backup that are told of as faulty, each by itself.
const FAULTY_MAX: usize = 16;

/// One file of the folder.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    pub metadata: Metadata,
}

/// What lies in the folder, archives newest first.
#[derive(Debug, Default)]
pub struct Listing {
    pub archives: Vec<Listed>,
    pub manifests: Vec<Listed>,
    pub folder: Option<Metadata>,
}

/// Lists the folder. One that is not there holds nothing.
///
/// # Errors
/// It cannot be read, or holds too much.
pub fn list(files: &FileSet) -> io::Result<Listing> {
    let folder = match std::fs::metadata(files.directory.path()) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
        other => other?,
    };
    let mut listing = Listing { folder: Some(folder), ..Listing::default() };
    for (count, entry) in std::fs::read_dir(files.directory.path())?.enumerate() {
        if count >= LISTED_MAX {
            return Err(io::Error::other(format!("there are more than {LISTED_MAX} files")));
        }
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_manifest = files.manifests.iter().any(|pattern| glob::fits(pattern.as_str(), &name));
        if !is_manifest && !glob::fits(files.pattern.as_str(), &name) {
            continue;
        }
        // What is gone since is not there; a link is no archive, whoever follows it.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            let list = if is_manifest { &mut listing.manifests } else { &mut listing.archives };
            list.push(Listed { name, metadata });
        }
    }
    listing
        .archives
        .sort_by_key(|listed| std::cmp::Reverse((listed.metadata.mtime(), listed.metadata.mtime_nsec())));
    Ok(listing)
}

/// Returns what is there, as the judge takes it.
pub fn found(listing: &Listing) -> Found {
    let copy = |listed: &Listed| Copy {
        id: listed.name.clone(),
        at_s: listed.metadata.mtime(),
        bytes: Some(listed.metadata.size()),
        failed: false,
    };
    Found {
        copies: listing.archives.iter().map(copy).collect(),
        nothing_because: listing.folder.is_none().then_some("its folder is not there"),
        ..Found::default()
    }
}

/// Says whether others than those meant can read or write the backup. One fault for the whole folder.
pub fn exposed(
    backup: &Backup,
    files: &FileSet,
    listing: &Listing,
    users: &BTreeMap<String, u32>,
) -> Option<Fault> {
    let too_open = |metadata: &Metadata, mode: &Mode| metadata.mode() & 0o7777 & !mode.0 != 0;
    let owner = files.owner.as_ref().and_then(|name| users.get(name.as_str())).copied();
    let foreign = |metadata: &Metadata| owner.is_some_and(|uid| metadata.uid() != uid);
    let folder = listing.folder.as_ref()?;
    let folder_mode = files.directory_mode.as_ref().filter(|mode| too_open(folder, mode));
    let wrong: Vec<&Listed> = listing
        .archives
        .iter()
        .chain(&listing.manifests)
        .filter(|l| {
            files.mode.as_ref().is_some_and(|mode| too_open(&l.metadata, mode)) || foreign(&l.metadata)
        })
        .collect();
    if folder_mode.is_none() && wrong.is_empty() && !foreign(folder) {
        return None;
    }
    let path = (*files.directory).clone();
    let first = wrong.first().map_or_else(
        || format!("its folder has mode {:04o} and belongs to user {}", folder.mode() & 0o7777, folder.uid()),
        |l| {
            format!(
                "{} has mode {:04o} and belongs to user {}",
                l.name,
                l.metadata.mode() & 0o7777,
                l.metadata.uid()
            )
        },
    );
    let text = format!("others than those meant can reach it: {first}; {} files in all", wrong.len());
    let mut fault = judge::fault(backup, "exposed", Subject::Path(path), *backup.severity, text);
    fault.integer("files", wrong.len());
    // A wrong owner is not mended by permissions, and whoever it is may have read everything.
    let owned = foreign(folder) || wrong.iter().any(|l| foreign(&l.metadata));
    fault.word("reason", if owned { "owner" } else { "mode" });
    let metadata = wrong.first().map_or(folder, |l| &l.metadata);
    if let Some(first) = wrong.first() {
        judge::name_copy(&mut fault, "path", Some(files), &first.name);
    }
    fault.word("mode", &format!("{:04o}", metadata.mode() & 0o7777));
    fault.integer("owner", metadata.uid());
    fault.field("directory_exposed", Value::Boolean(folder_mode.is_some()));
    for (field, mode) in [("wanted_mode", &files.mode), ("wanted_directory_mode", &files.directory_mode)] {
        if let Some(mode) = mode {
            fault.word(field, &mode.to_string());
        }
    }
    if let Some(owner) = &files.owner {
        fault.word("wanted_owner", owner.as_str());
    }
    Some(fault)
}

/// Reads what has not been read and says which archives are not what they should be. `running_s` is since when the job
/// runs, if it does.
pub fn content(
    backup: &Backup,
    files: &FileSet,
    listing: &Listing,
    memory: &mut Memory,
    (now_s, running_s): (i64, Option<i64>),
    stop: &AtomicBool,
) -> (Vec<Fault>, Option<String>) {
    let (sums, mut trouble) = sums(files, listing);
    let settle_s = i64::try_from(files.settle.0.as_secs()).unwrap_or(i64::MAX);
    let again_s = i64::try_from(backup.verify.every.0.as_secs()).unwrap_or(i64::MAX);
    let (mut faults, mut left_bytes) = (Vec::new(), READ_BYTES_MAX);
    manifest::forget(memory, |name| listing.archives.iter().any(|l| l.name == name));
    for (rank, listed) in listing.archives.iter().enumerate() {
        // What is still written has no content yet; neither has what comes from the future.
        let written_s = listed.metadata.mtime();
        let settling = (0..settle_s).contains(&(now_s - written_s));
        if settling || running_s.is_some_and(|since_s| written_s >= since_s) || faults.len() >= FAULTY_MAX {
            continue;
        }
        let path = files.directory.path().join(&listed.name);
        let reason = match sums.get(&listed.name) {
            _ if listed.metadata.size() == 0 => Some("empty"),
            _ if rank == 0 && wrong_magic(&path) => Some("magic"),
            None => (*files.manifest_required).then_some("no-checksum"),
            Some((wanted, _)) => {
                let known = memory.get(&listed.name).filter(|checked| checked.is_of(&listed.metadata));
                let fresh = known.is_some_and(|c| again_s == 0 || now_s - c.at_s < again_s);
                if !fresh && left_bytes > 0 {
                    left_bytes = left_bytes.saturating_sub(listed.metadata.size());
                    match manifest::check(&path, now_s, stop) {
                        Ok(checked) => _ = memory.insert(listed.name.clone(), checked),
                        Err(e)
                            if matches!(
                                e.kind(),
                                ErrorKind::NotFound | ErrorKind::ResourceBusy | ErrorKind::Interrupted
                            ) => {}
                        Err(e) => trouble = Some(format!("failed to read {}: {e}", path.display())),
                    }
                }
                let known = memory.get(&listed.name).filter(|checked| checked.is_of(&listed.metadata));
                known.is_some_and(|checked| checked.sha256 != *wanted).then_some("checksum")
            }
        };
        if let Some(reason) = reason {
            let manifest = sums.get(&listed.name).map(|(_, manifest)| manifest.as_str());
            faults.extend(corrupt(backup, files, listed, reason, manifest, rank == 0));
        }
    }
    (faults, trouble)
}

/// Returns the checksum of each archive and the manifest in which it stands; later manifests count.
pub fn sums(files: &FileSet, listing: &Listing) -> (BTreeMap<String, (String, String)>, Option<String>) {
    let (mut sums, mut trouble) = (BTreeMap::new(), None);
    let mut manifests: Vec<_> = listing.manifests.iter().collect();
    manifests.sort_by_key(|listed| (listed.metadata.mtime(), listed.metadata.mtime_nsec()));
    for listed in manifests {
        let path = files.directory.path().join(&listed.name);
        match manifest::read(&path) {
            Ok(entries) => {
                let of_this = entries.into_iter().map(|(name, sum)| (name, (sum, listed.name.clone())));
                sums.extend(of_this);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => trouble = Some(format!("failed to read {}: {e}", path.display())),
        }
    }
    (sums, trouble)
}

fn corrupt(
    backup: &Backup,
    files: &FileSet,
    listed: &Listed,
    reason: &str,
    manifest: Option<&str>,
    newest: bool,
) -> Option<Fault> {
    let says = match reason {
        "empty" => "is empty",
        "magic" => "is not what its name says",
        "no-checksum" => "has no checksum",
        _ => "does not have the checksum that was written with it",
    };
    let path = AbsPath::new(format!("{}/{}", files.directory.as_str(), listed.name)).ok()?;
    let severity = if newest { *backup.severity } else { Severity::Warning };
    let what = if reason == "no-checksum" { "unverified" } else { "corrupt" };
    let severity = if what == "unverified" { Severity::Warning } else { severity };
    let text = format!("{} {says}", listed.name);
    let mut fault = judge::fault(backup, what, Subject::Path(path.clone()), severity, text);
    fault.field("path", Value::Path(path));
    fault.word("reason", reason);
    fault.integer("bytes", listed.metadata.size());
    fault.field("is_newest", Value::Boolean(newest));
    if let Some(manifest) = manifest {
        judge::name_copy(&mut fault, "manifest", Some(files), manifest);
    }
    Some(fault)
}

/// First bytes of files by the end of their names; the offset, the bytes.
const MAGIC: &[(&[&str], usize, &[u8])] = &[
    (&[".gz", ".tgz"], 0, &[0x1f, 0x8b]),
    (&[".zst", ".tzst"], 0, &[0x28, 0xb5, 0x2f, 0xfd]),
    (&[".xz", ".txz"], 0, &[0xfd, b'7', b'z', b'X', b'Z', 0]),
    (&[".bz2", ".tbz2", ".tbz"], 0, b"BZh"),
    (&[".lz4"], 0, &[0x04, 0x22, 0x4d, 0x18]),
    (&[".zip"], 0, b"PK"),
    (&[".7z"], 0, &[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c]),
    (&[".tar"], 257, b"ustar"),
    (&[".dump", ".pgdump"], 0, b"PGDMP"),
    (&[".rdb"], 0, b"REDIS"),
    (&[".sqlite", ".sqlite3"], 0, b"SQLite format 3\0"),
    (&[".age"], 0, b"age-encryption.org/"),
];

/// Says whether a file does not begin as files of its name do.
pub fn wrong_magic(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let Some((_, offset, magic)) = MAGIC.iter().find(|(ends, ..)| ends.iter().any(|end| name.ends_with(end)))
    else {
        return false;
    };
    let mut head = Vec::new();
    let wanted = offset + magic.len();
    let read = File::open(path).and_then(|file| file.take(wanted as u64).read_to_end(&mut head));
    // What cannot be read is told of elsewhere.
    read.is_ok() && head.get(*offset..wanted) != Some(magic)
}

#[cfg(test)]
mod tests;
