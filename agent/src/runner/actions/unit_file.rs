//! `unit.enable`, `unit.disable`, `unit.mask`, `unit.unmask`: whether a unit starts with the host, and whether it may
//! start at all. systemd makes and removes the links; what links there were is captured, so that an undo brings back
//! those that `[Install]` does not name. Links that somebody else has made since stay and are named.

use super::act::{Act, At};
use super::systemd::UnitFiles;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::UnitName;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where an administrator's links are.
const FOLDER: &str = "/etc/systemd/system";
/// Most links of one unit, and most entries of the folder that are looked at.
const LINKS_MAX: usize = 256;
const ENTRIES_MAX: usize = 20_000;
/// Folders of links to units that something wants.
const WANTING: [&str; 3] = [".wants", ".requires", ".upholds"];

/// A unit and what is to become of its file.
#[derive(Clone, Copy, Debug)]
pub struct UnitFile<'a> {
    pub unit: &'a UnitName,
    pub doing: UnitFiles,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// systemd's word: enabled, disabled, static, masked.
    state: String,
    /// Links that lead to the unit, and where each leads.
    links: Links,
}

type Links = BTreeMap<String, String>;

/// Returns the links by which a unit is wanted, is known by another name, or is masked.
fn links(folder: &Path, unit: &str) -> Result<Links, String> {
    let failed = |e: std::io::Error| format!("failed to look at {}: {e}", folder.display());
    let (mut found, mut seen) = (Links::new(), 0);
    let mut one = |entry: &fs::DirEntry| {
        let Ok(target) = fs::read_link(entry.path()) else { return };
        let named = entry.file_name() == unit || target.file_name().is_some_and(|name| name == unit);
        if let (true, Some(path), Some(target)) = (named, entry.path().to_str(), target.to_str()) {
            found.insert(path.to_owned(), target.to_owned());
        }
    };
    for entry in fs::read_dir(folder).map_err(failed)?.flatten() {
        seen += 1;
        one(&entry);
        let name = entry.file_name();
        let wanting = name.to_str().is_some_and(|name| WANTING.iter().any(|end| name.ends_with(end)));
        if wanting && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            for below in fs::read_dir(entry.path()).map_err(failed)?.flatten() {
                seen += 1;
                one(&below);
            }
        }
    }
    match (found.len(), seen) {
        (..=LINKS_MAX, ..=ENTRIES_MAX) => Ok(found),
        _ => Err(format!("{} holds too many links to be put back", folder.display())),
    }
}

/// Puts back links that are gone, and names those that were not there.
fn put_back(before: &Links, now: &Links) -> Result<usize, String> {
    let mut made = 0;
    for (path, target) in before.iter().filter(|(path, _)| !now.contains_key(*path)) {
        let failed = |e: std::io::Error| format!("failed to put back the link {path}: {e}");
        if let Some(folder) = Path::new(path).parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        symlink(target, path).map_err(failed)?;
        made += 1;
    }
    let others: Vec<_> = now.iter().filter(|(path, target)| before.get(*path) != Some(*target)).collect();
    if others.is_empty() {
        return Ok(made);
    }
    let others: Vec<_> = others.into_iter().map(|(path, target)| format!("{path} -> {target}")).collect();
    Err(format!("there are links that were not there before: {}", others.join(", ")))
}

/// Says whether a unit whose file is in this state is as the action leaves it.
fn is_so(doing: UnitFiles, state: &str) -> bool {
    match doing {
        UnitFiles::Enable => matches!(state, "enabled" | "alias"),
        UnitFiles::Disable => state == "disabled",
        UnitFiles::Mask => state == "masked",
        UnitFiles::Unmask => !matches!(state, "masked" | "masked-runtime"),
    }
}

/// Says why the action makes no sense of a unit whose file is in this state, or nothing.
fn senseless(doing: UnitFiles, state: &str) -> Option<&'static str> {
    match (doing, state) {
        (_, "bad" | "not-found" | "") => Some("systemd does not know it"),
        (UnitFiles::Enable | UnitFiles::Disable, "static") => Some("its file does not say who would want it"),
        (UnitFiles::Enable | UnitFiles::Disable, "generated" | "transient") => {
            Some("it is made at each start")
        }
        (UnitFiles::Enable, "masked" | "masked-runtime") => Some("it is masked"),
        (_, "enabled-runtime" | "linked-runtime" | "masked-runtime") => {
            Some("it is so only until the host starts again")
        }
        _ => None,
    }
}

impl UnitFile<'_> {
    fn look(&self, at: &mut At<'_>) -> Result<Prior, String> {
        let state = at.bench.systemd.unit_file_state(self.unit)?;
        if let (false, Some(why)) = (is_so(self.doing, &state), senseless(self.doing, &state)) {
            return Err(format!("{} cannot be worked with: {why} ({state})", self.unit));
        }
        Ok(Prior { links: links(Path::new(FOLDER), self.unit.as_str())?, state })
    }
}

impl Act for UnitFile<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let Prior { state, .. } = self.look(at)?;
        let unit = self.unit;
        Ok(match is_so(self.doing, &state) {
            true => format!("nothing: {unit} is {state}"),
            false => format!("{unit}, now {state}, would be {}", self.doing.past()),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        self.look(at)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        if is_so(self.doing, &prior.state) {
            return Ok(format!("{} was {} already", self.unit, prior.state));
        }
        at.bench.systemd.unit_files(self.doing, self.unit)?;
        let now = at.bench.systemd.unit_file_state(self.unit)?;
        match is_so(self.doing, &now) {
            true => Ok(format!("{} is {now}", self.unit)),
            false => Err(format!("{} is {now} after it was {}", self.unit, self.doing.past())),
        }
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        let now = at.bench.systemd.unit_file_state(self.unit)?;
        let detail = format!("{} is {now}", self.unit);
        Ok(if now == prior.state {
            Effect::None { detail }
        } else if is_so(self.doing, &now) {
            Effect::Took { detail }
        } else {
            Effect::Unknown { detail }
        })
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let (unit, folder) = (self.unit, Path::new(FOLDER));
        if is_so(self.doing, &prior.state) {
            return Ok(format!("{unit} was {} before and stays so", prior.state));
        }
        let now = at.bench.systemd.unit_file_state(unit)?;
        // What was taken away is put back link for link; what was made systemd takes away itself.
        if let (true, Some(inverse)) = (is_so(self.doing, &now), self.doing.inverse()) {
            at.bench.systemd.unit_files(inverse, unit)?;
        }
        let made = put_back(&prior.links, &links(folder, unit.as_str())?)?;
        if made > 0 {
            at.bench.systemd.read_units_again()?;
        }
        let now = at.bench.systemd.unit_file_state(unit)?;
        match now == prior.state {
            true => Ok(format!("{unit} is {now} as it was")),
            false => Err(format!("{unit} is {now}, it was {}", prior.state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_a_unit_are_found_and_put_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("multi-user.target.wants")).expect("made");
        symlink("/usr/lib/systemd/system/a.service", path("multi-user.target.wants/a.service"))
            .expect("link");
        symlink("/usr/lib/systemd/system/b.service", path("multi-user.target.wants/b.service"))
            .expect("link");
        symlink("/usr/lib/systemd/system/a.service", path("alias.service")).expect("link");
        fs::write(path("c.service"), "[Unit]\n").expect("written");
        let before = links(folder.path(), "a.service").expect("looked");
        assert_eq!(before.len(), 2);
        fs::remove_dir_all(path("multi-user.target.wants")).expect("removed");
        let now = links(folder.path(), "a.service").expect("looked");
        assert_eq!(put_back(&before, &now), Ok(1));
        assert_eq!(links(folder.path(), "a.service").expect("looked"), before);
        symlink("/dev/null", path("a.service")).expect("link");
        let now = links(folder.path(), "a.service").expect("looked");
        let told = put_back(&before, &now).expect_err("one that was not there");
        assert!(told.contains("a.service -> /dev/null"), "{told}");
    }

    #[test]
    fn what_makes_sense_of_which_state() {
        use UnitFiles::{Disable, Enable, Mask, Unmask};
        for (doing, state, so, sense) in [
            (Enable, "disabled", false, true),
            (Enable, "enabled", true, true),
            (Enable, "static", false, false),
            (Enable, "masked", false, false),
            (Disable, "enabled", false, true),
            (Disable, "enabled-runtime", false, false),
            (Mask, "enabled", false, true),
            (Mask, "static", false, true),
            (Mask, "masked", true, true),
            (Unmask, "masked", false, true),
            (Unmask, "masked-runtime", false, false),
            (Unmask, "disabled", true, true),
            (Mask, "not-found", false, false),
        ] {
            assert_eq!(is_so(doing, state), so, "{doing:?} {state}");
            assert_eq!(senseless(doing, state).is_none(), sense, "{doing:?} {state}");
        }
    }
}
