//! By which norms the host is looked at: what is declared of its accounts, settings, logs, clock and certificates.

use super::at::{At, Leaf, Period};
use super::backups::Bytes;
use super::watch::Watch;
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::value::{AbsPath, Glob, UnitName, Word};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_secs(5);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Norms {
    /// `all`, `none`, or a list of norms, in whose names `*` stands for anything.
    pub watch: Watch,
    /// What is left out: names of norms, alone or followed by a subject, in the same form.
    pub ignore: Vec<At<String>>,
    pub every: At<Period>,
    /// How often programs (sshd, visudo, logrotate) are asked, unless their files change.
    pub programs_every: At<Period>,
    /// After how many days without a login an account of a person is stale.
    pub stale_days: At<u32>,
    /// Declared digests, owners and modes of files.
    pub baseline: Option<At<AbsPath>>,
    /// What settings must be: a value, `a|b`, `<=90`, `>=14` or `!=yes`.
    pub login_defs: BTreeMap<Word, At<Wanted>>,
    pub pwquality: BTreeMap<Word, At<Wanted>>,
    pub sshd: BTreeMap<Word, At<Wanted>>,
    pub sysctl: BTreeMap<Word, At<Wanted>>,
    /// Limits that processes of a unit must have at least, by the names of limits.conf: `{nofile: 65536}`.
    pub limits: BTreeMap<UnitName, BTreeMap<Word, At<u64>>>,
    /// Certificates; in the last part of a path `*`, `?` and `[…]` are a pattern.
    pub certificates: Vec<At<AbsPath>>,
    pub certificate_warning: At<Period>,
    pub certificate_critical: At<Period>,
    pub clock_offset_max: At<Period>,
    /// A log that is bigger is not rotated, whatever is said of it.
    pub log_max: At<Bytes>,
    /// Logs that must reach back at least so far.
    pub retention: Vec<Retention>,
}

/// How far back logs must reach.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub directory: At<AbsPath>,
    pub pattern: At<Glob>,
    pub at_least: At<Period>,
}

impl Default for Norms {
    fn default() -> Self {
        let days = |days: u64| At::of(Period::secs(days * 86_400));
        Self {
            watch: Watch::None,
            ignore: Vec::new(),
            every: At::of(Period::secs(30)),
            programs_every: At::of(Period::secs(900)),
            stale_days: At::of(90),
            baseline: None,
            login_defs: BTreeMap::new(),
            pwquality: BTreeMap::new(),
            sshd: BTreeMap::new(),
            sysctl: BTreeMap::new(),
            limits: BTreeMap::new(),
            certificates: Vec::new(),
            certificate_warning: days(21),
            certificate_critical: days(7),
            clock_offset_max: At::of(Period(Duration::from_millis(500))),
            log_max: At::of(Bytes(1 << 30)),
            retention: Vec::new(),
        }
    }
}

/// What a setting must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// One of these, in any case of letters and with any white space.
    OneOf(Vec<String>),
    Not(String),
    AtMost(i64),
    AtLeast(i64),
}

impl Wanted {
    /// Says whether a value is as it must be.
    pub fn holds(&self, actual: &str) -> bool {
        let actual = plain(actual);
        match self {
            Self::OneOf(values) => values.iter().any(|value| plain(value) == actual),
            Self::Not(value) => plain(value) != actual,
            Self::AtMost(most) => actual.parse::<i64>().is_ok_and(|number| number <= *most),
            Self::AtLeast(least) => actual.parse::<i64>().is_ok_and(|number| number >= *least),
        }
    }

    /// Returns a value that is as it must be, for those who mend it.
    pub fn target(&self) -> Option<String> {
        match self {
            Self::OneOf(values) => values.first().cloned(),
            Self::Not(_) => None,
            Self::AtMost(number) | Self::AtLeast(number) => Some(number.to_string()),
        }
    }
}

/// Returns a value with single blanks and small letters.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

impl Leaf for Wanted {
    fn read(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits
                .trim()
                .parse::<i64>()
                .map_err(|_| format!("{text:?} compares with something that is no number"))
        };
        if text.trim().is_empty() {
            return Err("a value is expected".into());
        }
        Ok(match (text.strip_prefix("<="), text.strip_prefix(">="), text.strip_prefix("!=")) {
            (Some(digits), ..) => Self::AtMost(number(digits)?),
            (_, Some(digits), _) => Self::AtLeast(number(digits)?),
            (.., Some(value)) => Self::Not(value.trim().to_owned()),
            _ => Self::OneOf(text.split('|').map(|value| value.trim().to_owned()).collect()),
        })
    }
    fn placeholder() -> Self {
        Self::AtMost(0)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(values) => f.write_str(&values.join("|")),
            Self::Not(value) => write!(f, "!={value}"),
            Self::AtMost(most) => write!(f, "<={most}"),
            Self::AtLeast(least) => write!(f, ">={least}"),
        }
    }
}

/// Returns everything that is wrong.
pub(super) fn findings(norms: &Norms, found: &mut Vec<Finding>) {
    for every in [&norms.every, &norms.programs_every] {
        if every.0 < EVERY_MIN {
            found.push(every.finding("must be at least 5s"));
        }
    }
    if *norms.stale_days == 0 {
        found.push(norms.stale_days.finding("must be at least 1"));
    }
    if norms.certificate_critical.0 > norms.certificate_warning.0 {
        found.push(norms.certificate_critical.finding("must not be longer than certificate_warning"));
    }
    for path in &norms.certificates {
        let folder = path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder.contains(['*', '?', '[']) {
            found.push(path.finding("only the last part of a path may be a pattern"));
        }
    }
    for (key, wanted) in &norms.sysctl {
        if key.as_str().split(['.', '/']).any(|part| part.is_empty() || part == "..") {
            found.push(
                wanted.finding(format!("{key} is not a setting of the kernel, as in net.ipv4.ip_forward")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_as_they_must_be() {
        for (wanted, actual, holds) in [
            ("90", "90", true),
            ("90", "91", false),
            ("no", "No", true),
            ("no|prohibit-password", "prohibit-password", true),
            ("!=yes", "prohibit-password", true),
            ("!=yes", "YES", false),
            ("<=90", "90", true),
            ("<=90", "99999", false),
            ("<=90", "none", false),
            (">=14", "14", true),
            (">=14", "-1", false),
            ("32768 60999", "32768\t60999", true),
        ] {
            assert_eq!(Wanted::read(wanted).expect("it is read").holds(actual), holds, "{wanted} {actual}");
        }
        assert!(Wanted::read("<=x").is_err() && Wanted::read("").is_err());
    }
}
