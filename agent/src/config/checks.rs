//! The settings of checks: what looks, when, and from when on what it says counts.

use super::at::{At, Leaf, Period};
use super::cron::Cron;
use super::probes::{
    CertificateProbe, DnsProbe, HttpProbe, NginxProbe, PostgresqlProbe, RedisProbe, TcpProbe,
};
use super::types::ConfigFile;
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::signal::Severity;
use sopwith_domain::value::{AbsPath, UnitName, Word};
use std::time::Duration;

/// How often a check runs that does not say.
pub const EVERY_DEFAULT: Period = Period::secs(60);
/// Longest time that a check may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// Something that looks whether something is well: a program of the administrator's (`argv`), a plugin of the
/// Nagios contract (`plugin`), or one of the agent's own probes. The runner runs it too, to verify.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub name: At<Word>,
    /// Absolute path of a program that exits with 0 while all is well, and its arguments; no shell reads them. The
    /// runner starts it, as root.
    #[serde(default)]
    pub argv: Vec<At<String>>,
    /// The same for a program of the plugin contract: exit codes 0 to 3, one line of text, `| label=value`. The
    /// agent's own unprivileged user starts it, unless `root` says otherwise.
    #[serde(default)]
    pub plugin: Vec<At<String>>,
    #[serde(default)]
    pub http: Option<HttpProbe>,
    #[serde(default)]
    pub tcp: Option<TcpProbe>,
    #[serde(default)]
    pub dns: Option<DnsProbe>,
    #[serde(default)]
    pub certificate: Option<CertificateProbe>,
    #[serde(default)]
    pub postgresql: Option<PostgresqlProbe>,
    #[serde(default)]
    pub redis: Option<RedisProbe>,
    /// Whether the configuration on disk is one that nginx would start with.
    #[serde(default)]
    pub nginx: Option<NginxProbe>,
    /// At equal distances by a clock that never jumps; a minute, if neither this nor `cron` is said.
    #[serde(default)]
    pub every: Option<At<Period>>,
    /// By the host's own calendar, as in `30 3 * * mon-fri`.
    #[serde(default)]
    pub cron: Option<At<Cron>>,
    /// Up to so much later, each host by an amount of its own that stays the same; without it `every` is spread over
    /// its whole length and `cron` not at all.
    #[serde(default)]
    pub jitter: Option<At<Period>>,
    /// Whether a run that was missed while the host was down is made up for, once.
    #[serde(default = "yes")]
    pub catch_up: At<bool>,
    /// Whether the runner starts a `plugin`, as root.
    #[serde(default = "no")]
    pub root: At<bool>,
    #[serde(default = "timeout")]
    pub timeout: At<Period>,
    #[serde(default = "zero", rename = "for")]
    pub tolerance: At<Period>,
    /// So many failures within a time are a fault, in place of `for`.
    #[serde(default)]
    pub failures: Option<Within>,
    /// How bad it is when it fails; by default warning for `argv`, and what it says itself for all others.
    #[serde(default)]
    pub severity: Option<At<Severity>>,
    /// The service that it speaks of, for playbooks.
    #[serde(default)]
    pub unit: Option<At<UnitName>>,
    /// Files and folders a change of which runs it at once.
    #[serde(default)]
    pub files: Vec<At<AbsPath>>,
    #[serde(default)]
    pub config: Vec<ConfigFile>,
}

/// So many times within a time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    pub count: At<u32>,
    pub within: At<Period>,
}

/// How a check looks.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    Command(&'a [At<String>]),
    Plugin(&'a [At<String>]),
    Http(&'a HttpProbe),
    Tcp(&'a TcpProbe),
    Dns(&'a DnsProbe),
    Certificate(&'a CertificateProbe),
    Postgresql(&'a PostgresqlProbe),
    Redis(&'a RedisProbe),
    Nginx(&'a NginxProbe),
}

impl Kind<'_> {
    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Plugin(_) => "plugin",
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Dns(_) => "dns",
            Self::Certificate(_) => "certificate",
            Self::Postgresql(_) => "postgresql",
            Self::Redis(_) => "redis",
            Self::Nginx(_) => "nginx",
        }
    }
}

impl Check {
    fn kinds(&self) -> Vec<Kind<'_>> {
        let command = (!self.argv.is_empty()).then_some(Kind::Command(&self.argv));
        let plugin = (!self.plugin.is_empty()).then_some(Kind::Plugin(&self.plugin));
        let probes = [
            command,
            plugin,
            self.http.as_ref().map(Kind::Http),
            self.tcp.as_ref().map(Kind::Tcp),
            self.dns.as_ref().map(Kind::Dns),
            self.certificate.as_ref().map(Kind::Certificate),
            self.postgresql.as_ref().map(Kind::Postgresql),
            self.redis.as_ref().map(Kind::Redis),
            self.nginx.as_ref().map(Kind::Nginx),
        ];
        probes.into_iter().flatten().collect()
    }

    /// Returns how it looks. That it is exactly one way was seen when the configuration was read.
    pub fn kind(&self) -> Kind<'_> {
        self.kinds().first().copied().unwrap_or(Kind::Command(&self.argv))
    }

    /// Says whether the runner looks, as root.
    pub fn by_runner(&self) -> bool {
        match self.kind() {
            Kind::Postgresql(probe) => probe.account.is_some(),
            _ => self.argv().is_some() && (self.plugin.is_empty() || *self.root),
        }
    }

    /// Returns the argument vector of the program that looks; nothing if the agent itself does.
    pub fn argv(&self) -> Option<Vec<String>> {
        let texts = |argv: &[At<String>]| argv.iter().map(|word| (**word).clone()).collect();
        match self.kind() {
            Kind::Command(argv) | Kind::Plugin(argv) => Some(texts(argv)),
            Kind::Nginx(probe) => Some(probe.argv()),
            _ => None,
        }
    }

    /// Adds what is wrong beyond its single words.
    pub(super) fn findings(&self, found: &mut Vec<Finding>) {
        let kinds = self.kinds();
        let one_of = "argv, plugin, http, tcp, dns, certificate, postgresql, redis, nginx";
        match kinds.len() {
            0 => found.push(self.name.finding(format!("say what looks, one of {one_of}"))),
            1 => {}
            _ => found.push(self.name.finding(format!("say one of {one_of}, not several"))),
        }
        for (what, argv) in [("argv", &self.argv), ("plugin", &self.plugin)] {
            if let Some(program) = argv.first().filter(|program| AbsPath::new(program.as_str()).is_err()) {
                found.push(program.finding(format!("{what} must begin with the absolute path of a program")));
            }
            if let Some(argument) = argv.iter().find(|a| a.contains('\0')) {
                found.push(argument.finding("an argument cannot contain NUL"));
            }
        }
        for kind in kinds {
            match kind {
                Kind::Http(probe) => probe.findings(found),
                Kind::Tcp(probe) => probe.findings(found),
                Kind::Dns(probe) => probe.findings(found),
                Kind::Certificate(probe) => probe.findings(&self.name, found),
                Kind::Postgresql(probe) => probe.findings(found),
                Kind::Redis(probe) => probe.findings(found),
                Kind::Command(_) | Kind::Plugin(_) | Kind::Nginx(_) => {}
            }
        }
        self.schedule_findings(found);
    }

    fn schedule_findings(&self, found: &mut Vec<Finding>) {
        if let (Some(every), Some(_)) = (&self.every, &self.cron) {
            found.push(every.finding("say either every or cron"));
        }
        if *self.root && self.plugin.is_empty() {
            found.push(
                self.root.finding("root is for a plugin; argv and nginx have it, and no probe needs it"),
            );
        }
        if self.timeout.0 > TIMEOUT_MAX {
            found.push(self.timeout.finding("timeout must be at most 1d"));
        }
        if let (Some(every), Some(jitter)) = (&self.every, &self.jitter)
            && jitter.0 > every.0
        {
            found.push(jitter.finding("jitter must be at most as long as every"));
        }
        if let Some(jitter) = self.jitter.as_ref().filter(|jitter| jitter.0 > TIMEOUT_MAX) {
            found.push(jitter.finding("jitter must be at most 1d"));
        }
    }
}

impl Leaf for Cron {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn placeholder() -> Self {
        "@daily".parse().expect("@daily is a schedule")
    }
}

fn yes() -> At<bool> {
    At::of(true)
}
fn no() -> At<bool> {
    At::of(false)
}
fn zero() -> At<Period> {
    At::of(Period::secs(0))
}
fn timeout() -> At<Period> {
    At::of(Period::secs(10))
}
