//! The server's configuration file, `server.yaml`. The struct is the documentation: `print-default-config` prints
//! it with its comments, and a test keeps the shipped text equal to the defaults.

use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Longest configuration file, in bytes.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// The text that `print-default-config` prints; parsing it gives [`Config::default`].
pub const DEFAULT_TEXT: &str = include_str!("default.yaml");

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub data_dir: PathBuf,
    pub operator_listen: SocketAddr,
    pub operator_tls: bool,
    pub agent_listen: SocketAddr,
    pub names: Vec<String>,
    pub playbooks_dir: Option<PathBuf>,
    pub policy: Option<PathBuf>,
    pub connections: Connections,
}

/// How many connections are open at the same time, at most. Each door has its own, so that none can lock the other out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connections {
    pub operators: usize,
    pub agents: usize,
    pub per_address: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self { operators: 512, agents: 8192, per_address: 128 }
    }
}

/// Fewest connections that a door may be left with: a browser opens several.
const CONNECTIONS_MIN: usize = 8;
/// Most that may be asked for, so that both doors together stay below what a process may have open.
const CONNECTIONS_MAX: usize = 200_000;

impl Connections {
    fn check(self) -> Result<(), ConfigError> {
        let each =
            [("operators", self.operators), ("agents", self.agents), ("per_address", self.per_address)];
        match each.into_iter().find(|(_, n)| !(CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(n)) {
            Some((name, n)) => Err(ConfigError::Invalid(format!(
                "connections.{name} is {n}, must be {CONNECTIONS_MIN} to {CONNECTIONS_MAX}"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the shares that fit into so many open files, of which `own` are for the server's own use.
    #[must_use]
    pub fn within(self, files: usize, own: usize) -> Self {
        let (left, wanted) = (files.saturating_sub(own), self.operators + self.agents);
        if wanted <= left {
            return self;
        }
        let operators = (self.operators * left / wanted).max(CONNECTIONS_MIN);
        Self { operators, agents: left.saturating_sub(operators).max(CONNECTIONS_MIN), ..self }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/sopwith-server".into(),
            operator_listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            operator_tls: true,
            agent_listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            names: vec!["localhost".into(), "127.0.0.1".into()],
            playbooks_dir: Some("/usr/share/sopwith/playbooks".into()),
            policy: None,
            connections: Connections::default(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read the configuration {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error(
        "failed to read the configuration {path}: it has {bytes} bytes, at most {CONFIG_BYTES_MAX} are read"
    )]
    TooLong { path: PathBuf, bytes: u64 },
    #[error("failed to understand the configuration: {0}")]
    Parse(String),
    #[error("failed to accept the configuration: {0}")]
    Invalid(String),
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Says what is wrong, with line and column where it is about the text.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |error| ConfigError::Read { path: path.into(), error };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong { path: path.into(), bytes });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?)
    }

    /// Parses and checks a configuration.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_saphyr::from_str(text).map_err(|e| ConfigError::Parse(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what single fields cannot say.
    ///
    /// # Errors
    /// Names the first contradiction.
    pub fn check(&self) -> Result<(), ConfigError> {
        let invalid = |text: String| Err(ConfigError::Invalid(text));
        if !self.operator_tls && !self.operator_listen.ip().is_loopback() {
            return invalid(format!(
                "operator_tls is false but operator_listen is {}: without TLS the pages are served on a loopback address only",
                self.operator_listen
            ));
        }
        if self.names.is_empty() {
            return invalid(
                "names is empty: say under which names or addresses agents reach this server".into(),
            );
        }
        if !self.data_dir.is_absolute() {
            return invalid(format!("data_dir {} is not an absolute path", self.data_dir.display()));
        }
        self.connections.check()?;
        let named = |name: &str| {
            name.parse::<IpAddr>().is_ok()
                || (!name.is_empty()
                    && name.len() <= 253
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'))
        };
        match self.names.iter().find(|name| !named(name)) {
            Some(name) => invalid(format!("names: {name:?} is neither a host name nor an address")),
            None => Ok(()),
        }
    }

    /// Returns the address that agents are told, as in `https://name:8443`.
    pub fn agent_url(&self) -> String {
        let name = self.names.first().map_or("localhost", String::as_str);
        match name.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("https://[{ip}]:{}", self.agent_listen.port()),
            _ => format!("https://{name}:{}", self.agent_listen.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_text_is_the_default() {
        assert_eq!(Config::parse(DEFAULT_TEXT).unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("data_dir: x", "not an absolute path"),
            ("data_dri: /x", "data_dri"),
            ("operator_tls: false", "loopback"),
            ("names: []", "names is empty"),
            ("names: [\"a b\"]", "neither a host name nor an address"),
            ("agent_listen: nowhere", "socket address"),
            ("connections: {operators: 1}", "connections.operators is 1, must be 8"),
            ("connections: {per_adress: 9}", "per_adress"),
        ];
        for (text, expected) in table {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let plain = Config::parse("operator_tls: false\noperator_listen: 127.0.0.1:8080").unwrap();
        assert!(!plain.operator_tls);
    }

    #[test]
    fn both_doors_keep_a_share_of_what_may_be_open() {
        let wanted = Connections { operators: 100, agents: 900, per_address: 10 };
        for (files, operators, agents) in [(2000, 100, 900), (1050, 100, 900), (550, 50, 450), (60, 8, 8)] {
            let fits = wanted.within(files, 50);
            assert_eq!((fits.operators, fits.agents), (operators, agents), "{files}");
        }
    }

    #[test]
    fn agents_are_told_a_url() {
        let url = |name: &str| Config { names: vec![name.into()], ..Config::default() }.agent_url();
        assert_eq!(url("sopwith.example"), "https://sopwith.example:8443");
        assert_eq!(url("2001:db8::1"), "https://[2001:db8::1]:8443");
    }
}
