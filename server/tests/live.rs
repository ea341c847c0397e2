//! What a running step says reaches who looks on, is nobody else's to say, and is gone with the run; and what could
//! not be mended stays as a problem.

mod common;

use common::{Agent, World, host, name};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sopwith_domain::approval::Vote;
use sopwith_domain::command::Command;
use sopwith_domain::decide::owed;
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::run::{End, Record, What};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::{ExchangeRequest, LIVE_MAX, LIVE_TEXT_BYTES_MAX, LiveOutput};

/// Text as a hostile program would print it.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}<script>alert(1)</script>\r\u{202e}$(touch /c)\0\n";

fn said(run: Digest, from: u64, text: &str) -> LiveOutput {
    LiveOutput { run, step: 0, from, through: from + text.len() as u64, text: text.into() }
}

/// Begins a run whose first step is under way.
async fn begin(world: &World, agent: &mut Agent, seq: u64) -> Digest {
    agent.items(seq, vec![agent.raised("demo.service")]).await;
    let app = &world.running.app;
    let incident = *app.ledger.state().incidents.keys().next_back().unwrap();
    let plan = app.ledger.state().incidents[&incident].proposal.clone().unwrap().plan.digest();
    let (by, vote) = (name("approver"), Vote::Approve);
    let approve = Command::Decide { incident, plan, by, vote, reason: String::new(), signature: None };
    app.ledger.decide(approve).await.unwrap();
    let order = owed(&app.ledger.state(), &host("web-1")).pop().unwrap();
    let record = |what| Record { run: plan, at: Timestamp(5), what };
    let first = app.ledger.state().hosts[&host("web-1")].records_through + 1;
    agent.head.seq = first + 1;
    let started = What::Started { step: 0, prior: serde_json::Value::Null };
    let accepted = What::Accepted { order: Box::new(order) };
    agent.records(first, vec![record(accepted), record(started)]).await;
    plan
}

async fn end(agent: &mut Agent, run: Digest, end: End) {
    agent.head.seq += 1;
    agent.records(agent.head.seq, vec![Record { run, at: Timestamp(9), what: What::Ended { end } }]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_says_is_shown_while_it_runs() {
    let world = World::start().await;
    let mut agent = world.agent("web-1").await;
    let run = begin(&world, &mut agent, 1).await;
    let viewer = world.token("viewer").await;
    let head = world.running.app.ledger.head();
    let mut changes = world.running.app.ledger.news().changes();
    let speak = |live| ExchangeRequest { live, ..agent.request() };
    agent.exchange(&speak(vec![said(run, 0, HOSTILE), said(run, 5000, "more\n")])).await;
    let mut told = changes.recv().await.unwrap();
    while told.event == "access_changed" {
        // Of the sign-in, a moment ago.
        told = changes.recv().await.unwrap();
    }
    assert_eq!((told.event.as_str(), told.run, told.incident), ("run_spoke", Some(run), Some(IncidentId(1))));
    assert_eq!(world.running.app.ledger.head(), head, "nothing of it enters the journal");
    for path in [format!("/api/v1/runs/{run}"), "/api/v1/incidents/1".into()] {
        let (_, answer) = world.get(&viewer, &path).await;
        let live = if answer["live"].is_null() { &answer["runs"][0]["live"] } else { &answer["live"] };
        let text = live["text"].as_str().unwrap();
        assert!(text.starts_with(HOSTILE) && text.ends_with("bytes left out …\nmore\n"), "{text:?}");
    }
    for path in [format!("/runs/{run}"), "/incidents/1".into()] {
        let page = world.ask(&viewer, Method::GET, &path).send().await.unwrap().text().await.unwrap();
        assert!(page.contains("[U+001B][2J") && page.contains("[U+202E]$(touch /c)[U+0000]"), "{path}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{path}");
        assert!(!page.contains("<script>alert") && !page.contains('\u{1b}'), "{path}");
    }
    end(&mut agent, run, End::Parked { reason: "unsure".into(), residue: vec![] }).await;
    let (_, answer) = world.get(&viewer, &format!("/api/v1/runs/{run}")).await;
    assert!(answer["live"].is_null(), "the record says it from now on");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_says_more_than_is_taken_or_for_another() {
    let world = World::start().await;
    let mut agent = world.agent("web-1").await;
    let run = begin(&world, &mut agent, 1).await;
    let other = world.agent("db-1").await;
    other.exchange(&ExchangeRequest { live: vec![said(run, 0, "not mine")], ..other.request() }).await;
    let viewer = world.token("viewer").await;
    let (_, answer) = world.get(&viewer, &format!("/api/v1/runs/{run}")).await;
    assert!(answer["live"].is_null());
    let long = said(run, 0, &"x".repeat(LIVE_TEXT_BYTES_MAX + 1));
    for live in [vec![said(run, 0, "x"); LIVE_MAX + 1], vec![long]] {
        let (status, _) = agent.send(&ExchangeRequest { live, ..agent.request() }).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_mended_is_a_problem_until_its_cause_is_found() {
    let world = World::start().await;
    let mut agent = world.agent("web-1").await;
    let run = begin(&world, &mut agent, 1).await;
    end(&mut agent, run, End::Parked { reason: "unsure".into(), residue: vec![] }).await;
    let (viewer, operator) = (world.token("viewer").await, world.token("operator").await);
    let (_, problems) = world.get(&viewer, "/api/v1/problems?open=true").await;
    assert_eq!(
        (problems["items"][0]["number"].as_str(), problems["items"].as_array().map(Vec::len)),
        (Some("PRB-1"), Some(1))
    );
    let (_, incident) = world.get(&viewer, "/api/v1/incidents/1").await;
    assert_eq!(incident["problem"], 1);
    let close = json!({ "root_cause": "a leak in <b>demo</b>" });
    let at = "/api/v1/problems/PRB-1/close";
    assert_eq!(world.post(&viewer, at, close.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        world.post(&operator, at, json!({ "root_cause": " " })).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        world.post(&operator, "/api/v1/problems/7/close", close.clone()).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(world.get(&viewer, "/api/v1/problems/..%2F1").await.0, StatusCode::NOT_FOUND);
    let page = world.ask(&viewer, Method::GET, "/problems").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("PRB-1") && page.contains("seen in one incident"));
    let (status, closed) = world.post(&operator, at, close.clone()).await;
    assert_eq!((status, closed["closed"]["by"].as_str()), (StatusCode::OK, Some("operator")));
    assert_eq!(world.post(&operator, at, close).await.0, StatusCode::CONFLICT);
    let page = world.ask(&viewer, Method::GET, "/problems/1").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("a leak in &lt;b&gt;demo&lt;/b&gt;"), "the cause is text");
    let (_, open) = world.get(&viewer, "/api/v1/problems?open=true").await;
    assert_eq!(open["items"], json!([]));
    world.stop().await;
}
