//! `file.prune`: moves old files of one folder to quarantine, but for the newest. Which files those are is settled
//! when the state before the step is captured; what changed or came since is left alone.
//!
//! On quarantine's own file system the move frees nothing until the quarantine expires; the step says so, and the
//! playbook's verification decides whether that was enough. It never deletes what it did not keep.

use super::act::{Act, At};
use super::file_quarantine::give_back;
use super::meta::Meta;
use super::place::Place;
use super::processes;
use super::quarantine::{Kept, Quarantine};
use regex::Regex;
use rustix::fs::{Dir, FileType};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::{AbsPath, Glob};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Most files that one step moves; the oldest go first and the rest are counted.
const FILES_MAX: usize = 4096;
/// Longest list of moved files, in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
const MANIFEST: &str = "manifest.json";
/// What marks a folder as a cache. It is no content of the cache, and without it nobody would know the next time.
const CACHE_MARK: &str = "CACHEDIR.TAG";
/// Most names that a text for people lists.
const NAMES_SHOWN: usize = 5;

/// Which files are to go.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    pub directory: &'a AbsPath,
    pub pattern: &'a Glob,
    pub keep_newest: u32,
    pub group_until: Option<char>,
    pub group_parts: Option<u32>,
    pub min_age_s: u64,
}

impl Choice<'_> {
    /// Returns what a name has in common with the others of its group.
    fn group<'n>(&self, name: &'n str) -> &'n str {
        let end = match (self.group_until, self.group_parts) {
            (Some(c), _) => name.rfind(c),
            (None, Some(parts)) => {
                let last = (parts as usize).saturating_sub(1);
                Some(name.match_indices('.').nth(last).map_or(name.len(), |(end, _)| end))
            }
            (None, None) => None,
        };
        &name[..end.unwrap_or(0)]
    }
}

/// The list itself lies in quarantine, because it may be long.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    files: usize,
    bytes: u64,
    /// Files that matched and were more than one step moves.
    left: usize,
    /// Whether quarantine is on the same file system, so that nothing is freed yet.
    same_file_system: bool,
    manifest_sha256: String,
}

type Manifest = Vec<(String, Kept)>;

pub fn capture(quarantine: &Quarantine, step: StepContext<'_>, choice: Choice<'_>) -> Result<Prior, String> {
    let folder = quarantine.fresh(step)?;
    let any = Place::at(&std::path::Path::new(choice.directory.as_str()).join("x"))?;
    let mut doomed = choose(&any, choice)?;
    let left = doomed.len().saturating_sub(FILES_MAX);
    doomed.truncate(FILES_MAX);
    let mut manifest = Manifest::new();
    for (number, (name, meta)) in doomed.into_iter().enumerate() {
        let place = any.beside(&name)?;
        let Some(file) = place.open(false)? else { continue };
        let kept = quarantine.keep(step, &place, &file, &number.to_string())?;
        if kept.meta.same_file(&meta) {
            manifest.push((name, kept));
        }
    }
    let text = serde_json::to_vec(&manifest).map_err(|e| e.to_string())?;
    let failed = |e: std::io::Error| format!("failed to write {}: {e}", folder.join(MANIFEST).display());
    let list = quarantine.place(step, MANIFEST)?;
    let mut file = list.create()?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    list.sync_folder()?;
    Ok(Prior {
        files: manifest.len(),
        bytes: manifest.iter().map(|(_, kept)| kept.meta.size).sum(),
        left,
        same_file_system: manifest.iter().any(|(_, kept)| kept.sha256.is_none()),
        manifest_sha256: hex::encode(Sha256::digest(&text)),
    })
}

/// Returns the files to be moved, oldest first.
pub fn choose(any: &Place, choice: Choice<'_>) -> Result<Vec<(String, Meta)>, String> {
    let pattern = glob(choice.pattern)?;
    let now_s = super::super::clock::wall().0 / 1000;
    let mut groups: BTreeMap<String, Vec<(String, Meta)>> = BTreeMap::new();
    for entry in Dir::read_from(any.folder()).map_err(|e| any.failed("list the folder of", e))? {
        let entry = entry.map_err(|e| any.failed("list the folder of", e))?;
        let Ok(name) = OsStr::from_bytes(entry.file_name().to_bytes()).to_os_string().into_string() else {
            continue;
        };
        let place = any.beside(&name)?;
        let regular =
            place.stat()?.is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
        if !pattern.is_match(&name) || !regular || name == CACHE_MARK {
            continue;
        }
        let Some(file) = place.open(false)? else { continue };
        let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
        groups.entry(choice.group(&name).to_owned()).or_default().push((name, meta));
    }
    let mut doomed = Vec::new();
    for mut files in groups.into_values() {
        files.sort_by(|(a, am), (b, bm)| (bm.mtime, b).cmp(&(am.mtime, a)));
        let old = |meta: &Meta| {
            now_s.saturating_sub(meta.mtime.0) >= i64::try_from(choice.min_age_s).unwrap_or(i64::MAX)
        };
        let rest = files.into_iter().skip(choice.keep_newest as usize);
        doomed.extend(rest.filter(|(_, meta)| choice.min_age_s == 0 || old(meta)));
    }
    let names = doomed.iter().map(|(name, _)| name.as_str()).collect();
    let written = processes::open_for_writing(&names);
    doomed.retain(|(_, meta)| !written.contains(&(meta.dev, meta.ino)));
    doomed.sort_by(|(a, am), (b, bm)| (am.mtime, a).cmp(&(bm.mtime, b)));
    Ok(doomed)
}

/// Translates a pattern for names; in it only `*`, `?` and `[...]` mean anything.
fn glob(pattern: &Glob) -> Result<Regex, String> {
    let mut text = String::from("^(?s:");
    let mut rest = pattern.as_str().chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '[' => {
                let set = rest.as_str();
                let end = set.char_indices().skip(1).find(|(_, c)| *c == ']').map(|(end, _)| end);
                let end = end.ok_or_else(|| format!("failed to read pattern {pattern}: [ is not closed"))?;
                let negated = set.starts_with('!');
                let members = if negated { &set[1..end] } else { &set[..end] };
                text.push_str(if negated { "[^" } else { "[" });
                for c in members.chars() {
                    // A hyphen keeps its meaning of a range, everything else stands for itself.
                    if c != '-' && !c.is_ascii_alphanumeric() {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push(']');
                rest = set[end + 1..].chars();
            }
            c => text.push_str(&regex::escape(&c.to_string())),
        }
    }
    text.push_str(")$");
    Regex::new(&text).map_err(|e| format!("failed to read pattern {pattern}: {e}"))
}

fn manifest(quarantine: &Quarantine, step: StepContext<'_>, prior: &Prior) -> Result<Manifest, String> {
    let list = quarantine.place(step, MANIFEST)?;
    let file = list.open(false)?.ok_or_else(|| list.failed("find", "it is gone"))?;
    let mut text = Vec::new();
    let mut file = std::io::Read::take(file, MANIFEST_BYTES_MAX);
    std::io::Read::read_to_end(&mut file, &mut text).map_err(|e| list.failed("read", e))?;
    if hex::encode(Sha256::digest(&text)) != prior.manifest_sha256 {
        return Err(list.failed("trust", "it is not what the step wrote"));
    }
    serde_json::from_slice(&text).map_err(|e| list.failed("read", e))
}

fn place(choice: Choice<'_>, name: &str) -> Result<Place, String> {
    Place::at(&std::path::Path::new(choice.directory.as_str()).join(name))
}

/// Says whether the very file that was captured is still there under its name.
fn there(place: &Place, kept: &Kept) -> Result<bool, String> {
    let Some(file) = place.open(false)? else { return Ok(false) };
    let meta = Meta::of(&file).map_err(|e| place.failed("look at", e))?;
    Ok(meta.same_file(&kept.meta) && meta.size == kept.meta.size && meta.mtime == kept.meta.mtime)
}

pub fn perform(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    choice: Choice<'_>,
    prior: &Prior,
) -> Result<String, String> {
    let mut changed = 0;
    let mut moved = None;
    for (name, kept) in manifest(quarantine, step, prior)? {
        let place = place(choice, &name)?;
        if there(&place, &kept)? {
            place.remove()?;
            moved = Some(place);
        } else {
            changed += 1;
        }
    }
    if let Some(place) = moved {
        place.sync_folder()?;
    }
    let mut text = format!("{} files of {} bytes are in quarantine", prior.files - changed, prior.bytes);
    if prior.same_file_system {
        text.push_str(", which is on the same file system: nothing is freed before the quarantine expires");
    }
    if changed + prior.left > 0 {
        text.push_str(&format!("; {changed} changed meanwhile and stay, {} more matched", prior.left));
    }
    Ok(text)
}

pub fn probe(quarantine: &Quarantine, step: StepContext<'_>, choice: Choice<'_>, prior: &Prior) -> Effect {
    let look = || {
        let manifest = manifest(quarantine, step, prior)?;
        let mut here = 0;
        for (name, kept) in &manifest {
            here += usize::from(there(&place(choice, name)?, kept)?);
        }
        Ok::<_, String>((here, manifest.len()))
    };
    match look() {
        Ok((0, _)) => Effect::Took { detail: "all chosen files are gone".into() },
        Ok((here, all)) if here == all => Effect::None { detail: "all chosen files are there".into() },
        Ok((here, all)) => Effect::Unknown { detail: format!("{here} of {all} chosen files are there") },
        Err(detail) => Effect::Unknown { detail },
    }
}

pub fn undo(
    quarantine: &Quarantine,
    step: StepContext<'_>,
    choice: Choice<'_>,
    prior: &Prior,
) -> Result<String, String> {
    let manifest = manifest(quarantine, step, prior)?;
    let mut residue = Vec::new();
    for (name, kept) in &manifest {
        let back = place(choice, name).and_then(|place| give_back(quarantine, step, &place, kept));
        if let Err(what) = back {
            residue.push(format!(
                "{what}; it is kept in {}",
                quarantine.folder(step).join(&kept.name).display()
            ));
        }
    }
    if residue.is_empty() {
        return Ok(format!("{} files are back", manifest.len()));
    }
    let more = residue.len().saturating_sub(NAMES_SHOWN);
    residue.truncate(NAMES_SHOWN);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(format!("{}{rest}", residue.join("; ")))
}

impl Act for Choice<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let any = Place::at(&std::path::Path::new(self.directory.as_str()).join("x"))?;
        let doomed = choose(&any, *self)?;
        let bytes: u64 = doomed.iter().map(|(_, meta)| meta.size).sum();
        let names: Vec<&str> = doomed.iter().map(|(name, _)| name.as_str()).take(NAMES_SHOWN).collect();
        let more = if doomed.len() > names.len() { ", …" } else { "" };
        Ok(match doomed.len() {
            0 => format!("nothing: no file of {} is to go", self.directory),
            n => format!(
                "{n} files of {} ({bytes} bytes) would go: {}{more}",
                self.directory,
                names.join(", ")
            ),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&at.bench.quarantine, at.step, *self)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(&at.bench.quarantine, at.step, *self, prior)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(&at.bench.quarantine, at.step, *self, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(&at.bench.quarantine, at.step, *self, prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_by_a_character_or_by_parts() {
        let directory = AbsPath::new("/x").expect("valid");
        let pattern = Glob::new("*").expect("valid");
        let choice = |group_until, group_parts| Choice {
            directory: &directory,
            pattern: &pattern,
            keep_newest: 1,
            group_until,
            group_parts,
            min_age_s: 0,
        };
        assert_eq!(choice(None, None).group("core.a.1"), "");
        assert_eq!(choice(Some('.'), None).group("core.a.1"), "core.a");
        assert_eq!(choice(Some('-'), None).group("core.a.1"), "");
        assert_eq!(choice(None, Some(2)).group("core.a.1.x"), "core.a");
        assert_eq!(choice(None, Some(9)).group("core.a"), "core.a");
    }

    #[test]
    fn patterns_mean_what_they_mean_in_a_shell() {
        for (pattern, yes, no) in [
            ("*.log.*", "a.log.1", "a.log"),
            ("core.*", "core.x", "xcore.x"),
            ("a?c", "abc", "ac"),
            ("[a-c].log", "b.log", "d.log"),
            ("[!a-c].log", "d.log", "b.log"),
            ("[]x]", "]", "y"),
            ("a.b", "a.b", "axb"),
            ("a+b", "a+b", "aab"),
        ] {
            let regex = glob(&Glob::new(pattern).expect("valid")).expect("translates");
            assert!(regex.is_match(yes), "{pattern} {yes}");
            assert!(!regex.is_match(no), "{pattern} {no}");
        }
        assert!(glob(&Glob::new("[ab").expect("valid")).is_err());
    }
}
