//! The inbox of plans that wait for a decision: what, where, why, what if it fails, who has approved.

use super::components::{digest, empty, facts, priority, sentences};
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
                }
                h2 { a href={ "/incidents/" (summary.id.0) } { (summary.title) } }
            }
            (facts(&[
                ("What", html! {
                    p { strong { (plan.title) } }
                    ol.plain { @for (index, step) in plan.steps.iter().enumerate() { li { (index + 1) ". " (step.sentence) } } }
                }),
                ("Where", html! { "one host, " strong { (plan.host) } }),
                ("Why", why(incident, plan)),
                ("Verified by", sentences(&plan.verify, "nothing")),
                ("If it fails", html! { (decision::if_it_fails(plan)) }),
                ("Record", decision::record(&plan.record)),
                ("Plan", digest(&plan.digest)),
            ]))
            (decision::decisions(frame, plan))
            p { a href={ "/incidents/" (summary.id.0) } { "All checks, undo and evidence" } }
            (decision::form(frame, plan, ""))
        }
    }
}

fn why(incident: &IncidentView, plan: &PlanView) -> Markup {
    let chosen = incident.candidates.iter().find(|candidate| candidate.playbook.as_str() == plan.playbook);
    let reasons: Vec<String> = chosen
        .map(|candidate| candidate.reasons.iter().map(|reason| reason.text.clone()).collect())
        .unwrap_or_default();
    sentences(&reasons, "it is the one SOP that matches")
}
