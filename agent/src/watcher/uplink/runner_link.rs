//! The watcher's way to the runner. Two threads speak over its socket: one asks, one waits for news, so that neither
//! holds up the other. A runner that is not there is said to be away, and tried again.

use crate::runner_protocol::{Client, Request, Response, Status, WAIT_MS_MAX};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Pause before a runner that is away is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Most questions that wait for their turn.
const QUESTIONS_MAX: usize = 64;

/// How the runner was when it was last heard.
#[derive(Clone, PartialEq, Debug)]
pub enum RunnerState {
    /// It was not asked yet.
    Unknown,
    Here(Box<Status>),
    Away(String),
}

impl RunnerState {
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Here(status) => Some(status),
            Self::Unknown | Self::Away(_) => None,
        }
    }
}

type Question = (Request, oneshot::Sender<io::Result<Response>>);

/// A handle on the two threads; they end with the process.
#[derive(Clone, Debug)]
pub struct RunnerLink {
    questions: mpsc::Sender<Question>,
    pub state: watch::Receiver<RunnerState>,
}

impl RunnerLink {
    /// Starts to speak with the runner of a runtime folder.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(runtime_dir: &Path) -> io::Result<Self> {
        let (state, seen) = watch::channel(RunnerState::Unknown);
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let folder = runtime_dir.to_owned();
        std::thread::Builder::new().name("runner-wait".into()).spawn(move || wait(&folder, &state))?;
        let folder = runtime_dir.to_owned();
        std::thread::Builder::new().name("runner-ask".into()).spawn(move || answer(folder, asked))?;
        Ok(Self { questions, state: seen })
    }

    /// Asks the runner one thing.
    ///
    /// # Errors
    /// The runner is away or refuses.
    pub async fn ask(&self, request: Request) -> io::Result<Response> {
        let (to, answer) = oneshot::channel();
        self.questions.send((request, to)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        match answer.await.map_err(|_| io::ErrorKind::BrokenPipe)?? {
            Response::Refused { reason } => Err(io::Error::other(reason)),
            response => Ok(response),
        }
    }
}

fn answer(folder: PathBuf, mut asked: mpsc::Receiver<Question>) {
    let mut client: Option<Client> = None;
    while let Some((request, to)) = asked.blocking_recv() {
        // A connection that a restarted runner has closed is noticed when it is used; the next one is good.
        let used = client.take().map(|mut old| old.ask(&request).map(|response| (old, response)));
        let asked = match used {
            Some(Ok(done)) => Ok(done),
            _ => {
                Client::connect(&folder).and_then(|mut new| new.ask(&request).map(|response| (new, response)))
            }
        };
        let told = asked.map(|(kept, response)| {
            client = Some(kept);
            response
        });
        // Who asked may have stopped waiting.
        let _ = to.send(told);
    }
}

fn wait(folder: &Path, state: &watch::Sender<RunnerState>) {
    loop {
        let ended = follow(folder, state);
        let Err(error) = ended else { return };
        let away = RunnerState::Away(error.to_string());
        state.send_if_modified(|now| (*now != away).then(|| *now = away.clone()).is_some());
        std::thread::sleep(RETRY_PAUSE);
    }
}

/// Follows the runner's news until the connection ends; returns when nobody listens.
fn follow(folder: &Path, state: &watch::Sender<RunnerState>) -> io::Result<()> {
    let mut client = Client::connect(folder)?;
    let mut request = Request::Status { challenge: false };
    loop {
        let status = match client.ask(&request)? {
            Response::Status(status) | Response::Records { status, .. } => status,
            Response::Refused { reason } => return Err(io::Error::other(reason)),
            Response::Checked { .. }
            | Response::Blocked { .. }
            | Response::Live { .. }
            | Response::DryRun { .. } => {
                return Err(io::Error::other("nothing of that kind was asked for"));
            }
        };
        if state.is_closed() {
            return Ok(());
        }
        request = Request::Wait { after_seq: status.head.seq, timeout_ms: WAIT_MS_MAX };
        let here = RunnerState::Here(Box::new(status));
        state.send_if_modified(|now| (*now != here).then(|| *now = here.clone()).is_some());
    }
}
