//! Which server to speak to, as whom, and how to know that it is the right one: from the environment, or from the
//! session file (`~/.config/sopwith/session.json`, readable by its owner only). It never keeps a password.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use sopwith_domain::ids::Digest;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How the server's certificate is judged.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// By the roots of this machine.
    #[default]
    System,
    /// By these certificates alone, in PEM.
    Pem(String),
    /// By the one certificate in its chain that has this SHA-256.
    Sha256(Digest),
}

impl Trust {
    /// Reads a `SOPWITH_CA`: 64 hexadecimal digits, or the path of a PEM file.
    pub fn from_text(text: &str) -> Result<Self, Failure> {
        match text.parse() {
            Ok(digest) => Ok(Self::Sha256(digest)),
            Err(_) => Self::from_file(Path::new(text)),
        }
    }

    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::failed(format!("cannot read the CA {}: {e}", path.display())))?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(Failure::failed(format!("{} holds no certificate in PEM", path.display()))
                .help("`sopwith-server` writes its CA as ca.pem; or give its SHA-256"));
        }
        Ok(Self::Pem(text))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub url: String,
    pub name: String,
    pub token: String,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(default)]
    pub trust: Trust,
}

impl Session {
    /// Returns the session of the environment, or the stored one.
    pub fn load() -> Result<Self, Failure> {
        let stored = Self::stored()?;
        let url = variable("SOPWITH_URL").or_else(|| stored.as_ref().map(|s| s.url.clone()));
        let Some(url) = url else {
            return Err(Failure::refused("you are not logged in")
                .help("`sopwith login URL NAME`, or set SOPWITH_URL and SOPWITH_TOKEN"));
        };
        // What is stored of one server is never shown to another.
        let same = stored.filter(|s| s.url == url);
        let Some(token) = variable("SOPWITH_TOKEN").or_else(|| same.as_ref().map(|s| s.token.clone())) else {
            return Err(Failure::refused(format!("there is no session for {url}"))
                .help(format!("`sopwith login {url} NAME`, or set SOPWITH_TOKEN")));
        };
        let trust = match variable("SOPWITH_CA") {
            Some(ca) => Trust::from_text(&ca)?,
            None => same.as_ref().map(|s| s.trust.clone()).unwrap_or_default(),
        };
        let name = same.as_ref().map_or_else(String::new, |s| s.name.clone());
        Ok(Self { url, name, token, expires_at: same.and_then(|s| s.expires_at), trust })
    }

    /// Returns the stored session, if there is one.
    pub fn stored() -> Result<Option<Self>, Failure> {
        let path = config_dir()?.join("session.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::failed(format!("cannot read {}: {e}", path.display()))),
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Failure::failed(format!("{} is damaged: {e}", path.display()))
                .help("remove it and `sopwith login` again")
        })
    }

    pub fn store(&self) -> Result<PathBuf, Failure> {
        let path = config_dir()?.join("session.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Failure::failed(format!("cannot write the session: {e}")))?;
        write_private(&path, text.as_bytes())?;
        Ok(path)
    }

    /// Forgets the stored session; returns whether there was one.
    pub fn forget() -> Result<bool, Failure> {
        let path = config_dir()?.join("session.json");
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Failure::failed(format!("cannot remove {}: {e}", path.display()))),
        }
    }
}

/// Writes a file that its owner alone may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("cannot write {}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let new = path.with_extension(format!("new{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

/// Returns the folder for what is remembered between commands.
pub fn state_dir() -> Result<PathBuf, Failure> {
    folder("XDG_STATE_HOME", ".local/state")
}

fn config_dir() -> Result<PathBuf, Failure> {
    folder("XDG_CONFIG_HOME", ".config")
}

fn folder(base: &str, under_home: &str) -> Result<PathBuf, Failure> {
    let base = variable(base).map(PathBuf::from).filter(|p| p.is_absolute());
    base.or_else(|| variable("HOME").map(|home| Path::new(&home).join(under_home)))
        .map(|folder| folder.join("sopwith"))
        .ok_or_else(|| Failure::failed("neither HOME nor XDG_CONFIG_HOME is set").help("set HOME"))
}

pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
