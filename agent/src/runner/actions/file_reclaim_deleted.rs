//! `file.reclaim-deleted`: empties a file that has no name any more but that a process still holds open, found by
//! its inode among that process's descriptors. Its bytes are copied to quarantine where they fit; no name leads
//! back to it, so there is no undo.

use super::act::{Act, At};
use super::meta::Meta;
use super::processes::{self, descriptors};
use super::quarantine::{Kept, Quarantine};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::{AbsPath, ProcessRef};
use std::fs::{File, OpenOptions};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    meta: Meta,
    kept: bool,
    copy: Option<Kept>,
}

/// Which deleted file.
#[derive(Clone, Copy, Debug)]
pub struct Deleted<'a> {
    pub process: ProcessRef,
    pub path: &'a AbsPath,
    pub inode: i64,
}

fn open(file: Deleted<'_>, write: bool) -> Result<(File, Meta), String> {
    let Deleted { process, path, inode } = file;
    let gone =
        || format!("process {} holds no deleted {path} with inode {inode} open for writing", process.pid);
    if !processes::lives(process) {
        return Err(format!("process {} is gone, and what it held open with it", process.pid));
    }
    let shown = format!("{path} (deleted)");
    let held = descriptors(process.pid).into_iter();
    let mut held = held.filter(|d| d.for_writing && d.target.as_os_str() == shown.as_str());
    let opened = held.find_map(|descriptor| {
        let file = OpenOptions::new().read(true).write(write).open(&descriptor.link).ok()?;
        let meta = Meta::of(&file).ok()?;
        (i64::try_from(meta.ino) == Ok(inode) && meta.links == 0).then_some((file, meta))
    });
    // If the process was exchanged meanwhile, the descriptors were another's.
    opened.filter(|_| processes::lives(process)).ok_or_else(gone)
}

pub fn capture(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    deleted: Deleted<'_>,
) -> Result<Prior, String> {
    let (file, meta) = open(deleted, true)?;
    if !quarantine.fits(meta.size, &file)? {
        return Ok(Prior { meta, kept: false, copy: None });
    }
    quarantine.fresh(step)?;
    let from = super::place::Place::of(deleted.path)?;
    let copy = quarantine.copy(step, &from, &file, "file")?;
    Ok(Prior { meta, kept: true, copy: Some(copy) })
}

pub fn perform(deleted: Deleted<'_>, prior: &Prior) -> Result<String, String> {
    let (file, now) = open(deleted, true)?;
    if !now.same_file(&prior.meta) {
        return Err(format!("{} is another file by now", deleted.path));
    }
    file.set_len(0).map_err(|e| format!("failed to empty the deleted {}: {e}", deleted.path))?;
    let how = if prior.kept { "kept in quarantine" } else { "not kept: they did not fit quarantine" };
    Ok(format!("{} bytes are freed; they were {how}", now.size))
}

pub fn probe(deleted: Deleted<'_>, prior: &Prior) -> Effect {
    match open(deleted, true) {
        Ok((_, now)) if now.size < prior.meta.size => {
            Effect::Took { detail: "it is shorter than it was".into() }
        }
        Ok(_) => Effect::None { detail: "it is as long as it was".into() },
        Err(detail) => Effect::Unknown { detail },
    }
}

pub fn undo(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    deleted: Deleted<'_>,
    prior: &Prior,
) -> Result<String, String> {
    if let Effect::None { detail } = probe(deleted, prior) {
        return Ok(detail);
    }
    let path = deleted.path;
    Err(if prior.kept {
        let copy = quarantine.folder(step).join("file");
        format!("the deleted {path} is emptied; its {} bytes are in {}", prior.meta.size, copy.display())
    } else {
        format!("the deleted {path} is emptied and its {} bytes are lost", prior.meta.size)
    })
}

impl Act for Deleted<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let (file, meta) = open(*self, false)?;
        let copy = if at.bench.quarantine.fits(meta.size, &file)? { "after" } else { "without" };
        let (path, pid) = (self.path, self.process.pid);
        Ok(format!("the deleted {path} of process {pid} would lose its {} bytes, {copy} a copy", meta.size))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&at.bench.quarantine, at.step, *self)
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(*self, prior)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(*self, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(&at.bench.quarantine, at.step, *self, prior)
    }
}
