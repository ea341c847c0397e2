//! Follows incidents live over the server's event stream. An event only says that something changed; what is shown is
//! asked for afresh, so a missed or doubled event shows nothing wrong.

use crate::client::Client;
use crate::failure::Failure;
use crate::incident;
use crate::sse::Parser;
use crate::ui::{self, Format, Ui};
use crate::words;
use clap::Args;
use sopwith_domain::ids::IncidentId;
use sopwith_protocol::api::{Change, IncidentSummary, IncidentView};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Waits before the stream is opened again: short first, because a restart of the server is short.
const RECONNECT_DELAYS_S: [u64; 5] = [1, 2, 5, 10, 15];
/// Open incidents that are listed at the beginning.
const LIST_MAX: usize = 200;

#[derive(Args, Debug)]
#[command(after_help = "\
With an incident, it ends when that incident is closed (exit code 0) or needs
a person (exit code 1). Without, it follows all until Ctrl-C.")]
pub struct Watch {
    /// As in INC-7; without, all incidents.
    incident: Option<IncidentId>,
}

/// What has been shown already.
struct Shown {
    only: Option<IncidentId>,
    /// Lines of each incident's story that were printed.
    lines: BTreeMap<IncidentId, usize>,
    states: BTreeMap<IncidentId, String>,
    /// Whether the incidents that were open at the beginning have been shown.
    begun: bool,
}

pub async fn watch(args: Watch, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let mut shown =
        Shown { only: args.incident, lines: BTreeMap::new(), states: BTreeMap::new(), begun: false };
    let mut last_id: Option<String> = None;
    let mut failures = 0;
    loop {
        match follow(&mut shown, &mut last_id, &mut failures, client, ui).await {
            Ok(Some(end)) => return end,
            Ok(None) => {}
            // Who is refused, or was never let in, gains nothing by asking again.
            Err(failure) if failure.exit_code() != 4 || last_id.is_none() && failures == 0 => {
                return Err(failure);
            }
            Err(failure) if failures >= RECONNECT_DELAYS_S.len() => return Err(failure),
            Err(failure) => eprintln!("  … {}; trying again", failure.text),
        }
        let delay = RECONNECT_DELAYS_S[failures.min(RECONNECT_DELAYS_S.len() - 1)];
        failures += 1;
        tokio::time::sleep(Duration::from_secs(delay)).await;
    }
}

/// Follows one connection. Returns how the watch ended, or nothing if only the connection did.
async fn follow(
    shown: &mut Shown,
    last_id: &mut Option<String>,
    failures: &mut usize,
    client: &Client,
    ui: &Ui,
) -> Result<Option<Result<(), Failure>>, Failure> {
    // The stream is open before the first look, so nothing can happen between the two unseen.
    let mut stream = client.events(last_id.as_deref()).await?;
    let first = match shown.only {
        Some(incident) => BTreeSet::from([incident]),
        None => open_incidents(client).await?,
    };
    if let Some(end) = refresh(first, shown, client, ui).await? {
        return Ok(Some(end));
    }
    shown.begun = true;
    let mut parser = Parser::default();
    while let Some(bytes) = stream.chunk().await.map_err(|e| client.unreachable(&e))? {
        *failures = 0;
        let events =
            parser.feed(&bytes).map_err(|_| Failure::failed("the event stream is not understood"))?;
        let mut touched = BTreeSet::new();
        for event in events {
            *last_id = event.id.or(last_id.take());
            let Ok(change) = serde_json::from_str::<Change>(&event.data) else { continue };
            if ui.format != Format::Table && shown.only.is_none_or(|only| change.incident == Some(only)) {
                ui::print_out(&event.data)?;
            }
            touched.extend(change.incident.filter(|i| shown.only.is_none_or(|only| only == *i)));
        }
        if let Some(end) = refresh(touched, shown, client, ui).await? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

async fn open_incidents(client: &Client) -> Result<BTreeSet<IncidentId>, Failure> {
    let open = client.list::<IncidentSummary>("/incidents", "&open=true", LIST_MAX).await?.view;
    Ok(open.into_iter().map(|i| i.id).collect())
}

/// Shows what is new of these incidents.
async fn refresh(
    incidents: BTreeSet<IncidentId>,
    shown: &mut Shown,
    client: &Client,
    ui: &Ui,
) -> Result<Option<Result<(), Failure>>, Failure> {
    for id in incidents {
        let view: IncidentView = client.get(&incident::path(id)).await?.view;
        let news = shown.news(&view, ui);
        if ui.format == Format::Table && !news.is_empty() {
            ui::print_out(&news)?;
        }
        if shown.only == Some(id) {
            match view.summary.phase.as_str() {
                "closed" => return Ok(Some(Ok(()))),
                "needs_person" => {
                    let failure = Failure::failed(format!("{id} needs a person: {}", view.summary.status));
                    return Ok(Some(Err(failure.help(format!("sopwith incident show {id}")))));
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

impl Shown {
    /// Returns the lines that were not shown yet.
    fn news(&mut self, view: &IncidentView, ui: &Ui) -> String {
        let id = view.summary.id;
        let mut out = String::new();
        let first = !self.lines.contains_key(&id);
        if first {
            out.push_str(&format!(
                "{} on {}: {}\n",
                view.summary.number, view.summary.host, view.summary.title
            ));
        }
        // Of an incident that began before the watch the last line is enough, unless it is the one asked for.
        let skip = if self.only.is_none() && !self.begun { view.timeline.len().saturating_sub(1) } else { 0 };
        let from = *self.lines.get(&id).unwrap_or(&skip);
        for entry in view.timeline.iter().skip(from) {
            let by = if self.only.is_none() {
                format!("{} {}", view.summary.number, entry.by)
            } else {
                entry.by.clone()
            };
            out.push_str(&incident::timeline_line(&entry.at, &by, &entry.text, ui));
        }
        self.lines.insert(id, view.timeline.len().max(from));
        let state = view.summary.phase.clone();
        if self.states.insert(id, state.clone()).as_ref() != Some(&state) {
            let (tone, text) = words::phase(&state);
            out.push_str(&format!("  {} {}\n", ui.paint(tone, &text), view.summary.number));
            if view.summary.needs_decision {
                out.push_str(&format!("  → sopwith approve {}\n", view.summary.number));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::time::Timestamp;

    fn view(lines: usize, phase: &str) -> IncidentView {
        let timeline: Vec<_> = (0..lines)
            .map(|n| serde_json::json!({"at": "2026-01-31T03:12:00Z", "by": "sopwith", "text": format!("line {n}")}))
            .collect();
        crate::client::view(&serde_json::json!({
            "id": 7, "number": "INC-7", "title": "T", "host": "h", "subject": "host", "kind": "a.b",
            "priority": "P2", "phase": phase, "status": "s", "opened_at": "2026-01-31T03:12:00Z", "signals": 1,
            "playbook": null, "plan": null, "needs_decision": false, "rule": "r", "severity": "critical",
            "priority_reason": "", "cleared": false, "fields": {}, "evidence": [], "candidates": [],
            "why_not": null, "plan_view": null, "runs": [], "timeline": timeline,
        }))
        .unwrap_or_else(|f| panic!("{}", f.text))
    }

    #[test]
    fn each_line_and_state_is_shown_once() {
        let ui = Ui { format: Format::Table, colour: false, width: 80, now: Timestamp(0) };
        let mut shown = Shown {
            only: Some(IncidentId(7)),
            lines: BTreeMap::new(),
            states: BTreeMap::new(),
            begun: false,
        };
        assert_eq!(shown.news(&view(1, "detected"), &ui).lines().count(), 3);
        assert_eq!(shown.news(&view(1, "detected"), &ui), "");
        assert_eq!(shown.news(&view(2, "running"), &ui), "  03:12:00  sopwith: line 1\n  ▶ running INC-7\n");
    }
}
