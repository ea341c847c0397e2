//! The agents' door: intake is idempotent, orders are owed until taken, identity is the key, nothing is half-applied.

mod common;

use common::{Agent, World, host, name, read};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use sopwith_domain::command::{Command, Item};
use sopwith_domain::dry_run::{Found, Question, Report, Step};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::Order;
use sopwith_domain::run::{End, Record, What};
use sopwith_domain::signal::Condition;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::{
    BATCH_MAX, Batch, DRY_RUN_FACT, ExchangeRequest, JoinResponse, JournalHead, Lease, SERVER_NAMESPACE,
};
use sopwith_protocol::signature::verify_with;

#[tokio::test(flavor = "multi_thread")]
async fn items_are_taken_once_in_order_whatever_the_network_does() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    let item = |n: u64| agent.raised(&format!("demo-{n}.service"));
    assert_eq!(agent.items(1, vec![item(1), item(2)]).await.items_through, 2);
    assert_eq!(agent.items(1, vec![item(1), item(2)]).await.items_through, 2, "a duplicate");
    assert_eq!(agent.items(4, vec![item(4)]).await.items_through, 2, "a hole is not jumped");
    assert_eq!(agent.items(2, vec![item(2), item(3), item(4)]).await.items_through, 4, "an overlap");
    let gap = Item::Gap { from_seq: 5, reason: "the spool was full".into() };
    assert_eq!(agent.items(9, vec![gap]).await.items_through, 9, "a gap that says so");
    {
        let state = world.running.app.ledger.state();
        assert_eq!(state.incidents.len(), 4);
        assert!(state.incidents.values().all(|incident| incident.signals == 1));
        assert_eq!(
            state.hosts[&host("web-1")].items_lost,
            5,
            "5 to 9; the gap stands in the place of the last"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_signal_to_order_to_end() {
    let world = World::start().await;
    let mut agent = world.agent("web-1").await;
    agent.items(1, vec![agent.raised("demo.service")]).await;
    let viewer = world.token("viewer").await;
    let (_, incident) = world.get(&viewer, "/api/v1/incidents/INC-1").await;
    let plan = incident["plan"].as_str().unwrap().to_owned();

    // The host waits for news while the approval comes in.
    let waiting = ExchangeRequest { wait_ms: 20_000, ..agent.request() };
    let approver = world.token("approver").await;
    let approve = world
        .ask(&approver, Method::POST, &format!("/api/v1/plans/{plan}/approve"))
        .header("if-match", format!("\"{plan}\""))
        .json(&json!({ "reason": "seen" }));
    agent.exchange(&agent.request()).await;
    let (answer, approved) = tokio::join!(agent.exchange(&waiting), approve.send());
    assert_eq!(approved.unwrap().status(), StatusCode::OK);
    let key = ssh_key::PublicKey::from_openssh(&world.running.app.keys.order_public().unwrap()).unwrap();
    let sealed = answer.orders.first().expect("the order ended the wait");
    verify_with(&key, SERVER_NAMESPACE, sealed).unwrap();
    let order: Order = serde_json::from_str(&sealed.text).unwrap();
    assert_eq!(order.plan.to_string(), plan);
    verify_with(&key, SERVER_NAMESPACE, &answer.lease).unwrap();
    let lease: Lease = serde_json::from_str(&answer.lease.text).unwrap();
    assert_eq!((lease.host, lease.epoch, lease.stop), (agent.host.clone(), Epoch(1), None));
    assert_eq!(lease.challenge, "ab".repeat(32));

    // It is told again until the host has spoken of it; what it holds is not told.
    assert_eq!(agent.exchange(&agent.request()).await.orders.len(), 1);
    let holding = ExchangeRequest { holding: vec![order.plan], ..agent.request() };
    assert_eq!(agent.exchange(&holding).await.orders.len(), 0);
    let record = |what| Record { run: order.plan, at: Timestamp(1), what };
    agent.head = JournalHead { seq: 1, hash: Digest([1; 32]) };
    let accepted = record(What::Accepted { order: Box::new(order.clone()) });
    let answer = agent.records(1, vec![accepted.clone()]).await;
    assert_eq!((answer.orders.len(), answer.records_through), (0, 1));
    assert_eq!(agent.records(1, vec![accepted]).await.records_through, 1, "a duplicate");

    let operator = world.token("operator").await;
    let (status, _) = world.post(&operator, &format!("/api/v1/runs/{plan}/cancel"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let told = agent.exchange(&agent.request()).await;
    assert_eq!(told.cancels, vec![(order.plan, "operator".to_owned())]);
    agent.head = JournalHead { seq: 2, hash: Digest([2; 32]) };
    let ended = record(What::Ended { end: End::RolledBack { reason: "cancelled".into() } });
    let answer = agent.records(2, vec![ended]).await;
    assert_eq!((answer.records_through, answer.cancels.len()), (2, 0));
    let (_, run) = world.get(&viewer, &format!("/api/v1/runs/{plan}")).await;
    assert_eq!(run["state"], "rolled_back");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_would_change_is_asked_and_answered() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    agent.items(1, vec![agent.raised("demo.service")]).await;
    let operator = world.token("operator").await;
    let path = "/api/v1/incidents/INC-1/dry-run";
    assert_eq!(world.get(&operator, path).await.0, StatusCode::NOT_FOUND, "nobody asked yet");
    let viewer = world.token("viewer").await;
    assert_eq!(world.post(&viewer, path, json!({})).await.0, StatusCode::FORBIDDEN);

    let new = ExchangeRequest {
        facts: [(DRY_RUN_FACT.to_owned(), "yes".to_owned())].into(),
        wait_ms: 20_000,
        ..agent.request()
    };
    let answering = async {
        let told = agent.exchange(&new).await;
        let sealed = told.dry_runs.first().expect("the question ended the wait");
        let key = ssh_key::PublicKey::from_openssh(&world.running.app.keys.order_public().unwrap()).unwrap();
        verify_with(&key, SERVER_NAMESPACE, sealed).unwrap();
        let question: Question = serde_json::from_str(&sealed.text).unwrap();
        let old = agent.exchange(&agent.request()).await;
        assert_eq!(old.dry_runs, [], "an agent that would not understand it is not asked");
        let step = Step { require: vec![], would: vec!["would start demo.service".into()], cannot: None };
        let report = Report {
            plan: question.plan,
            asked_at: question.asked_at,
            looked_at: Timestamp(5),
            found: Found::Looked { against: None, steps: vec![step], verify: vec![] },
        };
        agent.exchange(&ExchangeRequest { dry_runs: vec![report.clone()], ..agent.request() }).await;
        let again = ExchangeRequest { dry_runs: vec![report], wait_ms: 0, ..new.clone() };
        assert_eq!(agent.exchange(&again).await.dry_runs, [], "answered once is answered");
    };
    let ((status, view), ()) = tokio::join!(world.post(&operator, path, json!({})), answering);
    assert_eq!((status, &view["state"]), (StatusCode::OK, &json!("looked")), "{view}");
    assert_eq!(view["steps"][0]["would"], json!(["would start demo.service"]));
    let (_, incident) = world.get(&viewer, "/api/v1/incidents/1").await;
    assert_eq!(incident["plan_view"]["dry_run"], view);
    assert_eq!(incident["phase"], "awaiting_approval", "it approved nothing");
    let page = world.ask(&viewer, Method::GET, "/approvals").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("would start demo.service"), "{page}");
    let (_, audit) = world.get(&viewer, "/api/v1/audit?limit=1000").await;
    for event in ["dry_run_asked", "dry_run_reported"] {
        assert!(audit.to_string().contains(event), "{event}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_was_set_back_must_begin_anew() {
    let world = World::start().await;
    let mut agent = world.agent("web-1").await;
    agent.head = JournalHead { seq: 7, hash: Digest([7; 32]) };
    assert_eq!(agent.exchange(&agent.request()).await.begin_epoch, None);
    assert_eq!(agent.exchange(&agent.request()).await.begin_epoch, None, "the same head again is sound");
    for head in [JournalHead { seq: 6, hash: Digest([7; 32]) }, JournalHead { seq: 7, hash: Digest([8; 32]) }]
    {
        let items = Batch { first_seq: 1, items: vec![agent.raised("demo.service")] };
        let answer =
            agent.exchange(&ExchangeRequest { journal_head: Some(head), items, ..agent.request() }).await;
        assert!(answer.begin_epoch.is_some(), "{head:?}");
        assert_eq!(answer.items_through, 0, "nothing is taken, so nothing is forgotten");
        let lease: Lease = serde_json::from_str(&answer.lease.text).unwrap();
        assert!(lease.stop.is_some(), "and nothing may start meanwhile");
    }
    assert!(world.running.app.ledger.state().incidents.is_empty());
    // A new life is taken up, the old one is not taken up again.
    let old = agent.epoch;
    agent.epoch = Epoch(u64::MAX);
    agent.head = JournalHead { seq: 0, hash: Digest([0; 32]) };
    assert_eq!(agent.exchange(&agent.request()).await.begin_epoch, None);
    assert_eq!(world.running.app.ledger.state().hosts[&agent.host].epoch, Epoch(u64::MAX));
    agent.epoch = old;
    assert!(agent.exchange(&agent.request()).await.begin_epoch.is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_set_back_notices() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    let head = agent.exchange(&agent.request()).await.server_head;
    agent.exchange(&ExchangeRequest { server_head: Some(head), ..agent.request() }).await;
    assert_eq!(world.running.app.presence.histories_lost(), 0);
    let other = JournalHead { seq: head.seq, hash: Digest([9; 32]) };
    agent.exchange(&ExchangeRequest { server_head: Some(other), ..agent.request() }).await;
    assert_eq!(world.running.app.presence.histories_lost(), 1);
    let (_, ready) = world.get("", "/readyz").await;
    assert!(ready["degraded"].to_string().contains("old backup"), "{ready}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_is_the_key() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    let (status, problem) = common::read(
        world.http.post(world.agent_url("/agent/v1/exchange")).json(&agent.request()).send().await.unwrap(),
    )
    .await;
    assert_eq!((status, &problem["type"]), (StatusCode::UNAUTHORIZED, &json!("/problems/no-certificate")));
    let posing = ExchangeRequest { host: host("web-2"), ..agent.request() };
    assert_eq!(agent.send(&posing).await.0, StatusCode::FORBIDDEN);

    // The name joins again with another key: the first key holds no more.
    let key = KeyPair::generate().unwrap();
    let token = world.join_token(Some(host("web-1"))).await;
    let (status, problem) = world.try_join(&token, "web-1", 1, &key).await;
    assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &json!("/problems/epoch-used")));
    let (status, answer) = world.try_join(&token, "web-1", 2, &key).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, problem) = agent.send(&agent.request()).await;
    assert_eq!((status, &problem["type"]), (StatusCode::FORBIDDEN, &json!("/problems/other-key")));

    // Revocation takes effect at the next request.
    let joined = serde_json::from_value(answer).unwrap();
    let again = common::Agent::new(world.agent_url("/agent/v1/exchange"), "web-1", 2, &joined, &key);
    again.exchange(&again.request()).await;
    let revoke = Command::Revoke { host: host("web-1"), by: name("admin") };
    world.running.app.ledger.decide(revoke).await.unwrap();
    let (status, problem) = again.send(&again.request()).await;
    assert_eq!((status, &problem["type"]), (StatusCode::FORBIDDEN, &json!("/problems/host-revoked")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_for_one_host_once() {
    let world = World::start().await;
    let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let kind = |answer: serde_json::Value| answer["type"].as_str().unwrap_or_default().to_owned();
    let bound = world.join_token(Some(host("db-1"))).await;
    let (status, answer) = world.try_join(&bound, "web-1", 1, &one).await;
    assert_eq!((status, kind(answer)), (StatusCode::CONFLICT, "/problems/token-other-host".into()));
    let free = world.join_token(None).await;
    assert_eq!(world.try_join(&free, "web-1", 1, &one).await.0, StatusCode::OK);
    assert_eq!(world.try_join(&free, "web-1", 1, &one).await.0, StatusCode::OK, "the answer was lost");
    for (name, key) in [("web-1", &two), ("web-2", &one)] {
        let (status, answer) = world.try_join(&free, name, 3, key).await;
        assert_eq!((status, kind(answer)), (StatusCode::FORBIDDEN, "/problems/token-unknown".into()));
    }
    let free = world.join_token(None).await;
    let (status, answer) = world.try_join(&free, "web-1", 3, &two).await;
    assert_eq!((status, kind(answer)), (StatusCode::CONFLICT, "/problems/host-taken".into()));
    let never = format!("spj_{}", "0".repeat(64));
    assert_eq!(world.try_join(&never, "web-9", 1, &two).await.0, StatusCode::FORBIDDEN);
    assert_eq!(world.try_join("x", "web-9", 1, &two).await.0, StatusCode::FORBIDDEN);
    let request = json!({ "token": free, "host": "web-9", "epoch": 1, "csr_pem": "nonsense" });
    let answer = world.http.post(world.agent_url("/agent/v1/join")).json(&request).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.running.app.ledger.state().hosts.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_for_the_key_that_joined_and_no_other() {
    let world = World::start().await;
    let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let token = world.join_token(Some(host("web-1"))).await;
    let (status, answer) = world.try_join(&token, "web-1", 1, &own).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let joined: JoinResponse = serde_json::from_value(answer).unwrap();
    let agent = Agent::new(world.agent_url("/agent/v1/exchange"), "web-1", 1, &joined, &own);
    let renew = async |http: &Client, key: &KeyPair| {
        let csr_pem = CertificateParams::default().serialize_request(key).unwrap().pem().unwrap();
        let request = json!({ "csr_pem": csr_pem });
        read(http.post(world.agent_url("/agent/v1/renew")).json(&request).send().await.unwrap()).await
    };
    let (status, answer) = renew(&agent.http, &own).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let certificate_pem = answer["certificate_pem"].as_str().unwrap().to_owned();
    assert_ne!(certificate_pem, joined.certificate_pem);
    let renewed = JoinResponse { certificate_pem, ..joined };
    let agent = Agent::new(world.agent_url("/agent/v1/exchange"), "web-1", 1, &renewed, &own);
    agent.exchange(&agent.request()).await;

    let (status, answer) = renew(&agent.http, &other).await;
    assert_eq!((status, &answer["type"]), (StatusCode::CONFLICT, &json!("/problems/other-key")));
    assert_eq!(renew(&world.http, &own).await.0, StatusCode::UNAUTHORIZED, "without a certificate");
    let nonsense = json!({ "csr_pem": "nonsense" });
    let answer = agent.http.post(world.agent_url("/agent/v1/renew")).json(&nonsense).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let revoke = Command::Revoke { host: host("web-1"), by: name("admin") };
    world.running.app.ledger.decide(revoke).await.unwrap();
    let (status, answer) = renew(&agent.http, &own).await;
    assert_eq!((status, &answer["type"]), (StatusCode::FORBIDDEN, &json!("/problems/host-revoked")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused_whole() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    let many = |n: usize| vec![agent.raised("demo.service"); n];
    let table = [
        (
            ExchangeRequest { items: Batch { first_seq: 1, items: many(BATCH_MAX + 1) }, ..agent.request() },
            400,
        ),
        (ExchangeRequest { items: Batch { first_seq: 0, items: many(1) }, ..agent.request() }, 400),
        (ExchangeRequest { items: Batch { first_seq: u64::MAX, items: many(1) }, ..agent.request() }, 400),
        (ExchangeRequest { challenge: "zz".repeat(32), ..agent.request() }, 400),
        (ExchangeRequest { challenge: "a".into(), ..agent.request() }, 400),
        (ExchangeRequest { holding: vec![Digest([0; 32]); 1025], ..agent.request() }, 400),
        (ExchangeRequest { agent_version: "v".repeat(2000), ..agent.request() }, 400),
    ];
    for (n, (request, expected)) in table.iter().enumerate() {
        assert_eq!(agent.send(request).await.0.as_u16(), *expected, "case {n}");
    }
    let raw = |body: Vec<u8>, kind: &str| {
        agent.http.post(&agent.url).header("content-type", kind).body(body).send()
    };
    assert_eq!(raw(b"{".to_vec(), "application/json").await.unwrap().status(), 400);
    assert_eq!(raw(b"{}".to_vec(), "text/plain").await.unwrap().status(), 415);
    let large = raw(vec![b' '; 4 * 1024 * 1024 + 1], "application/json").await.unwrap();
    assert_eq!(large.status(), 413);
    assert!(world.running.app.ledger.state().incidents.is_empty());

    // One item that is too large is a gap and does not hold up the next.
    let mut huge = agent.signal("demo.service", Condition::Raised);
    huge.summary = "x".repeat(600 * 1024);
    let items = vec![Item::Signal { signal: Box::new(huge) }, agent.raised("demo.service")];
    assert_eq!(agent.items(1, items).await.items_through, 2);
    assert_eq!(world.running.app.ledger.state().incidents.len(), 1);
    world.stop().await;
}
