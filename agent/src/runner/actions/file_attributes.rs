//! `file.mode` and `file.owner`: change what a file or folder allows, by an open descriptor. A file with several
//! names is refused. Undo acts on what the step set; what somebody else has set since is left alone as residue.

use super::accounts;
use super::act::{Act, At};
use super::meta::Meta;
use super::place::Place;
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
use serde::{Deserialize, Serialize};
use sopwith_domain::action::octal_mode;
use sopwith_domain::run::Effect;
use sopwith_domain::value::{AbsPath, Word};
use std::fs::File;

/// Mode, owner and group.
type Attributes = (u32, u32, u32);

/// What to set.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Mode(&'a Word),
    Owner { user: &'a Word, group: &'a Word },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    dev: u64,
    ino: u64,
    before: Attributes,
    /// What the step leaves; of the mode only the bits that it sets, because the kernel takes some away.
    after: Attributes,
}

/// Bits that the kernel takes away when the owner changes.
const SET_ID_BITS: u32 = 0o6000;

fn open(path: &AbsPath) -> Result<(Place, File, Meta), String> {
    let place = Place::of(path)?;
    let file = place.open_file_or_folder()?;
    let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
    Ok((place, file, meta))
}

fn attributes(meta: &Meta) -> Attributes {
    (meta.mode, meta.uid, meta.gid)
}

pub fn capture(path: &AbsPath, wanted: Wanted<'_>) -> Result<Prior, String> {
    let (place, file, meta) = open(path)?;
    if file.metadata().is_ok_and(|m| m.is_file()) {
        super::file_replace::single(&place, &meta)?;
    }
    let before = attributes(&meta);
    let after = match wanted {
        Wanted::Mode(mode) => {
            let mode = octal_mode(mode).ok_or_else(|| format!("{mode} is no mode"))?;
            (mode, before.1, before.2)
        }
        Wanted::Owner { user, group } => {
            let (uid, gid) = accounts::numbers(user, group)?;
            (before.0, uid, gid)
        }
    };
    Ok(Prior { dev: meta.dev, ino: meta.ino, before, after })
}

/// Opens the file that was captured; another one in its place is an error.
fn same(path: &AbsPath, prior: &Prior) -> Result<(Place, File, Attributes), String> {
    let (place, file, meta) = open(path)?;
    if (meta.dev, meta.ino) != (prior.dev, prior.ino) {
        return Err(place.failed("go on with", "somebody put another file in its place"));
    }
    Ok((place, file, attributes(&meta)))
}

fn is_after(now: Attributes, prior: &Prior) -> bool {
    let without = |a: Attributes| (a.0 & !SET_ID_BITS, a.1, a.2);
    now == prior.after
        || (prior.after.1, prior.after.2) != (prior.before.1, prior.before.2)
            && without(now) == without(prior.after)
}

fn set(file: &File, now: Attributes, to: Attributes) -> std::io::Result<()> {
    if (now.1, now.2) != (to.1, to.2) {
        fchown(file, Some(Uid::from_raw(to.1)), Some(Gid::from_raw(to.2)))?;
    }
    fchmod(file, Mode::from_raw_mode(to.0))?;
    file.sync_all()
}

pub fn perform(path: &AbsPath, prior: &Prior) -> Result<String, String> {
    let (place, file, now) = same(path, prior)?;
    if now != prior.before {
        return Err(place.failed("change", "somebody changed its mode or owner a moment ago"));
    }
    if (prior.after.1, prior.after.2) == (now.1, now.2) {
        set(&file, now, prior.after).map_err(|e| place.failed("set the mode of", e))?;
    } else {
        // Set-user-id bits go with the old owner: a new one did not ask for them.
        let to = (prior.after.0 & !SET_ID_BITS, prior.after.1, prior.after.2);
        set(&file, now, to).map_err(|e| place.failed("set the owner of", e))?;
    }
    Ok(format!("{path} has mode {:04o}, owner {}:{}", prior.after.0, prior.after.1, prior.after.2))
}

pub fn probe(path: &AbsPath, prior: &Prior) -> Effect {
    match same(path, prior) {
        Ok((_, _, now)) if is_after(now, prior) => {
            Effect::Took { detail: format!("{path} is as the step sets it") }
        }
        Ok((_, _, now)) if now == prior.before => Effect::None { detail: format!("{path} is as it was") },
        Ok((_, _, (mode, uid, gid))) => {
            Effect::Unknown { detail: format!("{path} has mode {mode:04o}, owner {uid}:{gid}") }
        }
        Err(detail) => Effect::Unknown { detail },
    }
}

pub fn undo(path: &AbsPath, prior: &Prior) -> Result<String, String> {
    let (place, file, now) = same(path, prior)?;
    if now == prior.before {
        return Ok(format!("{path} is as it was"));
    }
    // An owner is set in two calls of the kernel; a crash between them leaves the new owner with another mode.
    let between = (now.1, now.2) == (prior.after.1, prior.after.2)
        && now.0 & !SET_ID_BITS == prior.before.0 & !SET_ID_BITS;
    if !is_after(now, prior) && !between {
        let (mode, uid, gid) = now;
        return Err(format!(
            "somebody set {path} to mode {mode:04o}, owner {uid}:{gid} since; that was left alone"
        ));
    }
    set(&file, now, prior.before).map_err(|e| place.failed("set back", e))?;
    Ok(format!("{path} has its mode and owner back"))
}

/// Which file, and what of it to set.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub path: &'a AbsPath,
    pub wanted: Wanted<'a>,
}

impl Act for Change<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let Prior { before, after, .. } = capture(self.path, self.wanted)?;
        let shown = |(mode, uid, gid): Attributes| format!("{mode:04o} {uid}:{gid}");
        Ok(if before == after {
            format!("nothing: {} has {}", self.path, shown(before))
        } else {
            format!("{} would go from {} to {}", self.path, shown(before), shown(after))
        })
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        capture(self.path, self.wanted)
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(self.path, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.path, prior))
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(self.path, prior)
    }
}
