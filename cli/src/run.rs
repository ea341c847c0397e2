//! Runs: what a host did, record by record, and asking it to stop.

use crate::client::Client;
use crate::failure::Failure;
use crate::ui::{Cell, Tone, Ui};
use crate::words;
use crate::{dry_run, incident, run_watch};
use clap::{Args, Subcommand};
use reqwest::Method;
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::run::{End, StepResult, What};
use sopwith_protocol::api::{RunRecordView, RunView};

/// Runs among which a shortened digest is looked for.
const SEARCH_MAX: usize = 1000;
/// Lines of a step's output that are shown; the last ones tell how it ended.
const OUTPUT_LINES: usize = 6;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Run {
    /// Asks the host what the incident's plan would change; nothing is changed by that.
    #[arg(long, value_name = "INCIDENT")]
    dry_run: Option<IncidentId>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Lists the latest runs.
    List(List),
    /// Shows what a run did.
    Show(Show),
    /// Follows a run live, with what its steps say, until it ends.
    Watch(Show),
    /// Asks the host to start no further step of a run and to undo what it did.
    Cancel(Cancel),
}

#[derive(Args, Debug)]
struct List {
    /// Most runs to list.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

#[derive(Args, Debug)]
struct Show {
    /// The run's digest, or its first digits.
    run: String,
}

#[derive(Args, Debug)]
struct Cancel {
    /// The run's digest, or its first digits.
    run: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: Run, client: &Client, ui: &Ui) -> Result<(), Failure> {
    if let Some(incident) = args.dry_run {
        return dry_run::dry_run(incident, client, ui).await;
    }
    match args.verb {
        Some(Verb::List(args)) => {
            let answer = client.list::<RunView>("/runs", "", args.limit).await?;
            ui.show(&answer.raw, || list(&answer.view, ui))
        }
        Some(Verb::Show(args)) => {
            let digest = find(&args.run, client).await?;
            let answer = client.get::<RunView>(&format!("/runs/{digest}")).await?;
            ui.show(&answer.raw, || text(&answer.view, ui))
        }
        Some(Verb::Watch(args)) => run_watch::watch(find(&args.run, client).await?, client, ui).await,
        Some(Verb::Cancel(args)) => cancel(args, client, ui).await,
        None => Err(Failure::usage("say which run").help("`sopwith run --help` shows what there is")),
    }
}

async fn cancel(args: Cancel, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let digest = find(&args.run, client).await?;
    let view: RunView = client.get(&format!("/runs/{digest}")).await?.view;
    ui.say(&text(&view, ui))?;
    if view.end.is_some() {
        return Err(Failure::refused(format!(
            "run {} has ended, there is nothing to cancel",
            digest.short()
        )));
    }
    ui.say(
        "\nCancelling starts no further step. The step under way ends, then everything is undone in reverse.",
    )?;
    ui.confirm(&format!("Cancel run {} on {}?", digest.short(), view.host), args.yes)?;
    let raw = client.send(Method::POST, &format!("/runs/{digest}/cancel"), None::<&()>, None).await?;
    ui.show(&raw, || format!("{} is asked to cancel run {}.", view.host, digest.short()))
}

async fn find(text: &str, client: &Client) -> Result<Digest, Failure> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    if text.len() < 4 || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!("{text:?} is no run")).help("`sopwith run list` shows them"));
    }
    let runs = client.list::<RunView>("/runs", "", SEARCH_MAX).await?.view;
    let prefix = text.to_lowercase();
    let mut found = runs.iter().map(|r| r.run).filter(|d| d.to_string().starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some(digest), None) => Ok(digest),
        (None, _) => Err(Failure::failed(format!("no run begins with {text}"))),
        _ => Err(Failure::usage(format!("several runs begin with {text}")).help("give more digits")),
    }
}

fn list(runs: &[RunView], ui: &Ui) -> String {
    if runs.is_empty() {
        return "No run yet: one begins when a plan is approved.".into();
    }
    let rows = runs.iter().map(|run| {
        let began = run.records.first().map_or_else(|| "–".into(), |r| words::ago(&r.at, ui.now));
        vec![
            Cell::new(run.run.short()),
            Cell::toned(words::run_state(run.end.as_ref(), run.cancel_requested.is_some())),
            Cell::new(run.incident.map_or_else(|| "–".into(), |i| i.to_string())),
            Cell::new(&run.host),
            Cell::new(run.title.as_deref().or(run.playbook.as_deref()).unwrap_or("–")),
            Cell::new(began),
        ]
    });
    ui.table(&["RUN", "STATE", "INCIDENT", "HOST", "WHAT", "BEGAN"], 4, rows.collect())
}

/// Returns a run as people read it.
pub fn text(run: &RunView, ui: &Ui) -> String {
    let (tone, state) = words::run_state(run.end.as_ref(), run.cancel_requested.is_some());
    let mut out = format!("  {}  {}", ui.paint(Tone::Strong, &run.run.short()), ui.paint(tone, &state));
    let of = run.incident.map_or_else(String::new, |i| format!(" for {i}"));
    out.push_str(&format!("  on {}{of}\n", run.host));
    if let Some(title) = &run.title {
        ui.wrap(title, 2).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    }
    run.records.iter().for_each(|record| told(&mut out, record, ui));
    if let Some(said) = &run.live {
        let lines: Vec<&str> = said.text.lines().collect();
        lines[lines.len().saturating_sub(OUTPUT_LINES)..].iter().for_each(|line| says(&mut out, line));
    }
    if let Some(by) = &run.cancel_requested {
        out.push_str(&format!("  {by} asked to cancel it\n"));
    }
    residue(&mut out, run, ui);
    out
}

/// Adds a record with the last of what it says.
pub fn told(out: &mut String, record: &RunRecordView, ui: &Ui) {
    let (glyph, tone) = glyph(record.what.as_ref());
    let mut lines = ui.wrap(&record.sentence, 14).into_iter();
    let at = ui.paint(Tone::Quiet, &words::clock(&record.at));
    let first = lines.next().unwrap_or_default();
    out.push_str(&format!("  {at}  {} {first}\n", ui.paint(tone, glyph)));
    lines.for_each(|line| out.push_str(&format!("{:14}{line}\n", "")));
    output(out, record.what.as_ref());
}

/// Adds a line that the program of the running step says.
pub fn says(out: &mut String, line: &str) {
    out.push_str(&format!("{:14}┆ {line}\n", ""));
}

fn residue(out: &mut String, run: &RunView, ui: &Ui) {
    match &run.end {
        Some(End::RolledBack { reason }) => {
            incident::section(out, "Undone", ui);
            ui.labelled(out, 2, "because", reason);
        }
        Some(End::Parked { reason, residue }) => {
            incident::section(out, "Left to a person", ui);
            ui.labelled(out, 2, "because", reason);
            residue.iter().for_each(|what| ui.labelled(out, 2, "not back", what));
        }
        _ => {}
    }
}

fn glyph(what: Option<&What>) -> (&'static str, Tone) {
    match what {
        Some(What::Finished { outcome: StepResult::Done { .. }, .. }) => ("✓", Tone::Good),
        Some(What::Verified { passed: true, .. } | What::Soaked { passed: true, .. }) => ("✓", Tone::Good),
        Some(What::Verified { .. } | What::Soaked { .. } | What::Refused { .. }) => ("✗", Tone::Bad),
        Some(What::Finished { .. } | What::Halted { .. }) => ("✗", Tone::Bad),
        Some(What::UndoStarted { .. } | What::UndoFinished { .. }) => ("↺", Tone::Attention),
        Some(What::Ended { end: End::Resolved }) => ("■", Tone::Good),
        Some(What::Ended { .. }) => ("■", Tone::Attention),
        _ => ("·", Tone::Quiet),
    }
}

fn output(out: &mut String, what: Option<&What>) {
    let Some(What::Finished {
        outcome: StepResult::Done { output } | StepResult::Failed { output, .. }, ..
    }) = what
    else {
        return;
    };
    let lines: Vec<&str> = output.lines().collect();
    for line in &lines[lines.len().saturating_sub(OUTPUT_LINES)..] {
        out.push_str(&format!("{:14}│ {line}\n", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_to_its_last_lines() {
        let mut out = String::new();
        let text: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let what = What::Finished { step: 0, outcome: StepResult::Done { output: text.join("\n") } };
        output(&mut out, Some(&what));
        assert_eq!(out.lines().count(), OUTPUT_LINES);
        assert!(out.ends_with("│ 19\n"));
    }
}
