//! Puts other bytes in a file's place, for `file.restore` and `file.write`: the next content is made ready beside
//! it, made durable and renamed over it, so that at any instant the old or the new file is there, whole.
//!
//! A file with a second name (hard link) is refused: a rename would part the two, and no undo could join them.
//! Undo acts on what the step left. If somebody else has changed or removed the file since, his version stays in
//! place untouched, what was before stays in quarantine, and the undo says so as residue.

use super::act::{Act, At};
use super::meta::Meta;
use super::place::Place;
use super::quarantine::{Kept, Quarantine, beside, sha256};
use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::AbsPath;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Mode of a file that `file.write` makes anew.
const NEW_FILE_MODE: u32 = 0o644;
/// Bits of a mode that let a group or everybody write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What was there, and what the step puts there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    before: Option<Kept>,
    after_sha256: String,
    after_mode: u32,
    after_owner: (u32, u32),
}

/// Where the next content comes from.
#[derive(Debug)]
pub enum Content<'a> {
    Copy { from: &'a AbsPath },
    Bytes(&'a [u8]),
}

impl Content<'_> {
    /// Opens the source, if there is one and it can be relied on: its content becomes the target's.
    fn source(&self, target: Option<&Meta>) -> Result<Option<(File, Meta)>, String> {
        let Self::Copy { from } = self else { return Ok(None) };
        let place = Place::of(from)?;
        let file = place.open(false)?.ok_or_else(|| place.failed("open", "it does not exist"))?;
        let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
        let owners = [Some(0), Some(geteuid().as_raw()), target.map(|t| t.uid)];
        if !owners.contains(&Some(meta.uid)) {
            return Err(place.failed("rely on", format!("it belongs to user {}", meta.uid)));
        }
        if meta.mode & WRITABLE_BY_OTHERS != 0 {
            return Err(place.failed("rely on", "others than its owner can write it"));
        }
        Ok(Some((file, meta)))
    }

    /// Returns digest, mode and owner of what will be there.
    fn after(&self, target: Option<&Meta>) -> Result<(String, Meta), String> {
        match (self, self.source(target)?) {
            (Self::Bytes(bytes), _) => {
                let own = Meta {
                    dev: 0,
                    ino: 0,
                    links: 1,
                    size: bytes.len() as u64,
                    mode: NEW_FILE_MODE,
                    uid: geteuid().as_raw(),
                    gid: getegid().as_raw(),
                    atime: (0, 0),
                    mtime: (0, 0),
                    xattrs: target.map(|t| t.xattrs.clone()).unwrap_or_default(),
                };
                let meta = target.map_or(own.clone(), |t| Meta { size: own.size, ..t.clone() });
                Ok((hex::encode(Sha256::digest(bytes)), meta))
            }
            (Self::Copy { from }, Some((file, meta))) => {
                let digest = sha256(&file).map_err(|e| format!("failed to read {from}: {e}"))?;
                Ok((digest, meta))
            }
            (Self::Copy { from }, None) => Err(format!("failed to open {from}")),
        }
    }

    fn write(&self, to: &mut File, meta: &Meta) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => {
                to.write_all(bytes)?;
                let now = Meta::of(to)?;
                // The bytes are new, so their time is.
                Meta { mtime: now.mtime, atime: now.atime, ..meta.clone() }.apply(to)
            }
            Self::Copy { .. } => {
                let source = self.source(Some(meta)).map_err(io::Error::other)?;
                let (mut file, meta) = source.ok_or(io::ErrorKind::NotFound)?;
                file.seek(SeekFrom::Start(0))?;
                io::copy(&mut file, to)?;
                meta.apply(to)
            }
        }
    }
}

pub fn capture(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    path: &AbsPath,
    content: &Content<'_>,
) -> Result<Prior, String> {
    let place = Place::of(path)?;
    quarantine.fresh(step)?;
    let before = match place.open(false)? {
        None => None,
        Some(file) => {
            let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
            single(&place, &meta)?;
            if !quarantine.fits(meta.size, &file)? {
                return Err(place.failed("keep", format!("{} bytes do not fit quarantine", meta.size)));
            }
            Some(quarantine.copy(step, &place, &file, "file")?)
        }
    };
    let (after_sha256, after) = content.after(before.as_ref().map(|b| &b.meta))?;
    Ok(Prior { before, after_sha256, after_mode: after.mode, after_owner: (after.uid, after.gid) })
}

pub fn perform(
    step: StepContext<'_>,
    path: &AbsPath,
    content: &Content<'_>,
    prior: &Prior,
) -> Result<String, String> {
    let place = Place::of(path)?;
    if !is_before(&place, prior)? {
        return Err(place.failed("replace", "somebody changed it a moment ago"));
    }
    let (digest, meta) = content.after(prior.before.as_ref().map(|b| &b.meta))?;
    if digest != prior.after_sha256 {
        return Err(place.failed("replace", "what was to be put there changed a moment ago"));
    }
    let waiting = beside(step, &place)?;
    waiting.remove()?;
    let mut file = waiting.create()?;
    let written = content.write(&mut file, &meta).map_err(|e| place.failed("write", e));
    let right = written.and_then(|()| sha256(&file).map_err(|e| place.failed("read back", e)));
    match right {
        Ok(digest) if digest == prior.after_sha256 => {}
        Ok(_) => {
            waiting.remove()?;
            return Err(place.failed("replace", "what was written is not what was meant"));
        }
        Err(e) => {
            waiting.remove()?;
            return Err(e);
        }
    }
    if prior.before.is_some() {
        waiting.rename_over(&place)?;
    } else {
        waiting.rename_to_free(&place)?;
    }
    place.sync_folder()?;
    Ok(format!("{path} has {} bytes now", meta.size))
}

pub fn probe(path: &AbsPath, prior: &Prior) -> Effect {
    let look = || {
        let place = Place::of(path)?;
        Ok::<_, String>((is_before(&place, prior)?, is_after(&place, prior)?))
    };
    match look() {
        Ok((true, _)) => Effect::None { detail: format!("{path} is as it was") },
        Ok((_, true)) => Effect::Took { detail: format!("{path} holds what the step puts there") },
        Ok(_) => Effect::Unknown { detail: format!("{path} is neither as it was nor as the step leaves it") },
        Err(detail) => Effect::Unknown { detail },
    }
}

pub fn undo(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    path: &AbsPath,
    prior: &Prior,
) -> Result<String, String> {
    let place = Place::of(path)?;
    beside(step, &place)?.remove()?;
    if is_before(&place, prior)? {
        return Ok(format!("{path} is as it was"));
    }
    if !is_after(&place, prior)? {
        let kept = quarantine.folder(step).join("file");
        return Err(format!(
            "somebody changed {path} since; that was left alone, and what was before the step is in {}",
            kept.display()
        ));
    }
    let Some(before) = &prior.before else {
        place.remove()?;
        place.sync_folder()?;
        return Ok(format!("{path}, which the step made, is removed"));
    };
    let from = quarantine.place(step, &before.name)?;
    let file = from.open(false)?.ok_or_else(|| from.failed("find", "it is gone from quarantine"))?;
    quarantine.ready(step, before, &file, &place)?.rename_over(&place)?;
    place.sync_folder()?;
    Ok(format!("{path} is back as it was"))
}

/// Refuses a file that has other names: what is done to it would be done to them, unseen.
pub fn single(place: &Place, meta: &Meta) -> Result<(), String> {
    if meta.links > 1 {
        return Err(place.failed("change", format!("it has {} names (hard links)", meta.links)));
    }
    Ok(())
}

fn is_before(place: &Place, prior: &Prior) -> Result<bool, String> {
    match (place.open(false)?, &prior.before) {
        (None, before) => Ok(before.is_none()),
        (Some(_), None) => Ok(false),
        (Some(file), Some(before)) => before.is(&file).map_err(|e| place.failed("read", e)),
    }
}

fn is_after(place: &Place, prior: &Prior) -> Result<bool, String> {
    let Some(file) = place.open(false)? else { return Ok(false) };
    let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
    if (meta.mode, meta.uid, meta.gid) != (prior.after_mode, prior.after_owner.0, prior.after_owner.1) {
        return Ok(false);
    }
    Ok(sha256(&file).map_err(|e| place.failed("read", e))? == prior.after_sha256)
}

/// Which file, and what is to be in it.
#[derive(Debug)]
pub struct Replace<'a> {
    pub path: &'a AbsPath,
    pub content: Content<'a>,
}

impl Act for Replace<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let place = Place::of(self.path)?;
        let Some(file) = place.open(false)? else {
            let (_, meta) = self.content.after(None)?;
            return Ok(format!("{} does not exist and would be made, {} bytes", self.path, meta.size));
        };
        let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
        single(&place, &meta)?;
        let before = sha256(&file).map_err(|e| place.failed("read", e))?;
        let (after, next) = self.content.after(Some(&meta))?;
        Ok(if before == after {
            format!("the bytes of {} would stay: they are as they should be", self.path)
        } else {
            format!("the {} bytes of {} would be replaced by {} others", meta.size, self.path, next.size)
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&at.bench.quarantine, at.step, self.path, &self.content)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(at.step, self.path, &self.content, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.path, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(&at.bench.quarantine, at.step, self.path, prior)
    }
}
