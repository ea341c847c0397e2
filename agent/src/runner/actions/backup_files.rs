//! `backup.quarantine`, `backup.prune` and `backup.modes`: archives that are files are moved aside with their own
//! checksums, or lose permissions that nobody declared. What is to be kept, and where, is what this host's
//! configuration says; a plan that says otherwise is refused. Nothing is deleted.

use super::act::{Act, At};
use super::aside::{Aside, FILES_MAX, Named, few};
use super::own::about;
use super::place::Place;
use super::processes;
use crate::config::{Backup, FileSet};
use crate::watcher::glob::fits;
use rustix::fs::{Mode, fchmod, fstat};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::{AbsPath, Word};

/// Bits of a mode that can be set.
const MODE_BITS: u32 = 0o7777;

/// Returns the files that a backup consists of.
///
/// # Errors
/// It is kept by a program, or elsewhere.
pub fn files_in<'b>(backup: &'b Backup, directory: Option<&AbsPath>) -> Result<&'b FileSet, String> {
    let name = backup.name.as_str();
    let files =
        backup.files.as_ref().ok_or_else(|| format!("the backup {name} does not consist of files"))?;
    match directory {
        Some(directory) if *files.directory != *directory => {
            Err(format!("this host's configuration has {name} in {}", files.directory.as_str()))
        }
        _ => Ok(files),
    }
}

pub fn aside_of(files: &FileSet) -> Aside {
    Aside { directory: files.directory.path().to_owned(), root: files.aside() }
}

pub fn is_manifest(files: &FileSet, name: &str) -> bool {
    files.manifests.iter().any(|pattern| fits(pattern.as_str(), name))
}

fn is_archive(files: &FileSet, name: &str) -> bool {
    !is_manifest(files, name) && fits(files.pattern.as_str(), name)
}

/// Says whether a file is the checksum of this archive and of no other.
fn belongs(files: &FileSet, manifest: &str, archive: &str) -> bool {
    is_manifest(files, manifest) && manifest.strip_prefix(archive).is_some_and(|rest| rest.starts_with('.'))
}

/// What is moved aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    files: Vec<Named>,
    /// Files that were more than one step moves.
    left: usize,
    /// Whether the folder aside was there before.
    was_there: bool,
}

/// Which archives go.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    One(&'a AbsPath),
    AllBut { directory: &'a AbsPath, keep: i64 },
}

/// Moves archives aside.
#[derive(Clone, Copy, Debug)]
pub struct Away<'a> {
    pub backup: &'a Word,
    pub which: Which<'a>,
}

impl Away<'_> {
    fn aside(&self, at: &At<'_>) -> Result<Aside, String> {
        let directory = match self.which {
            Which::One(_) => None,
            Which::AllBut { directory, .. } => Some(directory),
        };
        Ok(aside_of(files_in(at.bench.backup(self.backup)?, directory)?))
    }

    /// Chooses what goes: archives, each followed by its checksums.
    fn choose(&self, at: &At<'_>) -> Result<(Vec<Named>, usize), String> {
        let backup = at.bench.backup(self.backup)?;
        match self.which {
            Which::One(path) => {
                let files = files_in(backup, None)?;
                let name = path.as_str().strip_prefix(files.directory.as_str());
                let name =
                    name.and_then(|rest| rest.strip_prefix('/')).filter(|name| is_archive(files, name));
                let name = name.ok_or_else(|| format!("{path} is no archive of {}", self.backup))?;
                let all = aside_of(files).files()?;
                let chosen =
                    with_checksums(files, &all, all.iter().filter(|file| file.name == name).collect());
                if chosen.is_empty() { Err(format!("{path} is not there")) } else { Ok((chosen, 0)) }
            }
            Which::AllBut { directory, keep } => {
                let files = files_in(backup, Some(directory))?;
                let declared = backup.keep.max.as_ref().map(|max| i64::from(**max));
                if declared != Some(keep) {
                    let said = declared.map_or("nothing".to_owned(), |n| n.to_string());
                    return Err(format!("the plan keeps {keep}, this host's configuration says {said}"));
                }
                let floor = backup.keep.min.as_ref().map_or(1, |min| i64::from(**min)).max(1);
                if keep < floor {
                    return Err(format!("the plan keeps {keep}, at least {floor} are to be kept"));
                }
                Ok(too_many(files, aside_of(files).files()?, keep))
            }
        }
    }
}

/// Returns the archives beyond the newest `keep` with their checksums, oldest first, and how many files were left out.
fn too_many(files: &FileSet, all: Vec<Named>, keep: i64) -> (Vec<Named>, usize) {
    let mut archives: Vec<&Named> = all.iter().filter(|file| is_archive(files, &file.name)).collect();
    archives.sort_by(|a, b| (b.changed, &b.name).cmp(&(a.changed, &a.name)));
    let mut doomed: Vec<&Named> =
        archives.into_iter().skip(usize::try_from(keep).unwrap_or(usize::MAX)).collect();
    let names = doomed.iter().map(|file| file.name.as_str()).collect();
    let written = processes::open_for_writing(&names);
    doomed.retain(|file| !written.iter().any(|(_, inode)| *inode == file.inode));
    doomed.reverse();
    let mut chosen = with_checksums(files, &all, doomed);
    let left = chosen.len().saturating_sub(FILES_MAX);
    chosen.truncate(FILES_MAX);
    (chosen, left)
}

fn with_checksums(files: &FileSet, all: &[Named], archives: Vec<&Named>) -> Vec<Named> {
    let manifests: Vec<&Named> = all.iter().filter(|file| is_manifest(files, &file.name)).collect();
    let mut chosen = Vec::new();
    for archive in archives {
        chosen.push(archive.clone());
        let own = manifests.iter().filter(|manifest| belongs(files, &manifest.name, &archive.name));
        chosen.extend(own.map(|manifest| (*manifest).clone()));
    }
    chosen
}

impl Act for Away<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let (chosen, left) = self.choose(at)?;
        let root = self.aside(at)?.root;
        let names = few(chosen.iter().map(|file| file.name.clone()).collect());
        Ok(format!(
            "{} files would move to {} ({names}); {left} more would stay",
            chosen.len(),
            root.display()
        ))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        let (files, left) = self.choose(at)?;
        if let Which::AllBut { .. } = self.which {
            let whole = at.bench.ask(&about("kept", self.backup), at.timeout_ms(), None)?;
            whole.map_err(|wrong| format!("not all that are to be kept are whole: {wrong}"))?;
        }
        let was_there = self.aside(at)?.prepare(at.step)?;
        Ok(Prior { files, left, was_there })
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let aside = self.aside(at)?;
        let (moved, changed) = aside.put(at.step, &prior.files)?;
        if moved == 0 && !prior.files.is_empty() {
            return Err("all that was to be moved was changed or taken away meanwhile".into());
        }
        let mut text = format!("{moved} files are in {}", aside.root.display());
        if !changed.is_empty() {
            text.push_str(&format!("; changed meanwhile, and left: {}", few(changed)));
        }
        if prior.left > 0 {
            text.push_str(&format!("; {} more are too many", prior.left));
        }
        Ok(text)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        let (here, away) = self.aside(at)?.whereabouts(at.step, &prior.files)?;
        let detail = format!("{here} of {} files are where they were, {away} aside", prior.files.len());
        Ok(match (here, away) {
            (0, _) => Effect::Took { detail },
            (_, 0) => Effect::None { detail },
            _ => Effect::Unknown { detail },
        })
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        self.aside(at)?.give_back(at.step, &prior.files, prior.was_there)
    }
}

/// Takes away permissions that were not declared.
#[derive(Clone, Copy, Debug)]
pub struct Modes<'a> {
    pub backup: &'a Word,
    pub directory: &'a AbsPath,
}

/// One file, or the folder itself under the name `.`, with its mode before and after.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Changed {
    name: String,
    inode: u64,
    before: u32,
    after: u32,
}

impl Modes<'_> {
    fn choose(&self, at: &At<'_>) -> Result<Vec<Changed>, String> {
        let files = files_in(at.bench.backup(self.backup)?, Some(self.directory))?;
        let mut chosen = Vec::new();
        let mut look = |name: &str, place: Place, declared: u32| -> Result<(), String> {
            let Some(stat) = place.stat()? else { return Ok(()) };
            let before = stat.st_mode & MODE_BITS;
            if before & !declared != 0 && chosen.len() < FILES_MAX {
                chosen.push(Changed {
                    name: name.into(),
                    inode: stat.st_ino,
                    before,
                    after: before & declared,
                });
            }
            Ok(())
        };
        if let Some(mode) = &files.directory_mode {
            look(".", Place::of(self.directory)?, mode.0)?;
        }
        if let Some(mode) = &files.mode {
            for file in aside_of(files).files()? {
                if is_manifest(files, &file.name) || is_archive(files, &file.name) {
                    look(&file.name, self.place(&file.name)?, mode.0)?;
                }
            }
        }
        Ok(chosen)
    }

    fn place(&self, name: &str) -> Result<Place, String> {
        match name {
            "." => Place::of(self.directory),
            name => Place::at(&std::path::Path::new(self.directory.as_str()).join(name)),
        }
    }

    /// Sets a mode where the file is the one that was captured and has the mode that it is to have now.
    fn set(&self, file: &Changed, from: u32, to: u32) -> Result<(), String> {
        let place = self.place(&file.name)?;
        let open = place.open_file_or_folder()?;
        let stat = fstat(&open).map_err(|e| place.failed("look at", e))?;
        let now = stat.st_mode & MODE_BITS;
        if stat.st_ino != file.inode || (now != from && now != to) {
            return Err(format!("{} was exchanged, or has mode {now:04o} by now: left alone", place.shown()));
        }
        fchmod(&open, Mode::from_raw_mode(to)).map_err(|e| place.failed("set the mode of", e))?;
        open.sync_all().map_err(|e| place.failed("make durable", e))
    }
}

impl Act for Modes<'_> {
    type Prior = Vec<Changed>;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let told = |file: &Changed| format!("{} from {:04o} to {:04o}", file.name, file.before, file.after);
        let chosen = self.choose(at)?;
        Ok(format!("{} modes would change: {}", chosen.len(), few(chosen.iter().map(told).collect())))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Self::Prior, String> {
        self.choose(at)
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Self::Prior) -> Result<String, String> {
        for file in prior {
            self.set(file, file.before, file.after)?;
        }
        Ok(format!(
            "{} modes are as declared: {}",
            prior.len(),
            few(prior.iter().map(|f| f.name.clone()).collect())
        ))
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Self::Prior) -> Result<Effect, String> {
        let mut done = 0;
        for file in prior {
            let stat = self.place(&file.name)?.stat()?;
            done += usize::from(
                stat.is_some_and(|s| s.st_ino == file.inode && s.st_mode & MODE_BITS == file.after),
            );
        }
        let detail = format!("{done} of {} modes are as declared", prior.len());
        Ok(match done {
            done if done == prior.len() => Effect::Took { detail },
            0 => Effect::None { detail },
            _ => Effect::Unknown { detail },
        })
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Self::Prior) -> Result<String, String> {
        let residue: Vec<_> = prior.iter().filter_map(|f| self.set(f, f.after, f.before).err()).collect();
        if residue.is_empty() {
            Ok(format!("{} modes are what they were", prior.len()))
        } else {
            Err(few(residue))
        }
    }
}
