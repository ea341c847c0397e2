//! A host's inspection report of a day.

use crate::client::{self, Client, escape};
use crate::failure::Failure;
use crate::ui::{Cell, Ui};
use crate::words;
use clap::Args;
use reqwest::Method;
use sopwith_domain::ids::HostId;
use sopwith_domain::inspection::Day;
use sopwith_protocol::api::{InspectedView, InspectionView};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sopwith host report web-3\n  sopwith host report web-3 --date 2026-01-31"
)]
pub struct Report {
    host: HostId,
    /// The day, by the host's own calendar; without it, the newest.
    #[arg(long, value_name = "DAY")]
    date: Option<Day>,
}

pub async fn run(args: Report, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let query = args.date.map_or_else(String::new, |day| format!("?date={day}"));
    let path = format!("/hosts/{}/inspection{query}", escape(args.host.as_str()));
    let raw = client.send(Method::GET, &path, None::<&()>, None).await?;
    let view: InspectionView = client::view(&raw)?;
    ui.show(&raw, || text(&view, ui))
}

fn text(view: &InspectionView, ui: &Ui) -> String {
    let made = words::when(&view.made_at, ui.now);
    let span = if view.complete { "the whole day".to_owned() } else { format!("so far, {made}") };
    let mut lines = vec![format!("{}, {} ({span}): {}", view.host, view.day, counts(view))];
    if view.checks.is_empty() {
        lines.push("This host has no checks. They stand under `checks:` in its agent.yaml.".into());
    } else {
        let rows = view.checks.iter().map(|one| row(one, ui)).collect();
        lines.push(String::new());
        lines.push(ui.table(&["CHECK", "STATE", "SINCE", "RUNS", "BAD", "MISSED", "SAYS"], 6, rows));
    }
    if view.left_out > 0 {
        lines.push(format!("{} further checks did not fit in the report.", view.left_out));
    }
    lines.join("\n")
}

fn counts(view: &InspectionView) -> String {
    let all = ["critical", "warning", "unknown", "pending", "ok"];
    let count = |name: &str| view.checks.iter().filter(|one| one.verdict == name).count();
    let mut said: Vec<_> = all
        .iter()
        .map(|name| (count(name), *name))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| format!("{n} {s}"))
        .collect();
    let missed: u64 = view.checks.iter().map(|one| one.missed).sum();
    if missed > 0 {
        said.push(format!("{missed} runs missed"));
    }
    if said.is_empty() { "no checks".into() } else { said.join(", ") }
}

fn row(one: &InspectedView, ui: &Ui) -> Vec<Cell> {
    let since = one.since.as_ref().map_or_else(|| "–".into(), |at| words::ago(at, ui.now));
    vec![
        Cell::new(&one.check),
        Cell::toned(words::verdict(&one.verdict)),
        Cell::new(since),
        Cell::number(one.runs),
        Cell::number(one.warnings + one.criticals + one.unknowns),
        Cell::number(one.missed),
        Cell::new(&one.line),
    ]
}
