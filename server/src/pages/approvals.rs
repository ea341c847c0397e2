//! The inbox of plans that wait for a decision: what, where, why, what if it fails, who has approved.

use super::components::{digest, empty, priority};
use super::decision;
use super::frame::Frame;
use super::when::when;
use maud::{Markup, html};
use sopwith_protocol::api::{IncidentView, PlanView};

pub fn content(frame: &Frame, waiting: &[IncidentView]) -> Markup {
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
            (decision::grounds(plan, &decision::why(&incident.candidates, &plan.playbook)))
            (decision::decisions(frame, plan))
            p.meta { a href={ "/incidents/" (summary.id.0) } { "Checks, undo of each step, evidence" } }
            (decision::form(frame, plan, ""))
        }
    }
}
