//! Problems: what automation could not mend, until somebody has found the cause.

use crate::client::Client;
use crate::failure::Failure;
use crate::ui::{Cell, Tone, Ui};
use crate::words;
use clap::{Args, Subcommand};
use reqwest::Method;
use sopwith_domain::ids::IncidentId;
use sopwith_domain::problem::ProblemId;
use sopwith_protocol::api::{ProblemView, WithRootCause};

/// Incidents that are named of one problem; the web page names more.
const INCIDENTS_SHOWN: usize = 10;

#[derive(Subcommand, Debug)]
pub enum Problem {
    /// Lists the open problems.
    List(List),
    /// Shows one problem: why it was opened, and the incidents it was seen in.
    Show(Show),
    /// Closes a problem whose cause was found.
    Close(Close),
}

#[derive(Args, Debug)]
pub struct List {
    /// Also those whose cause was found.
    #[arg(long)]
    all: bool,
    /// Most problems to list.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

#[derive(Args, Debug)]
pub struct Show {
    /// As in PRB-7.
    problem: ProblemId,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sopwith problem close PRB-7 --root-cause \"the export job had no limit; it has one now\""
)]
pub struct Close {
    /// As in PRB-7.
    problem: ProblemId,
    /// What the cause was, and what keeps it from coming back; the problem keeps it.
    #[arg(long)]
    root_cause: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: Problem, client: &Client, ui: &Ui) -> Result<(), Failure> {
    match args {
        Problem::List(args) => {
            let query = if args.all { "" } else { "&open=true" };
            let answer = client.list::<ProblemView>("/problems", query, args.limit).await?;
            ui.show(&answer.raw, || list(&answer.view, args.all, ui))
        }
        Problem::Show(args) => {
            let answer = client.get::<ProblemView>(&path(args.problem)).await?;
            ui.show(&answer.raw, || text(&answer.view, ui))
        }
        Problem::Close(args) => close(args, client, ui).await,
    }
}

async fn close(args: Close, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let view: ProblemView = client.get(&path(args.problem)).await?.view;
    ui.say(&text(&view, ui))?;
    ui.confirm(&format!("Close {}?", args.problem), args.yes)?;
    let body = WithRootCause { root_cause: args.root_cause };
    let raw = client.send(Method::POST, &format!("{}/close", path(args.problem)), Some(&body), None).await?;
    ui.show(&raw, || format!("✓ {} is closed.", args.problem))
}

fn path(problem: ProblemId) -> String {
    format!("/problems/{}", problem.0)
}

fn list(problems: &[ProblemView], all: bool, ui: &Ui) -> String {
    if problems.is_empty() {
        return match all {
            true => "No problem yet: one is opened when the last SOP for a fault failed.".into(),
            false => "✓ No open problem. `sopwith problem list --all` shows the closed ones.".into(),
        };
    }
    let rows = problems.iter().map(|problem| {
        vec![
            Cell::new(&problem.number),
            Cell::toned(state(problem)),
            Cell::new(&problem.host),
            Cell::new(&problem.title),
            Cell::new((problem.incidents.len() as u64 + problem.more_incidents).to_string()),
            Cell::new(words::ago(&problem.opened_at, ui.now)),
        ]
    });
    ui.table(&["PROBLEM", "STATE", "HOST", "WHAT", "SEEN", "SINCE"], 3, rows.collect())
}

fn state(problem: &ProblemView) -> (Tone, String) {
    match problem.closed {
        Some(_) => (Tone::Good, "✓ closed".into()),
        None => (Tone::Attention, "◆ open".into()),
    }
}

fn text(problem: &ProblemView, ui: &Ui) -> String {
    let (tone, state) = state(problem);
    let number = ui.paint(Tone::Strong, &problem.number);
    let mut out = format!("  {number}  {}\n", ui.paint(tone, &state));
    ui.wrap(&problem.title, 2).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    ui.labelled(&mut out, 2, "host", &problem.host);
    ui.labelled(&mut out, 2, "subject", &problem.subject);
    ui.labelled(&mut out, 2, "opened", &words::ago(&problem.opened_at, ui.now));
    ui.labelled(&mut out, 2, "why", &problem.why);
    ui.labelled(&mut out, 2, "seen in", &seen_in(&problem.incidents, problem.more_incidents));
    if let Some(closed) = &problem.closed {
        ui.labelled(&mut out, 2, "cause", &closed.root_cause);
        let closed = format!("by {}, {}", closed.by, words::ago(&closed.at, ui.now));
        ui.labelled(&mut out, 2, "closed", &closed);
    }
    out.trim_end().to_owned()
}

fn seen_in(incidents: &[IncidentId], more: u64) -> String {
    let named: Vec<String> = incidents.iter().rev().take(INCIDENTS_SHOWN).map(ToString::to_string).collect();
    let left = incidents.len().saturating_sub(INCIDENTS_SHOWN) as u64 + more;
    match left {
        0 => named.join(", "),
        _ => format!("{} and {left} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_named_newest_first_and_the_rest_counted() {
        let all: Vec<IncidentId> = (1..=12).map(IncidentId).collect();
        assert_eq!(seen_in(&all[..2], 0), "INC-2, INC-1");
        assert!(seen_in(&all, 3).ends_with("INC-3 and 5 more"));
    }
}
