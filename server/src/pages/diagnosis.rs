//! What the host was looked at for where nothing mends the fault: who asked by which rule, and what was seen, step by
//! step. Text that came from the host is escaped like every other.

use super::components::{Tone, badge, folded};
use super::dry_run::check;
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::when;
use maud::{Markup, html};
use sopwith_protocol::api::{DryRunStepView, DryRunView};

/// Returns the latest look at an incident's host, if there was one.
pub fn part(frame: &Frame, diagnosis: Option<&DryRunView>) -> Markup {
    let Some(diagnosis) = diagnosis else { return html! {} };
    let asked = html! { "asked by " (diagnosis.asked_by) ", " (when(&diagnosis.asked_at, frame.now)) };
    html! {
        section.card.stack-s aria-label="Looked" {
            div.card-head { h2 { "Looked" } }
            @match diagnosis.state.as_str() {
                "asked" => p { (badge(Tone::Information, Glyph::Ring, "Asked")) " The host is looking; " (asked) },
                "unanswered" => p { (badge(Tone::Warning, Glyph::Triangle, "No answer")) " The host did not answer; " (asked) },
                "refused" => p { (badge(Tone::Warning, Glyph::Triangle, "Not looked")) " " (diagnosis.reason.as_deref().unwrap_or_default()) "; " (asked) },
                _ => {
                    p { (badge(Tone::Ok, Glyph::Check, "Looked")) " Nothing was changed; " (asked) }
                    @for (index, step) in diagnosis.steps.iter().enumerate() { (one(index, step)) }
                },
            }
        }
    }
}

fn one(index: usize, step: &DryRunStepView) -> Markup {
    html! {
        @match &step.cannot {
            Some(cannot) => p { (badge(Tone::Warning, Glyph::Triangle, "Not seen")) " " (step.sentence) ": " (cannot) },
            None => (folded(&format!("looked-{index}"), &step.sentence, &step.would.join("\n"))),
        }
        @if !step.require.is_empty() { ul.reasons { @for asked in &step.require { (check(asked)) } } }
    }
}
