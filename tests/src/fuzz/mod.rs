//! Fuzzing of what reads text or bytes from outside: inputs made from good ones by a seeded generator, each target with
//! what must hold of every input. The same seed makes the same inputs, so that a finding is replayed by its number.

mod authority;
mod mutate;
mod targets;

pub use mutate::Random;
pub use targets::{TARGETS, Target};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Most of its own time that a thread may need for one input; a reader that is linear needs a thousandth of it.
const INPUT_MAX: Duration = Duration::from_secs(5);
/// Largest input, in bytes; readers of more refuse by length alone.
const INPUT_BYTES_MAX: usize = 256 * 1024;

/// What one target came to.
#[derive(Debug)]
pub struct Outcome {
    pub inputs: u64,
    /// How many of them the reader took; where it is none, the inputs are too wild to reach anything.
    pub taken: u64,
    /// Seed and words of what did not hold.
    pub finding: Option<(u64, String)>,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Inputs(u64),
    Elapsed(Duration),
}

/// Feeds a target from a seed on, until the bound or the first finding.
pub fn fuzz(target: &Target, first_seed: u64, until: Until) -> Outcome {
    let (began, seeds) = (Instant::now(), (target.seeds)());
    let mut outcome = Outcome { inputs: 0, taken: 0, finding: None };
    for seed in first_seed.. {
        let over = match until {
            Until::Inputs(inputs) => outcome.inputs >= inputs,
            Until::Elapsed(limit) => began.elapsed() >= limit,
        };
        if over {
            break;
        }
        outcome.inputs += 1;
        match once(target, &seeds, seed) {
            Ok(taken) => outcome.taken += u64::from(taken),
            Err(words) => {
                outcome.finding = Some((seed, words));
                break;
            }
        }
    }
    outcome
}

/// Returns how long this thread has worked: another's load on the machine is no finding.
fn worked() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Feeds the one input of a seed; says whether the reader took it.
///
/// # Errors
/// Returns what did not hold.
pub fn once(target: &Target, seeds: &[Vec<u8>], seed: u64) -> Result<bool, String> {
    let mut random = Random::new(seed);
    let mut input = mutate::mutate(seeds, &mut random);
    input.truncate(INPUT_BYTES_MAX);
    let began = worked();
    let held = catch_unwind(AssertUnwindSafe(|| (target.holds)(&input)));
    let took = worked().saturating_sub(began);
    match held {
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            Err(format!("it panicked: {}", words.or(panic.downcast_ref().copied()).unwrap_or("no words")))
        }
        Ok(Err(words)) => Err(words),
        Ok(Ok(_)) if took > INPUT_MAX => Err(format!("{} bytes took {took:?}", input.len())),
        Ok(Ok(taken)) => Ok(taken),
    }
}
