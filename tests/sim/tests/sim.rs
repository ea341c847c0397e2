//! The simulator at small scale, and that it is deterministic. The large scale is `cargo xtask sim`.

use sopwith_sim::drive::{Case, Tally};

/// Seeds of the ordinary test; a debug build runs some hundreds a second.
const SEEDS: u64 = 1_000;

fn all_well(cases: impl IntoIterator<Item = Case>) {
    let mut tally = Tally::default();
    cases.into_iter().for_each(|case| {
        tally.run(case);
    });
    assert!(tally.schedules > 0);
    assert_eq!(tally.violations, vec![]);
}

#[test]
fn random_schedules_keep_every_promise() {
    all_well((0..SEEDS).map(Case::Seed));
}

#[test]
fn every_crash_point_of_a_simple_fix_is_survived() {
    all_well(Case::singles(0));
}

#[test]
fn every_crash_point_of_a_fix_that_is_undone_is_survived() {
    all_well(Case::singles(5));
}

#[test]
fn the_same_case_leaves_the_same_trace() {
    let crashes = Case::singles(1).into_iter().step_by(17);
    let mut traced = 0;
    for case in (0..40).map(Case::Seed).chain(crashes) {
        let (one, other) = (sopwith_sim::run(case.schedule(), true), sopwith_sim::run(case.schedule(), true));
        assert_eq!(one.trace.join("\n"), other.trace.join("\n"), "{case}");
        assert_eq!(one.coverage, other.coverage, "{case}");
        traced += one.trace.len();
    }
    assert!(traced > 1000, "there is something to compare");
}

#[test]
fn a_case_is_found_again_by_its_name() {
    let cases = [vec![Case::Seed(7)], Case::singles(3), Case::pairs(0).into_iter().step_by(999).collect()];
    for case in cases.concat() {
        assert_eq!(case.to_string().parse(), Ok(case));
    }
    for text in ["", "seed:", "seed:x", "crash:99", "crash:0:q1.0", "crash:0:l1.9", "other:1"] {
        assert!(text.parse::<Case>().is_err(), "{text}");
    }
}
