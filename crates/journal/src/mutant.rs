//! Deliberate faults that prove the test system: each must be caught by it.
//!
//! Without the feature `mutants` (so in every real binary) the switch is constant `false` and the compiler
//! removes the faulty branch. With it, one thread at a time can be made faulty.

/// One way in which this crate can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The memory log acknowledges an append that a power cut will take back.
    SkipFsync,
    /// Recovery keeps the whole records of a torn batch instead of dropping the batch.
    IgnoreTorn,
    /// After a failed fsync the append tries again and acknowledges, although the data is gone.
    RetryFailedFsync,
}

impl Mutant {
    /// Every mutant of this crate, for the suite that counts them.
    pub const ALL: [Mutant; 3] = [Mutant::SkipFsync, Mutant::IgnoreTorn, Mutant::RetryFailedFsync];
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Makes this thread's journal faulty, or sound again with `None`.
    pub fn set(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    /// Tells whether this thread runs with the mutant.
    pub fn is(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod switch {
    /// Always false: this build has no mutants.
    pub const fn is(_: super::Mutant) -> bool {
        false
    }
}

pub use switch::*;
