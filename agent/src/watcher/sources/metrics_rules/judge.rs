//! What one sample means to a rule: a fault or none, with room between the two, and about whom. Pure but for what is
//! kept of the values before.

use super::series::Series;
use crate::config::MetricRule;
use crate::watcher::node::out::Sample;
use crate::watcher::report::Fault;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, UnitName, Value, Word};

/// A forecast that put an alarm up takes it back only when the time left is so many times as long.
const CLEAR_FACTOR: f64 = 2.0;
/// Longest name of a subject that labels make.
const NAME_BYTES_MAX: usize = 128;

/// What is kept of one sample of a rule.
#[derive(Debug)]
pub(super) struct Held {
    /// Values over the rule's time, where it looks at one.
    series: Option<Series>,
    pub holds: bool,
    /// When it was last seen to hold, and when that was last said, in milliseconds of the boot clock.
    pub held_ms: Option<u64>,
    pub said_ms: Option<u64>,
    pub seen: u64,
}

/// A verdict: what was compared, and when it will be at the limit if that is what counts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Verdict {
    pub holds: bool,
    pub value: f64,
    pub reaches_in_s: Option<f64>,
}

impl Held {
    pub(super) fn of(rule: &MetricRule) -> Self {
        let over = rule.rate.as_ref().or(rule.forecast.as_ref().map(|forecast| &forecast.over));
        let series = over.map(|over| Series::over(over.0));
        Self { series, holds: false, held_ms: None, said_ms: None, seen: 0 }
    }

    /// Judges a value; nothing as long as too little is known.
    pub(super) fn judge(&mut self, rule: &MetricRule, value: f64, now_ms: u64) -> Option<Verdict> {
        if let Some(series) = &mut self.series {
            series.note(now_ms, value);
        }
        let value = match (&rule.rate, &self.series) {
            (Some(_), Some(series)) => series.rate(is_counter(&rule.metric.name))?,
            _ => value,
        };
        if value.is_nan() {
            return None;
        }
        // From here on more is worse.
        let (limit, sign) = match (&rule.above, &rule.below) {
            (Some(above), _) => (above.0, 1.0),
            (None, Some(below)) => (below.0, -1.0),
            (None, None) => return None,
        };
        let clear = rule.clear.as_ref().map_or(limit, |clear| clear.0);
        let beyond = (value - limit) * sign > 0.0 || self.holds && (value - clear) * sign > 0.0;
        let forecast = rule.forecast.as_ref().zip(self.series.as_ref()).filter(|_| !beyond);
        let reaches_in_s = forecast.and_then(|(forecast, series)| {
            let within_s = forecast.within.0.as_secs_f64() * if self.holds { CLEAR_FACTOR } else { 1.0 };
            series.reaches_in_s(limit).filter(|in_s| *in_s <= within_s)
        });
        self.holds = beyond || reaches_in_s.is_some();
        if self.holds {
            self.held_ms = Some(now_ms);
        }
        Some(Verdict { holds: self.holds, value, reaches_in_s })
    }
}

/// Counters are told from gauges by the ends of their names.
fn is_counter(name: &str) -> bool {
    ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
        || ["node_netstat_", "node_vmstat_"].iter().any(|start| name.starts_with(start))
}

/// Returns the id of a rule.
pub(super) fn rule_id(rule: &MetricRule) -> String {
    format!("metrics.{}", rule.name.as_str())
}

/// Returns whom a sample is about: a mount or a unit where its labels name one, else the rule, and what tells its
/// samples apart.
pub(super) fn subject(rule: &MetricRule, sample: &Sample) -> Subject {
    let label =
        |name: &str| sample.labels.iter().find(|(label, _)| label == name).map(|(_, text)| text.as_str());
    if let Some(Ok(mount)) = label("mountpoint").map(AbsPath::new) {
        return Subject::Mount(mount);
    }
    if let Some(Ok(unit)) = label("unit").or_else(|| label("name")).map(UnitName::new) {
        return Subject::Unit(unit);
    }
    let mut name = rule.name.as_str().to_owned();
    for (label, text) in &sample.labels {
        if !rule.metric.fixes(label) && !text.is_empty() {
            name.push('/');
            name.extend(
                text.chars().map(|c| if c.is_ascii_alphanumeric() || "_.:@+-".contains(c) { c } else { '_' }),
            );
        }
    }
    name.truncate(NAME_BYTES_MAX);
    Subject::Check(Word::new(name).unwrap_or_else(|_| (*rule.name).clone()))
}

/// Makes the fault.
pub(super) fn fault(rule: &MetricRule, sample: &Sample, verdict: &Verdict) -> Fault {
    let (kind, word, limit) = match (verdict.reaches_in_s, &rule.above, &rule.below) {
        (Some(_), above, below) => ("metric.forecast", "", above.as_ref().or(below.as_ref())),
        (None, Some(above), _) => ("metric.above", "above", Some(above)),
        (None, None, below) => ("metric.below", "below", below.as_ref()),
    };
    let limit = limit.map_or(0.0, |limit| limit.0);
    let what = match (&rule.rate, &rule.per) {
        (Some(_), _) => format!("{} a second", rule.metric.as_str()),
        (None, Some(per)) => format!("{} / {}", rule.metric.as_str(), per.as_str()),
        (None, None) => rule.metric.as_str().to_owned(),
    };
    let text = match verdict.reaches_in_s {
        Some(in_s) => {
            format!("{what} is {} and will be {} in {in_s:.0} s", plain(verdict.value), plain(limit))
        }
        None => format!("{what} is {}, {word} {}", plain(verdict.value), plain(limit)),
    };
    let mut fault = Fault::new(&rule_id(rule), kind, subject(rule, sample), *rule.severity, text);
    // What the operator says first, then what was seen: of one name the latter counts.
    for (name, value) in &rule.fields {
        fault.field(name.as_str(), (**value).clone());
    }
    for (name, text) in &sample.labels {
        labelled(&mut fault, name, text);
    }
    fault.word("metric", &rule.metric.name);
    fault.word("metric_rule", rule.name.as_str());
    fault.field("value", whole(verdict.value));
    fault.field("value_thousandths", whole(verdict.value * 1000.0));
    fault.field("limit", whole(limit));
    fault.field("limit_thousandths", whole(limit * 1000.0));
    if let Some(in_s) = verdict.reaches_in_s {
        fault.field("reaches_in_s", whole(in_s));
    }
    fault
}

/// Adds a label as what it is; what is nothing that a plan could use is left out.
fn labelled(fault: &mut Fault, name: &str, text: &str) {
    let value = match name {
        "mountpoint" | "file" => AbsPath::new(text).ok().map(Value::Path),
        "unit" | "name" if UnitName::new(text).is_ok() => UnitName::new(text).ok().map(Value::Unit),
        _ if text.starts_with('/') => AbsPath::new(text).ok().map(Value::Path),
        _ => Word::new(text).ok().map(Value::Word),
    };
    let name = if matches!(value, Some(Value::Unit(_))) { "unit" } else { name };
    // A label's name may be longer than a field's.
    if let (Some(value), Ok(name)) = (value, Word::new(name)) {
        fault.field(name.as_str(), value);
    }
}

fn whole(value: f64) -> Value {
    // Beyond the ends it is the end.
    Value::Integer(value.round() as i64)
}

/// Writes a number as people read it.
fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests;
