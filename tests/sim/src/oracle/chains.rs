//! What must hold of runs that follow from each other, counted again from the events: no circle, no endless chain, no
//! automatic run on what automation gave up on, no step of the ladder left out or climbed without leave.

use super::Oracle;
use super::history::agent_of;
use sopwith_domain::event::Event;
use sopwith_domain::ids::Digest;
use sopwith_domain::run::{End, What};
use sopwith_domain::signal::{Signal, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// How long after a run a fault counts as come from it, less what clocks may differ by.
const WINDOW_MS: i64 = 600_000 - 5_000;
/// So many other faults before it are too many.
const DEPTH: usize = 3;

/// Rule and subject on one host: one fault.
type Fault = (usize, String, String);

/// One released order.
#[derive(Clone, Debug)]
struct Deed {
    fault: Fault,
    incident: u64,
    run: Digest,
    playbook: String,
    touches: BTreeSet<Subject>,
    automatic: bool,
    /// How many orders had been released when its fault was raised, and when that was.
    raised: (usize, i64),
    ended_at: Option<i64>,
    /// It ended, and not well.
    failed: bool,
    cancelled: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Chains {
    deeds: Vec<Deed>,
    faults: BTreeMap<u64, (Fault, Subject)>,
    raised: BTreeMap<u64, (usize, i64)>,
    /// What automation gave up on, by incident.
    frozen: BTreeMap<u64, (usize, BTreeSet<Subject>)>,
    /// Playbooks of which a plan was proposed for an incident.
    proposed: BTreeSet<(u64, String)>,
    /// Playbooks that are not in force.
    retired: BTreeSet<String>,
}

/// Returns the playbooks that the catalogue names as stronger, with the kind that the first of them answers.
fn ladder(rule: &str) -> Option<(&'static str, &'static str)> {
    match rule {
        "svc.down" => Some(("restart", "clean")),
        "svc.flap" => Some(("reset", "restart")),
        _ => None,
    }
}

impl Chains {
    fn opened(&mut self, now: i64, incident: u64, signal: &Signal) {
        let fault = (agent_of(&signal.host), signal.rule.to_string(), signal.subject.to_string());
        self.faults.insert(incident, (fault, signal.subject.clone()));
        self.raised.insert(incident, (self.deeds.len(), now));
    }

    fn ended(&mut self, now: i64, run: &Digest, what: &What) {
        for deed in self.deeds.iter_mut().filter(|deed| deed.run == *run) {
            deed.ended_at = Some(now);
            deed.failed = matches!(what, What::Ended { end } if *end != End::Resolved);
        }
    }

    fn released(
        &mut self,
        incident: u64,
        run: Digest,
        playbook: String,
        touches: BTreeSet<Subject>,
        automatic: bool,
    ) {
        let Some((fault, _)) = self.faults.get(&incident) else { return };
        let raised = self.raised.get(&incident).copied().unwrap_or_default();
        let (fault, ended_at, failed, cancelled) = (fault.clone(), None, false, false);
        let deed =
            Deed { fault, incident, run, playbook, touches, automatic, raised, ended_at, failed, cancelled };
        self.deeds.push(deed);
    }

    /// Says what is wrong with an automatic release, if something is. It is the last deed.
    fn fault_of_last(&self) -> Option<(&'static str, String)> {
        let (last, before) = self.deeds.split_last()?;
        let frozen = self
            .frozen
            .iter()
            .find(|(_, (agent, subjects))| *agent == last.fault.0 && !subjects.is_disjoint(&last.touches));
        if let Some((incident, _)) = frozen {
            return Some(("S2", format!("automation gave up on that for INC-{incident}")));
        }
        let mut chain: Vec<&Deed> = Vec::new();
        let mut at = last;
        while let Some(one) = before[..at.raised.0.min(before.len())].iter().rev().find(|deed| {
            let lately = deed.ended_at.is_none_or(|ended_at| at.raised.1 - ended_at < WINDOW_MS);
            deed.fault.0 == at.fault.0 && lately && !deed.touches.is_disjoint(&at.touches)
        }) {
            chain.push(one);
            at = one;
        }
        let other = |deed: &&&Deed| deed.fault != last.fault && deed.playbook != last.playbook;
        let away = chain.iter().position(|deed| other(&deed))?;
        if chain[away..].iter().any(|deed| !other(&deed)) {
            return Some(("S3", format!("{} closes a circle over {}", last.playbook, chain[away].playbook)));
        }
        let others: BTreeSet<&Fault> = chain.iter().filter(other).map(|deed| &deed.fault).collect();
        (others.len() >= DEPTH).then(|| ("S3", format!("it is the end of a chain of {}", others.len() + 1)))
    }

    /// Says whether a stronger SOP was to be proposed and was not, when a person is called because a fix came to nothing.
    fn skipped(&self, incident: u64, reason: &str) -> Option<String> {
        let (fault, _) = self.faults.get(&incident)?;
        let (own, stronger) = ladder(&fault.1)?;
        let last = self.deeds.iter().rev().find(|deed| deed.incident == incident)?;
        let came_to_nothing = reason.starts_with("gave up after")
            || (reason.starts_with("the fix was undone") && last.automatic && !last.cancelled);
        let skipped = came_to_nothing
            && last.playbook == own
            // The file that the stronger one needs is there for the first two units.
            && !fault.2.contains("sopwith")
            && !self.retired.contains(own)
            && !self.retired.contains(stronger)
            && !self.proposed.contains(&(incident, stronger.to_owned()));
        skipped.then(|| format!("INC-{incident} is a person's, and {stronger} was never proposed"))
    }

    fn handed_over(&mut self, incident: u64, reason: &str) {
        let Some((fault, subject)) = self.faults.get(&incident) else { return };
        let deeds = || self.deeds.iter().filter(|deed| deed.fault == *fault);
        let Some(last) = deeds().next_back().filter(|_| deeds().any(|deed| deed.automatic)) else { return };
        let gave_up =
            ["gave up after", "the fix was undone", "the run stopped"].iter().any(|r| reason.starts_with(r));
        if gave_up && !last.cancelled {
            self.frozen.insert(incident, (fault.0, BTreeSet::from([subject.clone()])));
        }
    }
}

impl Oracle {
    /// Judges one durable event for what follows from what.
    pub(super) fn chained(&mut self, now: i64, event: &Event) {
        let chains = &mut self.history.chains;
        let mut fault = None;
        match event {
            Event::IncidentOpened { incident, signal, .. } => chains.opened(now, incident.0, signal),
            Event::IncidentReopened { incident, .. } => {
                chains.raised.insert(incident.0, (chains.deeds.len(), now));
            }
            Event::PlanProposed { incident, plan, .. } => {
                chains.proposed.insert((incident.0, plan.playbook.to_string()));
            }
            Event::PlaybookRetired { playbook, .. } => drop(chains.retired.insert(playbook.to_string())),
            Event::CancelRequested { run, .. } => {
                chains.deeds.iter_mut().filter(|d| d.run == *run).for_each(|deed| deed.cancelled = true);
            }
            Event::RunReported { record, .. }
                if matches!(record.what, What::Ended { .. } | What::Refused { .. }) =>
            {
                chains.ended(now, &record.run, &record.what);
            }
            Event::Escalated { incident, reason } => {
                fault = chains.skipped(incident.0, reason).map(|text| ("S2", text));
                chains.handed_over(incident.0, reason);
            }
            Event::IncidentClosed { incident, .. } => drop(chains.frozen.remove(&incident.0)),
            Event::OrderReleased { incident, plan, automatic } => {
                let Some(planned) = self.plans.get(plan) else { return };
                let (playbook, touches) = (planned.plan.playbook.to_string(), planned.plan.touches());
                let rule =
                    chains.faults.get(&incident.0).map(|(fault, _)| fault.1.clone()).unwrap_or_default();
                let climbs = ladder(&rule).is_some_and(|(_, stronger)| stronger == playbook);
                chains.released(incident.0, *plan, playbook, touches, *automatic);
                if *automatic {
                    fault = match climbs {
                        true => Some(("S2", "a stronger SOP starts and nobody was asked".to_owned())),
                        false => chains.fault_of_last(),
                    };
                }
                fault = fault
                    .map(|(invariant, text)| (invariant, format!("{} is released: {text}", plan.short())));
            }
            _ => {}
        }
        if let Some((invariant, text)) = fault {
            self.fail(invariant, text);
        }
    }
}
