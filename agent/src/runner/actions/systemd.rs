//! systemd, over the system bus: the properties of a unit, and jobs with their real result.
//!
//! zbus speaks asynchronously only; the small runtime for it is confined to this file, and it lives on the
//! runner's one acting thread.

use futures_util::StreamExt;
use sopwith_domain::value::UnitName;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant};

const MANAGER: &str = "/org/freedesktop/systemd1";
const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const SERVICE_INTERFACE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";
/// Longest wait for an answer that is no job, in milliseconds.
const ANSWER: Duration = Duration::from_secs(10);
/// Most messages about jobs that wait while one is read.
const JOBS_QUEUED_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

type Properties = HashMap<String, OwnedVariant>;

/// What a unit is at the moment.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct UnitState {
    pub load_state: String,
    pub active_state: String,
    pub sub_state: String,
    pub unit_file_state: String,
    pub main_pid: u32,
    /// When systemd starts it again by itself; empty for what is no service.
    #[serde(default)]
    pub restart: String,
    /// In hexadecimal; empty while the unit never ran.
    pub invocation: String,
    /// Number of the job that is queued or running for it, or 0.
    pub job: u32,
}

/// What a unit needs, and how a service ended last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitPast {
    pub needs: Vec<String>,
    pub service: Option<ServicePast>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePast {
    pub result: String,
    pub exit_status: i32,
    pub restarts: u32,
}

/// What can be asked of a unit. The texts are systemd's own names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Job {
    fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Restart => "RestartUnit",
            Self::Reload => "ReloadUnit",
        }
    }
}

/// What can be done with the file of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnitFiles {
    Enable,
    Disable,
    Mask,
    Unmask,
}

impl UnitFiles {
    fn method(self) -> &'static str {
        match self {
            Self::Enable => "EnableUnitFiles",
            Self::Disable => "DisableUnitFiles",
            Self::Mask => "MaskUnitFiles",
            Self::Unmask => "UnmaskUnitFiles",
        }
    }

    /// Returns what takes the links away that this makes; those that this takes away are not systemd's to know.
    pub fn inverse(self) -> Option<Self> {
        match self {
            Self::Enable => Some(Self::Disable),
            Self::Mask => Some(Self::Unmask),
            Self::Disable | Self::Unmask => None,
        }
    }

    pub fn past(self) -> &'static str {
        match self {
            Self::Enable => "enabled",
            Self::Disable => "disabled",
            Self::Mask => "masked",
            Self::Unmask => "unmasked",
        }
    }
}

/// A connection to systemd, made when it is first needed.
#[derive(Debug, Default)]
pub struct Systemd {
    open: Option<(Runtime, Connection)>,
}

impl Systemd {
    fn connect() -> Result<(Runtime, Connection), String> {
        let failed = |e: &dyn std::fmt::Display| format!("failed to reach systemd: {e}");
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
        let connection = runtime.block_on(async { timeout(ANSWER, Connection::system()).await });
        let connection = connection.map_err(|_| failed(&"no answer"))?.map_err(|e| failed(&e))?;
        Ok((runtime, connection))
    }

    /// Runs a conversation, with one more try on a new connection where the old one had died before anything was
    /// asked. `look` must change nothing.
    fn looking<T>(&mut self, look: impl AsyncFn(&Connection) -> Result<T, zbus::Error>) -> Result<T, String> {
        let mut last = String::new();
        for _ in 0..2 {
            if self.open.is_none() {
                self.open = Some(Self::connect()?);
            }
            let Some((runtime, connection)) = &self.open else { break };
            match runtime.block_on(async { timeout(ANSWER, look(connection)).await }) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error @ zbus::Error::MethodError(..))) => return Err(told(&error)),
                Ok(Err(error)) => last = told(&error),
                Err(_) => last = "systemd does not answer".into(),
            }
            self.open = None;
        }
        Err(last)
    }

    /// Says whether systemd can be reached.
    ///
    /// # Errors
    /// Says why not.
    pub fn reach(&mut self) -> Result<(), String> {
        self.looking(async |bus| {
            let peer = "org.freedesktop.DBus.Peer";
            bus.call_method(Some(SERVICE), MANAGER, Some(peer), "Ping", &()).await
        })
        .map(drop)
    }

    /// Returns what a unit is.
    ///
    /// # Errors
    /// systemd cannot be reached or does not know the unit.
    pub fn state(&mut self, unit: &UnitName) -> Result<UnitState, String> {
        self.looking(async |bus| {
            // systemd loads the unit when its object is asked for, as it would by name.
            let path = crate::unit_path::of(unit);
            let service = unit.as_str().ends_with(".service");
            // Of a service's own properties only these two: all of them would have systemd read its control group.
            let (of_unit, main_pid, restart) = tokio::join!(
                properties(bus, &path),
                async { if service { property(bus, &path, "MainPID").await.map(Some) } else { Ok(None) } },
                async { if service { property(bus, &path, "Restart").await.map(Some) } else { Ok(None) } },
            );
            let of_unit = of_unit?;
            let main_pid = main_pid?.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
            let restart = restart?.and_then(|v| String::try_from(v).ok()).unwrap_or_default();
            let text = |name: &str| {
                of_unit.get(name).and_then(|v| <&str>::try_from(v).ok()).unwrap_or("").to_owned()
            };
            let invocation = of_unit.get("InvocationID").and_then(|v| v.try_clone().ok());
            let invocation = invocation.and_then(|v| Vec::<u8>::try_from(v).ok()).unwrap_or_default();
            let job = of_unit.get("Job").and_then(|v| v.try_clone().ok());
            let job = job.and_then(|v| <(u32, OwnedObjectPath)>::try_from(v).ok()).map_or(0, |(id, _)| id);
            Ok(UnitState {
                load_state: text("LoadState"),
                active_state: text("ActiveState"),
                sub_state: text("SubState"),
                unit_file_state: text("UnitFileState"),
                main_pid,
                restart,
                invocation: hex::encode(invocation),
                job,
            })
        })
    }

    /// Returns what a unit needs and how it ended last.
    ///
    /// # Errors
    /// systemd cannot be reached or does not know the unit.
    pub fn past(&mut self, unit: &UnitName) -> Result<UnitPast, String> {
        self.looking(async |bus| {
            let path = crate::unit_path::of(unit);
            let of_unit = properties(bus, &path).await?;
            let mut needs = Vec::new();
            for name in ["Requires", "Requisite", "BindsTo"] {
                let value = of_unit.get(name).and_then(|value| value.try_clone().ok());
                needs.extend(value.and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default());
            }
            needs.sort();
            needs.dedup();
            if !unit.as_str().ends_with(".service") {
                return Ok(UnitPast { needs, service: None });
            }
            let result = property(bus, &path, "Result").await?;
            let status = property(bus, &path, "ExecMainStatus").await?;
            let restarts = property(bus, &path, "NRestarts").await?;
            let service = ServicePast {
                result: String::try_from(result).unwrap_or_default(),
                exit_status: i32::try_from(status).unwrap_or(0),
                restarts: u32::try_from(restarts).unwrap_or(0),
            };
            Ok(UnitPast { needs, service: Some(service) })
        })
    }

    /// Clears a unit's failed state and its count of starts.
    ///
    /// # Errors
    /// systemd's reason.
    pub fn reset_failed(&mut self, unit: &UnitName) -> Result<(), String> {
        // Said twice it means the same, so a second try does no harm.
        self.looking(async |bus| {
            let name = unit.as_str();
            bus.call_method(Some(SERVICE), MANAGER, Some(MANAGER_INTERFACE), "ResetFailedUnit", &name).await
        })
        .map(drop)
    }

    /// Kills every process of a unit.
    ///
    /// # Errors
    /// systemd's reason.
    pub fn kill(&mut self, unit: &UnitName) -> Result<(), String> {
        // Said twice it means the same, so a second try does no harm.
        self.looking(async |bus| {
            let all = (unit.as_str(), "all", rustix::process::Signal::KILL.as_raw());
            bus.call_method(Some(SERVICE), MANAGER, Some(MANAGER_INTERFACE), "KillUnit", &all).await
        })
        .map(drop)
    }

    /// Returns what systemd calls the state of a unit's file, read from the disk.
    ///
    /// # Errors
    /// systemd's reason.
    pub fn unit_file_state(&mut self, unit: &UnitName) -> Result<String, String> {
        self.looking(async |bus| {
            let (manager, name) = (Some(MANAGER_INTERFACE), unit.as_str());
            let reply = bus.call_method(Some(SERVICE), MANAGER, manager, "GetUnitFileState", &name).await?;
            reply.body().deserialize()
        })
    }

    /// Makes or removes the links of a unit, and has systemd read its units again.
    ///
    /// # Errors
    /// systemd's reason.
    pub fn unit_files(&mut self, doing: UnitFiles, unit: &UnitName) -> Result<(), String> {
        // Said twice it means the same, so a second try does no harm.
        self.looking(async |bus| {
            let (manager, names, method) = (Some(MANAGER_INTERFACE), vec![unit.as_str()], doing.method());
            let (runtime, force) = (false, false);
            match doing {
                UnitFiles::Enable | UnitFiles::Mask => {
                    let asked = (names, runtime, force);
                    bus.call_method(Some(SERVICE), MANAGER, manager, method, &asked).await
                }
                UnitFiles::Disable | UnitFiles::Unmask => {
                    let asked = (names, runtime);
                    bus.call_method(Some(SERVICE), MANAGER, manager, method, &asked).await
                }
            }
        })?;
        self.read_units_again()
    }

    /// Has systemd read its units again.
    ///
    /// # Errors
    /// systemd's reason.
    pub fn read_units_again(&mut self) -> Result<(), String> {
        self.looking(async |bus| {
            bus.call_method(Some(SERVICE), MANAGER, Some(MANAGER_INTERFACE), "Reload", &()).await
        })
        .map(drop)
    }

    /// Has systemd do a job and waits for its result.
    ///
    /// # Errors
    /// The job's real result where it is not `done`; one that takes longer than `timeout_ms` is cancelled.
    pub fn job(&mut self, job: Job, unit: &UnitName, timeout_ms: i64) -> Result<(), String> {
        // Before anything is asked that may not be asked twice, this also makes sure that the connection is alive.
        let ended = self.looking(listen_to_jobs)?;
        let Some((runtime, connection)) = &self.open else { return Err("systemd is not reached".into()) };
        let limit = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        let result = runtime.block_on(run_job(connection, ended, job, unit, limit));
        match result {
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => Err(format!("{unit}: systemd's {} ended with {result:?}", job.method())),
            Err(error) => {
                self.open = None;
                Err(format!("{unit}: {error}"))
            }
        }
    }
}

/// Returns what every kind of unit has.
async fn properties(bus: &Connection, unit: &str) -> Result<Properties, zbus::Error> {
    let reply = bus.call_method(Some(SERVICE), unit, Some(PROPERTIES), "GetAll", &UNIT_INTERFACE).await?;
    reply.body().deserialize()
}

/// Returns one thing that only a service has.
async fn property(bus: &Connection, unit: &str, name: &str) -> Result<OwnedVariant, zbus::Error> {
    let asked = (SERVICE_INTERFACE, name);
    bus.call_method(Some(SERVICE), unit, Some(PROPERTIES), "Get", &asked).await?.body().deserialize()
}

/// Hears of jobs that end from here on: a quick one is over before the answer to its start is read.
async fn listen_to_jobs(bus: &Connection) -> Result<MessageStream, zbus::Error> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SERVICE)
        .interface(MANAGER_INTERFACE)
        .member("JobRemoved")
        .build()?;
    let (removed, subscribed) = tokio::join!(
        MessageStream::for_match_rule(rule, bus, Some(JOBS_QUEUED_MAX)),
        bus.call_method(Some(SERVICE), MANAGER, Some(MANAGER_INTERFACE), "Subscribe", &()),
    );
    match subscribed {
        Err(zbus::Error::MethodError(name, ..)) if name.as_str().ends_with("AlreadySubscribed") => removed,
        Err(e) => Err(e),
        Ok(_) => removed,
    }
}

/// `removed` tells of jobs that ended, from before this one was asked for.
async fn run_job(
    bus: &Connection,
    mut removed: MessageStream,
    job: Job,
    unit: &UnitName,
    limit: Duration,
) -> Result<String, String> {
    let told = |e: zbus::Error| told(&e);
    let asked = (unit.as_str(), "replace");
    let reply = bus.call_method(Some(SERVICE), MANAGER, Some(MANAGER_INTERFACE), job.method(), &asked).await;
    let path: OwnedObjectPath = reply.map_err(told)?.body().deserialize().map_err(|e| e.to_string())?;
    let ended = async {
        while let Some(message) = removed.next().await {
            let Ok(message) = message else { continue };
            let body = message.body();
            let Ok((_, ended, _, result)) = body.deserialize::<(u32, OwnedObjectPath, String, String)>()
            else {
                continue;
            };
            if ended == path {
                return Ok(result);
            }
        }
        Err("the connection to systemd broke while the job ran".to_owned())
    };
    match timeout(limit, ended).await {
        Ok(result) => result,
        Err(_) => {
            let job_interface = "org.freedesktop.systemd1.Job";
            let cancel = bus.call_method(Some(SERVICE), path.clone(), Some(job_interface), "Cancel", &());
            // It may have ended this instant, and then there is nothing to cancel.
            let _ = timeout(ANSWER, cancel).await;
            Ok("timeout".into())
        }
    }
}

fn told(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(name, Some(text), _) => format!("systemd refused: {text} ({name})"),
        other => format!("failed to speak with systemd: {other}"),
    }
}
