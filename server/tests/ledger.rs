//! The ledger's promises: what was answered is durable, projections are a function of the journal, old events are
//! understood for ever, a journal that was touched is not used.

mod common;

use common::{World, host, name};
use rusqlite::Connection;
use rusqlite::types::Value;
use sopwith_domain::command::Command;
use sopwith_domain::event::{Event, Recorded};
use sopwith_domain::evolve::evolve;
use sopwith_domain::people::{Role, SERVER_ACCOUNT};
use sopwith_domain::run::{End, What};
use sopwith_domain::signal::Condition;
use sopwith_journal::sqlite::verify_in;
use sopwith_server::ledger::{self, STREAM, rebuild_projections};
use std::path::Path;

/// Returns everything in the projection tables.
fn projections(database: &Path) -> Vec<Vec<Value>> {
    let db = Connection::open(database).unwrap();
    let mut rows = Vec::new();
    for table in ["incidents", "runs", "problems", "hosts", "host_epochs", "inspections", "policies"] {
        let mut select = db.prepare(&format!("SELECT '{table}', * FROM {table} ORDER BY 2, 3")).unwrap();
        let width = select.column_count();
        let found = select.query_map([], |row| (0..width).map(|n| row.get(n)).collect()).unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

/// Lives through a bit of everything.
async fn some_history(world: &World) {
    let app = &world.running.app;
    let mut agent = world.agent("web-1").await;
    let other = world.agent("db-1").await;
    agent.items(1, vec![agent.raised("a.service"), agent.raised("b.service")]).await;
    other.items(1, vec![other.raised("c.service")]).await;
    let cleared = other.signal("c.service", Condition::Cleared);
    other.items(2, vec![sopwith_domain::command::Item::Signal { signal: Box::new(cleared) }]).await;
    let days = [("2026-01-01", false), ("2026-01-01", true), ("2026-01-02", false)];
    other.items(3, days.iter().map(|(day, complete)| common::inspection(day, *complete)).collect()).await;
    let plan = app.ledger.state().incidents.values().next().unwrap().proposal.clone().unwrap().plan;
    let approve = Command::Decide {
        incident: plan.target.incident,
        plan: plan.digest(),
        by: name("approver"),
        vote: sopwith_domain::approval::Vote::Approve,
        reason: String::new(),
        signature: None,
    };
    app.ledger.decide(approve).await.unwrap();
    let order = sopwith_domain::decide::owed(&app.ledger.state(), &host("web-1")).pop().unwrap();
    let run = plan.digest();
    let record = |what| sopwith_domain::run::Record { run, at: sopwith_domain::time::Timestamp(5), what };
    agent.head.seq = 2;
    let ended = What::Ended { end: End::Parked { reason: "unsure".into(), residue: vec!["x".into()] } };
    agent.records(1, vec![record(What::Accepted { order: Box::new(order) }), record(ended)]).await;
    let (problem, by) = (sopwith_domain::problem::ProblemId(1), name("operator"));
    app.ledger.decide(Command::CloseProblem { problem, by, root_cause: "a leak".into() }).await.unwrap();
    app.ledger.decide(Command::Revoke { host: host("db-1"), by: name("admin") }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_can_be_dropped_and_rebuilt() {
    let world = World::start().await;
    some_history(&world).await;
    let database = world.dir.path().join("data/sopwith.db");
    let dir = world.dir.path().to_owned();
    let World { dir: _kept, running, .. } = world;
    running.stop().await;
    let written = projections(&database);
    assert!(written.len() >= 3 + 1 + 2 + 2 + 2, "{written:?}");
    let events = rebuild_projections(&database).unwrap();
    assert!(events > 10);
    assert_eq!(projections(&database), written, "rebuilt in {dir:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_restart() {
    let world = World::start().await;
    some_history(&world).await;
    let before = (*world.running.app.ledger.state()).clone();
    let head = world.running.app.ledger.head();
    let World { dir, running, .. } = world;
    running.stop().await;
    let copy = dir.path().join("copy.db");
    // Opened like an auditor does, beside whoever holds it.
    let source = Connection::open(dir.path().join("data/sopwith.db")).unwrap();
    source.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let (handle, _thread) = ledger::start(&copy).unwrap();
    // The ledger notes its start as soon as its thread runs.
    let mut expected = before;
    let state = (*handle.state()).clone();
    if state.seq > expected.seq {
        let started = Recorded { seq: expected.seq + 1, at: state.last_at, event: Event::ServerStarted };
        evolve(&mut expected, &started);
    }
    assert_eq!(state, expected);
    assert_eq!(verify_in(&source, STREAM, None).unwrap(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_touched_is_not_used() {
    let world = World::start().await;
    let World { dir, running, .. } = world;
    running.stop().await;
    let database = dir.path().join("data/sopwith.db");
    let db = Connection::open(&database).unwrap();
    db.execute_batch(
        "DROP TRIGGER journal_no_update;
         UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'viewer', 'admin') AS BLOB) WHERE seq = 2;",
    )
    .unwrap();
    drop(db);
    let copy = dir.path().join("copy.db");
    Connection::open(&database).unwrap().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let error = ledger::start(&copy).err().expect("it must not start").to_string();
    assert!(error.contains("entry 2 was altered"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_their_command_stand_or_fall_together() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, _thread) = ledger::start(&dir.path().join("l.db")).unwrap();
    let wall = sopwith_server::clock::Reading::take().wall;
    assert!(handle.now().since(wall).abs() < 60_000, "the time is known from the start");
    let add = |who: &str| Command::AddPerson { name: name(who), role: Role::Admin, by: name(SERVER_ACCOUNT) };
    let row = |who: &str| -> ledger::Rows {
        let who = who.to_owned();
        Box::new(move |tx, now| {
            tx.execute("INSERT INTO accounts VALUES (?1, 'hash', ?2)", rusqlite::params![who, now.0])?;
            Ok(())
        })
    };
    let accounts = || {
        let db = Connection::open(dir.path().join("l.db")).unwrap();
        db.query_row("SELECT count(*) FROM accounts", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    handle.decide_with(add("alice"), row("alice")).await.unwrap();
    assert_eq!(accounts(), 1);
    // Refused: the row goes too. Turned away by the row: the event goes too.
    handle.decide_with(add("alice"), row("bob")).await.unwrap_err();
    assert_eq!(accounts(), 1);
    let head = handle.head();
    handle.decide_with(add("bob"), row("alice")).await.unwrap_err();
    assert_eq!((handle.head(), accounts()), (head, 1));
    assert!(!handle.state().people.contains_key(&name("bob")));
    // Many at once share commits, and each gets its own answer.
    let many = (0..200).map(|n| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.decide(add(&format!("user-{n}"))).await.map(|events| events.len()) })
    });
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.unwrap().unwrap(), 1);
    }
    assert_eq!(handle.head().seq, 201);
    let times: Vec<i64> = {
        let db = Connection::open(dir.path().join("l.db")).unwrap();
        let mut select = db.prepare("SELECT at_ms FROM journal ORDER BY seq").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert!(times.is_sorted());
}
