//! The parts that pages are made of. `/dev/components` shows them all together in debug builds.

use super::glyph::Glyph;
use super::when::when;
use maud::{Markup, html};
use sopwith_domain::ids::Digest;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{StepView, TimelineEntry};

/// What a colour means, and nothing else is coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Ok,
    Warning,
    Critical,
    Information,
    Parked,
    Paused,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warn",
            Self::Critical => "crit",
            Self::Information => "info",
            Self::Parked => "parked",
            Self::Paused => "paused",
        }
    }
}

/// Returns a state: drawing, word and colour.
pub fn badge(tone: Tone, glyph: Glyph, word: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (glyph.svg()) span { (word) } } }
}

/// Returns the state of an incident for the name of its phase.
pub fn phase(name: &str) -> Markup {
    match name {
        "detected" => badge(Tone::Information, Glyph::Info, "Seen"),
        "awaiting_approval" => badge(Tone::Warning, Glyph::Stamp, "Needs approval"),
        "approved" => badge(Tone::Information, Glyph::Check, "Approved"),
        "running" => badge(Tone::Information, Glyph::Play, "Running"),
        "watching" => badge(Tone::Ok, Glyph::Eye, "Watching"),
        "needs_person" => badge(Tone::Parked, Glyph::Square, "Needs a person"),
        "closed" => badge(Tone::Ok, Glyph::Check, "Closed"),
        other => badge(Tone::Information, Glyph::Info, other),
    }
}

/// Returns the state of a run.
pub fn run_state(name: &str) -> Markup {
    match name {
        "accepted" => badge(Tone::Information, Glyph::Arrow, "Taken by the host"),
        "running" => badge(Tone::Information, Glyph::Play, "Running"),
        "verifying" => badge(Tone::Information, Glyph::Eye, "Verifying"),
        "soaking" => badge(Tone::Information, Glyph::Eye, "Soaking"),
        "undoing" => badge(Tone::Warning, Glyph::Back, "Being undone"),
        "resolved" => badge(Tone::Ok, Glyph::Check, "Verified"),
        "rolled_back" => badge(Tone::Warning, Glyph::Back, "Rolled back"),
        "parked" => badge(Tone::Parked, Glyph::Square, "Needs a person"),
        "refused" => badge(Tone::Paused, Glyph::Cross, "Refused by the host"),
        other => badge(Tone::Information, Glyph::Info, other),
    }
}

/// Returns the state of a plan.
pub fn plan_state(name: &str) -> Markup {
    match name {
        "waiting" => badge(Tone::Warning, Glyph::Stamp, "Waits for approval"),
        "approved" => badge(Tone::Information, Glyph::Check, "Approved"),
        "released" => badge(Tone::Information, Glyph::Arrow, "On its way"),
        "accepted" => badge(Tone::Information, Glyph::Play, "Taken by the host"),
        "void" => badge(Tone::Paused, Glyph::Cross, "No longer valid"),
        other => badge(Tone::Information, Glyph::Info, other),
    }
}

/// Returns a priority with its shape.
pub fn priority(name: &str) -> Markup {
    match name {
        "P1" => badge(Tone::Critical, Glyph::Diamond, "P1"),
        "P2" => badge(Tone::Warning, Glyph::Triangle, "P2"),
        "P3" => badge(Tone::Information, Glyph::Info, "P3"),
        other => badge(Tone::Paused, Glyph::Ring, other),
    }
}

/// Returns the state of a host.
pub fn host_state(name: &str) -> Markup {
    match name {
        "connected" => badge(Tone::Ok, Glyph::Check, "Connected"),
        "silent" => badge(Tone::Critical, Glyph::Diamond, "Silent"),
        "revoked" => badge(Tone::Paused, Glyph::Cross, "Revoked"),
        other => badge(Tone::Information, Glyph::Info, other),
    }
}

/// Returns how a check stands.
pub fn verdict(name: &str) -> Markup {
    match name {
        "ok" => badge(Tone::Ok, Glyph::Check, "Well"),
        "warning" => badge(Tone::Warning, Glyph::Triangle, "Warning"),
        "critical" => badge(Tone::Critical, Glyph::Diamond, "Critical"),
        "unknown" => badge(Tone::Parked, Glyph::Square, "Not known"),
        "pending" => badge(Tone::Information, Glyph::Info, "Not run yet"),
        other => badge(Tone::Information, Glyph::Info, other),
    }
}

/// Returns what a risk class means for a decision.
pub fn risk_words(risk: &str) -> &'static str {
    match risk {
        "auto" => "a standing policy may approve it",
        "approval" => "people approve each plan",
        _ => "tells people what to do; the machine does nothing",
    }
}

/// Returns what will appear in an empty place and how to make it appear.
pub fn empty(what: &str, how: &str) -> Markup {
    html! { div.empty { p { (what) } @if !how.is_empty() { p.muted { (how) } } } }
}

/// Returns the first digits of a digest; the whole stands in the title.
pub fn digest(digest: &Digest) -> Markup {
    html! { code.digest title=(digest) { (digest.short()) } }
}

/// Returns name and value pairs.
pub fn facts(pairs: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in pairs { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// Returns an incident's story, oldest first; people and machine are told apart.
pub fn timeline(entries: &[TimelineEntry], now: Timestamp) -> Markup {
    html! {
        ol.timeline {
            @for entry in entries {
                @let (class, who) = teller(&entry.by);
                li class=(class) {
                    p.told { (entry.text) }
                    p.meta { span.who { (who) } " · " (when(&entry.at, now)) }
                }
            }
        }
    }
}

fn teller(by: &str) -> (&'static str, String) {
    match by.strip_prefix("host ") {
        Some(host) => ("host", host.to_owned()),
        None if by == "sopwith" => ("machine", "Sopwith".into()),
        None => ("person", by.to_owned()),
    }
}

/// Returns the steps of a plan, each in one sentence with its undo; checks and timeout are one tap away.
pub fn steps(steps: &[StepView]) -> Markup {
    html! {
        ol.steps {
            @for (index, step) in steps.iter().enumerate() {
                li {
                    p.does { (step.sentence) }
                    p class={ "undo" @if step.irreversible { " irreversible" } } {
                        @if step.irreversible { (Glyph::Triangle.svg()) } @else { (Glyph::Back.svg()) }
                        span { @if !step.irreversible { "Undo: " } (step.undo) }
                    }
                    details id={ "step-" (index) } {
                        summary { "Checks and limits" }
                        (step_detail(step))
                    }
                }
            }
        }
    }
}

fn step_detail(step: &StepView) -> Markup {
    let action = step.action.get("action").and_then(|name| name.as_str()).unwrap_or_default();
    facts(&[
        ("Name", html! { (step.name) }),
        ("Action", html! { code { (action) } }),
        ("Only if", sentences(&step.require, "no condition")),
        ("Then expected", sentences(&step.expect, "nothing beyond its success")),
        ("At most", html! { (step.timeout_s) " s" }),
    ])
}

/// Returns sentences below each other, or what stands for none.
pub fn sentences(all: &[String], none: &str) -> Markup {
    match all {
        [] => html! { span.muted { (none) } },
        [one] => html! { (one) },
        several => html! { ul.plain { @for one in several { li { (one) } } } },
    }
}

/// Returns raw text from a host, folded; it can be scrolled with the keyboard.
pub fn folded(id: &str, title: &str, text: &str) -> Markup {
    let lines = text.lines().count();
    html! {
        details.raw id=(id) {
            summary { (title) " " span.muted { (lines) @if lines == 1 { " line" } @else { " lines" } } }
            pre tabindex="0" { (text) }
        }
    }
}

/// Returns bars for counts over time, drawn beside the sentence that says the same.
pub fn sparkline(counts: &[u32], label: &str) -> Markup {
    let top = counts.iter().copied().max().unwrap_or(0).max(1);
    let width = counts.len() * 5;
    html! {
        svg.spark viewBox={ "0 0 " (width) " 20" } width=(width) height="20" role="img" aria-label=(label) {
            @for (index, count) in counts.iter().enumerate() {
                @let height = if *count == 0 { 1 } else { (count * 20).div_ceil(top) };
                rect x=(index * 5) y=(20 - height) width="4" height=(height) fill="currentColor" {}
            }
        }
    }
}
