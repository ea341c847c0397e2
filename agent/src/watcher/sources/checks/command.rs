//! `sopwith-agent check NAME`: runs one configured check once, as whoever asks, and speaks the plugin contract, so
//! that Nagios, Icinga or the runner can call it. It needs no running agent and changes nothing.

use super::by::By;
use super::{plugin, probes};
use crate::config::{Check, Config};
use clap::Args;
use sopwith_domain::inspection::Verdict;
use std::path::Path;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub struct CheckArguments {
    /// Name of the check in the configuration.
    name: String,
    /// Print everything that was seen as one line of JSON instead (used by the agent).
    #[arg(long, hide = true)]
    whole: bool,
}

/// Runs a check once; the exit code is 0 for well, 1 for a warning, 2 for critical, 3 for what could not be found out.
pub fn check(config: &Path, arguments: &CheckArguments) -> ExitCode {
    // Another part of this process may have installed it before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (verdict, text) = match looked(config, arguments) {
        Ok((verdict, text)) => (verdict, text),
        Err(reason) => {
            let name = arguments.name.replace(['|', '\n'], " ");
            (
                Verdict::Unknown,
                format!("{name} UNKNOWN - {}\n", super::seen::one_line(&reason.replace('|', "/"))),
            )
        }
    };
    print!("{text}");
    ExitCode::from(verdict.exit_code())
}

fn looked(file: &Path, arguments: &CheckArguments) -> Result<(Verdict, String), String> {
    let config = Config::load(file).map_err(|e| e.to_string())?;
    let named = |check: &&Check| check.name.as_str() == arguments.name;
    let check = config.checks.iter().find(named).ok_or_else(|| {
        let known: Vec<_> = config.checks.iter().map(|check| check.name.as_str()).collect();
        format!(
            "there is no such check; there are: {}",
            if known.is_empty() { "none".into() } else { known.join(", ") }
        )
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("failed to start: {e}"))?;
    let seen = runtime.block_on(probes::look(check, &By::Us))?;
    // A thread that hangs in a dead file system is left behind.
    runtime.shutdown_background();
    let text = match arguments.whole {
        true => serde_json::to_string(&seen).map_err(|e| format!("failed to print: {e}"))? + "\n",
        false => plugin::written(check.name.as_str(), &seen),
    };
    Ok((seen.verdict, text))
}
