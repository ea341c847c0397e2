//! What the norms are judged by: a tree of files, answers of programs, a time, and what is declared. In tests the tree
//! is a folder of its own.

use super::norm::Breach;
use crate::config::{Config, Norms};
use sopwith_domain::declaration::Declaration;
use sopwith_domain::value::{AbsPath, UnitName};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Longest file that is read whole, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// What a program said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It ended by itself, with a code.
    Said { code: i32, output: String, errors: String },
    /// It is not installed.
    NotThere,
    /// It could not be started, hung, or was ended.
    Failed(String),
}

/// Which program was asked what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Asked {
    Visudo,
    Sshd,
    Logrotate,
    Chrony,
    Timesync,
    Timers,
}

/// What other sources tell of this host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Elsewhere {
    /// Files whose owner or mode is declared in `baseline`.
    pub files: Vec<AbsPath>,
    /// Whether logrotate can read its configuration, and runs.
    pub rotation: bool,
}

impl Elsewhere {
    pub fn of(config: &Config) -> Self {
        let declares = |entry: &&crate::config::Baseline| {
            entry.owner.is_some() || entry.group.is_some() || entry.mode.is_some()
        };
        let files = config.baseline.iter().filter(declares).map(|entry| (*entry.path).clone()).collect();
        Self { files, rotation: *config.logrotate.watch }
    }

    pub fn tells_of(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.as_str() == path)
    }
}

/// A host as it is looked at.
#[derive(Debug)]
pub struct Host<'a> {
    pub root: &'a Path,
    pub norms: &'a Norms,
    pub answers: &'a BTreeMap<Asked, Answer>,
    pub declared: &'a [Declaration],
    /// Units whose state the operator has watched by name: what befalls those is told there.
    pub known: &'a [UnitName],
    /// What other sources tell, so that one fault is told once.
    pub elsewhere: &'a Elsewhere,
    /// Names of daemons that run, of those that norms speak of.
    pub running: &'a [String],
    pub now_s: i64,
}

/// What came of one look.
#[derive(Debug, Default, PartialEq)]
pub struct Looked {
    pub breaches: Vec<Breach>,
    /// What could not be looked at, and why.
    pub troubles: Vec<String>,
    /// That nothing can be said at the moment, and why; what was said before stays said.
    pub later: Option<&'static str>,
}

impl Looked {
    pub fn breach(&mut self, breach: Breach) {
        self.breaches.push(breach);
    }
    pub fn trouble(&mut self, text: impl Into<String>) {
        self.troubles.push(text.into());
    }
}

impl Host<'_> {
    /// Returns where a path of the host lies.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Returns the text of a file; nothing where it is not there, and trouble where it cannot be read.
    pub fn text(&self, path: &str, looked: &mut Looked) -> Option<String> {
        match read(&self.at(path)) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(e) => {
                looked.trouble(format!("failed to read {path}: {e}"));
                None
            }
        }
    }

    /// Returns what is known of a file, following links as those do who use it.
    pub fn metadata(&self, path: &str, looked: &mut Looked) -> Option<Metadata> {
        match std::fs::metadata(self.at(path)) {
            Ok(metadata) => Some(metadata),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(e) => {
                looked.trouble(format!("failed to look at {path}: {e}"));
                None
            }
        }
    }

    /// Returns the names in a folder, sorted.
    pub fn names(&self, path: &str, looked: &mut Looked) -> Vec<String> {
        let entries = match std::fs::read_dir(self.at(path)) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Vec::new();
            }
            Err(e) => {
                looked.trouble(format!("failed to list {path}: {e}"));
                return Vec::new();
            }
        };
        let names =
            entries.flatten().take(ENTRIES_MAX).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    pub fn is_there(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// Says whether the host is a container, whose kernel and clock are another host's.
    pub fn is_container(&self) -> bool {
        self.is_there("/run/systemd/container")
            || self.is_there("/.dockerenv")
            || self.is_there("/run/.containerenv")
    }

    /// Returns what a program said; trouble where it could not be asked.
    pub fn answer(&self, asked: Asked, looked: &mut Looked) -> Option<(i32, &str, &str)> {
        match self.answers.get(&asked)? {
            Answer::Said { code, output, errors } => Some((*code, output, errors)),
            Answer::NotThere => None,
            Answer::Failed(reason) => {
                looked.trouble(reason.clone());
                None
            }
        }
    }

    pub fn today(&self) -> i64 {
        self.now_s.div_euclid(86_400)
    }
}

/// Reads a regular file, up to the bound.
///
/// # Errors
/// It cannot be read, is longer, or is no regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe in the place of a file must not hold us up.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes)
}

/// Returns which of the programs that norms speak of run.
pub fn daemons() -> Vec<String> {
    running(&[super::clock::PROCESSES, super::sysctl::PASSING_ON].concat())
}

/// Returns which of these programs run, by the names of their processes.
fn running(names: &[&str]) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| {
        let _: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        names.iter().find(|wanted| **wanted == name.trim_end()).map(ToString::to_string)
    };
    entries.filter_map(one).collect()
}

#[cfg(test)]
pub mod fixture;
