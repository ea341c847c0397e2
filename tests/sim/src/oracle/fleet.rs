//! What must hold of many hosts together, counted again from the events: one host first, waves, failures, failure
//! domains, storms, and the budget of each service.

use super::Oracle;
use super::history::agent_of;
use sopwith_domain::declaration::{Declaration, Declarations};
use sopwith_domain::ids::Digest;
use sopwith_domain::incident::WhyNot;
use sopwith_domain::run::{End, What};
use sopwith_domain::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};

const HOUR_MS: i64 = 3_600_000;

/// Rule and subject: what makes faults of several hosts the same.
type Symptom = (String, String);

/// One host's incident.
#[derive(Clone, Debug)]
struct Case {
    agent: usize,
    symptom: Symptom,
    opened_at: i64,
    open: bool,
    /// The host's latest word is that it holds.
    holds: bool,
    watched: bool,
    /// It is told as part of another.
    folded: bool,
    /// The automatic run that is under way.
    run: Option<Digest>,
    mended_at: Option<i64>,
    failed: usize,
    /// So many hosts had it when it opened that it must be told as one.
    common: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Fleet {
    cases: BTreeMap<u64, Case>,
    /// Open incidents of the server's own: of a fault of many hosts, and of a storm.
    common: BTreeMap<u64, Symptom>,
    storm: Option<u64>,
    domains: BTreeMap<usize, String>,
    /// Automatic releases on each service.
    services: BTreeMap<(usize, String), Vec<i64>>,
}

/// Says whether the server raised it itself.
pub fn own(signal: &Signal) -> bool {
    signal.rule.as_str().starts_with("server.")
}

fn symptom(signal: &Signal) -> Symptom {
    (signal.rule.to_string(), signal.subject.to_string())
}

impl Fleet {
    fn case(&mut self, incident: u64) -> Option<&mut Case> {
        self.cases.get_mut(&incident)
    }

    pub fn cleared(&mut self, incident: u64) {
        if let Some(case) = self.case(incident) {
            case.holds = false;
        }
    }

    pub fn watched(&mut self, incident: u64) {
        if let Some(case) = self.case(incident) {
            case.watched = true;
        }
    }

    pub fn refrained(&mut self, incident: u64, why_not: &WhyNot) {
        if let Some(case) = self.case(incident) {
            case.watched = false;
            case.folded = matches!(
                why_not,
                WhyNot::Follows { .. }
                    | WhyNot::WithOthers { .. }
                    | WhyNot::OneOfMany { .. }
                    | WhyNot::Frozen { .. }
                    | WhyNot::Storm { .. }
            );
        }
    }

    pub fn closed(&mut self, incident: u64) {
        self.storm = self.storm.filter(|storm| *storm != incident);
        if let Some(symptom) = self.common.remove(&incident) {
            for case in self.cases.values_mut().filter(|case| case.symptom == symptom) {
                (case.failed, case.mended_at) = (0, None);
            }
        }
        if let Some(case) = self.case(incident) {
            case.open = false;
        }
    }

    /// The server's time may have leapt: what was raised before may be long ago for it.
    pub fn restarted(&mut self) {
        self.cases.values_mut().for_each(|case| case.opened_at = i64::MIN / 2);
    }

    /// A person is called: what was under way has not gone well.
    pub fn handed_over(&mut self, incident: u64) {
        if let Some(case) = self.case(incident) {
            case.watched = false;
            if case.run.take().is_some() {
                case.failed += 1;
            }
        }
    }

    pub fn ended(&mut self, now: i64, run: &Digest, what: &What) {
        let Some(case) = self.cases.values_mut().find(|case| case.run == Some(*run)) else { return };
        case.run = None;
        match what {
            What::Ended { end: End::Resolved } => case.mended_at = Some(now),
            What::Ended { .. } => case.failed += 1,
            _ => {}
        }
    }

    pub fn declared(&mut self, agent: usize, declarations: &Declarations) {
        let fact = declarations.stated.iter().find_map(|declaration| match declaration {
            Declaration::Fact { name, value } if name.as_str() == "failure-domain" => Some(value.to_string()),
            _ => None,
        });
        match fact {
            Some(domain) => drop(self.domains.insert(agent, domain)),
            None => drop(self.domains.remove(&agent)),
        }
    }

    /// Returns on how many hosts a fault was raised lately that hold it still, with the one on which it is raised now.
    fn common_with(&self, now: i64, agent: usize, symptom: &Symptom) -> usize {
        let lately = |case: &&Case| {
            case.open && case.holds && case.symptom == *symptom && now - case.opened_at < 60_000
        };
        let mut hosts: BTreeSet<usize> = self.cases.values().filter(lately).map(|case| case.agent).collect();
        hosts.insert(agent);
        hosts.len()
    }

    fn sick(&self) -> usize {
        let sick = |case: &&Case| case.open && case.holds && !case.watched && !case.folded;
        self.cases.values().filter(sick).map(|case| case.agent).collect::<BTreeSet<_>>().len()
    }
}

impl Oracle {
    pub(super) fn fleet_opened(&mut self, now: i64, incident: u64, signal: &Signal) {
        let fleet = &mut self.history.fleet;
        let key = symptom(signal);
        if signal.rule.as_str() == "server.storm" {
            if fleet.storm.replace(incident).is_some() {
                self.fail("I19", "a second page for one storm".into());
            }
            return;
        }
        if let Some(rule) = signal.rule.as_str().strip_prefix("server.same-fault:") {
            fleet.common.insert(incident, (rule.to_owned(), key.1));
            return;
        }
        if own(signal) {
            return;
        }
        let agent = agent_of(&signal.host);
        let fresh = Case {
            agent,
            symptom: key,
            opened_at: now,
            open: true,
            holds: true,
            watched: false,
            folded: false,
            run: None,
            mended_at: None,
            failed: 0,
            common: false,
        };
        // It was mended on this host, and did not last.
        let bake_ms = self.policy.bake_ms;
        let before =
            fleet.cases.values_mut().filter(|case| case.agent == agent && case.symptom == fresh.symptom);
        for case in before.filter(|case| case.mended_at.is_some_and(|at| now - at < bake_ms)) {
            (case.mended_at, case.failed) = (None, case.failed + 1);
        }
        let common = fleet.common_with(now, agent, &fresh.symptom) >= self.policy.common;
        fleet.cases.insert(incident, Case { common, ..fresh });
    }

    /// A host says that it holds, still or again.
    pub(super) fn fleet_folded(&mut self, now: i64, incident: u64) {
        let policy = self.policy.common;
        let fleet = &mut self.history.fleet;
        let Some(case) = fleet.case(incident) else { return };
        if std::mem::replace(&mut case.holds, true) {
            return;
        }
        case.opened_at = now;
        let (agent, symptom) = (case.agent, case.symptom.clone());
        let common = fleet.common_with(now, agent, &symptom) >= policy;
        if let Some(case) = fleet.case(incident) {
            case.common |= common;
        }
    }

    pub(super) fn fleet_reopened(&mut self, now: i64, incident: u64) {
        let Some(case) = self.history.fleet.case(incident) else { return };
        (case.watched, case.folded, case.opened_at) = (false, false, now);
        if case.mended_at.take().is_some() {
            case.failed += 1;
        }
    }

    /// Judges an order that nobody was asked about.
    pub(super) fn fleet_released(&mut self, now: i64, incident: u64, run: &Digest) {
        let policy = self.policy;
        let fleet = &mut self.history.fleet;
        let Some(case) = fleet.cases.get_mut(&incident) else { return };
        (case.folded, case.watched) = (false, false);
        let (agent, key) = (case.agent, case.symptom.clone());
        let touches = self.plans.get(run).map(|planned| planned.plan.touches()).unwrap_or_default();
        let mut over = None;
        for subject in touches {
            let taken = fleet.services.entry((agent, subject.to_string())).or_default();
            taken.retain(|at| now - *at < HOUR_MS);
            if taken.len() >= policy.per_service {
                over =
                    Some(format!("{subject} of h-{agent} is worked on {} times in an hour", taken.len() + 1));
            }
            taken.push(now);
        }
        let fault =
            over.map(|text| ("I17", text)).or_else(|| many(fleet, incident, agent, &key, policy, now));
        if let Some(case) = fleet.cases.get_mut(&incident) {
            (case.run, case.mended_at) = (Some(*run), None);
        }
        if let Some((invariant, text)) = fault {
            self.fail(invariant, format!("{} is released: {text}", run.short()));
        }
    }
}

fn many(
    fleet: &Fleet,
    incident: u64,
    agent: usize,
    key: &Symptom,
    policy: super::PolicyFacts,
    now: i64,
) -> Option<(&'static str, String)> {
    if let Some(storm) = fleet.storm {
        return Some(("I19", format!("INC-{storm} is a storm")));
    }
    let sick = fleet.sick();
    if sick >= policy.storm {
        return Some(("I19", format!("{sick} hosts are sick")));
    }
    let same = || fleet.cases.iter().filter(|(_, case)| case.symptom == *key);
    let others = || same().filter(|(_, case)| case.agent != agent).map(|(_, case)| case);
    if !others().any(|case| case.open) {
        return None;
    }
    let failed: usize = same().map(|(_, case)| case.failed).sum();
    if failed >= policy.failures {
        return Some(("I18", format!("it failed {failed} times on hosts with the same fault")));
    }
    let lasts = |case: &&Case| case.mended_at.is_some_and(|at| now - at >= policy.bake_ms);
    let working: Vec<&Case> =
        others().filter(|case| case.run.is_some() || (case.mended_at.is_some() && !lasts(case))).collect();
    let good = others().filter(lasts).count();
    if !working.is_empty() && good == 0 {
        return Some(("I18", "another host with the same fault comes first".into()));
    }
    let domain = fleet.domains.get(&agent);
    if working.iter().any(|case| fleet.domains.get(&case.agent) != domain) {
        return Some(("I18", "two failure domains at once".into()));
    }
    let common = fleet.cases.get(&incident).is_some_and(|case| case.common);
    (common && !fleet.common.values().any(|common| common == key))
        .then(|| ("I3", "many hosts had it when it opened, and it is not told as one".into()))
}
