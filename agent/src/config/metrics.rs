//! Settings of the host's metrics: what is told of them, and what is noticed in them.

use super::at::{At, Leaf, Period};
use super::checks::Within;
use super::selector::Selector;
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::signal::Severity;
use sopwith_domain::value::{AbsPath, Value, Word};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time over which a change is looked at; as many values are kept as make a line.
const OVER_MAX: Duration = Duration::from_secs(7 * 86_400);
const OVER_MIN: Duration = Duration::from_secs(5);

/// What to tell of the host in numbers, and what to notice.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Whether `/metrics` has the families of node_exporter: `on`, `off`, or `auto`: not while a node_exporter runs.
    pub node_compat: At<NodeCompat>,
    pub textfile: Textfile,
    /// How often the rules are judged.
    pub every: At<Period>,
    pub rules: Vec<MetricRule>,
    pub leaks: Leaks,
    pub runaways: Runaways,
}

/// Metrics that others leave in files.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Textfile {
    /// Folder of `*.prom` files; by default that of Debian's packages, which need not be there.
    pub directory: Option<At<AbsPath>>,
}

/// One thing to notice in the metrics.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricRule {
    pub name: At<Word>,
    /// Which samples: a name, and what the labels must be.
    pub metric: At<Selector>,
    /// Each sample is divided by the one of this name with the same labels, or by the only one there is.
    #[serde(default)]
    pub per: Option<At<Selector>>,
    /// Not the value is judged but its change a second over this time.
    #[serde(default)]
    pub rate: Option<At<Period>>,
    /// One of `above` and `below` says where the fault begins.
    #[serde(default)]
    pub above: Option<At<Level>>,
    #[serde(default)]
    pub below: Option<At<Level>>,
    /// Where it ends; by default where it begins.
    #[serde(default)]
    pub clear: Option<At<Level>>,
    /// It also counts what will be there soon.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    #[serde(default = "at_once", rename = "for")]
    pub tolerance: At<Period>,
    /// So many times within a time, in place of `for`.
    #[serde(default)]
    pub times: Option<Within>,
    #[serde(default = "warning")]
    pub severity: At<Severity>,
    /// Values that every signal of the rule carries, for playbooks.
    #[serde(default)]
    pub fields: BTreeMap<Word, At<Value>>,
}

/// What will be within a time, if it goes on as it went over another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    pub within: At<Period>,
    pub over: At<Period>,
}

/// Services whose memory grows without end.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leaks {
    pub watch: super::Watch,
    /// A fault if memory will be used up within this time, if it goes on as it went `over` this time.
    pub within: At<Period>,
    pub over: At<Period>,
    /// Less growth than this is none.
    pub grown: At<Level>,
}

/// Processes of people that take a processor for themselves.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runaways {
    /// Share of one processor, on average over `over`; 0 means never.
    pub cpu_percent: At<u32>,
    pub over: At<Period>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            node_compat: At::default(),
            textfile: Textfile::default(),
            every: At::of(Period::secs(5)),
            rules: Vec::new(),
            leaks: Leaks::default(),
            runaways: Runaways::default(),
        }
    }
}

impl Default for Leaks {
    fn default() -> Self {
        Self {
            watch: super::Watch::All,
            within: At::of(Period::secs(3600)),
            over: At::of(Period::secs(600)),
            grown: At::of(Level(64.0 * 1024.0 * 1024.0)),
        }
    }
}

impl Default for Runaways {
    fn default() -> Self {
        Self { cpu_percent: At::of(60), over: At::of(Period::secs(60)) }
    }
}

fn at_once() -> At<Period> {
    At::of(Period::secs(0))
}

fn warning() -> At<Severity> {
    At::of(Severity::Warning)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NodeCompat {
    #[default]
    Auto,
    On,
    Off,
}

impl Leaf for NodeCompat {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(format!("{text:?} is not one of auto, on, off")),
        }
    }
    fn placeholder() -> Self {
        Self::Auto
    }
}

/// A number that a metric is compared with: `0.9`, `90%`, `250Mi`, `1.5G`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level(pub f64);

impl Leaf for Level {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no number such as 0.9, 90%, 250Mi or 1.5G");
        let end = text.find(|c: char| !(c.is_ascii_digit() || ".+-eE".contains(c))).unwrap_or(text.len());
        let factor = match &text[end..] {
            "" => 1.0,
            "%" => 0.01,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "Ki" => 1024.0,
            "Mi" => 1_048_576.0,
            "Gi" => 1_073_741_824.0,
            "Ti" => 1_099_511_627_776.0,
            _ => return Err(wrong()),
        };
        let number: f64 = text[..end].parse().map_err(|_| wrong())?;
        let level = number * factor;
        if level.is_finite() { Ok(Self(level)) } else { Err(wrong()) }
    }
    fn placeholder() -> Self {
        Self(0.0)
    }
}

/// Returns what is wrong beyond single words.
pub(super) fn findings(metrics: &Metrics, found: &mut Vec<Finding>) {
    super::check::every(&metrics.every, "every", found);
    super::check::unique(metrics.rules.iter().map(|rule| &rule.name), "rules", found);
    for over in [&metrics.leaks.over, &metrics.runaways.over] {
        over_time(over, found);
    }
    for rule in &metrics.rules {
        let name = &rule.name;
        let limit = match (&rule.above, &rule.below) {
            (Some(above), None) => above,
            (None, Some(below)) => below,
            _ => {
                found.push(name.finding("say either above or below"));
                continue;
            }
        };
        if let Some(clear) = &rule.clear {
            let beyond = if rule.above.is_some() { clear.0 > limit.0 } else { clear.0 < limit.0 };
            if beyond {
                found.push(clear.finding("clear must lie on the good side of the limit"));
            }
        }
        if let Some(rate) = &rule.rate {
            over_time(rate, found);
        }
        if let Some(forecast) = &rule.forecast {
            over_time(&forecast.over, found);
            if rule.rate.is_some() {
                found.push(forecast.within.finding("a forecast is made of values, not of a rate"));
            }
        }
        if let Some(times) = &rule.times {
            super::check::count(&times.count, &times.within, found);
        }
    }
}

fn over_time(over: &At<Period>, found: &mut Vec<Finding>) {
    if !(OVER_MIN..=OVER_MAX).contains(&over.0) {
        found.push(over.finding("must be 5s to 7d"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn levels() {
        for (text, level) in [
            ("0.9", Some(0.9)),
            ("90%", Some(0.9)),
            ("250Mi", Some(262_144_000.0)),
            ("1.5G", Some(1.5e9)),
            ("-1", Some(-1.0)),
            ("1e3", Some(1000.0)),
            ("", None),
            ("x", None),
            ("1 G", None),
            ("1KB", None),
            ("inf", None),
            ("1e999", None),
        ] {
            assert_eq!(Level::read(text).ok().map(|l| l.0), level, "{text}");
        }
    }

    #[test]
    fn rules_that_say_too_little_or_too_much() {
        for (rule, says) in [
            ("{name: a, metric: node_load1, above: 4}", None),
            ("{name: a, metric: node_load1}", Some("say either above or below")),
            ("{name: a, metric: node_load1, above: 1, below: 1}", Some("say either above or below")),
            ("{name: a, metric: node_load1, above: 4, clear: 5}", Some("good side")),
            ("{name: a, metric: node_load1, below: 4, clear: 3}", Some("good side")),
            ("{name: a, metric: node_load1, above: 4, rate: 1s}", Some("5s to 7d")),
            ("{name: a, metric: node_load1, above: 4, times: {count: 0, within: 1m}}", Some("must be 1 to")),
            ("{name: a, metric: 'node_load1{', above: 4}", Some("needs =")),
            (
                "{name: a, metric: b, above: 4, rate: 1m, forecast: {within: 1h, over: 1m}}",
                Some("made of values"),
            ),
        ] {
            let read = Config::parse(&format!("metrics:\n  rules:\n    - {rule}\n"));
            let told = read.map(|_| ()).map_err(|f| f[0].text.clone());
            assert_eq!(told.is_err(), says.is_some(), "{rule}: {told:?}");
            assert!(told.err().unwrap_or_default().contains(says.unwrap_or_default()), "{rule}");
        }
    }
}
