//! Lets a test have a set step fail right after it was done, and every undo be done twice, as a file of the test's says:
//! `3`, or `3 twice`. Without the feature `test-hooks` nothing of it is in the build.

use sopwith_domain::run::{StepContext, StepOutcome};

#[cfg(feature = "test-hooks")]
const FILE: &str = "/run/sopwith-forced-failure";

/// What the test wants: which step fails, from 1, and whether undos are done twice.
#[cfg(feature = "test-hooks")]
fn wanted() -> Option<(usize, bool)> {
    let text = std::fs::read_to_string(FILE).ok()?;
    let mut words = text.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next() == Some("twice")))
}

/// Returns how a step came out: as it did, or as the test wants it.
#[cfg(feature = "test-hooks")]
pub fn outcome(step: StepContext<'_>, outcome: StepOutcome) -> StepOutcome {
    match (outcome, wanted()) {
        (StepOutcome::Done { output }, Some((number, _))) if number == step.index + 1 => {
            StepOutcome::Failed { reason: "a test forced it to fail after it was done".into(), output }
        }
        (outcome, _) => outcome,
    }
}

/// Says whether an undo is to be done a second time.
#[cfg(feature = "test-hooks")]
pub fn undoes_twice() -> bool {
    wanted().is_some_and(|(_, twice)| twice)
}

#[cfg(not(feature = "test-hooks"))]
pub fn outcome(_step: StepContext<'_>, outcome: StepOutcome) -> StepOutcome {
    outcome
}

#[cfg(not(feature = "test-hooks"))]
pub fn undoes_twice() -> bool {
    false
}
