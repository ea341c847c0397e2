//! How the runs of the past came out, by the incident they were for.

use crate::event::{Event, Recorded};
use crate::ids::{Digest, IncidentId, PlaybookId};
use crate::run::{End, What};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// A run that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    pub lasted_ms: i64,
    pub end: End,
}

/// All runs of the journal; handed the journal in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Past {
    proposed: BTreeMap<Digest, (IncidentId, PlaybookId)>,
    accepted: BTreeMap<Digest, Timestamp>,
    ended: BTreeMap<(IncidentId, PlaybookId), Known>,
}

impl Past {
    /// Takes the journal's next event.
    pub fn take(&mut self, recorded: &Recorded<Event>) {
        match &recorded.event {
            Event::PlanProposed { incident, plan, .. } => {
                self.proposed.insert(plan.digest(), (*incident, plan.playbook.clone()));
            }
            Event::RunReported { record, .. } => match &record.what {
                What::Accepted { .. } => drop(self.accepted.entry(record.run).or_insert(recorded.at)),
                What::Ended { end } => {
                    let began_at = self.accepted.remove(&record.run);
                    let (Some(key), Some(began_at)) = (self.proposed.remove(&record.run), began_at) else {
                        return;
                    };
                    let known = Known { lasted_ms: recorded.at.since(began_at), end: end.clone() };
                    // The first try counts; what came of the next one came after it.
                    self.ended.entry(key).or_insert(known);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Returns how the playbook's first run for an incident came out, if there was one.
    pub fn run(&self, incident: IncidentId, playbook: &PlaybookId) -> Option<&Known> {
        self.ended.get(&(incident, playbook.clone()))
    }
}
