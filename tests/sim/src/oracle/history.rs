//! The server's history as it became durable: stored signals, votes, limits, all counted again from the events.

use super::chains::Chains;
use super::fleet::{Fleet, own};
use super::silence::Silence;
use super::trust::Trust;
use super::{Oracle, Planned};
use sopwith_domain::approval::{Basis, Vote};
use sopwith_domain::event::Event;
use sopwith_domain::ids::{AccountName, Digest, HostId};
use sopwith_domain::run::What;
use sopwith_domain::signal::Subject;
use std::collections::{BTreeMap, BTreeSet};

const HOUR_MS: i64 = 3_600_000;

/// An order that was released and of whose end nothing was reported.
#[derive(Clone, Debug)]
struct UnderWay {
    incident: u64,
    host: usize,
    playbook: String,
    touches: BTreeSet<Subject>,
}

/// What one line of history comes to; a restored backup begins another line.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Entries judged so far.
    pub through: u64,
    epochs: BTreeMap<usize, u64>,
    /// How often a signal is in an incident, by host, epoch and number.
    stored: BTreeMap<(usize, u64, u64), u32>,
    gaps: Vec<(usize, u64, u64, u64)>,
    taken: Option<(usize, u64, u64)>,
    /// Highest item, and highest record, that is durable, by host and epoch.
    durable: BTreeMap<(usize, u64), (u64, u64)>,
    /// The same, as acknowledged to the host.
    acked: BTreeMap<(usize, u64), (u64, u64)>,
    votes: BTreeMap<Digest, Vec<(AccountName, Vote)>>,
    under_way: BTreeMap<Digest, UnderWay>,
    /// Approved plans that were neither released nor said to wait.
    approved: BTreeSet<Digest>,
    pub(super) fleet: Fleet,
    pub(super) chains: Chains,
    pub(super) silence: Silence,
    pub(super) trust: Trust,
    /// True time at which the server was restored to this history: what it holds of stops is in force only since then.
    since: i64,
    releases: Vec<i64>,
    pub(super) looks: Vec<(usize, i64)>,
    /// True time at which automation was stopped.
    pub stopped: Option<i64>,
}

/// Returns the number of a simulated host.
pub(super) fn agent_of(host: &HostId) -> usize {
    host.as_str()[2..].parse().expect("hosts are named h- and a number")
}

impl History {
    /// Returns the history of a server that is restored from a backup now; the backup tells the rest again.
    pub fn restored(now: i64) -> Self {
        Self { since: now, ..Self::default() }
    }

    pub fn covers(&self, agent: usize, sent_as: &[(u64, u64)]) -> bool {
        sent_as.iter().any(|(epoch, seq)| {
            self.stored.contains_key(&(agent, *epoch, *seq))
                || self.gaps.iter().any(|(host, of, from, through)| {
                    *host == agent && of == epoch && (*from..=*through).contains(seq)
                })
        })
    }
}

impl Oracle {
    /// Judges one durable event of the server.
    pub fn durable(&mut self, now: i64, seq: u64, first_of_batch: bool, event: &Event) {
        self.history.through = seq;
        if first_of_batch {
            self.history.taken = None;
        }
        self.chained(now, event);
        self.silent(now, event);
        self.trusted(event);
        match event {
            Event::HostEnrolled { host, epoch } | Event::EpochBegan { host, epoch, .. } => {
                let agent = agent_of(host);
                self.history.epochs.insert(agent, epoch.0);
                self.history.durable.insert((agent, epoch.0), (0, 0));
            }
            Event::ItemTaken { host, seq } => self.taken(agent_of(host), *seq),
            Event::GapRecorded { host, from_seq, through_seq, .. } => {
                let agent = agent_of(host);
                let epoch = self.history.epochs.get(&agent).copied().unwrap_or(0);
                self.history.gaps.push((agent, epoch, *from_seq, *through_seq));
            }
            Event::IncidentOpened { incident, signal, .. } => {
                if !own(signal) {
                    self.stored();
                }
                self.fleet_opened(now, incident.0, signal);
            }
            Event::SignalFolded { incident, signal } => {
                if !own(signal) {
                    self.stored();
                }
                self.fleet_folded(now, incident.0);
            }
            Event::StopSet { .. } => self.history.stopped = Some(now.max(self.history.since)),
            Event::ServerStarted => self.history.fleet.restarted(),
            Event::StopCleared { .. } => self.history.stopped = None,
            Event::RunReported { host, seq, record } => {
                let agent = agent_of(host);
                let epoch = self.history.epochs.get(&agent).copied().unwrap_or(0);
                self.history.durable.entry((agent, epoch)).or_default().1 = *seq;
                if matches!(record.what, What::Ended { .. } | What::Refused { .. }) {
                    self.history.under_way.remove(&record.run);
                    self.history.fleet.ended(now, &record.run, &record.what);
                }
            }
            Event::Escalated { incident, .. } => {
                self.history.under_way.retain(|_, run| run.incident != incident.0);
                self.history.fleet.handed_over(incident.0);
            }
            Event::Refrained { incident, why_not } => self.history.fleet.refrained(incident.0, why_not),
            Event::ConditionCleared { incident, .. } => self.history.fleet.cleared(incident.0),
            Event::WatchBegan { incident, .. } => self.history.fleet.watched(incident.0),
            Event::IncidentReopened { incident, .. } => self.fleet_reopened(now, incident.0),
            Event::IncidentClosed { incident, .. } => self.history.fleet.closed(incident.0),
            Event::DeclarationsReported { host, declarations } => {
                self.history.fleet.declared(agent_of(host), declarations);
            }
            other => self.plan_event(now, other),
        }
    }

    fn taken(&mut self, agent: usize, seq: u64) {
        let epoch = self.history.epochs.get(&agent).copied().unwrap_or(0);
        self.history.taken = Some((agent, epoch, seq));
        let durable = &mut self.history.durable.entry((agent, epoch)).or_default().0;
        *durable = seq.max(*durable);
    }

    fn stored(&mut self) {
        let Some(key) = self.history.taken else {
            return self.fail("I1", "a signal entered an incident without its item being taken".into());
        };
        let count = self.history.stored.entry(key).or_default();
        *count += 1;
        if *count > 1 {
            let count = *count;
            self.fail("I1", format!("signal {} of h-{} is stored {count} times", key.2, key.0));
        }
    }

    fn plan_event(&mut self, now: i64, event: &Event) {
        match event {
            Event::PlanProposed { plan, .. } => {
                let fresh = || Planned {
                    plan: plan.clone(),
                    approved: None,
                    denied: false,
                    voided: false,
                    released: false,
                };
                // After a restore the same plan may be proposed again; its run is still at most one.
                let planned = self.plans.entry(plan.digest()).or_insert_with(fresh);
                (planned.voided, planned.denied) = (false, false);
                self.history.votes.remove(&plan.digest());
            }
            Event::DecisionTaken { decision, .. } => {
                let votes = self.history.votes.entry(decision.plan).or_default();
                votes.push((decision.by.clone(), decision.vote));
                // A restored server may ask again about what was approved, and begun, in the history that it lost.
                if decision.vote == Vote::Deny
                    && let Some(planned) = self.plans.get_mut(&decision.plan)
                    && planned.approved.is_none()
                {
                    planned.denied = true;
                }
            }
            Event::PlanApproved { approval, .. } => self.approved(now, approval),
            Event::DiagnosisApproved { plan, approval, .. } => self.look_approved(now, plan, approval),
            Event::PlanVoided { plan, .. } => {
                if let Some(planned) = self.plans.get_mut(plan) {
                    planned.voided = true;
                }
                if self.history.approved.remove(plan) {
                    self.fail("S8", format!("{} waited and nobody was told why", plan.short()));
                }
            }
            Event::ReleaseHeld { plan, .. } => drop(self.history.approved.remove(plan)),
            Event::OrderReleased { incident, plan, automatic } => {
                self.history.approved.remove(plan);
                if *automatic {
                    self.fleet_released(now, incident.0, plan);
                }
                self.released(now, incident.0, plan);
            }
            _ => {}
        }
    }

    fn approved(&mut self, now: i64, approval: &sopwith_domain::approval::Approval) {
        let short = approval.plan.short();
        let Some(planned) = self.plans.get_mut(&approval.plan) else {
            return self.fail("I5", format!("{short} is approved and was never shown"));
        };
        let standing = matches!(approval.basis, Basis::Standing { .. });
        self.history.approved.insert(approval.plan);
        planned.approved = Some((now + approval.expires_at.since(approval.granted_at), standing));
        if standing {
            let named =
                ["restart", "reconfigure", "unstick", "reset"].contains(&planned.plan.playbook.as_str());
            if !(self.policy.automatic && named) {
                self.fail(
                    "I7",
                    format!("{short} needs a person, and a policy that names nothing approved it"),
                );
            }
            return;
        }
        let votes = self.history.votes.get(&approval.plan).cloned().unwrap_or_default();
        if votes.iter().any(|(_, vote)| *vote == Vote::Deny) {
            self.fail("I6", format!("{short} was denied, and approved all the same"));
        }
        let people: BTreeSet<_> =
            votes.iter().filter(|(_, vote)| *vote == Vote::Approve).map(|(by, _)| by).collect();
        if people.len() < self.policy.approvers {
            self.fail(
                "I6",
                format!("{short} is approved by {} people, not {}", people.len(), self.policy.approvers),
            );
        }
    }

    fn released(&mut self, now: i64, incident: u64, digest: &Digest) {
        let short = digest.short();
        let Some(planned) = self.plans.get_mut(digest) else {
            return self.fail("I4", format!("{short} is released and was never shown"));
        };
        planned.released = true;
        if planned.voided || planned.denied || planned.approved.is_none() {
            return self.fail("I5", format!("{short} is released without an approval that holds"));
        }
        if self.history.stopped.is_some() {
            self.fail("I21", format!("{short} is released while automation is stopped"));
        }
        let planned = &self.plans[digest];
        let run = UnderWay {
            incident,
            host: agent_of(&planned.plan.target.host),
            playbook: planned.plan.playbook.as_str().to_owned(),
            touches: planned.plan.touches(),
        };
        self.limits(now, &short, &run);
        self.history.releases.push(now);
        self.history.under_way.insert(*digest, run);
    }

    fn limits(&mut self, now: i64, short: &str, run: &UnderWay) {
        let under_way = &self.history.under_way;
        let here = || under_way.values().filter(|other| other.host == run.host);
        let same = under_way.values().filter(|other| other.playbook == run.playbook).count();
        let own = if run.playbook == "reconfigure" { 2 } else { usize::MAX };
        let recent = self.history.releases.iter().filter(|at| now - **at < HOUR_MS).count();
        let over = under_way.len() >= self.policy.overall
            || here().count() >= self.policy.per_host
            || same >= self.policy.per_playbook.min(own)
            || recent >= self.policy.per_hour;
        let covers = |other: &&UnderWay| {
            other.touches.iter().any(|a| run.touches.iter().any(|b| a.covers(b) || b.covers(a)))
        };
        let overlaps = here().find(covers).is_some();
        if over {
            self.fail("I17", format!("{short} is released over the limits: {recent} in the hour"));
        }
        if overlaps {
            self.fail("I16", format!("{short} is released while its resource is in use"));
        }
    }

    /// The server tells a host what it has; it must be durable.
    pub fn acked(&mut self, agent: usize, epoch: u64, items: u64, records: u64) {
        let durable = self.history.durable.get(&(agent, epoch)).copied().unwrap_or((0, 0));
        if items > durable.0 || records > durable.1 {
            let text =
                format!("h-{agent} is told {items}/{records}, durable are {}/{}", durable.0, durable.1);
            self.fail("I2", text);
        }
        let acked = self.history.acked.entry((agent, epoch)).or_default();
        *acked = (items.max(acked.0), records.max(acked.1));
    }

    /// The server has started again: what it told anybody must still be there.
    pub fn judge_restart(&mut self, epochs: &[(usize, u64, u64, u64)]) {
        // Its time may have leapt, also where it had nothing to record of that.
        self.history.fleet.restarted();
        self.history.silence.restarted();
        for (agent, epoch, items, records) in epochs {
            let acked = self.history.acked.get(&(*agent, *epoch)).copied().unwrap_or((0, 0));
            if *items < acked.0 || *records < acked.1 {
                self.fail("I2", format!("the server forgot what it acknowledged to h-{agent}"));
            }
        }
    }
}
