//! How much may be done: runs at the same time and runs within an hour, overall and for each host, SOP and service.
//! Fails closed: where nothing is left, or nothing is granted, nothing starts. The budget is taken with the release.

use super::release::Blocked;
use crate::ids::IncidentId;
use crate::mutant::{self, Mutant};
use crate::plan::Plan;
use crate::signal::Subject;
use crate::state::{Release, State};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Says whether the budgets allow one more run now.
///
/// # Errors
/// Names the one that is spent. The text stays the same for as long as the reason does.
pub fn check(
    state: &State,
    incident: IncidentId,
    plan: &Plan,
    automatic: bool,
    now: Timestamp,
) -> Result<(), Blocked> {
    if mutant::is(Mutant::IgnoreAtOnce) {
        return Ok(());
    }
    at_once(state, incident, plan)?;
    let policy = state.policy();
    if state.releases_in_hour(now) >= policy.per_hour {
        return spent(format!(
            "{} orders were released within the hour, which is the limit",
            policy.per_hour
        ));
    }
    if automatic { hourly(state, plan, now) } else { Ok(()) }
}

fn spent<T>(reason: String) -> Result<T, Blocked> {
    Err(Blocked { reason })
}

fn at_once(state: &State, incident: IncidentId, plan: &Plan) -> Result<(), Blocked> {
    let at_once = state.policy().at_once;
    let own = state.playbooks.get(&plan.playbook).and_then(|i| i.playbook.limits.at_once).unwrap_or(u32::MAX);
    let (mut overall, mut here, mut same) = (0, 0, 0);
    for other in state.under_way().filter(|other| other.id != incident) {
        overall += 1;
        let Some(proposal) = &other.proposal else { continue };
        here += u32::from(other.host == plan.target.host);
        same += u32::from(proposal.plan.playbook == plan.playbook);
    }
    let limits = [
        ("overall", overall, at_once.overall),
        ("on this host", here, at_once.per_host),
        ("of this SOP", same, at_once.per_playbook.min(own)),
    ];
    match limits.into_iter().find(|(_, count, max)| count >= max) {
        Some((what, _, max)) => {
            spent(format!("as many runs {what} are under way as may be at the same time, {max}"))
        }
        None => Ok(()),
    }
}

/// The budgets of automation: people may go beyond them, each time by a decision.
fn hourly(state: &State, plan: &Plan, now: Timestamp) -> Result<(), Blocked> {
    let budgets = state.policy().budgets;
    let count =
        |of: &dyn Fn(&Release) -> bool| state.released(now, |release| release.automatic && of(release));
    let on_host = |release: &Release| release.host == plan.target.host;
    if count(&on_host) >= budgets.per_host {
        return spent(format!(
            "the budget of {}, {} automatic runs an hour, is spent",
            plan.target.host, budgets.per_host
        ));
    }
    if count(&|release| release.playbook == plan.playbook) >= budgets.per_playbook {
        return spent(format!(
            "the budget of {}, {} automatic runs an hour, is spent",
            plan.playbook, budgets.per_playbook
        ));
    }
    let per_service = budgets.per_service;
    let touched = |subject: &Subject| count(&|release| on_host(release) && release.touches.contains(subject));
    match plan.touches().into_iter().find(|subject| touched(subject) >= per_service) {
        Some(subject) if !mutant::is(Mutant::IgnoreServiceBudget) => spent(format!(
            "the budget of {subject} on {}, {per_service} automatic runs an hour, is spent",
            plan.target.host
        )),
        _ => Ok(()),
    }
}

/// What a budget is of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Of {
    Overall,
    Sop(String),
    Host(String),
    /// Something that plans touch, with its host.
    Service(String, String),
}

/// One budget as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    pub of: Of,
    /// Runs under way and how many there may be at the same time; nothing where that is not limited.
    pub at_once: Option<(u32, u32)>,
    /// Runs released within the hour and how many there may be.
    pub hour: (u32, u32),
}

/// Returns how all budgets stand that are granted or drawn on.
pub fn left(state: &State, now: Timestamp) -> Vec<Left> {
    let policy = state.policy();
    let mut of = BTreeSet::from([Of::Overall]);
    of.extend(policy.auto.iter().map(|sop| Of::Sop(sop.to_string())));
    let recent: Vec<&Release> =
        state.releases.iter().filter(|release| now.since(release.at) < crate::time::HOUR_MS).collect();
    for release in &recent {
        of.insert(Of::Sop(release.playbook.to_string()));
        of.insert(Of::Host(release.host.to_string()));
        of.extend(release.touches.iter().map(|s| Of::Service(release.host.to_string(), s.to_string())));
    }
    let working = |wanted: &dyn Fn(&Plan) -> bool| {
        let plans = state.under_way().filter_map(|incident| incident.proposal.as_ref());
        u32::try_from(plans.filter(|proposal| wanted(&proposal.plan)).count()).unwrap_or(u32::MAX)
    };
    let count = |wanted: &dyn Fn(&Release) -> bool| {
        u32::try_from(recent.iter().filter(|release| wanted(release)).count()).unwrap_or(u32::MAX)
    };
    let stands = |of: Of| match &of {
        Of::Overall => Left {
            at_once: Some((working(&|_| true), policy.at_once.overall)),
            hour: (count(&|_| true), policy.per_hour),
            of,
        },
        Of::Sop(id) => {
            let installed = state.playbooks.values().find(|i| i.playbook.id.as_str() == id);
            let own = installed.and_then(|i| i.playbook.limits.at_once).unwrap_or(u32::MAX);
            Left {
                at_once: Some((
                    working(&|plan| plan.playbook.as_str() == id),
                    policy.at_once.per_playbook.min(own),
                )),
                hour: (
                    count(&|release| release.automatic && release.playbook.as_str() == id),
                    policy.budgets.per_playbook,
                ),
                of,
            }
        }
        Of::Host(host) => Left {
            at_once: Some((working(&|plan| plan.target.host.as_str() == host), policy.at_once.per_host)),
            hour: (
                count(&|release| release.automatic && release.host.as_str() == host),
                policy.budgets.per_host,
            ),
            of,
        },
        Of::Service(host, subject) => Left {
            at_once: None,
            hour: (
                count(&|release| {
                    release.automatic
                        && release.host.as_str() == host
                        && release.touches.iter().any(|touched| touched.to_string() == *subject)
                }),
                policy.budgets.per_service,
            ),
            of,
        },
    };
    of.into_iter().map(stands).collect()
}
