//! The overview: what needs a person, what is happening, what is well.

use super::incident::incident_summary;
use super::run::run_state;
use sopwith_domain::incident::{Incident, Phase};
use sopwith_domain::playbook::Risk;
use sopwith_domain::state::State;
use sopwith_domain::time::{DAY_MS, HOUR_MS, Timestamp};
use sopwith_protocol::api::IncidentSummary;

/// Hours that the overview looks back.
const HOURS: usize = 24;

/// What the overview shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overview {
    /// Decisions to take and incidents in a person's hands, most pressing first.
    pub needs_you: Vec<IncidentSummary>,
    pub happening: Vec<IncidentSummary>,
    pub hosts_connected: usize,
    pub hosts_silent: Vec<String>,
    /// Incidents opened in each of the last 24 hours, oldest first.
    pub opened_by_hour: Vec<u32>,
    pub opened: usize,
    pub closed: usize,
    /// Of the runs that ended in the last 24 hours.
    pub runs_resolved: usize,
    pub runs_rolled_back: usize,
    pub runs_parked: usize,
    pub sops: usize,
    /// SOPs that the policy in force lets run without a person.
    pub sops_standing: usize,
}

/// Returns the overview.
pub fn overview(state: &State, now: Timestamp) -> Overview {
    let mut overview = Overview { opened_by_hour: vec![0; HOURS], ..Overview::default() };
    let mut open: Vec<&Incident> = state.incidents.values().filter(|incident| incident.open()).collect();
    open.sort_by_key(|incident| (incident.priority, incident.opened_at, incident.id));
    for incident in open {
        let summary = incident_summary(state, incident);
        match incident.phase {
            Phase::AwaitingApproval | Phase::NeedsPerson { .. } => overview.needs_you.push(summary),
            _ => overview.happening.push(summary),
        }
    }
    hosts(state, &mut overview);
    last_day(state, now, &mut overview);
    let policy = state.policy();
    overview.sops = state.playbooks.len();
    overview.sops_standing = state
        .playbooks
        .values()
        .filter(|sop| sop.playbook.risk == Risk::Auto && policy.auto.contains(&sop.playbook.id))
        .count();
    overview
}

fn hosts(state: &State, overview: &mut Overview) {
    for (id, host) in state.hosts.iter().filter(|(_, host)| !host.revoked) {
        match host.silent_since {
            Some(_) => overview.hosts_silent.push(id.to_string()),
            None => overview.hosts_connected += 1,
        }
    }
}

fn last_day(state: &State, now: Timestamp, overview: &mut Overview) {
    for incident in state.incidents.values() {
        let hours_ago = usize::try_from(now.since(incident.opened_at).max(0) / HOUR_MS).unwrap_or(usize::MAX);
        if hours_ago < HOURS {
            overview.opened += 1;
            overview.opened_by_hour[HOURS - 1 - hours_ago] += 1;
        }
        if matches!(incident.phase, Phase::Closed { at } if now.since(at) < DAY_MS) {
            overview.closed += 1;
        }
    }
    let recent = |run: &&sopwith_domain::incident::Run| {
        run.records.last().is_some_and(|record| now.since(record.at) < DAY_MS)
    };
    for run in state.runs.values().filter(recent) {
        match run_state(run) {
            "resolved" => overview.runs_resolved += 1,
            "rolled_back" => overview.runs_rolled_back += 1,
            "parked" => overview.runs_parked += 1,
            _ => {}
        }
    }
}
