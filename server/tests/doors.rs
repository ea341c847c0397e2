//! Who may do what, at every door: the whole route table against every kind of principal, and what comes from
//! outside in every bad shape.

mod common;

use common::{World, name, read};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use sopwith_domain::command::Command;
use sopwith_domain::people::Role;
use sopwith_server::auth::{accounts, one_time, throttle, token};
use sopwith_server::routes::{Door, Face, Need, Route, table};

/// Compares with a golden file, or writes it when UPDATE_GOLDEN is set.
fn golden(path: &str, text: &str) {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{path} is not what is built; look at the difference and run with UPDATE_GOLDEN=1");
}

fn filled(route: &Route) -> String {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { "0" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn who_may_use_which_route_is_written_down() {
    let mut rows: Vec<String> = table()
        .iter()
        .map(|route| {
            let need = match route.need {
                Need::Nobody => "anybody".to_owned(),
                Need::Agent => "agent".to_owned(),
                Need::Role(role) => role.to_string(),
            };
            let door = format!("{:?}", route.door).to_lowercase();
            format!("{door} {need} {} {}", route.method, route.path)
        })
        .collect();
    rows.sort();
    // Pages that are in debug builds only are not part of the promise.
    rows.retain(|row| !row.contains("/dev/"));
    golden("tests/golden/routes.txt", &(rows.join("\n") + "\n"));
    let mut unique = rows.clone();
    unique.dedup();
    assert_eq!(unique.len(), rows.len());
}

/// How a request fared with the guard.
#[derive(Debug, PartialEq, Eq)]
enum Fared {
    Passed,
    Unknown,
    RoleTooLow,
}

async fn fared(response: reqwest::Response, face: Face) -> Fared {
    let status = response.status();
    let to_login = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
    if face == Face::Page && to_login.is_some_and(|to| to.starts_with("/login?next=")) {
        return Fared::Unknown;
    }
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        let text = response.text().await.unwrap();
        return match text {
            text if text.contains("role-too-low") => Fared::RoleTooLow,
            text if text.contains("unauthenticated") || text.contains("no-certificate") => Fared::Unknown,
            _ => Fared::Passed,
        };
    }
    Fared::Passed
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_with_every_principal() {
    let world = World::start().await;
    let mut people = vec![("anonymous".to_owned(), None, None)];
    for role in Role::ALL {
        people.push((role.to_string(), Some(world.token(&role.to_string()).await), Some(role)));
    }
    // Disabled in the journal alone: the token's row is still valid, and must not help.
    world.person("disabled", Role::Admin).await;
    let disabled = world.token("disabled").await;
    let command = Command::DisablePerson { name: name("disabled"), by: name("admin") };
    world.running.app.ledger.decide(command).await.unwrap();
    people.push(("disabled".to_owned(), Some(disabled), None));
    let (id, revoked) = token::make(&world.running.app, &name("admin"), "t".into(), None).await.unwrap();
    token::revoke(&world.running.app, &name("admin"), &id).await.unwrap();
    people.push(("revoked token".to_owned(), Some(revoked), None));
    people.push(("nonsense token".to_owned(), Some("x'; DROP TABLE tokens; --".into()), None));
    let agent = world.agent("web-1").await;

    let mut asked = 0;
    for route in table() {
        let base = match route.door {
            Door::Operator => world.url(""),
            Door::Agent => world.agent_url(""),
        };
        let url = base + &filled(&route);
        for (who, token, role) in &people {
            let mut request = world.http.request(route.method.clone(), &url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let got = fared(request.send().await.unwrap(), route.face).await;
            let expected = match (route.need, role) {
                (Need::Nobody, _) => Fared::Passed,
                (Need::Role(needed), Some(role)) if *role >= needed => Fared::Passed,
                (Need::Role(_), Some(_)) => Fared::RoleTooLow,
                (Need::Role(_), None) | (Need::Agent, _) => Fared::Unknown,
            };
            assert_eq!(got, expected, "{} {} as {who}", route.method, route.path);
            asked += 1;
        }
        // A host's certificate opens its own door's routes, and no others.
        let request = agent.http.request(route.method.clone(), &url);
        let got = fared(request.send().await.unwrap(), route.face).await;
        let expected = if matches!(route.need, Need::Role(_)) { Fared::Unknown } else { Fared::Passed };
        assert_eq!(got, expected, "{} {} as a host", route.method, route.path);
    }
    assert!(asked >= 40 * 8, "{asked} requests");

    // What is on one door is not on the other, and what is nowhere is 404.
    for url in
        [world.url("/agent/v1/exchange"), world.agent_url("/api/v1/whoami"), world.url("/api/v1/nothing")]
    {
        assert_eq!(agent.http.get(url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
    let wrong_method = world.http.delete(world.url("/api/v1/whoami")).send().await.unwrap();
    assert_eq!(wrong_method.status(), StatusCode::METHOD_NOT_ALLOWED);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_in_session_and_log_out() {
    let world = World::start().await;
    let app = &world.running.app;
    let by = name("admin");
    accounts::add(app, by, name("alice"), Role::Operator, "correct horse battery".into()).await.unwrap();
    let login = |password: &str| {
        let body = json!({ "name": "alice", "password": password });
        world.http.post(world.url("/api/v1/session")).json(&body).send()
    };
    assert_eq!(login("wrong horse battery").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let response = login("correct horse battery").await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-sopwith=sps_"), "{cookie}");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap().to_owned();
    let who = || world.http.get(world.url("/api/v1/whoami")).header("cookie", &pair).send();
    assert_eq!(read(who().await.unwrap()).await.1, json!({ "name": "alice", "role": "operator" }));

    // Another site's page cannot use the cookie to write.
    let stop = |site: &'static str| {
        let request = world.http.post(world.url("/api/v1/stop")).header("cookie", &pair);
        request.header("sec-fetch-site", site).json(&json!({ "reason": "test" })).send()
    };
    assert_eq!(stop("cross-site").await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(world.running.app.ledger.state().stop.is_none());
    assert_eq!(stop("same-origin").await.unwrap().status(), StatusCode::OK);

    let out = world.http.delete(world.url("/api/v1/session")).header("cookie", &pair).send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert_eq!(who().await.unwrap().status(), StatusCode::UNAUTHORIZED);

    // A new password and a disabled account end sessions at once.
    let response = login("correct horse battery").await.unwrap();
    let (_, session) = read(response).await;
    let token = session["token"].as_str().unwrap();
    assert_eq!(world.get(token, "/api/v1/whoami").await.0, StatusCode::OK);
    accounts::disable(app, name("admin"), name("alice")).await.unwrap();
    assert_eq!(world.get(token, "/api/v1/whoami").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(login("correct horse battery").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down() {
    let world = World::start().await;
    let login = |name: &str| {
        let body = json!({ "name": name, "password": "guess guess guess" });
        world.http.post(world.url("/api/v1/session")).json(&body).send()
    };
    for _ in 0..throttle::PAIR_MAX {
        assert_eq!(login("nobody").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let response = login("nobody").await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: i64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=throttle::WINDOW_MS / 1000 + 1).contains(&wait));
    assert_eq!(login("viewer").await.unwrap().status(), StatusCode::UNAUTHORIZED, "others still may try");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_login_is_one() {
    let world = World::start().await;
    let app = &world.running.app;
    let secret = one_time::make(app, &name("viewer")).await.unwrap();
    let (who, session) = one_time::spend(app, &secret).await.unwrap();
    assert_eq!(who, name("viewer"));
    assert_eq!(world.get(&session.token, "/api/v1/whoami").await.1["name"], "viewer");
    one_time::spend(app, &secret).await.unwrap_err();
    one_time::spend(app, "spo_never").await.unwrap_err();
    one_time::make(app, &name("stranger")).await.unwrap_err();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_link_is_not_used_up_by_a_look() {
    let world = World::start().await;
    let secret = one_time::make(&world.running.app, &name("viewer")).await.unwrap();
    let url = world.url(&format!("/login/once/{secret}"));
    let preview = world.http.get(&url).send().await.unwrap();
    assert_eq!(preview.status(), StatusCode::OK, "looking at the link does not use it up");
    let first = world.http.post(&url).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    assert!(first.headers()[header::SET_COOKIE].to_str().unwrap().starts_with("__Host-sopwith=sps_"));
    let second = world.http.post(&url).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::FORBIDDEN);
    assert!(second.headers().get(header::SET_COOKIE).is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_ones_own_and_end_when_revoked() {
    let world = World::start().await;
    let viewer = world.token("viewer").await;
    let (status, made) = world.post(&viewer, "/api/v1/tokens", json!({ "name": "ci", "valid_s": 60 })).await;
    assert_eq!(status, StatusCode::CREATED);
    let token = made["token"].as_str().unwrap();
    assert_eq!(world.get(token, "/api/v1/whoami").await.1["role"], "viewer");
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    let admin = world.token("admin").await;
    let other = world.ask(&admin, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND, "not even an admin's");
    let own = world.ask(&viewer, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(own.status(), StatusCode::NO_CONTENT);
    assert_eq!(world.get(token, "/api/v1/whoami").await.0, StatusCode::UNAUTHORIZED);
    let stored = std::fs::read(world.dir.path().join("data/sopwith.db-wal")).unwrap();
    let secret = token.as_bytes();
    assert!(!stored.windows(secret.len()).any(|window| window == secret), "only hashes are stored");
    world.stop().await;
}

#[test]
fn the_api_description_is_the_golden_one() {
    golden("openapi.json", &sopwith_server::api::openapi::text());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_clean() {
    let world = World::start().await;
    let agent = world.agent("web-1").await;
    agent.items(1, vec![agent.raised("demo.service")]).await;
    let viewer = world.token("viewer").await;
    let response = world.ask(&viewer, Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    for line in ["sopwith_hosts{state=\"connected\"} 1", "sopwith_incidents{phase=\"awaiting_approval\"} 1"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let (_, targets) = world.get(&viewer, "/api/v1/sd").await;
    assert_eq!(targets[0]["targets"], json!(["192.0.2.1:9631"]));
    let mut lint = std::process::Command::new("promtool");
    lint.args(["check", "metrics"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    match lint.stderr(std::process::Stdio::piped()).spawn() {
        Err(error) => eprintln!("NOT CHECKED: promtool cannot be run ({error}); install Debian's prometheus"),
        Ok(mut child) => {
            use std::io::Write;
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.trim().is_empty(), "{said}");
        }
    }
    world.stop().await;
}
