//! The state that would have come about: fed with what hosts and people said in the past, decided with the documents
//! of today. Its incidents have numbers of their own.

use super::{Documents, Past, Row, Would};
use crate::command::{Command, Item};
use crate::decide::{GAVE_UP, decide, due, is_own, owed};
use crate::event::{Event, Recorded};
use crate::evolve::evolve;
use crate::ids::{Digest, HostId, IncidentId};
use crate::incident::{Incident, Phase};
use crate::order::Order;
use crate::run::{End, Record, What};
use crate::signal::{Condition, Signal};
use crate::state::State;
use crate::time::{SECOND_MS, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How long the steps of a run are taken to last where nobody knows, in milliseconds.
const STEPS_MS: i64 = 5 * SECOND_MS;
/// Rounds of due commands at one instant.
const DUE_ROUNDS_MAX: usize = 16;

type Rows = BTreeMap<IncidentId, Row>;

/// A run that is taken to be under way.
#[derive(Clone, Debug)]
struct Assumed {
    ends_at: Timestamp,
    host: HostId,
    run: Digest,
    end: End,
    fingerprint: Digest,
}

#[derive(Debug)]
pub struct Shadow {
    state: State,
    seq: u64,
    /// The incident of the past for which a shadow's was opened.
    real: BTreeMap<IncidentId, IncidentId>,
    under_way: Vec<Assumed>,
    /// Faults that are taken to be mended, until the past says that they are raised anew.
    mended: BTreeSet<Digest>,
    past: Past,
}

impl Shadow {
    pub fn new(documents: Documents, past: Past) -> Self {
        let mut state = State { policy: documents.policy, ..State::default() };
        documents.playbooks.into_iter().for_each(|installed| state.install(installed));
        Self { state, seq: 0, real: BTreeMap::new(), under_way: Vec::new(), mended: BTreeSet::new(), past }
    }

    /// Lets time pass: assumed runs end, and what is due is decided.
    pub fn pass(&mut self, now: Timestamp, rows: &mut Rows) {
        loop {
            self.under_way.sort_by_key(|run| run.ends_at);
            let next = self.under_way.first().map(|run| run.ends_at).filter(|at| *at <= now);
            let Some(at) = next else { break };
            let run = self.under_way.remove(0);
            self.end(&run, at, rows);
            self.settle(at, rows);
        }
        self.settle(now, rows);
    }

    fn settle(&mut self, now: Timestamp, rows: &mut Rows) {
        for _ in 0..DUE_ROUNDS_MAX {
            let commands = due(&self.state, now);
            if commands.is_empty() {
                return;
            }
            for command in commands {
                self.decide(&command, now, rows);
            }
        }
    }

    /// Hands over what hosts and people said then. Documents, decisions and what the server made of it are left out.
    pub fn feed(&mut self, recorded: &Recorded<Event>, since: Timestamp, rows: &mut Rows) {
        let (at, within) = (recorded.at, recorded.at >= since);
        match &recorded.event {
            Event::HostEnrolled { .. }
            | Event::EpochBegan { .. }
            | Event::HostRevoked { .. }
            | Event::StopSet { .. }
            | Event::StopCleared { .. }
            | Event::ServerStarted => self.fold(recorded.event.clone(), at),
            Event::DeclarationsReported { host, declarations } => {
                let item = Item::Declarations { declarations: declarations.clone() };
                self.observe(host, item, at, rows);
            }
            Event::HostSilent { host, last_seen } => {
                let command = Command::DeclareSilent { host: host.clone(), last_seen: *last_seen };
                self.decide(&command, at, rows);
            }
            Event::HostHeard { host } => {
                self.decide(&Command::HearAgain { host: host.clone() }, at, rows);
            }
            Event::IncidentOpened { incident, signal, .. } => {
                self.mended.remove(&signal.fingerprint());
                if within {
                    self.opened(*incident, signal, at, rows);
                }
            }
            Event::SignalFolded { signal, .. } if within => self.signal(signal, at, rows),
            Event::IncidentReopened { incident, .. } => {
                let real = self.real.iter().find(|(_, real)| *real == incident).map(|(shadow, _)| *shadow);
                let known = real.and_then(|id| self.state.incidents.get(&id));
                if let Some(fingerprint) = known.map(|incident| incident.fingerprint) {
                    self.mended.remove(&fingerprint);
                }
            }
            Event::ConditionCleared { signal, .. } if within => self.signal(signal, at, rows),
            _ => {}
        }
    }

    fn opened(&mut self, real: IncidentId, signal: &Signal, at: Timestamp, rows: &mut Rows) {
        let before = self.state.open.get(&signal.fingerprint()).copied();
        if let Some(shadow) = before {
            // It has not closed in the shadow yet, or the server raised it itself there as here.
            if let Some(first) = self.real.get(&shadow).copied() {
                if let Some(row) = rows.get_mut(&real) {
                    (row.would, row.reason) = (Would::Fold, format!("would be the same incident as {first}"));
                    row.playbook = self.state.incidents.get(&shadow).and_then(|i| i.chosen.clone());
                }
            } else {
                self.real.insert(shadow, real);
                self.judge(shadow, rows);
                return;
            }
        } else if is_own(&signal.rule) {
            return;
        } else {
            let next = self.state.incidents.keys().next_back().map_or(1, |last| last.0 + 1);
            self.real.insert(IncidentId(next), real);
        }
        self.signal(signal, at, rows);
    }

    /// Hands over a signal, unless it tells of a fault that would have been mended by now.
    fn signal(&mut self, signal: &Signal, at: Timestamp, rows: &mut Rows) {
        let fingerprint = signal.fingerprint();
        match signal.condition {
            Condition::Raised if self.mended.contains(&fingerprint) => return,
            Condition::Raised => {}
            Condition::Cleared => drop(self.mended.remove(&fingerprint)),
        }
        // What the server raises itself the shadow raises itself.
        if is_own(&signal.rule) {
            return;
        }
        self.observe(&signal.host, Item::Signal { signal: Box::new(signal.clone()) }, at, rows);
    }

    fn observe(&mut self, host: &HostId, mut item: Item, at: Timestamp, rows: &mut Rows) {
        let Some(known) = self.state.hosts.get(host) else { return };
        let (epoch, seq) = (known.epoch, known.items_through + 1);
        if let Item::Signal { signal } = &mut item {
            signal.epoch = epoch;
        }
        self.decide(&Command::Observe { host: host.clone(), epoch, seq, item }, at, rows);
    }

    fn decide(&mut self, command: &Command, at: Timestamp, rows: &mut Rows) {
        // What is refused changed nothing then either.
        let Ok(events) = decide(&self.state, command, at) else { return };
        let mut touched = BTreeSet::new();
        let mut released = false;
        for event in events {
            if let Event::OrderReleased { incident, automatic: true, .. } = &event
                && let Some(row) = self.real.get(incident).and_then(|real| rows.get_mut(real))
            {
                row.runs += 1;
                row.after_ms.get_or_insert(at.since(row.at));
            }
            released |= matches!(event, Event::OrderReleased { .. });
            touched.extend(about(&event));
            self.fold(event, at);
        }
        for incident in touched {
            self.judge(incident, rows);
        }
        if released {
            self.start(at, rows);
        }
    }

    fn fold(&mut self, event: Event, at: Timestamp) {
        self.seq += 1;
        evolve(&mut self.state, &Recorded { seq: self.seq, at, event });
    }

    /// Has hosts take the orders that they are owed.
    fn start(&mut self, at: Timestamp, rows: &mut Rows) {
        let hosts: BTreeSet<HostId> = self.state.under_way().map(|incident| incident.host.clone()).collect();
        for host in hosts {
            for order in owed(&self.state, &host) {
                let assumed = self.assume(&host, &order, at);
                let run = order.plan;
                self.report(&host, run, What::Accepted { order: Box::new(order) }, at, rows);
                self.under_way.push(assumed);
            }
        }
    }

    fn assume(&self, host: &HostId, order: &Order, at: Timestamp) -> Assumed {
        let incident = self.state.incidents.get(&order.target.incident);
        let plan = incident.and_then(|i| i.proposal.as_ref()).map(|p| &p.plan);
        let real = self.real.get(&order.target.incident);
        let known = plan.zip(real).and_then(|(plan, real)| self.past.run(*real, &plan.playbook));
        let (lasted_ms, end) = match known {
            Some(known) => (known.lasted_ms, known.end.clone()),
            None => (STEPS_MS + plan.map_or(0, |plan| plan.soak_ms), End::Resolved),
        };
        let ends_at = at.plus(lasted_ms.max(1));
        Assumed { ends_at, host: host.clone(), run: order.plan, end, fingerprint: order.target.fingerprint }
    }

    fn end(&mut self, run: &Assumed, at: Timestamp, rows: &mut Rows) {
        self.report(&run.host, run.run, What::Ended { end: run.end.clone() }, at, rows);
        if run.end != End::Resolved {
            return;
        }
        self.mended.insert(run.fingerprint);
        let open = self.state.open.get(&run.fingerprint).and_then(|id| self.state.incidents.get(id));
        if let Some(incident) = open {
            let mut signal = incident.signal.clone();
            (signal.condition, signal.observed_at) = (Condition::Cleared, at.plus(1));
            let host = signal.host.clone();
            self.observe(&host, Item::Signal { signal: Box::new(signal) }, at, rows);
        }
    }

    fn report(&mut self, host: &HostId, run: Digest, what: What, at: Timestamp, rows: &mut Rows) {
        let Some(known) = self.state.hosts.get(host) else { return };
        let (epoch, seq) = (known.epoch, known.records_through + 1);
        let record = Box::new(Record { run, at, what });
        self.decide(&Command::ReportRun { host: host.clone(), epoch, seq, record }, at, rows);
    }

    /// Writes down what would have become of an incident, at first; what comes later only adds to it.
    fn judge(&mut self, shadow: IncidentId, rows: &mut Rows) {
        let row = self.real.get(&shadow).and_then(|real| rows.get_mut(real));
        let (Some(row), Some(incident)) = (row, self.state.incidents.get(&shadow)) else { return };
        if row.playbook.is_none() {
            row.playbook.clone_from(&incident.chosen);
        }
        let Some((would, brake, reason)) = stands(incident) else { return };
        if !row.judged || would == Would::Run {
            row.would = would;
        }
        if row.brake.is_none() && row.runs == 0 {
            row.brake = brake;
        }
        if row.reason.is_empty() && would != Would::Run {
            row.reason = reason;
        }
        row.judged = true;
    }
}

/// Returns how an incident stands, which brake holds it, and why.
fn stands(incident: &Incident) -> Option<(Would, Option<String>, String)> {
    let proposal = incident.proposal.as_ref();
    match &incident.phase {
        Phase::Running => Some((Would::Run, None, String::new())),
        Phase::Approved if proposal.is_some_and(|p| p.released_at.is_some()) => {
            Some((Would::Run, None, String::new()))
        }
        Phase::Approved => {
            let held = proposal.and_then(|p| p.held.clone());
            Some((
                Would::Hold,
                Some("limits".into()),
                held.unwrap_or_else(|| "the limits were reached".into()),
            ))
        }
        Phase::AwaitingApproval => Some((Would::Ask, None, String::new())),
        Phase::Detected => {
            let why_not = incident.why_not.as_ref()?;
            // The journal's own name of the reason, so that a new one needs nothing here.
            let json = serde_json::to_value(why_not).ok()?;
            let name = json.get("why_not")?.as_str()?.to_owned();
            Some((Would::Hold, Some(name), why_not.to_string()))
        }
        Phase::NeedsPerson { reason, .. } if reason.starts_with(GAVE_UP) => {
            Some((Would::Hold, Some("tries".into()), reason.clone()))
        }
        Phase::NeedsPerson { reason, .. } => Some((Would::Person, None, reason.clone())),
        Phase::Watching { .. } | Phase::Closed { .. } => None,
    }
}

/// Says whether the shadow makes anything of such an event.
pub fn hears(event: &Event) -> bool {
    matches!(
        event,
        Event::HostEnrolled { .. }
            | Event::EpochBegan { .. }
            | Event::HostRevoked { .. }
            | Event::StopSet { .. }
            | Event::StopCleared { .. }
            | Event::ServerStarted
            | Event::DeclarationsReported { .. }
            | Event::HostSilent { .. }
            | Event::HostHeard { .. }
            | Event::IncidentOpened { .. }
            | Event::SignalFolded { .. }
            | Event::IncidentReopened { .. }
            | Event::ConditionCleared { .. }
    )
}

fn about(event: &Event) -> Option<IncidentId> {
    match event {
        Event::IncidentOpened { incident, .. }
        | Event::IncidentReopened { incident, .. }
        | Event::Matched { incident, .. }
        | Event::Refrained { incident, .. }
        | Event::PlanProposed { incident, .. }
        | Event::PlanApproved { incident, .. }
        | Event::OrderReleased { incident, .. }
        | Event::ReleaseHeld { incident, .. }
        | Event::Escalated { incident, .. } => Some(*incident),
        _ => None,
    }
}
