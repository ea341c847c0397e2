//! What programs of running steps say, on its way to the server: for people who look on, and for nothing else. The runner
//! is asked only while a run is under way; one piece at a time travels, and is told once. What the server does not hear
//! is missing from the count of bytes, which it sees.

use super::exchange::ExchangeError;
use super::runner_link::RunnerLink;
use crate::runner_protocol::{Request, Response};
use sopwith_domain::ids::Digest;
use sopwith_protocol::exchange::LiveOutput;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the runner is asked while a run is under way.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long nothing is told to a server that has refused an exchange with a piece: it may be older than this.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Book {
    waiting: Option<LiveOutput>,
    paused_until: Option<Instant>,
}

/// The piece that waits for the next exchange. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Live {
    book: Arc<Mutex<Book>>,
    news: Arc<watch::Sender<u64>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { book: Arc::default(), news: Arc::new(watch::Sender::new(0)) }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when there is a piece.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns what the server is still to hear.
    pub fn waiting(&self) -> Vec<LiveOutput> {
        self.lock().waiting.iter().cloned().collect()
    }

    /// Notes that an exchange took these pieces along: whatever came of it, they are not told again.
    pub fn told(&self, pieces: &[LiveOutput], error: Option<&ExchangeError>) {
        let mut book = self.lock();
        if book.waiting.as_ref().is_some_and(|piece| pieces.contains(piece)) {
            book.waiting = None;
            if matches!(error, Some(ExchangeError::Refused { .. })) {
                book.paused_until = Some(Instant::now() + REFUSED_PAUSE);
            }
        }
    }

    fn has_room(&self) -> bool {
        let book = self.lock();
        book.waiting.is_none() && book.paused_until.is_none_or(|until| Instant::now() >= until)
    }

    fn put(&self, piece: LiveOutput) {
        self.lock().waiting = Some(piece);
        self.news.send_modify(|count| *count += 1);
    }

    /// Listens to the runner for as long as it is there.
    pub(super) async fn follow(self, runner: RunnerLink) {
        let mut state = runner.state.clone();
        let mut heard: (Option<(Digest, usize)>, u64) = (None, 0);
        loop {
            let under_way =
                state.borrow_and_update().status().is_some_and(|status| !status.active.is_empty());
            if !under_way {
                if state.changed().await.is_err() {
                    return;
                }
                continue;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.has_room() {
                continue;
            }
            let (of, after) = heard;
            // A runner that is away is asked again as soon as it says that a run is under way.
            if let Ok(Response::Live { said: Some(said) }) = runner.ask(Request::Live { of, after }).await {
                heard = (Some((said.run, said.step)), said.through);
                self.put(said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: u64) -> LiveOutput {
        LiveOutput { run: Digest([1; 32]), step: 0, from, through: from + 1, text: "x".into() }
    }

    #[test]
    fn a_piece_travels_once_whatever_comes_of_it() {
        let refused = ExchangeError::Refused { status: 400, detail: String::new() };
        let away = ExchangeError::Unreachable("away".into());
        for (outcome, room) in [(None, true), (Some(&away), true), (Some(&refused), false)] {
            let live = Live::default();
            live.put(piece(0));
            assert!(!live.has_room());
            live.told(&[], outcome);
            assert_eq!(live.waiting(), [piece(0)], "an exchange without it changes nothing");
            live.told(&[piece(0)], outcome);
            assert_eq!((live.waiting(), live.has_room()), (vec![], room), "{outcome:?}");
        }
    }
}
