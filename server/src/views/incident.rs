//! Incidents as lists and pages show them.

use super::dry_run::diagnosis_view;
use super::plan::{current_plan, proposal_view};
use super::run::{run_state, run_view};
use super::words::{record_sentence, title};
use sopwith_domain::ids::{HostId, IncidentId};
use sopwith_domain::incident::{Actor, Incident, Phase};
use sopwith_domain::problem::ProblemId;
use sopwith_domain::run::What;
use sopwith_domain::signal::Severity;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{IncidentSummary, IncidentView, TimelineEntry};

/// Prefix that folding gives the note of a repeated signal.
const REPEAT: &str = "still: ";

/// Returns an incident as one line of a list.
pub fn incident_summary(state: &State, incident: &Incident) -> IncidentSummary {
    let plan = current_plan(incident);
    IncidentSummary {
        id: incident.id,
        number: incident.id.to_string(),
        title: title(&incident.signal),
        host: incident.host.to_string(),
        subject: incident.signal.subject.to_string(),
        kind: incident.signal.kind.to_string(),
        priority: incident.priority.to_string(),
        phase: incident.phase.name().into(),
        status: status(state, incident),
        opened_at: incident.opened_at.to_string(),
        signals: incident.signals,
        playbook: incident.chosen.as_ref().map(ToString::to_string),
        plan: plan.map(|proposal| proposal.plan.digest()),
        needs_decision: needs_decision(incident),
    }
}

fn needs_decision(incident: &Incident) -> bool {
    matches!(incident.phase, Phase::AwaitingApproval)
        && incident.proposal.as_ref().is_some_and(|proposal| proposal.approved.is_none())
}

/// Says in one line what is being done, or why nothing is.
fn status(state: &State, incident: &Incident) -> String {
    let fix = incident.proposal.as_ref().map_or("the fix", |p| p.plan.title.as_str());
    match &incident.phase {
        Phase::Detected => match &incident.why_not {
            Some(why) => sentence(&why.to_string()),
            None => "Seen; nothing is proposed yet".into(),
        },
        Phase::AwaitingApproval => {
            let (given, required) = incident.proposal.as_ref().map_or((0, 1), |proposal| {
                (proposal.decisions.len() as u64, u64::from(proposal.required_approvals))
            });
            match (given, required) {
                (_, 0 | 1) => format!("Waits for your decision: {fix}"),
                _ => format!("Waits for decisions, {given} of {required}: {fix}"),
            }
        }
        Phase::Approved => {
            let proposal = incident.proposal.as_ref();
            match (proposal.and_then(|p| p.released_at), proposal.and_then(|p| p.held.as_deref())) {
                (Some(_), _) => format!("Approved, on its way to {}: {fix}", incident.host),
                (None, Some(held)) => format!("Approved, waits because {held}: {fix}"),
                (None, None) => format!("Approved, waits for a free place within the limits: {fix}"),
            }
        }
        Phase::Running => running(state, incident, fix),
        Phase::Watching { .. } => "The fault is gone; closes once it has stayed quiet".into(),
        Phase::NeedsPerson { reason, .. } => sentence(reason),
        Phase::Closed { .. } => match incident.notes.last() {
            Some(note) => sentence(&note.text),
            None => "Closed".into(),
        },
    }
}

fn running(state: &State, incident: &Incident, fix: &str) -> String {
    let run = incident.runs.last().and_then(|digest| state.runs.get(digest));
    let Some(run) = run else { return format!("Running: {fix}") };
    let steps = run.plan.as_ref().map_or(0, |plan| plan.steps.len());
    let begun = run.records.iter().rev().find_map(|record| match record.what {
        What::Started { step, .. } => Some(step + 1),
        _ => None,
    });
    match (run_state(run), begun) {
        ("undoing", _) => format!("Being undone: {fix}"),
        ("verifying", _) => format!("Being verified: {fix}"),
        ("soaking", _) => format!("Done, watched for a while on the host: {fix}"),
        (_, Some(step)) => format!("Running step {step} of {steps}: {fix}"),
        _ => format!("Running: {fix}"),
    }
}

/// Returns the text with a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Returns everything about one incident.
pub fn incident_view(state: &State, incident: &Incident, now: Timestamp) -> IncidentView {
    IncidentView {
        summary: incident_summary(state, incident),
        rule: incident.signal.rule.to_string(),
        severity: severity(incident.signal.severity).into(),
        priority_reason: incident.priority_reason.clone(),
        cleared: incident.cleared,
        fields: incident
            .signal
            .fields
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        evidence: incident.signal.evidence.clone(),
        candidates: incident.candidates.clone(),
        why_not: match incident.phase {
            Phase::Detected => incident.why_not.as_ref().map(ToString::to_string),
            Phase::Approved => incident.proposal.as_ref().and_then(|proposal| proposal.held.clone()),
            _ => None,
        },
        diagnosis: incident.diagnosis.as_ref().map(|diagnosis| diagnosis_view(diagnosis, now)),
        stands_for: stands_for(state, incident),
        plan_view: current_plan(incident).map(|proposal| proposal_view(state, incident, proposal, now)),
        problem: problem_of(state, incident),
        runs: incident
            .runs
            .iter()
            .filter_map(|digest| Some(run_view(digest, state.runs.get(digest)?)))
            .collect(),
        timeline: timeline(state, incident),
    }
}

/// Returns the problem that the incident is part of, or that its fault has by now.
fn problem_of(state: &State, incident: &Incident) -> Option<ProblemId> {
    let open = state.open_problems.get(&incident.fingerprint).copied();
    let names_it = || state.problems.values().rev().find(|problem| problem.incidents.contains(&incident.id));
    open.or_else(|| names_it().map(|problem| problem.id))
}

fn stands_for(state: &State, incident: &Incident) -> Vec<IncidentId> {
    let open = state.open.values().filter_map(|id| state.incidents.get(id));
    open.filter(|other| other.folded_under() == Some(incident.id)).map(|other| other.id).collect()
}

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Information => "information",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// Returns the incident's story, oldest first: notes of the server and records of its runs, repeats folded.
///
/// Notes carry the server's time and records the host's; where the clocks differ, the order within each stays.
pub fn timeline(state: &State, incident: &Incident) -> Vec<TimelineEntry> {
    let host = |id: &HostId| format!("host {id}");
    let mut told: Vec<(Timestamp, TimelineEntry)> = folded_notes(incident);
    for run in incident.runs.iter().filter_map(|digest| state.runs.get(digest)) {
        let names: Vec<String> =
            run.plan.iter().flat_map(|plan| plan.steps.iter().map(|step| step.name.clone())).collect();
        told.extend(run.records.iter().map(|record| {
            let text = record_sentence(&record.what, &names);
            (record.at, TimelineEntry { at: record.at.to_string(), by: host(&run.host), text })
        }));
    }
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, entry)| entry).collect()
}

fn folded_notes(incident: &Incident) -> Vec<(Timestamp, TimelineEntry)> {
    let mut told: Vec<(Timestamp, TimelineEntry)> = Vec::new();
    let mut repeats = 0_u32;
    for note in &incident.notes {
        let by = match &note.by {
            Actor::Host(host) => format!("host {host}"),
            Actor::Person(name) => name.to_string(),
            Actor::Sopwith => "sopwith".into(),
        };
        let Some(summary) = note.text.strip_prefix(REPEAT) else {
            repeats = 0;
            let text = sentence(&note.text);
            if told.last().is_some_and(|(_, last)| same_news(&last.text, &text)) {
                told.pop();
            }
            told.push((note.at, TimelineEntry { at: note.at.to_string(), by, text }));
            continue;
        };
        repeats += 1;
        let text = match repeats {
            1 => format!("Still so: {summary}"),
            count => format!("Still so, seen {count} more times: {summary}"),
        };
        let entry = (note.at, TimelineEntry { at: note.at.to_string(), by, text });
        match told.last_mut() {
            Some(last) if repeats > 1 => *last = entry,
            _ => told.push(entry),
        }
    }
    told
}

/// Says whether a plan became void for the very reason for which a person is then called.
fn same_news(void: &str, called: &str) -> bool {
    called
        .strip_prefix("Needs a person: ")
        .is_some_and(|reason| void.starts_with("Plan ") && void.ends_with(&format!(" is void: {reason}")))
}
