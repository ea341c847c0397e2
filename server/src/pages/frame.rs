//! What is around every page: navigation, the state of automation, who is signed in, and what was just done.

use super::assets;
use super::components::{Tone, badge};
use super::glyph::Glyph;
use super::when::when;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sopwith_domain::people::Role;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::Automation;
use std::borrow::Cow;

/// Where in the navigation a page stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Overview,
    Incidents,
    Approvals,
    Runs,
    Problems,
    Sops,
    Hosts,
    Audit,
    More,
}

impl Place {
    const ALL: [(Place, &'static str, &'static str, Glyph); 9] = [
        (Place::Overview, "/", "Overview", Glyph::Home),
        (Place::Incidents, "/incidents", "Incidents", Glyph::Incident),
        (Place::Approvals, "/approvals", "Approvals", Glyph::Stamp),
        (Place::Runs, "/runs", "Runs", Glyph::Play),
        (Place::Problems, "/problems", "Problems", Glyph::Diamond),
        (Place::Sops, "/sops", "SOPs", Glyph::Book),
        (Place::Hosts, "/hosts", "Hosts", Glyph::Host),
        (Place::Audit, "/audit", "Audit", Glyph::List),
        (Place::More, "/more", "More", Glyph::More),
    ];

    /// Says whether the bottom bar of a phone leaves the place to "More".
    fn under_more(self) -> bool {
        matches!(self, Self::Problems | Self::Sops | Self::Hosts | Self::Audit)
    }
}

/// Who looks at the page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Viewer {
    pub name: String,
    pub role: Role,
}

/// What was just done or refused, at the top of the page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
    /// What the person can do about it.
    pub help: Option<String>,
}

impl Notice {
    pub fn done(text: &str) -> Self {
        Self { tone: Tone::Ok, text: text.into(), help: None }
    }
}

/// Everything around a page's own content.
#[derive(Clone, Debug)]
pub struct Frame {
    pub title: String,
    pub place: Place,
    pub viewer: Viewer,
    pub automation: Automation,
    /// How many plans wait for a decision.
    pub waiting: usize,
    pub now: Timestamp,
    pub notice: Option<Notice>,
    /// Which changes make the page ask again: `all`, `incident:7` or `run:DIGEST`; nothing for pages that stand still.
    pub live: Option<String>,
}

impl Frame {
    /// Says whether the viewer has the role, or a higher one.
    pub fn may(&self, role: Role) -> bool {
        self.viewer.role >= role
    }
}

/// Returns the whole document.
pub fn page(frame: &Frame, content: Markup) -> Markup {
    document(
        &frame.title,
        Some(frame),
        html! {
            a.skip href="#main" { "To the content" }
            header.top { (top(frame)) }
            nav.places aria-label="Pages" { (places(frame)) }
            main #main tabindex="-1" {
                @if let Some(notice) = &frame.notice { (notice_box(notice)) }
                (content)
            }
            div #toast role="status" aria-live="polite" hidden {}
        },
    )
}

/// Returns a document without navigation, for who is not signed in.
pub fn bare(title: &str, content: Markup) -> Markup {
    document(title, None, html! { main.bare #main { (content) } })
}

fn document(title: &str, frame: Option<&Frame>, body: Markup) -> Markup {
    let live = frame.and_then(|frame| frame.live.as_deref());
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                meta name="color-scheme" content="light dark";
                @if let Some(frame) = frame { meta name="now" content=(frame.now); }
                title { (title) " · Sopwith" }
                link rel="stylesheet" href=(assets::css_url());
                link rel="icon" type="image/svg+xml" href=(assets::icon_url());
                script src=(assets::js_url()) defer {}
            }
            body data-live=[live] { (body) }
        }
    };
    visible(document)
}

/// Writes out what would be misleading anywhere on the page: none of our own characters is.
fn visible(document: Markup) -> Markup {
    match sopwith_protocol::plain::visible(&document.0) {
        Cow::Borrowed(_) => document,
        Cow::Owned(shown) => PreEscaped(shown),
    }
}

fn top(frame: &Frame) -> Markup {
    html! {
        a.brand href="/" { (Glyph::Sopwith.svg()) span { "Sopwith" } }
        form.search role="search" action="/incidents" method="get" {
            label.hidden for="q" { "Search incidents" }
            input #q type="search" name="q" placeholder="Host, unit or INC-7" maxlength="200" autocomplete="off";
        }
        div #automation { (automation(frame)) }
        a.account href="/account" { (frame.viewer.name) " " span.muted { (frame.viewer.role) } }
    }
}

fn automation(frame: &Frame) -> Markup {
    let state = &frame.automation;
    html! {
        a.automation.stopped[state.stopped] href="/automation" {
            @if state.stopped {
                (badge(Tone::Paused, Glyph::Bars, "Automation stopped"))
                span.why {
                    " by " (state.by.as_deref().unwrap_or("somebody"))
                    @if let Some(since) = &state.since { ", " (when(since, frame.now)) }
                    @if let Some(reason) = &state.reason { ": " (reason) }
                }
            } @else {
                (badge(Tone::Ok, Glyph::Check, "Automation on"))
            }
        }
    }
}

fn places(frame: &Frame) -> Markup {
    html! {
        ul {
            @for (place, href, word, glyph) in Place::ALL {
                li.wide[place.under_more()] {
                    a href=(href) aria-current=[(place == frame.place).then_some("page")]
                        .within[place == Place::More && frame.place.under_more()] {
                        (glyph.svg())
                        span { (word) }
                        @if place == Place::Approvals && frame.waiting > 0 {
                            span.count { @if frame.waiting > 99 { "99+" } @else { (frame.waiting) } span.hidden { " waiting" } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the box that says what was done or why not.
pub fn notice_box(notice: &Notice) -> Markup {
    let glyph = match notice.tone {
        Tone::Ok => Glyph::Check,
        Tone::Critical => Glyph::Diamond,
        _ => Glyph::Triangle,
    };
    let role = if notice.tone == Tone::Ok { "status" } else { "alert" };
    html! {
        div class={ "notice " (notice.tone.class()) } role=(role) {
            (glyph.svg())
            div { p { (notice.text) } @if let Some(help) = &notice.help { p.muted { (help) } } }
        }
    }
}
