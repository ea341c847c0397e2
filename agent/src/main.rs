//! The command line of `sopwith-agent`: says which role this process plays, and nothing else.

use clap::{Parser, Subcommand};
use sopwith_agent::{config, discover, runner, watcher};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "sopwith-agent",
    version,
    about = "Watches this host and carries out approved repairs on it"
)]
struct Arguments {
    /// Where the agent's configuration is.
    #[arg(long, global = true, env = "SOPWITH_AGENT_CONFIG", default_value = "/etc/sopwith/agent.yaml")]
    config: PathBuf,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Watch this host and speak with the server (needs no root).
    Watch,
    /// Carry out approved repairs (root, no network).
    Run,
    /// Start both roles as children, where no systemd does.
    Up,
    /// Make this machine a managed host.
    Join(watcher::JoinArguments),
    /// Say whether the configuration can be used, with every finding.
    CheckConfig,
    /// Print every setting with its default and what it means.
    PrintDefaultConfig,
    /// Look at this host and propose a configuration for it.
    Discover(discover::DiscoverArguments),
    /// Print a pack of settings that comes with the agent.
    PrintPack {
        /// Its name.
        name: String,
    },
    /// Run one configured check once, and speak the contract of Nagios' plugins.
    Check(watcher::CheckArguments),
    /// Answer one question about a configured backup, by exit code: 0 yes, 1 no, 3 it cannot be told.
    Backup(watcher::BackupArguments),
    /// Say what the rules of a log find in files.
    TryLog(watcher::Trial),
    /// Let no further step start on this host.
    Stop {
        /// Why; it is shown to everyone who asks.
        reason: String,
    },
    /// Take the host's own stop back.
    Resume,
    /// Say what the agent on this host does at the moment.
    Status,
    /// Look at this host by every operating norm and show what is broken; fails where there is anything.
    Norms(watcher::NormsArguments),
    /// Do something to the service of a check, or ask it (used by the runner).
    #[command(hide = true)]
    Hand(watcher::HandArguments),
}

/// Supervises one program of a step: used by the runner only, which waits for it to start. So it does without the
/// command line of the other roles, which takes a while to build.
#[derive(Parser)]
#[command(name = "sopwith-agent step-exec")]
struct StepExec {
    #[command(flatten)]
    arguments: runner::StepExecArguments,
}
const STEP_EXEC: &str = "step-exec";

/// Supervises a program that this process was started for, or ahead of.
fn step_exec() -> ExitCode {
    if std::env::args_os().nth(2).is_none_or(|word| word != runner::STEP_AWAITED) {
        let step = StepExec::parse_from(std::env::args_os().skip(1));
        return runner::step_exec(&step.arguments, None);
    }
    // What can be done before the arguments are known is done by then: the group is made, and the code that reads them
    // has come into memory.
    let group = runner::StepGroup::make();
    let _ = StepExec::try_parse_from([STEP_EXEC, "--timeout-ms", "0", "--confine", "--", "/"]);
    match runner::awaited_step() {
        Some(words) => {
            let step = StepExec::parse_from(std::iter::once(STEP_EXEC.to_owned()).chain(words));
            runner::step_exec(&step.arguments, group)
        }
        None => ExitCode::SUCCESS,
    }
}

fn main() -> ExitCode {
    watcher::end_with_parent();
    if std::env::args_os().nth(1).is_some_and(|role| role == STEP_EXEC) {
        return step_exec();
    }
    // Reading them goes deep into the stack; that of a thread is given back when it ends, that of a process never.
    let read = std::thread::Builder::new().spawn(Arguments::parse).map(std::thread::JoinHandle::join);
    let arguments = match read {
        Ok(Ok(arguments)) => arguments,
        _ => Arguments::parse(),
    };
    let config = arguments.config.as_path();
    match arguments.role {
        Role::Watch => watcher::watch(config),
        Role::Run => runner::run(config),
        Role::Up => watcher::up(config),
        Role::Join(join) => watcher::join(config, &join),
        Role::CheckConfig => config::check(config),
        Role::PrintDefaultConfig => config::print_default(),
        Role::Discover(look) => discover::discover(&look),
        Role::PrintPack { name } => config::print_pack(&name),
        Role::Check(check) => watcher::check(config, &check),
        Role::Backup(question) => watcher::backup(config, &question),
        Role::Hand(deed) => watcher::hand(config, &deed),
        Role::TryLog(trial) => watcher::try_log(config, &trial),
        Role::Stop { reason } => watcher::stop(config, &reason),
        Role::Resume => watcher::resume(config),
        Role::Status => watcher::status(config),
        Role::Norms(norms) => watcher::norms_command(config, &norms),
    }
}
