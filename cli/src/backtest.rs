//! `sopwith backtest`: what today's SOPs, policy and brakes would have made of the incidents of the past.

use crate::client::Client;
use crate::failure::Failure;
use crate::ui::{Cell, Tone, Ui};
use crate::{playbook, words};
use clap::Args;
use reqwest::Method;
use sopwith_protocol::api::{BacktestBody, BacktestRow, BacktestView};
use std::path::PathBuf;

/// Rows that are shown without `--all`; the counts are always of all of them.
const ROWS_SHOWN: usize = 40;

#[derive(Args, Debug)]
#[command(after_help = "\
The server puts the signals, declarations and stops of its journal through its
own decisions once more, in a state of its own. Nothing is run, nothing is
written, and the same journal gives the same table. An order that would have
been released is taken to work, unless the same SOP ran for that incident; then
it ends as it did. People decide nothing.

A file given with --playbook or --policy stands in for the one in force; it
need not be signed, because nothing is run by it.

Examples:
  sopwith backtest --since 30d
  sopwith backtest --since 7d --playbook new.yaml --policy stricter.yaml
  sopwith backtest --since 30d -o json")]
pub struct Backtest {
    /// How far back, as in 12h, 30d or 8w.
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = seconds)]
    since: u64,
    /// A playbook to try.
    #[arg(long, value_name = "FILE")]
    playbook: Vec<PathBuf>,
    /// A policy to try.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Shows every incident.
    #[arg(long)]
    all: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no length of time; write 12h, 30d or 8w");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let each = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(each).filter(|s| *s > 0).ok_or_else(wrong)
}

pub async fn backtest(args: Backtest, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let playbooks = args.playbook.iter().map(|path| playbook::read(path)).collect::<Result<_, _>>()?;
    let policy = args.policy.as_deref().map(playbook::read).transpose()?;
    let body = BacktestBody { since_s: args.since, playbooks, policy };
    let raw = client.send(Method::POST, "/backtest", Some(&body), None).await?;
    let view: BacktestView = crate::client::view(&raw)?;
    ui.show(&raw, || text(&view, args.all, ui))
}

fn text(view: &BacktestView, all: bool, ui: &Ui) -> String {
    let head = format!("{} to {}", words::when(&view.since, ui.now), words::when(&view.until, ui.now));
    if view.rows.is_empty() {
        return format!("No incident was opened in this time.\n  {head}");
    }
    let skipped = if all { 0 } else { view.rows.len().saturating_sub(ROWS_SHOWN) };
    let rows = view.rows[skipped..].iter().map(|row| {
        vec![
            Cell::new(row.incident.to_string()),
            Cell::toned(would(row)),
            Cell::new(row.brake.as_deref().unwrap_or("–")),
            Cell::new(row.playbook.as_deref().unwrap_or("–")),
            Cell::new(format!("{} {} {}", row.host, row.kind, row.subject)),
            Cell::new(&row.then),
        ]
    });
    let mut out = ui.table(&["INCIDENT", "WOULD", "BRAKE", "SOP", "WHAT", "THEN"], 4, rows.collect());
    if skipped > 0 {
        out.push_str(&format!("\n  … {skipped} incidents before, shown by --all"));
    }
    out.push_str(&format!("\n\n  {head}\n"));
    let mut row = |label: &str, text: &str| ui.labelled(&mut out, 2, label, text);
    let counts = |map: &std::collections::BTreeMap<String, u64>| {
        map.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")
    };
    row("would", &counts(&view.would));
    if !view.brakes.is_empty() {
        row("brakes", &counts(&view.brakes));
    }
    row("runs", &format!("{} without a person", view.automatic_runs));
    row("changed", &format!("another SOP than then in {}", words::count(view.chosen_otherwise, "incident")));
    if view.left_out > 0 {
        row("not told", &words::count(view.left_out, "incident"));
    }
    out
}

fn would(row: &BacktestRow) -> (Tone, String) {
    let (tone, word) = match row.would.as_str() {
        "run" => (Tone::Good, "▶ run"),
        "ask" => (Tone::Attention, "◆ ask"),
        "hold" => (Tone::Attention, "‖ hold"),
        "person" => (Tone::Bad, "! person"),
        "fold" => (Tone::Quiet, "· fold"),
        other => return (Tone::Quiet, format!("? {other}")),
    };
    (tone, word.into())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn lengths_of_time_are_read_or_refused() {
        let table =
            [("30d", Some(2_592_000)), ("12h", Some(43_200)), ("8w", Some(4_838_400)), ("90m", Some(5400))];
        for (text, expected) in table {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for text in
            ["", "d", "0d", "-1d", "30", "1.5d", "99999999999999999999d", "9999999999999999999w", "30é"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
