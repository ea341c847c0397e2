//! The standing policy: what may run without a person, and how often.

use crate::client::{self, Client};
use crate::failure::Failure;
use crate::keys;
use crate::playbook::{self, read_signature, write_signature};
use crate::ui::Ui;
use crate::words;
use clap::{Args, Subcommand};
use reqwest::Method;
use sopwith_domain::order::SignedText;
use sopwith_domain::policy::{Hosts, Policy as Parsed};
use sopwith_protocol::signature::POLICY_NAMESPACE;
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum Policy {
    /// Signs a policy that checks; the signature goes to FILE.sig.
    Sign(Sign),
    /// Shows the policy that is in force, or that of a file.
    Show(Show),
    /// Puts a signed policy in force.
    Set(Set),
}

#[derive(Args, Debug)]
#[command(after_help = "\
The same as: ssh-keygen -Y sign -n sopwith-policy -f KEY FILE

Example of a policy:
  version: 1
  auto: [restart-failed-unit]   # SOPs of risk auto that need no person
  hosts: all                    # or  named: [web-1, web-2]
  approvers: 1
  attempts_per_day: 2
  diagnosis: {per_host: 4}      # looks at what nothing mends")]
pub struct Sign {
    file: PathBuf,
    /// An OpenSSH private key; hosts must have its public half in allowed_signers.
    #[arg(long)]
    key: PathBuf,
}

#[derive(Args, Debug)]
pub struct Show {
    /// A file, instead of the server's policy.
    file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Set {
    file: PathBuf,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: Policy, ui: &Ui) -> Result<(), Failure> {
    match args {
        Policy::Sign(args) => {
            let text = playbook::read(&args.file)?;
            checked(&args.file, &text)?;
            let path = write_signature(&args.file, &keys::load(&args.key)?, POLICY_NAMESPACE, &text)?;
            ui.show(&serde_json::json!({"file": args.file, "signature": path}), || {
                format!("✓ signed: {}", path.display())
            })
        }
        Policy::Show(Show { file: Some(file) }) => {
            let text = playbook::read(&file)?;
            let policy = checked(&file, &text)?;
            ui.show(&serde_json::json!({"text": text}), || describe(&policy, ui))
        }
        Policy::Show(Show { file: None }) => show(&Client::from_session()?, ui).await,
        Policy::Set(args) => set(args, &Client::from_session()?, ui).await,
    }
}

async fn show(client: &Client, ui: &Ui) -> Result<(), Failure> {
    let raw = match client.get_raw("/policy").await {
        Err(failure) if failure.status == Some(404) => serde_json::Value::Null,
        other => other?,
    };
    if raw.is_null() {
        return ui.show(&raw, || {
            "No policy is set: people decide every plan.\n`sopwith policy set FILE` puts one in force.".into()
        });
    }
    let signed: SignedText = client::view(&raw)?;
    let policy = checked(Path::new("policy"), &signed.text)?;
    ui.show(&raw, || describe(&policy, ui))
}

async fn set(args: Set, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let text = playbook::read(&args.file)?;
    let policy = checked(&args.file, &text)?;
    let signed = SignedText { signature: read_signature(&args.file)?, text };
    ui.say(&format!("This puts in force at {}:\n\n{}", client.url(), describe(&policy, ui)))?;
    ui.confirm("Set this policy?", args.yes)?;
    let raw = client.send(Method::PUT, "/policy", Some(&signed), None).await?;
    ui.show(&raw, || format!("✓ policy version {} is in force", policy.version))
}

fn checked(file: &Path, text: &str) -> Result<Parsed, Failure> {
    Parsed::parse(text).map_err(|finding| {
        Failure::failed(format!("the policy does not check: {}:{finding}", file.display()))
    })
}

fn describe(policy: &Parsed, ui: &Ui) -> String {
    let list =
        |items: Vec<String>, none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let mut out = format!("Policy version {}\n", policy.version);
    let mut row = |label: &str, text: String| ui.labelled(&mut out, 2, label, &text);
    let auto =
        list(policy.auto.iter().map(ToString::to_string).collect(), "no SOP; people decide every plan");
    row("automatic", auto);
    row(
        "on hosts",
        match &policy.hosts {
            Hosts::All => "all".into(),
            Hosts::Named(hosts) => list(hosts.iter().map(ToString::to_string).collect(), "none"),
        },
    );
    row("else", format!("{} by people", words::count(policy.approvers, "approval")));
    row("a plan", format!("waits {} for them", words::duration(policy.proposal_valid_ms)));
    row("approval", format!("is good for {}", words::duration(policy.approval_valid_ms)));
    row("tries", format!("{} a day for one fault on one host", policy.attempts_per_day));
    let at_once = policy.at_once;
    row(
        "at once",
        format!(
            "{} overall, {} on a host, {} of one SOP; {} an hour",
            at_once.overall, at_once.per_host, at_once.per_playbook, policy.per_hour
        ),
    );
    let (budgets, fleet, storm) = (policy.budgets, &policy.fleet, policy.storm);
    let seconds = |s: u32| words::duration(i64::from(s) * 1000);
    row(
        "budgets",
        format!(
            "{} automatic an hour on a host, {} of one SOP, {} on one service",
            budgets.per_host, budgets.per_playbook, budgets.per_service
        ),
    );
    let looks = policy.diagnosis.map_or("not at all".into(), |rule| {
        format!("{} looks an hour at a host, {} at all", rule.per_host, rule.per_hour)
    });
    row("diagnosis", format!("of what nothing mends: {looks}"));
    row(
        "many hosts",
        format!(
            "the same fault on {} within {} is told as one; one host first, others {} after",
            fleet.hosts,
            seconds(fleet.window_s),
            seconds(fleet.bake_s)
        ),
    );
    row("", format!("failed run {} stops it; one {} at a time", fleet.failures, fleet.domain));
    row(
        "storm",
        format!(
            "{} % of the hosts sick, or {} faults a minute: nothing starts for {}",
            storm.sick_percent,
            storm.raised_per_minute,
            seconds(storm.cool_down_s)
        ),
    );
    row("quiet", format!("{} before an incident closes", words::duration(policy.quiet_ms)));
    out.push_str(&format!("\n  digest {}\n", policy.digest));
    out
}
