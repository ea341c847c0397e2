//! `file.prune` with `discard`: deletes what the host's administrator marked as reclaimable, for where quarantine lies
//! on the very file system that is to be relieved. It writes nothing, so that it works on a disk without a free byte
//! or inode. What it deletes cannot be had back.

use super::act::{Act, At};
use super::file_prune::{Choice, choose};
use super::meta::Meta;
use super::place::Place;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;

/// Which files to delete.
#[derive(Clone, Copy, Debug)]
pub struct Discard<'a>(pub Choice<'a>);

/// Files that were chosen, and up to which time of change; younger ones are none of the step's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    files: usize,
    bytes: u64,
    newest: (i64, i64),
}

impl Discard<'_> {
    /// Returns the files to be deleted, oldest first.
    fn doomed(&self, at: &At<'_>) -> Result<Vec<(Place, Meta)>, String> {
        let Choice { directory, pattern, .. } = self.0;
        if !at.bench.reclaimable.iter().any(|(d, p)| d == directory && p == pattern) {
            return Err(format!(
                "this host's configuration does not mark {pattern} in {directory} as reclaimable"
            ));
        }
        let any = Place::at(&std::path::Path::new(directory.as_str()).join("x"))?;
        choose(&any, self.0)?.into_iter().map(|(name, meta)| Ok((any.beside(&name)?, meta))).collect()
    }

    /// Returns those of the chosen files that are still there.
    fn left(&self, at: &At<'_>, prior: &Prior) -> Result<Vec<Place>, String> {
        let doomed = self.doomed(at)?.into_iter();
        Ok(doomed.filter(|(_, meta)| meta.mtime <= prior.newest).map(|(place, _)| place).collect())
    }
}

impl Act for Discard<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let Prior { files, bytes, .. } = self.capture(at)?;
        let directory = self.0.directory;
        Ok(match files {
            0 => format!("nothing: no file of {directory} is to go"),
            n => format!("{n} files of {directory} ({bytes} bytes) would be deleted for good"),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        let doomed = self.doomed(at)?;
        Ok(Prior {
            files: doomed.len(),
            bytes: doomed.iter().map(|(_, meta)| meta.size).sum(),
            newest: doomed.iter().map(|(_, meta)| meta.mtime).max().unwrap_or_default(),
        })
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let left = self.left(at, prior)?;
        for place in &left {
            place.remove()?;
        }
        if let Some(place) = left.last() {
            place.sync_folder()?;
        }
        Ok(format!("{} files are deleted, {} bytes were chosen", left.len(), prior.bytes))
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        let left = self.left(at, prior)?.len();
        Ok(match left {
            0 => Effect::Took { detail: "all chosen files are gone".into() },
            n if n == prior.files => Effect::None { detail: "all chosen files are there".into() },
            n => Effect::Unknown { detail: format!("{n} of {} chosen files are there", prior.files) },
        })
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        match prior.files.saturating_sub(self.left(at, prior)?.len()) {
            0 => Ok("all chosen files are there".into()),
            n => Err(format!("{n} files of {} are deleted and cannot be had back", self.0.directory)),
        }
    }
}
