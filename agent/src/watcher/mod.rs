//! The watching half of the agent.

use std::path::Path;
use std::process::ExitCode;

/// What `join` is told.
#[derive(clap::Args, Debug)]
pub struct JoinArguments {
    /// Address of the server's agent port, as in https://192.0.2.10:8443.
    #[arg(long)]
    pub server: String,
    /// Single-use token from `sopwith host join-token`.
    #[arg(long)]
    pub token: String,
    /// SHA-256 of the server's CA certificate, in hexadecimal.
    #[arg(long)]
    pub ca_sha256: String,
}

pub fn watch(_config: &Path) -> ExitCode {
    ExitCode::FAILURE
}
pub fn up(_config: &Path) -> ExitCode {
    ExitCode::FAILURE
}
pub fn join(_config: &Path, _arguments: &JoinArguments) -> ExitCode {
    ExitCode::FAILURE
}
pub fn stop(_config: &Path, _reason: &str) -> ExitCode {
    ExitCode::FAILURE
}
pub fn resume(_config: &Path) -> ExitCode {
    ExitCode::FAILURE
}
pub fn status(_config: &Path) -> ExitCode {
    ExitCode::FAILURE
}
