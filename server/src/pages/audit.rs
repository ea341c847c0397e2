//! The journal, newest first: number, time, who, what. The entry itself is one tap away.

use super::components::{digest, empty};
use super::frame::Frame;
use super::when::{absolute, when};
use maud::{Markup, html};
use serde::Deserialize;
use sopwith_domain::event::{Event, Versioned};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::AuditEntry;

/// Entries on one page.
pub const PAGE: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Query {
    /// Show entries before this number.
    #[serde(default)]
    pub before: Option<u64>,
}

/// Returns the numbers of the first and the last entry of a page, given the journal's last.
pub fn range(query: Query, head: u64) -> (u64, u64) {
    let last = query.before.map_or(head, |before| before.saturating_sub(1).min(head));
    (last.saturating_sub(PAGE - 1).max(1), last)
}

/// Shows entries in any order as newest first.
pub fn content(frame: &Frame, entries: &[AuditEntry]) -> Markup {
    let mut entries: Vec<&AuditEntry> = entries.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.seq));
    let first = entries.last().map_or(0, |entry| entry.seq);
    html! {
        h1 { "Audit" }
        p.prose.muted {
            "Every decision, in a chain of hashes. " code { "sopwith audit export" } " and " code { "sopwith audit verify" }
            " check it without this server."
        }
        @if entries.is_empty() { (empty("No entry here.", "Entries appear with the first host, SOP or account.")) }
        div.stack-s {
            ol.rows { @for entry in &entries { li { (row(entry, frame.now)) } } }
            p.pager { @if first > 1 { a href={ "/audit?before=" (first) } { "Older" } } }
        }
    }
}

fn row(entry: &AuditEntry, now: Timestamp) -> Markup {
    let decoded = serde_json::from_str::<Versioned>(&entry.body).ok().map(|versioned| versioned.event);
    html! {
        div.row.log {
            span.muted { "#" (entry.seq) }
            div.text {
                details id={ "entry-" (entry.seq) } {
                    summary.what.bookkeeping[matches!(decoded, Some(Event::ItemTaken { .. }))] {
                        @match &decoded {
                            Some(event) => (crate::views::event_sentence(event)),
                            None => "an entry that this version cannot read",
                        }
                    }
                    pre tabindex="0" { (shown(&entry.body)) }
                    p.meta { "hash " (digest(&entry.hash)) ", before it " (digest(&entry.prev)) ", " (absolute(Timestamp(entry.at_ms))) }
                }
            }
            span.by { @match decoded.as_ref().and_then(who) {
                Some(name) => strong { (name) },
                None => span.muted { "Sopwith" },
            } }
            span.at { (when(&entry.at, now)) }
        }
    }
}

/// Returns an entry's text, but for what a host captured before a step, which may be secret.
fn shown(body: &str) -> String {
    let Ok(mut json) = serde_json::from_str::<serde_json::Value>(body) else {
        return "not readable as JSON".into();
    };
    if let Some(prior) = json.pointer_mut("/record/what/prior").filter(|prior| !prior.is_null()) {
        *prior = "captured by the host, not shown here".into();
        return json.to_string();
    }
    body.to_owned()
}

/// Returns the person or host behind an event, or nothing where it was Sopwith.
fn who(event: &Event) -> Option<String> {
    match event {
        Event::DecisionTaken { decision, .. } => Some(decision.by.to_string()),
        Event::IncidentClosed { by, .. } => by.as_ref().map(ToString::to_string),
        Event::HostRevoked { by, .. }
        | Event::CancelRequested { by, .. }
        | Event::DryRunAsked { by, .. }
        | Event::StopSet { by, .. }
        | Event::StopCleared { by, .. }
        | Event::PlaybookInstalled { by, .. }
        | Event::PlaybookRetired { by, .. }
        | Event::PolicySet { by, .. }
        | Event::PersonAdded { by, .. }
        | Event::RoleChanged { by, .. }
        | Event::PersonDisabled { by, .. }
        | Event::AccessChanged { by, .. } => Some(by.to_string()),
        Event::ItemTaken { host, .. }
        | Event::GapRecorded { host, .. }
        | Event::DeclarationsReported { host, .. }
        | Event::InspectionReported { host, .. }
        | Event::RunReported { host, .. } => Some(host.to_string()),
        Event::IncidentOpened { signal, .. }
        | Event::SignalFolded { signal, .. }
        | Event::ConditionCleared { signal, .. } => Some(signal.host.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_journal() {
        let cases = [
            ((None, 0), (1, 0)),
            ((None, 5), (1, 5)),
            ((None, 250), (151, 250)),
            ((Some(151), 250), (51, 150)),
            ((Some(51), 250), (1, 50)),
            ((Some(1), 250), (1, 0)),
            ((Some(9_999), 250), (151, 250)),
        ];
        for ((before, head), expected) in cases {
            assert_eq!(range(Query { before }, head), expected, "before {before:?} of {head}");
        }
    }
}
