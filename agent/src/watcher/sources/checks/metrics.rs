//! What checks say in numbers, for Prometheus. The names of a plugin's numbers come from a plugin that the
//! administrator chose, bounded in length and count; everything else from the configuration and fixed lists.

use super::seen::Seen;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};
use sopwith_domain::inspection::Verdict;
use sopwith_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A number's labels beside the name of its check, and which limits it has.
type Labels = (String, &'static str, Vec<&'static str>);

/// The metrics of all checks; cheap to clone.
#[derive(Clone, Debug)]
pub struct CheckMetrics {
    state: GaugeVec,
    last_run: GaugeVec,
    duration: GaugeVec,
    value: GaugeVec,
    limit: GaugeVec,
    missed: IntCounterVec,
    /// The numbers of each check's last run, so that those that are gone are taken away.
    shown: Arc<Mutex<BTreeMap<String, Vec<Labels>>>>,
}

/// The limits that a number can have.
const LIMITS: [&str; 6] = ["warning_below", "warning", "critical_below", "critical", "min", "max"];

impl CheckMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A name is not valid or there twice, which is a mistake in this file.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let made = GaugeVec::new(Opts::new(format!("sopwith_agent_check_{name}"), help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let missed = IntCounterVec::new(
            Opts::new("sopwith_agent_check_missed_total", "Runs of checks that were due and did not happen."),
            &["check"],
        )?;
        registry.register(Box::new(missed.clone()))?;
        Ok(Self {
            state: gauge(
                "state",
                "How a check stands: 0 well, 1 warning, 2 critical, 3 not known.",
                &["check"],
            )?,
            last_run: gauge("last_run_timestamp_seconds", "When a check ran last.", &["check"])?,
            duration: gauge("last_run_duration_seconds", "How long a check's last run took.", &["check"])?,
            value: gauge(
                "value",
                "A number of a check's last run, in base units.",
                &["check", "label", "unit"],
            )?,
            limit: gauge(
                "value_limit",
                "A limit that a check states for one of its numbers, in base units.",
                &["check", "label", "unit", "limit"],
            )?,
            missed,
            shown: Arc::default(),
        })
    }

    /// Forgets checks that are no longer configured.
    pub fn begin(&self) {
        for gauge in [&self.state, &self.last_run, &self.duration, &self.value, &self.limit] {
            gauge.reset();
        }
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn missed(&self, check: &str, count: u64) {
        self.missed.with_label_values(&[check]).inc_by(count);
    }

    /// Notes how a check stands although it did not run.
    pub fn stands(&self, check: &str, verdict: Verdict, at: Option<Timestamp>) {
        self.state.with_label_values(&[check]).set(f64::from(verdict.exit_code()));
        if let Some(at) = at {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit for 280,000 years")]
            self.last_run.with_label_values(&[check]).set(at.0 as f64 / 1000.0);
        }
    }

    /// Notes a run.
    pub fn ran(&self, check: &str, seen: &Seen, at: Timestamp, took: Duration) {
        self.stands(check, seen.verdict, Some(at));
        self.duration.with_label_values(&[check]).set(took.as_secs_f64());
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.remove(check).unwrap_or_default();
        let mut now = Vec::new();
        for one in &seen.perfdata {
            let Some((value, unit)) = one.base() else { continue };
            self.value.with_label_values(&[check, &one.label, unit]).set(value);
            let range =
                |range: Option<super::perfdata::Range>| range.map_or((None, None), |r| (r.from, r.to));
            let (warning, critical) = (range(one.warning), range(one.critical));
            let mut set = Vec::new();
            let limits = [warning.0, warning.1, critical.0, critical.1, one.min, one.max];
            for (name, limit) in LIMITS.iter().zip(limits) {
                // That something is at least nothing is no limit.
                if let Some(limit) = limit.filter(|limit| *limit != 0.0 || !name.ends_with("below")) {
                    self.limit.with_label_values(&[check, &one.label, unit, name]).set(one.base_of(limit));
                    set.push(*name);
                }
            }
            now.push((one.label.clone(), unit, set));
        }
        for (label, unit, set) in &before {
            let still = now.iter().find(|(l, u, _)| l == label && u == unit);
            // What was shown before is there; if not, all the better.
            if still.is_none() {
                let _ = self.value.remove_label_values(&[check, label, unit]);
            }
            for limit in set.iter().filter(|limit| !still.is_some_and(|(_, _, set)| set.contains(limit))) {
                let _ = self.limit.remove_label_values(&[check, label, unit, limit]);
            }
        }
        shown.insert(check.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::sources::checks::perfdata::parse_all;
    use prometheus::{Encoder, TextEncoder};

    fn text(registry: &Registry) -> Vec<String> {
        let mut bytes = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut bytes).expect("encoded");
        let text = String::from_utf8(bytes).expect("text");
        let lines = text.lines().filter(|line| line.contains("check_value"));
        lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn numbers_come_and_go_with_what_the_plugin_says() {
        let registry = Registry::new();
        let metrics = CheckMetrics::register(&registry).expect("registered");
        let run = |numbers: &str| {
            let mut seen = Seen::well("x");
            seen.perfdata = parse_all(numbers, 64);
            metrics.ran("c", &seen, Timestamp(1_000), Duration::from_millis(5));
            text(&registry)
        };
        assert_eq!(
            run("'a b'=20ms;100;@200:300;0 m=1KB;;;;9"),
            [
                r#"sopwith_agent_check_value{check="c",label="a b",unit="seconds"} 0.02"#,
                r#"sopwith_agent_check_value{check="c",label="m",unit="bytes"} 1024"#,
                r#"sopwith_agent_check_value_limit{check="c",label="a b",limit="critical",unit="seconds"} 0.3"#,
                r#"sopwith_agent_check_value_limit{check="c",label="a b",limit="critical_below",unit="seconds"} 0.2"#,
                r#"sopwith_agent_check_value_limit{check="c",label="a b",limit="min",unit="seconds"} 0"#,
                r#"sopwith_agent_check_value_limit{check="c",label="a b",limit="warning",unit="seconds"} 0.1"#,
                r#"sopwith_agent_check_value_limit{check="c",label="m",limit="max",unit="bytes"} 9216"#,
            ]
        );
        assert_eq!(run("m=2B x=U"), [r#"sopwith_agent_check_value{check="c",label="m",unit="bytes"} 2"#]);
        metrics.begin();
        assert!(text(&registry).is_empty());
    }
}
