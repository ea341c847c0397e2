//! `mount.mount`, `mount.unmount`: mounts what `/etc/fstab` declares, or takes it away. A folder into which something
//! was written while nothing was mounted is left as it is: a mount would hide what lies there. Nothing is unmounted
//! by force, and nothing that could not be mounted again.

use super::act::{Act, At};
use super::mount_table::{at, beneath, declared, on_host};
use super::{Programs, command};
use crate::runner::profiles;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::AbsPath;
use std::path::Path;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    mounted: bool,
}

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Mounted,
    Unmounted,
}

/// What a change is done with.
#[derive(Clone, Copy, Debug)]
pub struct Hands<'a> {
    pub programs: &'a Programs,
    pub timeout_ms: i64,
    /// Held as long as anything of a change that was begun lives.
    pub lock: &'a Path,
}

impl<'a> Hands<'a> {
    pub(super) fn of(at: &'a At<'_>, lock: &'a Path) -> Self {
        Self { programs: &at.bench.programs, timeout_ms: at.timeout_ms(), lock }
    }

    pub(super) fn run(self, argv: &[&str]) -> Result<(), String> {
        let report =
            self.programs.run(&profiles::mounting(), &on_host(argv), self.timeout_ms, Some(self.lock))?;
        match command::fault(&report) {
            None => Ok(()),
            Some(how) => Err(format!("{}: {how}: {}", argv[0], report.output.trim())),
        }
    }
}

fn vacant(point: &AbsPath) -> Result<(), String> {
    match beneath(point)? {
        0 => Ok(()),
        hidden => Err(format!("{point} holds {hidden} entries that the mount would hide")),
    }
}

pub fn capture(point: &AbsPath, wanted: Wanted) -> Result<Prior, String> {
    if !declared(point)? {
        return Err(format!("/etc/fstab does not declare {point}"));
    }
    let mounted = at(point)?.is_some();
    if !mounted && wanted == Wanted::Mounted {
        vacant(point)?;
    }
    Ok(Prior { mounted })
}

pub fn perform(hands: Hands<'_>, point: &AbsPath, wanted: Wanted) -> Result<String, String> {
    match wanted {
        Wanted::Mounted => mount(hands, point),
        Wanted::Unmounted => unmount(hands, point),
    }
}

fn mount(hands: Hands<'_>, point: &AbsPath) -> Result<String, String> {
    if at(point)?.is_some() {
        return Ok(format!("{point} is mounted already"));
    }
    vacant(point)?;
    hands.run(&["/usr/bin/mount", point.as_str()])?;
    match at(point)? {
        Some(_) => Ok(format!("{point} is mounted")),
        None => Err(format!("{point} is not mounted all the same")),
    }
}

fn unmount(hands: Hands<'_>, point: &AbsPath) -> Result<String, String> {
    if at(point)?.is_none() {
        return Ok(format!("nothing is mounted at {point}"));
    }
    hands.run(&["/usr/bin/umount", point.as_str()])?;
    match at(point)? {
        None => Ok(format!("{point} is unmounted")),
        Some(_) => Err(format!("something is mounted at {point} all the same")),
    }
}

pub fn probe(point: &AbsPath, prior: &Prior) -> Effect {
    match at(point) {
        Err(detail) => Effect::Unknown { detail },
        Ok(now) => {
            let detail = format!("{point} is {}", if now.is_some() { "mounted" } else { "not mounted" });
            match now.is_some() == prior.mounted {
                true => Effect::None { detail },
                false => Effect::Took { detail },
            }
        }
    }
}

pub fn undo(hands: Hands<'_>, point: &AbsPath, prior: &Prior) -> Result<String, String> {
    match prior.mounted {
        true => mount(hands, point),
        false => unmount(hands, point),
    }
}

/// What is to become of which place.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    pub point: &'a AbsPath,
    pub wanted: Wanted,
}

impl Act for Mount<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let Prior { mounted } = capture(self.point, self.wanted)?;
        Ok(match (self.wanted, mounted) {
            (Wanted::Mounted, true) => format!("nothing: {} is mounted already", self.point),
            (Wanted::Mounted, false) => format!("{} would be mounted as /etc/fstab says", self.point),
            (Wanted::Unmounted, true) => format!("{} would be unmounted", self.point),
            (Wanted::Unmounted, false) => format!("nothing: {} is not mounted", self.point),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        command::prepare(at)?;
        capture(self.point, self.wanted)
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        perform(Hands::of(at, &command::lock(at)), self.point, self.wanted)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        command::over(&command::lock(at))?;
        Ok(probe(self.point, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&command::lock(at))?;
        undo(Hands::of(at, &command::lock(at)), self.point, prior)
    }
}
