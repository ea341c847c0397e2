//! The server's own metrics, and whether it is alive and ready. Counts only: no names of incidents or people.

use crate::app::App;
use crate::problem::Fault;
use crate::routes::{Door, Need, Route};
use crate::turnstile::Full;
use axum::Json;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use prometheus::{
    Counter, Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use sopwith_domain::people::Role;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

/// Counters that handlers and doors keep. A clone counts the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    pub exchanges: IntCounter,
    pub rewinds: IntCounter,
    items: IntCounter,
    records: IntCounter,
    logins: IntCounterVec,
    requests: IntCounterVec,
    connections: IntGaugeVec,
    turned_away: IntCounterVec,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// Returns the registry's error, which only a mistake in this file can cause.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let labelled = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let connections = IntGaugeVec::new(
            Opts::new("sopwith_connections", "Connections that are open, by door."),
            &["door"],
        )?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self {
            connections,
            turned_away: labelled(
                "sopwith_connections_refused_total",
                "Connections turned away because a share was used up: the door's, an address', a host's.",
                &["door", "share"],
            )?,
            exchanges: counter("sopwith_exchanges_total", "Exchanges with agents that were answered.")?,
            rewinds: counter(
                "sopwith_host_rewinds_total",
                "Exchanges in which a host's memory was found set back.",
            )?,
            items: counter(
                "sopwith_items_received_total",
                "Spool items that agents sent, repeats included.",
            )?,
            records: counter(
                "sopwith_run_records_received_total",
                "Run records that agents sent, repeats included.",
            )?,
            logins: labelled("sopwith_logins_total", "Log-ins with a password by result.", &["result"])?,
            requests: labelled(
                "sopwith_http_requests_total",
                "Requests answered, by door and status.",
                &["door", "status"],
            )?,
            registry,
        })
    }

    pub fn login(&self, result: &str) {
        self.logins.with_label_values(&[result]).inc();
    }

    pub fn taken(&self, items: usize, records: usize) {
        self.items.inc_by(items as u64);
        self.records.inc_by(records as u64);
    }

    pub fn request(&self, door: Door, status: u16) {
        self.requests.with_label_values(&[door.name(), &status.to_string()]).inc();
    }

    pub fn inside(&self, door: Door, connections: usize) {
        let connections = i64::try_from(connections).unwrap_or(i64::MAX);
        self.connections.with_label_values(&[door.name()]).set(connections);
    }

    /// Returns how many connections are open at a door.
    pub fn open(&self, door: Door) -> i64 {
        self.connections.with_label_values(&[door.name()]).get()
    }

    /// Returns how many connections were turned away at a door because this share was used up.
    pub fn refused(&self, door: Door, full: Full) -> u64 {
        self.turned_away.with_label_values(&[door.name(), full.name()]).get()
    }

    pub fn turned_away(&self, door: Door, full: Full) {
        self.turned_away.with_label_values(&[door.name(), full.name()]).inc();
    }
}

/// Returns the rows of the route table for monitoring.
pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::GET, "/metrics", Need::Role(Role::Viewer), metrics)
            .about("The server's own metrics, for Prometheus"),
        Route::api(Method::GET, "/healthz", Need::Nobody, healthz).about("Says that the process lives"),
        Route::api(Method::GET, "/readyz", Need::Nobody, readyz)
            .about("Says whether the server can take over what hosts send"),
    ]
}

async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(serde::Serialize)]
struct Ready {
    ready: bool,
    /// What does not stop the server but somebody should know; its log says more.
    degraded: Vec<String>,
}

async fn readyz(State(app): State<App>) -> Result<Json<Ready>, Fault> {
    // An empty change goes through the ledger's queue and back: it is alive and keeps up.
    app.ledger.submit(Vec::new()).await?;
    let mut degraded = Vec::new();
    let refused = app.documents_refused().len();
    if refused > 0 {
        degraded.push(format!("{refused} signed documents were refused"));
    }
    if app.ledger.gauges().clock_leapt_ms.load(Relaxed).abs() > 5 * 60_000 {
        degraded.push("the wall clock leapt; decisions go by the boot clock".into());
    }
    let lost = app.presence.histories_lost();
    if lost > 0 {
        degraded.push(format!(
            "{lost} hosts know of journal entries that are not here: was an old backup restored?"
        ));
    }
    Ok(Json(Ready { ready: !app.shutdown.is_cancelled(), degraded }))
}

async fn metrics(State(app): State<App>) -> Result<Response, Fault> {
    let mut families = app.metrics.registry.gather();
    let now = scrape(&app).map_err(|error| Fault::internal(&error))?;
    families.extend(now.gather());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).map_err(|error| Fault::internal(&error))?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}

/// Gathers what is counted in the state at this moment.
fn scrape(app: &App) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, value: i64| {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(value);
        registry.register(Box::new(gauge))
    };
    let by = |name: &str, help: &str, label: &str, counts: BTreeMap<&str, i64>| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &[label])?;
        for (value, count) in counts {
            gauge.with_label_values(&[value]).set(count);
        }
        registry.register(Box::new(gauge))
    };
    let counter = |name: &str, help: &str, value: u64| {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        registry.register(Box::new(counter))
    };
    let (hosts, phases, runs, stopped) = {
        let state = app.ledger.state();
        let (mut hosts, mut phases, mut runs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for host in state.hosts.values() {
            let shown = match (host.revoked, host.silent_since) {
                (true, _) => "revoked",
                (_, Some(_)) => "silent",
                _ => "connected",
            };
            *hosts.entry(shown).or_insert(0) += 1;
        }
        for incident in state.incidents.values() {
            *phases.entry(incident.phase.name()).or_insert(0) += 1;
        }
        for run in state.runs.values() {
            *runs.entry(crate::views::run_state(run)).or_insert(0) += 1;
        }
        (hosts, phases, runs, state.stop.is_some())
    };
    by("sopwith_hosts", "Managed hosts by state.", "state", hosts)?;
    by("sopwith_incidents", "Incidents by phase, closed ones included.", "phase", phases)?;
    by("sopwith_runs", "Runs by where they stand.", "state", runs)?;
    gauge("sopwith_automation_stopped", "1 while all automation is stopped.", i64::from(stopped))?;
    ledger_metrics(app, &gauge, &counter)?;
    let seconds = Counter::new(
        "sopwith_ledger_commit_seconds_total",
        "Time spent in committed batches, decisions included.",
    )?;
    seconds.inc_by(app.ledger.gauges().commit_us.load(Relaxed) as f64 / 1e6);
    registry.register(Box::new(seconds))?;
    by(
        "sopwith_build_info",
        "Version of this server; always 1.",
        "version",
        BTreeMap::from([(env!("CARGO_PKG_VERSION"), 1)]),
    )?;
    Ok(registry)
}

fn ledger_metrics(
    app: &App,
    gauge: &dyn Fn(&str, &str, i64) -> Result<(), prometheus::Error>,
    counter: &dyn Fn(&str, &str, u64) -> Result<(), prometheus::Error>,
) -> Result<(), prometheus::Error> {
    let gauges = app.ledger.gauges();
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    gauge("sopwith_journal_head_seq", "Number of the journal's last entry.", signed(app.ledger.head().seq))?;
    gauge(
        "sopwith_ledger_queue_length",
        "Asks that wait for the ledger.",
        signed(app.ledger.queued() as u64),
    )?;
    counter("sopwith_ledger_commits_total", "Transactions committed.", gauges.commits.load(Relaxed))?;
    counter("sopwith_ledger_refusals_total", "Commands that were refused.", gauges.refusals.load(Relaxed))?;
    counter("sopwith_clock_leaps_total", "Leaps of the wall clock.", gauges.clock_leaps.load(Relaxed))?;
    let apart_s = gauges.clock_leapt_ms.load(Relaxed) / 1000;
    gauge("sopwith_clock_difference_seconds", "Wall clock less the clock of decisions.", apart_s)?;
    let refused = signed(app.documents_refused().len() as u64);
    gauge(
        "sopwith_documents_refused",
        "Signed documents in the server's folders that were refused.",
        refused,
    )?;
    let lost = signed(app.presence.histories_lost() as u64);
    gauge("sopwith_histories_lost", "Hosts that know of journal entries that are not here.", lost)
}
