//! `directory.create`: makes an empty folder as it is declared, where nothing is. The folder that it lies in must be
//! there. Undo removes it while it is empty; what somebody put into it since stays, and the undo says so as residue.

use super::accounts;
use super::act::{Act, At};
use super::place::Place;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sopwith_domain::action::octal_mode;
use sopwith_domain::run::Effect;
use sopwith_domain::value::{AbsPath, Word};

/// Nothing is there before: that is all there is to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// A folder to make.
#[derive(Clone, Copy, Debug)]
pub struct Create<'a> {
    pub path: &'a AbsPath,
    pub mode: &'a Word,
    pub user: &'a Word,
    pub group: &'a Word,
}

impl Create<'_> {
    fn looked_at(&self) -> Result<Prior, String> {
        let place = Place::of(self.path)?;
        if place.stat()?.is_some() {
            return Err(place.failed("make", "something is there"));
        }
        let (uid, gid) = accounts::numbers(self.user, self.group)?;
        let mode = octal_mode(self.mode).ok_or_else(|| format!("{} is no mode", self.mode))?;
        Ok(Prior { uid, gid, mode })
    }
}

/// Removes a folder that is empty; nothing where it is gone.
fn remove_empty(place: &Place) -> Result<(), String> {
    match unlinkat(place.folder(), place.name(), AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            Err(format!("{} holds something by now; it was left", place.shown()))
        }
        Err(e) => Err(place.failed("remove", e)),
    }
}

impl Act for Create<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        self.looked_at()?;
        Ok(format!("the folder {} would be made", self.path))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        self.looked_at()
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let place = Place::of(self.path)?;
        let failed = |e: Errno| place.failed("make", e);
        // Nobody but root comes in until it is as it should be.
        mkdirat(place.folder(), place.name(), Mode::RWXU).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(place.folder(), place.name(), flags, Mode::empty()).map_err(failed)?;
        fchown(&folder, Some(Uid::from_raw(prior.uid)), Some(Gid::from_raw(prior.gid))).map_err(failed)?;
        fchmod(&folder, Mode::from_raw_mode(prior.mode)).map_err(failed)?;
        place.sync_folder()?;
        Ok(format!("the folder {} is there", self.path))
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(match Place::of(self.path)?.stat()? {
            None => Effect::None { detail: format!("{} is not there", self.path) },
            Some(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
                Effect::Unknown { detail: format!("{} is no folder", self.path) }
            }
            Some(stat)
                if (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777)
                    == (prior.uid, prior.gid, prior.mode) =>
            {
                Effect::Took { detail: format!("{} is there", self.path) }
            }
            Some(_) => {
                Effect::Unknown { detail: format!("{} is there, and otherwise than it was to be", self.path) }
            }
        })
    }

    fn undo(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        let place = Place::of(self.path)?;
        let there = place.stat()?;
        if there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory) {
            return Err(format!("somebody put something else at {} since; that was left alone", self.path));
        }
        remove_empty(&place)?;
        place.sync_folder()?;
        Ok(format!("{} is not there, as before", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::actions::tests::{World, context, step};
    use sopwith_domain::action::Action;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_folder_is_made_and_goes_again_while_it_is_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = fs::metadata(folder.path()).expect("there");
        let word = |text: String| Word::new(text).expect("a word");
        let text = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let path = AbsPath::new(text("reports")).expect("a path");
        let (mode, user, group) =
            (word("0750".into()), word(own.uid().to_string()), word(own.gid().to_string()));
        let action = Action::DirectoryCreate {
            path: path.clone(),
            mode: mode.clone(),
            user: user.clone(),
            group: group.clone(),
        };
        let (mut world, step) = (World::new(), step(action));
        let mut at = At { bench: &mut world.bench, step: context(&step) };
        let act = Create { path: &path, mode: &mode, user: &user, group: &group };
        let prior = act.capture(&mut at).expect("captured");
        assert!(matches!(act.probe(&mut at, &prior), Ok(Effect::None { .. })));
        act.perform(&mut at, &prior).expect("done");
        assert_eq!(fs::metadata(path.as_str()).expect("there").mode() & 0o7777, 0o750);
        assert!(matches!(act.probe(&mut at, &prior), Ok(Effect::Took { .. })));
        assert!(act.capture(&mut at).is_err(), "it is there already");
        fs::write(text("reports/last"), "x").expect("written");
        assert!(act.undo(&mut at, &prior).expect_err("left").contains("holds something"));
        fs::remove_file(text("reports/last")).expect("removed");
        for _ in 0..2 {
            act.undo(&mut at, &prior).expect("undone");
            assert!(fs::metadata(path.as_str()).is_err());
        }
    }
}
