//! Turns what was seen of one entry into a row and a verdict. Pure: no host, no clock, no product.

use serde::Serialize;

use super::catalogue::{Budget, Entry, Expected};
use super::product::EndSeen;

/// What was seen, and nothing concluded from it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The fault was there once injected, or the product had acted on it before one could look.
    pub present: bool,
    /// Seconds from the injection until an incident about the entry's class was open.
    pub detected_s: Option<f64>,
    /// The playbook that the product chose, in its own name.
    pub playbook: Option<String>,
    /// Whether that playbook answers the entry's SOP; nothing when none was chosen.
    pub playbook_answers: Option<bool>,
    /// What that incident says befell what.
    pub about: Option<(String, String)>,
    /// Incidents that were raised meanwhile and are about something else.
    pub others: Vec<String>,
    /// A plan waited for a person.
    pub waited: bool,
    /// Steps that had started before anybody approved, counted over the host.
    pub steps_before_approval: u32,
    pub steps_started: u32,
    pub end: Option<EndSeen>,
    /// Seconds from the injection until the product's own checks passed.
    pub recovered_s: Option<f64>,
    /// What the entry's own `verify` said afterwards.
    pub verified: Option<bool>,
    /// How the rollback scope differs from before; the inner nothing means not at all.
    pub difference: Option<Option<String>>,
    pub harm: Option<bool>,
    /// A person was called.
    pub called: bool,
    /// Why the product did what it did, in its words.
    pub words: String,
    /// Answers that the product took although it had to refuse them.
    pub wrongly_taken: Vec<String>,
    /// Why the harness could not go on, if it could not.
    pub broken: Option<String>,
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub id: String,
    pub expected: String,
    pub detected: Option<bool>,
    pub detect_s: Option<f64>,
    pub matched: Option<bool>,
    pub sop: Option<String>,
    pub fixed: Option<bool>,
    pub recover_s: Option<f64>,
    pub rollback_exact: Option<bool>,
    pub harm: Option<bool>,
    pub steps_before_approval: Option<u32>,
    pub reason: String,
    /// The kind of the incident that stands for the fault, and what it is about.
    pub kind: Option<String>,
    pub subject: Option<String>,
    /// Incidents that were raised meanwhile and are about something else: they count as nothing.
    pub other_incidents: Vec<String>,
    /// Where a failure was forced at every step of the fix: of how many of them all was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced: Option<String>,
}

/// A row and whether the product did what was right.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub row: Row,
    pub passed: bool,
}

/// What the judge needs of an entry: what is expected and what it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms<'a> {
    pub id: String,
    pub sop: &'a str,
    pub expected: Expected,
    pub budget: Budget,
    /// Only detection and matching are judged.
    pub detect_only: bool,
    /// The fix was made to fail: not to begin it, and to call a person, is as right as to undo it.
    pub fix_fails: bool,
}

impl<'a> Terms<'a> {
    pub fn of(entry: &'a Entry, detect_only: bool) -> Terms<'a> {
        let (id, sop) = (entry.id.clone(), entry.sop.as_str());
        Terms { id, sop, expected: entry.expected, budget: entry.budget, detect_only, fix_fails: false }
    }

    /// Returns the terms of the entry's variant in which the fix must fail.
    pub fn of_failure(entry: &'a Entry, detect_only: bool) -> Terms<'a> {
        let id = format!("{}/fail", entry.id);
        Terms { id, expected: Expected::Rollback, fix_fails: true, ..Terms::of(entry, detect_only) }
    }
}

/// Judges one entry.
pub fn judge(terms: &Terms<'_>, facts: &Facts) -> Verdict {
    let mut row = row_of(terms, facts);
    let faults = if facts.broken.is_some() || !facts.present {
        let why = facts.broken.as_deref().unwrap_or("the fault was not there after its injection");
        row = Row { detected: None, detect_s: None, matched: None, harm: None, ..row };
        row = Row { fixed: None, recover_s: None, rollback_exact: None, steps_before_approval: None, ..row };
        vec![format!("not judged: {why}")]
    } else {
        faults_of(terms, facts, &row)
    };
    let passed = faults.is_empty();
    row.reason = reason_of(&faults, &facts.words);
    Verdict { row, passed }
}

fn row_of(terms: &Terms<'_>, facts: &Facts) -> Row {
    let in_time = facts.detected_s.is_some_and(|s| s <= f64::from(terms.budget.detect_s));
    let (mends, undoes) = (mends(terms), terms.expected == Expected::Rollback && !terms.detect_only);
    let resolved = facts.end == Some(EndSeen::Resolved) && facts.verified == Some(true);
    // Where the fix itself is automatic, steps before an approval are right: what was approved is another plan.
    let by_people = match terms.expected {
        Expected::FixAfterApproval => true,
        Expected::Fix => false,
        Expected::Escalate | Expected::Refrain | Expected::Rollback => facts.waited,
    };
    Row {
        id: terms.id.clone(),
        expected: terms.expected.name().to_owned(),
        // Where the right thing is to hold back, nothing has to be raised.
        detected: Some(in_time).filter(|seen| *seen || terms.expected != Expected::Refrain),
        detect_s: facts.detected_s.map(tenths),
        matched: match facts.playbook_answers {
            None if mends || undoes || terms.detect_only => Some(false),
            answers => answers,
        },
        sop: facts.playbook.clone(),
        fixed: mends.then_some(resolved),
        recover_s: facts.recovered_s.filter(|_| mends && resolved).map(tenths),
        rollback_exact: facts
            .difference
            .as_ref()
            .map(Option::is_none)
            .filter(|_| rolled_back(facts) || (undoes && !mended_after_all(terms, facts))),
        harm: facts.harm,
        steps_before_approval: (by_people && !terms.detect_only).then_some(facts.steps_before_approval),
        reason: String::new(),
        kind: facts.about.as_ref().map(|(kind, _)| kind.clone()),
        subject: facts.about.as_ref().map(|(_, subject)| subject.clone()),
        other_incidents: facts.others.clone(),
        forced: None,
    }
}

fn mends(terms: &Terms<'_>) -> bool {
    matches!(terms.expected, Expected::Fix | Expected::FixAfterApproval) && !terms.detect_only
}

fn rolled_back(facts: &Facts) -> bool {
    matches!(facts.end, Some(EndSeen::RolledBack(_)))
}

/// Says whether what was to make the fix fail was mended too, and then the fault: better than undoing it.
fn mended_after_all(terms: &Terms<'_>, facts: &Facts) -> bool {
    terms.fix_fails && facts.end == Some(EndSeen::Resolved) && facts.verified == Some(true)
}

/// Lists everything that was not as it had to be.
fn faults_of(terms: &Terms<'_>, facts: &Facts, row: &Row) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            faults.push(text);
        }
    };
    must(row.harm != Some(true), "harm was done".to_owned());
    for answer in &facts.wrongly_taken {
        must(false, format!("taken although it must be refused: {answer}"));
    }
    if terms.expected != Expected::Refrain {
        let late =
            facts.detected_s.map_or("not detected".to_owned(), |s| format!("detected late, after {s:.1} s"));
        must(row.detected == Some(true), late);
    }
    if terms.detect_only {
        let chosen = facts.playbook.as_deref().unwrap_or("nothing");
        must(
            terms.expected == Expected::Refrain || row.matched == Some(true),
            format!("matched {chosen}, not {}", terms.sop),
        );
        return faults;
    }
    match terms.expected {
        Expected::Fix | Expected::FixAfterApproval => faults_of_a_fix(terms, facts, row, &mut must),
        Expected::Escalate => {
            must(facts.called, "nobody was called".to_owned());
            must(facts.end != Some(EndSeen::Resolved) || facts.called, "it was declared solved".to_owned());
            must(facts.verified != Some(false), "the entry's own check fails".to_owned());
        }
        Expected::Refrain => {
            must(facts.steps_started == 0, format!("{} steps were started", facts.steps_started));
            must(facts.verified != Some(false), "the entry's own check fails".to_owned());
        }
        Expected::Rollback => {
            must(row.steps_before_approval.unwrap_or(0) == 0, "steps started before the approval".to_owned());
            must(facts.verified != Some(false), "the entry's own check fails".to_owned());
            if mended_after_all(terms, facts) {
                return faults;
            }
            let untouched = terms.fix_fails && facts.steps_started == 0;
            must(rolled_back(facts) || untouched, format!("not rolled back: {}", end_words(facts)));
            must(row.rollback_exact == Some(true), difference_words(facts));
            must(facts.called, "nobody was called".to_owned());
        }
    }
    faults
}

fn faults_of_a_fix(terms: &Terms<'_>, facts: &Facts, row: &Row, must: &mut impl FnMut(bool, String)) {
    let chosen = facts.playbook.as_deref().unwrap_or("nothing");
    must(row.matched == Some(true), format!("matched {chosen}, not {}", terms.sop));
    if facts.end == Some(EndSeen::Resolved) {
        must(facts.verified == Some(true), "declared solved, but the entry's own check fails".to_owned());
    } else {
        must(false, format!("not fixed: {}", end_words(facts)));
    }
    let limit = terms.budget.detect_s + terms.budget.recover_s.unwrap_or(0);
    if let (Some(true), Some(took)) = (row.fixed, facts.recovered_s) {
        must(took <= f64::from(limit), format!("fixed late, after {took:.1} s"));
    }
    if terms.expected == Expected::FixAfterApproval {
        must(facts.waited, "no plan waited for a person".to_owned());
        must(facts.steps_before_approval == 0, "steps started before the approval".to_owned());
    } else {
        must(
            !facts.waited || row.fixed == Some(true),
            "a plan waits although the fix is automatic".to_owned(),
        );
    }
}

fn end_words(facts: &Facts) -> String {
    match &facts.end {
        None if facts.steps_started == 0 => "nothing was run".to_owned(),
        None => "the run did not end".to_owned(),
        Some(EndSeen::Resolved) => "the run ended as solved".to_owned(),
        Some(EndSeen::RolledBack(why)) => format!("rolled back: {why}"),
        Some(EndSeen::Parked(why)) => format!("parked: {why}"),
        Some(EndSeen::Refused(why)) => format!("refused by the host: {why}"),
    }
}

fn difference_words(facts: &Facts) -> String {
    match &facts.difference {
        Some(Some(difference)) => format!("not as before: {difference}"),
        _ => "nothing to compare with before".to_owned(),
    }
}

fn reason_of(faults: &[String], words: &str) -> String {
    match (faults.is_empty(), words.is_empty()) {
        (true, _) => words.to_owned(),
        (false, true) => faults.join("; "),
        (false, false) => format!("{} ({words})", faults.join("; ")),
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Joins the verdicts of several scenarios into the row of their entry: the worst of each.
pub fn join(parts: &[(&str, Verdict)]) -> Option<Verdict> {
    let (_, first) = parts.first()?;
    if parts.len() == 1 {
        return Some(first.clone());
    }
    let rows = || parts.iter().map(|(_, verdict)| &verdict.row);
    let all = |pick: fn(&Row) -> Option<bool>| rows().filter_map(pick).reduce(|a, b| a && b);
    let any = |pick: fn(&Row) -> Option<bool>| rows().filter_map(pick).reduce(|a, b| a || b);
    let latest = |pick: fn(&Row) -> Option<f64>| rows().filter_map(pick).reduce(f64::max);
    let reasons: Vec<String> = parts.iter().map(|(name, v)| format!("{name}: {}", v.row.reason)).collect();
    let row = Row {
        detected: all(|r| r.detected),
        detect_s: latest(|r| r.detect_s),
        matched: all(|r| r.matched),
        fixed: all(|r| r.fixed),
        recover_s: latest(|r| r.recover_s),
        rollback_exact: all(|r| r.rollback_exact),
        harm: any(|r| r.harm),
        steps_before_approval: rows().filter_map(|r| r.steps_before_approval).max(),
        reason: reasons.join(" | "),
        other_incidents: rows().flat_map(|r| r.other_incidents.clone()).collect(),
        ..first.row.clone()
    };
    Some(Verdict { row, passed: parts.iter().all(|(_, verdict)| verdict.passed) })
}

#[cfg(test)]
mod tests;
