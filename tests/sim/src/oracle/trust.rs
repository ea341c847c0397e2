//! What must hold of playbooks that earn what they may do by themselves, counted again from how their runs ended.

use super::Oracle;
use sopwith_domain::event::Event;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{End, What};
use std::collections::{BTreeMap, BTreeSet};

/// What the policies would let run by itself; people approve all else, whatever its record.
const BY_ITSELF: [&str; 4] = ["restart", "reconfigure", "unstick", "reset"];

const SHADOW: u32 = 0;
/// Where every playbook begins: people approve.
const SUGGEST: u32 = 1;
const AUTO: u32 = 2;

/// What a playbook has shown.
#[derive(Clone, Debug)]
struct Record {
    text: Digest,
    level: u32,
    /// Verified runs at this level.
    verified: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Trust {
    plans: BTreeMap<Digest, (String, Digest)>,
    /// The latest plan of each incident; a run of another has no plan that the server could still know.
    latest: BTreeMap<u64, Digest>,
    accepted: BTreeSet<Digest>,
    ended: BTreeSet<Digest>,
    cancelled: BTreeSet<Digest>,
    records: BTreeMap<String, Record>,
    /// Plans that were only to be looked at.
    shown: BTreeSet<Digest>,
}

impl Trust {
    fn record(&self, playbook: &str, text: &Digest) -> Record {
        let fresh = Record { text: *text, level: SUGGEST, verified: 0 };
        self.records.get(playbook).map_or(fresh, |record| match record.text == *text {
            true => record.clone(),
            // Another text has shown nothing yet.
            false => Record { text: *text, level: record.level.min(SUGGEST), verified: 0 },
        })
    }

    fn proposed(&mut self, incident: u64, plan: &Plan) {
        let (digest, playbook) = (plan.digest(), plan.playbook.to_string());
        self.latest.insert(incident, digest);
        if !BY_ITSELF.contains(&playbook.as_str()) {
            return;
        }
        if self.record(&playbook, &plan.playbook_digest).level == SHADOW {
            self.shown.insert(digest);
        }
        self.plans.insert(digest, (playbook, plan.playbook_digest));
    }

    fn ended(&mut self, run: Digest, end: &End, runs: u32) {
        let known = self.accepted.contains(&run) && self.ended.insert(run);
        let Some((playbook, text)) = self.plans.get(&run).filter(|_| known).cloned() else { return };
        let mut record = self.record(&playbook, &text);
        match end {
            End::Resolved => {
                record.verified += 1;
                if record.level < AUTO && record.verified >= runs {
                    (record.level, record.verified) = (record.level + 1, 0);
                }
            }
            _ if self.cancelled.contains(&run) => return,
            _ => (record.level, record.verified) = (record.level.saturating_sub(1), 0),
        }
        self.records.insert(playbook, record);
    }
}

impl Oracle {
    /// Judges one durable event for whether what runs by itself has earned it.
    pub(super) fn trusted(&mut self, event: &Event) {
        let runs = self.policy.promotion;
        if runs == 0 {
            return;
        }
        let trust = &mut self.history.trust;
        match event {
            Event::PlanProposed { incident, plan, .. } => trust.proposed(incident.0, plan),
            // A restored server may void what was approved in the history that it lost, and knows no plan for its run.
            Event::PlanVoided { incident, plan, .. } if trust.latest.get(&incident.0) == Some(plan) => {
                trust.latest.remove(&incident.0);
            }
            Event::CancelRequested { run, .. } => drop(trust.cancelled.insert(*run)),
            Event::RunReported { record, .. } => match &record.what {
                What::Accepted { .. } if trust.latest.values().any(|plan| *plan == record.run) => {
                    trust.accepted.insert(record.run);
                }
                What::Ended { end } => trust.ended(record.run, end, runs),
                _ => {}
            },
            Event::PlanApproved { approval, .. } if trust.shown.contains(&approval.plan) => {
                self.fail(
                    "P7",
                    format!("{} was only to be looked at, and is approved", approval.plan.short()),
                );
            }
            Event::OrderReleased { plan, automatic: true, .. } => {
                let Some((playbook, text)) = trust.plans.get(plan) else { return };
                let record = trust.record(playbook, text);
                if record.level < AUTO {
                    let text = format!(
                        "{} of {playbook} starts by itself, which has not earned it ({} verified runs)",
                        plan.short(),
                        record.verified
                    );
                    self.fail("P7", text);
                }
            }
            _ => {}
        }
    }
}
