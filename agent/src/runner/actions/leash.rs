//! By which a program is ended while it runs: somebody cancels its run, and the supervisor is told at once, though the
//! acting thread waits for the program and hears of the cancellation only afterwards. What undoes a step is never
//! stopped by it.

use sopwith_domain::ids::Digest;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a supervisor hears before its input ends, so that it knows this from the runner's death.
const WORD: &[u8] = b"c";

/// The run whose step is being carried out, and what holds its program.
#[derive(Clone, Debug, Default)]
pub struct Leash(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    run: Option<Digest>,
    cancelled: bool,
    lifeline: Option<ChildStdin>,
}

impl Leash {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step of this run is being carried out until what is returned is dropped.
    pub fn of(&self, run: Digest) -> Performing {
        *self.lock() = Held { run: Some(run), ..Held::default() };
        Performing(self.clone())
    }

    /// Ends the program of this run's step, if one runs now, and lets the step start no other.
    pub fn cancel(&self, run: &Digest) {
        let mut held = self.lock();
        if held.run.as_ref() == Some(run) {
            held.cancelled = true;
            if let Some(mut lifeline) = held.lifeline.take() {
                let _ = lifeline.write_all(WORD);
            }
        }
    }

    /// Takes hold of a program that was just started. Returns what keeps it alive where no step is being carried out.
    pub(super) fn take(&self, lifeline: Option<ChildStdin>) -> Option<ChildStdin> {
        let mut held = self.lock();
        match (held.run, held.cancelled) {
            (None, _) => lifeline,
            (Some(_), true) => {
                let _ = lifeline.map(|mut lifeline| lifeline.write_all(WORD));
                None
            }
            (Some(_), false) => {
                held.lifeline = lifeline;
                None
            }
        }
    }

    /// The program has ended.
    pub(super) fn let_go(&self) {
        self.lock().lifeline = None;
    }
}

/// While it lives a cancellation ends the program of the step.
#[derive(Debug)]
pub struct Performing(Leash);

impl Drop for Performing {
    fn drop(&mut self) {
        *self.0.lock() = Held::default();
    }
}
