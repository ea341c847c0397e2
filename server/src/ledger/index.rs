//! Two small indexes over all events that the domain's state does not keep: which incident each plan was proposed
//! for, also when it has changed since, and which playbooks were retired, so that the same text is not installed
//! again at the next start. Folded beside the state; never decides anything.

use sopwith_domain::event::Event;
use sopwith_domain::ids::{Digest, IncidentId, PlaybookId};
use sopwith_domain::playbook::Playbook;
use sopwith_domain::state::State;
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    plans: BTreeMap<Digest, IncidentId>,
    retired: BTreeMap<PlaybookId, Digest>,
}

impl Index {
    /// Folds an event in, before the state has folded it.
    pub(super) fn fold(&mut self, event: &Event, before: &State) {
        match event {
            Event::PlanProposed { incident, plan, .. } => drop(self.plans.insert(plan.digest(), *incident)),
            Event::PlaybookRetired { playbook, .. } => {
                if let Some(installed) = before.playbooks.get(playbook) {
                    self.retired.insert(playbook.clone(), installed.playbook.digest);
                }
            }
            Event::PlaybookInstalled { playbook, .. } => {
                if let Ok(playbook) = Playbook::parse(&playbook.text) {
                    self.retired.remove(&playbook.id);
                }
            }
            _ => {}
        }
    }

    /// Returns the incident that a plan was proposed for.
    pub fn incident_of(&self, plan: &Digest) -> Option<IncidentId> {
        self.plans.get(plan).copied()
    }

    /// Says whether exactly this text was retired last.
    pub fn was_retired(&self, playbook: &Playbook) -> bool {
        self.retired.get(&playbook.id) == Some(&playbook.digest)
    }
}
