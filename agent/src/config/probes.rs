//! The settings of the agent's own probes. Passwords stand in files of their own, never here.

use super::at::{At, Leaf, Pattern, Period};
use super::backups::Mode;
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::value::{AbsPath, Url, Word};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// From where on something is a warning, and critical. What is not said is never so.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Leaf")]
pub struct Levels<T> {
    #[serde(default = "none")]
    pub warning: Option<At<T>>,
    #[serde(default = "none")]
    pub critical: Option<At<T>>,
}

fn none<T>() -> Option<At<T>> {
    None
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Self { warning: None, critical: None }
    }
}

fn levels<T>(warning: T, critical: T) -> Levels<T> {
    Levels { warning: Some(At::of(warning)), critical: Some(At::of(critical)) }
}

impl<T: PartialOrd> Levels<T> {
    /// Says where the limits are the wrong way round; `rising` is for what is worse the more of it there is.
    fn order(&self, rising: bool, found: &mut Vec<Finding>) {
        if let (Some(warning), Some(critical)) = (&self.warning, &self.critical) {
            let wrong = if rising { **warning > **critical } else { **warning < **critical };
            if wrong {
                let text =
                    if rising { "must be at least the warning" } else { "must be at most the warning" };
                found.push(critical.finding(format!("critical {text}")));
            }
        }
    }
}

/// A host, by name or address, and a port.
#[derive(Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Leaf for HostPort {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a host and port, as in 127.0.0.1:443, [::1]:443 or db:5432");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(wrong()),
            None => DnsName::read(host).map(|_| host).map_err(|_| wrong())?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
    fn placeholder() -> Self {
        Self { host: "localhost".into(), port: 1 }
    }
}

/// A name of the domain name system, or an IPv4 address, which has the same form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsName(pub String);

impl Leaf for DnsName {
    fn read(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        match name.len() <= 253 && name.split('.').all(label) {
            true => Ok(Self(name.to_owned())),
            false => Err(format!("{text:?} is not a name such as www.example.com")),
        }
    }
    fn placeholder() -> Self {
        Self("localhost".into())
    }
}

/// Asks for a page. It follows no redirection and sends nothing of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    pub url: At<Url>,
    /// What it may answer; 200 to 299 if nothing is said.
    #[serde(default)]
    pub status: Vec<At<u32>>,
    /// What must stand in the first megabyte of the answer.
    #[serde(default)]
    pub body: Option<At<Pattern>>,
    /// Time until the whole answer is there.
    #[serde(default)]
    pub time: Levels<Period>,
    /// Days that the certificate must still be good for.
    #[serde(default = "days")]
    pub days: Levels<u32>,
    /// Whose certificates count, in PEM, in place of the system's.
    #[serde(default)]
    pub ca: Option<At<AbsPath>>,
}

impl HttpProbe {
    pub(super) fn findings(&self, found: &mut Vec<Finding>) {
        for status in self.status.iter().filter(|status| !(100..=599).contains(&***status)) {
            found.push(status.finding("a status is 100 to 599"));
        }
        self.time.order(true, found);
        self.days.order(false, found);
    }
}

/// Connects, and waits for what the other side says first, if it is to say something.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpProbe {
    pub connect: At<HostPort>,
    #[serde(default)]
    pub banner: Option<At<Pattern>>,
    #[serde(default)]
    pub time: Levels<Period>,
}

impl TcpProbe {
    pub(super) fn findings(&self, found: &mut Vec<Finding>) {
        self.time.order(true, found);
    }
}

/// Asks each of the host's name servers for the addresses of a name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsProbe {
    pub name: At<DnsName>,
    /// Addresses of which at least one must be among the answers.
    #[serde(default)]
    pub expect: Vec<At<IpAddr>>,
    #[serde(default = "resolv_conf")]
    pub resolv_conf: At<AbsPath>,
    #[serde(default)]
    pub time: Levels<Period>,
}

impl DnsProbe {
    pub(super) fn findings(&self, found: &mut Vec<Finding>) {
        self.time.order(true, found);
    }
}

/// Looks at a certificate on disk, at one that a port serves, or at whether both are the same.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateProbe {
    /// The chain in PEM, the certificate itself first.
    #[serde(default)]
    pub file: Option<At<AbsPath>>,
    /// Its private key, which the agent must be able to read.
    #[serde(default)]
    pub key: Option<At<AbsPath>>,
    #[serde(default)]
    pub connect: Option<At<HostPort>>,
    /// The name that it must be good for; by default the host of `connect`, if that is a name.
    #[serde(default)]
    pub name: Option<At<DnsName>>,
    #[serde(default = "days")]
    pub days: Levels<u32>,
    /// Whose certificates count, in PEM, in place of the system's.
    #[serde(default)]
    pub ca: Option<At<AbsPath>>,
    /// Whether somebody whose certificates count must have signed it.
    #[serde(default = "yes")]
    pub trusted: At<bool>,
}

impl CertificateProbe {
    pub(super) fn findings(&self, check: &At<Word>, found: &mut Vec<Finding>) {
        if self.file.is_none() && self.connect.is_none() {
            found.push(check.finding("say which certificate: file, connect, or both"));
        }
        if let (Some(key), None) = (&self.key, &self.file) {
            found.push(key.finding("a key belongs to a file"));
        }
        self.days.order(false, found);
    }
}

/// Which side of a replication a server is meant to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    #[default]
    Any,
    Primary,
    Standby,
}

impl Leaf for Role {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "primary" => Ok(Self::Primary),
            "standby" => Ok(Self::Standby),
            _ => Err(format!("{text:?} is not one of any, primary, standby")),
        }
    }
    fn placeholder() -> Self {
        Self::Any
    }
}

/// Asks PostgreSQL about itself, by psql.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresqlProbe {
    /// Folder of its socket, or a host.
    #[serde(default = "pg_host")]
    pub host: At<String>,
    #[serde(default = "pg_port")]
    pub port: At<u32>,
    #[serde(default = "pg_database")]
    pub database: At<Word>,
    /// Its own user; a member of pg_monitor sees all that is asked for.
    #[serde(default)]
    pub user: Option<At<Word>>,
    /// File with the password (`passfile` of libpq).
    #[serde(default)]
    pub passfile: Option<At<AbsPath>>,
    /// Account of this host as which the runner starts psql; without it the agent's own user does.
    #[serde(default, rename = "as")]
    pub account: Option<At<Word>>,
    #[serde(default = "psql")]
    pub psql: At<AbsPath>,
    #[serde(default)]
    pub role: At<Role>,
    /// Connections in use, of all that there may be.
    #[serde(default = "percent")]
    pub connections_percent: Levels<u32>,
    /// How long the oldest open transaction has done nothing.
    #[serde(default = "idle")]
    pub idle_in_transaction: Levels<Period>,
    /// Megabytes of log that a replication slot holds back.
    #[serde(default = "retained")]
    pub slot_retained_mb: Levels<u32>,
    /// How far a standby is behind.
    #[serde(default = "replay")]
    pub replay_lag: Levels<Period>,
}

impl PostgresqlProbe {
    pub(super) fn findings(&self, found: &mut Vec<Finding>) {
        if !(1..=65_535).contains(&*self.port) {
            found.push(self.port.finding("a port is 1 to 65535"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
        if self.host.is_empty() || !self.host.chars().all(fits) {
            found.push(self.host.finding("host is the folder of a socket, a name or an address"));
        }
        self.connections_percent.order(true, found);
        self.idle_in_transaction.order(true, found);
        self.slot_retained_mb.order(true, found);
        self.replay_lag.order(true, found);
    }
}

/// Asks Redis about itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisProbe {
    #[serde(default = "redis")]
    pub connect: At<HostPort>,
    /// Its socket, in place of `connect`.
    #[serde(default)]
    pub socket: Option<At<AbsPath>>,
    #[serde(default)]
    pub user: Option<At<Word>>,
    /// File with the password, and nothing else in it.
    #[serde(default)]
    pub password_file: Option<At<AbsPath>>,
    /// Memory in use, of `maxmemory`.
    #[serde(default = "percent")]
    pub memory_percent: Levels<u32>,
    /// The folder into which it saves, and whose it must be for that.
    #[serde(default)]
    pub data: Option<DataFolder>,
}

/// A folder with what it must be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFolder {
    pub path: At<AbsPath>,
    pub owner: At<Word>,
    pub group: At<Word>,
    pub mode: At<Mode>,
}

impl RedisProbe {
    pub(super) fn findings(&self, found: &mut Vec<Finding>) {
        self.memory_percent.order(true, found);
    }
}

/// Has nginx test its configuration, as root.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NginxProbe {
    pub program: At<AbsPath>,
    pub file: Option<At<AbsPath>>,
    /// Where a running nginx writes its number.
    pub pidfile: At<AbsPath>,
}

impl Default for NginxProbe {
    fn default() -> Self {
        Self { program: path("/usr/sbin/nginx"), file: None, pidfile: path("/run/nginx.pid") }
    }
}

impl NginxProbe {
    pub fn argv(&self) -> Vec<String> {
        let mut argv = vec![self.program.to_string(), "-t".into(), "-q".into()];
        if let Some(file) = &self.file {
            argv.extend(["-c".into(), file.to_string()]);
        }
        argv
    }
}

fn path(text: &str) -> At<AbsPath> {
    At::of(AbsPath::new(text).expect("the default paths are in normal form"))
}
fn days() -> Levels<u32> {
    levels(21, 7)
}
fn yes() -> At<bool> {
    At::of(true)
}
fn resolv_conf() -> At<AbsPath> {
    path("/etc/resolv.conf")
}
fn pg_host() -> At<String> {
    At::of("/var/run/postgresql".into())
}
fn pg_port() -> At<u32> {
    At::of(5432)
}
fn pg_database() -> At<Word> {
    At::of(Word::new("postgres").expect("a word"))
}
fn psql() -> At<AbsPath> {
    path("/usr/bin/psql")
}
fn percent() -> Levels<u32> {
    levels(80, 95)
}
fn idle() -> Levels<Period> {
    levels(Period(Duration::from_secs(300)), Period(Duration::from_secs(1800)))
}
fn retained() -> Levels<u32> {
    levels(1024, 10_240)
}
fn replay() -> Levels<Period> {
    levels(Period(Duration::from_secs(60)), Period(Duration::from_secs(600)))
}
fn redis() -> At<HostPort> {
    At::of(HostPort { host: "127.0.0.1".into(), port: 6379 })
}
