//! A place aside: files of one folder move into another on the same file system, and back. Nothing is copied, so that
//! room and time do not depend on their size; their inodes, times and owners stay theirs. It is laid out like quarantine
//! and expires with it.

use super::place::Place;
use super::quarantine::Quarantine;
use rustix::fs::{Dir, FileType, Stat};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::StepContext;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Most files that one step moves.
pub const FILES_MAX: usize = 400;
/// Most files of a folder that are looked at.
const LISTED_MAX: usize = 20_000;
/// Most names that a text for people lists.
const NAMES_SHOWN: usize = 5;

/// A file of a folder, told from any other that may be put in its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    pub inode: u64,
    pub bytes: i64,
    /// Seconds and nanoseconds.
    pub changed: (i64, i64),
}

impl Named {
    fn of(name: &str, stat: &Stat) -> Self {
        let changed = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
        Self { name: name.into(), inode: stat.st_ino, bytes: stat.st_size, changed }
    }
}

/// A folder, and where its files go.
#[derive(Clone, Debug)]
pub struct Aside {
    pub directory: PathBuf,
    pub root: PathBuf,
}

impl Aside {
    fn quarantine(&self) -> Quarantine {
        Quarantine::new(self.root.clone())
    }

    fn place(&self, name: &str) -> Result<Place, String> {
        Place::at(&self.directory.join(name))
    }

    /// Returns every regular file of the folder.
    ///
    /// # Errors
    /// It cannot be listed, or holds too many.
    pub fn files(&self) -> Result<Vec<Named>, String> {
        let any = self.place("x")?;
        let mut files = Vec::new();
        for entry in Dir::read_from(any.folder()).map_err(|e| any.failed("list the folder of", e))? {
            let entry = entry.map_err(|e| any.failed("list the folder of", e))?;
            let Ok(name) = OsStr::from_bytes(entry.file_name().to_bytes()).to_os_string().into_string()
            else {
                continue;
            };
            let Some(stat) = any.beside(&name)?.stat()? else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                files.push(Named::of(&name, &stat));
            }
            if files.len() > LISTED_MAX {
                return Err(
                    any.failed("list the folder of", format!("it holds more than {LISTED_MAX} files"))
                );
            }
        }
        Ok(files)
    }

    /// Makes the step's own folder and says whether the folder of all steps was there before.
    ///
    /// # Errors
    /// It cannot be made, or lies on another file system.
    pub fn prepare(&self, step: StepContext<'_>) -> Result<bool, String> {
        let was_there = self.root.exists();
        let folder = self.quarantine().fresh(step)?;
        let device = |path: &Path| -> Result<u64, String> {
            let at = Place::at(&path.join("x"))?;
            rustix::fs::fstat(at.folder()).map(|stat| stat.st_dev).map_err(|e| at.failed("look at", e))
        };
        if device(&folder)? != device(&self.directory)? {
            self.tidy(step, was_there);
            return Err(format!(
                "{} is not on the file system of {}",
                self.root.display(),
                self.directory.display()
            ));
        }
        Ok(was_there)
    }

    /// Makes the step's own folder where it is not there, and leaves what is in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn prepare_again(&self, step: StepContext<'_>) -> Result<(), String> {
        let folder = self.quarantine().folder(step);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|e| format!("failed to make {}: {e}", folder.display()))
    }

    /// Moves files aside; returns how many, and those that are not any more what they were.
    ///
    /// # Errors
    /// One could not be moved; those before it were.
    pub fn put(&self, step: StepContext<'_>, files: &[Named]) -> Result<(usize, Vec<String>), String> {
        let (mut moved, mut changed) = (None, Vec::new());
        let mut count = 0;
        for file in files {
            let from = self.place(&file.name)?;
            match from.stat()? {
                Some(stat) if Named::of(&file.name, &stat) == *file => {
                    let to = self.quarantine().place(step, &file.name)?;
                    from.rename_to_free(&to)?;
                    count += 1;
                    moved = Some((from, to));
                }
                _ => changed.push(file.name.clone()),
            }
        }
        if let Some((from, to)) = moved {
            to.sync_folder()?;
            from.sync_folder()?;
        }
        Ok((count, changed))
    }

    /// Says how many of the files are where they were, and how many are aside.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn whereabouts(&self, step: StepContext<'_>, files: &[Named]) -> Result<(usize, usize), String> {
        let (mut here, mut aside) = (0, 0);
        for file in files {
            let is = |place: Result<Place, String>| -> Result<bool, String> {
                Ok(place?.stat()?.is_some_and(|stat| Named::of(&file.name, &stat) == *file))
            };
            here += usize::from(is(self.place(&file.name))?);
            // Where the step's folder is gone, nothing lies in it.
            aside += usize::from(is(self.quarantine().place(step, &file.name)).unwrap_or(false));
        }
        Ok((here, aside))
    }

    /// Moves files back to where nothing is, and removes the step's empty folders.
    ///
    /// # Errors
    /// Names what could not be put back.
    pub fn give_back(
        &self,
        step: StepContext<'_>,
        files: &[Named],
        was_there: bool,
    ) -> Result<String, String> {
        let mut residue = Vec::new();
        for file in files {
            if let Err(what) = self.give_one_back(step, file) {
                residue.push(what);
            }
        }
        self.place("x")?.sync_folder()?;
        if residue.is_empty() {
            self.tidy(step, was_there);
            return Ok(format!("{} files are where they were", files.len()));
        }
        Err(few(residue))
    }

    fn give_one_back(&self, step: StepContext<'_>, file: &Named) -> Result<(), String> {
        let home = self.place(&file.name)?;
        match home.stat()? {
            Some(stat) if Named::of(&file.name, &stat) == *file => Ok(()),
            Some(_) => Err(format!(
                "somebody put another {} in its place since; that was left alone, and what the step took away is in {}",
                home.shown(),
                self.quarantine().folder(step).display()
            )),
            None => self.quarantine().place(step, &file.name)?.rename_to_free(&home),
        }
    }

    /// Removes the step's folders where they are empty.
    pub fn tidy(&self, step: StepContext<'_>, was_there: bool) {
        let folder = self.quarantine().folder(step);
        let kept = usize::from(!was_there);
        for folder in folder.ancestors().take(2 + kept) {
            // One that is not empty stays, which is what it is for.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes one text of several, of which it names a few.
pub fn few(mut texts: Vec<String>) -> String {
    let more = texts.len().saturating_sub(NAMES_SHOWN);
    texts.truncate(NAMES_SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", texts.join(", "))
}
