//! Small pages: more, automation, sign-in, and what stands where a page cannot.

use super::components::{Tone, badge, facts};
use super::frame::{Frame, Notice, bare, notice_box};
use super::glyph::Glyph;
use super::when::{span, when};
use maud::{Markup, html};
use sopwith_domain::ids::AccountName;
use sopwith_domain::people::{Person, Role};
use sopwith_domain::policy::{Hosts, Policy};
use std::collections::BTreeMap;

/// Longest reason that the forms take; the same as the domain's bound.
pub const REASON_MAX: usize = sopwith_domain::approval::REASON_BYTES_MAX;

pub fn more(frame: &Frame, policy: Option<&Policy>, people: &BTreeMap<AccountName, Person>) -> Markup {
    html! {
        h1 { "More" }
        nav.links aria-label="More pages" {
            a href="/sops" { (Glyph::Book.svg()) "SOPs" }
            a href="/hosts" { (Glyph::Host.svg()) "Hosts" }
            a href="/audit" { (Glyph::List.svg()) "Audit" }
            a href="/automation" { (Glyph::Bars.svg()) "Stop or resume automation" }
        }
        section.stack-s {
            h2 { "You" }
            (facts(&[("Name", html! { (frame.viewer.name) }), ("Role", html! { (frame.viewer.role) ", " span.muted { (role_words(frame.viewer.role)) } })]))
            form method="post" action="/logout" { button { "Sign out" } }
        }
        section.stack-s.prose { h2 { "Policy in force" } (policy_facts(policy)) }
        @if frame.may(Role::Admin) {
            section.stack-s {
                h2 { "People" }
                ul.rows { @for (name, person) in people { li { div.row.plain {
                    span.text { span.what { (name) } }
                    span.state { @if person.disabled { (badge(Tone::Paused, Glyph::Cross, "Disabled")) } @else { (person.role) } }
                    span.at {}
                } } } }
                p.muted { "Accounts are made and changed with sopwith-server on its machine." }
            }
        }
    }
}

fn role_words(role: Role) -> &'static str {
    match role {
        Role::Viewer => "sees everything",
        Role::Operator => "may also stop automation, cancel runs and close incidents",
        Role::Approver => "may also approve and deny plans",
        Role::Admin => "may do everything",
    }
}

fn policy_facts(policy: Option<&Policy>) -> Markup {
    let Some(policy) = policy else {
        return html! { p { "None: people decide about every plan." } };
    };
    html! { (facts(&[
        ("Version", html! { (policy.version) }),
        ("By itself", html! {
            @if policy.auto.is_empty() { "no SOP" }
            @for (index, playbook) in policy.auto.iter().enumerate() { @if index > 0 { ", " } a href={ "/sops/" (playbook) } { (playbook) } }
        }),
        ("On", html! { @match &policy.hosts {
            Hosts::All => "all hosts",
            Hosts::Named(hosts) if hosts.is_empty() => "no host",
            Hosts::Named(hosts) => @for (index, host) in hosts.iter().enumerate() { @if index > 0 { ", " } (host) },
        } }),
        ("Approvals", html! { (policy.approvers) ", within " (span(policy.proposal_valid_ms)) "; valid for " (span(policy.approval_valid_ms)) }),
        ("At once", html! { (policy.at_once.overall) " overall, " (policy.at_once.per_host) " on a host, " (policy.at_once.per_playbook) " of one SOP" }),
        ("Budgets", html! { "automatic runs an hour: " (policy.budgets.per_host) " on a host, " (policy.budgets.per_playbook) " of one SOP, " (policy.budgets.per_service) " on one service" }),
        ("Many hosts", html! { "the same fault on " (policy.fleet.hosts) " hosts within " (span(i64::from(policy.fleet.window_s) * 1000)) " is told as one; one host first, others after " (span(i64::from(policy.fleet.bake_s) * 1000)) "; failed run " (policy.fleet.failures) " stops it" }),
        ("Storm", html! { "nothing starts while " (policy.storm.sick_percent) " % of the hosts are sick, or after " (policy.storm.raised_per_minute) " faults in a minute, for " (span(i64::from(policy.storm.cool_down_s) * 1000)) }),
        ("Tries", html! { (policy.attempts_per_day) " automatic a day for one fault; " (policy.per_hour) " runs an hour" }),
    ])) }
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
