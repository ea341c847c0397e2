//! `file.move`: renames a file to where nothing is, on its own file system. Undo renames it back where its name is
//! still free; what somebody else has put there since stays, and the undo says so as residue.

use super::act::{Act, At};
use super::meta::Meta;
use super::place::Place;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::AbsPath;

/// A file and where it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    pub path: &'a AbsPath,
    pub to: &'a AbsPath,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    meta: Meta,
}

impl Move<'_> {
    fn looked_at(&self) -> Result<Prior, String> {
        let (place, to) = (Place::of(self.path)?, Place::of(self.to)?);
        let file = place.open(false)?.ok_or_else(|| place.failed("move", "it does not exist"))?;
        if to.stat()?.is_some() {
            return Err(to.failed("move to", "something is there"));
        }
        Ok(Prior { meta: Meta::of(&file).map_err(|e| place.failed("look at", e))? })
    }

    fn is_at(place: &Place, prior: &Prior) -> Result<bool, String> {
        let Some(stat) = place.stat()? else { return Ok(false) };
        Ok((stat.st_dev, stat.st_ino) == (prior.meta.dev, prior.meta.ino))
    }
}

impl Act for Move<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let Prior { meta } = self.looked_at()?;
        Ok(format!("{}, {} bytes, would be {}", self.path, meta.size, self.to))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        self.looked_at()
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let (place, to) = (Place::of(self.path)?, Place::of(self.to)?);
        if !Self::is_at(&place, prior)? {
            return Err(place.failed("move", "somebody exchanged it a moment ago"));
        }
        place.rename_to_free(&to)?;
        to.sync_folder()?;
        place.sync_folder()?;
        Ok(format!("{} is {} now", self.path, self.to))
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        let (place, to) = (Place::of(self.path)?, Place::of(self.to)?);
        Ok(if Self::is_at(&to, prior)? {
            Effect::Took { detail: format!("it is at {}", self.to) }
        } else if Self::is_at(&place, prior)? {
            Effect::None { detail: format!("it is at {}", self.path) }
        } else {
            Effect::Unknown { detail: format!("it is neither at {} nor at {}", self.path, self.to) }
        })
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let (place, to) = (Place::of(self.path)?, Place::of(self.to)?);
        if Self::is_at(&place, prior)? {
            return Ok(format!("{} is where it was", self.path));
        }
        if !Self::is_at(&to, prior)? {
            return Err(format!("somebody took {} away since; that was left alone", self.to));
        }
        to.rename_to_free(&place)?;
        place.sync_folder()?;
        to.sync_folder()?;
        Ok(format!("{} is where it was", self.path))
    }
}
