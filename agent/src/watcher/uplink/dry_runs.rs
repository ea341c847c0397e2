//! Questions of the server about what plans would change: each goes to the runner once, beside everything else, and
//! its answer waits for the next exchange. In memory only: whoever asked asks again.

use super::exchange::ExchangeError;
use crate::runner_protocol::{Client, Request, Response};
use sopwith_domain::dry_run::{ASKED_MS, Report};
use sopwith_domain::order::SignedText;
use sopwith_protocol::exchange::DRY_RUNS_MAX;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest wait for the runner to look.
const LOOK_MAX: Duration = Duration::from_millis(ASKED_MS as u64);
/// Questions remembered, so that one that is told again is not looked at again.
const REMEMBERED_MAX: usize = 16;

#[derive(Debug, Default)]
struct Book {
    asked: VecDeque<String>,
    answers: Vec<(Report, Instant)>,
}

/// The questions, their answers, and the way to the runner. A clone is the same book.
#[derive(Clone, Debug)]
pub struct DryRuns {
    book: Arc<Mutex<Book>>,
    news: Arc<watch::Sender<u64>>,
    runtime_dir: PathBuf,
}

impl DryRuns {
    pub fn new(runtime_dir: PathBuf) -> Self {
        Self { book: Arc::default(), news: Arc::new(watch::Sender::new(0)), runtime_dir }
    }

    /// A panic of a thread that looks leaves no half-made book behind, so its poison is passed over.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when there is an answer more.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns the answers that the server is still to hear; nobody waits for older ones.
    pub fn answers(&self) -> Vec<Report> {
        let mut book = self.lock();
        book.answers.retain(|(_, since)| since.elapsed() < LOOK_MAX);
        book.answers.iter().take(DRY_RUNS_MAX).map(|(report, _)| report.clone()).collect()
    }

    /// Notes what became of an exchange that told these answers. A server that understands them not is not told again.
    pub fn told(&self, answers: &[Report], outcome: Result<(), &ExchangeError>) {
        if matches!(outcome, Ok(()) | Err(ExchangeError::Refused { .. })) {
            self.lock().answers.retain(|(report, _)| !answers.contains(report));
        }
    }

    /// Has the runner look, in threads of their own.
    pub fn ask(&self, questions: Vec<SignedText>) {
        for question in questions.into_iter().take(DRY_RUNS_MAX) {
            {
                let mut book = self.lock();
                if book.asked.contains(&question.text) {
                    continue;
                }
                if book.asked.len() == REMEMBERED_MAX {
                    book.asked.pop_front();
                }
                book.asked.push_back(question.text.clone());
            }
            let this = self.clone();
            tokio::task::spawn_blocking(move || match this.look(question) {
                Ok(report) => {
                    this.lock().answers.push((report, Instant::now()));
                    this.news.send_modify(|count| *count += 1);
                }
                Err(reason) => tracing::warn!("failed to answer what a plan would change: {reason}"),
            });
        }
    }

    fn look(&self, question: SignedText) -> Result<Report, String> {
        let client = Client::connect(&self.runtime_dir).and_then(|client| client.patient(LOOK_MAX));
        let asked = client.and_then(|mut client| client.ask(&Request::DryRun { question }));
        match asked.map_err(|e| format!("the runner does not answer: {e}"))? {
            Response::DryRun { report } => Ok(report),
            Response::Refused { reason } => Err(reason),
            _ => Err("the runner answered something else".into()),
        }
    }
}
