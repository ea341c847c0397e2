//! What the watcher counts about itself, for Prometheus. Labels come from the configuration and from fixed lists,
//! never from what a host or a log wrote.

mod logs;

use logs::LogMetrics;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Upper bounds of the buckets for durations, in seconds.
const DURATION_BUCKETS: [f64; 9] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];

/// All metrics of the watcher; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// The host in numbers.
    pub node: super::node::Node,
    pub reload_successful: IntGauge,
    pub reload_timestamp: Gauge,
    pub source_up: GaugeVec,
    pub signals: IntCounterVec,
    pub conditions: IntGauge,
    pub conditions_refused: IntCounter,
    pub spool_items: IntGauge,
    pub spool_bytes: IntGauge,
    pub spool_dropped: IntCounter,
    pub spool_commit: Histogram,
    pub exchanges: IntCounterVec,
    pub server_up: IntGauge,
    pub last_exchange: Gauge,
    pub certificate_written: Gauge,
    pub runner_up: IntGauge,
    pub captures_rejected: IntCounterVec,
    pub logs: LogMetrics,
    pub log_gaps: IntCounterVec,
    pub check_runs: IntCounterVec,
    pub checks: super::sources::CheckMetrics,
    pub looks_skipped: IntCounter,
    pub backups: super::sources::BackupGauges,
    pub norms: super::sources::NormGauges,
    memory: Gauge,
    cpu: prometheus::Counter,
}

impl Metrics {
    /// Makes the metrics, all at zero.
    pub fn new() -> Self {
        Self::build().expect("the names are valid and no two are alike")
    }

    fn build() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let made = Self {
            reload_successful: gauge(
                &registry,
                "config_last_reload_successful",
                "Whether the last reading of the configuration succeeded.",
            )?,
            reload_timestamp: float(
                &registry,
                "sopwith_agent_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read.",
            )?,
            source_up: labelled_gauge(
                &registry,
                "source_up",
                "Whether a source sees what it is to watch.",
                "source",
            )?,
            signals: labelled(&registry, "signals_total", "Signals written to the spool.", &["condition"])?,
            conditions: gauge(&registry, "conditions", "Conditions that are raised at present.")?,
            conditions_refused: counter(
                &registry,
                "conditions_refused_total",
                "Conditions not kept because there were too many at once.",
            )?,
            spool_items: gauge(&registry, "spool_items", "Items that wait for the server.")?,
            spool_bytes: gauge(&registry, "spool_bytes", "Size of the items that wait for the server.")?,
            spool_dropped: counter(
                &registry,
                "spool_dropped_total",
                "Items dropped, and counted in gaps, because the spool was full.",
            )?,
            spool_commit: histogram(
                &registry,
                "spool_commit_duration_seconds",
                "How long a transaction of the spool took.",
            )?,
            exchanges: labelled(
                &registry,
                "exchanges_total",
                "Exchanges with the server.",
                &["kind", "result"],
            )?,
            server_up: gauge(&registry, "server_up", "Whether the last exchange with the server succeeded.")?,
            certificate_written: float(
                &registry,
                "sopwith_agent_certificate_written_timestamp_seconds",
                "When this host's certificate was written; it is renewed after 30 days and ends after 90.",
            )?,
            last_exchange: float(
                &registry,
                "sopwith_agent_last_exchange_timestamp_seconds",
                "When the server last answered.",
            )?,
            runner_up: gauge(&registry, "runner_up", "Whether the runner answers on its socket.")?,
            captures_rejected: labelled(
                &registry,
                "captures_rejected_total",
                "Captures of log rules that were not of their type and were left out.",
                &["rule"],
            )?,
            logs: LogMetrics::new(&registry)?,
            log_gaps: labelled(
                &registry,
                "log_gaps_total",
                "Stretches of log files that were not read whole.",
                &["log", "reason"],
            )?,
            check_runs: labelled(
                &registry,
                "check_runs_total",
                "Runs of the administrator's checks.",
                &["check", "result"],
            )?,
            checks: super::sources::CheckMetrics::register(&registry)?,
            looks_skipped: counter(
                &registry,
                "evidence_skipped_total",
                "Times that evidence was not gathered because too much was under way.",
            )?,
            backups: super::sources::BackupGauges::register(&registry)?,
            norms: super::sources::NormGauges::register(&registry)?,
            memory: float(&registry, "process_resident_memory_bytes", "Resident memory of the watcher.")?,
            cpu: {
                let cpu = prometheus::Counter::new(
                    "process_cpu_seconds_total",
                    "Processor time, user and system, of the watcher.",
                )?;
                registry.register(Box::new(cpu.clone()))?;
                cpu
            },
            node: super::node::Node::default(),
            registry,
        };
        let info =
            labelled_gauge(&made.registry, "build_info", "Version of the agent; always 1.", "version")?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        for condition in ["raised", "cleared"] {
            made.signals.with_label_values(&[condition]);
        }
        for kind in ["prompt", "waiting"] {
            for result in ["ok", "error"] {
                made.exchanges.with_label_values(&[kind, result]);
            }
        }
        Ok(made)
    }

    /// Writes the whole page in the text form 0.0.4: the agent's own families, then the host's.
    pub async fn page(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.clear();
        self.own(&mut bytes);
        self.node.page(bytes).await
    }

    /// Writes the agent's own families.
    fn own(&self, bytes: &mut Vec<u8>) {
        self.measure_process();
        // Encoding into memory fails only for a metric without a name.
        if TextEncoder::new().encode(&self.registry.gather(), bytes).is_err() {
            bytes.clear();
        }
    }

    fn measure_process(&self) {
        let Ok(me) = procfs::process::Process::myself().and_then(|p| p.stat()) else { return };
        use procfs::WithCurrentSystemInfo;
        self.memory.set(me.rss_bytes().get() as f64);
        let seconds = (me.utime + me.stime) as f64 / procfs::ticks_per_second() as f64;
        self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn own(name: &str) -> String {
    format!("sopwith_agent_{name}")
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let made = IntGauge::new(own(name), help)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn float(registry: &Registry, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    let made = Gauge::new(name, help)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let made = IntCounter::new(own(name), help)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(own(name), help).buckets(DURATION_BUCKETS.to_vec());
    let made = Histogram::with_opts(options)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn labelled(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let made = IntCounterVec::new(Opts::new(own(name), help), labels)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn labelled_gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<GaugeVec, prometheus::Error> {
    let made = GaugeVec::new(Opts::new(own(name), help), &[label])?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn promtool_finds_nothing_to_complain_of() {
        let metrics = Metrics::new();
        metrics.source_up.with_label_values(&["units"]).set(1.0);
        metrics.captures_rejected.with_label_values(&["auth.ssh"]).inc();
        metrics.logs.lines.with_label_values(&["auth"]).inc();
        metrics.log_gaps.with_label_values(&["auth", "long-line"]).inc();
        metrics.check_runs.with_label_values(&["nginx", "ok"]).inc();
        let mut bytes = Vec::new();
        metrics.own(&mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.contains("sopwith_agent_build_info{version="), "{text}");
        let mut tool = Command::new("promtool");
        tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut tool) = tool.spawn() else {
            eprintln!(
                "SKIPPED: promtool is not installed (Debian package prometheus); names were not checked"
            );
            return;
        };
        tool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        let done = tool.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}
