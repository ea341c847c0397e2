//! The run journal: every record of every run on this host, hash-chained and durable before anything follows from
//! it. It remembers which orders were ever taken, so that none is taken twice, and the host's epoch.

use crate::{ballast, memory};
use rusqlite::{Connection, OptionalExtension, params};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::run::{LogDown, PRIOR_BYTES_MAX, Record, RunLog, What};
use sopwith_domain::time::Timestamp;
use sopwith_journal::sqlite::{open_read_only, read_in};
use sopwith_journal::{Log, SqliteLog, entries, verify_log};
use sopwith_protocol::exchange::JournalHead;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name under which the head is kept of which it is certain that nothing of the journal was lost; empty when that is
/// the journal's own.
const UNSURE_HEAD: &str = "unsure_head";
/// Name of the stream in the journal's file.
pub const STREAM: &str = "runner";
/// Most bytes of records in one answer to the watcher; with its frame around it fits the socket.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    #[error("failed to open the run journal: {0}")]
    Open(#[from] sopwith_journal::sqlite::OpenError),
    #[error("failed to trust the run journal: {0}")]
    Verify(#[from] sopwith_journal::VerifyError),
    #[error("failed to read the run journal: {0}")]
    Read(#[from] sopwith_journal::ReadError),
    #[error("failed to read entry {seq} of the run journal, which a newer version may have written: {error}")]
    Record { seq: u64, error: serde_json::Error },
    #[error("failed to keep the host's epoch: {0}")]
    Epoch(#[from] rusqlite::Error),
}

/// What became of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Refused,
    Open,
    Ended(Timestamp),
}

/// The journal, open for its one writer.
#[derive(Debug)]
pub struct RunJournal {
    log: SqliteLog,
    folder: PathBuf,
    fates: BTreeMap<Digest, Fate>,
    /// Number of each run's first record.
    first: BTreeMap<Digest, u64>,
    hook: hook::DieAt,
}

impl RunJournal {
    /// Opens the journal, checks its chain and returns with it the records of all runs, for taking them up.
    ///
    /// # Errors
    /// Nothing of a journal that does not hold is used.
    pub fn open(path: &Path) -> Result<(Self, BTreeMap<Digest, Vec<Record>>), OpenFailed> {
        let log = SqliteLog::open(path, STREAM)?;
        verify_log(&log, None)?;
        log.connection().execute_batch(
            "CREATE TABLE IF NOT EXISTS runner (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        )?;
        let folder = path.parent().unwrap_or(path).to_owned();
        ballast::keep(log.connection(), &folder)?;
        memory::sparing(log.connection())?;
        let mut runs: BTreeMap<Digest, Vec<Record>> = BTreeMap::new();
        let mut journal = Self {
            log,
            folder,
            fates: BTreeMap::new(),
            first: BTreeMap::new(),
            hook: hook::DieAt::from_environment(),
        };
        for entry in entries(&journal.log, 0) {
            let entry = entry?;
            let record: Record = serde_json::from_slice(&entry.body)
                .map_err(|error| OpenFailed::Record { seq: entry.seq, error })?;
            note(&mut journal.fates, &record);
            journal.first.entry(record.run).or_insert(entry.seq);
            runs.entry(record.run).or_default().push(record);
        }
        Ok((journal, runs))
    }

    /// Makes room for what a run writes where the disk has none, and keeps room for another day where it has.
    ///
    /// # Errors
    /// The file counts as crashed.
    pub fn make_room(&self) -> Result<(), LogDown> {
        ballast::balance(self.log.connection(), &self.folder).map_err(|e| LogDown(e.to_string()))
    }

    /// Returns what became of the order for a plan, if it was ever judged here.
    pub fn fate(&self, run: &Digest) -> Option<Fate> {
        self.fates.get(run).copied()
    }

    /// Returns the number of a run's first record, which accepted or refused it; for one that is not here no number is
    /// high enough.
    pub fn first_seq(&self, run: &Digest) -> u64 {
        self.first.get(run).copied().unwrap_or(u64::MAX)
    }

    pub fn ended_count(&self) -> u64 {
        self.fates.values().filter(|fate| matches!(fate, Fate::Ended(_))).count() as u64
    }

    pub fn head(&self) -> JournalHead {
        let head = self.log.head();
        JournalHead { seq: head.seq, hash: Digest(*head.hash.as_bytes()) }
    }

    /// Returns the hash of an entry by its number, if there is one.
    pub fn hash_of(&self, seq: u64) -> Option<Digest> {
        let entries = self.log.read(seq.checked_sub(1)?, 1).ok()?;
        entries.first().filter(|entry| entry.seq == seq).map(|entry| Digest(*entry.hash.as_bytes()))
    }

    /// Returns the host's epoch, and makes one the first time.
    ///
    /// # Errors
    /// It could not be read or kept.
    pub fn epoch(&self) -> Result<Epoch, OpenFailed> {
        let kept = self.value("epoch")?.and_then(|text| text.parse().ok());
        kept.map_or_else(|| self.begin_epoch(), |number| Ok(Epoch(number)))
    }

    /// Begins a new life of this host: orders for an earlier one are worth nothing from here on.
    ///
    /// # Errors
    /// It could not be kept.
    pub fn begin_epoch(&self) -> Result<Epoch, OpenFailed> {
        let epoch: u64 = rand::random();
        self.set_value("epoch", &epoch.to_string())?;
        Ok(Epoch(epoch))
    }

    /// Keeps where the journal stands, unless that is kept from a process that no server has answered since: were the
    /// journal an old image of itself, what this process adds would hide that something is missing.
    ///
    /// # Errors
    /// It could not be read or kept.
    pub fn begin_unsure(&self) -> Result<JournalHead, OpenFailed> {
        let kept = self.value(UNSURE_HEAD)?.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(head) = kept {
            return Ok(head);
        }
        let head = self.head();
        let text = serde_json::to_string(&head).expect("a head has string keys and no floats");
        self.set_value(UNSURE_HEAD, &text)?;
        Ok(head)
    }

    /// The server has answered and found nothing missing; if this is not kept, the next process asks once more.
    pub fn end_unsure(&self) {
        if let Err(e) = self.set_value(UNSURE_HEAD, "") {
            tracing::warn!("failed to note that the server was heard: {e}");
        }
    }

    /// Returns how far the server has the records.
    pub fn acked_through(&self) -> u64 {
        self.value("acked_through").ok().flatten().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Keeps how far the server has the records; it only saves sending them again, so a failure is no matter.
    pub fn set_acked_through(&self, through: u64) {
        if let Err(e) = self.set_value("acked_through", &through.to_string()) {
            tracing::warn!("failed to note what the server has: {e}");
        }
    }

    /// Returns the start of the machine at which a runner last worked here.
    pub fn boot_id(&self) -> Option<String> {
        self.value("boot_id").ok().flatten()
    }

    /// Keeps the machine's present start; if that fails the next process is as careful as this one was.
    pub fn set_boot_id(&self, boot: &str) {
        if let Err(e) = self.set_value("boot_id", boot) {
            tracing::warn!("failed to note the machine's start: {e}");
        }
    }

    fn value(&self, name: &str) -> Result<Option<String>, rusqlite::Error> {
        let select = "SELECT value FROM runner WHERE name = ?1";
        self.log.connection().query_row(select, [name], |row| row.get(0)).optional()
    }

    fn set_value(&self, name: &str, value: &str) -> Result<(), rusqlite::Error> {
        let insert = "INSERT INTO runner VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        self.log.connection().execute(insert, params![name, value]).map(drop)
    }
}

impl RunLog for RunJournal {
    fn append(&mut self, record: &Record) -> Result<(), LogDown> {
        let body = serde_json::to_vec(record).map_err(|e| LogDown(e.to_string()))?;
        self.hook.before();
        self.log.append(record.at.0, &[body]).map_err(|e| LogDown(e.to_string()))?;
        self.hook.after();
        note(&mut self.fates, record);
        self.first.entry(record.run).or_insert(self.log.head().seq);
        Ok(())
    }
}

fn note(fates: &mut BTreeMap<Digest, Fate>, record: &Record) {
    match &record.what {
        What::Refused { .. } => drop(fates.insert(record.run, Fate::Refused)),
        What::Ended { .. } => drop(fates.insert(record.run, Fate::Ended(record.at))),
        _ => drop(fates.entry(record.run).or_insert(Fate::Open)),
    }
}

/// The journal for readers in other threads.
#[derive(Debug)]
pub struct Reader(Connection);

impl Reader {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, OpenFailed> {
        let db = open_read_only(path)?;
        memory::sparing(&db)?;
        Ok(Self(db))
    }

    /// Returns the records after a number, at most `limit` and no more than fit one answer (but at least one).
    ///
    /// # Errors
    /// They cannot be read.
    pub fn records(&self, after_seq: u64, limit: usize) -> Result<Vec<Record>, OpenFailed> {
        let mut records = Vec::new();
        let mut bytes = 0;
        // One record at a time: a page of the longest ones would be larger than this process may become.
        while records.len() < limit {
            let next = read_in(&self.0, STREAM, after_seq + records.len() as u64, 1)?;
            let Some(entry) = next.first() else { break };
            bytes += entry.body.len();
            if bytes > PAGE_BYTES_MAX && !records.is_empty() {
                break;
            }
            let record = serde_json::from_slice(&entry.body)
                .map_err(|error| OpenFailed::Record { seq: entry.seq, error })?;
            records.push(record);
        }
        Ok(records)
    }
}

// A record holds an order or a captured state; both fit one entry of the journal, whatever they hold.
const _: () = assert!(2 * super::admission::ORDER_BYTES_MAX < sopwith_journal::BODY_BYTES_MAX);
const _: () = assert!(2 * PRIOR_BYTES_MAX < sopwith_journal::BODY_BYTES_MAX);

/// Ends the process at a set write of the journal, for tests of what a crash leaves behind. Without the feature
/// `test-hooks` it compiles to nothing.
mod hook {
    #[cfg(feature = "test-hooks")]
    #[derive(Debug)]
    pub struct DieAt {
        plan: Option<(String, u64)>,
        written: u64,
    }

    #[cfg(feature = "test-hooks")]
    impl DieAt {
        /// Reads `SOPWITH_TEST_DIE_AT`, as in `before:3` or `after:3`.
        pub fn from_environment() -> Self {
            let text = std::env::var("SOPWITH_TEST_DIE_AT").ok();
            let plan = text.and_then(|t| {
                let (when, number) = t.split_once(':')?;
                Some((when.to_owned(), number.parse().ok()?))
            });
            Self { plan, written: 0 }
        }
        pub fn before(&mut self) {
            self.written += 1;
            self.die("before");
        }
        pub fn after(&self) {
            self.die("after");
        }
        fn die(&self, now: &str) {
            if self.plan.as_ref().is_some_and(|(when, number)| when == now && *number == self.written) {
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                std::process::abort();
            }
        }
    }

    #[cfg(not(feature = "test-hooks"))]
    #[derive(Debug)]
    pub struct DieAt;

    #[cfg(not(feature = "test-hooks"))]
    impl DieAt {
        pub fn from_environment() -> Self {
            Self
        }
        pub fn before(&mut self) {}
        pub fn after(&self) {}
    }
}
