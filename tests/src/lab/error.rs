//! Why a lab host cannot be had; each text completes "failed to …: ".

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between asking for a host and having it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("skipped: needs root (namespaces, overlay mounts, a bridge)")]
    NeedsRoot,
    #[error("skipped: needs {missing} and has no apt-get to install it with")]
    NoApt { missing: String },
    #[error("use {0:?} as the lab folder: its path must hold neither ':' nor ','")]
    Folder(PathBuf),
    #[error("{what} {path:?}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{what}: exit {code:?}: {tail}")]
    Failed { what: String, code: Option<i32>, tail: String },
    #[error("{what}: no end after {seconds} s")]
    TimedOut { what: String, seconds: u64 },
    #[error("find a free host number: all {0} are in use")]
    Full(usize),
    #[error("boot {name}: not ready after {seconds} s; console: {console}")]
    NotBooted { name: String, seconds: u64, console: String },
    #[error("reach {0}: it is not running")]
    NotRunning(String),
}

impl LabError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> LabError {
        LabError::Io { what, path: path.to_owned(), source }
    }
}

/// Returns the last lines of a text, enough for an error message.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 8;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}
