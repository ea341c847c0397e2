//! A journal in memory for the simulator, with the durable part apart from the handle, and planned faults.
//!
//! [`MemoryDisk`] is what survives a crash, [`MemoryLog`] is the handle of one process life. Opening the
//! disk again is a reboot after a power cut: the worst that a restart can be. Nothing here is random; which
//! write fails, and how, is the plan's.
//!
//! Entries carry their real SHA-256 hash here too: an append costs about 0.4 µs per entry of 400 bytes
//! (release build, SHA extensions), which leaves the simulator its speed and keeps both stores the same.

mod fault;
mod frame;

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use crate::log::{chain, check_limits};
use crate::mutant::{self, Mutant};
use crate::{AppendError, Entry, Fatal, Head, Log, ReadError};
pub use fault::{Fault, FaultPlan, Rest};
pub use frame::record_bytes;

/// The durable part of one stream. Clones share the same disk; it is single-threaded by design.
#[derive(Debug, Clone)]
pub struct MemoryDisk(Rc<RefCell<Platter>>);

#[derive(Debug, Clone)]
struct Platter {
    stream: String,
    /// What a reader of the running system sees, page cache included.
    entries: Vec<Entry>,
    /// How many of them a power cut cannot take back.
    durable: usize,
    /// From here on the disk lost what the page cache still shows (only after a retried fsync).
    hole: Option<usize>,
    /// A batch that a crash cut short, as bytes; recovery decides about it.
    torn_tail: Vec<u8>,
    plan: FaultPlan,
    writes: u64,
    fired: Vec<(u64, Fault)>,
    /// Only the handle opened last may write.
    life: u64,
}

impl MemoryDisk {
    /// Makes an empty disk for one stream, without faults.
    pub fn new(stream: &str) -> MemoryDisk {
        MemoryDisk(Rc::new(RefCell::new(Platter {
            stream: stream.to_owned(),
            entries: Vec::new(),
            durable: 0,
            hole: None,
            torn_tail: Vec::new(),
            plan: FaultPlan::none(),
            writes: 0,
            fired: Vec::new(),
            life: 0,
        })))
    }

    /// Makes an empty disk that will fail as planned.
    pub fn with_plan(stream: &str, plan: FaultPlan) -> MemoryDisk {
        let disk = MemoryDisk::new(stream);
        disk.set_plan(plan);
        disk
    }

    /// Replaces the plan; the count of writes goes on, over all lives of the disk.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.0.borrow_mut().plan = plan;
    }

    /// Recovers what survived and hands out the one live handle; handles opened before are dead from now on.
    /// The first opening is no different from one after a crash.
    pub fn reopen(&self) -> MemoryLog {
        let mut platter = self.0.borrow_mut();
        platter.recover();
        platter.life += 1;
        let (life, head) = (platter.life, platter.head());
        MemoryLog { disk: self.clone(), life, head, stream: platter.stream.clone(), dead: false }
    }

    /// Copies the disk, as a backup of the machine would; the copy has no faults planned.
    pub fn snapshot(&self) -> MemoryDisk {
        let mut platter = self.0.borrow().clone();
        platter.plan = FaultPlan::none();
        MemoryDisk(Rc::new(RefCell::new(platter)))
    }

    /// Returns how many appends have reached this disk, failed ones included.
    pub fn writes(&self) -> u64 {
        self.0.borrow().writes
    }

    /// Returns the faults that have struck so far, with the write they struck.
    pub fn fired(&self) -> Vec<(u64, Fault)> {
        self.0.borrow().fired.clone()
    }

    /// Returns the entries as the running system sees them, for oracles that must not copy.
    pub fn entries(&self) -> Ref<'_, [Entry]> {
        Ref::map(self.0.borrow(), |platter| platter.entries.as_slice())
    }
}

impl Platter {
    fn head(&self) -> Head {
        self.entries.last().map_or(Head::EMPTY, Entry::as_head)
    }

    /// Does what a power cut and the next start do together.
    fn recover(&mut self) {
        self.entries.truncate(self.hole.take().unwrap_or(usize::MAX).min(self.durable));
        let tail = std::mem::take(&mut self.torn_tail);
        match frame::decode_batch(&self.stream, self.head(), &tail) {
            frame::Decoded::Whole(batch) => self.entries.extend(batch),
            frame::Decoded::Torn(prefix) if mutant::is(Mutant::IgnoreTorn) => self.entries.extend(prefix),
            frame::Decoded::Torn(_) => {}
        }
        self.durable = self.entries.len();
    }

    /// Writes one batch, or fails as planned.
    fn write(&mut self, batch: Vec<Entry>) -> Result<(), Fatal> {
        self.writes += 1;
        let Some(fault) = self.plan.at(self.writes) else {
            self.keep(batch);
            return Ok(());
        };
        if matches!(fault, Fault::FsyncFails { .. }) && mutant::is(Mutant::SkipFsync) {
            // What is not called cannot fail.
            self.keep(batch);
            return Ok(());
        }
        self.fired.push((self.writes, fault));
        self.fail(fault, batch)
    }

    fn keep(&mut self, batch: Vec<Entry>) {
        if mutant::is(Mutant::SkipFsync) {
            // The kernel has written the older pages back by itself meanwhile: only the last batch is at risk,
            // which makes this fault as hard to catch as the real one.
            self.durable = self.entries.len();
            self.entries.extend(batch);
        } else {
            self.entries.extend(batch);
            self.durable = self.entries.len();
        }
    }

    fn fail(&mut self, fault: Fault, batch: Vec<Entry>) -> Result<(), Fatal> {
        match fault {
            Fault::CrashBefore => Err(Fatal::Crashed),
            Fault::CrashAfter => {
                self.keep(batch);
                Err(Fatal::Crashed)
            }
            Fault::Torn { keep_bytes, rest } => {
                self.torn_tail = frame::torn_batch(&batch, keep_bytes, rest);
                Err(Fatal::Crashed)
            }
            Fault::FsyncFails { survives } if mutant::is(Mutant::RetryFailedFsync) => {
                if !survives {
                    self.hole = self.hole.or(Some(self.entries.len()));
                }
                self.keep(batch);
                Ok(())
            }
            Fault::FsyncFails { survives } => {
                if survives {
                    self.keep(batch);
                }
                Err(Fatal::FsyncFailed)
            }
            Fault::DiskFull => Err(Fatal::DiskFull),
        }
    }
}

/// The handle of one process life on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryLog {
    disk: MemoryDisk,
    stream: String,
    life: u64,
    head: Head,
    dead: bool,
}

impl MemoryLog {
    /// Returns the disk behind this handle.
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    fn is_dead(&self, platter: &Platter) -> bool {
        self.dead || self.life != platter.life
    }
}

impl Log for MemoryLog {
    fn append(&mut self, at_ms: i64, bodies: &[Vec<u8>]) -> Result<Head, AppendError> {
        let mut platter = self.disk.0.borrow_mut();
        if self.is_dead(&platter) {
            return Err(Fatal::Crashed.into());
        }
        check_limits(&self.stream, bodies)?;
        let batch: Vec<Entry> = chain(&self.stream, &self.head, at_ms, bodies).collect();
        let Some(last) = batch.last() else { return Ok(self.head) };
        let head = last.as_head();
        if let Err(fatal) = platter.write(batch) {
            self.dead = true;
            return Err(fatal.into());
        }
        self.head = head;
        Ok(head)
    }

    fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let platter = self.disk.0.borrow();
        if self.is_dead(&platter) {
            return Err(ReadError::Crashed);
        }
        let from = usize::try_from(after_seq).unwrap_or(usize::MAX).min(platter.entries.len());
        Ok(platter.entries[from..].iter().take(limit).cloned().collect())
    }

    fn head(&self) -> Head {
        self.head
    }

    fn stream(&self) -> &str {
        &self.stream
    }
}
