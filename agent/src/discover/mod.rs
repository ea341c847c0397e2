//! `sopwith-agent discover`: looks at a host and proposes a commented configuration that can be used as it is and is
//! quiet while the host is well. It only reads; it starts no program, changes nothing, and connects to nothing but, if
//! `--ask` says so, the host's own listeners. What it could not read it says, with the reason.

mod ask;
mod backups;
mod certificates;
mod host;
mod listeners;
mod logs;
mod packs;
mod proposal;
mod root;
mod storage;
mod units;
mod yaml;

use crate::config::Config;
use proposal::Proposal;
use root::Root;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// How to look, and where the proposal goes.
#[derive(Debug, clap::Args)]
pub struct DiscoverArguments {
    /// Folder in which the host's files lie, such as a mounted image.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// File to write; a file that is there already is not touched. By default the proposal is printed.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Also ask this host's own listeners, by GET, for /health, /healthz and the like.
    #[arg(long)]
    ask: bool,
}

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
enum DiscoverError {
    #[error("failed to look at {}: {error}", .root.display())]
    Root { root: PathBuf, error: std::io::Error },
    #[error("failed to ask the listeners of {}: that needs the host itself, not its files", .0.display())]
    NotHere(PathBuf),
    #[error("failed to make a configuration that can be used, which is a fault of this program: {0}")]
    Unusable(String),
    #[error("failed to write {}: {error}", .file.display())]
    Write { file: PathBuf, error: std::io::Error },
}

/// Looks at the host and writes the proposal.
pub fn discover(arguments: &DiscoverArguments) -> ExitCode {
    match propose(arguments).and_then(|text| write(&text, arguments.output.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn propose(arguments: &DiscoverArguments) -> Result<String, DiscoverError> {
    let told = |error| DiscoverError::Root { root: arguments.root.clone(), error };
    std::fs::read_dir(&arguments.root).map_err(told)?;
    if arguments.ask && arguments.root != Path::new("/") {
        return Err(DiscoverError::NotHere(arguments.root.clone()));
    }
    let text = look(&Root::new(&arguments.root), SystemTime::now(), arguments.ask);
    match Config::parse(&text) {
        Ok(_) => Ok(text),
        Err(found) => {
            let told: Vec<_> = found.iter().map(ToString::to_string).collect();
            Err(DiscoverError::Unusable(told.join("; ")))
        }
    }
}

/// Returns the proposal for what lies below a root.
fn look(root: &Root, now: SystemTime, ask: bool) -> String {
    let mut proposal = Proposal::default();
    let units = units::find(root);
    let listening = listeners::find(root);
    packs::propose(&units, &listening, root, &mut proposal);
    units::propose(&units, &listening, ask, &mut proposal);
    listeners::propose(&units, &listening, &mut proposal);
    storage::propose(root, &mut proposal);
    certificates::propose(root, &mut proposal);
    logs::propose(root, &mut proposal);
    backups::propose(root, now, &mut proposal);
    host::propose(root, &units, &mut proposal);
    proposal.render(&root.unread())
}

fn write(text: &str, file: Option<&Path>) -> Result<(), DiscoverError> {
    let Some(file) = file else {
        let told = |error| DiscoverError::Write { file: "standard output".into(), error };
        return std::io::stdout().write_all(text.as_bytes()).map_err(told);
    };
    let told = |error| DiscoverError::Write { file: file.into(), error };
    let mut created = std::fs::File::create_new(file).map_err(told)?;
    created.write_all(text.as_bytes()).map_err(told)
}

#[cfg(test)]
mod tests;
