//! A few thousand inputs for every reader of what comes from outside, the same ones in every run.

use sopwith_tests::fuzz::{TARGETS, Until, fuzz};

/// Inputs for each reader; `cargo xtask fuzz` goes on for as long as it is told.
const INPUTS: u64 = 1500;

#[test]
fn no_reader_stumbles() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let outcome = fuzz(target, 1, Until::Inputs(INPUTS));
        if let Some((seed, words)) = outcome.finding {
            failed.push(format!(
                "{}: {words}; again by: cargo xtask fuzz {} --seed {seed}",
                target.name, target.name
            ));
        }
        assert!(outcome.taken > 0, "{}: no input is good enough to be taken", target.name);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
