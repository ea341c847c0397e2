//! What may run without a person, and how often. Signed by the hosts' owners like a playbook; where it is silent,
//! nothing is permitted.

use crate::diagnosis::Rule;
use crate::ids::{Digest, HostId, PlaybookId};
use crate::mutant::{self, Mutant};
use crate::playbook::{Finding, Risk};
use crate::trust::{Promotion, RUNS_MAX};
use crate::value::Word;
use serde::{Deserialize, Serialize};

/// Longest policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Which hosts a policy speaks of. An empty list means none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    All,
    Named(Vec<HostId>),
}

impl Hosts {
    /// Says whether the policy speaks of the host.
    pub fn hold(&self, host: &HostId) -> bool {
        match self {
            Self::All => true,
            Self::Named(hosts) => {
                hosts.contains(host) || (hosts.is_empty() && mutant::is(Mutant::EmptyMeansAll))
            }
        }
    }
}

/// How many runs may be under way at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtOnce {
    pub overall: u32,
    pub per_host: u32,
    pub per_playbook: u32,
}

/// How many automatic runs may be released within an hour for one of each. Where nothing is left, nothing starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    pub per_host: u32,
    pub per_playbook: u32,
    /// For one thing that plans touch on one host: a unit, a file, a file system.
    pub per_service: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { per_host: 20, per_playbook: 40, per_service: 4 }
    }
}

/// What happens when many hosts have the same fault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// From so many hosts on, with the same fault raised within `window_s`, it is told as one.
    pub hosts: u32,
    pub window_s: u32,
    /// How long a fix must have lasted on a host before it counts as good for others.
    pub bake_s: u32,
    /// The failed run of this number stops it on all hosts.
    pub failures: u32,
    /// The fact by which hosts name their failure domain: only one domain is worked on at a time.
    pub domain: Word,
}

impl Default for Fleet {
    fn default() -> Self {
        let domain = Word::new("failure-domain").expect("it is a word");
        Self { hosts: 3, window_s: 300, bake_s: 120, failures: 2, domain }
    }
}

/// When fixes that raise each other's faults are a loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loops {
    /// How long after a run a fault of what it touched counts as come from it.
    pub window_s: u32,
    /// From so many other faults on, each come from the fix before it, nothing more starts by itself.
    pub depth: u32,
}

impl Default for Loops {
    fn default() -> Self {
        Self { window_s: 600, depth: 3 }
    }
}

/// When so much is wrong that automation had better wait for a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storm {
    /// Share of hosts with a critical fault from which nothing more starts.
    pub sick_percent: u32,
    /// Fewer sick hosts than this are no storm, whatever their share.
    pub sick_hosts: u32,
    /// Incidents raised within a minute, on all hosts together.
    pub raised_per_minute: u32,
    /// How long nothing starts, at least.
    pub cool_down_s: u32,
}

impl Default for Storm {
    fn default() -> Self {
        Self { sick_percent: 30, sick_hosts: 5, raised_per_minute: 60, cool_down_s: 600 }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// Playbooks of risk `auto` that need no person. An empty list means none.
    auto: Vec<PlaybookId>,
    hosts: Hosts,
    #[serde(default = "defaults::proposal_valid_s")]
    proposal_valid_s: u32,
    #[serde(default = "defaults::approval_valid_s")]
    approval_valid_s: u32,
    #[serde(default = "defaults::approvers")]
    approvers: u32,
    #[serde(default = "defaults::attempts_per_day")]
    attempts_per_day: u32,
    #[serde(default = "defaults::at_once")]
    at_once: AtOnce,
    #[serde(default = "defaults::per_hour")]
    per_hour: u32,
    #[serde(default)]
    budgets: Budgets,
    #[serde(default)]
    fleet: Fleet,
    #[serde(default)]
    storm: Storm,
    #[serde(default)]
    loops: Loops,
    #[serde(default)]
    stronger_by_itself: bool,
    #[serde(default = "defaults::quiet_s")]
    quiet_s: u32,
    #[serde(default)]
    promotion: Option<Promotion>,
    #[serde(default)]
    diagnosis: Option<Rule>,
}

mod defaults {
    pub fn proposal_valid_s() -> u32 {
        3600
    }
    pub fn approval_valid_s() -> u32 {
        300
    }
    pub fn approvers() -> u32 {
        1
    }
    pub fn attempts_per_day() -> u32 {
        2
    }
    pub fn at_once() -> super::AtOnce {
        super::AtOnce { overall: 10, per_host: 1, per_playbook: 5 }
    }
    pub fn per_hour() -> u32 {
        60
    }
    pub fn quiet_s() -> u32 {
        60
    }
}

/// A checked policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub digest: Digest,
    pub version: u32,
    pub auto: Vec<PlaybookId>,
    pub hosts: Hosts,
    /// How long a proposed plan waits for people.
    pub proposal_valid_ms: i64,
    /// How long after it is granted an approval may still start steps.
    pub approval_valid_ms: i64,
    pub approvers: u32,
    pub attempts_per_day: u32,
    pub at_once: AtOnce,
    /// Runs of any kind that may be released within an hour, on all hosts together.
    pub per_hour: u32,
    pub budgets: Budgets,
    pub fleet: Fleet,
    pub storm: Storm,
    pub loops: Loops,
    /// Whether the next stronger SOP of a ladder may start without a person, where `auto` names it too.
    pub stronger_by_itself: bool,
    /// How long it must stay quiet after a fix before the incident closes.
    pub quiet_ms: i64,
    /// What a playbook of `auto` has to show before it runs by itself; nothing asks nothing of it.
    pub promotion: Option<Promotion>,
    /// How often hosts are looked at about what nothing mends; nothing means never.
    pub diagnosis: Option<Rule>,
}

impl Default for Policy {
    /// Returns the policy of an installation that was given none: people decide everything.
    fn default() -> Self {
        Self {
            digest: Digest([0; 32]),
            version: 0,
            auto: Vec::new(),
            hosts: Hosts::Named(Vec::new()),
            proposal_valid_ms: 3_600_000,
            approval_valid_ms: 300_000,
            approvers: 1,
            attempts_per_day: 2,
            at_once: defaults::at_once(),
            per_hour: 60,
            budgets: Budgets::default(),
            fleet: Fleet::default(),
            storm: Storm::default(),
            loops: Loops::default(),
            stronger_by_itself: false,
            quiet_ms: 60_000,
            promotion: None,
            diagnosis: None,
        }
    }
}

impl Policy {
    /// Parses a policy's text, or says what is wrong with line and column.
    pub fn parse(text: &str) -> Result<Self, Finding> {
        let at_start = |text: String| Finding { line: 1, column: 1, text };
        if text.len() > POLICY_BYTES_MAX {
            return Err(at_start(format!(
                "the policy has {} bytes, at most {POLICY_BYTES_MAX} are read",
                text.len()
            )));
        }
        let raw: Document = crate::yaml::from_str(text)?;
        let positive = [
            ("proposal_valid_s", raw.proposal_valid_s),
            ("approval_valid_s", raw.approval_valid_s),
            ("approvers", raw.approvers),
            ("at_once.overall", raw.at_once.overall),
            ("at_once.per_host", raw.at_once.per_host),
            ("at_once.per_playbook", raw.at_once.per_playbook),
            ("fleet.failures", raw.fleet.failures),
            ("loops.depth", raw.loops.depth),
            ("storm.sick_hosts", raw.storm.sick_hosts),
            ("storm.raised_per_minute", raw.storm.raised_per_minute),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(at_start(format!(
                "{name} is 0, must be at least 1; to stop automation use `sopwith stop`"
            )));
        }
        if raw.fleet.hosts < 2 {
            return Err(at_start(
                "fleet.hosts must be at least 2: a fault on one host is not a common one".into(),
            ));
        }
        if !(1..=100).contains(&raw.storm.sick_percent) {
            return Err(at_start(format!(
                "storm.sick_percent is {}, must be 1 to 100",
                raw.storm.sick_percent
            )));
        }
        // Releases are remembered for an hour.
        if raw.loops.window_s > 3600 {
            return Err(at_start(format!("loops.window_s is {}, at most 3600", raw.loops.window_s)));
        }
        if let Some(promotion) = &raw.promotion
            && !(1..=RUNS_MAX).contains(&promotion.runs)
        {
            return Err(at_start(format!(
                "promotion.runs is {}, must be 1 to {RUNS_MAX}; leave promotion out where nothing is to be earned",
                promotion.runs
            )));
        }
        if raw.attempts_per_day > 2 {
            return Err(at_start(format!(
                "attempts_per_day is {}, at most 2: what two tries did not mend needs a person",
                raw.attempts_per_day
            )));
        }
        Ok(Self {
            digest: Digest::of(text.as_bytes()),
            version: raw.version,
            auto: raw.auto,
            hosts: raw.hosts,
            proposal_valid_ms: i64::from(raw.proposal_valid_s) * 1000,
            approval_valid_ms: i64::from(raw.approval_valid_s) * 1000,
            approvers: raw.approvers,
            attempts_per_day: raw.attempts_per_day,
            at_once: raw.at_once,
            per_hour: raw.per_hour,
            budgets: raw.budgets,
            fleet: raw.fleet,
            storm: raw.storm,
            loops: raw.loops,
            stronger_by_itself: raw.stronger_by_itself,
            quiet_ms: i64::from(raw.quiet_s) * 1000,
            promotion: raw.promotion,
            diagnosis: raw.diagnosis,
        })
    }

    /// Says whether the playbook may run on the host without a person.
    pub fn permits(&self, playbook: &PlaybookId, risk: Risk, host: &HostId) -> bool {
        let named =
            self.auto.contains(playbook) || (self.auto.is_empty() && mutant::is(Mutant::EmptyMeansAll));
        risk == Risk::Auto && named && self.hosts.hold(host)
    }
}
