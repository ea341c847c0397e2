//! Judges the forced failures of an entry. Pure.

use super::{Account, Forced};
use crate::faults::catalogue::{Entry, Expected};
use crate::faults::judge::{Row, Verdict};
use crate::faults::product::EndSeen;

/// A word of the reason that the product's hook gives.
const HOOK: &str = "forced";

/// Lists what was not as it had to be after one forced failure.
pub(super) fn faults(forced: &Forced) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            faults.push(format!("step {}: {text}", forced.step));
        }
    };
    let end = &forced.run.end;
    let (undone, reason) = match end {
        Some(EndSeen::RolledBack(reason)) => (true, reason.as_str()),
        // What cannot be taken back is named, and left to a person.
        Some(EndSeen::Parked(reason)) => (forced.irreversible, reason.as_str()),
        _ => (false, ""),
    };
    must(undone, format!("not undone: {end:?}"));
    must(!undone || reason.contains(HOOK), format!("failed for another reason: {reason}"));
    let begun = forced.run.started.len();
    must(begun == forced.step, format!("{begun} steps were started"));
    if let (false, Some(difference)) = (forced.irreversible, &forced.difference) {
        must(false, format!("not as before: {difference}"));
    }
    // Nobody needs to be called for a fault that went away by itself.
    must(forced.in_hands || forced.gone, "it is in nobody's hands".to_owned());
    let told = forced.gone || forced.asked_again || forced.words.contains(HOOK);
    must(told, format!("the incident does not say why: {}", forced.words));
    must(!forced.harm, "harm was done".to_owned());
    must(forced.steps_before_approval == 0, "steps started before the approval".to_owned());
    faults
}

/// Turns an entry's account into its row and verdict.
pub(in crate::faults) fn verdict(id: String, entry: &Entry, account: &Account) -> Verdict {
    let trials = &account.trials;
    let found: Vec<String> = trials.iter().flat_map(faults).collect();
    let well = trials.iter().filter(|forced| faults(forced).is_empty()).count();
    let steps = trials.first().map_or(0, |forced| forced.steps);
    let mut words = found.clone();
    words.extend(account.broken.clone());
    words.extend(notes(trials));
    let judged = !trials.is_empty();
    let row = Row {
        id,
        expected: Expected::Rollback.name().to_owned(),
        detected: judged.then_some(account.detected_s.is_some()),
        detect_s: account.detected_s,
        matched: judged.then_some(account.playbook.is_some()),
        sop: account.playbook.clone(),
        fixed: None,
        recover_s: None,
        rollback_exact: judged.then(|| trials.iter().all(|t| t.irreversible || t.difference.is_none())),
        harm: entry.harm.as_ref().filter(|_| judged).map(|_| trials.iter().any(|t| t.harm)),
        steps_before_approval: trials.iter().map(|t| t.steps_before_approval).max(),
        reason: words.join("; "),
        kind: account.about.as_ref().map(|(kind, _)| kind.clone()),
        subject: account.about.as_ref().map(|(_, subject)| subject.clone()),
        other_incidents: Vec::new(),
        forced: Some(format!("{well}/{steps}")),
    };
    let passed = found.is_empty() && account.broken.is_none() && judged && well == steps;
    Verdict { row, passed }
}

/// What a reader should know although it is as it has to be.
fn notes(trials: &[Forced]) -> Vec<String> {
    let parked: Vec<String> = trials
        .iter()
        .filter(|t| matches!(t.run.end, Some(EndSeen::Parked(_))))
        .map(|t| t.step.to_string())
        .collect();
    let mut notes = Vec::new();
    if !parked.is_empty() {
        notes.push(format!("cannot be undone and was left to a person: failed at {}", parked.join(", ")));
    }
    let gone: Vec<String> = trials.iter().filter(|t| t.gone).map(|t| t.step.to_string()).collect();
    if !gone.is_empty() {
        notes.push(format!("the fault was gone after it failed at {}", gone.join(", ")));
    }
    let unknown: Vec<&str> =
        trials.iter().take(1).flat_map(|t| &t.not_compared).map(String::as_str).collect();
    if !unknown.is_empty() {
        notes.push(format!("not compared: {}", unknown.join(", ")));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue;
    use crate::faults::product::RunSeen;

    fn undone(step: usize) -> Forced {
        let end = Some(EndSeen::RolledBack(format!("step {step} failed: a test forced it")));
        let run = RunSeen { started: vec![1; step], end, ..RunSeen::default() };
        let words = "undone: forced".to_owned();
        Forced { step, steps: 2, run, in_hands: true, words, ..Forced::default() }
    }

    fn ending(end: EndSeen) -> Forced {
        let mut forced = undone(1);
        forced.run.end = Some(end);
        forced
    }

    #[test]
    fn each_way_to_fail_has_its_words() {
        let parked = || EndSeen::Parked("forced".into());
        let table: Vec<(Forced, Option<&str>)> = vec![
            (undone(1), None),
            (undone(2), None),
            (ending(EndSeen::Resolved), Some("not undone")),
            (ending(EndSeen::RolledBack("its check failed".into())), Some("another reason: its check")),
            (ending(parked()), Some("not undone")),
            (Forced { irreversible: true, ..ending(parked()) }, None),
            (Forced { irreversible: true, difference: Some("a: gone".into()), ..ending(parked()) }, None),
            (Forced { difference: Some("a: gone".into()), ..undone(1) }, Some("not as before: a: gone")),
            (Forced { step: 2, ..undone(1) }, Some("1 steps were started")),
            (Forced { in_hands: false, ..undone(1) }, Some("nobody's hands")),
            (Forced { in_hands: false, gone: true, words: "it is gone".into(), ..undone(1) }, None),
            (Forced { words: "all is well".into(), ..undone(1) }, Some("does not say why")),
            (Forced { words: "waits".into(), asked_again: true, ..undone(1) }, None),
            (Forced { harm: true, ..undone(1) }, Some("harm")),
            (Forced { steps_before_approval: 1, ..undone(1) }, Some("before the approval")),
        ];
        for (forced, expected) in table {
            let found = faults(&forced).join("; ");
            match expected {
                None => assert_eq!(found, "", "{forced:?}"),
                Some(words) => assert!(found.contains(words), "{found}"),
            }
        }
    }

    #[test]
    fn every_step_must_have_failed_once() {
        let text =
            "- {id: A, sop: S, risk: auto, expected: fix, inject: a, present: b, budget: {detect_s: 1}}\n";
        let entry = &catalogue::parse(text).expect("valid")[0];
        let of = |trials: Vec<Forced>| verdict("A".into(), entry, &Account { trials, ..Account::default() });
        let all = of(vec![undone(1), undone(2)]);
        assert_eq!((all.passed, all.row.forced.as_deref()), (true, Some("2/2")));
        let half = of(vec![undone(1)]);
        assert_eq!((half.passed, half.row.forced.as_deref()), (false, Some("1/2")));
        assert!(!of(vec![]).passed);
    }
}
