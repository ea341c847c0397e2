//! The judge's decision table: one line a case.

use super::*;

fn terms(expected: Expected) -> Terms<'static> {
    let budget = Budget { detect_s: 15, recover_s: Some(30), observe_s: None };
    Terms { id: "X-1".into(), sop: "SOP-X", expected, budget, detect_only: false, fix_fails: false }
}

/// A clean automatic fix; each case changes what differs.
fn fixed() -> Facts {
    Facts {
        present: true,
        detected_s: Some(0.2),
        playbook: Some("x".into()),
        playbook_answers: Some(true),
        steps_started: 1,
        end: Some(EndSeen::Resolved),
        recovered_s: Some(1.0),
        verified: Some(true),
        harm: Some(false),
        ..Facts::default()
    }
}

fn approved() -> Facts {
    Facts { waited: true, ..fixed() }
}

fn called() -> Facts {
    Facts { called: true, end: None, steps_started: 0, recovered_s: None, words: "why".into(), ..fixed() }
}

fn undone() -> Facts {
    let end = Some(EndSeen::RolledBack("step 3 failed".into()));
    Facts { called: true, waited: true, end, recovered_s: None, difference: Some(None), ..fixed() }
}

fn quiet() -> Facts {
    Facts { present: true, harm: Some(false), verified: Some(true), ..Facts::default() }
}

#[test]
fn every_expectation_has_its_ways_to_pass_and_to_fail() {
    use Expected::{Escalate, Fix, FixAfterApproval, Refrain, Rollback};
    // What passes has nothing in the last column; what fails says so in these words.
    let table: Vec<(Expected, Facts, Option<&str>)> = vec![
        (Fix, fixed(), None),
        (Fix, Facts { detected_s: None, ..fixed() }, Some("not detected")),
        (Fix, Facts { detected_s: Some(15.1), ..fixed() }, Some("detected late")),
        (Fix, Facts { playbook_answers: Some(false), ..fixed() }, Some("matched x, not SOP-X")),
        (Fix, Facts { playbook: None, playbook_answers: None, ..fixed() }, Some("matched nothing")),
        (Fix, Facts { end: None, ..fixed() }, Some("the run did not end")),
        (Fix, Facts { end: None, steps_started: 0, ..fixed() }, Some("nothing was run")),
        (Fix, Facts { end: Some(EndSeen::Parked("p".into())), ..fixed() }, Some("parked: p")),
        (Fix, Facts { end: Some(EndSeen::Refused("r".into())), ..fixed() }, Some("refused by the host: r")),
        (Fix, Facts { verified: Some(false), ..fixed() }, Some("own check fails")),
        (Fix, Facts { verified: None, ..fixed() }, Some("own check fails")),
        (Fix, Facts { recovered_s: Some(46.0), ..fixed() }, Some("fixed late")),
        (Fix, Facts { harm: Some(true), ..fixed() }, Some("harm was done")),
        (Fix, Facts { waited: true, end: None, steps_started: 0, ..fixed() }, Some("a plan waits")),
        (FixAfterApproval, approved(), None),
        (FixAfterApproval, fixed(), Some("no plan waited")),
        (FixAfterApproval, Facts { steps_before_approval: 1, ..approved() }, Some("before the approval")),
        (Escalate, called(), None),
        (Escalate, Facts { called: false, ..called() }, Some("nobody was called")),
        (Escalate, Facts { harm: Some(true), ..called() }, Some("harm was done")),
        (Escalate, Facts { detected_s: None, ..called() }, Some("not detected")),
        (Escalate, fixed(), Some("declared solved")),
        (Escalate, Facts { verified: Some(false), ..called() }, Some("own check fails")),
        (Refrain, quiet(), None),
        (Refrain, Facts { steps_started: 1, ..quiet() }, Some("1 steps were started")),
        (Refrain, Facts { harm: Some(true), ..quiet() }, Some("harm was done")),
        (Refrain, Facts { verified: Some(false), ..quiet() }, Some("own check fails")),
        (Refrain, Facts { wrongly_taken: vec!["stale".into()], ..quiet() }, Some("must be refused: stale")),
        (Rollback, undone(), None),
        (
            Rollback,
            Facts { difference: Some(Some("a: new".into())), ..undone() },
            Some("not as before: a: new"),
        ),
        (Rollback, Facts { difference: None, ..undone() }, Some("nothing to compare")),
        (Rollback, Facts { end: Some(EndSeen::Resolved), ..undone() }, Some("not rolled back")),
        (Rollback, Facts { called: false, ..undone() }, Some("nobody was called")),
        (Rollback, Facts { steps_before_approval: 2, ..undone() }, Some("before the approval")),
        (Fix, Facts { present: false, ..fixed() }, Some("not judged: the fault was not there")),
        (Refrain, Facts { broken: Some("boot".into()), ..quiet() }, Some("not judged: boot")),
    ];
    for (expected, facts, words) in table {
        let verdict = judge(&terms(expected), &facts);
        assert_eq!(verdict.passed, words.is_none(), "{expected:?} {facts:?} {verdict:?}");
        let words = words.unwrap_or_default();
        assert!(verdict.row.reason.contains(words), "{words:?} is not in {:?}", verdict.row.reason);
    }
}

#[test]
fn a_question_that_does_not_arise_is_null() {
    let row = |expected, facts: &Facts| judge(&terms(expected), facts).row;
    let fix = row(Expected::Fix, &fixed());
    assert_eq!((fix.fixed, fix.rollback_exact, fix.steps_before_approval), (Some(true), None, None));
    let other_waits = Facts { waited: true, steps_before_approval: 1, ..fixed() };
    assert_eq!(row(Expected::Fix, &other_waits).steps_before_approval, None, "the fix itself is automatic");
    let escalated = row(Expected::Escalate, &called());
    assert_eq!((escalated.fixed, escalated.recover_s, escalated.rollback_exact), (None, None, None));
    let refrained = row(Expected::Refrain, &quiet());
    assert_eq!((refrained.matched, refrained.fixed, refrained.detected), (None, None, None));
    let undone = row(Expected::Rollback, &undone());
    assert_eq!(
        (undone.fixed, undone.rollback_exact, undone.steps_before_approval),
        (None, Some(true), Some(0))
    );
    let absent = row(Expected::Fix, &Facts { present: false, ..fixed() });
    assert_eq!((absent.detected, absent.matched, absent.fixed, absent.harm), (None, None, None, None));
}

#[test]
fn detection_alone_asks_nothing_about_the_fix() {
    let only = Terms { detect_only: true, ..terms(Expected::FixAfterApproval) };
    let seen =
        Facts { end: None, steps_started: 0, recovered_s: None, verified: None, harm: None, ..fixed() };
    let verdict = judge(&only, &seen);
    assert!(verdict.passed, "{verdict:?}");
    assert_eq!((verdict.row.fixed, verdict.row.steps_before_approval), (None, None));
    assert!(!judge(&only, &Facts { playbook_answers: Some(false), ..seen }).passed);
}

#[test]
fn several_scenarios_count_as_their_worst() {
    let good = judge(&terms(Expected::Refrain), &quiet());
    let bad = judge(&terms(Expected::Refrain), &Facts { harm: Some(true), steps_started: 1, ..quiet() });
    let joined = join(&[("denied", good.clone()), ("expired", bad)]).expect("two parts");
    assert!(!joined.passed);
    assert_eq!(joined.row.harm, Some(true));
    assert!(joined.row.reason.contains("expired: harm was done"), "{}", joined.row.reason);
    assert_eq!(join(&[("plain", good.clone())]), Some(good));
    assert_eq!(join(&[]), None);
}

#[test]
fn a_fix_that_cannot_work_may_be_left_alone_but_not_without_a_call() {
    let failing = Terms { fix_fails: true, ..terms(Expected::Rollback) };
    let untouched = Facts { end: None, steps_started: 0, waited: false, ..undone() };
    let half_done = Facts { end: Some(EndSeen::Parked("p".into())), ..undone() };
    let cases = [
        (undone(), true),
        (untouched.clone(), true),
        (Facts { called: false, ..untouched.clone() }, false),
        (Facts { difference: Some(Some("a: new".into())), ..untouched }, false),
        (half_done, false),
        // What was to make the fix fail was mended as well, as the entry's own check says.
        (fixed(), true),
        (approved(), true),
        (Facts { verified: None, ..fixed() }, false),
        (Facts { steps_before_approval: 1, ..approved() }, false),
        (Facts { harm: Some(true), ..fixed() }, false),
    ];
    for (facts, passed) in cases {
        let verdict = judge(&failing, &facts);
        assert_eq!(verdict.passed, passed, "{facts:?} {verdict:?}");
    }
}
