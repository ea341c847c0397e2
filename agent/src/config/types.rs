//! The settings of the agent, with what they mean. Every one has a default.

use super::at::{At, Period};
use super::checks::Check;
use super::logs::Log;
use super::watch::Watch;
use serde::Deserialize;
use sopwith_domain::ids::HostId;
use sopwith_domain::value::{AbsPath, Glob, UnitName, Url, Word};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// The whole of `/etc/sopwith/agent.yaml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the server's agent port is; by default the server that the host joined.
    pub server: Option<At<Url>>,
    /// Name of this host; by default the machine's hostname in lower case.
    pub host: At<HostId>,
    /// What must outlive a restart: `watcher/` (spool, keys) and `runner/` (journal, quarantine).
    pub state_dir: At<AbsPath>,
    /// Where the runner's socket lies.
    pub runtime_dir: At<AbsPath>,
    /// What the administrator says about this host, `*.yaml`.
    pub declarations_dir: At<AbsPath>,
    /// Whose signatures over playbooks and policies count here (OpenSSH format).
    pub allowed_signers: At<AbsPath>,
    /// Where `/metrics` and `/healthz` are served.
    pub metrics_listen: At<SocketAddr>,
    /// While this file exists no step starts on this host.
    pub stop_file: At<AbsPath>,
    /// File that `sopwith-agent discover` wrote; what is said here goes before it.
    pub discovered: Option<At<AbsPath>>,
    /// Settings that come with the agent, by name; what is said here goes before them.
    pub packs: Vec<At<Word>>,
    /// Names of things in packs that are left out; `*` stands for anything.
    pub packs_ignore: Vec<At<String>>,
    pub runner: Runner,
    pub units: Units,
    /// Processes to watch where systemd is not used.
    pub processes: Vec<Process>,
    /// Programs that exit with 0 while all is well.
    pub checks: Vec<Check>,
    /// Programs that the runner starts when a plan names them.
    pub commands: Vec<super::OperatorCommand>,
    pub logs: Vec<Log>,
    pub logrotate: super::logrotate::Logrotate,
    pub filesystems: Filesystems,
    pub metrics: super::Metrics,
    pub backups: Vec<super::Backup>,
    pub kernel: super::kernel::Kernel,
    pub baseline: Vec<super::baseline::Baseline>,
    pub depends_on: super::DependsOn,
    pub norms: super::Norms,
}

/// The host's own bounds on what it lets itself be told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runner {
    /// Most automatic tries on one fault in a day.
    pub automatic_tries_per_day: At<u32>,
    /// Whether approvals of people must carry a signature of their own.
    pub demand_signatures: At<bool>,
}

/// What to watch of systemd.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Units {
    pub failed: Failed,
    /// What the operator of these services says about them.
    pub services: BTreeMap<UnitName, Service>,
    pub flapping: Flapping,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Failed {
    /// Units whose failing is a fault: `all`, `none`, or a list of names, in which `*` stands for anything.
    pub watch: Watch,
    /// Units that are left out, in the same form.
    pub ignore: Vec<At<String>>,
    /// How long a unit must have failed before it counts.
    #[serde(rename = "for")]
    pub tolerance: At<Period>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flapping {
    /// So many starts after a failure, or by systemd itself, within a time are a fault; 0 means never.
    pub times: At<u32>,
    pub within: At<Period>,
}

/// What is known of one service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// `active`: that it does not run is a fault, unless it is masked or disabled. `any`: only failing is.
    pub expect: At<Expect>,
    /// Whether it must also start with the host: then that it is disabled is a fault. One that is masked is not.
    pub enabled: At<bool>,
    /// How long it must have been out of the expected state before it counts.
    #[serde(rename = "for")]
    pub tolerance: At<Period>,
    pub health: Option<Health>,
    pub heartbeat: Option<Heartbeat>,
    pub config: Vec<ConfigFile>,
    /// File in which the service writes its process number.
    pub pidfile: Option<At<AbsPath>>,
    /// Socket of the file system at which the service listens: one that was left behind keeps some from starting.
    pub socket: Option<At<AbsPath>>,
    /// Whether it may be started anew without asking, when something that it does says that it needs it.
    pub may_restart: At<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Active,
}

/// An address that answers with a status of 200 to 299 while the service is well.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    pub url: At<Url>,
    #[serde(default = "defaults::health_every")]
    pub every: At<Period>,
    #[serde(default = "defaults::health_timeout")]
    pub timeout: At<Period>,
    /// So many failures in a row are a fault.
    #[serde(default = "defaults::health_failures")]
    pub failures: At<u32>,
}

/// A file that the service writes again and again while it is well.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    pub path: At<AbsPath>,
    pub max_age: At<Period>,
}

/// A configuration file and its known-good copy.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    pub path: At<AbsPath>,
    pub known_good: At<AbsPath>,
}

/// A process that should run. One of `pidfile` and `command` says which it is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub name: At<Word>,
    #[serde(default)]
    pub pidfile: Option<At<AbsPath>>,
    /// The first words of its command line, exactly.
    #[serde(default)]
    pub command: Vec<At<String>>,
    /// Program that starts it, as a daemon or in the foreground; without one only a person starts it again.
    #[serde(default)]
    pub start: Option<At<AbsPath>>,
    #[serde(default = "defaults::process_for", rename = "for")]
    pub tolerance: At<Period>,
}

/// What to watch of file systems.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filesystems {
    /// `all` (local, writable, not of the kernel's own), `none`, or a list of mount points.
    pub watch: Watch,
    /// Longest time between two looks; it shrinks as the time to full does.
    pub every: At<Period>,
    /// Used share from which a file system is full.
    pub used_percent: At<u8>,
    pub inodes_percent: At<u8>,
    /// Used share below which it is well again.
    pub clear_percent: At<u8>,
    /// Full also counts what will be full within this time at the present rate.
    pub full_within: At<Period>,
    pub mounts: BTreeMap<AbsPath, Mount>,
}

/// What is known of one mount point. Limits that it does not state are the general ones.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mount {
    pub used_percent: Option<At<u8>>,
    pub inodes_percent: Option<At<u8>>,
    pub clear_percent: Option<At<u8>>,
    pub full_within: Option<At<Period>>,
    /// Files that may be taken away when space is short.
    pub reclaim: Option<Reclaim>,
    /// Live logs that may be emptied when space is short.
    pub logs: Option<LiveLogs>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reclaim {
    pub directory: At<AbsPath>,
    pub pattern: At<Glob>,
    /// So many of the newest are kept.
    #[serde(default = "defaults::keep_newest")]
    pub keep_newest: At<u32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveLogs {
    pub directory: At<AbsPath>,
    pub pattern: At<Glob>,
    /// The service that writes them.
    pub unit: At<UnitName>,
}

impl super::at::Leaf for Expect {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "active" => Ok(Self::Active),
            "any" => Ok(Self::Any),
            _ => Err(format!("{text:?} is not one of active, any")),
        }
    }
    fn placeholder() -> Self {
        Self::Any
    }
}

/// Values of settings that are not written.
mod defaults {
    use super::*;
    pub(super) fn zero() -> At<Period> {
        At::of(Period::secs(0))
    }
    pub(super) fn process_for() -> At<Period> {
        At::of(Period::secs(1))
    }
    pub(super) fn health_every() -> At<Period> {
        At::of(Period::secs(5))
    }
    pub(super) fn health_timeout() -> At<Period> {
        At::of(Period::secs(3))
    }
    pub(super) fn health_failures() -> At<u32> {
        At::of(2)
    }
    pub(super) fn keep_newest() -> At<u32> {
        At::of(1)
    }
}

impl Default for Config {
    fn default() -> Self {
        let path = |text: &str| At::of(AbsPath::new(text).expect("the default paths are in normal form"));
        Self {
            server: None,
            host: At::of(super::hostname()),
            state_dir: path("/var/lib/sopwith"),
            runtime_dir: path("/run/sopwith"),
            declarations_dir: path("/etc/sopwith/host.d"),
            allowed_signers: path("/etc/sopwith/allowed_signers"),
            metrics_listen: At::of(SocketAddr::from((Ipv4Addr::LOCALHOST, 9631))),
            stop_file: path("/var/lib/sopwith/stop"),
            discovered: None,
            packs: Vec::new(),
            packs_ignore: Vec::new(),
            runner: Runner::default(),
            units: Units::default(),
            processes: Vec::new(),
            checks: Vec::new(),
            commands: Vec::new(),
            logs: Vec::new(),
            logrotate: Default::default(),
            filesystems: Filesystems::default(),
            metrics: super::Metrics::default(),
            backups: Vec::new(),
            kernel: super::kernel::Kernel::default(),
            baseline: Vec::new(),
            depends_on: BTreeMap::new(),
            norms: super::Norms::default(),
        }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self { automatic_tries_per_day: At::of(2), demand_signatures: At::of(false) }
    }
}

impl Default for Failed {
    fn default() -> Self {
        Self { watch: Watch::All, ignore: Vec::new(), tolerance: defaults::zero() }
    }
}

impl Default for Flapping {
    fn default() -> Self {
        Self { times: At::of(3), within: At::of(Period::secs(600)) }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            expect: At::of(Expect::Any),
            enabled: At::of(false),
            tolerance: At::of(Period::secs(2)),
            health: None,
            heartbeat: None,
            config: Vec::new(),
            pidfile: None,
            socket: None,
            may_restart: At::of(false),
        }
    }
}

impl Default for Filesystems {
    fn default() -> Self {
        Self {
            watch: Watch::All,
            every: At::of(Period::secs(5)),
            used_percent: At::of(90),
            inodes_percent: At::of(90),
            clear_percent: At::of(80),
            full_within: At::of(Period::secs(3600)),
            mounts: BTreeMap::new(),
        }
    }
}

/// Limits of one mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub used_percent: u8,
    pub inodes_percent: u8,
    pub clear_percent: u8,
    pub full_within: Period,
}

impl Filesystems {
    /// Returns the limits of a mount point: its own, else the general ones.
    pub fn limits_of(&self, mount: &AbsPath) -> Limits {
        let own = self.mounts.get(mount);
        let pick = |of: fn(&Mount) -> &Option<At<u8>>, general: &At<u8>| {
            own.and_then(|m| of(m).as_ref()).map_or(**general, |at| **at)
        };
        Limits {
            used_percent: pick(|m| &m.used_percent, &self.used_percent),
            inodes_percent: pick(|m| &m.inodes_percent, &self.inodes_percent),
            clear_percent: pick(|m| &m.clear_percent, &self.clear_percent),
            full_within: own.and_then(|m| m.full_within.as_ref()).map_or(*self.full_within, |at| **at),
        }
    }
}
