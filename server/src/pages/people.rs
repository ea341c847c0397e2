//! Accounts: who there is, with which role, and what each has to come in with. For admins.

use super::components::{Tone, badge, empty, facts};
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::when;
use crate::auth::access::{Access, Entered, SessionRow, Summary};
use crate::auth::token::TokenRow;
use maud::{Markup, html};
use sopwith_domain::ids::AccountName;
use sopwith_domain::people::{Person, Role};
use sopwith_domain::time::Timestamp;
use std::collections::BTreeMap;

/// A password that was just made, to be shown once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadePassword {
    pub name: String,
    pub password: String,
}

/// Returns what a role lets a person do.
pub fn role_words(role: Role) -> &'static str {
    match role {
        Role::Viewer => "sees everything",
        Role::Operator => "may also stop automation, cancel runs and close incidents",
        Role::Approver => "may also approve and deny plans",
        Role::Admin => "may do everything",
    }
}

/// Returns the list of people, with the form that adds one.
pub fn list(
    frame: &Frame,
    people: &BTreeMap<AccountName, Person>,
    access: &BTreeMap<String, Summary>,
    made: Option<&MadePassword>,
) -> Markup {
    html! {
        h1 { "People" }
        @if let Some(made) = made { (password(made)) }
        @if people.is_empty() {
            (empty("Nobody has an account yet.", "The first admin is made on the server's machine: sopwith-server init --admin NAME."))
        } @else {
            ul.rows { @for (name, person) in people { li { (row(frame, name, person, access.get(name.as_str()))) } } }
        }
        section.card.form {
            h2 { "Add a person" }
            form method="post" action="/people" {
                div {
                    label for="name" { "Name" }
                    input #name name="name" required maxlength="64" autocomplete="off" autocapitalize="none" spellcheck="false";
                }
                (role_choice("role", Role::Viewer))
                p.muted { "A password is made and shown once; the person changes it under “You”." }
                div.actions { button { "Add" } }
            }
        }
    }
}

fn row(frame: &Frame, name: &AccountName, person: &Person, access: Option<&Summary>) -> Markup {
    let none = Summary::default();
    let has = access.unwrap_or(&none);
    html! {
        a.row.plain href={ "/people/" (name) } {
            span.text {
                span.what { (name) }
                span.more {
                    (person.role) ", " (role_words(person.role))
                    @if has.sessions > 0 { " · " (counted(has.sessions, "session")) }
                    @if has.tokens > 0 { " · " (counted(has.tokens, "token")) }
                }
            }
            span.state { (standing(person)) }
            span.at { @match &has.last { Some(last) => (when(&last.at.to_string(), frame.now)), None => "never in" } }
        }
    }
}

fn standing(person: &Person) -> Markup {
    match person.disabled {
        true => badge(Tone::Paused, Glyph::Cross, "Disabled"),
        false => badge(Tone::Ok, Glyph::Check, "Active"),
    }
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Returns one person with all that he can come in with, and what an admin can do about it.
pub fn one(
    frame: &Frame,
    name: &AccountName,
    person: &Person,
    access: &Access,
    made: Option<&MadePassword>,
) -> Markup {
    let base = format!("/people/{name}");
    html! {
        header.head {
            div.line { a href="/people" { "People" } (standing(person)) }
            h1 { (name) }
            p.status { "Role " (person.role) ", " (role_words(person.role)) "." }
        }
        @if let Some(made) = made { (password(made)) }
        section { (facts(&[("Last log-in", last_login(frame, access.last.as_ref()))])) }
        section.stack-s { h2 { "Sessions" } (sessions(frame, &access.sessions, &base)) }
        section.stack-s { h2 { "API tokens" } (tokens(frame, &access.tokens, &base)) }
        @if !person.disabled { (changes(name, person, &base, !access.sessions.is_empty())) }
    }
}

fn changes(name: &AccountName, person: &Person, base: &str, signed_in: bool) -> Markup {
    html! {
        section.card.form {
            h2 { "Change" }
            form method="post" action={ (base) "/role" } {
                (role_choice("role", person.role))
                div.actions { button { "Change the role" } }
            }
            form method="post" action={ (base) "/reset" } {
                p { "A new password is made and shown once. All sessions end; API tokens go on until they are revoked." }
                div.actions {
                    button data-confirm="say" data-text="The old password is worthless at once, and all sessions end." { "Reset the password" }
                }
            }
            @if signed_in {
                form method="post" action={ (base) "/sign-out" } {
                    div.actions { button { "End all sessions" } }
                }
            }
            form method="post" action={ (base) "/disable" } {
                p { "A disabled account stays in the journal and cannot be used again. Sessions and tokens end." }
                div.actions {
                    button.grave data-confirm="say" data-text="This cannot be taken back: another account would have to be added." { "Disable " (name) }
                }
            }
        }
    }
}

fn role_choice(id: &str, chosen: Role) -> Markup {
    html! {
        div {
            label for=(id) { "Role" }
            select id=(id) name="role" {
                @for role in Role::ALL { option value=(role) selected[role == chosen] { (role) ": " (role_words(role)) } }
            }
        }
    }
}

/// Returns a password that was just made.
pub fn password(made: &MadePassword) -> Markup {
    html! {
        section.card.prose {
            h2 { "Password of " (made.name) }
            code.token { (made.password) }
            p.muted { "It is not shown again. Hand it over by a way that others do not read." }
        }
    }
}

pub fn last_login(frame: &Frame, last: Option<&Entered>) -> Markup {
    match last {
        None => html! { span.muted { "none that is known" } },
        Some(last) => html! { (when(&last.at.to_string(), frame.now)) ", " (last.how) },
    }
}

/// Returns sessions, each with what ends it at `base`.
pub fn sessions(frame: &Frame, sessions: &[SessionRow], base: &str) -> Markup {
    html! {
        @if sessions.is_empty() { (empty("No session is open.", "One begins with each log-in and ends 12 hours after it was last used.")) }
        @else { ul.rows { @for session in sessions { li { div.row.plain {
            div.text {
                span.what { @if session.this { "This session" } @else { "Session " code { (session.id) } } }
                span.more { "began " (when(&session.created_at.to_string(), frame.now)) ", used " (when(&session.seen_at.to_string(), frame.now)) }
            }
            div.deed { @if !session.this { form method="post" action={ (base) "/sessions/" (session.id) "/end" } {
                button aria-label={ "End session " (session.id) } { "End" }
            } } }
        } } } } }
    }
}

/// Returns tokens, each with what revokes it at `base`.
pub fn tokens(frame: &Frame, tokens: &[TokenRow], base: &str) -> Markup {
    html! {
        @if tokens.is_empty() { (empty("There is no token.", "Tokens let programs in with their owner's role; each person makes his own under “You”.")) }
        @else { ul.rows { @for token in tokens { li { div.row.plain {
            div.text {
                span.what { (token.name) }
                span.more {
                    code { (token.id) } " · made " (when(&token.created_at, frame.now))
                    @match &token.expires_at {
                        Some(at) if ended(token, frame.now) => { " · ended " (when(at, frame.now)) },
                        Some(at) => { " · ends " (when(at, frame.now)) },
                        None => { " · never ends" },
                    }
                }
            }
            div.deed {
                @if token.revoked { (badge(Tone::Paused, Glyph::Cross, "Revoked")) }
                @else if ended(token, frame.now) { (badge(Tone::Paused, Glyph::Ring, "Ended")) }
                @else { form method="post" action={ (base) "/tokens/" (token.id) "/revoke" } {
                    button.grave data-confirm="say" data-text="Programs that use it are let in no more." aria-label={ "Revoke token " (token.name) } { "Revoke" }
                } }
            }
        } } } } }
    }
}

fn ended(token: &TokenRow, now: Timestamp) -> bool {
    let ends = token.expires_at.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
    ends.is_some_and(|ends| ends <= now)
}
