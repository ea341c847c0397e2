//! Managed hosts: list them, let one join, revoke one.

use crate::client::{self, Client, escape};
use crate::failure::Failure;
use crate::report;
use crate::ui::{Cell, Ui};
use crate::words;
use clap::{Args, Subcommand};
use reqwest::Method;
use sopwith_domain::ids::HostId;
use sopwith_protocol::api;

#[derive(Subcommand, Debug)]
pub enum Host {
    /// Lists the hosts and how they are.
    List(List),
    /// Makes a single-use token with which a host joins.
    JoinToken(JoinToken),
    /// Shows what a host's checks said on a day, what is wrong first.
    Report(report::Report),
    /// Shuts a host out; its certificate counts for nothing from now on.
    Revoke(Revoke),
}

#[derive(Args, Debug)]
pub struct List {
    /// Most hosts to list.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: usize,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sopwith host join-token --host web-3 --valid 1h")]
pub struct JoinToken {
    /// The only host that may use it; without it, any one host.
    #[arg(long)]
    host: Option<HostId>,
    /// How long it can be used, at most 24h.
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    valid: Option<u32>,
}

#[derive(Args, Debug)]
pub struct Revoke {
    host: HostId,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: Host, client: &Client, ui: &Ui) -> Result<(), Failure> {
    match args {
        Host::List(args) => {
            let answer = client.list::<api::HostView>("/hosts", "", args.limit).await?;
            ui.show(&answer.raw, || list(&answer.view, ui))
        }
        Host::Report(args) => report::run(args, client, ui).await,
        Host::JoinToken(args) => join_token(args, client, ui).await,
        Host::Revoke(args) => revoke(args, client, ui).await,
    }
}

fn list(hosts: &[api::HostView], ui: &Ui) -> String {
    if hosts.is_empty() {
        return "No host has joined yet. `sopwith host join-token` makes the line to type on one.".into();
    }
    let rows = hosts.iter().map(|host| {
        let mut notes = host.declarations.clone();
        if host.items_lost > 0 {
            notes.insert(0, format!("{} signals lost", host.items_lost));
        }
        vec![
            Cell::new(&host.host),
            Cell::toned(words::host_state(&host.state)),
            Cell::new(host.last_seen.as_ref().map_or_else(|| "never".into(), |at| words::ago(at, ui.now))),
            Cell::number(host.open_incidents),
            Cell::new(host.agent_version.as_deref().unwrap_or("–")),
            Cell::new(notes.join("; ")),
        ]
    });
    ui.table(&["HOST", "STATE", "SEEN", "OPEN", "AGENT", "NOTES"], 5, rows.collect())
}

async fn join_token(args: JoinToken, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let body = api::JoinTokenBody { host: args.host.map(|h| h.to_string()), valid_s: args.valid };
    let raw = client.send(Method::POST, "/join-tokens", Some(&body), None).await?;
    let token: api::JoinToken = client::view(&raw)?;
    ui.show(&raw, || {
        let expires = words::when(&token.expires_at, ui.now);
        format!("On the host, type:\n\n  {}\n\nIt works once, until {expires}.", token.command)
    })
}

async fn revoke(args: Revoke, client: &Client, ui: &Ui) -> Result<(), Failure> {
    ui.say(&format!(
        "This shuts {} out: its agent is not heard and gets no orders any more. A run that is under\n\
         way there is not recalled. To come back the host must join again.",
        args.host
    ))?;
    ui.confirm(&format!("Revoke {}?", args.host), args.yes)?;
    let path = format!("/hosts/{}/revoke", escape(args.host.as_str()));
    let raw = client.send(Method::POST, &path, None::<&()>, None).await?;
    ui.show(&raw, || format!("{} is revoked.", args.host))
}

/// Parses a length of time such as `90s`, `15m`, `1h`.
fn seconds(text: &str) -> Result<u32, String> {
    let expected = || format!("{text:?} is no length of time; as in 90s, 15m or 1h, at most 24h");
    let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(expected()),
    };
    let total = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
    total.filter(|s| (1..=86_400).contains(s)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    #[test]
    fn lengths_of_time() {
        let table =
            [("90s", Some(90)), ("15m", Some(900)), ("24h", Some(86_400)), ("25h", None), ("0s", None)];
        let bad = [("5", None), ("h", None), ("-1h", None), ("1d", None), ("", None), ("99999999999s", None)];
        for (text, expected) in table.into_iter().chain(bad) {
            assert_eq!(super::seconds(text).ok(), expected, "{text:?}");
        }
    }
}
