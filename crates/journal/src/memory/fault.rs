//! Which write of a memory disk fails, and how.

/// One way for a write to fail. After each of them the handle is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process dies before anything reaches the disk.
    CrashBefore,
    /// The batch is durable, but the process dies before it hears so.
    CrashAfter,
    /// The power goes while the last record of the batch is written: only `keep_bytes` of it are on the disk.
    /// When that is all of it, the batch is whole (see [`super::record_bytes`] for its size).
    Torn { keep_bytes: usize, rest: Rest },
    /// The fsync fails; whether the data is there after opening again is the plan's choice.
    FsyncFails { survives: bool },
    /// There is no room; nothing of the batch is kept.
    DiskFull,
}

/// What stands on the disk where the rest of a torn record should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rest {
    /// The file ends there.
    Missing,
    /// The file has its full length, but the rest reads as zeros.
    Zeros,
}

/// The faults of one disk by the number of the write (from 1, counted over all its lives).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan(Vec<(u64, Fault)>);

impl FaultPlan {
    /// A disk that never fails.
    pub const fn none() -> FaultPlan {
        FaultPlan(Vec::new())
    }

    /// Adds a fault at the `nth` write; the first one planned for a write counts.
    #[must_use]
    pub fn and(mut self, nth: u64, fault: Fault) -> FaultPlan {
        self.0.push((nth, fault));
        self
    }

    /// Plans a single fault.
    pub fn once(nth: u64, fault: Fault) -> FaultPlan {
        FaultPlan::none().and(nth, fault)
    }

    /// Returns the fault planned for the `nth` write. Plans hold a handful of faults, so a scan is fastest.
    pub fn at(&self, nth: u64) -> Option<Fault> {
        self.0.iter().find(|(n, _)| *n == nth).map(|(_, fault)| *fault)
    }
}
