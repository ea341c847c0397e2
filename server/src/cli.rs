//! The commands of `sopwith-server`. All set-up is here, on the server's own machine; none of it is on the network.

use crate::app::{DATABASE, OpenFailed, lock};
use crate::config::{Config, DEFAULT_TEXT};
use crate::ledger::{STREAM, rebuild_projections};
use crate::local::{Answer, Ask, ask};
use crate::{api, serve};
use clap::{Parser, Subcommand};
use sopwith_domain::ids::{AccountName, HostId};
use sopwith_domain::people::Role;
use sopwith_journal::sqlite::{entries_in, open_read_only, verify_in};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Watches over hosts, decides, and gives agents what they are owed.
#[derive(Parser, Debug)]
#[command(name = "sopwith-server", version)]
struct Cli {
    /// Configuration file.
    #[arg(
        long,
        short,
        global = true,
        env = "SOPWITH_SERVER_CONFIG",
        default_value = "/etc/sopwith/server.yaml"
    )]
    config: PathBuf,
    /// Data folder; overrides the configuration's.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Run the server.
    Serve,
    /// Make the data folder, the keys and the first admin. The password is read from standard input if it is not a
    /// terminal, else one is made and printed.
    Init {
        #[arg(long)]
        admin: AccountName,
    },
    /// Operators' accounts.
    #[command(subcommand)]
    User(User),
    /// Print a path that logs a person in once, within ten minutes.
    OneTimeLogin { name: AccountName },
    /// Make a single-use token with which a machine can join.
    JoinToken {
        /// The host's name; needed to join one again.
        #[arg(long)]
        host: Option<HostId>,
        /// How long it is valid, in seconds.
        #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
        valid: u32,
        /// Print everything as JSON.
        #[arg(long)]
        json: bool,
    },
    /// The journal.
    #[command(subcommand)]
    Audit(Audit),
    /// Drop all projections and write them again from the journal. The server must not be running.
    RebuildProjections,
    /// Print the default configuration with its documentation.
    PrintDefaultConfig,
    /// Check the configuration file.
    CheckConfig,
    /// Print the API's description (OpenAPI 3.1).
    PrintOpenapi,
}

#[derive(Subcommand, Debug)]
enum User {
    /// Add an operator; the password as with init.
    Add {
        name: AccountName,
        #[arg(long)]
        role: Role,
    },
    /// Change an operator's role.
    Role { name: AccountName, role: Role },
    /// Disable an operator for good; sessions and tokens end.
    Disable { name: AccountName },
    /// Set an operator's password, as with init; sessions end.
    Password { name: AccountName },
}

#[derive(Subcommand, Debug)]
enum Audit {
    /// Check the whole hash chain; works while the server runs and without it.
    Verify,
    /// Print the journal as JSON Lines.
    Export,
}

/// Why a command failed, for people.
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Whatever this program makes is for its own user only: the database and SQLite's files beside it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(text)) => {
            eprintln!("sopwith-server: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match &cli.what {
        What::PrintDefaultConfig => return print(DEFAULT_TEXT),
        What::PrintOpenapi => return print(&api::openapi::text()),
        _ => {}
    }
    let config = config(&cli)?;
    match cli.what {
        What::CheckConfig => print("the configuration is sound\n"),
        What::Audit(Audit::Verify) => verify(&config),
        What::Audit(Audit::Export) => export(&config),
        What::RebuildProjections => rebuild(&config),
        What::Serve => Ok(runtime()?.block_on(serve::run(config))?),
        local => runtime()?.block_on(command(config, local)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Reads the configuration; where there is no file and a data folder is named, the defaults do.
fn config(cli: &Cli) -> Result<Config, Failure> {
    let optional = cli.data.is_some() && !cli.config.exists();
    let mut config = if optional { Config::default() } else { Config::load(&cli.config)? };
    if let Some(data) = &cli.data {
        config.data_dir = std::path::absolute(data)?;
    }
    config.check()?;
    Ok(config)
}

async fn command(config: Config, what: What) -> Result<(), Failure> {
    let asked = match what {
        What::Init { admin } => {
            std::fs::create_dir_all(config.data_dir.parent().unwrap_or(&config.data_dir))?;
            Ask::AddPerson { password: password(&admin)?, name: admin, role: Role::Admin }
        }
        What::User(User::Add { name, role }) => Ask::AddPerson { password: password(&name)?, name, role },
        What::User(User::Role { name, role }) => Ask::ChangeRole { name, role },
        What::User(User::Disable { name }) => Ask::DisablePerson { name },
        What::User(User::Password { name }) => Ask::SetPassword { password: password(&name)?, name },
        What::OneTimeLogin { name } => Ask::OneTimeLogin { name },
        What::JoinToken { host, valid, json } => {
            let answer = ask(config, Ask::JoinToken { host, valid_s: valid }).await?;
            let Answer::JoinToken { token } = answer else { return Ok(()) };
            let text = if json { serde_json::to_string(&token)? } else { token.command };
            return print(&format!("{text}\n"));
        }
        other => return Err(Failure(format!("{other:?} is no local command"))),
    };
    match ask(config, asked).await? {
        Answer::OneTimeLogin { path } => print(&format!("{path}\n")),
        _ => Ok(()),
    }
}

/// Reads a password from standard input; from a terminal none is read, but one is made and shown.
fn password(name: &AccountName) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let made = crate::auth::secret::make("pw");
        print(&format!("password of {name}: {made}\n"))?;
        return Ok(made);
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn verify(config: &Config) -> Result<(), Failure> {
    let connection = open_read_only(&config.data_dir.join(DATABASE))?;
    let head = verify_in(&connection, STREAM, None)?;
    print(&format!("{} entries, the chain holds; head {}\n", head.seq, head.hash))
}

fn export(config: &Config) -> Result<(), Failure> {
    let connection = open_read_only(&config.data_dir.join(DATABASE))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in entries_in(&connection, STREAM, 0) {
        out.write_all(&api::audit_line(&entry?))?;
    }
    Ok(out.flush()?)
}

fn rebuild(config: &Config) -> Result<(), Failure> {
    let _lock = lock(&config.data_dir).map_err(|error| match error {
        OpenFailed::Locked(_) => Failure("the server is running; stop it first".into()),
        other => other.into(),
    })?;
    let events = rebuild_projections(&config.data_dir.join(DATABASE))?;
    print(&format!("projections rebuilt from {events} events\n"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
