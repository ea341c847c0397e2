//! Problems: what automation could not mend, until somebody has found the cause.

use super::answer::{Did, Fields, frame, missing, on_to, refusal, show, show_as};
use super::components::{Tone, badge, empty, facts};
use super::frame::{Frame, Place};
use super::glyph::Glyph;
use super::when::when;
use crate::app::App;
use crate::auth::Person;
use crate::problem::Fault;
use crate::views::problem_view;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sopwith_domain::command::Command;
use sopwith_domain::people::Role;
use sopwith_domain::problem::{ProblemId, ROOT_CAUSE_BYTES_MAX};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::ProblemView;

/// Problems on one page.
const PAGE: usize = 50;

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Asked {
    /// open (default), all.
    #[serde(default)]
    show: String,
    /// Number of the last problem of the page before.
    #[serde(default)]
    after: Option<u64>,
}

/// One page of the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    pub items: Vec<ProblemView>,
    pub all: bool,
    pub next: Option<u64>,
}

/// Returns the newest problems that are asked for.
pub fn select(state: &sopwith_domain::state::State, asked: &Asked) -> List {
    let all = asked.show == "all";
    let before = ProblemId(asked.after.unwrap_or(u64::MAX));
    let found = state.problems.range(..before).rev().map(|(_, problem)| problem);
    let found = found.filter(|problem| all || problem.closed.is_none());
    let mut items: Vec<ProblemView> = found.take(PAGE + 1).map(|known| problem_view(state, known)).collect();
    let more = items.len() > PAGE;
    items.truncate(PAGE);
    let next = items.last().filter(|_| more).map(|last| last.id.0);
    List { items, all, next }
}

pub fn list(frame: &Frame, list: &List) -> Markup {
    html! {
        h1 { "Problems" }
        div.stack-s {
            nav.filters aria-label="Which problems" {
                a href="/problems" aria-current=[(!list.all).then_some("page")] { "Open" }
                a href="/problems?show=all" aria-current=[list.all.then_some("page")] { "All" }
            }
            @if list.items.is_empty() {
                (empty(
                    if list.all { "No problem yet." } else { "No open problem." },
                    "A problem appears here when the last SOP for a fault failed, or automation gave up on it.",
                ))
            } @else {
                ul.rows { @for problem in &list.items { li { (row(problem, frame.now)) } } }
            }
            @if let Some(next) = list.next {
                p.pager { a href={ "/problems?" @if list.all { "show=all&" } "after=" (next) } { "Older" } }
            }
        }
    }
}

fn state_badge(problem: &ProblemView) -> Markup {
    match problem.closed {
        Some(_) => badge(Tone::Ok, Glyph::Check, "Cause found"),
        None => badge(Tone::Warning, Glyph::Diamond, "Open"),
    }
}

fn row(problem: &ProblemView, now: Timestamp) -> Markup {
    html! {
        a.row.plain href={ "/problems/" (problem.id.0) } {
            span.text {
                span.what { (problem.title) }
                span.more { (problem.number) ", " (times(problem)) }
            }
            span.state { (state_badge(problem)) }
            span.at { (when(&problem.opened_at, now)) }
        }
    }
}

fn times(problem: &ProblemView) -> String {
    match problem.incidents.len() as u64 + problem.more_incidents {
        1 => "seen in one incident".into(),
        several => format!("seen in {several} incidents"),
    }
}

pub fn one(frame: &Frame, problem: &ProblemView, root_cause: &str) -> Markup {
    html! {
        header.head {
            div.line {
                (state_badge(problem))
                span { (problem.number) }
                span { "opened " (when(&problem.opened_at, frame.now)) }
            }
            h1 { (problem.title) }
            p.status { (problem.why) }
        }
        div.halves {
            div.stack { (cause(frame, problem, root_cause)) }
            section.stack-s {
                h2 { "Seen in" }
                ul.plain {
                    @for incident in problem.incidents.iter().rev() {
                        li { a href={ "/incidents/" (incident.0) } { (incident) } }
                    }
                    @if problem.more_incidents > 0 { li.muted { "and " (problem.more_incidents) " more" } }
                }
                (facts(&[
                    ("Host", html! { a href={ "/hosts#" (problem.host) } { (problem.host) } }),
                    ("Subject", html! { code { (problem.subject) } }),
                    ("Kind", html! { code { (problem.kind) } }),
                ]))
            }
        }
    }
}

fn cause(frame: &Frame, problem: &ProblemView, root_cause: &str) -> Markup {
    html! {
        @if let Some(closed) = &problem.closed {
            section.card {
                h2 { "Root cause" }
                p.prose { (closed.root_cause) }
                p.muted { "Written by " (closed.by) ", " (when(&closed.at, frame.now)) }
            }
        } @else {
            section.card {
                h2 { "Root cause" }
                p.muted { "The fault may be gone; why it came is not known yet. Write it down here, and the problem is closed." }
                @if frame.may(Role::Operator) {
                    form.stack-s method="post" action={ "/problems/" (problem.id.0) "/close" } {
                        div {
                            label for="root-cause" { "What was the cause, and what keeps it from coming back" }
                            textarea #root-cause name="root_cause" rows="4" maxlength=(ROOT_CAUSE_BYTES_MAX) required { (root_cause) }
                        }
                        div.actions { button { "Close " (problem.number) } }
                    }
                } @else { p.muted { "This takes the role operator." } }
            }
        }
    }
}

pub async fn list_page(State(app): State<App>, person: Person, Query(asked): Query<Asked>) -> Response {
    let mut frame = frame(&app, &person, "Problems", Place::Problems);
    frame.live = asked.after.is_none().then(|| "all".into());
    let found = select(&app.ledger.state(), &asked);
    show(&frame, list(&frame, &found))
}

fn find(app: &App, id: ProblemId) -> Option<ProblemView> {
    let state = app.ledger.state();
    Some(problem_view(&state, state.problems.get(&id)?))
}

const NONE: &str = "There is no problem with this number.";

pub async fn page(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Query(did): Query<Did>,
) -> Response {
    let Some(view) = id.parse().ok().and_then(|id| find(&app, id)) else {
        return missing(&app, &person, Place::Problems, NONE);
    };
    let mut frame = frame(&app, &person, format!("{} {}", view.number, view.title), Place::Problems);
    frame.notice = did.notice();
    frame.live = Some("all".into());
    show(&frame, one(&frame, &view, ""))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CauseFields {
    #[serde(default)]
    root_cause: String,
}

pub async fn close(
    State(app): State<App>,
    person: Person,
    Path(problem): Path<ProblemId>,
    Fields(fields): Fields<CauseFields>,
) -> Response {
    let root_cause = fields.root_cause;
    let command = Command::CloseProblem { problem, by: person.name.clone(), root_cause: root_cause.clone() };
    match app.ledger.decide(command).await.map_err(Fault::from) {
        Ok(_) => on_to(&format!("/problems/{}?did=cause-found", problem.0)),
        Err(fault) => {
            let Some(view) = find(&app, problem) else {
                return missing(&app, &person, Place::Problems, NONE);
            };
            let title = format!("{} {}", view.number, view.title);
            let frame =
                Frame { notice: Some(refusal(&fault)), ..frame(&app, &person, title, Place::Problems) };
            show_as(fault.status(), &frame, one(&frame, &view, &root_cause))
        }
    }
}
