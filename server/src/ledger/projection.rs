//! Rows for reports and other programs, written in the transaction of the events they come from. Each row is a
//! function of the state, or of the newest event of its kind; `sopwith-server rebuild-projections` drops them all and
//! writes them again from the journal.

use super::inspections::Reported;
use super::news::About;
use super::policies::Put;
use rusqlite::{Connection, params};
use sopwith_domain::event::Event;
use sopwith_domain::evolve::ended;
use sopwith_domain::ids::{Digest, Epoch, HostId, IncidentId, PlaybookId};
use sopwith_domain::incident::{Incident, Phase, Run};
use sopwith_domain::problem::{Problem, ProblemId};
use sopwith_domain::run::{End, What};
use sopwith_domain::state::{Host, State};
use sopwith_domain::time::Timestamp;
use std::collections::BTreeSet;

/// What a batch of events touched.
#[derive(Debug, Default)]
pub struct Touched {
    incidents: BTreeSet<IncidentId>,
    runs: BTreeSet<Digest>,
    hosts: BTreeSet<HostId>,
    problems: BTreeSet<ProblemId>,
    epochs: Vec<(HostId, Epoch, Timestamp)>,
    inspections: Reported,
    policies: Put,
}

impl Touched {
    /// Notes what the event changed, in a state into which it is already folded.
    pub fn add(&mut self, at: Timestamp, event: &Event, state: &State) {
        let about = About::of(event, state);
        self.incidents.extend(about.incident);
        self.runs.extend(about.run);
        self.hosts.extend(about.host);
        if let Event::HostEnrolled { host, epoch } | Event::EpochBegan { host, epoch, .. } = event {
            self.epochs.push((host.clone(), *epoch, at));
        }
        if let Event::ProblemOpened { problem, .. }
        | Event::ProblemRecurred { problem, .. }
        | Event::ProblemClosed { problem, .. } = event
        {
            self.problems.insert(*problem);
        }
        self.inspections.add(event);
        self.policies.add(at, event);
    }

    /// Writes the rows of everything touched.
    ///
    /// # Errors
    /// Returns the database's error; the transaction is then worthless.
    pub fn write(&self, to: &Connection, state: &State) -> Result<(), rusqlite::Error> {
        for incident in self.incidents.iter().filter_map(|id| state.incidents.get(id)) {
            write_incident(to, incident)?;
        }
        for (digest, run) in self.runs.iter().filter_map(|id| Some((id, state.runs.get(id)?))) {
            write_run(to, digest, run)?;
        }
        for (id, host) in self.hosts.iter().filter_map(|id| Some((id, state.hosts.get(id)?))) {
            write_host(to, id, host)?;
        }
        for problem in self.problems.iter().filter_map(|id| state.problems.get(id)) {
            write_problem(to, problem)?;
        }
        let mut insert = to.prepare_cached("INSERT OR IGNORE INTO host_epochs VALUES (?1, ?2, ?3)")?;
        for (host, epoch, at) in &self.epochs {
            insert.execute(params![host.as_str(), epoch.0.to_string(), at.0])?;
        }
        self.policies.write(to)?;
        self.inspections.write(to)
    }
}

fn write_incident(to: &Connection, incident: &Incident) -> Result<(), rusqlite::Error> {
    let closed_at = match incident.phase {
        Phase::Closed { at } => Some(at.0),
        _ => None,
    };
    let needs_person = match &incident.phase {
        Phase::NeedsPerson { reason, .. } => Some(reason.as_str()),
        _ => None,
    };
    to.prepare_cached(
        "INSERT OR REPLACE INTO incidents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        sql(incident.id.0),
        incident.host.as_str(),
        incident.signal.rule.as_str(),
        incident.signal.kind.as_str(),
        incident.signal.subject.to_string(),
        incident.priority.to_string(),
        incident.phase.name(),
        incident.opened_at.0,
        closed_at,
        sql(incident.signals),
        incident.attempts,
        incident.chosen.as_ref().map(PlaybookId::as_str),
        needs_person,
    ])?;
    Ok(())
}

fn write_run(to: &Connection, digest: &Digest, run: &Run) -> Result<(), rusqlite::Error> {
    let ended_at = run.records.iter().find(|r| matches!(r.what, What::Ended { .. } | What::Refused { .. }));
    let (end, reason) = match ended(run) {
        Some(End::Resolved) => (Some("resolved"), None),
        Some(End::RolledBack { reason }) => (Some("rolled_back"), Some(reason.clone())),
        Some(End::Parked { reason, .. }) => (Some("parked"), Some(reason.clone())),
        None => match run.records.iter().find_map(refused) {
            Some(reason) => (Some("refused"), Some(reason)),
            None => (None, None),
        },
    };
    to.prepare_cached("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            digest.to_string(),
            run.host.as_str(),
            run.incident.map(|id| sql(id.0)),
            run.plan.as_ref().map(|plan| plan.playbook.as_str()),
            run.plan.as_ref().map(|plan| plan.version),
            sql(run.records.len() as u64),
            run.records.first().map(|record| record.at.0),
            ended_at.map(|record| record.at.0),
            end,
            reason,
        ])?;
    Ok(())
}

fn refused(record: &sopwith_domain::run::Record) -> Option<String> {
    match &record.what {
        What::Refused { refusal } => Some(refusal.to_string()),
        _ => None,
    }
}

fn write_problem(to: &Connection, problem: &Problem) -> Result<(), rusqlite::Error> {
    let closed = problem.closed.as_ref();
    to.prepare_cached(
        "INSERT OR REPLACE INTO problems VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        sql(problem.id.0),
        problem.fingerprint.to_string(),
        problem.host.as_str(),
        problem.kind.as_str(),
        problem.subject.to_string(),
        problem.opened_at.0,
        problem.why,
        sql(problem.incidents.len() as u64 + problem.more_incidents),
        closed.map(|closed| closed.at.0),
        closed.map(|closed| closed.by.as_str()),
        closed.map(|closed| closed.root_cause.as_str()),
    ])?;
    Ok(())
}

fn write_host(to: &Connection, id: &HostId, host: &Host) -> Result<(), rusqlite::Error> {
    let state = match (host.revoked, host.silent_since) {
        (true, _) => "revoked",
        (false, Some(_)) => "silent",
        (false, None) => "enrolled",
    };
    to.prepare_cached("INSERT OR REPLACE INTO hosts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
        params![
            id.as_str(),
            host.epoch.0.to_string(),
            state,
            host.enrolled_at.0,
            sql(host.items_through),
            sql(host.records_through),
            sql(host.items_lost),
        ],
    )?;
    Ok(())
}

/// SQLite's integers are signed; no count here comes near the difference.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
