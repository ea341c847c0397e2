//! The acting half of the agent: root, no network.

use std::path::Path;
use std::process::ExitCode;

/// What the supervisor of one program is told.
#[derive(clap::Args, Debug)]
pub struct StepExecArguments {
    /// Longest time the program may take, in milliseconds.
    #[arg(long)]
    pub timeout_ms: u64,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub argv: Vec<String>,
}

pub fn run(_config: &Path) -> ExitCode {
    ExitCode::FAILURE
}

pub fn step_exec(_arguments: &StepExecArguments) -> ExitCode {
    ExitCode::FAILURE
}
