//! The ledger: one thread that owns the state and the only writing connection of the database.
//!
//! Commands come in through a bounded queue and are taken in batches: decide, append to the journal, fold into the
//! state, project; one transaction per batch, and answers go out only after its commit. Readers share the state
//! through a read-write lock that the ledger holds for writing from the first decision of a batch until its commit,
//! so that nobody ever reads what is not durable; a reader waits for one commit at most. If a commit fails the
//! process exits: starting again is the recovery path.

mod boot;
mod hooks;
mod index;
pub mod inspections;
mod news;
pub mod policies;
pub mod projection;
mod schema;
mod writer;

pub use boot::{BootError, STREAM, decode, rebuild_projections};
pub use index::Index;
pub use news::{CHANGES_KEPT, News};

use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::event::Event;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_journal::Head;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot, watch};

/// Most asks that wait for the ledger; beyond it senders wait, so that a flood slows its source.
const QUEUE_MAX: usize = 1024;
/// What the process exits with when a commit fails (`EX_SOFTWARE`).
pub const EXIT_COMMIT_FAILED: i32 = 70;

/// Changes of credential tables that belong into the transaction of a command.
pub type Rows = Box<dyn FnOnce(&rusqlite::Transaction<'_>, Timestamp) -> Result<(), RowsFailed> + Send>;

/// Why rows were not changed.
#[derive(Debug, thiserror::Error)]
pub enum RowsFailed {
    /// What the rows were to rest on is not so: a token was used before, a name is taken.
    #[error("{0}")]
    TurnedAway(TurnedAway),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// A reason with its stable code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    pub code: &'static str,
    pub reason: String,
}

impl std::fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl RowsFailed {
    pub fn turned_away(code: &'static str, reason: impl Into<String>) -> Self {
        Self::TurnedAway(TurnedAway { code, reason: reason.into() })
    }
}

/// One sender's wish: commands that are decided one by one, and rows that stand or fall with a single command.
pub(crate) struct Ask {
    commands: Vec<Command>,
    rows: Option<Rows>,
    reply: oneshot::Sender<Answered>,
}

/// What became of an ask; it is durable.
#[derive(Debug)]
pub struct Answered {
    /// The journal's head after the commit.
    pub head: Head,
    /// The time that was decided with.
    pub now: Timestamp,
    pub turned_away: Option<TurnedAway>,
    pub outcomes: Vec<Result<Vec<Event>, Refusal>>,
}

/// Why a command did not go through.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    TurnedAway(TurnedAway),
    #[error("the ledger is shutting down")]
    Down,
}

/// What the ledger shares with its readers.
pub(crate) struct Shared {
    pub(crate) state: RwLock<State>,
    pub(crate) index: RwLock<Index>,
    pub(crate) head: watch::Sender<Head>,
    pub(crate) news: News,
    pub(crate) gauges: Gauges,
}

/// Counts for /metrics, kept by the ledger.
#[derive(Debug, Default)]
pub struct Gauges {
    pub commits: std::sync::atomic::AtomicU64,
    pub commit_us: std::sync::atomic::AtomicU64,
    pub refusals: std::sync::atomic::AtomicU64,
    pub clock_leaps: std::sync::atomic::AtomicU64,
    /// The ledger's time at its last batch or timer, in milliseconds since 1970, and the boot clock then.
    pub ticked_boot_ms: std::sync::atomic::AtomicI64,
    pub now_ms: std::sync::atomic::AtomicI64,
    /// Difference of the wall clock while it is not followed, in milliseconds.
    pub clock_leapt_ms: std::sync::atomic::AtomicI64,
}

/// A cheap handle on the ledger.
#[derive(Clone)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
}

/// Opens the database, checks and folds the whole journal, and starts the ledger's thread.
///
/// # Errors
/// Says why the database cannot be used; nothing was changed then but missing tables.
pub fn start(database: &Path) -> Result<(Handle, std::thread::JoinHandle<()>), BootError> {
    let booted = boot::open(database)?;
    let shared = Arc::new(Shared {
        state: RwLock::new(booted.state),
        index: RwLock::new(booted.index),
        head: watch::Sender::new(booted.head),
        news: News::default(),
        gauges: Gauges::default(),
    });
    let (asks, queue) = mpsc::channel(QUEUE_MAX);
    let thread = writer::spawn(booted.connection, booted.head, booted.last_event, shared.clone(), queue)?;
    Ok((Handle { asks, shared }, thread))
}

impl Handle {
    /// Returns the state as of the last commit. Hold it briefly: the ledger waits for it.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the index over all events as of the last commit.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.shared.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ledger's time: that of its last batch or timer, carried forward by the boot clock.
    pub fn now(&self) -> Timestamp {
        let gauges = &self.shared.gauges;
        let boot_ms = crate::clock::Reading::take().boot_ms;
        let elapsed = boot_ms - gauges.ticked_boot_ms.load(std::sync::atomic::Ordering::Acquire);
        Timestamp(gauges.now_ms.load(std::sync::atomic::Ordering::Acquire)).plus(elapsed.max(0))
    }

    pub fn head(&self) -> Head {
        *self.shared.head.borrow()
    }

    pub fn news(&self) -> &News {
        &self.shared.news
    }

    pub fn gauges(&self) -> &Gauges {
        &self.shared.gauges
    }

    /// Returns how many asks wait.
    pub fn queued(&self) -> usize {
        QUEUE_MAX - self.asks.capacity()
    }

    /// Decides commands one by one, each for itself, and returns when all are durable.
    ///
    /// # Errors
    /// Only [`Failed::Down`]; refusals stand in the outcomes.
    pub async fn submit(&self, commands: Vec<Command>) -> Result<Answered, Failed> {
        self.ask(commands, None).await
    }

    /// The same, together with rows that are written whatever becomes of the commands.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_with(&self, commands: Vec<Command>, rows: Rows) -> Result<Answered, Failed> {
        self.ask(commands, Some(rows)).await
    }

    /// Decides one command and returns its events once they are durable.
    ///
    /// # Errors
    /// Returns the refusal.
    pub async fn decide(&self, command: Command) -> Result<Vec<Event>, Failed> {
        one(self.ask(vec![command], None).await?)
    }

    /// Decides one command and changes rows with it: both, or neither.
    ///
    /// # Errors
    /// Returns the refusal, or why the rows turned it away.
    pub async fn decide_with(&self, command: Command, rows: Rows) -> Result<Vec<Event>, Failed> {
        one(self.ask(vec![command], Some(rows)).await?)
    }

    /// Changes rows that no decision hangs on (a session, an idempotent answer).
    ///
    /// # Errors
    /// Returns why the rows turned it away.
    pub async fn change(&self, rows: Rows) -> Result<(), Failed> {
        match self.ask(Vec::new(), Some(rows)).await?.turned_away {
            Some(reason) => Err(Failed::TurnedAway(reason)),
            None => Ok(()),
        }
    }

    async fn ask(&self, commands: Vec<Command>, rows: Option<Rows>) -> Result<Answered, Failed> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { commands, rows, reply }).await.map_err(|_| Failed::Down)?;
        answer.await.map_err(|_| Failed::Down)
    }
}

fn one(answered: Answered) -> Result<Vec<Event>, Failed> {
    if let Some(reason) = answered.turned_away {
        return Err(Failed::TurnedAway(reason));
    }
    let outcome = answered.outcomes.into_iter().next();
    outcome.unwrap_or_else(|| Ok(Vec::new())).map_err(Failed::Refused)
}
