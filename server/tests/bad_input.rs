//! What is malformed, oversized, unknown or unauthenticated, at every route of the table: each is refused in the one
//! shape of refusals, nothing of it is carried out, and no text of it comes back as anything but text. The rows come
//! from the table, so that a new route is held to it by being there.

mod common;

use common::World;
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::Value as Json;
use sopwith_protocol::plain::misleading;
use sopwith_server::routes::{BODY_BYTES_MAX, Door, Face, Need, Route, table};

/// What may stand in a path where a name, number or digest is expected.
const IN_PATHS: [&str; 10] = [
    "0",
    "..%2F..%2Fetc%2Fpasswd",
    "%00",
    "%1B%5B31m",
    "-rf",
    "%7B%7B7*7%7D%7D",
    "%FF%FE",
    "%E2%80%AEfdp",
    "%3Bid%3E%2Fc%0Ax",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
];
/// And what may be asked beside it.
const QUERIES: [&str; 7] = [
    "limit=many&after=%00",
    "after=%1B%5B31m&open=perhaps",
    "page=-1&q=%00%E2%80%AE",
    "nothing_of_the_kind=1",
    "page=18446744073709551616&day=..%2F..",
    "date=%FF&did=%3Cscript%3E",
    "next=%2F%2Fevil.example",
];
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// What a body calls itself, and its bytes.
type Body = (&'static str, Vec<u8>);

/// Returns bodies that no route takes.
fn bodies(limit: usize) -> Vec<Body> {
    let deep = limit.min(30_000);
    vec![
        (JSON, Vec::new()),
        (JSON, b"{".to_vec()),
        (JSON, b"[]".to_vec()),
        (JSON, b"null".to_vec()),
        (JSON, b"{\"nothing_of_the_kind\": 1}".to_vec()),
        (JSON, b"{\"name\": \"\xff\xfe\"}".to_vec()),
        (JSON, [vec![b'['; deep], vec![b']'; deep]].concat()),
        (JSON, b"{\"reason\": 7, \"reason\": 8}".to_vec()),
        (JSON, vec![b' '; limit + 1]),
        (FORM, b"nothing_of_the_kind=1".to_vec()),
        (FORM, b"%ff=%fe&reason=%00&reason=x".to_vec()),
        (FORM, [b"reason=".to_vec(), vec![b'x'; limit]].concat()),
        ("text/plain", b"{}".to_vec()),
        ("", b"{}".to_vec()),
    ]
}

fn filled(route: &Route, with: &str) -> String {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { with } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// What one kind of client may be answered.
struct Asking<'a> {
    world: &'a World,
    http: &'a Client,
    token: Option<&'a str>,
}

impl Asking<'_> {
    async fn ask(&self, route: &Route, path: &str, body: Option<Body>) -> Response {
        let base = match route.door {
            Door::Operator => self.world.url(""),
            Door::Agent => self.world.agent_url(""),
        };
        let mut request = self.http.request(route.method.clone(), base + path);
        request = request.header(header::ACCEPT, if route.face == Face::Page { "text/html" } else { "*/*" });
        request = request.header(header::IF_MATCH, format!("\"{}\"", "0".repeat(64)));
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        if let Some((kind, bytes)) = body {
            request = if kind.is_empty() { request } else { request.header(header::CONTENT_TYPE, kind) };
            request = request.body(bytes);
        }
        request.send().await.unwrap_or_else(|e| panic!("{} {path}: {e:?}", route.method))
    }
}

/// Holds a refusal to its shape: problem details for programs, a page for people, no text that could mislead.
async fn well_refused(response: Response, route: &Route, what: &str) {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let text = response.text().await.unwrap();
    let raw = text.chars().find(|c| misleading(*c));
    assert_eq!(raw, None, "{what}: {text}");
    if route.face == Face::Page {
        assert!(kind.starts_with("text/html") && text.contains("<h1"), "{what}: {status} {kind} {text}");
        assert!(!text.contains("<script>alert"), "{what}: {text}");
        return;
    }
    assert_eq!(kind, "application/problem+json", "{what}: {status} {text}");
    let problem: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status.as_u16(), "{what}: {text}");
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|words| !words.is_empty()), "{what}: {field} in {text}");
    }
}

/// Says whether the route may answer nonsense with something else than a refusal: those that only show do not mind
/// what they are asked beside their path, and leaving is always possible.
fn indifferent(route: &Route) -> bool {
    route.method == Method::GET && !route.path.contains('{') || route.path == "/logout"
}

/// Those that answer any name in their path with a page: it is asked for only when the button is pressed.
fn takes_any_name(route: &Route) -> bool {
    route.method == Method::GET && route.path == "/login/once/{token}"
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_at_every_route_and_changes_nothing() {
    let world = World::start().await;
    let admin = world.token("admin").await;
    let agent = world.agent("web-1").await;
    let before = world.running.app.ledger.head();
    let mut asked = 0;
    for route in table() {
        let http = if route.door == Door::Agent { &agent.http } else { &world.http };
        let asking = Asking { world: &world, http, token: (route.door == Door::Operator).then_some(&admin) };
        let mut tries: Vec<(String, Option<Body>)> = Vec::new();
        if route.path.contains('{') {
            tries.extend(IN_PATHS.iter().map(|name| (filled(&route, name), None)));
            tries.push((filled(&route, &"a".repeat(4000)), None));
        }
        let plain = filled(&route, "0");
        if route.method == Method::GET {
            tries.extend(QUERIES.iter().map(|query| (format!("{plain}?{query}"), None)));
        } else {
            let bodies = bodies(route.body_bytes_max).into_iter();
            tries.extend(bodies.map(|body| (plain.clone(), Some(body))));
        }
        for (path, body) in tries {
            let about = body.as_ref().map(|(kind, b)| format!("{kind} {:.40}", String::from_utf8_lossy(b)));
            let what = format!("{} {path:.120} {}", route.method, about.unwrap_or_default());
            let response = asking.ask(&route, &path, body).await;
            let status = response.status();
            assert!(!status.is_server_error(), "{what}: {status}");
            let shows = indifferent(&route) || takes_any_name(&route);
            assert!(shows || status.is_client_error(), "{what}: {status}");
            if status.is_client_error() {
                well_refused(response, &route, &what).await;
            }
            asked += 1;
        }
        let after = world.running.app.ledger.head();
        assert_eq!(after, before, "{} {} changed something", route.method, route.path);
    }
    assert!(asked >= 700, "{asked} requests");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_before_anything_of_theirs_is_read() {
    let world = World::start().await;
    let before = world.running.app.ledger.head();
    for route in table().iter().filter(|route| route.need != Need::Nobody) {
        let asking = Asking { world: &world, http: &world.http, token: None };
        for name in ["0", "%00", "..%2F..%2Fx", "%FF"] {
            let path = filled(route, name);
            let bodies = [None, Some((JSON, b"{".to_vec())), Some((FORM, vec![b'x'; BODY_BYTES_MAX + 1]))];
            for body in bodies.into_iter().filter(|body| body.is_none() || route.method != Method::GET) {
                let response = asking.ask(route, &path, body).await;
                let what = format!("{} {path}", route.method);
                if route.face == Face::Page {
                    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{what}");
                    let to = response.headers()[header::LOCATION].to_str().unwrap();
                    assert!(to.starts_with("/login?next=/") && !to.contains("%FF"), "{what}: {to}");
                } else {
                    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
                    well_refused(response, route, &what).await;
                }
            }
        }
    }
    assert_eq!(world.running.app.ledger.head(), before);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_heads_without_end_are_refused() {
    let world = World::start().await;
    let admin = world.token("admin").await;
    let before = world.running.app.ledger.head();
    let all = table();
    for route in &all {
        let known = |method: &Method| {
            let get = *method == Method::HEAD && route.method == Method::GET;
            get || all.iter().any(|r| r.door == route.door && r.path == route.path && r.method == *method)
        };
        let base = if route.door == Door::Agent { world.agent_url("") } else { world.url("") };
        let url = base + &filled(route, "0");
        for method in [Method::DELETE, Method::PUT, Method::TRACE, Method::from_bytes(b"BREW").unwrap()] {
            if !known(&method) {
                let asked =
                    world.http.request(method.clone(), &url).bearer_auth(&admin).send().await.unwrap();
                assert_eq!(asked.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {}", route.path);
                assert_eq!(asked.headers()[header::CONTENT_TYPE], "application/problem+json");
            }
        }
    }
    let long = world.http.get(world.url("/")).header("x-long", "a".repeat(200_000)).send().await;
    if let Ok(answer) = long {
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let odd = world.http.get(world.url("/api/v1/whoami"));
    let odd = odd.header(header::AUTHORIZATION, header::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap());
    assert_eq!(odd.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.running.app.ledger.head(), before);
    world.stop().await;
}
