use super::*;
use crate::config::Config;
use sopwith_domain::ids::HostId;
use sopwith_domain::inspection::Inspected;
use sopwith_domain::time::HOUR_MS;

fn one(text: &str, page: Option<Page>) -> (One, mpsc::Receiver<Outcome>) {
    let text = format!("checks:\n- {{name: c, {text}}}\n");
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let check = config.checks[0].clone();
    let schedule = Schedule::of(&check, &HostId::new("web-1").expect("a host"));
    let (to, from) = mpsc::channel(8);
    (One { check: check.into(), schedule, by: By::Us, permits: Permits::new(1, 1), page, to }, from)
}

fn page(verdict: Verdict, last_at: Timestamp) -> Page {
    let inspected = Inspected {
        check: Word::new("c").expect("a word"),
        kind: Word::new("command").expect("a word"),
        schedule: String::new(),
        runs: 1,
        warnings: 0,
        criticals: 0,
        unknowns: 0,
        missed: 0,
        verdict: Some(verdict),
        since: None,
        last_at: Some(last_at),
        line: String::new(),
    };
    Page { inspected, faults: Vec::new(), config: String::new(), saved_at: last_at }
}

#[test]
fn what_a_start_makes_up_for() {
    let noon: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
    let seldom = "argv: [/bin/true], every: 6h";
    for (what, text, verdict, away_ms, run, missed) in [
        ("never ran", seldom, None, 0, true, 0),
        ("seldom, short away", seldom, Some(Verdict::Ok), HOUR_MS, false, 0),
        ("seldom, one missed", seldom, Some(Verdict::Ok), 7 * HOUR_MS, true, 1),
        ("seldom, not known", seldom, Some(Verdict::Unknown), HOUR_MS, true, 0),
        (
            "not to be made up for",
            "argv: [/bin/true], every: 6h, catch_up: false",
            Some(Verdict::Ok),
            13 * HOUR_MS,
            false,
            2,
        ),
        ("often, just restarted", "argv: [/bin/true], every: 1s", Some(Verdict::Ok), 30_000, true, 0),
        ("often, long away", "argv: [/bin/true], every: 1m", Some(Verdict::Ok), HOUR_MS, true, 59),
        ("the clock was put back", seldom, Some(Verdict::Ok), -HOUR_MS, false, 0),
    ] {
        let known = verdict.map(|verdict| page(verdict, noon));
        let (one, _outcomes) = one(text, known);
        let turn = one.first(noon.plus(away_ms));
        assert_eq!((turn.run, turn.missed), (run, missed), "{what}");
    }
}

#[test]
fn a_due_time_that_passed_long_ago() {
    let wall: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
    let due = |text: &str, late_ms: u64| {
        let (one, _outcomes) = one(text, None);
        let Next::Boot(due_ms) = one.schedule.next(1_000_000, wall, &Local) else { panic!("no interval") };
        let turn = one.due(Next::Boot(due_ms), due_ms + late_ms, wall);
        (turn.run, turn.missed)
    };
    let minutely = "argv: [/bin/true], every: 1m";
    assert_eq!(due(minutely, 0), (true, 0));
    assert_eq!(due(minutely, 59_999), (true, 0));
    assert_eq!(due(minutely, 10 * 60_000), (true, 10), "the machine slept");
    assert_eq!(due("argv: [/bin/true], every: 1h, catch_up: false", 10 * 60_000), (false, 1));
}

#[tokio::test]
async fn it_runs_again_and_again_and_when_a_file_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.conf");
    std::fs::write(&file, "a").expect("written");
    // Of its own it would be due in an hour or so.
    let text = format!("argv: [/usr/bin/grep, -q, good, {0}], every: 2h, files: [{0}]", file.display());
    let (one, mut outcomes) = one(&text, None);
    let afresh = Afresh::default();
    let following = tokio::spawn(one.follow(afresh.clone()));
    let mut next = async || outcomes.recv().await.expect("it goes on");
    assert!(
        matches!(next().await.what, What::Ran { faults, .. } if faults.len() == 1),
        "the file is not good"
    );
    std::fs::write(&file, "good").expect("written");
    let mut ran = next().await;
    // A write may wake it twice.
    while matches!(&ran.what, What::Ran { faults, .. } if !faults.is_empty()) {
        ran = next().await;
    }
    assert!(matches!(ran.what, What::Ran { .. }));
    afresh.ask();
    let mut again = next().await;
    while !again.afresh {
        again = next().await;
    }
    assert!(matches!(again.what, What::Stands { .. }), "what is well and runs seldom is not run for that");
    following.abort();
}

#[tokio::test]
async fn what_it_said_before_a_restart_stands() {
    let fault = Fault::new(
        "checks.c",
        "check.failed",
        sopwith_domain::signal::Subject::Host,
        sopwith_domain::signal::Severity::Warning,
        "x",
    );
    let known = Page { faults: vec![fault.clone()], ..page(Verdict::Critical, clock::now()) };
    let (one, mut outcomes) = one("argv: [/bin/true], every: 1d", Some(known));
    let afresh = Afresh::default();
    let following = tokio::spawn(one.follow(afresh.clone()));
    let outcome = outcomes.recv().await.expect("it goes on");
    assert!(matches!(outcome.what, What::Stands { faults } if faults == [fault]));
    afresh.ask();
    let outcome = outcomes.recv().await.expect("it goes on");
    assert!(
        matches!(outcome.what, What::Ran { faults, .. } if faults.is_empty()),
        "that may be the end of it"
    );
    following.abort();
}
