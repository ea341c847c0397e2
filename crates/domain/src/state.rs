//! The server's state: what all events so far add up to. Only [`crate::evolve::evolve`] changes it.

use crate::common::{Common, Symptom};
use crate::declaration::Declarations;
use crate::ids::{AccountName, Digest, Epoch, HostId, IncidentId, PlaybookId};
use crate::incident::{Incident, Run};
use crate::matching::Index;
use crate::order::SignedText;
use crate::people::Person;
use crate::playbook::Playbook;
use crate::policy::Policy;
use crate::problem::{Problem, ProblemId};
use crate::signal::{Signal, Subject};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};
use crate::trust::Standing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

/// A managed host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    pub epoch: Epoch,
    /// Lives that are over: what still arrives from one of them changes nothing.
    pub former: BTreeSet<Epoch>,
    pub enrolled_at: Timestamp,
    pub revoked: bool,
    pub silent_since: Option<Timestamp>,
    /// Spool items taken over, without holes.
    pub items_through: u64,
    /// Run records taken over, without holes.
    pub records_through: u64,
    pub declarations: Declarations,
    /// Items that are known to be lost, for the record and the metric.
    pub items_lost: u64,
}

/// A playbook with the text that its signature covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    pub playbook: Playbook,
    pub signed: SignedText,
    pub signer: String,
    pub installed_at: Timestamp,
}

/// The standing policy in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyInForce {
    pub policy: Policy,
    pub signed: SignedText,
    pub signer: String,
}

/// Who stopped all automation, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stop {
    pub by: AccountName,
    pub reason: String,
    pub since: Timestamp,
}

/// A copy shares the documents, which never change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// Number and time of the last event folded in.
    pub seq: u64,
    pub last_at: Timestamp,
    pub hosts: BTreeMap<HostId, Host>,
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// The open incident of each fingerprint.
    pub open: BTreeMap<Digest, IncidentId>,
    pub runs: BTreeMap<Digest, Run>,
    pub problems: BTreeMap<ProblemId, Problem>,
    /// The open problem of each fingerprint.
    pub open_problems: BTreeMap<Digest, ProblemId>,
    pub playbooks: BTreeMap<PlaybookId, Arc<Installed>>,
    /// The same by what they answer. Changed together with them.
    pub answers: Arc<Index>,
    pub policy: Option<Arc<PolicyInForce>>,
    pub stop: Option<Stop>,
    pub people: BTreeMap<AccountName, Person>,
    /// How playbooks stand that have to earn what the policy permits, by environment.
    pub trust: BTreeMap<(PlaybookId, String), Standing>,
    /// When automatic orders were released, by fingerprint, within the last day.
    pub tries: BTreeMap<Digest, Vec<Timestamp>>,
    /// Every order that was released within the last hour.
    pub releases: Vec<Release>,
    /// When hosts were looked at, within the last hour.
    pub looks: VecDeque<(HostId, Timestamp)>,
    /// Incidents whose order is released and whose run has not ended.
    pub working: BTreeSet<IncidentId>,
    /// The open incidents of each host.
    pub open_on: BTreeMap<HostId, BTreeSet<IncidentId>>,
    /// The critical faults of each host that holds now and is not told as part of another.
    pub sick: BTreeMap<HostId, BTreeSet<IncidentId>>,
    /// When incidents were raised, within the last minute.
    pub raised: VecDeque<Timestamp>,
    /// Faults that hosts have, or had lately, in common.
    pub common: BTreeMap<Symptom, Common>,
    pub storm: Option<Storm>,
    /// What automation leaves alone, by the incident that it gave up on.
    pub frozen: BTreeMap<IncidentId, Frozen>,
}

/// What automation leaves alone on a host until an incident is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frozen {
    pub host: HostId,
    pub targets: Vec<Subject>,
    pub because: String,
}

/// When a fault was raised, or raised again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raised {
    /// Number of the event.
    pub seq: u64,
    pub at: Timestamp,
}

/// While it lasts nothing starts by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storm {
    /// The server's own incident that tells of it.
    pub root: IncidentId,
    pub since: Timestamp,
}

/// An order that was released, for the budgets and the loop guard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Number of the event.
    pub seq: u64,
    pub at: Timestamp,
    pub run: Digest,
    pub incident: IncidentId,
    pub fingerprint: Digest,
    /// When the fault was raised for which it was released.
    pub raised: Raised,
    /// When its run ended, as far as that was heard.
    pub ended_at: Option<Timestamp>,
    pub automatic: bool,
    pub host: HostId,
    pub playbook: PlaybookId,
    pub touches: BTreeSet<Subject>,
}

impl State {
    /// Returns the playbooks that are to be weighed for a signal.
    pub fn answering(&self, signal: &Signal) -> impl Iterator<Item = &Playbook> {
        self.answers.answering(signal).filter_map(|id| Some(&self.playbooks.get(id)?.playbook))
    }

    /// Puts a playbook in force, in the place of the one with its id.
    pub fn install(&mut self, installed: Arc<Installed>) {
        self.retire(&installed.playbook.id);
        Arc::make_mut(&mut self.answers).add(&installed.playbook);
        self.playbooks.insert(installed.playbook.id.clone(), installed);
    }

    /// Takes a playbook out of force.
    pub fn retire(&mut self, id: &PlaybookId) {
        if let Some(old) = self.playbooks.remove(id) {
            Arc::make_mut(&mut self.answers).remove(&old.playbook);
        }
    }

    /// Returns the policy in force, or the one that permits nothing.
    pub fn policy(&self) -> &Policy {
        static NONE: LazyLock<Policy> = LazyLock::new(Policy::default);
        self.policy.as_ref().map_or(&NONE, |p| &p.policy)
    }

    /// Returns how many automatic tries the fingerprint had in the day before `now`.
    pub fn tries_today(&self, fingerprint: &Digest, now: Timestamp) -> u32 {
        let tries = self
            .tries
            .get(fingerprint)
            .map_or(0, |tries| tries.iter().filter(|at| now.since(**at) < DAY_MS).count());
        u32::try_from(tries).unwrap_or(u32::MAX)
    }

    /// Returns how many orders were released in the hour before `now`.
    pub fn releases_in_hour(&self, now: Timestamp) -> u32 {
        self.released(now, |_| true)
    }

    /// Returns how many orders of a kind were released in the hour before `now`.
    pub fn released(&self, now: Timestamp, of: impl Fn(&Release) -> bool) -> u32 {
        let recent = self.releases.iter().filter(|release| now.since(release.at) < HOUR_MS && of(release));
        u32::try_from(recent.count()).unwrap_or(u32::MAX)
    }

    /// Returns the incidents whose order is released and whose run has not ended.
    pub fn under_way(&self) -> impl Iterator<Item = &Incident> {
        self.working.iter().filter_map(|id| self.incidents.get(id))
    }

    /// Returns the open incidents of a host.
    pub fn open_of<'a>(&'a self, host: &HostId) -> impl Iterator<Item = &'a Incident> + use<'a> {
        self.open_on.get(host).into_iter().flatten().filter_map(|id| self.incidents.get(id))
    }
}
