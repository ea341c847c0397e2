//! The managed hosts: which are heard, what they say of themselves, what their administrators declared.

use super::components::{empty, facts, host_state};
use super::frame::Frame;
use super::when::when;
use crate::exchange::join::WaitingToken;
use maud::{Markup, html};
use sopwith_domain::people::Role;
use sopwith_protocol::api::{HostView, JoinToken};

pub fn content(
    frame: &Frame,
    hosts: &[HostView],
    token: Option<&JoinToken>,
    waiting: &[WaitingToken],
) -> Markup {
    html! {
        h1 { "Hosts" }
        @if let Some(token) = token { (joining(frame, token)) }
        @if hosts.is_empty() {
            (empty("No host has joined yet.", "Make a join token here, or with sopwith host join-token, and run the command that it gives on the host."))
        } @else {
            ul.rows { @for host in hosts { li id=(host.host) { (row(frame, host)) } } }
        }
        @if frame.may(Role::Admin) {
            section.card.form {
                h2 { "Add a host" }
                form method="post" action="/hosts/join-token" {
                    label for="host" { "Its name " span.muted { "(empty lets any name join once)" } }
                    input #host name="host" maxlength="253" autocomplete="off" autocapitalize="none" spellcheck="false";
                    div.actions { button { "Make a join token" } }
                }
            }
            @if !waiting.is_empty() { section.stack-s { h2 { "Join tokens that wait" } (tokens(frame, waiting)) } }
        }
    }
}

/// Returns the tokens that can still be used, each with what takes it back.
fn tokens(frame: &Frame, waiting: &[WaitingToken]) -> Markup {
    html! {
        ul.rows { @for token in waiting { li { div.row.plain {
            div.text {
                span.what { @match &token.host { Some(host) => { "For " (host) }, None => "For any new host" } }
                span.more {
                    code { (token.id) } " · made by " (token.by) " · ends " (when(&token.expires_at.to_string(), frame.now))
                }
            }
            div.deed { form method="post" action={ "/hosts/join-tokens/" (token.id) "/take-back" } {
                button.grave aria-label={ "Take back token " (token.id) } { "Take back" }
            } }
        } } } }
    }
}

fn row(frame: &Frame, host: &HostView) -> Markup {
    html! {
        div.row.plain {
            div.text {
                span.what { (host.host) }
                span.more {
                    @if let Some(version) = &host.agent_version { "agent " (version) " · " }
                    @if host.open_incidents == 0 { "no open incident" }
                    @else { a href={ "/incidents?q=" (host.host) } {
                        (host.open_incidents) @if host.open_incidents == 1 { " open incident" } @else { " open incidents" }
                    } }
                    " · " a href={ "/hosts/" (host.host) "/inspection" } { "inspection" }
                    @if host.items_lost > 0 { " · " (host.items_lost) " observations lost" }
                }
                @for declaration in &host.declarations { span.more { (declaration) } }
                details id={ "host-" (host.host) } {
                    summary { "What it says of itself" }
                    (detail(frame, host))
                }
            }
            span.state { (host_state(&host.state)) }
            span.at { @match &host.last_seen { Some(at) => (when(at, frame.now)), None => "not heard yet" } }
        }
    }
}

fn detail(frame: &Frame, host: &HostView) -> Markup {
    let mut pairs =
        vec![("Joined", when(&host.enrolled_at, frame.now)), ("Epoch", html! { code { (host.epoch) } })];
    pairs.extend(host.facts.iter().map(|(name, value)| (name.as_str(), html! { (value) })));
    html! {
        (facts(&pairs))
        @if frame.may(Role::Admin) && host.state != "revoked" {
            form method="post" action={ "/hosts/" (host.host) "/revoke" } {
                button.grave data-confirm="revoke" { "Revoke " (host.host) }
            }
        }
    }
}

fn joining(frame: &Frame, token: &JoinToken) -> Markup {
    html! {
        section.card.prose {
            h2 { "Run this on the host, as root" }
            code.token { (token.command) }
            p.muted { "It works once and expires " (when(&token.expires_at, frame.now)) ". It is not shown again." }
        }
    }
}
