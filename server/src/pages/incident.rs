//! One incident: what is wrong, what is proposed against it, and its story. The evidence stands beside the fix, folded.

use super::components::{Tone, badge, facts, folded, phase, priority, run_state, timeline};
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::when;
use super::{decision, dry_run};
use maud::{Markup, html};
use sopwith_domain::people::Role;
use sopwith_protocol::api::IncidentView;

pub fn content(frame: &Frame, incident: &IncidentView, reason: &str) -> Markup {
    html! {
        (head(frame, incident))
        div.two {
            section.fix aria-label="The fix" { (fix(frame, incident, reason)) }
            section.story {
                div.section-head { h2 { "Timeline" } }
                (timeline(&incident.timeline, frame.now))
                (evidence(incident))
            }
        }
    }
}

fn head(frame: &Frame, incident: &IncidentView) -> Markup {
    let summary = &incident.summary;
    html! {
        header.head {
            div.line {
                (priority(&summary.priority))
                (phase(&summary.phase))
                span { (summary.number) }
                span { "opened " (when(&summary.opened_at, frame.now)) }
            }
            h1 { (summary.title) }
            p.status { (summary.status) }
            div.line {
                span { (summary.priority) " because " (incident.priority_reason) }
                @if summary.signals > 1 { span { "seen " (summary.signals) " times" } }
                @if let Some(problem) = incident.problem { a href={ "/problems/" (problem.0) } { "part of " (problem) } }
                @for folded in &incident.stands_for { a href={ "/incidents/" (folded.0) } { "stands for " (folded) } }
                @if incident.cleared && summary.phase != "closed" { (badge(Tone::Ok, Glyph::Check, "The host says it is over")) }
            }
        }
    }
}

fn fix(frame: &Frame, incident: &IncidentView, reason: &str) -> Markup {
    html! {
        div.stack {
            @if let Some(plan) = &incident.plan_view {
                div.card {
                    (decision::heading(frame, plan))
                    (super::components::steps(&plan.steps))
                    (decision::grounds(frame, plan, &decision::why(&incident.candidates, &plan.playbook)))
                    (dry_run::part(frame, plan))
                    (decision::form(frame, plan, reason))
                    (decision::background(&incident.candidates, Some(plan)))
                }
            } @else {
                div.card {
                    div.card-head { h2 { "No fix is proposed" } }
                    p { (why_none(incident)) }
                    (decision::background(&incident.candidates, None))
                }
            }
            (super::diagnosis::part(frame, incident.diagnosis.as_ref()))
            (runs(incident))
            (close(frame, incident))
        }
    }
}

fn why_none(incident: &IncidentView) -> String {
    match (incident.summary.phase.as_str(), &incident.why_not) {
        (_, Some(why)) => why.clone(),
        ("closed", None) => "The incident is closed.".into(),
        ("needs_person", None) => incident.summary.status.clone(),
        ("watching", None) => "The fault is gone, so nothing is to be fixed.".into(),
        _ => "It is being matched to the installed SOPs.".into(),
    }
}

fn runs(incident: &IncidentView) -> Markup {
    html! {
        @if !incident.runs.is_empty() {
            div.stack-s {
                h2 { "Runs" }
                ul.plain {
                    @for run in &incident.runs {
                        li.head-row {
                            (run_state(&run.state))
                            a href={ "/runs/" (run.run) } { (run.title.as_deref().unwrap_or("a plan that is not known here")) }
                        }
                        @if let Some(said) = &run.live { li { (super::run::speaking(said)) } }
                    }
                }
            }
        }
    }
}

fn close(frame: &Frame, incident: &IncidentView) -> Markup {
    html! {
        @if incident.summary.phase == "needs_person" {
            div.card {
                h2 { "Close by hand" }
                p.muted { "When you have mended it, or it needs no mending. If the fault is still there, it is raised again." }
                @if frame.may(Role::Operator) {
                    form.stack-s method="post" action={ "/incidents/" (incident.summary.id.0) "/close" } {
                        div {
                            label for="close-reason" { "What was done" }
                            textarea #close-reason name="reason" rows="2" maxlength="1024" required {}
                        }
                        div.actions { button { "Close " (incident.summary.number) } }
                    }
                } @else { p.muted { "This takes the role operator." } }
            }
        }
    }
}

fn evidence(incident: &IncidentView) -> Markup {
    let mut pairs = vec![
        ("Host", html! { a href={ "/hosts#" (incident.summary.host) } { (incident.summary.host) } }),
        ("Subject", html! { code { (incident.summary.subject) } }),
        ("Kind", html! { code { (incident.summary.kind) } ", " (incident.severity) }),
        ("Rule", html! { code { (incident.rule) } }),
    ];
    pairs.extend(incident.fields.iter().map(|(name, value)| (name.as_str(), html! { code { (value) } })));
    html! {
        div.evidence.stack-s {
            h2 { "Evidence" }
            (facts(&pairs))
            @if incident.evidence.is_empty() { p.muted { "The host sent no more than these facts." } }
            @for (index, piece) in incident.evidence.iter().enumerate() {
                (folded(&format!("evidence-{index}"), &piece.title, &piece.text))
            }
        }
    }
}
