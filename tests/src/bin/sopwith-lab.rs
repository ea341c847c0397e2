//! Lab hosts by hand: builds the roots, boots a host and keeps it until Enter, or clears up.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sopwith_tests::lab::{Host, Lab, LabError};

/// Real Debian hosts with their own systemd, on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the base root, and a layer of a script over it
    Base { script: Option<PathBuf> },
    /// Boot a host, print how to enter it, and keep it until standard input ends
    Up {
        name: String,
        /// Script whose layer the host is to have
        #[arg(long)]
        script: Option<PathBuf>,
    },
    /// Remove the hosts whose owner is gone
    DownAll,
}

fn main() -> ExitCode {
    match work(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sopwith-lab: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(verb: Verb) -> Result<(), LabError> {
    if matches!(verb, Verb::DownAll) {
        println!("{} stale hosts removed", Lab::sweep()?);
        return Ok(());
    }
    let lab = Lab::open()?;
    let root = |script: Option<PathBuf>| match script {
        None => lab.base(),
        Some(path) => {
            let text = std::fs::read(&path).map_err(|source| LabError::Io { what: "read", path, source })?;
            lab.layer(&text)
        }
    };
    match verb {
        Verb::Base { script } => root(script).map(drop),
        Verb::DownAll => Ok(()),
        Verb::Up { name, script } => {
            let host = Host::up(&lab, &name, &root(script)?)?;
            println!("{name} is up at {}; press Ctrl-D to end it", host.address());
            println!("{}", host.enter_hint());
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            host.down()
        }
    }
}
