//! The acting half of the agent, `sopwith-agent run`: root, no network. It believes nothing that it has not checked
//! itself: the server's seal, the owners' signatures, the plan's digest, this host's own stop and declarations.
//! It reads no log, no metric and nothing else that anybody can write; it makes every record durable before what
//! follows from it; and where that fails it ends, because starting again is the recovery.
//!
//! One thread acts ([`engine`]); the threads of the socket only lay things on its [`desk`].

pub mod actions;
mod admission;
mod born_in_group;
mod budget;
mod checks;
mod checks_of_norms;
mod clock;
mod confine;
mod declarations;
mod desk;
mod dry_run;
mod engine;
mod gate;
mod group;
mod host;
mod http;
mod journal;
mod kernel_checks;
mod lease;
pub mod profiles;
mod quarantine_expiry;
mod seccomp;
mod settings;
mod socket;
mod step_exec;
mod step_output;
mod stopped;
mod trusted;

pub use actions::{STEP_AWAITED, awaited_step};
pub use confine::{Confinement, has_landlock};
pub use group::Cgroup as StepGroup;
pub use seccomp::is_there as has_seccomp;
pub use settings::{NamedCheck, NamedCommand, NamedProcess, Settings};
pub use step_exec::{Ending, Report, StepExecArguments};

use actions::{Programs, Quarantine, Systemd, Workbench};
use budget::Budget;
use desk::{Desk, Published};
use engine::Engine;
use gate::Gate;
use host::RealHost;
use journal::RunJournal;
use rustix::process::geteuid;
use std::fs::DirBuilder;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The configuration cannot be used (sysexits).
const EXIT_CONFIG: u8 = 78;
/// The runner cannot work, or cannot go on: start it again.
const EXIT_DOWN: u8 = 70;

/// Plays the runner until it is ended.
pub fn run(config: &Path) -> ExitCode {
    // A second call in the same process, as in tests, keeps the first subscriber.
    let colours = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_target(false)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .try_init();
    match Settings::load(config) {
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::from(EXIT_CONFIG)
        }
        Ok(settings) => {
            let Err(reason) = work(settings);
            tracing::error!("{reason}");
            ExitCode::from(EXIT_DOWN)
        }
    }
}

/// Supervises one program of a step, in the control group that was made for it ahead, if one was.
pub fn step_exec(arguments: &StepExecArguments, group: Option<StepGroup>) -> ExitCode {
    step_exec::run(arguments, group)
}

fn work(settings: Settings) -> Result<std::convert::Infallible, String> {
    let settings = Arc::new(settings);
    prepare(&settings)?;
    let (journal, runs) = RunJournal::open(&settings.journal()).map_err(|e| e.to_string())?;
    let epoch = journal.epoch().map_err(|e| e.to_string())?;
    let unsure_head = journal.begin_unsure().map_err(|e| e.to_string())?;
    let published = Published {
        epoch,
        head: journal.head(),
        active: Vec::new(),
        holding: Vec::new(),
        ended_count: journal.ended_count(),
        acked_through: journal.acked_through(),
        word_awaited: false,
    };
    let desk = Arc::new(Desk::new(&settings, published, Some(unsure_head)));
    let mut systemd = Systemd::default();
    let limitations = limitations(&mut systemd);
    limitations.iter().for_each(|text| tracing::warn!("{text}"));
    let gate =
        Gate { settings: Arc::clone(&settings), desk: Arc::clone(&desk), epoch, budget: Budget::default() };
    let programs = Programs::by(settings.program.clone());
    let leash = programs.leash.clone();
    let bench = Workbench {
        quarantine: Quarantine::new(settings.quarantine()),
        systemd,
        programs,
        processes: settings.processes.clone(),
        reclaimable: settings.reclaimable.clone(),
        settings: Some(Arc::clone(&settings)),
        own: settings.own.clone(),
        commands: settings.commands.clone(),
        tables: Default::default(),
    };
    let mut engine = Engine::resume(journal, runs, RealHost { gate, bench, acceptance: Default::default() })
        .map_err(|e| e.to_string())?;
    let listener = socket::bind(&settings).map_err(|e| format!("failed to open the runner's socket: {e}"))?;
    socket::serve(
        listener,
        Arc::new(socket::Door { settings, desk, limitations, leash, looking: Default::default() }),
    );
    tracing::info!("the runner is ready");
    if let Err(e) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("failed to tell the service manager that the runner is ready: {e}");
    }
    match engine.work() {
        Ok(()) => Err("the runner ended".into()),
        Err(down) => Err(down.to_string()),
    }
}

/// Makes the runner's folders, and refuses to work in one that others could exchange under it.
fn prepare(settings: &Settings) -> Result<(), String> {
    let folder = settings.folder();
    let failed = |e: &dyn std::fmt::Display| format!("failed to prepare {}: {e}", folder.display());
    std::fs::create_dir_all(&settings.state_dir).map_err(|e| failed(&e))?;
    trusted::folder(&settings.state_dir).map_err(|e| failed(&e))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| failed(&e))?;
    trusted::folder(&folder).map_err(|e| failed(&e))?;
    actions::prepare(&settings.quarantine()).map_err(|e| failed(&e))
}

/// Returns what the runner cannot do on this host, for people.
fn limitations(systemd: &mut Systemd) -> Vec<String> {
    let mut limitations = Vec::new();
    if !geteuid().is_root() {
        limitations.push("not root: it can repair only what its own user may".to_owned());
    }
    limitations.extend(confine::limitations());
    if let Err(e) = systemd.reach() {
        limitations.push(format!("no units: {e}"));
    }
    limitations
}

#[cfg(test)]
mod tests;
