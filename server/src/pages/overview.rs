//! The overview: three lists, the one that needs somebody first.

use super::components::{Tone, badge, empty, sparkline};
use super::frame::Frame;
use super::glyph::Glyph;
use super::incidents::row;
use crate::views::Overview;
use maud::{Markup, html};
use sopwith_protocol::api::IncidentSummary;

/// Most incidents of each list; the rest is one link away.
const SHOWN_MAX: usize = 12;

pub fn content(frame: &Frame, view: &Overview) -> Markup {
    html! {
        h1.hidden { "Overview" }
        section {
            div.section-head { h2 { "Needs you" } span.n { (view.needs_you.len()) } }
            @if view.needs_you.is_empty() {
                (empty("Nothing needs you.", "Plans that wait for a decision appear here, and incidents that the machine hands over."))
            } @else { (list(frame, &view.needs_you, "/incidents?show=person")) }
        }
        section {
            div.section-head { h2 { "Happening" } span.n { (view.happening.len()) } }
            @if view.happening.is_empty() {
                (empty("Nothing is going on.", "Open incidents that Sopwith is working on or watching appear here."))
            } @else { (list(frame, &view.happening, "/incidents")) }
        }
        section {
            div.section-head { h2 { "Well" } }
            (well(view))
        }
    }
}

fn list(frame: &Frame, incidents: &[IncidentSummary], all: &str) -> Markup {
    html! {
        ul.rows { @for incident in incidents.iter().take(SHOWN_MAX) { li { (row(incident, frame.now)) } } }
        @if incidents.len() > SHOWN_MAX {
            p.pager { a href=(all) { (incidents.len() - SHOWN_MAX) " more" } }
        }
    }
}

fn well(view: &Overview) -> Markup {
    html! {
        ul.well {
            li { (hosts(view)) }
            li {
                (badge(Tone::Information, Glyph::Incident, "Last 24 h"))
                span.with-spark {
                    span { (plural(view.opened, "incident")) " opened, " (view.closed) " closed" }
                    @if view.opened > 0 {
                        (sparkline(&view.opened_by_hour, "incidents opened in each of the last 24 hours"))
                    }
                }
            }
            li { (runs(view)) }
            li {
                @if view.sops == 0 {
                    (badge(Tone::Warning, Glyph::Triangle, "SOPs"))
                    span { "None installed: every incident goes to a person. " a href="/sops" { "How to install them" } }
                } @else {
                    (badge(Tone::Ok, Glyph::Check, "SOPs"))
                    span {
                        (view.sops) " installed, "
                        @if view.sops_standing == 0 { "all wait for people's approval" }
                        @else { (view.sops_standing) " may run without a person" }
                    }
                }
            }
        }
    }
}

fn hosts(view: &Overview) -> Markup {
    html! {
        @if !view.hosts_silent.is_empty() {
            (badge(Tone::Critical, Glyph::Diamond, "Hosts"))
            span {
                (view.hosts_connected) " connected; silent: "
                @for (index, host) in view.hosts_silent.iter().take(SHOWN_MAX).enumerate() {
                    @if index > 0 { ", " }
                    a href="/hosts" { (host) }
                }
                @if view.hosts_silent.len() > SHOWN_MAX { " and " (view.hosts_silent.len() - SHOWN_MAX) " more" }
            }
        } @else if view.hosts_connected == 0 {
            (badge(Tone::Information, Glyph::Info, "Hosts"))
            span { "None joined yet. " a href="/hosts" { "Add the first" } }
        } @else {
            (badge(Tone::Ok, Glyph::Check, "Hosts"))
            span { "all " (view.hosts_connected) " connected" }
        }
    }
}

fn runs(view: &Overview) -> Markup {
    let ended = view.runs_resolved + view.runs_rolled_back + view.runs_parked;
    let (tone, glyph) = match (ended, view.runs_parked + view.runs_rolled_back) {
        (0, _) => (Tone::Information, Glyph::Info),
        (_, 0) => (Tone::Ok, Glyph::Check),
        _ => (Tone::Warning, Glyph::Triangle),
    };
    html! {
        (badge(tone, glyph, "Runs"))
        span {
            @if ended == 0 { "none ended in the last 24 h" }
            @else {
                (view.runs_resolved) " of " (ended) " verified in the last 24 h"
                @if view.runs_rolled_back > 0 { ", " (view.runs_rolled_back) " rolled back" }
                @if view.runs_parked > 0 { ", " (view.runs_parked) " handed to a person" }
            }
        }
    }
}

/// Returns a count with its noun.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
