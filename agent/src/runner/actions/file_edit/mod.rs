//! `file.edit`: sets one key of a line-based configuration. What is written is the file as it is with another value;
//! it is put in place, and put back, as `file.write` does it.

pub mod lines;

use super::act::{Act, At};
use super::file_replace::{Content, Prior, Replace};
use super::place::Place;
use sopwith_domain::action::FileFormat;
use sopwith_domain::run::Effect;
use sopwith_domain::value::{AbsPath, Word};
use std::io::Read;

/// Longest configuration that is edited, in bytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One key of one file.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    pub path: &'a AbsPath,
    pub format: FileFormat,
    pub key: &'a Word,
    pub value: &'a Word,
}

/// Reads a configuration whole.
///
/// # Errors
/// It is not there, cannot be read or is too long.
pub fn read(path: &AbsPath) -> Result<Vec<u8>, String> {
    let place = Place::of(path)?;
    let file = place.open(false)?.ok_or_else(|| place.failed("open", "it does not exist"))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| place.failed("read", e))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(place.failed("read", format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

impl Edit<'_> {
    fn edited(&self) -> Result<Vec<u8>, String> {
        let before = read(self.path)?;
        Ok(lines::with_value(&before, self.format, self.key.as_str(), self.value.as_str()))
    }

    fn with<T>(&self, bytes: &[u8], act: impl FnOnce(Replace<'_>) -> Result<T, String>) -> Result<T, String> {
        act(Replace { path: self.path, content: Content::Bytes(bytes) })
    }
}

impl Act for Edit<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let before = read(self.path)?;
        let now = lines::value(&before, self.format, self.key.as_str());
        let (path, key, value) = (self.path, self.key, self.value);
        Ok(match now {
            Some(now) if now == value.as_str() => format!("nothing: {path} says {value} for {key}"),
            Some(now) => format!("{key} would be {value} in place of {now} in {path}"),
            None => format!("a line would be added to {path}: {key} {value}"),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        self.with(&self.edited()?, |replace| replace.capture(at))
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        self.with(&self.edited()?, |replace| replace.perform(at, prior))?;
        Ok(format!("{} says {} for {}", self.path, self.value, self.key))
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        self.with(&[], |replace| replace.probe(at, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        self.with(&[], |replace| replace.undo(at, prior))
    }
}
