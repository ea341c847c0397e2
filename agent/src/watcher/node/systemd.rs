//! Units as systemd tells them over the bus: asked while a page is made, and never waited for longer than a moment.
//! What would take a question for each unit is asked seldom and kept.

use super::out::{Kind, Number, Out};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use zbus::{Connection, OwnedVariant};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// How long a page waits.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How often the questions for each socket and timer are asked, and in which time all must be answered.
const DETAILS_EVERY: Duration = Duration::from_secs(30);
const DETAILS_MAX: Duration = Duration::from_secs(2);
/// Most units that are told one by one.
const UNITS_MAX: usize = 2000;
const STATES: [&str; 5] = ["activating", "active", "deactivating", "failed", "inactive"];
/// Kinds that are counted and not told one by one, as node_exporter has it.
const COUNTED_ONLY: [&str; 6] = [".automount", ".device", ".mount", ".scope", ".slice", ".target"];

#[derive(Debug)]
struct Unit {
    name: String,
    state: String,
    path: String,
    /// What is not is counted only.
    loaded: bool,
}

/// What is known of systemd.
#[derive(Debug, Default)]
pub struct Systemd {
    connection: Option<Connection>,
    units: Vec<Unit>,
    /// Of services, by name.
    kinds: BTreeMap<String, String>,
    /// Of sockets: accepted, refused, present connections.
    sockets: BTreeMap<String, [u64; 3]>,
    /// Of timers: when each elapsed last, in microseconds since 1970.
    timers: BTreeMap<String, u64>,
    running: bool,
    version: String,
    detailed: Option<Instant>,
    error: Option<String>,
}

impl Systemd {
    /// Asks for the present state. Where there is no systemd nothing is known, which is no error.
    pub async fn prepare(&mut self) {
        if !sd_notify::booted().unwrap_or(false) {
            return;
        }
        self.error = match timeout(ANSWER_MAX, self.list()).await {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(_) => Some("systemd does not answer in time".into()),
        };
        if self.error.is_some() {
            // The bus may have been started again.
            self.connection = None;
        } else if self.detailed.is_none_or(|at| at.elapsed() > DETAILS_EVERY) {
            self.detailed = Some(Instant::now());
            // What was not answered is asked the next time.
            let _ = timeout(DETAILS_MAX, self.details()).await;
        }
    }

    async fn list(&mut self) -> zbus::Result<()> {
        let connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => self.connection.insert(Connection::system().await?).clone(),
        };
        let call = connection.call_method(Some(SERVICE), MANAGER, Some(MANAGER_INTERFACE), "ListUnits", &());
        let reply = call.await?;
        let body = reply.body();
        type Row<'a> = (
            &'a str,
            &'a str,
            &'a str,
            &'a str,
            &'a str,
            &'a str,
            zbus::ObjectPath<'a>,
            u32,
            &'a str,
            zbus::ObjectPath<'a>,
        );
        let rows: Vec<Row<'_>> = body.deserialize()?;
        let unit = |(name, _, load, state, _, _, path, ..): Row<'_>| {
            let (name, state, path) = (name.to_owned(), state.to_owned(), path.as_str().to_owned());
            Unit { name, state, path, loaded: load == "loaded" }
        };
        self.units = rows.into_iter().map(unit).take(UNITS_MAX).collect();
        self.units.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    async fn details(&mut self) -> zbus::Result<()> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let get = async |path: &str, interface: &str, name: &str| {
            let about = (interface, name);
            let call = connection.call_method(Some(SERVICE), path, Some(PROPERTIES), "Get", &about);
            call.await?.body().deserialize::<OwnedVariant>()
        };
        let state = get(MANAGER, MANAGER_INTERFACE, "SystemState").await?;
        self.running = <&str>::try_from(&state).is_ok_and(|state| state == "running");
        let version = get(MANAGER, MANAGER_INTERFACE, "Version").await?;
        <&str>::try_from(&version).unwrap_or_default().clone_into(&mut self.version);
        let names: BTreeSet<&str> = self.units.iter().map(|unit| unit.name.as_str()).collect();
        self.kinds.retain(|name, _| names.contains(name.as_str()));
        self.sockets.retain(|name, _| names.contains(name.as_str()));
        self.timers.retain(|name, _| names.contains(name.as_str()));
        for unit in self.units.iter().filter(|unit| unit.loaded) {
            let of = async |interface: &str, name: &str| get(&unit.path, interface, name).await;
            let whole = |value: &OwnedVariant| {
                u64::try_from(value).or_else(|_| u32::try_from(value).map(u64::from)).unwrap_or(0)
            };
            if unit.name.ends_with(".service") && !self.kinds.contains_key(&unit.name) {
                let kind = of("org.freedesktop.systemd1.Service", "Type").await?;
                let kind = <&str>::try_from(&kind).unwrap_or_default().to_owned();
                self.kinds.insert(unit.name.clone(), kind);
            } else if unit.name.ends_with(".socket") {
                let mut counts = [0; 3];
                for (count, name) in counts.iter_mut().zip(["NAccepted", "NRefused", "NConnections"]) {
                    *count = whole(&of("org.freedesktop.systemd1.Socket", name).await?);
                }
                self.sockets.insert(unit.name.clone(), counts);
            } else if unit.name.ends_with(".timer") {
                let at_us = whole(&of("org.freedesktop.systemd1.Timer", "LastTriggerUSec").await?);
                self.timers.insert(unit.name.clone(), at_us);
            }
        }
        Ok(())
    }

    /// Writes what is known.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn write(&self, out: &mut dyn Out) -> io::Result<()> {
        if let Some(error) = &self.error {
            return Err(io::Error::other(error.clone()));
        }
        if self.units.is_empty() {
            return Ok(());
        }
        out.family("node_systemd_unit_state", Kind::Gauge, "Whether a unit is in a state.");
        let one_by_one = self
            .units
            .iter()
            .filter(|unit| unit.loaded && !COUNTED_ONLY.iter().any(|end| unit.name.ends_with(end)));
        for unit in one_by_one {
            let kind = self.kinds.get(&unit.name).map_or("", String::as_str);
            for state in STATES {
                let labels = [("name", unit.name.as_str()), ("state", state), ("type", kind)];
                out.sample(&labels, (unit.state == state).into());
            }
        }
        out.family("node_systemd_units", Kind::Gauge, "Units, by state.");
        for state in STATES {
            let count = self.units.iter().filter(|unit| unit.state == state).count() as u64;
            out.sample(&[("state", state)], count.into());
        }
        out.one(
            "node_systemd_system_running",
            Kind::Gauge,
            "Whether all is started and well.",
            self.running.into(),
        );
        let number = |c: &char| c.is_ascii_digit() || *c == '.';
        let version: String = self.version.chars().take_while(number).collect();
        if let Ok(version) = version.parse::<f64>() {
            out.family("node_systemd_version", Kind::Gauge, "Version of systemd.");
            out.sample(&[("version", &self.version)], version.into());
        }
        for (at, name, kind, help) in [
            (
                0,
                "node_systemd_socket_accepted_connections_total",
                Kind::Counter,
                "Connections that were accepted.",
            ),
            (
                1,
                "node_systemd_socket_refused_connections_total",
                Kind::Gauge,
                "Connections that were refused.",
            ),
            (2, "node_systemd_socket_current_connections", Kind::Gauge, "Connections that there are."),
        ] {
            out.family(name, kind, help);
            for (socket, counts) in &self.sockets {
                out.sample(&[("name", socket)], counts[at].into());
            }
        }
        out.family(
            "node_systemd_timer_last_trigger_seconds",
            Kind::Gauge,
            "When a timer elapsed last, since 1970.",
        );
        for (timer, at_us) in &self.timers {
            out.sample(&[("name", timer)], Number::Real(*at_us as f64 / 1e6));
        }
        Ok(())
    }
}
