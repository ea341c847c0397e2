//! A server of fixed answers and a place of its own for each test to run `sopwith` in.
#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

type Routes = BTreeMap<String, (u16, String)>;

/// A server that answers `METHOD /path` (without the query) and remembers what it was asked.
pub struct Server {
    pub url: String,
    routes: Arc<Mutex<Routes>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Self { url, routes: Arc::default(), requests: Arc::default() };
        let (routes, requests) = (server.routes.clone(), server.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (routes, requests) = (routes.clone(), requests.clone());
                std::thread::spawn(move || answer(stream, &routes, &requests));
            }
        });
        server
    }

    pub fn on(&self, route: &str, status: u16, body: &Json) -> &Self {
        self.on_text(route, status, &body.to_string())
    }

    pub fn on_text(&self, route: &str, status: u16, body: &str) -> &Self {
        let (method, path) = route.split_once(' ').expect("METHOD /path");
        let prefix = if path.starts_with("/readyz") { "" } else { "/api/v1" };
        self.routes
            .lock()
            .expect("routes")
            .insert(format!("{method} {prefix}{path}"), (status, body.to_owned()));
        self
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }

    /// Returns the requests that change something.
    pub fn writes(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|r| !r.line.starts_with("GET ")).collect()
    }
}

fn answer(stream: TcpStream, routes: &Mutex<Routes>, requests: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let target = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let route = target.split('?').next().unwrap_or_default().to_owned();
    let body = String::from_utf8(body).expect("text");
    requests.lock().expect("requests").push(Request { line: target, headers, body });
    let (status, body) = routes.lock().expect("routes").get(&route).cloned().unwrap_or_else(|| {
        let detail = format!("{route} is not there");
        (
            404,
            json!({"type": "/problems/not-found", "title": "Not found", "status": 404, "detail": detail})
                .to_string(),
        )
    });
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\ndate: {}\r\n\r\n",
        body.len(),
        http_date_now()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// Returns the `Date` header of now, by way of `date`, which every Debian has.
fn http_date_now() -> String {
    let out = Command::new("date").args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C").output();
    String::from_utf8(out.expect("date runs").stdout).expect("text").trim().to_owned()
}

/// A home of its own for one test, removed when it ends.
pub struct Home {
    pub dir: tempfile::TempDir,
    url: Option<String>,
}

impl Home {
    pub fn new(server: Option<&Server>) -> Self {
        Self { dir: tempfile::tempdir().expect("a folder"), url: server.map(|s| s.url.clone()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sopwith"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("HOME", self.dir.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        if let Some(url) = &self.url {
            command.env("SOPWITH_URL", url).env("SOPWITH_TOKEN", "secret-token");
        }
        command
    }

    pub fn sopwith(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("sopwith runs"))
    }

    pub fn sopwith_fed(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sopwith runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("input is taken");
        Ran::from(child.wait_with_output().expect("it ends"))
    }
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Compares with `tests/golden/NAME`; with `UPDATE_GOLDEN=1` the file is written instead.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the golden file is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; UPDATE_GOLDEN=1 cargo test -p sopwith-cli writes it anew");
}

/// Returns the time so many seconds ago (or ahead, if negative), as the API writes it.
pub fn ago(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    let at = i64::try_from(now).expect("a clock before the year 292 million") - seconds * 1000;
    sopwith_domain::time::Timestamp(at).to_string()
}

pub fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

pub fn page(items: &[Json]) -> Json {
    json!({"items": items})
}

pub fn problem(status: u16, code: &str, title: &str, detail: &str) -> Json {
    json!({"type": format!("/problems/{code}"), "title": title, "status": status, "detail": detail})
}

pub fn plan(digit: char, unit: &str) -> Json {
    json!({
        "digest": digest(digit), "incident": 7, "host": "web-1", "playbook": "restart-failed-unit", "version": 3,
        "title": "Start a unit again that failed", "risk": "approval", "attempt": 1,
        "parameters": {"unit": unit, "health": "http://127.0.0.1:8081/health"},
        "steps": [
            {"name": "Forget the failure", "sentence": format!("Clear the failed state of {unit}"), "action": {},
             "require": [], "expect": [], "undo": "nothing is left behind that could be put back", "timeout_s": 5},
            {"name": "Start it", "sentence": format!("Start {unit}"), "action": {},
             "require": [format!("{unit} is not active")], "expect": [format!("{unit} is active")],
             "undo": "the state that the unit had before comes back", "timeout_s": 30}
        ],
        "verify": [format!("{unit} is active"), "http://127.0.0.1:8081/health answers with success"],
        "soak_s": 10, "proposed_at": "2026-01-31T03:12:05Z", "expires_at": "2026-01-31T04:12:05Z",
        "required_approvals": 1, "decisions": [], "approved_until": null, "state": "waiting",
    })
}

pub fn summary(number: u64, phase: &str, title: &str) -> Json {
    json!({
        "id": number, "number": format!("INC-{number}"), "title": title, "host": "web-1",
        "subject": "unit:nginx.service", "kind": "unit.failed", "priority": "P2", "phase": phase,
        "status": "waits for 1 approval", "opened_at": ago(200), "signals": 3, "playbook": "restart-failed-unit",
        "plan": digest('a'), "needs_decision": phase == "awaiting_approval",
    })
}

pub fn incident(plan_view: &Json) -> Json {
    let mut view = summary(7, "awaiting_approval", "nginx.service failed on web-1");
    let reasons = |texts: &[(bool, &str)]| -> Vec<Json> {
        texts.iter().map(|(speaks_for, text)| json!({"speaks_for": speaks_for, "text": text})).collect()
    };
    let more = json!({
        "opened_at": "2026-01-31T03:12:00Z", "rule": "units.failed", "severity": "critical",
        "priority_reason": "one unit is down", "cleared": false,
        "fields": {"unit_result": "exit-code", "exit_status": "1"},
        "evidence": [{"title": "journal of nginx.service", "text": (1..=12).map(|n| format!("line {n}\n")).collect::<String>()}],
        "candidates": [
            {"playbook": "restart-failed-unit", "version": 3, "matches": true, "priority": 0,
             "reasons": reasons(&[(true, "it answers unit.failed"), (true, "unit_result is exit-code")])},
            {"playbook": "restore-config", "version": 1, "matches": false, "priority": 10,
             "reasons": reasons(&[(true, "it answers unit.failed"), (false, "the signal does not carry config_drifted")])}
        ],
        "why_not": null, "plan_view": plan_view, "runs": [],
        "timeline": [
            {"at": "2026-01-31T03:12:00Z", "by": "host web-1", "text": "nginx.service failed: exit-code 1"},
            {"at": "2026-01-31T03:12:05Z", "by": "sopwith", "text": "proposed restart-failed-unit"}
        ],
    });
    let fields = view.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    view
}
