//! Approving and denying: what is sent names what was shown, nothing is sent without a yes, and a plan that changed
//! meanwhile is refused and its difference shown.

mod common;

use common::{Home, Server, digest, incident, plan, problem, summary};
use serde_json::{Value as Json, json};

fn server() -> Server {
    let server = Server::new();
    server.on("GET /incidents/7", 200, &incident(&plan('a', "nginx.service")));
    server.on(&format!("GET /plans/{}", digest('a')), 200, &plan('a', "nginx.service"));
    server.on("GET /incidents", 200, &json!({"items": [summary(7, "awaiting_approval", "t")]}));
    server.on(&format!("POST /plans/{}/approve", digest('a')), 200, &json!({}));
    server.on(&format!("POST /plans/{}/deny", digest('a')), 200, &json!({}));
    server
}

#[test]
fn a_plan_is_approved_however_it_is_named() {
    for name in ["INC-7", "7", &digest('a'), "aaaaaaaaaaaa", "AAAAAAAA"] {
        let server = server();
        let ran = Home::new(Some(&server)).sopwith(&["approve", name, "--yes", "--reason", "seen"]);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert!(
            ran.out.contains("Start nginx.service") && ran.out.contains(&digest('a')),
            "the plan is shown"
        );
        let writes = server.writes();
        let [write] = writes.as_slice() else { panic!("{writes:?}") };
        assert_eq!(write.line, format!("POST /api/v1/plans/{}/approve", digest('a')));
        assert_eq!(write.headers.get("if-match"), Some(&format!("\"{}\"", digest('a'))));
        assert_eq!(write.headers.get("authorization").map(String::as_str), Some("Bearer secret-token"));
        assert_eq!(write.headers.get("idempotency-key").map(String::len), Some(32));
        let body: Json = serde_json::from_str(&write.body).expect("JSON");
        assert_eq!(body, json!({"reason": "seen", "signature": null}));
    }
}

#[test]
fn nothing_is_sent_without_a_yes() {
    let server = server();
    let home = Home::new(Some(&server));
    for args in [
        &["approve", "INC-7"][..],
        &["deny", "INC-7", "--reason", "no"],
        &["stop", "--reason", "x"],
        &["host", "revoke", "web-1"],
    ] {
        let ran = home.sopwith_fed(args, "y\n");
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(ran.err.contains("--yes"), "{ran:?}");
    }
    assert!(server.writes().is_empty(), "{:?}", server.writes());
}

#[test]
fn a_plan_that_changed_is_refused_and_its_difference_shown() {
    let server = server();
    let home = Home::new(Some(&server));
    server.on(&format!("GET /plans/{}", digest('a')), 200, &plan('a', "apache2.service"));
    server.on(
        &format!("POST /plans/{}/approve", digest('a')),
        412,
        &problem(
            412,
            "plan-changed",
            "The plan changed",
            "plan aaaaaaaaaaaa is no longer the one to decide on",
        ),
    );
    let ran = home.sopwith(&["approve", &digest('a'), "--yes"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("nothing was decided: The plan changed"), "{}", ran.err);
    for line in ["-     unit       apache2.service", "+     unit       nginx.service"] {
        assert!(ran.out.contains(line), "{line} in {}", ran.out);
    }
    assert_eq!(server.writes().len(), 1, "it is not tried again");
}

/// A plan as the server makes it, with the sentences that it shows beside it.
fn real_plan(shown: &str) -> Json {
    let playbook = sopwith_domain::playbook::Playbook::parse(
        "{id: p, version: 1, title: Restart the shop, purpose: x, scope: x, risk: approval, escalation: x, soak_s: 5,
          answers: [{kind: unit.failed}], verify: [{check: unit.active, with: {unit: shop.service}}],
          steps: [{name: s, do: unit.restart, with: {unit: shop.service}, timeout_s: 5}]}",
    )
    .expect("it checks");
    let target = json!({"host": "web-1", "epoch": 1, "incident": 7, "attempt": 1, "subject": "unit:shop.service",
                        "fingerprint": digest('f')});
    let target = serde_json::from_value(target).expect("a target");
    let built = sopwith_domain::plan::Plan::build(&playbook, target, Default::default()).expect("a plan");
    let mut view = plan('a', shown);
    view["digest"] = json!(built.digest().to_string());
    view["plan"] = json!(built);
    view
}

#[test]
fn what_is_read_comes_from_the_plan_whose_digest_is_approved() {
    let lie = real_plan("harmless.service");
    let digest_shown = lie["digest"].as_str().expect("a digest").to_owned();
    let server = server();
    server.on("GET /incidents/7", 200, &incident(&lie));
    server.on(&format!("POST /plans/{digest_shown}/approve"), 200, &json!({}));
    let home = Home::new(Some(&server));
    let ran = home.sopwith(&["approve", "INC-7", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Restart shop.service") && !ran.out.contains("harmless.service"), "{}", ran.out);
    assert!(ran.out.contains("computed here"), "{}", ran.out);

    let mut other = lie.clone();
    other["plan"]["steps"][0]["action"]["unit"] = json!("other.service");
    server.on("GET /incidents/7", 200, &incident(&other));
    let before = server.writes().len();
    let ran = home.sopwith(&["approve", "INC-7", "--yes"]);
    assert!(ran.code == 1 && ran.err.contains("do not approve this"), "{ran:?}");
    assert_eq!(server.writes().len(), before, "nothing is sent");
}

#[test]
fn what_cannot_be_checked_is_not_signed() {
    let server = server();
    let home = Home::new(Some(&server));
    assert_eq!(home.sopwith(&["playbook", "keygen", "id"]).code, 0);
    let ran = home.sopwith(&["approve", "INC-7", "--yes", "--sign", "id"]);
    assert!(ran.code == 1 && ran.err.contains("only its word"), "{ran:?}");
    assert!(server.writes().is_empty());
}

#[test]
fn denying_carries_the_reason() {
    let server = server();
    let ran = Home::new(Some(&server)).sopwith(&["deny", "INC-7", "--yes", "--reason", "wrong host"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let writes = server.writes();
    assert!(writes[0].line.ends_with("/deny") && writes[0].body.contains("wrong host"), "{writes:?}");
}

#[test]
fn a_signed_approval_verifies() {
    let server = server();
    let view = real_plan("shop.service");
    let digest_shown = view["digest"].as_str().expect("a digest").to_owned();
    server.on("GET /incidents/7", 200, &incident(&view));
    server.on(&format!("POST /plans/{digest_shown}/approve"), 200, &json!({}));
    let home = Home::new(Some(&server));
    let public = home.sopwith(&["playbook", "keygen", "id", "--comment", "alice"]).out;
    let ran = home.sopwith(&["approve", "INC-7", "--yes", "--sign", "id"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let body: Json = serde_json::from_str(&server.writes()[0].body).expect("JSON");
    let signed = sopwith_domain::order::SignedText {
        text: digest_shown,
        signature: body["signature"].as_str().expect("a signature").into(),
    };
    let signers = sopwith_protocol::signature::AllowedSigners::parse(&public).expect("one signer");
    let who = signers.verify(sopwith_protocol::signature::APPROVAL_NAMESPACE, &signed);
    assert_eq!(who.as_deref(), Ok("alice"));
}

#[test]
fn what_needs_no_decision_says_so() {
    let server = server();
    server.on("GET /incidents/7", 200, &incident(&Json::Null));
    let home = Home::new(Some(&server));
    let ran = home.sopwith(&["approve", "INC-7", "--yes"]);
    assert!(ran.code == 3 && ran.err.contains("sopwith explain INC-7"), "{ran:?}");
    let missing = home.sopwith(&["approve", "INC-8", "--yes"]);
    assert!(missing.code == 1 && missing.err.contains("Not found"), "{missing:?}");
    let nonsense = home.sopwith(&["approve", "nonsense", "--yes"]);
    assert_eq!(nonsense.code, 2, "{nonsense:?}");
}
