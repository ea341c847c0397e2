//! The host's own stop, by a file: while it is there no step starts, whatever the server says and whether or not
//! anything runs.

use crate::config::Config;
use crate::watcher::clock;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// Lets no further step start on this host.
pub fn stop(config: &Path, reason: &str) -> ExitCode {
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let reason = super::report::bounded(&reason, REASON_BYTES_MAX);
    said(Config::load(config).map_err(|e| e.to_string()).and_then(|config| {
        let file = config.stop_file.path();
        write(file, &format!("{reason} (since {})\n", clock::now()))
            .map_err(|e| format!("failed to write {}: {e}; make the file by hand", file.display()))?;
        Ok(format!("no step starts on this host any more: {}", file.display()))
    }))
}

/// Takes the host's own stop back.
pub fn resume(config: &Path) -> ExitCode {
    said(Config::load(config).map_err(|e| e.to_string()).and_then(|config| {
        let file = config.stop_file.path();
        match std::fs::remove_file(file) {
            Ok(()) => Ok("the host's own stop is taken back; one by the server is not".into()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok("this host was not stopped".into()),
            Err(e) => Err(format!("failed to remove {}: {e}", file.display())),
        }
    }))
}

/// The file stops by being there, so it is made first and filled then.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut out = std::fs::File::create(file)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

fn said(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
