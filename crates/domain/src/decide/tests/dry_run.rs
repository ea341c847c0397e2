//! What is asked before anybody decides.

use super::super::asked;
use super::*;
use crate::dry_run::{ASKED_MS, Found, REPORT_BYTES_MAX, Report, Step};

fn ask(told: &mut Told, by: &str) -> String {
    told.does(Command::AskDryRun { incident: IncidentId(1), by: name(by) })
}

fn seen(told: &Told, would: &str) -> Report {
    let step = Step { require: vec![], would: vec![would.into()], cannot: None };
    Report {
        plan: told.plan(),
        asked_at: told.now,
        looked_at: told.now,
        found: Found::Looked { against: None, steps: vec![step], verify: vec![] },
    }
}

fn answer(told: &mut Told, report: Report) -> String {
    told.does(Command::ReportDryRun { host: web(), epoch: Epoch(1), report: Box::new(report) })
}

fn waiting(told: &Told) -> usize {
    asked(&told.state, &web(), told.now).len()
}

#[test]
fn a_question_waits_for_its_answer_and_moves_nothing() {
    let mut told = Told::new();
    told.raise("down");
    assert_eq!(waiting(&told), 0);
    assert_eq!(ask(&mut told, "carol"), "dry_run_asked");
    assert_eq!((ask(&mut told, "alice"), waiting(&told)), (String::new(), 1), "one question at a time");
    assert_eq!(told.phase(), "awaiting_approval");
    let report = seen(&told, "would restart a.service");
    assert_eq!(answer(&mut told, report.clone()), "dry_run_reported");
    assert_eq!((answer(&mut told, report), waiting(&told)), (String::new(), 0), "one answer");
    assert_eq!(told.phase(), "awaiting_approval");
    assert_eq!(told.approve("alice"), "decision_taken plan_approved order_released", "and decides nothing");
}

#[test]
fn a_question_ends_unanswered_and_may_be_asked_again() {
    let mut told = Told::new();
    told.raise("down");
    ask(&mut told, "carol");
    let late = seen(&told, "would restart a.service");
    told.later(ASKED_MS);
    assert_eq!(waiting(&told), 0);
    assert_eq!(ask(&mut told, "carol"), "dry_run_asked");
    assert_eq!(answer(&mut told, late), "", "an answer to the first question tells nothing of now");
    assert_eq!(waiting(&told), 1);
}

#[test]
fn only_a_plan_that_is_still_to_begin_can_be_asked_about() {
    let mut told = Told::new();
    assert_eq!(ask(&mut told, "carol"), "unknown-incident");
    told.raise("down");
    assert_eq!(ask(&mut told, "nobody"), "unknown-person");
    told.does(Command::AddPerson { name: name("vera"), role: Role::Viewer, by: name("root") });
    assert_eq!(ask(&mut told, "vera"), "role-too-low", "root looks around for operators");
    told.stop();
    assert_eq!(ask(&mut told, "carol"), "dry_run_asked", "a stop stops what changes something");
    told.resume();
    told.approve("alice");
    assert_eq!((ask(&mut told, "carol"), waiting(&told)), ("invalid".into(), 0), "it is on its way");
}

#[test]
fn an_answer_of_another_plan_host_or_size_is_none() {
    let mut told = Told::new();
    told.raise("down");
    ask(&mut told, "carol");
    let report = seen(&told, "would restart a.service");
    let other = Report { plan: Digest([7; 32]), ..report.clone() };
    assert_eq!(answer(&mut told, other), "");
    told.does(Command::Enrol { host: HostId::new("web-2").unwrap(), epoch: Epoch(1) });
    let host = HostId::new("web-2").unwrap();
    assert_eq!(asked(&told.state, &host, told.now).len(), 0);
    let theirs = Command::ReportDryRun { host, epoch: Epoch(1), report: Box::new(report) };
    assert_eq!(told.does(theirs), "");
    let long = seen(&told, &"x".repeat(REPORT_BYTES_MAX));
    assert_eq!(answer(&mut told, long), "invalid");
    told.begin(2);
    assert_eq!(waiting(&told), 0, "the host that was asked is gone");
}
