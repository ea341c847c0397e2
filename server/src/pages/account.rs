//! What one has oneself: role, password, sessions, API tokens.

use super::components::facts;
use super::frame::Frame;
use super::people::{last_login, role_words, sessions, tokens};
use super::when::when;
use crate::auth::access::Access;
use crate::auth::password::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use maud::{Markup, html};
use sopwith_protocol::api::NewToken;

/// How long a token may be asked to live, in days.
pub const TOKEN_DAYS: [u32; 4] = [7, 30, 90, 365];

/// Returns one's own page; `made` is a token that was just made.
pub fn content(frame: &Frame, access: &Access, made: Option<&NewToken>) -> Markup {
    let role = frame.viewer.role;
    html! {
        h1 { "You" }
        @if let Some(made) = made { (shown_once(frame, made)) }
        section.stack-s {
            (facts(&[
                ("Name", html! { (frame.viewer.name) }),
                ("Role", html! { (role) ", " span.muted { (role_words(role)) } }),
                ("Last log-in", last_login(frame, access.last.as_ref())),
            ]))
            form method="post" action="/logout" { button { "Sign out" } }
        }
        section.stack-s {
            h2 { "API tokens" }
            (tokens(frame, &access.tokens, "/account"))
            (make_token())
        }
        section.stack-s { h2 { "Sessions" } (sessions(frame, &access.sessions, "/account")) }
        (change_password())
    }
}

fn shown_once(frame: &Frame, made: &NewToken) -> Markup {
    html! {
        section.card.prose {
            h2 { "Your new token" }
            code.token { (made.token) }
            p.muted {
                "It is not shown again. Send it as " code { "Authorization: Bearer TOKEN" } ", or "
                code { "sopwith login URL --token -" } "."
                @if let Some(at) = &made.expires_at { " It ends " (when(at, frame.now)) "." }
            }
        }
    }
}

fn make_token() -> Markup {
    html! {
        div.card.form {
            h3 { "Make a token" }
            form method="post" action="/account/tokens" {
                div {
                    label for="label" { "What it is for" }
                    input #label name="label" required maxlength="64" autocomplete="off" placeholder="nightly report";
                }
                div {
                    label for="days" { "How long it lives" }
                    select #days name="days" {
                        @for days in TOKEN_DAYS { option value=(days) selected[days == 30] { (days) " days" } }
                    }
                }
                div.actions { button { "Make a token" } }
            }
        }
    }
}

fn change_password() -> Markup {
    html! {
        section.card.form {
            h2 { "Change your password" }
            form method="post" action="/account/password" {
                div {
                    label for="current" { "The one you have" }
                    input #current name="current" type="password" required autocomplete="current-password" maxlength=(PASSWORD_BYTES_MAX);
                }
                div {
                    label for="new" { "A new one, " (PASSWORD_BYTES_MIN) " characters or more" }
                    input #new name="new" type="password" required autocomplete="new-password" minlength=(PASSWORD_BYTES_MIN) maxlength=(PASSWORD_BYTES_MAX);
                }
                p.muted { "Your other sessions end; API tokens go on." }
                div.actions { button { "Change the password" } }
            }
        }
    }
}
