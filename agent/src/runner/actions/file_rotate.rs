//! `file.rotate`: `path` becomes `path.1`, `.1` becomes `.2` and so on up to the first free name; what falls off
//! after `keep` goes to quarantine. The writer has to be told by a later step; no new file is made here.
//!
//! Undo renames back, each file known by its inode. A file that somebody made at one of the names since is left
//! alone, and the undo says so as residue.

use super::act::{Act, At};
use super::file_quarantine::give_back;
use super::meta::Meta;
use super::place::Place;
use super::quarantine::{Kept, Quarantine};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::AbsPath;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// Device and inode of `path`, `path.1` … that move by one.
    moving: Vec<(u64, u64)>,
    fallen: Option<Kept>,
}

fn slot(path: &AbsPath, number: usize) -> Result<Place, String> {
    let place = Place::of(path)?;
    if number == 0 {
        return Ok(place);
    }
    let mut name = place.name().to_owned();
    name.push(format!(".{number}"));
    place.beside(name)
}

fn identity(place: &Place) -> Result<Option<(u64, u64)>, String> {
    Ok(place.stat()?.map(|s| (s.st_dev, s.st_ino)))
}

pub fn capture(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    path: &AbsPath,
    keep: u32,
) -> Result<Prior, String> {
    quarantine.fresh(step)?;
    let mut prior = Prior { moving: Vec::new(), fallen: None };
    for number in 0..=keep as usize {
        let place = slot(path, number)?;
        let Some(file) = place.open(false)? else { break };
        if number == keep as usize {
            prior.fallen = Some(quarantine.keep(step, &place, &file, "fallen")?);
        } else {
            let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
            prior.moving.push((meta.dev, meta.ino));
        }
    }
    if prior.moving.is_empty() {
        return Err(format!("failed to rotate {path}: it does not exist"));
    }
    Ok(prior)
}

pub fn perform(path: &AbsPath, prior: &Prior) -> Result<String, String> {
    let count = prior.moving.len();
    if let Some(kept) = &prior.fallen {
        let place = slot(path, count)?;
        if identity(&place)? != Some((kept.meta.dev, kept.meta.ino)) {
            return Err(place.failed("move away", "somebody exchanged it a moment ago"));
        }
        place.remove()?;
    }
    for number in (0..count).rev() {
        let place = slot(path, number)?;
        if identity(&place)? != Some(prior.moving[number]) {
            return Err(place.failed("rotate", "somebody exchanged it a moment ago"));
        }
        place.rename_to_free(&slot(path, number + 1)?)?;
    }
    slot(path, 0)?.sync_folder()?;
    Ok(format!("{count} files moved by one, {} to quarantine", usize::from(prior.fallen.is_some())))
}

pub fn probe(path: &AbsPath, prior: &Prior) -> Effect {
    let count = |offset: usize| -> Result<usize, String> {
        let mut found = 0;
        for (number, file) in prior.moving.iter().enumerate() {
            found += usize::from(identity(&slot(path, number + offset)?)? == Some(*file));
        }
        Ok(found)
    };
    let all = prior.moving.len();
    match (count(0), count(1)) {
        (Ok(_), Ok(moved)) if moved == all => Effect::Took { detail: "every file moved by one".into() },
        (Ok(stayed), Ok(0)) if stayed == all => fallen_there(path, prior),
        (Ok(stayed), Ok(moved)) => {
            Effect::Unknown { detail: format!("of {all} files {moved} moved and {stayed} did not") }
        }
        (Err(detail), _) | (_, Err(detail)) => Effect::Unknown { detail },
    }
}

/// The file that falls off is the first to go: only while it is there was nothing done.
fn fallen_there(path: &AbsPath, prior: &Prior) -> Effect {
    let there = slot(path, prior.moving.len()).and_then(|place| identity(&place));
    match (&prior.fallen, there) {
        (Some(kept), Ok(there)) if there != Some((kept.meta.dev, kept.meta.ino)) => {
            Effect::Unknown { detail: "the oldest file is gone and no other moved".into() }
        }
        (_, Err(detail)) => Effect::Unknown { detail },
        _ => Effect::None { detail: "no file moved".into() },
    }
}

pub fn undo(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    path: &AbsPath,
    prior: &Prior,
) -> Result<String, String> {
    for (number, file) in prior.moving.iter().enumerate() {
        let (place, next) = (slot(path, number)?, slot(path, number + 1)?);
        if identity(&place)? == Some(*file) {
            continue;
        }
        if identity(&next)? != Some(*file) {
            return Err(format!("{} is not where the step put it", place.shown()));
        }
        next.rename_to_free(&place).map_err(|e| {
            format!(
                "somebody made {} anew since; its older part stays at {} ({e})",
                place.shown(),
                next.shown()
            )
        })?;
    }
    slot(path, 0)?.sync_folder()?;
    if let Some(kept) = &prior.fallen {
        give_back(quarantine, step, &slot(path, prior.moving.len())?, kept)?;
    }
    Ok(format!("{path} and its older files have their names back"))
}

/// Which file to rotate, and how many old ones stay.
#[derive(Clone, Copy, Debug)]
pub struct Rotate<'a> {
    pub path: &'a AbsPath,
    pub keep: u32,
}

impl Act for Rotate<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let mut there = 0;
        while there <= self.keep as usize && slot(self.path, there)?.open(false)?.is_some() {
            there += 1;
        }
        let path = self.path;
        match there {
            0 => Err(format!("failed to rotate {path}: it does not exist")),
            n if n > self.keep as usize => {
                Ok(format!("{path} and its {} old files would move on by one; the oldest would go", n - 1))
            }
            n => Ok(format!("{path} and its {} old files would move on by one", n - 1)),
        }
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&at.bench.quarantine, at.step, self.path, self.keep)
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(self.path, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.path, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(&at.bench.quarantine, at.step, self.path, prior)
    }
}
