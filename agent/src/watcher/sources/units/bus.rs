//! systemd over the system bus: what units there are, and every change of one as it happens.

use super::judge::UnitView;
use crate::unit_path::{self, UNITS};
use crate::watcher::unit_facts::Taken;
use futures_util::StreamExt;
use sopwith_domain::value::UnitName;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::timeout;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Most changes that wait while one is looked at. More than these are lost; the next look at all units finds out.
const CHANGES_QUEUED_MAX: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");

type Values = HashMap<String, OwnedVariant>;

/// Some properties of a unit, as they changed.
#[derive(Debug)]
pub(super) struct Change {
    pub unit: UnitName,
    /// Whether the state as a whole changed, after which everything is known.
    pub complete: bool,
    values: Values,
}

impl Change {
    pub(super) fn apply(&self, view: &mut UnitView) {
        apply(&self.values, view);
    }
}

/// What the list of units says of one.
#[derive(Debug)]
pub(super) struct Listed {
    pub unit: UnitName,
    pub active_state: String,
}

#[derive(Debug)]
pub(super) struct Bus {
    connection: Connection,
    changes: MessageStream,
}

fn told(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(name, Some(text), _) => format!("systemd refused: {text} ({name})"),
        other => format!("failed to speak with systemd: {other}"),
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, zbus::Error>>) -> Result<T, String> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|e| told(&e)),
        Err(_) => Err(format!("systemd does not answer within {} s", ANSWER.as_secs())),
    }
}

impl Bus {
    /// Connects, and hears of every change from here on.
    ///
    /// # Errors
    /// There is no system bus or no systemd on it.
    pub(super) async fn connect() -> Result<Self, String> {
        let connection = in_time(Connection::system()).await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SERVICE)
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .path_namespace(UNITS)
            .build()
            .map_err(|e| told(&e))?;
        let changes =
            in_time(MessageStream::for_match_rule(rule, &connection, Some(CHANGES_QUEUED_MAX))).await?;
        let bus = Self { connection, changes };
        bus.call(MANAGER, MANAGER_INTERFACE, "Subscribe", &()).await?;
        Ok(bus)
    }

    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<zbus::Message, String>
    where
        B: serde::Serialize + zbus::wire::DynamicType + Sync,
    {
        let call = self.connection.call_method(Some(SERVICE), path, Some(interface), method, body);
        in_time(call).await
    }

    /// Returns the next change of a unit.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn change(&mut self) -> Result<Change, String> {
        loop {
            let message = self.changes.next().await.ok_or("the connection to systemd broke")?;
            let Ok(message) = message else { continue };
            let header = message.header();
            let Some(unit) = header.path().and_then(|path| unit_path::unit(path.as_str())) else { continue };
            let body = message.body();
            let Ok((interface, values, _)) = body.deserialize::<(String, Values, Vec<String>)>() else {
                continue;
            };
            return Ok(Change { unit, complete: interface == UNIT_INTERFACE, values });
        }
    }

    /// Returns all units that systemd has loaded.
    ///
    /// # Errors
    /// systemd does not answer.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, String> {
        type Row =
            (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
        let reply = self.call(MANAGER, MANAGER_INTERFACE, "ListUnits", &()).await?;
        let rows: Vec<Row> = reply.body().deserialize().map_err(|e| told(&e))?;
        let listed = rows.into_iter().filter_map(|(name, _, _, active_state, ..)| {
            // Kinds of units that the agent has no name for, such as devices, are not watched.
            UnitName::new(name).ok().map(|unit| Listed { unit, active_state })
        });
        Ok(listed.collect())
    }

    /// Returns everything about a unit, which systemd loads for it.
    ///
    /// # Errors
    /// systemd does not answer, or cannot know such a unit.
    pub(super) async fn view(&self, unit: &UnitName) -> Result<UnitView, String> {
        let reply = self.call(MANAGER, MANAGER_INTERFACE, "LoadUnit", &unit.as_str()).await?;
        let path: OwnedObjectPath = reply.body().deserialize().map_err(|e| told(&e))?;
        let mut view = UnitView::default();
        let of_unit = self.values(path.as_str(), UNIT_INTERFACE);
        match kind_interface(unit) {
            None => apply(&of_unit.await?, &mut view),
            Some(kind) => {
                let (of_unit, of_kind) = tokio::join!(of_unit, self.values(path.as_str(), kind));
                apply(&of_unit?, &mut view);
                apply(&of_kind?, &mut view);
            }
        }
        Ok(view)
    }

    /// Brings up to date what systemd does not tell by itself, how the unit is loaded and enabled, and with it the
    /// state: a service that is to be started again is told as failed for a moment first.
    ///
    /// # Errors
    /// systemd does not answer.
    pub(super) async fn complete(&self, unit: &UnitName, view: &mut UnitView) -> Result<(), String> {
        let path = unit_path::of(unit);
        let get = async |interface: &str, name: &str| {
            let reply = self.call(&path, PROPERTIES, "Get", &(interface, name)).await?;
            let value: OwnedVariant = reply.body().deserialize().map_err(|e| told(&e))?;
            Ok::<_, String>(<&str>::try_from(&value).unwrap_or_default().to_owned())
        };
        let of_unit = |name| get(UNIT_INTERFACE, name);
        let kind = async {
            match kind_interface(unit) {
                Some(interface) if interface.ends_with(".Service") => get(interface, "Type").await,
                _ => Ok(String::new()),
            }
        };
        let (load, file, active, sub, kind) = tokio::join!(
            of_unit("LoadState"),
            of_unit("UnitFileState"),
            of_unit("ActiveState"),
            of_unit("SubState"),
            kind
        );
        (view.load_state, view.unit_file_state) = (load?, file?);
        (view.active_state, view.sub_state) = (active?, sub?);
        view.oneshot = kind? == "oneshot";
        if view.requires.is_empty() {
            for name in ["Requires", "BindsTo"] {
                let reply = self.call(&path, PROPERTIES, "Get", &(UNIT_INTERFACE, name)).await?;
                let value: OwnedVariant = reply.body().deserialize().map_err(|e| told(&e))?;
                view.requires.extend(units(&value));
            }
        }
        Ok(())
    }

    /// Returns the files of which systemd makes a unit, beside its own.
    ///
    /// # Errors
    /// systemd does not answer.
    pub(super) async fn taken(&self, unit: &UnitName) -> Result<Taken, String> {
        let path = unit_path::of(unit);
        let get = async |interface: &str, name: &str| {
            let reply = self.call(&path, PROPERTIES, "Get", &(interface, name)).await?;
            reply.body().deserialize::<OwnedVariant>().map_err(|e| told(&e))
        };
        let drop_ins = Vec::<String>::try_from(get(UNIT_INTERFACE, "DropInPaths").await?).unwrap_or_default();
        let environment = match kind_interface(unit).filter(|kind| kind.ends_with(".Service")) {
            Some(kind) => {
                Vec::<(String, bool)>::try_from(get(kind, "EnvironmentFiles").await?).unwrap_or_default()
            }
            None => Vec::new(),
        };
        Ok(Taken { drop_ins, environment })
    }

    async fn values(&self, path: &str, interface: &str) -> Result<Values, String> {
        let reply = self.call(path, PROPERTIES, "GetAll", &interface).await?;
        reply.body().deserialize().map_err(|e| told(&e))
    }
}

/// Returns the interface of a kind of unit that knows how it ended.
fn kind_interface(unit: &UnitName) -> Option<&'static str> {
    Some(match unit.as_str().rsplit_once('.')?.1 {
        "service" => "org.freedesktop.systemd1.Service",
        "socket" => "org.freedesktop.systemd1.Socket",
        "mount" => "org.freedesktop.systemd1.Mount",
        "automount" => "org.freedesktop.systemd1.Automount",
        "timer" => "org.freedesktop.systemd1.Timer",
        "path" => "org.freedesktop.systemd1.Path",
        "scope" => "org.freedesktop.systemd1.Scope",
        _ => return None,
    })
}

fn apply(values: &Values, view: &mut UnitView) {
    for (name, value) in values {
        let text = || <&str>::try_from(value).unwrap_or_default().to_owned();
        match name.as_str() {
            "LoadState" => view.load_state = text(),
            "ActiveState" => view.active_state = text(),
            "SubState" => view.sub_state = text(),
            "UnitFileState" => view.unit_file_state = text(),
            "Result" => view.result = text(),
            "Requires" | "BindsTo" => view.requires.extend(units(value)),
            "Type" => view.oneshot = text() == "oneshot",
            "ExecMainCode" => view.exit_code = i32::try_from(value).unwrap_or(0),
            "ExecMainStatus" => view.exit_status = i32::try_from(value).unwrap_or(0),
            "MainPID" => view.main_pid = u32::try_from(value).unwrap_or(0),
            "NRestarts" => view.restarts = u32::try_from(value).unwrap_or(0),
            "StateChangeTimestampMonotonic" => view.changed_us = u64::try_from(value).unwrap_or(0),
            "TimeoutStartUSec" => view.timeout_start_us = u64::try_from(value).ok(),
            "TimeoutStopUSec" => view.timeout_stop_us = u64::try_from(value).ok(),
            "ExecMainStartTimestampMonotonic" => view.started_us = u64::try_from(value).unwrap_or(0),
            _ => {}
        }
    }
}

/// Returns the units of a list of names, as far as the agent has names for them.
fn units(value: &OwnedVariant) -> Vec<UnitName> {
    let names = Vec::<String>::try_from(value.clone()).unwrap_or_default();
    names.into_iter().filter_map(|name| UnitName::new(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_real_systemd_tells_its_units() {
        if !sd_notify::booted().unwrap_or(false) {
            eprintln!("SKIPPED: this machine was not booted by systemd; lab hosts show this source at work");
            return;
        }
        let bus = Bus::connect().await.expect("connected");
        let listed = bus.list().await.expect("listed");
        let journald = UnitName::new("systemd-journald.service").expect("a unit");
        assert!(listed.iter().any(|one| one.unit == journald));
        let mut view = bus.view(&journald).await.expect("viewed");
        assert!(view.active() && view.main_pid > 0, "{view:?}");
        view.active_state.clear();
        bus.complete(&journald, &mut view).await.expect("completed");
        assert!(view.active(), "{view:?}");
    }
}
