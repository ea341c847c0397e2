//! What is told of an event on its incident's own story.

use crate::dry_run::{Found, Report};
use crate::event::Event;
use crate::ids::IncidentId;
use crate::incident::Actor;

/// Returns which incident an event is about, who brought it about, and what to tell of it.
pub fn story(event: &Event) -> (IncidentId, Actor, Option<String>) {
    let sopwith = |id: &IncidentId, text: String| (*id, Actor::Sopwith, Some(text));
    match event {
        Event::SignalFolded { incident, signal } => {
            (*incident, Actor::Host(signal.host.clone()), Some(format!("still: {}", signal.summary)))
        }
        Event::ConditionCleared { incident, signal } => {
            (*incident, Actor::Host(signal.host.clone()), Some("the condition is gone".into()))
        }
        Event::IncidentReopened { incident, reason } => sopwith(incident, format!("reopened: {reason}")),
        Event::Matched { incident, chosen: Some(playbook), .. } => {
            sopwith(incident, format!("matched to {playbook}"))
        }
        Event::Matched { incident, chosen: None, .. } => sopwith(incident, "no single SOP matches".into()),
        Event::Refrained { incident, why_not } => sopwith(incident, why_not.to_string()),
        Event::PlanProposed { incident, plan, .. } => {
            sopwith(incident, format!("proposed {} as plan {}", plan.title, plan.digest().short()))
        }
        Event::DecisionTaken { incident, decision } => {
            let said = match decision.vote {
                crate::approval::Vote::Approve => "approved",
                crate::approval::Vote::Deny => "denied",
            };
            let because =
                if decision.reason.is_empty() { String::new() } else { format!(": {}", decision.reason) };
            (
                *incident,
                Actor::Person(decision.by.clone()),
                Some(format!("{said} plan {}{because}", decision.plan.short())),
            )
        }
        Event::DryRunAsked { incident, plan, by } => {
            let text = format!("asked what plan {} would change", plan.short());
            (*incident, Actor::Person(by.clone()), Some(text))
        }
        Event::DryRunReported { incident, report } => {
            sopwith(incident, format!("the host {}", report.sentence()))
        }
        Event::DiagnosisApproved { incident, plan, approval } => {
            let (title, digest) = (&plan.title, plan.digest());
            let until = approval.expires_at;
            let text = format!(
                "{title}, which changes nothing: plan {} is approved by the policy's rule for diagnosis until {until}",
                digest.short()
            );
            sopwith(incident, text)
        }
        Event::DiagnosisReported { incident, report } => sopwith(incident, diagnosed(report)),
        Event::PlanApproved { incident, approval } => sopwith(
            incident,
            format!("plan {} is approved until {}", approval.plan.short(), approval.expires_at),
        ),
        Event::PlanVoided { incident, plan, reason } => {
            sopwith(incident, format!("plan {} is void: {reason}", plan.short()))
        }
        Event::OrderReleased { incident, plan, .. } => {
            sopwith(incident, format!("order for plan {} released to the host", plan.short()))
        }
        Event::ReleaseHeld { incident, reason, .. } => sopwith(incident, format!("waits: {reason}")),
        Event::RunOverdue { incident, reason, .. } => sopwith(incident, reason.clone()),
        Event::WatchBegan { incident, reason } => sopwith(incident, format!("watching: {reason}")),
        Event::TargetsFrozen { incident, targets, .. } => {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            let targets = targets.join(", ");
            sopwith(incident, format!("automation leaves {targets} alone until this is closed"))
        }
        Event::ProblemOpened { incident, problem, .. } => {
            sopwith(incident, format!("opened {problem}, which stays until its cause is found"))
        }
        Event::ProblemRecurred { incident, problem, .. } => {
            sopwith(incident, format!("{problem} shows itself again"))
        }
        Event::Escalated { incident, reason } => sopwith(incident, format!("needs a person: {reason}")),
        Event::IncidentClosed { incident, reason, by } => {
            let by = by.clone().map_or(Actor::Sopwith, Actor::Person);
            (*incident, by, Some(format!("closed: {reason}")))
        }
        _ => (IncidentId(0), Actor::Sopwith, None),
    }
}

/// Returns what came of a look in one sentence; what was seen stands with the incident.
fn diagnosed(report: &Report) -> String {
    match &report.found {
        Found::Refused { reason } => format!("the host did not look: {reason}"),
        Found::Looked { steps, .. } => {
            let seen = steps.iter().filter(|step| step.cannot.is_none()).count();
            format!("the host looked, and changed nothing: {seen} of {} things seen", steps.len())
        }
    }
}
