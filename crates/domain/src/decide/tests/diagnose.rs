//! What a host is looked at for where nothing mends a fault.

use super::super::asked;
use super::*;
use crate::diagnosis::{AGAIN_MS, VALID_MS};
use crate::dry_run::{Found, Report, Step};

const LOOK: &str = "
id: ID
version: 1
title: Look at it
purpose: It shows.
scope: Services.
risk: look
answers: [{kind: svc.KIND}]
parameters: {unit: {type: unit, from: subject}}
steps: [{name: look, do: look.unit, with: {unit: $unit}, timeout_s: 10}]
escalation: Read it.
";

const RULE: &str = "diagnosis: {per_host: 1}\n";

/// A host with a fault kind that nothing mends and that is looked at.
fn told(rule: &str) -> Told {
    let mut told = Told::new();
    told.policy(rule);
    told.install(look("look", "odd"));
    told.install(look("look-too", "down"));
    told
}

fn look(id: &str, kind: &str) -> SignedText {
    SignedText { text: LOOK.replace("ID", id).replace("KIND", kind), signature: "signed".into() }
}

fn waiting(told: &Told) -> usize {
    asked(&told.state, &web(), told.now).len()
}

fn seen(told: &Told) -> Report {
    let question = asked(&told.state, &web(), told.now).remove(0);
    let step = Step { require: vec![], would: vec!["failed".into()], cannot: None };
    Report {
        plan: question.plan,
        asked_at: question.asked_at,
        looked_at: told.now,
        found: Found::Looked { against: None, steps: vec![step], verify: vec![] },
    }
}

fn answer(told: &mut Told, report: Report) -> String {
    told.does(Command::ReportDryRun { host: web(), epoch: Epoch(1), report: Box::new(report) })
}

#[test]
fn what_nothing_mends_is_looked_at_once_by_a_recorded_approval() {
    let mut told = told(RULE);
    let events = told.raise("odd");
    assert_eq!(events, "item_taken incident_opened escalated diagnosis_approved");
    assert_eq!((told.phase(), waiting(&told)), ("needs_person", 1));
    let question = asked(&told.state, &web(), told.now).remove(0);
    assert!(question.approval.is_some() && question.policy.is_some());
    let report = seen(&told);
    assert_eq!(answer(&mut told, report.clone()), "diagnosis_reported");
    assert_eq!((answer(&mut told, report), waiting(&told)), (String::new(), 0), "one answer");
    assert_eq!((told.phase(), told.raise("odd").as_str()), ("needs_person", "item_taken signal_folded"));
    assert!(owed(&told.state, &web()).is_empty(), "nothing is ordered by it");
}

#[test]
fn what_is_mended_is_not_looked_at() {
    let mut told = told(RULE);
    assert_eq!(
        told.raise("down"),
        "item_taken incident_opened matched plan_proposed",
        "people are asked about a plan"
    );
    let mut told = self::told(RULE);
    assert!(told.raise("stuck").ends_with("order_released"));
    assert_eq!(waiting(&told), 0);
}

#[test]
fn nothing_looks_without_the_rule_or_beyond_its_budget_or_time() {
    let mut silent = told("");
    assert_eq!((silent.raise("odd").as_str(), waiting(&silent)), ("item_taken incident_opened escalated", 0));
    let mut nowhere = Told::new();
    let text = "version: 1\nauto: []\nhosts: {named: []}\ndiagnosis: {per_host: 9}\n".to_owned();
    let policy = SignedText { text, signature: "signed".into() };
    nowhere.does(Command::SetPolicy { policy, signer: "owners".into(), by: name("root") });
    nowhere.install(look("look", "odd"));
    assert_eq!(
        (nowhere.raise("odd").as_str(), waiting(&nowhere)),
        ("item_taken incident_opened escalated", 0)
    );
    let mut told = told(RULE);
    told.raise("odd");
    assert_eq!(
        told.signal("odd", "b", Condition::Raised),
        "item_taken incident_opened escalated",
        "the budget is spent"
    );
    let why = &told.state.incidents[&IncidentId(2)].phase;
    assert!(matches!(why, Phase::NeedsPerson { reason, .. } if reason.contains("not looked at")), "{why:?}");
    told.later(VALID_MS);
    assert_eq!(waiting(&told), 0, "the approval is over");
    told.later(HOUR_MS);
    assert!(told.signal("odd", "c", Condition::Raised).ends_with("diagnosis_approved"));
}

#[test]
fn a_stop_a_hold_and_maintenance_keep_everybody_from_looking() {
    let mut stopped = told(RULE);
    stopped.raise("odd");
    stopped.stop();
    assert_eq!(waiting(&stopped), 0, "not even what was approved before");
    let mut told = told(RULE);
    told.stop();
    assert_eq!((told.raise("odd").as_str(), waiting(&told)), ("item_taken incident_opened refrained", 0));
    told.resume();
    let hold = Declaration::Hold {
        scope: vec![Subject::Host],
        reason: "mine".into(),
        by: "root".into(),
        until: None,
    };
    told.declare(Declarations { stated: vec![hold], broken: vec![] });
    assert_eq!((told.raise("odd").as_str(), waiting(&told)), ("item_taken signal_folded refrained", 0));
}

#[test]
fn the_same_incident_is_looked_at_again_only_after_a_while() {
    let mut told = told("diagnosis: {per_host: 9}\n");
    told.raise("odd");
    told.clear("odd");
    told.later(10 * MINUTE_MS);
    assert!(!told.raise("odd").contains("diagnosis"), "back soon");
    told.clear("odd");
    told.later(AGAIN_MS);
    assert!(told.raise("odd").ends_with("diagnosis_approved"));
}
