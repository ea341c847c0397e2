//! `file.truncate`: empties a file in place, because its writer keeps it open. Its bytes are copied to quarantine
//! first where they fit, and where they do not the step says so and cannot be undone.
//!
//! Undo writes the old bytes back into the same file. What its writer added since stays, behind them. A file that
//! was exchanged meanwhile is left alone. Between the last look and the emptying a line may be lost, as with every
//! copy-and-truncate.

use super::act::{Act, At};
use super::file_replace::single;
use super::meta::Meta;
use super::place::Place;
use super::quarantine::{Kept, Quarantine};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::AbsPath;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// What was written between capture and emptying.
const TAIL: &str = "tail";
/// What was written between emptying and undo.
const NEWER: &str = "newer";
const BUFFER_BYTES: usize = 128 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    meta: Meta,
    /// Whether the bytes were kept.
    kept: bool,
    copy: Option<Kept>,
    /// Bytes of the copy; the file may have grown while it was made.
    copied: u64,
}

pub fn capture(quarantine: &Quarantine, step: StepContext<'_>, path: &AbsPath) -> Result<Prior, String> {
    let place = Place::of(path)?;
    let file = place.open(true)?.ok_or_else(|| place.failed("empty", "it does not exist"))?;
    let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
    single(&place, &meta)?;
    if !quarantine.fits(meta.size, &file)? {
        return Ok(Prior { meta, kept: false, copy: None, copied: 0 });
    }
    quarantine.fresh(step)?;
    let copy = quarantine.copy(step, &place, &file, "file")?;
    let copied = quarantine.place(step, "file")?.stat()?.map_or(0, |s| u64::try_from(s.st_size).unwrap_or(0));
    Ok(Prior { meta, kept: true, copy: Some(copy), copied })
}

pub fn perform(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    path: &AbsPath,
    prior: &Prior,
) -> Result<String, String> {
    let (place, file, now) = same(path, prior)?;
    let failed = |e: io::Error| place.failed("empty", e);
    if prior.kept && now.size > prior.copied {
        let mut tail = quarantine.place(step, TAIL)?.create()?;
        (&file).seek(SeekFrom::Start(prior.copied)).map_err(failed)?;
        io::copy(&mut &file, &mut tail).and_then(|_| tail.sync_all()).map_err(failed)?;
        quarantine.place(step, TAIL)?.sync_folder()?;
    }
    file.set_len(0).and_then(|()| file.sync_all()).map_err(failed)?;
    let how = if prior.kept { "kept in quarantine" } else { "not kept: they did not fit quarantine" };
    Ok(format!("{path} is empty; its {} bytes were {how}", now.size))
}

fn same(path: &AbsPath, prior: &Prior) -> Result<(Place, File, Meta), String> {
    let place = Place::of(path)?;
    let file = place.open(true)?.ok_or_else(|| place.failed("open", "it is gone"))?;
    let now = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
    if !now.same_file(&prior.meta) {
        return Err(place.failed("go on with", "somebody put another file in its place"));
    }
    Ok((place, file, now))
}

pub fn probe(path: &AbsPath, prior: &Prior) -> Effect {
    match same(path, prior) {
        Ok((_, _, now)) if now.size < prior.meta.size => {
            Effect::Took { detail: format!("{path} is shorter than it was") }
        }
        Ok((_, file, _)) => match untouched(&file, prior) {
            Ok(true) => Effect::None { detail: format!("{path} begins with what it held") },
            Ok(false) => Effect::Took { detail: format!("{path} does not begin with what it held") },
            Err(detail) => Effect::Unknown { detail },
        },
        Err(detail) => Effect::Unknown { detail },
    }
}

/// Says whether the file still begins with the bytes that it held. Without a copy only its size and time tell.
fn untouched(file: &File, prior: &Prior) -> Result<bool, String> {
    let Some(copy) = &prior.copy else {
        let now = Meta::of(file).map_err(|e| e.to_string())?;
        return Ok(now.size == prior.meta.size && now.mtime == prior.meta.mtime);
    };
    let mut head = file;
    head.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    let mut hash = Sha256::new();
    let length = io::copy(&mut head.take(prior.copied), &mut hash).map_err(|e| e.to_string())?;
    Ok(length == prior.copied && copy.sha256.as_deref() == Some(hex::encode(hash.finalize()).as_str()))
}

pub fn undo(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    path: &AbsPath,
    prior: &Prior,
) -> Result<String, String> {
    let (place, file, now) = same(path, prior)?;
    if untouched(&file, prior)? {
        return Ok(format!("{path} holds what it held"));
    }
    if !prior.kept {
        return Err(format!("{} bytes of {path} were not kept and are lost", prior.meta.size));
    }
    let failed = |e: io::Error| place.failed("write the old bytes back to", e);
    let mut old = vec![part(quarantine, step, "file")?];
    old.extend(part(quarantine, step, TAIL).ok());
    let old_length = lengths(&old).map_err(failed)?;
    // A writer without O_APPEND goes on at its old offset and leaves a hole where the old bytes were.
    if now.size >= old_length && hole(&file, old_length).map_err(failed)? {
        write_all(&old, &file, 0).and_then(|_| file.sync_all()).map_err(failed)?;
        return Ok(format!("{path} has its old bytes back, before what was written since"));
    }
    let newer = newer(quarantine, step, &file)?;
    let newer_length = lengths(std::slice::from_ref(&newer)).map_err(failed)?;
    let end = write_all(&old, &file, 0).map_err(failed)?;
    write_all(&[newer], &file, end).and_then(|_| file.sync_all()).map_err(failed)?;
    if newer_length == 0 {
        prior.meta.apply_times(&file).and_then(|()| file.sync_all()).map_err(failed)?;
        return Ok(format!("{path} is back as it was"));
    }
    Ok(format!("{path} has its old bytes back, and the {newer_length} bytes written since behind them"))
}

fn part(quarantine: &Quarantine, step: StepContext<'_>, name: &str) -> Result<File, String> {
    let place = quarantine.place(step, name)?;
    place.open(false)?.ok_or_else(|| place.failed("find", "it is gone from quarantine"))
}

/// Returns what was written since, saved once so that an undo that is interrupted can begin again.
fn newer(quarantine: &Quarantine, step: StepContext<'_>, file: &File) -> Result<File, String> {
    let place = quarantine.place(step, NEWER)?;
    if place.stat()?.is_none() {
        let making = quarantine.place(step, "newer.tmp")?;
        making.remove()?;
        let mut target = making.create()?;
        (&*file).seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
        io::copy(&mut &*file, &mut target)
            .and_then(|_| target.sync_all())
            .map_err(|e| place.failed("save what was written since to", e))?;
        making.rename_over(&place)?;
        place.sync_folder()?;
    }
    part(quarantine, step, NEWER)
}

fn lengths(parts: &[File]) -> io::Result<u64> {
    parts.iter().map(|part| part.metadata().map(|m| m.len())).sum()
}

fn hole(file: &File, length: u64) -> io::Result<bool> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < length {
        let want = BUFFER_BYTES.min(usize::try_from(length - at).unwrap_or(BUFFER_BYTES));
        let read = file.read_at(&mut buffer[..want], at)?;
        if read == 0 || buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(length > 0)
}

/// Writes the parts one after the other from an offset on, and returns the offset behind them.
fn write_all(parts: &[File], to: &File, mut at: u64) -> io::Result<u64> {
    let mut target = to;
    for part in parts {
        let mut part = part;
        part.seek(SeekFrom::Start(0))?;
        target.seek(SeekFrom::Start(at))?;
        at += io::copy(&mut part, &mut target)?;
    }
    target.flush()?;
    Ok(at)
}

/// Which file to empty.
#[derive(Clone, Copy, Debug)]
pub struct Truncate<'a> {
    pub path: &'a AbsPath,
}

impl Act for Truncate<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let place = Place::of(self.path)?;
        let file = place.open(false)?.ok_or_else(|| place.failed("empty", "it does not exist"))?;
        let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
        single(&place, &meta)?;
        let copy = if at.bench.quarantine.fits(meta.size, &file)? {
            "after a copy of them is made"
        } else {
            "of which no copy can be kept: too little room"
        };
        Ok(format!("{} would lose its {} bytes, {copy}", self.path, meta.size))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&at.bench.quarantine, at.step, self.path)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(&at.bench.quarantine, at.step, self.path, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.path, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(&at.bench.quarantine, at.step, self.path, prior)
    }
}
