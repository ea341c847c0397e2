//! The inbox of plans that wait for a decision: what, where, why, what if it fails, who has approved.

use super::components::{digest, empty, priority};
use super::frame::Frame;
use super::when::when;
use super::{decision, dry_run};
use maud::{Markup, html};
use sopwith_domain::incident::Incident;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{IncidentView, PlanView};

/// Plans on the page; who has more of them than this has a storm, and the list of incidents shows it.
const SHOWN_MAX: usize = 30;

/// Returns the incidents whose plan waits for a decision, most pressing first, and how many more there are.
pub fn select(state: &State, now: Timestamp) -> (Vec<IncidentView>, usize) {
    let mut waiting: Vec<&Incident> =
        state.incidents.values().filter(|incident| incident.phase.name() == "awaiting_approval").collect();
    waiting.sort_by_key(|incident| (incident.priority, incident.opened_at, incident.id));
    let more = waiting.len().saturating_sub(SHOWN_MAX);
    waiting.truncate(SHOWN_MAX);
    (waiting.into_iter().map(|incident| crate::views::incident_view(state, incident, now)).collect(), more)
}

pub fn content(frame: &Frame, waiting: &[IncidentView], more: usize) -> Markup {
    html! {
        h1 { "Approvals" }
        @if waiting.is_empty() {
            (empty(
                "No plan waits for a decision.",
                "When an incident matches an SOP that needs people's approval, its plan appears here with exactly what would be done.",
            ))
        }
        div.inbox {
            @for incident in waiting {
                @if let Some(plan) = &incident.plan_view { (card(frame, incident, plan)) }
            }
        }
        @if more > 0 { p { a href="/incidents?show=person" { (more) " more" } } }
    }
}

fn card(frame: &Frame, incident: &IncidentView, plan: &PlanView) -> Markup {
    let summary = &incident.summary;
    html! {
        article.card id={ "inc-" (summary.id.0) } {
            header.head {
                div.line {
                    (priority(&summary.priority))
                    span { (summary.number) }
                    span { "since " (when(&summary.opened_at, frame.now)) }
                    span { "expires " (when(&plan.expires_at, frame.now)) }
                    span { "plan " (digest(&plan.digest)) }
                }
                h2 { a href={ "/incidents/" (summary.id.0) } { (summary.title) } }
            }
            div.stack-xs {
                h3 { "Would be done on " (plan.host) }
                p { strong { (plan.title) } }
                ol.numbered { @for step in &plan.steps { li { (step.sentence) } } }
            }
            (decision::grounds(frame, plan, &decision::why(&incident.candidates, &plan.playbook)))
            p.meta { a href={ "/incidents/" (summary.id.0) } { "Checks, undo of each step, evidence" } }
            (dry_run::part(frame, plan))
            (decision::form(frame, plan, ""))
        }
    }
}
