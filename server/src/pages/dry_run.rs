//! What a plan would change, as its host found it: beside the plan, before the decision. Text that came from the host
//! is escaped like every other.

use super::components::{Tone, badge};
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::when;
use maud::{Markup, html};
use sopwith_domain::people::Role;
use sopwith_protocol::api::{AskedView, DryRunStepView, DryRunView, PlanView};

/// Returns the latest dry run of a plan, and the way to ask for one where the plan is still to begin.
pub fn part(frame: &Frame, plan: &PlanView) -> Markup {
    let open = matches!(plan.state.as_str(), "waiting" | "approved");
    let waits = plan.dry_run.as_ref().is_some_and(|dry_run| dry_run.state == "asked");
    let word = if plan.dry_run.is_some() { "Look again" } else { "See what it would change" };
    html! {
        @if open || plan.dry_run.is_some() {
            section.stack-xs aria-label="Dry run" {
                h3 { "On the host now" }
                @match &plan.dry_run {
                    Some(dry_run) => (found(frame, dry_run)),
                    None => p.muted { "Nobody has asked the host yet what these steps would change there. Asking changes nothing." },
                }
                @if open && !waits && frame.may(Role::Operator) {
                    form method="post" action={ "/incidents/" (plan.incident.0) "/dry-run" } {
                        div.actions { button { (word) } }
                    }
                }
            }
        }
    }
}

fn found(frame: &Frame, dry_run: &DryRunView) -> Markup {
    let asked = html! { "asked by " (dry_run.asked_by) ", " (when(&dry_run.asked_at, frame.now)) };
    html! {
        @match dry_run.state.as_str() {
            "asked" => p { (badge(Tone::Information, Glyph::Ring, "Asked")) " The host is looking; " (asked) },
            "unanswered" => p { (badge(Tone::Warning, Glyph::Triangle, "No answer")) " The host did not answer; " (asked) },
            "refused" => p { (badge(Tone::Warning, Glyph::Triangle, "Not looked")) " " (dry_run.reason.as_deref().unwrap_or_default()) "; " (asked) },
            _ => (looked(dry_run, &asked)),
        }
    }
}

fn looked(dry_run: &DryRunView, asked: &Markup) -> Markup {
    html! {
        p { (badge(Tone::Ok, Glyph::Check, "Looked")) " Nothing was changed; " (asked) }
        @if let Some(against) = &dry_run.against {
            p { (badge(Tone::Warning, Glyph::Triangle, "Would be refused")) " " (against) }
        }
        ol.numbered { @for step in &dry_run.steps { li { (one(step)) } } }
        @if !dry_run.verify.is_empty() {
            p.muted { "Verified afterwards, as it stands now:" }
            ul.reasons { @for asked in &dry_run.verify { (check(asked)) } }
        }
    }
}

fn one(step: &DryRunStepView) -> Markup {
    html! {
        span { (step.sentence) }
        ul.dots { @for would in &step.would { li { (would) } } }
        @if step.require.iter().any(|asked| asked.holds != Some(true)) {
            ul.reasons { @for asked in &step.require { (check(asked)) } }
        }
        @if let Some(cannot) = &step.cannot {
            p { (badge(Tone::Warning, Glyph::Triangle, "Not as things stand")) " " (cannot) }
        }
    }
}

/// Returns whether a check held when it was asked.
pub fn check(asked: &AskedView) -> Markup {
    html! {
        li {
            @match asked.holds {
                Some(true) => span.ok { (Glyph::Check.svg()) span.hidden { "holds: " } },
                Some(false) => span.crit { (Glyph::Cross.svg()) span.hidden { "does not hold: " } },
                None => span.muted { "?" span.hidden { " not asked: " } },
            }
            span { (asked.check) @if !asked.detail.is_empty() { span.muted { ": " (asked.detail) } } }
        }
    }
}
