//! What the playbooks, the policy and the brakes of today would have made of the signals of the past: which SOP would
//! have matched, who would have had to say yes, and which brake would have held it. The journal's signals,
//! declarations and stops go once more through [`crate::decide`], into a state of their own; nothing is run and
//! nothing is written. Same journal, same documents, same table.
//!
//! What it assumes, for no journal can know it: an order that would have been released runs as long as it runs at
//! least, passes its checks, and mends what it was for, unless the same SOP did run for that incident: then it ends
//! as it did. People decide nothing. What time brings about happens with the next event of the journal.

mod past;
mod shadow;
#[cfg(test)]
mod tests;

pub use past::Past;

use crate::event::{Event, Recorded};
use crate::ids::{HostId, IncidentId, PlaybookId};
use crate::playbook::Playbook;
use crate::policy::Policy;
use crate::signal::{SignalKind, Subject};
use crate::state::{Installed, PolicyInForce};
use crate::time::Timestamp;
use serde::Serialize;
use shadow::Shadow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most incidents that one backtest tells of; the rest is counted.
pub const ROWS_MAX: usize = 10_000;

/// The documents that are tried.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    pub playbooks: Vec<Arc<Installed>>,
    pub policy: Option<Arc<PolicyInForce>>,
}

impl Documents {
    /// Returns documents that nobody has signed yet, for a trial before they are.
    pub fn unsigned(playbooks: Vec<Playbook>, policy: Option<Policy>) -> Self {
        let nobody = || crate::order::SignedText { text: String::new(), signature: String::new() };
        let installed = |playbook| {
            let (signed, signer) = (nobody(), String::new());
            Arc::new(Installed { playbook, signed, signer, installed_at: Timestamp(0) })
        };
        let in_force = |policy| Arc::new(PolicyInForce { policy, signed: nobody(), signer: String::new() });
        Self { playbooks: playbooks.into_iter().map(installed).collect(), policy: policy.map(in_force) }
    }

    /// Puts other documents in the place of those with the same id.
    pub fn replace(&mut self, other: Self) {
        self.playbooks.retain(|old| !other.playbooks.iter().any(|new| new.playbook.id == old.playbook.id));
        self.playbooks.extend(other.playbooks);
        self.policy = other.policy.or(self.policy.take());
    }
}

/// What would have become of an incident at first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// It would have run without a person.
    Run,
    /// Its plan would have waited for people.
    Ask,
    /// A brake would have held it.
    Hold,
    /// A person would have been called: no SOP, several, or one that is for people.
    Person,
    /// It would have been the same incident as one before.
    Fold,
}

impl Would {
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Ask => "ask",
            Self::Hold => "hold",
            Self::Person => "person",
            Self::Fold => "fold",
        }
    }
}

/// One incident of the past, and what today would have made of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    pub incident: IncidentId,
    pub at: Timestamp,
    pub host: HostId,
    pub kind: SignalKind,
    pub subject: Subject,
    /// The SOP that was chosen then, and what became of the incident so far.
    pub then_playbook: Option<PlaybookId>,
    pub then: String,
    /// The SOP that would be chosen now.
    pub playbook: Option<PlaybookId>,
    pub would: Would,
    /// Name of the brake that would have held it, first or for good.
    pub brake: Option<String>,
    /// Why it would have been held, or a person called.
    pub reason: String,
    /// How long it would have been held before it ran, in milliseconds; nothing where it would not have run.
    pub after_ms: Option<i64>,
    /// Runs that would have been started for it.
    pub runs: u32,
    /// Whether anything was decided about it at all.
    #[serde(skip)]
    judged: bool,
}

/// What a backtest came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub left_out: u64,
    /// Incidents by what would have become of them.
    pub would: BTreeMap<&'static str, u64>,
    /// Incidents that a brake would have held, by its name.
    pub brakes: BTreeMap<String, u64>,
    /// Incidents for which another SOP would be chosen now than was then.
    pub chosen_otherwise: u64,
    /// Runs that would have been started without a person.
    pub automatic_runs: u64,
}

/// A backtest under way: it is handed the journal in order, event by event, after a [`Past`] was.
#[derive(Debug)]
pub struct Backtest {
    since: Timestamp,
    shadow: Shadow,
    rows: BTreeMap<IncidentId, Row>,
    left_out: u64,
}

impl Backtest {
    pub fn new(since: Timestamp, documents: Documents, past: Past) -> Self {
        Self { since, shadow: Shadow::new(documents, past), rows: BTreeMap::new(), left_out: 0 }
    }

    /// Takes the journal's next event.
    pub fn take(&mut self, recorded: &Recorded<Event>) {
        self.then(&recorded.event);
        if !shadow::hears(&recorded.event) {
            return;
        }
        self.shadow.pass(recorded.at, &mut self.rows);
        if let Event::IncidentOpened { incident, signal, .. } = &recorded.event
            && recorded.at >= self.since
        {
            let row = Row {
                incident: *incident,
                at: recorded.at,
                host: signal.host.clone(),
                kind: signal.kind.clone(),
                subject: signal.subject.clone(),
                then_playbook: None,
                then: "open".into(),
                playbook: None,
                would: Would::Person,
                brake: None,
                reason: String::new(),
                after_ms: None,
                runs: 0,
                judged: false,
            };
            if self.rows.len() < ROWS_MAX {
                self.rows.insert(*incident, row);
            } else {
                self.left_out += 1;
            }
        }
        self.shadow.feed(recorded, self.since, &mut self.rows);
    }

    /// Notes what became of an incident then.
    fn then(&mut self, event: &Event) {
        let (id, then) = match event {
            Event::Matched { incident, chosen, .. } => {
                if let Some(row) = self.rows.get_mut(incident) {
                    row.then_playbook.clone_from(chosen);
                }
                return;
            }
            Event::Refrained { incident, .. } => (incident, "left alone"),
            Event::PlanProposed { incident, .. } => (incident, "asked people"),
            Event::OrderReleased { incident, automatic: true, .. } => (incident, "ran by itself"),
            Event::OrderReleased { incident, automatic: false, .. } => (incident, "ran, approved by people"),
            Event::Escalated { incident, .. } => (incident, "a person was called"),
            _ => return,
        };
        if let Some(row) = self.rows.get_mut(id) {
            row.then = then.into();
        }
    }

    /// Ends it, and returns what it came to.
    pub fn finish(mut self, now: Timestamp) -> Report {
        self.shadow.pass(now, &mut self.rows);
        let mut report = Report { left_out: self.left_out, ..Report::default() };
        for row in self.rows.into_values() {
            *report.would.entry(row.would.name()).or_default() += 1;
            if let Some(brake) = &row.brake {
                *report.brakes.entry(brake.clone()).or_default() += 1;
            }
            let same = row.playbook == row.then_playbook || row.would == Would::Fold;
            report.chosen_otherwise += u64::from(!same);
            report.automatic_runs += u64::from(row.runs);
            report.rows.push(row);
        }
        report
    }
}
