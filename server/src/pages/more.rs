//! Small pages: more, automation, sign-in, and what stands where a page cannot.

use super::components::{Tone, badge};
use super::frame::{Frame, Notice, bare, notice_box};
use super::glyph::Glyph;
use super::when::when;
use maud::{Markup, html};
use sopwith_domain::people::Role;

/// Longest reason that the forms take; the same as the domain's bound.
pub const REASON_MAX: usize = sopwith_domain::approval::REASON_BYTES_MAX;

pub fn more(frame: &Frame) -> Markup {
    html! {
        h1 { "More" }
        nav.links aria-label="More pages" {
            (link("/problems", Glyph::Diamond, "Problems", "what could not be mended, until its cause is known"))
            (link("/sops", Glyph::Book, "SOPs", "what may be done about which fault"))
            (link("/hosts", Glyph::Host, "Hosts", "which are heard, and how more join"))
            (link("/policy", Glyph::Stamp, "Policy and budgets", "what runs without a person, and what is left"))
            (link("/automation", Glyph::Bars, "Automation", "stop or resume all of it"))
            (link("/audit", Glyph::List, "Audit", "everything that was done, and by whom"))
            @if frame.may(Role::Admin) { (link("/people", Glyph::Person, "People", "accounts, roles, sessions")) }
            (link("/account", Glyph::Key, "You", "your password, sessions and API tokens"))
        }
        section { form method="post" action="/logout" { button { "Sign out " (frame.viewer.name) } } }
    }
}

fn link(href: &str, glyph: Glyph, word: &str, about: &str) -> Markup {
    html! { a href=(href) { (glyph.svg()) span { (word) span.more { (about) } } } }
}

/// Returns the page on which automation is stopped and resumed.
pub fn automation(frame: &Frame, reason: &str) -> Markup {
    let state = &frame.automation;
    let (verb, action, role) = match state.stopped {
        true => ("Resume automation", "/automation/resume", Role::Admin),
        false => ("Stop all automation", "/automation/stop", Role::Operator),
    };
    html! {
        header.head {
            h1 { "Automation" }
            @if state.stopped {
                div.line { (badge(Tone::Paused, Glyph::Bars, "Stopped")) }
                p.status {
                    "Stopped by " (state.by.as_deref().unwrap_or("somebody"))
                    @if let Some(since) = &state.since { " " (when(since, frame.now)) }
                    @if let Some(reason) = &state.reason { ": " (reason) }
                }
            } @else {
                div.line { (badge(Tone::Ok, Glyph::Check, "On")) }
                p.status { "Approved plans run. Standing policy may approve some without a person." }
            }
        }
        section.card.form {
            h2 { (verb) }
            @if state.stopped { p { "Hosts may start steps again. Plans that became void meanwhile are proposed afresh." } }
            @else { p { "No step starts on any host: at once where the server is heard, at the latest after 60 s elsewhere. A step that is running ends first. Runs under way are undone." } }
            @if frame.may(role) {
                form method="post" action=(action) {
                    label for="reason" { "Reason" }
                    textarea #reason name="reason" rows="2" maxlength=(REASON_MAX) required { (reason) }
                    div.actions { button.grave[!state.stopped] { (verb) } }
                }
            } @else { p.muted { "This takes the role " (role) "; you are " (frame.viewer.role) "." } }
        }
    }
}

/// Returns the sign-in page. `next` is a path on this server.
pub fn login(notice: Option<&Notice>, name: &str, next: &str) -> Markup {
    bare(
        "Sign in",
        html! {
            div.brand { (Glyph::Sopwith.svg()) span { "Sopwith" } }
            h1 { "Sign in" }
            @if let Some(notice) = notice { (notice_box(notice)) }
            form.form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                div {
                    label for="name" { "Name" }
                    input #name name="name" value=(name) required autofocus[name.is_empty()] autocomplete="username"
                        autocapitalize="none" spellcheck="false" maxlength="64";
                }
                div {
                    label for="password" { "Password" }
                    input #password name="password" type="password" required autofocus[!name.is_empty()]
                        autocomplete="current-password" maxlength="1024";
                }
                div.actions { button.primary { "Sign in" } }
            }
        },
    )
}

/// Returns what stands where a page cannot: what happened, what it means, what to do.
pub fn failure(title: &str, detail: &str, help: &str) -> Markup {
    html! {
        header.head { h1 { (title) } p.status { (detail) } }
        @if !help.is_empty() { p.prose { (help) } }
        p { a href="/" { "To the overview" } }
    }
}
