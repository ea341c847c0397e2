//! Whatever the server says, the terminal shows it and obeys none of it: every text of every answer, one after the
//! other, holds what commands a terminal, turns the direction of writing, or is not seen.

mod common;

use common::{Home, Server, ago, digest, incident, page, plan, problem, summary};
use serde_json::{Value as Json, json};
use sopwith_protocol::plain::misleading;

const CANARY: &str = "CANARY\u{1b}[2J\u{1b}]0;x\u{7}\r\u{9b}31m\0\u{202e}txt.exe\u{200b}\u{feff}\u{2028}";

/// Returns the place of every text in a document.
fn texts(json: &Json, at: &str, found: &mut Vec<String>) {
    match json {
        Json::String(_) => found.push(at.to_owned()),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| texts(item, &format!("{at}/{n}"), found));
        }
        Json::Object(fields) => {
            fields.iter().for_each(|(name, field)| texts(field, &format!("{at}/{name}"), found));
        }
        _ => {}
    }
}

/// Runs a command against each answer that has the canary in one of its texts; returns how many showed some of it.
fn held(route: &str, status: u16, good: &Json, command: &[&str]) -> usize {
    let mut found = Vec::new();
    texts(good, "", &mut found);
    assert!(!found.is_empty(), "{route}");
    let mut shown = 0;
    for (n, at) in found.iter().enumerate() {
        let mut answer = good.clone();
        *answer.pointer_mut(at).expect("it is there") = CANARY.into();
        let server = Server::new();
        server.on(route, status, &answer);
        // Each form of output in its turn.
        let format = ["table", "json", "yaml"][n % 3];
        let ran = Home::new(Some(&server)).sopwith(&[&["-o", format], command].concat());
        for (name, text) in [("output", &ran.out), ("errors", &ran.err)] {
            let raw = text.chars().find(|c| misleading(*c));
            assert_eq!(raw, None, "{command:?} -o {format}, {at}: {name} holds {text:?}");
            shown += usize::from(text.contains("CANARY"));
        }
    }
    shown
}

#[test]
fn no_answer_drives_the_terminal() {
    let plan = plan('1', "nginx.service");
    let run = json!({"run": digest('a'), "host": "web-1", "incident": 7, "playbook": "restart-failed-unit",
        "title": "Start a unit again that failed", "end": {"end": "resolved"}, "cancel_requested": "alice",
        "records": [{"at": ago(200), "record": "accepted", "step": null, "sentence": "order taken", "what": null}]});
    let host = json!({"host": "web-1", "state": "connected", "epoch": 1, "enrolled_at": ago(90_000),
        "last_seen": ago(320), "agent_version": "0.1.0", "facts": {"system": "Debian"}, "open_incidents": 2,
        "items_lost": 1, "declarations": ["a hold by alice"]});
    let mut shown = held("GET /incidents/7", 200, &incident(&plan), &["incident", "show", "INC-7"]);
    shown += held("GET /incidents/7", 200, &incident(&plan), &["explain", "INC-7"]);
    let list = page(&[summary(7, "awaiting_approval", "nginx.service failed")]);
    shown += held("GET /incidents", 200, &list, &["incident", "list"]);
    shown += held("GET /runs", 200, &page(&[run]), &["run", "list"]);
    let speaking = json!({"run": digest('a'), "host": "web-1", "incident": 7, "playbook": "x", "title": "Start it",
        "end": null, "cancel_requested": null, "records": [],
        "live": {"step": 0, "text": "block 3 of 9", "before": 12, "through": 24}});
    shown += held(&format!("GET /runs/{}", digest('a')), 200, &speaking, &["run", "show", &digest('a')]);
    let kept = json!({"id": 3, "number": "PRB-3", "title": "x failed", "state": "closed", "host": "web-1",
        "subject": "unit:x.service", "kind": "unit.failed", "fingerprint": digest('b'), "opened_at": ago(200),
        "why": "the fix was undone", "incidents": [7], "more_incidents": 0,
        "closed": {"at": ago(100), "by": "alice", "root_cause": "a leak"}});
    shown += held("GET /problems/3", 200, &kept, &["problem", "show", "PRB-3"]);
    shown += held("GET /problems", 200, &page(&[kept]), &["problem", "list", "--all"]);
    shown += held("GET /hosts", 200, &page(&[host]), &["host", "list"]);
    let refused = problem(409, "already-decided", "It is not so any more", "somebody was faster");
    shown += held("GET /hosts", 409, &refused, &["host", "list"]);
    assert!(shown >= 20, "{shown} of the texts were shown at all");
}
