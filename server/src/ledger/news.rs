//! Tells waiting readers that something changed: a host's long poll, and everybody's event stream.
//! It says that, never what; who is told reads the state.

use sopwith_domain::event::Event;
use sopwith_domain::ids::{HostId, IncidentId};
use sopwith_domain::state::State;
use sopwith_protocol::api::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, broadcast};

/// Changes that a slow event stream may lag behind before it is told to look at everything anew.
pub const CHANGES_KEPT: usize = 1024;

/// What readers are told where a running step has said something.
const SPOKE: &str = "run_spoke";

/// Where readers wait.
#[derive(Debug)]
pub struct News {
    hosts: Mutex<BTreeMap<HostId, Arc<Notify>>>,
    changes: broadcast::Sender<Change>,
}

impl Default for News {
    fn default() -> Self {
        Self { hosts: Mutex::default(), changes: broadcast::Sender::new(CHANGES_KEPT) }
    }
}

impl News {
    /// Returns what is notified when something concerns the host. There is one per host that ever asked.
    pub fn of_host(&self, host: &HostId) -> Arc<Notify> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host.clone()).or_default().clone()
    }

    /// Returns all changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Says that the program of a running step spoke, which is in no journal.
    pub fn spoke(&self, seq: u64, incident: Option<IncidentId>, run: sopwith_domain::ids::Digest) {
        let change = Change { seq, event: SPOKE.into(), incident, run: Some(run) };
        // Nobody may be listening, which is no fault.
        let _ = self.changes.send(change);
    }

    pub(super) fn publish(&self, gathered: Gathered) {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        match gathered.everybody {
            true => hosts.values().for_each(|host| host.notify_waiters()),
            false => {
                gathered.hosts.iter().filter_map(|h| hosts.get(h)).for_each(|host| host.notify_waiters());
            }
        }
        drop(hosts);
        for change in gathered.changes {
            // Nobody may be listening, which is no fault.
            let _ = self.changes.send(change);
        }
    }
}

/// What one batch has to tell.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    hosts: BTreeSet<HostId>,
    everybody: bool,
    changes: Vec<Change>,
}

impl Gathered {
    pub(super) fn add(&mut self, seq: u64, event: &Event, state: &State) {
        let about = About::of(event, state);
        self.everybody |= matches!(event, Event::StopSet { .. } | Event::StopCleared { .. });
        self.hosts.extend(about.host);
        self.changes.push(Change { seq, event: name(event), incident: about.incident, run: about.run });
    }
}

/// What an event is about.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct About {
    pub host: Option<HostId>,
    pub incident: Option<IncidentId>,
    pub run: Option<sopwith_domain::ids::Digest>,
}

impl About {
    /// Says what the event is about, in a state into which it is already folded.
    pub fn of(event: &Event, state: &State) -> Self {
        let host = |host: &HostId| Self { host: Some(host.clone()), ..Self::default() };
        let incident = |id: &IncidentId| Self {
            host: state.incidents.get(id).map(|incident| incident.host.clone()),
            incident: Some(*id),
            run: None,
        };
        match event {
            Event::HostEnrolled { host: h, .. }
            | Event::EpochBegan { host: h, .. }
            | Event::HostRevoked { host: h, .. }
            | Event::HostSilent { host: h, .. }
            | Event::HostHeard { host: h }
            | Event::ItemTaken { host: h, .. }
            | Event::GapRecorded { host: h, .. }
            | Event::DeclarationsReported { host: h, .. }
            | Event::InspectionReported { host: h, .. } => host(h),
            Event::IncidentOpened { incident: id, .. }
            | Event::SignalFolded { incident: id, .. }
            | Event::IncidentReopened { incident: id, .. }
            | Event::ConditionCleared { incident: id, .. }
            | Event::Matched { incident: id, .. }
            | Event::Refrained { incident: id, .. }
            | Event::PlanProposed { incident: id, .. }
            | Event::DryRunAsked { incident: id, .. }
            | Event::DryRunReported { incident: id, .. }
            | Event::DiagnosisApproved { incident: id, .. }
            | Event::DiagnosisReported { incident: id, .. }
            | Event::DecisionTaken { incident: id, .. }
            | Event::PlanApproved { incident: id, .. }
            | Event::PlanVoided { incident: id, .. }
            | Event::ReleaseHeld { incident: id, .. }
            | Event::OrderReleased { incident: id, .. }
            | Event::RunOverdue { incident: id, .. }
            | Event::WatchBegan { incident: id, .. }
            | Event::Escalated { incident: id, .. }
            | Event::TargetsFrozen { incident: id, .. }
            | Event::ProblemOpened { incident: id, .. }
            | Event::ProblemRecurred { incident: id, .. }
            | Event::IncidentClosed { incident: id, .. } => incident(id),
            Event::RunReported { host, record, .. } => Self {
                host: Some(host.clone()),
                incident: state.runs.get(&record.run).and_then(|run| run.incident),
                run: Some(record.run),
            },
            Event::CancelRequested { run, .. } => {
                let known = state.runs.get(run);
                Self {
                    host: known.map(|run| run.host.clone()),
                    incident: known.and_then(|run| run.incident),
                    run: Some(*run),
                }
            }
            Event::ServerStarted
            | Event::ProblemClosed { .. }
            | Event::StopSet { .. }
            | Event::StopCleared { .. }
            | Event::PlaybookInstalled { .. }
            | Event::PlaybookRetired { .. }
            | Event::PolicySet { .. }
            | Event::PersonAdded { .. }
            | Event::RoleChanged { .. }
            | Event::PersonDisabled { .. }
            | Event::TrustMoved { .. }
            | Event::AccessChanged { .. } => Self::default(),
        }
    }
}

/// Returns the event's tag, as in the journal.
pub fn name(event: &Event) -> String {
    let tagged = serde_json::to_value(event).ok();
    tagged.and_then(|v| v.get("event")?.as_str().map(str::to_owned)).unwrap_or_default()
}
