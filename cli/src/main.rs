//! `sopwith`, the operators' command line: it asks the server, shows what it says, and carries a person's decisions
//! back. It decides nothing itself, keeps no secrets but the session, and prints nothing to a terminal that a host
//! wrote without taking control characters out of it first.

mod approve;
mod audit;
mod automation;
mod backtest;
mod client;
mod completions;
mod doctor;
mod dry_run;
mod explain;
mod failure;
mod host;
mod incident;
mod keys;
mod login;
mod plan_text;
mod playbook;
mod policy;
mod problem;
mod proof;
mod report;
mod run;
mod run_watch;
mod session;
mod sse;
mod tls;
mod ui;
mod watch;
mod words;

use clap::{Parser, Subcommand};
use client::Client;
use failure::Failure;
use std::process::ExitCode;
use ui::{Format, Ui};

const AFTER_HELP: &str = "\
Examples:
  sopwith login https://sopwith.example.net:8443 alice --ca-sha256 HEX
  sopwith incident list
  sopwith approve INC-7
  sopwith incident watch INC-7
  sopwith playbook check playbooks/*.yaml

Environment:
  SOPWITH_URL, SOPWITH_TOKEN   used instead of the stored session
  SOPWITH_CA                   the server's CA: a PEM file, or its SHA-256
  NO_COLOR                     no colour

Exit codes:
  0  done
  1  failed, or a check found something
  2  the command line is wrong, or --yes is missing and nobody can be asked
  3  refused by the server's rules: role, session, a plan that changed
  4  the server cannot be reached";

/// Sees faults on your hosts, shows the plan that mends them, and carries your decision back.
#[derive(Parser, Debug)]
#[command(name = "sopwith", version, after_help = AFTER_HELP, max_term_width = 80, disable_help_subcommand = true)]
struct Args {
    /// How to print what is found.
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Opens a session and stores it for the other commands.
    Login(login::Login),
    /// Ends the stored session.
    Logout,
    /// Says who you are to the server and what your role is.
    Whoami,
    /// What is wrong, and what is being done about it.
    #[command(subcommand)]
    Incident(incident::Incident),
    /// What automation could not mend, until its cause is found.
    #[command(subcommand)]
    Problem(problem::Problem),
    /// Approves a plan, after showing exactly what it will do.
    Approve(approve::Approve),
    /// Denies a plan, with the reason.
    Deny(approve::Deny),
    /// What hosts did and are doing, and what a plan would do.
    Run(run::Run),
    /// The SOPs: check, read, sign, install.
    #[command(subcommand)]
    Playbook(playbook::Playbook),
    /// What may run without a person, and how often.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// The managed hosts.
    #[command(subcommand)]
    Host(host::Host),
    /// Stops all automation at once; nothing starts until `sopwith resume`.
    Stop(automation::Stop),
    /// Lets automation start steps again.
    Resume(automation::Resume),
    /// What the budgets leave for automation: overall, of SOPs, hosts and services.
    Budget,
    /// The journal: verify that it was not rewritten, export it.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// What today's SOPs, policy and brakes would have made of the past.
    Backtest(backtest::Backtest),
    /// Says why this SOP, why not the others, and why nothing happens.
    Explain(explain::Explain),
    /// Looks at everything between you and the hosts, and says what to do.
    Doctor,
    /// Prints the completion script of a shell.
    Completions(completions::Completions),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The only provider that is built in; a second installation would be a bug of ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let ui = Ui::new(args.output);
    match dispatch(args.verb, &ui).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(&ui);
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(verb: Verb, ui: &Ui) -> Result<(), Failure> {
    match verb {
        Verb::Login(args) => login::login(args, ui).await,
        Verb::Logout => login::logout(ui).await,
        Verb::Whoami => login::whoami(&Client::from_session()?, ui).await,
        Verb::Incident(args) => incident::run(args, &Client::from_session()?, ui).await,
        Verb::Problem(args) => problem::run(args, &Client::from_session()?, ui).await,
        Verb::Approve(args) => approve::approve(args, &Client::from_session()?, ui).await,
        Verb::Deny(args) => approve::deny(args, &Client::from_session()?, ui).await,
        Verb::Run(args) => run::run(args, &Client::from_session()?, ui).await,
        Verb::Playbook(args) => playbook::run(args, ui).await,
        Verb::Policy(args) => policy::run(args, ui).await,
        Verb::Host(args) => host::run(args, &Client::from_session()?, ui).await,
        Verb::Stop(args) => automation::stop(args, &Client::from_session()?, ui).await,
        Verb::Resume(args) => automation::resume(args, &Client::from_session()?, ui).await,
        Verb::Budget => automation::budget(&Client::from_session()?, ui).await,
        Verb::Audit(args) => audit::run(args, ui).await,
        Verb::Backtest(args) => backtest::backtest(args, &Client::from_session()?, ui).await,
        Verb::Explain(args) => explain::explain(args, &Client::from_session()?, ui).await,
        Verb::Doctor => doctor::doctor(ui).await,
        Verb::Completions(args) => completions::print(args, ui),
    }
}
