//! What a host's checks said in the course of a day: the exceptions first, then what is well.

use super::components::{Tone, badge, empty, verdict};
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::when;
use maud::{Markup, html};
use serde::Deserialize;
use sopwith_protocol::api::{InspectedView, InspectionView};

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    pub date: Option<String>,
}

pub fn content(frame: &Frame, view: &InspectionView) -> Markup {
    let (wrong, well): (Vec<_>, Vec<_>) =
        view.checks.iter().partition(|one| one.verdict != "ok" || one.missed > 0);
    html! {
        (head(frame, view))
        @if view.checks.is_empty() {
            (empty("This host has no checks.", "They stand under checks: in its /etc/sopwith/agent.yaml."))
        }
        @if !wrong.is_empty() {
            section.stack-s {
                h2 { "To look at" }
                ul.rows { @for one in &wrong { li id={ "check-" (one.check) } { (row(frame, one)) } } }
            }
        }
        @if !well.is_empty() {
            section.stack-s {
                h2 { "Well" }
                ul.rows { @for one in &well { li id={ "check-" (one.check) } { (row(frame, one)) } } }
            }
        }
        @if view.left_out > 0 { p.muted { (view.left_out) " further checks did not fit in the report." } }
        (days(view))
    }
}

/// Says that a host has told nothing yet, or nothing of that day.
pub fn none(host: &str, date: Option<&str>, newest: Option<&str>) -> Markup {
    let what = match date {
        Some(day) => format!("{host} sent no inspection report of {day}."),
        None => format!("{host} has sent no inspection report yet."),
    };
    html! {
        h1 { "Inspection of " (host) }
        (empty(&what, "A host sends one when its checks have all run for the first time, and one for each day after midnight by its own clock."))
        @if let Some(day) = newest { p.pager { a href={ "/hosts/" (host) "/inspection" } { "The newest, of " (day) } } }
    }
}

fn head(frame: &Frame, view: &InspectionView) -> Markup {
    let count = |name: &str| view.checks.iter().filter(|one| one.verdict == name).count();
    let missed: u64 = view.checks.iter().map(|one| one.missed).sum();
    html! {
        div.head {
            h1 { "Inspection of " (view.host) ", " (view.day) }
            p.line {
                @for name in ["critical", "warning", "unknown", "pending", "ok"] {
                    @let n = count(name);
                    @if n > 0 { span { (n) " " (verdict(name)) } }
                }
                @if missed > 0 { span { (badge(Tone::Warning, Glyph::Bars, &counted(missed, "run missed", "runs missed"))) } }
            }
            p.line {
                span {
                    @if view.complete { "The whole day, by the host's own clock" }
                    @else { "The day so far, as of " (when(&view.made_at, frame.now)) }
                }
                a href="/hosts" { "All hosts" }
                a href={ "/incidents?q=" (view.host) } { "Its incidents" }
            }
        }
    }
}

fn counted(n: u64, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
}

fn row(frame: &Frame, one: &InspectedView) -> Markup {
    html! {
        div.row.plain {
            div.text {
                span.what { (one.check) }
                @if !one.line.is_empty() { span.more.said { (one.line) } }
                span.more { (one.kind) ", " (one.schedule) " · " (runs(one)) }
            }
            span.state { (verdict(&one.verdict)) }
            span.at { @match &one.since { Some(at) => (when(at, frame.now)), None => "not run yet" } }
        }
    }
}

/// Returns the day in words: how often it ran, and what of that was not well.
fn runs(one: &InspectedView) -> String {
    let mut words = vec![counted(one.runs, "run", "runs")];
    let warnings = if one.warnings == 1 { "warning" } else { "warnings" };
    let wrong = [(one.criticals, "critical"), (one.warnings, warnings), (one.unknowns, "not known")];
    words.extend(wrong.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if one.missed > 0 {
        words.push(format!("{} missed", one.missed));
    }
    words.join(", ")
}

fn days(view: &InspectionView) -> Markup {
    let at = view.days.iter().position(|day| *day == view.day);
    let newer = at.and_then(|at| at.checked_sub(1)).and_then(|at| view.days.get(at));
    let older = at.and_then(|at| view.days.get(at + 1));
    let link = |day: &String| format!("/hosts/{}/inspection?date={day}", view.host);
    html! {
        p.pager {
            @if let Some(day) = newer { a href=(link(day)) { "Newer, " (day) } }
            @if let Some(day) = older { a href=(link(day)) { "Older, " (day) } }
        }
    }
}
