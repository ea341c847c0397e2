//! `file.quarantine`: moves one file out of the way. Undo puts it back where its name is still free; a file that
//! somebody has put there since stays, and the undo says so as residue. The pidfile of a dead process is nobody's: a
//! service that the same run started, and ended when it was undone, may leave one behind.

use super::act::{Act, At};
use super::place::Place;
use super::processes;
use super::quarantine::{Kept, Quarantine};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::AbsPath;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    kept: Kept,
}

pub fn capture(quarantine: &Quarantine, step: StepContext<'_>, path: &AbsPath) -> Result<Prior, String> {
    let place = Place::of(path)?;
    quarantine.fresh(step)?;
    let file = place.open(false)?.ok_or_else(|| place.failed("move away", "it does not exist"))?;
    Ok(Prior { kept: quarantine.keep(step, &place, &file, "file")? })
}

pub fn perform(path: &AbsPath, prior: &Prior) -> Result<String, String> {
    let place = Place::of(path)?;
    if !here(&place, &prior.kept)? {
        return Err(place.failed("move away", "somebody exchanged or changed it a moment ago"));
    }
    place.remove()?;
    place.sync_folder()?;
    Ok(format!("{path} is in quarantine"))
}

pub fn probe(path: &AbsPath, prior: &Prior) -> Effect {
    let look = || {
        let place = Place::of(path)?;
        Ok::<_, String>((place.stat()?.is_none(), here(&place, &prior.kept)?))
    };
    match look() {
        Ok((true, _)) => Effect::Took { detail: format!("{path} is gone") },
        Ok((_, true)) => Effect::None { detail: format!("{path} is where it was") },
        Ok(_) => Effect::Unknown { detail: format!("another file is at {path}") },
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
    if !here(&place, &prior.kept)? && replaced_by_a_dead_ones(quarantine, step, &place, &prior.kept) {
        place.remove()?;
    }
    give_back(quarantine, step, &place, &prior.kept)
}

/// Says whether a pidfile was moved away, and in its place is that of a process that is dead by now.
fn replaced_by_a_dead_ones(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    place: &Place,
    kept: &Kept,
) -> bool {
    let pid = |place: &Place| processes::of_pidfile(place.open(false).ok()??).ok();
    let was_one = quarantine.place(step, &kept.name).is_ok_and(|away| pid(&away).is_some());
    was_one && pid(place).is_some_and(processes::is_dead)
}

/// Puts a kept file back, or finds that it is back.
pub fn give_back(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    place: &Place,
    kept: &Kept,
) -> Result<String, String> {
    super::quarantine::beside(step, place)?.remove()?;
    if place.stat()?.is_none() {
        quarantine.put_back(step, kept, place)?;
        return Ok(format!("{} is back", place.shown()));
    }
    if here(place, kept)? {
        // Where the step was interrupted, the file still has its second name; it goes back to having one.
        if kept.sha256.is_none() {
            quarantine.place(step, &kept.name)?.remove()?;
        }
        return Ok(format!("{} is where it was", place.shown()));
    }
    Err(format!(
        "somebody put another file at {} since; that was left alone, and what the step took away is in {}",
        place.shown(),
        quarantine.folder(step).join(&kept.name).display()
    ))
}

fn here(place: &Place, kept: &Kept) -> Result<bool, String> {
    match place.open(false)? {
        Some(file) => kept.is(&file).map_err(|e| place.failed("read", e)),
        None => Ok(false),
    }
}

/// Which file to move out of the way.
#[derive(Clone, Copy, Debug)]
pub struct PutAway<'a> {
    pub path: &'a AbsPath,
}

impl Act for PutAway<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let place = Place::of(self.path)?;
        let file = place.open(false)?.ok_or_else(|| place.failed("move away", "it does not exist"))?;
        let size = file.metadata().map_err(|e| place.failed("look at", e))?.len();
        Ok(format!("{} ({size} bytes) would move to quarantine", self.path))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&at.bench.quarantine, at.step, self.path)
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
