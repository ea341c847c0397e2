//! What the host's administrator says to the agent, `/etc/sopwith/agent.yaml`: the settings, how they are read and
//! everything that can be wrong with them. It never changes a file and never asks anybody but the file.

mod at;
mod backups;
mod baseline;
mod check;
mod checks;
mod commands;
mod cron;
mod depends;
mod discovered;
mod kernel;
mod logrotate;
mod logs;
mod metrics;
mod norms;
mod packs;
mod probes;
mod reclaimable;
mod selector;
mod types;
mod watch;

pub use at::{At, Pattern, Period};
pub use backups::{ARCHIVE, Backup, Borg, Drill, FileSet, Mode, PgBackRest, Restic, SCRATCH};
pub use baseline::{Baseline, Content};
pub use checks::{Check, EVERY_DEFAULT, Kind, Within};
pub use commands::{OperatorCommand, Touched};
pub use cron::Cron;
pub use depends::DependsOn;
pub use discovered::Reader;
pub use kernel::*;
pub use logrotate::Logrotate;
pub use logs::{
    Encoding, JournalFilter, Log, LogRule, Priority, Rate, Record, Unless, shipped as shipped_log_rules,
};
pub use metrics::{Forecast, Leaks, Level, MetricRule, Metrics, NodeCompat, Runaways, Textfile};
pub use norms::{Norms, Wanted};
pub use packs::{pack, pack_names};
pub use probes::*;
pub use reclaimable::{CORES, CORES_PATTERN};
pub use selector::Selector;
pub use types::*;
pub use watch::{Watch, listed, wildcard};

use sopwith_domain::ids::HostId;
use sopwith_domain::playbook::Finding;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest configuration, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Every setting with its default and its meaning: `##` begins a comment, `#` a setting at its default.
pub const DEFAULT_TEXT: &str = include_str!("../../../packaging/agent.yaml");

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read the configuration {}: {error}; `sopwith-agent print-default-config` prints one", .file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error("failed to use the configuration:\n{}", .findings.iter().map(|f| format!("{}:{f}", .file.display())).collect::<Vec<_>>().join("\n"))]
    Findings { file: PathBuf, findings: Vec<Finding> },
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Returns every finding with its line and column.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable { file: file.into(), error };
        let text = text_of(file).map_err(unreadable)?;
        Self::from_text(file, &text, &text_of)
    }

    /// Reads a configuration from the text of its file, and by `read` the proposal that it names.
    ///
    /// # Errors
    /// Returns every finding with the file, line and column that it is of.
    pub fn from_text(file: &Path, text: &str, read: Reader<'_>) -> Result<Self, ConfigError> {
        let here = |findings| ConfigError::Findings { file: file.into(), findings };
        let mut config = Self::read(text).map_err(here)?;
        discovered::complete(&mut config, file, read)?;
        config.finish().map_err(here)
    }

    /// Reads a configuration from its text alone, without a proposal that it may name.
    ///
    /// # Errors
    /// Returns every finding with its line and column. What is not YAML, or has another shape than expected, ends
    /// the reading there.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        Self::read(text)?.finish()
    }

    /// Adds what the packs hold.
    fn finish(mut self) -> Result<Self, Vec<Finding>> {
        packs::expand(&mut self)?;
        logs::note_needless(&mut self.logs, &self.kernel);
        Ok(self)
    }

    /// Reads what is written, and nothing else.
    fn read(text: &str) -> Result<Self, Vec<Finding>> {
        if text.len() as u64 > CONFIG_BYTES_MAX {
            let text = format!("the configuration is longer than {CONFIG_BYTES_MAX} bytes");
            return Err(vec![Finding { line: 1, column: 1, text }]);
        }
        // Reading goes deep into the stack; that of a thread is given back when it ends, that of a process never.
        std::thread::scope(|scope| {
            let aside = std::thread::Builder::new().spawn_scoped(scope, || Self::read_here(text));
            match aside.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(read)) => read,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => Self::read_here(text),
            }
        })
    }

    fn read_here(text: &str) -> Result<Self, Vec<Finding>> {
        at::take_findings();
        let read = match nothing_written(text) {
            true => Ok(Self::default()),
            false => sopwith_domain::yaml::from_str::<Self>(text),
        };
        let mut findings = at::take_findings();
        match read {
            Err(finding) => findings.push(finding),
            Ok(config) => {
                findings.extend(check::findings(&config));
                if findings.is_empty() {
                    return Ok(config);
                }
            }
        }
        findings.sort_by_key(|f| (f.line, f.column));
        Err(findings)
    }
}

/// Reads a file, no further than a configuration may be long.
fn text_of(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn nothing_written(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Returns the machine's name as a host name: lower case, and `host` where it has none that can be one.
fn hostname() -> HostId {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    HostId::new(name).unwrap_or_else(|_| HostId::new("host").expect("host is a host name"))
}

/// Says whether the configuration can be used, with every finding.
pub fn check(file: &Path) -> ExitCode {
    match Config::load(file) {
        Ok(_) => {
            println!("{}: can be used", file.display());
            ExitCode::SUCCESS
        }
        Err(ConfigError::Findings { file, findings }) => {
            for finding in findings {
                eprintln!("{}:{finding}", file.display());
            }
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Prints every setting with its default.
pub fn print_default() -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(DEFAULT_TEXT.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints a pack.
pub fn print_pack(name: &str) -> ExitCode {
    use std::io::Write;
    let Some(text) = pack(name) else {
        let known = pack_names().collect::<Vec<_>>().join(", ");
        eprintln!("failed to print the pack {name}: the packs are {known}");
        return ExitCode::FAILURE;
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests;
