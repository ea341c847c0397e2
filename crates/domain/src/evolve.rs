//! Folds events into the state. Total: every event that was ever recorded folds, whatever came before it.
//! Decides nothing.

use crate::approval::{ApprovedPlan, Basis};
use crate::diagnosis::Diagnosis;
use crate::dry_run::DryRun;
use crate::event::{Event, Recorded};
use crate::ids::IncidentId;
use crate::incident::{Actor, Documents, Incident, Note, Phase, Proposal, Run};
use crate::mutant::{self, Mutant};
use crate::people::Person;
use crate::playbook::Playbook;
use crate::policy::Policy;
use crate::run::{End, What};
use crate::state::{Frozen, Host, Installed, PolicyInForce, Raised, Release, State, Stop};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};
use std::sync::Arc;

mod common;
mod problem;
mod story;
mod tally;

/// Most notes kept in memory with one incident; the journal keeps all.
pub const NOTES_MAX: usize = 400;

/// Folds one event in.
pub fn evolve(state: &mut State, recorded: &Recorded<Event>) {
    state.seq = recorded.seq;
    let at = recorded.at;
    let away_ms = at.since(std::mem::replace(&mut state.last_at, at));
    match &recorded.event {
        Event::ServerStarted => {
            if mutant::is(Mutant::ForgetFrozen) {
                state.frozen.clear();
            }
            if !mutant::is(Mutant::BudgetsAgeWhileDown) {
                let releases = state.releases.iter_mut().map(|release| &mut release.at);
                let looks = state.looks.iter_mut().map(|(_, at)| at);
                let taken = state.tries.values_mut().flatten().chain(releases).chain(looks);
                taken.for_each(|taken_at| *taken_at = taken_at.plus(away_ms));
                let ended = state.releases.iter_mut().filter_map(|release| release.ended_at.as_mut());
                ended.for_each(|ended_at| *ended_at = ended_at.plus(away_ms));
                common::away(state, away_ms);
            }
        }
        Event::HostEnrolled { .. }
        | Event::EpochBegan { .. }
        | Event::HostRevoked { .. }
        | Event::HostSilent { .. }
        | Event::HostHeard { .. }
        | Event::ItemTaken { .. }
        | Event::GapRecorded { .. }
        | Event::DeclarationsReported { .. } => host(state, &recorded.event, at),
        Event::RunReported { .. } | Event::CancelRequested { .. } => {
            run(state, &recorded.event, at);
            common::reported(state, &recorded.event, at);
        }
        Event::IncidentOpened { incident, signal, priority, priority_reason } => {
            let opened = Incident {
                id: *incident,
                host: signal.host.clone(),
                fingerprint: signal.fingerprint(),
                opened_at: at,
                raised: Raised { seq: state.seq, at },
                priority: *priority,
                priority_reason: priority_reason.clone(),
                signal: (**signal).clone(),
                signals: 1,
                cleared: false,
                phase: Phase::Detected,
                waiting_since: at,
                why_not: None,
                candidates: Vec::new(),
                chosen: None,
                proposal: None,
                diagnosis: None,
                attempts: 0,
                runs: Vec::new(),
                notes: Vec::new(),
            };
            state.open.insert(opened.fingerprint, *incident);
            state.incidents.insert(*incident, opened);
            tally::refresh(state, *incident);
            tally::raised(state, signal, at);
            common::opened(state, *incident, signal, at);
            note(
                state,
                *incident,
                at,
                Actor::Host(signal.host.clone()),
                format!("raised: {}", signal.summary),
            );
        }
        Event::StopSet { by, reason } => {
            state.stop = Some(Stop { by: by.clone(), reason: reason.clone(), since: at });
        }
        Event::StopCleared { .. } => state.stop = None,
        Event::PlaybookInstalled { playbook: signed, signer, .. } => {
            if let Ok(playbook) = Playbook::parse(&signed.text) {
                let installed =
                    Installed { playbook, signed: signed.clone(), signer: signer.clone(), installed_at: at };
                state.install(Arc::new(installed));
            }
        }
        Event::PlaybookRetired { playbook, .. } => state.retire(playbook),
        Event::PolicySet { policy: signed, signer, .. } => {
            if let Ok(policy) = Policy::parse(&signed.text) {
                let (signed, signer) = (signed.clone(), signer.clone());
                state.policy = Some(Arc::new(PolicyInForce { policy, signed, signer }));
            }
        }
        Event::PersonAdded { name, role, .. } => {
            state.people.insert(name.clone(), Person { role: *role, disabled: false });
        }
        Event::RoleChanged { name, role, .. } => {
            if let Some(person) = state.people.get_mut(name) {
                person.role = *role;
            }
        }
        Event::PersonDisabled { name, .. } => {
            if let Some(person) = state.people.get_mut(name) {
                person.disabled = true;
            }
        }
        Event::ProblemClosed { .. } => problem::fold(state, &recorded.event, at),
        Event::TrustMoved { playbook, environment, standing } => {
            state.trust.insert((playbook.clone(), environment.clone()), standing.clone());
        }
        // A report is kept in its projection; nothing is decided by it.
        Event::AccessChanged { .. } | Event::InspectionReported { .. } => {}
        other => incident(state, other, at),
    }
}

fn note(state: &mut State, id: IncidentId, at: Timestamp, by: Actor, text: String) {
    if let Some(incident) = state.incidents.get_mut(&id)
        && incident.notes.len() < NOTES_MAX
    {
        incident.notes.push(Note { at, by, text });
    }
}

fn host(state: &mut State, event: &Event, at: Timestamp) {
    match event {
        Event::HostEnrolled { host, epoch } => {
            let fresh = Host {
                epoch: *epoch,
                former: std::collections::BTreeSet::new(),
                enrolled_at: at,
                revoked: false,
                silent_since: None,
                items_through: 0,
                records_through: 0,
                declarations: crate::declaration::Declarations::default(),
                items_lost: 0,
            };
            state.hosts.insert(host.clone(), fresh);
        }
        Event::EpochBegan { host, epoch, .. } => {
            if let Some(host) = state.hosts.get_mut(host) {
                let former = std::mem::replace(&mut host.epoch, *epoch);
                if former != *epoch {
                    host.former.insert(former);
                }
                host.revoked = false;
                host.items_through = 0;
                host.records_through = 0;
            }
        }
        Event::HostRevoked { host, .. } => with_host(state, host, |h| h.revoked = true),
        Event::HostSilent { host, last_seen } => {
            with_host(state, host, |h| h.silent_since = Some(*last_seen));
        }
        Event::HostHeard { host } => with_host(state, host, |h| h.silent_since = None),
        Event::ItemTaken { host, seq } => with_host(state, host, |h| h.items_through = *seq),
        Event::GapRecorded { host, from_seq, through_seq, .. } => {
            with_host(state, host, |h| h.items_lost += (through_seq + 1).saturating_sub(*from_seq));
        }
        Event::DeclarationsReported { host, declarations } => {
            with_host(state, host, |h| h.declarations = declarations.clone());
        }
        _ => {}
    }
}

fn with_host(state: &mut State, id: &crate::ids::HostId, change: impl FnOnce(&mut Host)) {
    if let Some(host) = state.hosts.get_mut(id) {
        change(host);
    }
}

fn run(state: &mut State, event: &Event, at: Timestamp) {
    match event {
        Event::RunReported { host, seq, record } => {
            with_host(state, host, |h| h.records_through = *seq);
            let theirs = |incident: &&mut Incident| {
                incident.host == *host
                    && incident.proposal.as_ref().is_some_and(|p| p.plan.digest() == record.run)
            };
            // A run's first record is its acceptance; only that one looks for the incident.
            let first = !state.runs.contains_key(&record.run);
            let known = if first { state.incidents.values_mut().rev().find(theirs) } else { None };
            let entry = state.runs.entry(record.run).or_insert_with(|| Run {
                host: host.clone(),
                incident: known.as_ref().map(|incident| incident.id),
                plan: known.as_ref().and_then(|i| i.proposal.as_ref()).map(|p| p.plan.clone()),
                records: Vec::new(),
                cancel_requested: None,
            });
            // A host that began a new life tells all of its journal again.
            if !entry.records.contains(record) {
                entry.records.push((**record).clone());
            }
            if matches!(record.what, What::Ended { .. } | What::Refused { .. }) {
                let released = state.releases.iter_mut().rev().find(|release| release.run == record.run);
                released.into_iter().for_each(|release| release.ended_at = Some(at));
            }
            if let (What::Accepted { .. }, Some(incident)) = (&record.what, known) {
                incident.phase = Phase::Running;
                incident.runs.push(record.run);
                if let Some(proposal) = &mut incident.proposal {
                    proposal.accepted_at = Some(at);
                    proposal.documents = None;
                }
                let id = incident.id;
                tally::refresh(state, id);
            }
        }
        Event::CancelRequested { run, by } => {
            if let Some(run) = state.runs.get_mut(run) {
                run.cancel_requested = Some(by.clone());
            }
        }
        _ => {}
    }
}

fn incident(state: &mut State, event: &Event, at: Timestamp) {
    let (id, by, text) = story::story(event);
    let documents = documents(state, id, event);
    let Some(incident) = state.incidents.get_mut(&id) else { return };
    let (mut reopened, mut back) = (false, false);
    match event {
        Event::SignalFolded { signal, .. } => {
            incident.signal = (**signal).clone();
            incident.signals += 1;
            back = incident.cleared;
            incident.cleared = false;
            incident.waiting_since = at;
        }
        Event::IncidentReopened { .. } => {
            incident.phase = Phase::Detected;
            incident.proposal = None;
            incident.raised = Raised { seq: state.seq, at };
            reopened = true;
        }
        Event::ConditionCleared { signal, .. } => {
            incident.cleared = true;
            incident.signal.condition = signal.condition;
        }
        Event::Matched { candidates, chosen, .. } => {
            incident.candidates = candidates.clone();
            incident.chosen = chosen.clone();
        }
        Event::Refrained { why_not, .. } => {
            incident.phase = Phase::Detected;
            incident.waiting_since = at;
            incident.proposal = None;
            incident.why_not = Some(why_not.clone());
            let (elsewhere, opened_at) = (incident.told_elsewhere(), incident.opened_at);
            if elsewhere {
                tally::folded(state, opened_at, at);
            }
        }
        Event::PlanProposed { plan, expires_at, required_approvals, .. } => {
            incident.phase = Phase::AwaitingApproval;
            incident.why_not = None;
            incident.attempts = plan.target.attempt;
            incident.proposal = Some(Proposal {
                plan: (**plan).clone(),
                candidates: incident.candidates.clone(),
                proposed_at: at,
                expires_at: *expires_at,
                required_approvals: *required_approvals,
                decisions: Vec::new(),
                dry_run: None,
                approved: None,
                documents: None,
                held: None,
                released_at: None,
                accepted_at: None,
                overdue: false,
            });
        }
        Event::DryRunAsked { plan, by, .. } => {
            if let Some(proposal) = incident.proposal.as_mut().filter(|p| p.plan.digest() == *plan) {
                proposal.dry_run = Some(DryRun { by: by.clone(), asked_at: at, report: None });
            }
        }
        Event::DryRunReported { report, .. } => {
            let asked = incident.proposal.as_mut().filter(|p| p.plan.digest() == report.plan);
            if let Some(dry_run) = asked.and_then(|proposal| proposal.dry_run.as_mut()) {
                dry_run.report = Some((**report).clone());
            }
        }
        Event::DiagnosisApproved { plan, approval, .. } => {
            state.looks.retain(|(_, earlier)| at.since(*earlier) < HOUR_MS);
            state.looks.push_back((incident.host.clone(), at));
            let (plan, approval) = ((**plan).clone(), approval.clone());
            incident.diagnosis = Some(Diagnosis { plan, approval, report: None });
        }
        Event::DiagnosisReported { report, .. } => {
            let asked = incident.diagnosis.as_mut().filter(|asked| asked.plan.digest() == report.plan);
            if let Some(diagnosis) = asked {
                diagnosis.report = Some((**report).clone());
            }
        }
        Event::DecisionTaken { decision, .. } => {
            if let Some(proposal) = &mut incident.proposal {
                proposal.decisions.push(decision.clone());
            }
        }
        Event::PlanApproved { approval, .. } => {
            if let Some(proposal) = &mut incident.proposal {
                proposal.approved = ApprovedPlan::recorded(proposal.plan.clone(), approval.clone());
                proposal.documents = documents;
                incident.phase = Phase::Approved;
            }
        }
        Event::PlanVoided { .. } => {
            incident.proposal = None;
            incident.phase = Phase::Detected;
            incident.waiting_since = at;
        }
        Event::OrderReleased { automatic, .. } => {
            state.releases.retain(|earlier| at.since(earlier.at) < HOUR_MS);
            if let Some(proposal) = &mut incident.proposal {
                proposal.released_at = Some(at);
                proposal.held = None;
                state.releases.push(Release {
                    seq: state.seq,
                    at,
                    run: proposal.plan.digest(),
                    incident: id,
                    fingerprint: incident.fingerprint,
                    raised: incident.raised,
                    ended_at: None,
                    automatic: *automatic,
                    host: incident.host.clone(),
                    playbook: proposal.plan.playbook.clone(),
                    touches: proposal.plan.touches(),
                });
            }
            let fingerprint = incident.fingerprint;
            if *automatic {
                let tries = state.tries.entry(fingerprint).or_default();
                tries.retain(|earlier| at.since(*earlier) < DAY_MS);
                tries.push(at);
            }
        }
        Event::ReleaseHeld { reason, .. } => {
            if let Some(proposal) = &mut incident.proposal {
                proposal.held = Some(reason.clone());
            }
        }
        Event::RunOverdue { .. } => {
            if let Some(proposal) = &mut incident.proposal {
                proposal.overdue = true;
            }
        }
        Event::TargetsFrozen { targets, because, .. } => {
            let (host, targets) = (incident.host.clone(), targets.clone());
            state.frozen.insert(id, Frozen { host, targets, because: because.clone() });
        }
        Event::WatchBegan { .. } => incident.phase = Phase::Watching { since: at },
        Event::Escalated { reason, .. } => {
            incident.phase = Phase::NeedsPerson { reason: reason.clone(), since: at };
        }
        Event::IncidentClosed { .. } => {
            incident.phase = Phase::Closed { at };
            state.frozen.remove(&id);
            let fingerprint = incident.fingerprint;
            if state.open.get(&fingerprint) == Some(&id) {
                state.open.remove(&fingerprint);
            }
        }
        _ => {}
    }
    if reopened && let Some(incident) = state.incidents.get(&id) {
        state.open.insert(incident.fingerprint, id);
    }
    if let Some(text) = text {
        note(state, id, at, by, text);
    }
    problem::fold(state, event, at);
    tally::refresh(state, id);
    if back {
        common::came_again(state, id, at);
    }
    common::went_on(state, id, event, at);
}

/// Returns the signed texts that an approval rests on at the moment when it is given.
fn documents(state: &State, id: IncidentId, event: &Event) -> Option<Documents> {
    let Event::PlanApproved { approval, .. } = event else { return None };
    let plan = &state.incidents.get(&id)?.proposal.as_ref()?.plan;
    let playbook = state.playbooks.get(&plan.playbook)?.signed.clone();
    let policy = match approval.basis {
        Basis::Standing { .. } => state.policy.as_ref().map(|policy| policy.signed.clone()),
        Basis::People { .. } | Basis::Diagnosis { .. } => None,
    };
    Some(Documents { playbook, policy })
}

/// Returns how a run ended, if it has.
pub fn ended(run: &Run) -> Option<&End> {
    run.records.iter().find_map(|record| match &record.what {
        What::Ended { end } => Some(end),
        _ => None,
    })
}
