//! What is added to a fault of a unit: what its operator told of it, what may keep it from starting, its process and its
//! ports. Looks only, in threads of their own, because a file system may hang.

use super::SharedPorts;
use crate::config::Service;
use crate::watcher::files;
use crate::watcher::report::Fault;
use crate::watcher::sources::tasks::{limit_of_files, open_files};
use crate::watcher::tasks::Proc;
use crate::watcher::unit_facts::{self, Taken};
use sopwith_domain::value::{UnitName, Value};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

/// Share of its files from which a process can open hardly any more, in percent.
const DESCRIPTORS_PERCENT: u64 = 95;

/// Adds what may keep a unit from starting beside itself.
pub(super) async fn with_surroundings(
    fault: Fault,
    service: Option<&Service>,
    taken: Taken,
    ran_well: Option<SystemTime>,
) -> Fault {
    let (socket, plain) =
        (service.and_then(|s| s.socket.as_ref()).map(|path| (**path).clone()), fault.clone());
    let config = service.map(|s| s.config.clone()).unwrap_or_default();
    let looked = files::look(move || {
        let mut fault = fault;
        files::add_closed(&mut fault, &config, ran_well);
        unit_facts::add(&mut fault, socket.as_ref(), &taken, ran_well);
        fault
    });
    looked.await.unwrap_or(plain)
}

pub(super) fn add_process(fault: &mut Fault, main_pid: u32) {
    let Some(process) = files::process(main_pid) else { return };
    fault.field("process", Value::Process(process));
    let stat = i32::try_from(main_pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok());
    if let Some(stat) = stat.and_then(|process| process.stat().ok()) {
        fault.word("process_state", &stat.state.to_string());
    }
    if descriptors_exhausted(&Proc::default(), main_pid) {
        fault.field("descriptors_exhausted", Value::Boolean(true));
    }
}

/// Says whether a process has nearly as many files open as it may; what cannot be seen is not so.
fn descriptors_exhausted(proc: &Proc, pid: u32) -> bool {
    let limit = proc.read(&format!("{pid}/limits")).ok().and_then(|text| limit_of_files(&text));
    let open = open_files(proc, pid);
    open.zip(limit).is_some_and(|(open, limit)| limit > 0 && open * 100 >= limit * DESCRIPTORS_PERCENT)
}

/// Adds what the operator of the service told of it, and what is known of its ports.
pub(super) async fn with_facts(
    fault: Fault,
    unit: &UnitName,
    service: Option<&Service>,
    ports: &SharedPorts,
) -> Fault {
    let service = service.cloned();
    let (unit, plain, ports) = (unit.clone(), fault.clone(), Arc::clone(ports));
    let looked = files::look(move || {
        let mut fault = fault;
        if let Some(service) = service {
            add_service(&mut fault, &unit, &service);
        }
        ports.lock().unwrap_or_else(PoisonError::into_inner).add(&mut fault, &unit);
        fault
    });
    looked.await.unwrap_or(plain)
}

fn add_service(fault: &mut Fault, unit: &UnitName, service: &Service) {
    if let Some(health) = &service.health {
        fault.field("health_url", Value::Url((*health.url).clone()));
    }
    if let Some(heartbeat) = &service.heartbeat {
        fault.field("heartbeat_path", Value::Path((*heartbeat.path).clone()));
        fault.integer("heartbeat_max_age_s", heartbeat.max_age.0.as_secs());
    }
    files::add_drift(fault, files::drifted(&service.config));
    if let Some(pidfile) = &service.pidfile
        && files::pidfile_stale(pidfile, unit)
    {
        fault.field("pidfile", Value::Path((**pidfile).clone()));
        fault.field("pidfile_stale", Value::Boolean(true));
    }
}
