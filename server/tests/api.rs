//! The API's promises: decisions on exactly what was read, repeats that are done once, documents that are signed,
//! types that are what their description says.

mod common;

use common::{PLAYBOOK, World, read};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value as Json, json};
use sopwith_domain::command::Command::AskDryRun;
use sopwith_domain::ids::IncidentId;
use sopwith_protocol::signature::{APPROVAL_NAMESPACE, PLAYBOOK_NAMESPACE, sign};

async fn proposed(world: &World) -> String {
    let agent = world.agent("web-1").await;
    agent.items(1, vec![agent.raised("demo.service")]).await;
    let viewer = world.token("viewer").await;
    let response = world.ask(&viewer, Method::GET, "/api/v1/incidents/1").send().await.unwrap();
    let etag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
    let plan = read(response).await.1["plan"].as_str().unwrap().to_owned();
    assert_eq!(etag, format!("\"{plan}\""));
    plan
}

async fn decide(
    world: &World,
    who: &str,
    plan: &str,
    what: &str,
    read_before: &str,
    body: Json,
) -> (StatusCode, Json) {
    let token = world.token(who).await;
    let ask = world.ask(&token, Method::POST, &format!("/api/v1/plans/{plan}/{what}"));
    read(ask.header("if-match", read_before).json(&body).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_about_what_was_read() {
    let world = World::start().await;
    let plan = proposed(&world).await;
    let quoted = format!("\"{plan}\"");
    let approver = world.token("approver").await;
    let path = format!("/api/v1/plans/{plan}/approve");
    let (status, problem) = world.post(&approver, &path, json!({})).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::PRECONDITION_REQUIRED, &json!("/problems/if-match-required"))
    );
    let other = format!("\"{}\"", "0".repeat(64));
    let (status, problem) = decide(&world, "approver", &plan, "approve", &other, json!({})).await;
    assert_eq!((status, &problem["errors"]), (StatusCode::PRECONDITION_FAILED, &json!([plan])));

    // A new version of the playbook makes the plan void; who read the old one is told so.
    let newer = PLAYBOOK.replace("version: 1", "version: 2").replace("timeout_s: 30", "timeout_s: 40");
    let admin = world.token("admin").await;
    let signed = serde_json::to_value(world.signed(PLAYBOOK_NAMESPACE, &newer)).unwrap();
    assert_eq!(world.post(&admin, "/api/v1/playbooks", signed).await.0, StatusCode::CREATED);
    let (status, problem) = decide(&world, "approver", &plan, "approve", &quoted, json!({})).await;
    let changed = (StatusCode::PRECONDITION_FAILED, json!("/problems/plan-changed"));
    assert_eq!((status, problem["type"].clone()), changed, "another plan stands there at once");
    let (_, incident) = world.get(&approver, "/api/v1/incidents/INC-1").await;
    assert_eq!(
        (&incident["phase"], &problem["errors"]),
        (&json!("awaiting_approval"), &json!([incident["plan"]]))
    );
    let told = incident["timeline"].to_string();
    assert!(told.contains("playbook start-it was replaced by version 2"), "{told}");
    let agent = world.agent("web-2").await;
    agent.items(1, vec![agent.raised("demo.service")]).await;
    let (_, incident) = world.get(&approver, "/api/v1/incidents/INC-2").await;
    let plan = incident["plan"].as_str().unwrap();
    let quoted = format!("\"{plan}\"");
    let (status, problem) = decide(&world, "operator", plan, "approve", &quoted, json!({})).await;
    assert_eq!((status, &problem["type"]), (StatusCode::FORBIDDEN, &json!("/problems/role-too-low")));
    let (status, _) = decide(&world, "approver", plan, "deny", &quoted, json!({ "reason": "" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "a denial needs a reason");
    let (status, _) = decide(&world, "approver", plan, "deny", &quoted, json!({ "reason": "not now" })).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, incident) = world.get(&approver, "/api/v1/incidents/INC-2").await;
    assert_eq!(incident["phase"], "needs_person");
    assert_eq!(world.get(&approver, &format!("/api/v1/plans/{plan}")).await.0, StatusCode::GONE);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approvers_signature_must_be_his_own() {
    let world = World::start().await;
    let plan = proposed(&world).await;
    let quoted = format!("\"{plan}\"");
    // The owner's key is allowed to sign, but the approver is somebody else.
    let owner = sign(&world.signer, APPROVAL_NAMESPACE, &plan).unwrap().signature;
    let body = json!({ "signature": owner });
    let (status, problem) = decide(&world, "approver", &plan, "approve", &quoted, body).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/problems/bad-signature"))
    );
    let line = format!("approver@example.com {}\n", world.signer.public_key().to_openssh().unwrap());
    std::fs::write(world.dir.path().join("data/allowed_signers"), line).unwrap();
    world.running.app.signers.reload().unwrap();
    let of_other = sign(&world.signer, APPROVAL_NAMESPACE, &"0".repeat(64)).unwrap().signature;
    let (status, _) =
        decide(&world, "approver", &plan, "approve", &quoted, json!({ "signature": of_other })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let own = sign(&world.signer, APPROVAL_NAMESPACE, &plan).unwrap().signature;
    let (status, view) =
        decide(&world, "approver", &plan, "approve", &quoted, json!({ "signature": own })).await;
    assert_eq!(status, StatusCode::OK, "{view}");
    assert_eq!(view["decisions"][0]["signature"], json!(own));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_done_once() {
    let world = World::start().await;
    let operator = world.token("operator").await;
    let ask = |path: &str, key: &str, body: Json| {
        world.ask(&operator, Method::POST, path).header("idempotency-key", key).json(&body).send()
    };
    let stop = json!({ "reason": "drill" });
    let (first, answer) = read(ask("/api/v1/stop", "k1", stop.clone()).await.unwrap()).await;
    assert_eq!(first, StatusCode::OK);
    let head = world.running.app.ledger.head();
    let again = ask("/api/v1/stop", "k1", stop.clone()).await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(read(again).await, (StatusCode::OK, answer));
    assert_eq!(world.running.app.ledger.head(), head, "it was not done again");
    let other = ask("/api/v1/stop", "k1", json!({ "reason": "other" })).await.unwrap();
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    // A refusal is an answer too.
    let (refused, _) = read(ask("/api/v1/stop", "k2", stop.clone()).await.unwrap()).await;
    assert_eq!(refused, StatusCode::CONFLICT);
    assert_eq!(ask("/api/v1/stop", "k2", stop.clone()).await.unwrap().status(), StatusCode::CONFLICT);
    // Another person's key is another key.
    let admin = world.token("admin").await;
    let admins = world.ask(&admin, Method::POST, "/api/v1/resume").header("idempotency-key", "k1");
    assert_eq!(admins.json(&stop).send().await.unwrap().status(), StatusCode::OK);
    // A secret is shown once and kept nowhere.
    let token = json!({ "name": "ci" });
    let (made, body) = read(ask("/api/v1/tokens", "k3", token.clone()).await.unwrap()).await;
    assert_eq!(made, StatusCode::CREATED);
    let (status, problem) = read(ask("/api/v1/tokens", "k3", token).await.unwrap()).await;
    assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &json!("/problems/already-done")));
    let stored = std::fs::read(world.dir.path().join("data/sopwith.db-wal")).unwrap();
    let secret = body["token"].as_str().unwrap().as_bytes();
    assert!(!stored.windows(secret.len()).any(|window| window == secret));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_count_when_an_owner_signed_them() {
    let world = World::start().await;
    let admin = world.token("admin").await;
    let post = |signed: Json| world.post(&admin, "/api/v1/playbooks", signed);
    let changed = PLAYBOOK.replace("Starts it again.", "Does something else.");
    let mut forged = serde_json::to_value(world.signed(PLAYBOOK_NAMESPACE, PLAYBOOK)).unwrap();
    forged["text"] = json!(changed);
    let (status, problem) = post(forged).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/problems/bad-signature"))
    );
    let policy_as_playbook = serde_json::to_value(world.policy(PLAYBOOK)).unwrap();
    assert_eq!(post(policy_as_playbook).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let same_version = serde_json::to_value(world.signed(PLAYBOOK_NAMESPACE, &changed)).unwrap();
    assert_eq!(post(same_version).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let broken = serde_json::to_value(world.signed(PLAYBOOK_NAMESPACE, "id: x\n")).unwrap();
    let (status, problem) = post(broken).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!problem["errors"].as_array().unwrap().is_empty(), "all findings are told: {problem}");
    let policy = "version: 1\nauto: []\nhosts: all\n";
    let put =
        world.ask(&admin, Method::PUT, "/api/v1/policy").json(&world.policy(policy)).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let stale = world.policy("version: 1\nauto: [start-it]\nhosts: all\n");
    let put = world.ask(&admin, Method::PUT, "/api/v1/policy").json(&stale).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // A retired playbook stays so, though its file is still in the folder; a bad file is told and the old one kept.
    let retire = world.ask(&admin, Method::DELETE, "/api/v1/playbooks/start-it").send().await.unwrap();
    assert_eq!(retire.status(), StatusCode::NO_CONTENT);
    std::fs::write(world.dir.path().join("playbooks/bad.yaml"), "id: bad").unwrap();
    std::fs::write(world.dir.path().join("playbooks/bad.yaml.sig"), "nonsense").unwrap();
    sopwith_server::documents::load(&world.running.app).await;
    assert!(world.running.app.ledger.state().playbooks.is_empty());
    let (_, ready) = world.get("", "/readyz").await;
    assert_eq!(ready, json!({ "ready": true, "degraded": ["1 signed documents were refused"] }));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_while_they_happen() {
    let world = World::start().await;
    let viewer = world.token("viewer").await;
    let stream = world.ask(&viewer, Method::GET, "/api/v1/events").send().await.unwrap();
    assert_eq!(stream.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = stream.bytes_stream();
    let operator = world.token("operator").await;
    world.post(&operator, "/api/v1/stop", json!({ "reason": "drill" })).await;
    let mut told = String::new();
    while !told.contains("stop_set") {
        told += std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
    }
    let seq = world.running.app.ledger.head().seq;
    assert!(told.contains(&format!("id: {seq}\n")), "{told}");
    // Who comes back after missing something is told to look again.
    let ask = world.ask(&viewer, Method::GET, "/api/v1/events").header("last-event-id", "1");
    let mut stream_again = ask.send().await.unwrap().bytes_stream();
    let first = stream_again.next().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("resync"));
    // Open streams do not hold up the end.
    world.stop().await;
    while let Some(Ok(_)) = stream.next().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_tried_with_other_documents() {
    let world = World::start().await;
    proposed(&world).await;
    let operator = world.token("operator").await;
    let document = sopwith_server::api::openapi::document();
    let schema = json!({ "$ref": "#/components/schemas/BacktestView" });
    let path = "/api/v1/backtest";
    let (status, today) = world.post(&operator, path, json!({ "since_s": 86_400 })).await;
    assert_eq!(status, StatusCode::OK, "{today}");
    check(&document, &schema, &today, path);
    assert_eq!((&today["rows"][0]["would"], &today["would"]["ask"]), (&json!("ask"), &json!(1)), "{today}");
    let auto = PLAYBOOK.replace("risk: approval", "risk: auto").replace("version: 1", "version: 2");
    assert_ne!(auto, PLAYBOOK);
    let policy = "version: 1\nauto: [start-it]\nhosts: all\n";
    let body = json!({ "since_s": 86_400, "playbooks": [auto], "policy": policy });
    let (_, tomorrow) = world.post(&operator, path, body.clone()).await;
    assert_eq!(tomorrow["rows"][0]["would"], "run", "{tomorrow}");
    assert_eq!(tomorrow["automatic_runs"], 1);
    let (_, again) = world.post(&operator, path, body).await;
    assert_eq!(again["rows"], tomorrow["rows"]);
    let bad = json!({ "since_s": 60, "playbooks": ["id: [\n"] });
    assert_eq!(world.post(&operator, path, bad).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        world.post(&operator, path, json!({ "since_s": 0 })).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_what_their_description_says() {
    let world = World::start().await;
    let plan = proposed(&world).await;
    let admin = world.token("admin").await;
    world.agent("db-1").await.items(1, vec![common::inspection("2026-01-01", true)]).await;
    let ask = AskDryRun { incident: IncidentId(1), by: common::name("admin") };
    world.running.app.ledger.decide(ask).await.unwrap();
    let document = sopwith_server::api::openapi::document();
    let paths = [
        "/api/v1/whoami".to_owned(),
        "/api/v1/incidents".into(),
        "/api/v1/incidents/1".into(),
        "/api/v1/incidents/1/dry-run".into(),
        format!("/api/v1/plans/{plan}"),
        "/api/v1/runs".into(),
        "/api/v1/problems".into(),
        "/api/v1/playbooks".into(),
        "/api/v1/playbooks/start-it".into(),
        "/api/v1/hosts".into(),
        "/api/v1/hosts/db-1/inspection".into(),
        "/api/v1/automation".into(),
        "/api/v1/people".into(),
        "/api/v1/tokens".into(),
        "/api/v1/audit".into(),
    ];
    for path in paths {
        let (status, answer) = world.get(&admin, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let routes = document["paths"].as_object().unwrap();
        let matching = |pattern: &str| {
            let (a, b): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
        };
        let (_, route) = routes.iter().find(|(pattern, _)| matching(pattern)).unwrap();
        let schema = &route["get"]["responses"]["2XX"]["content"]["application/json"]["schema"];
        check(&document, schema, &answer, &path);
    }
    world.stop().await;
}

/// Checks a value against as much of JSON Schema as the description uses; fields must be known.
fn check(document: &Json, schema: &Json, value: &Json, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, document.pointer(&reference[1..]).expect(reference), value, place);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        if !value.is_null() {
            check(document, &options[0], value, place);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
        _ => return,
    };
    let fits = types.iter().any(|kind| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    });
    assert!(fits, "{place}: {value} is not {types:?}");
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{place}[{n}]"));
    }
    if let Some(fields) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            assert!(fields.contains_key(required), "{place}: {required} is missing in {value}");
        }
        for (name, field) in fields {
            let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
            let known = known.unwrap_or_else(|| panic!("{place}: {name} is not described"));
            check(document, known, field, &format!("{place}.{name}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_inspection_can_be_read_by_day() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    let viewer = world.token("viewer").await;
    let get = async |path: &str| read(world.ask(&viewer, Method::GET, path).send().await.unwrap()).await;
    let (status, problem) = get("/api/v1/hosts/web-1/inspection").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    let days = [("2026-01-01", false), ("2026-01-01", true), ("2026-01-02", false)];
    agent.items(1, days.iter().map(|(day, complete)| common::inspection(day, *complete)).collect()).await;
    for (query, day, complete) in [
        ("", "2026-01-02", false),
        ("?date=2026-01-01", "2026-01-01", true),
        ("?date=2026-01-02", "2026-01-02", false),
    ] {
        let (status, view) = get(&format!("/api/v1/hosts/web-1/inspection{query}")).await;
        assert_eq!(status, StatusCode::OK, "{view}");
        assert_eq!((&view["day"], &view["complete"]), (&json!(day), &json!(complete)));
        assert_eq!(view["days"], json!(["2026-01-02", "2026-01-01"]));
        assert_eq!(view["checks"][0]["check"], json!("shop"), "what is wrong comes first: {view}");
        assert_eq!(view["checks"][1]["verdict"], json!("pending"));
    }
    for (path, status) in [
        ("/api/v1/hosts/web-1/inspection?date=2025-12-31", StatusCode::NOT_FOUND),
        ("/api/v1/hosts/web-1/inspection?date=yesterday", StatusCode::BAD_REQUEST),
        ("/api/v1/hosts/nobody/inspection", StatusCode::NOT_FOUND),
        ("/hosts/nobody/inspection", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(world.ask(&viewer, Method::GET, path).send().await.unwrap().status(), status, "{path}");
    }
    let page = world.ask(&viewer, Method::GET, "/hosts/web-1/inspection").send().await.unwrap();
    let text = page.text().await.unwrap();
    assert!(text.contains("it answers 503") && text.contains("2 missed"), "{text}");
}
