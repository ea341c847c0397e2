//! Who starts the programs of checks: the runner, as root, where the check needs that; else this process, as the
//! agent's own user. `nginx -t` and its like read keys and open logs, and would fail for the wrong reason here.

use crate::config::Check;
use crate::runner::Ending;
use crate::runner_protocol::{Client, Request, Response};
use crate::watcher::process::{self, Done, Ended};
use sopwith_domain::value::Word;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most output of a check that is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// How often and how long a runner that is away is waited for.
const TRIES_MAX: u32 = 10;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How much longer than its time a check may take until the runner has answered.
const ANSWER_MARGIN: Duration = Duration::from_secs(30);

/// Who starts what needs root.
#[derive(Clone, Debug)]
pub enum By {
    /// The runner whose socket lies in this folder.
    Runner(PathBuf),
    /// This process, whoever it is.
    Us,
}

impl By {
    pub fn is_runner(&self) -> bool {
        matches!(self, Self::Runner(_))
    }

    /// Runs a check's program to its end.
    ///
    /// # Errors
    /// Says why it could not be started.
    pub async fn run(&self, check: &Check) -> Result<Done, String> {
        match self {
            Self::Runner(folder) if check.by_runner() => {
                let (folder, name, timeout) = (folder.clone(), (*check.name).clone(), check.timeout.0);
                let asked = tokio::task::spawn_blocking(move || ask(&folder, &name, timeout));
                asked.await.map_err(|e| e.to_string())?
            }
            _ => {
                let argv = check.argv().ok_or("the check has no program")?;
                let done = process::run(&argv, check.timeout.0, OUTPUT_BYTES_MAX).await;
                done.map_err(|e| format!("failed to start {}: {e}", argv.first().map_or("", String::as_str)))
            }
        }
    }
}

/// Has the runner run a check. One that is just being started again is waited for.
fn ask(folder: &Path, name: &Word, timeout: Duration) -> Result<Done, String> {
    let failed = |e: std::io::Error| format!("failed to have the runner run check {name}: {e}");
    let mut tries = 0;
    let client = loop {
        match Client::connect(folder) {
            Ok(client) => break client,
            Err(e) if tries == TRIES_MAX => return Err(failed(e)),
            Err(_) => tries += 1,
        }
        std::thread::sleep(RETRY_PAUSE);
    };
    let mut client = client.patient(timeout + ANSWER_MARGIN).map_err(failed)?;
    match client.ask(&Request::Check { name: name.clone() }).map_err(failed)? {
        Response::Checked { ending, output } => {
            let ended = match ending {
                Ending::Exited(code) => Ended::Exited(code),
                Ending::Signalled(signal) => Ended::Signalled(signal),
                Ending::TimedOut | Ending::Cancelled => Ended::TimedOut,
                Ending::NotStarted(reason) => {
                    return Err(format!("check {name} cannot be started: {reason}"));
                }
            };
            Ok(Done { ended, output: output.into_bytes(), cut: 0 })
        }
        Response::Refused { reason } => Err(format!("the runner does not run check {name}: {reason}")),
        _ => Err(format!("the runner answered something else when asked to run check {name}")),
    }
}
