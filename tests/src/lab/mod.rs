//! Real Debian hosts with their own systemd, on this machine, as root, in about two seconds each.
//!
//! A host is a `systemd-nspawn` container over an overlay: the lower layers are cached roots, the upper
//! one is the host's own and is dropped with it. All hosts hang on one bridge, where this machine is `.1`,
//! so that a server under test can be reached from inside. The lab never touches a root it did not make,
//! and ends only processes it started.

mod base;
mod debs;
mod error;
mod exec;
mod host;
mod layer;
mod net;
mod packages;
mod slot;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use error::LabError;
pub use exec::{Finished, run as run_command};
pub use host::Host;
pub use net::SERVER_ADDRESS;
pub use packages::ensure as ensure_packages;

/// Names the folder in which roots are cached and hosts live.
pub const DIR_VARIABLE: &str = "SOPWITH_LAB";
/// When set, a test that cannot have a lab fails instead of being skipped.
pub const REQUIRED_VARIABLE: &str = "SOPWITH_LAB_REQUIRED";
const DIR_DEFAULT: &str = "/var/tmp/sopwith-lab";

/// A stack of cached roots to boot from, topmost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub(crate) layers: Vec<PathBuf>,
}

/// The folder of cached roots and running hosts. Cheap to open; opening removes what dead owners left.
#[derive(Debug, Clone)]
pub struct Lab {
    dir: PathBuf,
}

impl Lab {
    /// Opens the lab of this machine, or says what is missing for it.
    pub fn open() -> Result<Lab, LabError> {
        let dir = std::env::var_os(DIR_VARIABLE).map_or_else(|| PathBuf::from(DIR_DEFAULT), PathBuf::from);
        Lab::open_at(&dir)
    }

    /// Opens a lab in a folder of the caller's choice.
    pub fn open_at(dir: &Path) -> Result<Lab, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NeedsRoot);
        }
        // The overlay's option string has no quoting for these two.
        if dir.to_string_lossy().contains([':', ',']) {
            return Err(LabError::Folder(dir.to_owned()));
        }
        for part in ["roots", "hosts", "lock"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|e| LabError::io("create", &path, e))?;
        }
        packages::ensure(packages::LAB)?;
        Lab::sweep()?;
        Ok(Lab { dir: dir.to_owned() })
    }

    /// Opens the lab for a test. Without one, says so loudly and returns nothing; fails when
    /// `SOPWITH_LAB_REQUIRED` is set, so that a full run cannot lose these tests in silence.
    pub fn open_or_skip(test: &str) -> Option<Lab> {
        match Lab::open() {
            Ok(lab) => Some(lab),
            Err(error) if std::env::var_os(REQUIRED_VARIABLE).is_none() => {
                eprintln!("SKIPPED {test}: failed to open the lab: {error}");
                None
            }
            Err(error) => panic!("{test} needs the lab, but failed to open it: {error}"),
        }
    }

    /// Returns the base root, building it first when it is not cached (a minute or two, once).
    pub fn base(&self) -> Result<Root, LabError> {
        base::ensure(self)
    }

    /// Returns the base with the effects of a script on top: the script runs once, in a booted host.
    pub fn layer(&self, script: &[u8]) -> Result<Root, LabError> {
        layer::ensure(self, script, &[])
    }

    /// The same with files placed before the script runs: paths inside the host, and what is in them.
    pub fn layer_with(&self, script: &[u8], files: &[(String, Vec<u8>)]) -> Result<Root, LabError> {
        layer::ensure(self, script, files)
    }

    /// Returns a folder of this lab for what was downloaded and may be used again, making it when it is missing.
    pub fn cache(&self, name: &str) -> Result<PathBuf, LabError> {
        let path = self.dir.join("cache").join(name);
        fs::create_dir_all(&path).map_err(|e| LabError::io("create", &path, e))?;
        Ok(path)
    }

    /// Removes hosts whose owner is gone; returns how many there were.
    pub fn sweep() -> Result<usize, LabError> {
        slot::sweep()
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.join("roots")
    }

    /// Takes a lock of this lab by name and holds it until the value is dropped.
    pub(crate) fn lock(&self, name: &str) -> Result<File, LabError> {
        lock_file(&self.dir.join("lock").join(name))
    }
}

/// Opens (or makes) a lock file and waits until it is ours.
pub(crate) fn lock_file(path: &Path) -> Result<File, LabError> {
    let file = File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(|e| LabError::io("open", path, e))?;
    file.lock().map_err(|e| LabError::io("lock", path, e))?;
    Ok(file)
}
