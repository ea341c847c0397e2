//! The stop switch for everything, and what the budgets leave.

use crate::client::{self, Client};
use crate::failure::Failure;
use crate::ui::{Cell, Ui};
use clap::Args;
use reqwest::Method;
use sopwith_protocol::api;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sopwith stop --reason \"storage is being moved\"")]
pub struct Stop {
    /// Why; everybody sees it.
    #[arg(long)]
    reason: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
pub struct Resume {
    /// Why it is safe again.
    #[arg(long)]
    reason: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

/// Stops all automation.
pub async fn stop(args: Stop, client: &Client, ui: &Ui) -> Result<(), Failure> {
    ui.say(
        "This stops all automation on all hosts: no step starts any more, at once where a host is\n\
         connected and within a minute elsewhere. Runs that have begun are undone.\n\
         Faults are still seen and shown. It holds until `sopwith resume`.",
    )?;
    ui.confirm("Stop all automation?", args.yes)?;
    post("/stop", args.reason, client, ui).await
}

/// Ends the stop.
pub async fn resume(args: Resume, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let now: api::Automation = client.get("/automation").await?.view;
    ui.say(&format!(
        "Automation is {}.\nThis lets approved plans start again on all hosts.",
        sentence(&now, ui)
    ))?;
    ui.confirm("Resume automation?", args.yes)?;
    post("/resume", args.reason, client, ui).await
}

/// Lists what the budgets leave for automation.
pub async fn budget(client: &Client, ui: &Ui) -> Result<(), Failure> {
    let answer = client.get::<api::Page<api::BudgetRow>>("/budgets").await?;
    ui.show(&answer.raw, || {
        let rows = answer.view.items.iter().map(|row| {
            let name = row.name.clone().unwrap_or_default();
            let of = match &row.host {
                Some(host) => format!("{name} on {host}"),
                None => name,
            };
            let at_once = match (row.under_way, row.at_once) {
                (Some(now), Some(max)) => format!("{now} of {max}"),
                _ => String::new(),
            };
            let left = row.hour_max.saturating_sub(row.hour_used);
            vec![
                Cell::new(&row.of),
                Cell::new(of),
                Cell::new(at_once),
                Cell::new(format!("{} of {}", row.hour_used, row.hour_max)),
                Cell::number(u64::from(left)),
            ]
        });
        ui.table(&["BUDGET", "OF", "RUNNING", "THIS HOUR", "LEFT"], 1, rows.collect())
    })
}

async fn post(path: &str, reason: String, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let body = api::WithReason { reason };
    let raw = client.send(Method::POST, path, Some(&body), None).await?;
    let state: api::Automation = client::view(&raw)?;
    ui.show(&raw, || format!("Automation is {}.", sentence(&state, ui)))
}

/// Returns the state of automation in words.
pub fn sentence(state: &api::Automation, ui: &Ui) -> String {
    if !state.stopped {
        return "on".into();
    }
    let by = state.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let since =
        state.since.as_ref().map_or_else(String::new, |at| format!(", {}", crate::words::ago(at, ui.now)));
    let reason = state.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("stopped{by}{since}{reason}")
}
