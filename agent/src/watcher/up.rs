//! Runs both halves as children of one process, where no systemd does. They begin and end together; a half that
//! breaks off is begun again, because starting again is how each of them recovers.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// A half that ends within this time of its very first start cannot run at all.
const FIRST_START: Duration = Duration::from_secs(2);
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// How long a half may take to end when asked to.
const END_TIME_MAX: Duration = Duration::from_secs(15);
/// Tells a half to end with this process, however that ends.
pub const WITH_PARENT: &str = "SOPWITH_END_WITH_PARENT";

/// Runs until asked to end.
pub fn up(config: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(e) => Err(e),
    };
    match ended {
        Ok(code) => code,
        Err(e) => {
            eprintln!("failed to start the agent: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Ends this process with its parent, if it was started so.
pub fn end_with_parent() {
    if std::env::var_os(WITH_PARENT).is_some() {
        // Where it cannot be set, the parent still ends its children when it is asked to end.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    }
}

struct Half {
    role: &'static str,
    child: Child,
    began: Instant,
    first: bool,
}

impl Half {
    fn start(role: &'static str, config: &Path) -> std::io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg(role)
            .arg("--config")
            .arg(config)
            .env(WITH_PARENT, "1")
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { role, child, began: Instant::now(), first: true })
    }

    /// Begins it again, unless it never ran.
    async fn again(&mut self, config: &Path) -> std::io::Result<bool> {
        let status = self.child.wait().await?;
        if self.first && self.began.elapsed() < FIRST_START {
            eprintln!("sopwith-agent {} ended at once: {status}", self.role);
            return Ok(false);
        }
        eprintln!("sopwith-agent {} ended: {status}; it is begun again", self.role);
        tokio::time::sleep(RESTART_PAUSE).await;
        *self = Self { first: false, ..Self::start(self.role, config)? };
        Ok(true)
    }

    fn pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }

    async fn end(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(END_TIME_MAX, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

async fn run(config: &Path) -> std::io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    let mut runner = Half::start("run", config)?;
    let mut watcher = Half::start("watch", config)?;
    let code = loop {
        tokio::select! {
            _ = terminate.recv() => break ExitCode::SUCCESS,
            _ = interrupt.recv() => break ExitCode::SUCCESS,
            _ = reload.recv() => {
                if let Some(pid) = watcher.pid() {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
                }
            }
            again = runner.again(config) => if !again? { break ExitCode::FAILURE },
            again = watcher.again(config) => if !again? { break ExitCode::FAILURE },
        }
    };
    tokio::join!(runner.end(), watcher.end());
    Ok(code)
}
