//! Incidents: what is wrong, since when, and what is being done.

use crate::client::Client;
use crate::failure::Failure;
use crate::ui::{Cell, Tone, Ui};
use crate::{plan_text, proof, run, watch, words};
use clap::{Args, Subcommand};
use reqwest::Method;
use sopwith_domain::ids::IncidentId;
use sopwith_protocol::api::{IncidentSummary, IncidentView, WithReason};

/// Lines of one piece of evidence that are shown without `--full`.
const EVIDENCE_LINES: usize = 8;

#[derive(Subcommand, Debug)]
pub enum Incident {
    /// Lists the open incidents.
    List(List),
    /// Shows one incident: story, evidence, proposed plan, runs.
    Show(Show),
    /// Follows what happens, live.
    Watch(watch::Watch),
    /// Closes an incident that a person has dealt with.
    Close(Close),
}

#[derive(Args, Debug)]
pub struct List {
    /// Also those that are closed.
    #[arg(long)]
    all: bool,
    /// Most incidents to list.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

#[derive(Args, Debug)]
pub struct Show {
    /// As in INC-7.
    incident: IncidentId,
    /// Shows evidence in full.
    #[arg(long)]
    full: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sopwith incident close INC-7 --reason \"disk was replaced\"")]
pub struct Close {
    /// As in INC-7.
    incident: IncidentId,
    /// What was done; the incident keeps it.
    #[arg(long)]
    reason: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: Incident, client: &Client, ui: &Ui) -> Result<(), Failure> {
    match args {
        Incident::List(args) => {
            let query = if args.all { "" } else { "&open=true" };
            let answer = client.list::<IncidentSummary>("/incidents", query, args.limit).await?;
            ui.show(&answer.raw, || list(&answer.view, args.all, ui))
        }
        Incident::Show(args) => {
            let mut answer = client.get::<IncidentView>(&path(args.incident)).await?;
            if let Some(plan) = answer.view.plan_view.take() {
                answer.view.plan_view = Some(proof::computed(plan, &answer.raw["plan_view"])?);
            }
            ui.show(&answer.raw, || show(&answer.view, args.full, ui))
        }
        Incident::Watch(args) => watch::watch(args, client, ui).await,
        Incident::Close(args) => close(args, client, ui).await,
    }
}

async fn close(args: Close, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let view: IncidentView = client.get(&path(args.incident)).await?.view;
    ui.say(&head(&view, ui))?;
    ui.confirm(&format!("Close {}?", args.incident), args.yes)?;
    let body = WithReason { reason: args.reason };
    let raw = client.send(Method::POST, &format!("{}/close", path(args.incident)), Some(&body), None).await?;
    ui.show(&raw, || format!("✓ {} is closed.", args.incident))
}

/// Returns where the API keeps an incident.
pub fn path(incident: IncidentId) -> String {
    format!("/incidents/{}", incident.0)
}

fn list(incidents: &[IncidentSummary], all: bool, ui: &Ui) -> String {
    if incidents.is_empty() {
        return match all {
            true => "No incident yet: the agents saw no fault.".into(),
            false => "✓ No open incident. `sopwith incident list --all` shows the closed ones.".into(),
        };
    }
    let rows = incidents.iter().map(|i| {
        vec![
            Cell::new(&i.number),
            Cell::new(&i.priority),
            Cell::toned(words::phase(&i.phase)),
            Cell::new(&i.host),
            Cell::new(&i.title),
            Cell::new(words::ago(&i.opened_at, ui.now)),
        ]
    });
    let mut out = ui.table(&["INCIDENT", "PRIO", "STATE", "HOST", "WHAT", "SINCE"], 4, rows.collect());
    let waiting: Vec<&str> =
        incidents.iter().filter(|i| i.needs_decision).map(|i| i.number.as_str()).collect();
    if !waiting.is_empty() {
        out.push_str(&format!("\n\nWaits for a decision: sopwith approve {}", waiting.join(", ")));
    }
    out
}

fn show(incident: &IncidentView, full: bool, ui: &Ui) -> String {
    let mut out = head(incident, ui);
    if !incident.evidence.is_empty() {
        section(&mut out, "Evidence", ui);
        incident.evidence.iter().for_each(|e| evidence(&mut out, &e.title, &e.text, full));
    }
    if let Some(plan) = &incident.plan_view {
        section(&mut out, "Proposed fix", ui);
        out.push_str(&plan_text::lines(plan, ui).join("\n"));
        out.push('\n');
    }
    if let Some(diagnosis) = &incident.diagnosis {
        section(&mut out, "Looked", ui);
        out.push_str(&crate::dry_run::text(diagnosis, ui));
    }
    for report in &incident.runs {
        section(&mut out, "Run", ui);
        out.push_str(&run::text(report, ui));
    }
    section(&mut out, "What happened", ui);
    for entry in &incident.timeline {
        out.push_str(&timeline_line(&entry.at, &entry.by, &entry.text, ui));
    }
    if incident.summary.needs_decision {
        out.push_str(&format!(
            "\nTo decide: sopwith approve {0}, or sopwith deny {0} --reason …\n",
            incident.summary.number
        ));
    }
    out
}

/// Returns the first lines of an incident: what, where, how bad, what now.
pub fn head(incident: &IncidentView, ui: &Ui) -> String {
    let summary = &incident.summary;
    let (tone, state) = words::phase(&summary.phase);
    let mut out = format!("{}  {}\n", ui.paint(Tone::Strong, &summary.number), ui.paint(tone, &state));
    for line in ui.wrap(&summary.title, 0) {
        out.push_str(&format!("{}\n", ui.paint(Tone::Strong, &line)));
    }
    out.push('\n');
    let mut row = |label: &str, text: &str| ui.labelled(&mut out, 2, label, text);
    row("now", &summary.status);
    row("host", &summary.host);
    row("subject", &summary.subject);
    row("priority", &format!("{}: {}", summary.priority, incident.priority_reason));
    row("since", &words::when(&summary.opened_at, ui.now));
    let condition = if incident.cleared { "is over, says the host" } else { "still holds" };
    row(
        "condition",
        &format!("{condition} ({}, {})", incident.rule, words::count(summary.signals, "signal")),
    );
    if let Some(why_not) = &incident.why_not {
        row("why not", why_not);
    }
    if !incident.stands_for.is_empty() {
        let folded: Vec<String> = incident.stands_for.iter().map(ToString::to_string).collect();
        row("stands for", &folded.join(", "));
    }
    if !incident.fields.is_empty() {
        section(&mut out, "What the host says", ui);
        ui.pairs(&mut out, 2, incident.fields.iter().map(|(name, value)| (name.as_str(), value.clone())));
    }
    out
}

/// Returns one line of a story.
pub fn timeline_line(at: &str, by: &str, text: &str, ui: &Ui) -> String {
    let mut lines = ui.wrap(&format!("{by}: {text}"), 12).into_iter();
    let mut out =
        format!("  {}  {}\n", ui.paint(Tone::Quiet, &words::clock(at)), lines.next().unwrap_or_default());
    for line in lines {
        out.push_str(&format!("{:12}{line}\n", ""));
    }
    out
}

fn evidence(out: &mut String, title: &str, text: &str, full: bool) {
    out.push_str(&format!("  {title}\n"));
    let lines: Vec<&str> = text.lines().collect();
    // The last lines tell how it ended.
    let skipped = if full { 0 } else { lines.len().saturating_sub(EVIDENCE_LINES) };
    if skipped > 0 {
        out.push_str(&format!("    │ … {skipped} lines before, shown by --full\n"));
    }
    for line in &lines[skipped..] {
        out.push_str(&format!("    │ {line}\n"));
    }
}

/// Begins a part of what is shown.
pub fn section(out: &mut String, title: &str, ui: &Ui) {
    out.push_str(&format!("\n{}\n", ui.paint(Tone::Strong, title)));
}
