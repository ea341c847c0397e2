//! The list of runs, newest first.

use super::components::{empty, run_state};
use super::frame::Frame;
use super::when::when;
use maud::{Markup, html};
use serde::Deserialize;
use sopwith_domain::ids::Digest;
use sopwith_domain::incident::Run;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::RunView;

/// Runs on one page.
pub const PAGE: usize = 50;

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    pub page: usize,
}

/// One page of the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    pub items: Vec<RunView>,
    pub page: usize,
    pub more: bool,
}

/// Returns the page of runs that is asked for; what was heard of last comes first.
pub fn select(state: &State, page: usize) -> List {
    let mut all: Vec<(&Digest, &Run)> = state.runs.iter().collect();
    all.sort_by_key(|(_, run)| std::cmp::Reverse(run.records.last().map(|record| record.at)));
    let from = page.saturating_mul(PAGE);
    let items = all.iter().skip(from).take(PAGE).map(|(digest, run)| crate::views::run_view(digest, run));
    List { items: items.collect(), page, more: all.len() > from.saturating_add(PAGE) }
}

pub fn content(frame: &Frame, list: &List) -> Markup {
    html! {
        h1 { "Runs" }
        div.stack-s {
            @if list.items.is_empty() {
                (empty("No run yet.", "A run appears here when a host takes an approved plan."))
            } @else {
                ul.rows { @for run in &list.items { li { (row(run, frame.now)) } } }
            }
            p.pager {
                @if list.page > 0 { a href={ "/runs?page=" (list.page - 1) } { "Newer" } }
                @if list.more { a href={ "/runs?page=" (list.page + 1) } { "Older" } }
            }
        }
    }
}

fn row(run: &RunView, now: Timestamp) -> Markup {
    let last = run.records.last();
    html! {
        a.row.plain href={ "/runs/" (run.run) } {
            span.text {
                span.what { (run.title.as_deref().unwrap_or("A plan that is not known here")) " on " (run.host) }
                @if let Some(last) = last { span.more { (last.sentence) } }
            }
            span.state { (run_state(&run.state)) }
            span.at { @if let Some(last) = last { (when(&last.at, now)) } }
        }
    }
}
