//! Views of a sample world, against what its makers know of it.

use super::*;
use crate::pages::samples::{self, World, host, unit_signal};
use serde_json::Value::Null;
use sopwith_domain::approval::Vote;
use sopwith_domain::ids::IncidentId;
use sopwith_domain::incident::{Incident, Run};
use sopwith_domain::run::{Effect, End, Record, StepResult, UndoResult, What};
use sopwith_domain::signal::Signal;
use sopwith_domain::time::{MINUTE_MS, Timestamp};

fn waiting() -> (World, IncidentId) {
    let mut world = World::new();
    world.joins("web-1");
    world.installs(samples::RESTART);
    let incident = world.raises(unit_signal("web-1", "unit.failed", "nginx.service", "nginx failed"));
    (world, incident)
}

fn incident(world: &World, id: IncidentId) -> &Incident {
    &world.state.incidents[&id]
}

#[test]
fn where_a_run_stands() {
    let (mut world, id) = waiting();
    world.votes(id, "bob", Vote::Approve, "");
    let digest = world.takes("web-1");
    let accepted = world.state.runs[&digest].records[0].what.clone();
    let plan = world.state.runs[&digest].plan.clone();
    let done = |step| What::Finished { step, outcome: StepResult::Done { output: String::new() } };
    let started = |step| What::Started { step, prior: Null };
    let failed = || What::Finished {
        step: 0,
        outcome: StepResult::Failed { reason: "no".into(), output: String::new() },
    };
    let verified = |passed| What::Verified { passed, detail: String::new() };
    let ended = |end| What::Ended { end };
    let restored = || What::UndoFinished { step: 0, result: UndoResult::Restored { detail: String::new() } };
    let took = || What::Probed { step: 1, effect: Effect::Took { detail: String::new() } };
    let refused = || What::Refused { refusal: sopwith_domain::warrant::Refusal::OtherEpoch };
    let table: Vec<(Vec<What>, &str)> = vec![
        (vec![], "accepted"),
        (vec![accepted.clone()], "accepted"),
        (vec![accepted.clone(), started(0)], "running"),
        (vec![accepted.clone(), started(0), done(0)], "running"),
        (vec![accepted.clone(), started(0), done(0), started(1), done(1)], "verifying"),
        (vec![accepted.clone(), started(0), done(0), started(1), took()], "verifying"),
        (vec![accepted.clone(), started(0), done(0), started(1), done(1), verified(true)], "soaking"),
        (vec![accepted.clone(), started(0), failed()], "undoing"),
        (vec![accepted.clone(), started(0), done(0), started(1), done(1), verified(false)], "undoing"),
        (vec![accepted.clone(), What::Halted { reason: "stop".into() }], "undoing"),
        (
            vec![
                accepted.clone(),
                started(0),
                failed(),
                restored(),
                ended(End::RolledBack { reason: "no".into() }),
            ],
            "rolled_back",
        ),
        (vec![accepted.clone(), ended(End::Parked { reason: "no".into(), residue: vec![] })], "parked"),
        (vec![accepted, verified(true), ended(End::Resolved)], "resolved"),
        (vec![refused()], "refused"),
    ];
    for (number, (whats, expected)) in table.into_iter().enumerate() {
        let records = whats.into_iter().map(|what| Record { run: digest, at: Timestamp(0), what }).collect();
        let run =
            Run { host: host("web-1"), incident: None, plan: plan.clone(), records, cancel_requested: None };
        assert_eq!(run_state(&run), expected, "case {number}");
    }
}

#[test]
fn a_plan_waits_expires_and_is_approved() {
    let (mut world, id) = waiting();
    let state_of = |world: &World, now| {
        let incident = incident(world, id);
        incident.proposal.as_ref().map(|proposal| plan_state(incident, proposal, now))
    };
    let expires = incident(&world, id).proposal.as_ref().expect("a plan").expires_at;
    assert_eq!(state_of(&world, world.now), Some("waiting"));
    assert_eq!(state_of(&world, expires.plus(-1)), Some("waiting"));
    assert_eq!(state_of(&world, expires), Some("void"));
    world.votes(id, "bob", Vote::Approve, "");
    assert_eq!(state_of(&world, world.now), Some("released"));
    world.takes("web-1");
    assert_eq!(state_of(&world, world.now), Some("accepted"));
}

#[test]
fn repeats_are_folded_and_captured_state_is_left_out() {
    let (mut world, id) = waiting();
    for _ in 0..5 {
        world.passes(2 * MINUTE_MS);
        world.raises(unit_signal("web-1", "unit.failed", "nginx.service", "nginx failed"));
    }
    let view = incident_view(&world.state, incident(&world, id), world.now);
    let still: Vec<&str> = view
        .timeline
        .iter()
        .map(|entry| entry.text.as_str())
        .filter(|text| text.starts_with("Still"))
        .collect();
    assert_eq!(still, ["Still so, seen 5 more times: nginx failed"]);
    assert_eq!(view.summary.signals, 6);
    world.votes(id, "bob", Vote::Approve, "go on");
    let run = world.takes("web-1");
    world.reports("web-1", run, What::Started { step: 0, prior: serde_json::json!({"bytes": "c2VjcmV0"}) });
    let view = run_view(&run, &world.state.runs[&run]);
    assert!(!serde_json::to_string(&view).expect("a view is JSON").contains("c2VjcmV0"));
    assert_eq!(view.records[0].what, None, "the order is left out");
}

#[test]
fn record_and_budget_are_counted() {
    let world = samples::ordinary();
    let record = sop_record(&world.state, &"restart-failed-service".to_owned().try_into().expect("an id"));
    assert_eq!((record.runs, record.resolved, record.parked, record.under_way), (3, 1, 1, 1));
    let other = sop_record(&world.state, &"restore-configuration".to_owned().try_into().expect("an id"));
    assert_eq!(other, sopwith_protocol::api::SopRecord::default());
    let waiting = world.state.incidents.values().find(|i| {
        i.chosen.as_ref().is_some_and(|c| c.as_str() == "restart-failed-service")
            && i.phase.name() == "awaiting_approval"
    });
    let waiting = waiting.expect("the sample world has one");
    let left = budget(&world.state, waiting, &waiting.proposal.as_ref().expect("a plan").plan, world.now);
    assert_eq!((left.tries_left, left.tries_max), (2, 2));
    assert_eq!((left.playbook_left, left.playbook_max), (2, 3), "one run of the SOP is under way");
    assert_eq!((left.hour_left, left.hour_max), (58, 60), "two runs began within the hour");
}

#[test]
fn titles_are_plain_words() {
    let titled = |kind: &str| title(&unit_signal("web-1", kind, "nginx.service", "as the host says"));
    let table = [
        ("unit.failed", "nginx on web-1 has failed"),
        ("unit.inactive", "nginx on web-1 is down"),
        ("unit.flapping", "nginx on web-1 keeps restarting"),
        ("log.match", "as the host says (web-1)"),
    ];
    for (kind, expected) in table {
        assert_eq!(titled(kind), expected);
    }
    assert_eq!(title(&samples::mount_signal("db-1", "/var", 97)), "/var on db-1 is 97 % full");
    let silent = Signal { summary: " ".into(), ..unit_signal("web-1", "log.match", "a.service", "") };
    assert_eq!(title(&silent), "log.match on web-1: a");
}

#[test]
fn the_overview_sorts_by_who_must_act() {
    let world = samples::ordinary();
    let view = overview(&world.state, world.now);
    let needs: Vec<&str> = view.needs_you.iter().map(|incident| incident.phase.as_str()).collect();
    assert_eq!(needs, ["needs_person", "needs_person", "awaiting_approval", "awaiting_approval"]);
    assert_eq!(view.happening.len(), 2);
    assert_eq!((view.hosts_connected, view.hosts_silent.len()), (4, 0));
    assert_eq!(view.opened_by_hour.iter().sum::<u32>() as usize, view.opened);
    assert_eq!((view.runs_resolved, view.runs_parked), (1, 1));
    let none = overview(&World::new().state, Timestamp(0));
    assert!(none.needs_you.is_empty() && none.happening.is_empty() && none.opened == 0);
}

#[test]
fn every_event_of_the_sample_journal_has_a_sentence() {
    let world = samples::ordinary();
    assert!(world.journal.len() > 50);
    for recorded in &world.journal {
        let sentence = event_sentence(&recorded.event);
        assert!(!sentence.trim().is_empty(), "{:?}", recorded.event);
    }
}

#[test]
fn one_piece_of_news_is_told_once() {
    let (mut world, id) = waiting();
    world.votes(id, "bob", Vote::Deny, "not now");
    let texts: Vec<String> =
        timeline(&world.state, incident(&world, id)).into_iter().map(|entry| entry.text).collect();
    let about: Vec<&String> = texts.iter().filter(|text| text.contains("not now")).collect();
    assert_eq!(about.len(), 2, "the denial and the call of a person: {texts:?}");
    assert!(about[1].starts_with("Needs a person: denied by bob"), "{texts:?}");
}
