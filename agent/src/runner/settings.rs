//! What the runner needs to know of this host, apart from what it reads afresh each time.

use super::actions::Own;
use super::trusted;
use crate::config::{At, Config};
use sopwith_domain::ids::HostId;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, Glob, Word};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Name of the runner's own folder in the state folder; nobody else may look into it.
pub const FOLDER: &str = "runner";

/// How long the quarantine of an ended run is kept, in milliseconds.
const QUARANTINE_KEPT_MS: i64 = 7 * sopwith_domain::time::DAY_MS;
/// This very program, also after its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Longest configuration, in bytes.
const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Longest file with the server's address, in bytes.
const ADDRESS_BYTES_MAX: usize = 4096;

/// The runner's part of the agent's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: HostId,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    pub declarations_dir: PathBuf,
    pub allowed_signers: PathBuf,
    pub stop_file: PathBuf,
    /// Address of the server as the configuration has it.
    pub server: Option<String>,
    /// Most automatic runs per fingerprint in a day, whatever the server says.
    pub automatic_tries_max: u32,
    /// Whether people's approvals must carry their own signature.
    pub demand_signatures: bool,
    /// The administrator's own checks, for `check.passes`.
    pub checks: BTreeMap<Word, NamedCheck>,
    /// The administrator's own processes, for `process.start`.
    pub processes: BTreeMap<Word, NamedProcess>,
    /// Folders and names of files that the administrator marked as reclaimable, and core dumps.
    pub reclaimable: Vec<(AbsPath, Glob)>,
    /// The administrator's backups, and how this program is started to be asked about them.
    pub own: Own,
    /// The administrator's own commands, for `operator.command`.
    pub commands: BTreeMap<Word, NamedCommand>,
    /// This very program, which supervises the programs of steps.
    pub program: PathBuf,
    /// How long the quarantine of an ended run is kept, in milliseconds.
    pub quarantine_kept_ms: i64,
}

/// A check that the administrator defined by an argument vector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedCheck {
    pub argv: Vec<String>,
    pub timeout_ms: i64,
}

/// A process that the administrator named, and what starts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedProcess {
    pub pidfile: Option<PathBuf>,
    /// The first words of its command line.
    pub command: Vec<String>,
    pub start: Option<AbsPath>,
}

/// A program that the administrator named to mend something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedCommand {
    pub argv: Vec<String>,
    pub undo_argv: Vec<String>,
    pub probe_argv: Vec<String>,
    pub check_argv: Vec<String>,
    pub touches: Vec<Subject>,
    /// Where else it writes; without it, it writes wherever its user may.
    pub writes: Option<Vec<PathBuf>>,
}

impl Settings {
    /// Reads the agent's configuration, which nobody but root may have written.
    ///
    /// # Errors
    /// Returns everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, String> {
        let read = |path: &Path| trusted::read(path, CONFIG_BYTES_MAX);
        let text = read(path).map_err(|e| e.to_string())?;
        let proposal = |path: &Path| read(path).map_err(std::io::Error::other);
        let config = Config::from_text(path, &text, &proposal).map_err(|e| e.to_string())?;
        Ok(Self::of(&config, &path.to_string_lossy()))
    }

    fn of(config: &Config, file: &str) -> Self {
        let texts = |argv: &[At<String>]| argv.iter().map(|word| word.to_string()).collect();
        let checks = config.checks.iter().map(|check| {
            let timeout_ms = i64::try_from(check.timeout.ms()).unwrap_or(i64::MAX);
            // What is not a program this program looks at itself, by its own command line.
            let argv = check.argv().unwrap_or_else(|| {
                let own = [OWN_PROGRAM, "--config", file, "check", "--whole", check.name.as_str()];
                own[..4]
                    .iter()
                    .chain(&own[if check.by_runner() { 4 } else { 5 }..])
                    .map(ToString::to_string)
                    .collect()
            });
            ((*check.name).clone(), NamedCheck { argv, timeout_ms })
        });
        let processes = config.processes.iter().map(|process| {
            let named = NamedProcess {
                pidfile: process.pidfile.as_ref().map(|path| path.path().into()),
                command: texts(&process.command),
                start: process.start.as_ref().map(|path| (**path).clone()),
            };
            ((*process.name).clone(), named)
        });
        let commands = config.commands.iter().map(|command| {
            let named = NamedCommand {
                argv: texts(&command.argv),
                undo_argv: texts(&command.undo_argv),
                probe_argv: texts(&command.probe_argv),
                check_argv: texts(&command.check_argv),
                touches: command.touches.iter().map(|touched| touched.0.clone()).collect(),
                writes: command
                    .writes
                    .as_ref()
                    .map(|paths| paths.iter().map(|at| at.path().into()).collect()),
            };
            ((*command.name).clone(), named)
        });
        Self {
            host: (*config.host).clone(),
            state_dir: config.state_dir.path().into(),
            runtime_dir: config.runtime_dir.path().into(),
            declarations_dir: config.declarations_dir.path().into(),
            allowed_signers: config.allowed_signers.path().into(),
            stop_file: config.stop_file.path().into(),
            server: config.server.as_ref().map(|url| url.as_str().to_owned()),
            automatic_tries_max: *config.runner.automatic_tries_per_day,
            demand_signatures: *config.runner.demand_signatures,
            checks: checks.collect(),
            commands: commands.collect(),
            processes: processes.collect(),
            reclaimable: config.reclaimable(),
            own: Own {
                argv: [OWN_PROGRAM, "--config", file].map(str::to_owned).to_vec(),
                backups: config.backups.iter().map(|b| ((*b.name).clone(), b.clone())).collect(),
            },
            program: OWN_PROGRAM.into(),
            quarantine_kept_ms: QUARANTINE_KEPT_MS,
        }
    }

    pub fn folder(&self) -> PathBuf {
        self.state_dir.join(FOLDER)
    }
    pub fn journal(&self) -> PathBuf {
        self.folder().join("journal.db")
    }
    pub fn server_key(&self) -> PathBuf {
        self.folder().join("server_key")
    }
    /// Returns the addresses by which this host may reach the server, so that no step cuts it off.
    ///
    /// # Errors
    /// They cannot be known; then no address can be held against them.
    pub fn server_addresses(&self) -> Result<Vec<IpAddr>, String> {
        let kept = || trusted::read(&self.folder().join("server_address"), ADDRESS_BYTES_MAX).ok();
        let url = self.server.clone().or_else(kept).ok_or("the address of the server is not known here")?;
        let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let authority = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:443")
        };
        let found = authority.to_socket_addrs().map_err(|e| format!("the server {authority}: {e}"))?;
        Ok(found.map(|address| address.ip().to_canonical()).collect())
    }
    /// Returns the folders into which archives of backups are moved; they expire as quarantine does.
    pub fn asides(&self) -> impl Iterator<Item = PathBuf> {
        self.own
            .backups
            .values()
            .filter_map(|backup| backup.files.as_ref())
            .map(crate::config::FileSet::aside)
    }
    pub fn quarantine(&self) -> PathBuf {
        self.folder().join("quarantine")
    }
}
