//! The list of incidents, filtered and searched on the server.

use super::components::{empty, phase, priority};
use super::frame::Frame;
use super::when::when;
use maud::{Markup, html};
use serde::Deserialize;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::IncidentSummary;

/// Incidents on one page.
pub const PAGE: usize = 50;
/// Longest search text that is looked for, in bytes.
const QUERY_BYTES_MAX: usize = 200;

/// What part of the list is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Query {
    /// open (default), person, closed, all.
    #[serde(default)]
    pub show: String,
    #[serde(default)]
    pub q: String,
    /// Number of the last incident of the page before.
    #[serde(default)]
    pub after: Option<u64>,
}

/// One page of the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    pub items: Vec<IncidentSummary>,
    pub next: Option<u64>,
}

/// Returns the newest incidents that the query asks for.
pub fn select(state: &State, query: &Query) -> List {
    let mut list = List::default();
    let wanted = query.q.trim().to_lowercase();
    for incident in state.incidents.values().rev() {
        let before = query.after.is_none_or(|after| incident.id.0 < after);
        let shown = match query.show.as_str() {
            "closed" => !incident.open(),
            "person" => matches!(incident.phase.name(), "awaiting_approval" | "needs_person"),
            "all" => true,
            _ => incident.open() || !wanted.is_empty(),
        };
        if !before || !shown {
            continue;
        }
        let summary = crate::views::incident_summary(state, incident);
        if !found(&summary, &wanted) {
            continue;
        }
        if list.items.len() == PAGE {
            list.next = list.items.last().map(|item| item.id.0);
            break;
        }
        list.items.push(summary);
    }
    list
}

fn found(incident: &IncidentSummary, wanted: &str) -> bool {
    if wanted.len() > QUERY_BYTES_MAX {
        return false;
    }
    let texts = [&incident.number, &incident.title, &incident.host, &incident.subject, &incident.kind];
    wanted.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(wanted))
}

pub fn content(frame: &Frame, query: &Query, list: &List) -> Markup {
    html! {
        h1 { "Incidents" }
        form.search.here role="search" action="/incidents" method="get" {
            label.hidden for="q2" { "Search incidents" }
            input #q2 type="search" name="q" value=(query.q) placeholder="Host, unit or INC-7" maxlength="200" autocomplete="off";
        }
        div.stack-s {
            (filters(query))
            @if list.items.is_empty() { (nothing(query)) }
            @else { ul.rows { @for incident in &list.items { li { (row(incident, frame.now)) } } } }
            p.pager {
                @if query.after.is_some() { a href=(link(query, None)) { "Newest" } }
                @if let Some(next) = list.next { a href=(link(query, Some(next))) { "Older" } }
            }
        }
    }
}

fn filters(query: &Query) -> Markup {
    let searching = !query.q.trim().is_empty();
    html! {
        nav.filters aria-label="Which incidents" {
            @if searching {
                span.muted { "Found for “" (query.q) "” among all incidents" }
                a href="/incidents" { "Clear" }
            } @else {
                @for (show, word) in [("", "Open"), ("person", "Needs a person"), ("closed", "Closed"), ("all", "All")] {
                    a href={ "/incidents" @if !show.is_empty() { "?show=" (show) } }
                        aria-current=[(query.show == show).then_some("page")] { (word) }
                }
            }
        }
    }
}

fn nothing(query: &Query) -> Markup {
    if !query.q.trim().is_empty() {
        return empty(
            "Nothing found.",
            "The search looks at numbers, titles, hosts, subjects and kinds, not at evidence.",
        );
    }
    match query.show.as_str() {
        "closed" => empty(
            "No incident was closed yet.",
            "Incidents appear here once their fault is gone and stayed gone.",
        ),
        "person" => empty("Nothing needs a person.", ""),
        _ => empty(
            "No open incident.",
            "An incident appears here when an agent notices a fault: a failed unit, a full file system, a log line that a rule names.",
        ),
    }
}

fn link(query: &Query, after: Option<u64>) -> String {
    let mut pairs = Vec::new();
    if !query.show.is_empty() {
        pairs.push(format!("show={}", percent(&query.show)));
    }
    if !query.q.is_empty() {
        pairs.push(format!("q={}", percent(&query.q)));
    }
    pairs.extend(after.map(|after| format!("after={after}")));
    format!("/incidents?{}", pairs.join("&"))
}

/// Writes a text so that it can stand in a query.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Returns an incident as one line of a list.
pub fn row(incident: &IncidentSummary, now: Timestamp) -> Markup {
    html! {
        a.row href={ "/incidents/" (incident.id.0) } {
            span { (priority(&incident.priority)) }
            span.text {
                span.what { (incident.title) }
                span.more { (incident.status) }
            }
            span.state { (phase(&incident.phase)) }
            span.at { (when(&incident.opened_at, now)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_filter_and_search() {
        let query = Query { show: "closed".into(), q: "a&b <ü>".into(), after: None };
        assert_eq!(link(&query, Some(7)), "/incidents?show=closed&q=a%26b%20%3C%C3%BC%3E&after=7");
    }
}
