//! What is counted of logs and their rules.

use prometheus::{CounterVec, IntCounterVec, IntGaugeVec, Opts, Registry};

#[derive(Clone, Debug)]
pub struct LogMetrics {
    pub lines: IntCounterVec,
    pub not_text: IntCounterVec,
    pub files: IntGaugeVec,
    pub unreadable: IntGaugeVec,
    pub missing: IntGaugeVec,
    pub paused: IntGaugeVec,
    pub rule_cpu: CounterVec,
    pub rule_skipped: IntCounterVec,
}

impl LogMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help, label| super::labelled(registry, name, help, &[label]);
        let gauge = |name: &str, help: &str| {
            let made = IntGaugeVec::new(Opts::new(super::own(name), help), &["log"])?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let rule_cpu = Opts::new(
            super::own("log_rule_cpu_seconds_total"),
            "Processor time that the patterns of a log rule took.",
        );
        let rule_cpu = CounterVec::new(rule_cpu, &["rule"])?;
        registry.register(Box::new(rule_cpu.clone()))?;
        Ok(Self {
            lines: counter("log_lines_total", "Lines read from logs.", "log")?,
            not_text: counter(
                "log_lines_not_text_total",
                "Lines of logs that were no text in the encoding they should be in; they were read all the same.",
                "log",
            )?,
            files: gauge("log_files", "Files of a log that are read.")?,
            unreadable: gauge("log_unreadable", "Files and folders of a log that cannot be read.")?,
            missing: gauge("log_missing", "Paths of a log at which no file is.")?,
            paused: gauge("log_rules_paused", "Rules of a log that used up their processor time and pause.")?,
            rule_cpu,
            rule_skipped: counter(
                "log_rule_skipped_lines_total",
                "Lines that a log rule was not asked about because it paused.",
                "rule",
            )?,
        })
    }
}
