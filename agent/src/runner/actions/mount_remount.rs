//! `mount.remount`: gives a mounted place one other option. Only what has to change does: the place alone where that is
//! enough, the whole file system where that is what is read-only; every other option is named again as it was, and
//! nothing is taken from `/etc/fstab`. A file system on which errors were counted is never made writable again.

use super::act::{Act, At};
use super::command;
use super::mount::Hands;
use super::mount_table::{Mounted, at};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::{AbsPath, Word};

const MOUNT: &str = "/usr/bin/mount";
/// Options that can be set, each with what it replaces.
const PAIRS: [(&str, &str); 4] = [("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")];

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    id: i32,
    options: Vec<String>,
    read_only: bool,
}

/// How a place is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shape {
    options: Vec<String>,
    /// Whether the whole file system is.
    read_only: bool,
}

impl Prior {
    fn shape(&self) -> Shape {
        Shape { options: self.options.clone(), read_only: self.read_only }
    }

    /// Returns how the place is to be with another option.
    fn with(&self, option: &str) -> Shape {
        let other = PAIRS.iter().find_map(|(one, other)| match option {
            _ if option == *one => Some(*other),
            _ if option == *other => Some(*one),
            _ => None,
        });
        let mut options: Vec<String> = self
            .options
            .iter()
            .filter(|o| o.as_str() != option && Some(o.as_str()) != other)
            .cloned()
            .collect();
        // What is the usual thing has no name in the kernel's list.
        if !["suid", "dev", "exec"].contains(&option) {
            options.push(option.to_owned());
        }
        options.sort();
        Shape { options, read_only: self.read_only && option != "rw" }
    }
}

fn same(point: &AbsPath, prior: &Prior) -> Result<(Mounted, Shape), String> {
    let now = at(point)?.ok_or_else(|| format!("nothing is mounted at {point} any more"))?;
    if now.id != prior.id {
        return Err(format!("something else is mounted at {point} than before"));
    }
    let shape = Shape { options: now.options.clone(), read_only: now.read_only };
    Ok((now, shape))
}

pub fn capture(point: &AbsPath, option: &Word) -> Result<Prior, String> {
    let now = at(point)?.ok_or_else(|| format!("nothing is mounted at {point}"))?;
    match now.errors() {
        errors if errors > 0 && option.as_str() == "rw" => {
            return Err(format!(
                "{errors} errors were counted on the file system of {point}: it needs a check first"
            ));
        }
        _ => {}
    }
    Ok(Prior { id: now.id, options: now.options, read_only: now.read_only })
}

/// Brings a place from one shape to another.
fn bring(hands: Hands<'_>, point: &AbsPath, from: &Shape, to: &Shape) -> Result<(), String> {
    let options = to.options.join(",");
    if from.read_only != to.read_only {
        let kind = if to.read_only { "remount,ro" } else { "remount,rw" };
        // The options of the place would be lost with those of the file system.
        let rest: Vec<&str> =
            to.options.iter().map(String::as_str).filter(|o| !["ro", "rw"].contains(o)).collect();
        let all = [&[kind], rest.as_slice()].concat().join(",");
        hands.run(&[MOUNT, "--options-mode=ignore", "-o", &all, point.as_str()])?;
    }
    let now = at(point)?.ok_or_else(|| format!("nothing is mounted at {point} any more"))?;
    if now.options != to.options {
        let all = format!("remount,bind,{options}");
        hands.run(&[MOUNT, "--options-mode=ignore", "-o", &all, point.as_str()])?;
    }
    let now = at(point)?.ok_or_else(|| format!("nothing is mounted at {point} any more"))?;
    if now.options == to.options && now.read_only == to.read_only {
        return Ok(());
    }
    Err(format!("{point} has the options {} all the same", now.options.join(",")))
}

pub fn perform(hands: Hands<'_>, point: &AbsPath, option: &Word, prior: &Prior) -> Result<String, String> {
    let (now, shape) = same(point, prior)?;
    if now.has(option.as_str()) {
        return Ok(format!("{point} is mounted {option} already"));
    }
    bring(hands, point, &shape, &prior.with(option.as_str()))?;
    Ok(format!("{point} is mounted {option}"))
}

pub fn probe(point: &AbsPath, option: &Word, prior: &Prior) -> Effect {
    match same(point, prior) {
        Err(detail) => Effect::Unknown { detail },
        Ok((now, shape)) => {
            let detail = format!("{point} has the options {}", now.options.join(","));
            match () {
                () if shape == prior.shape() => Effect::None { detail },
                () if shape == prior.with(option.as_str()) => Effect::Took { detail },
                () => Effect::Unknown { detail },
            }
        }
    }
}

pub fn undo(hands: Hands<'_>, point: &AbsPath, option: &Word, prior: &Prior) -> Result<String, String> {
    let (now, shape) = same(point, prior)?;
    if shape == prior.shape() {
        return Ok(format!("{point} is mounted as it was"));
    }
    let wanted = prior.with(option.as_str());
    // Between its two halves a change has made the file system writable, and not the place yet.
    let half = Shape { read_only: wanted.read_only, ..prior.shape() };
    if shape != wanted && shape != half {
        return Err(format!(
            "{point} has the options {}, which somebody else set since",
            now.options.join(",")
        ));
    }
    bring(hands, point, &shape, &prior.shape())?;
    Ok(format!("{point} is mounted as it was"))
}

/// Which place gets which option.
#[derive(Clone, Copy, Debug)]
pub struct Remount<'a> {
    pub point: &'a AbsPath,
    pub option: &'a Word,
}

impl Act for Remount<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let prior = capture(self.point, self.option)?;
        let wanted = prior.with(self.option.as_str());
        Ok(format!(
            "the options of {} would be {}; they are {}",
            self.point,
            wanted.options.join(","),
            prior.options.join(",")
        ))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        command::prepare(at)?;
        capture(self.point, self.option)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        perform(Hands::of(at, &command::lock(at)), self.point, self.option, prior)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        command::over(&command::lock(at))?;
        Ok(probe(self.point, self.option, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&command::lock(at))?;
        undo(Hands::of(at, &command::lock(at)), self.point, self.option, prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_option_changes() {
        for (options, read_only, option, becomes, stays) in [
            ("ro relatime", false, "rw", "relatime rw", false),
            ("ro relatime", true, "rw", "relatime rw", false),
            ("rw relatime", true, "rw", "relatime rw", false),
            ("nodev relatime rw", false, "noexec", "nodev noexec relatime rw", false),
            ("nodev noexec rw", false, "exec", "nodev rw", false),
            ("nosuid rw", false, "ro", "nosuid ro", false),
            ("nosuid ro", true, "suid", "ro", true),
        ] {
            let prior = Prior { id: 1, options: options.split(' ').map(str::to_owned).collect(), read_only };
            let shape = prior.with(option);
            assert_eq!(
                (shape.options.join(" ").as_str(), shape.read_only),
                (becomes, stays),
                "{options} {option}"
            );
        }
    }
}
