//! What people read: fixed answers of the API, printed at 80 columns, held by golden files.

mod common;

use common::{Home, Server, ago, digest, golden, incident, page, plan, summary};
use serde_json::json;

#[track_caller]
fn fits(text: &str) {
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn lists_are_tables_that_fit() {
    let server = Server::new();
    let long = "filesystem /var/log/a-very-long-name-of-a-place is 97 % full and grows, full in 20 min";
    server.on(
        "GET /incidents",
        200,
        &page(&[
            summary(7, "awaiting_approval", "nginx.service failed"),
            summary(12, "needs_person", long),
            summary(1234, "closed", "evil\u{1b}[2J title\nINC-1 forged row"),
        ]),
    );
    server.on(
        "GET /runs",
        200,
        &page(&[
            json!({"run": digest('a'), "host": "web-1", "incident": 7, "playbook": "restart-failed-unit",
                   "title": "Start a unit again that failed", "end": {"end": "resolved"}, "cancel_requested": null,
                   "records": [{"at": ago(200), "record": "accepted", "step": null, "sentence": "order taken", "what": null}]}),
            json!({"run": digest('b'), "host": "db-1", "incident": null, "playbook": null, "title": null,
                   "end": null, "cancel_requested": "alice", "records": []}),
        ]),
    );
    let host = |name: &str, state: &str, lost: u64| {
        json!({"host": name, "state": state, "epoch": 1, "enrolled_at": ago(90_000), "last_seen": ago(5 * 60 + 20),
               "agent_version": "0.1.0", "facts": {}, "open_incidents": 2, "items_lost": lost,
               "declarations": ["maintenance of unit:nginx.service until 2026-01-31T04:00:00Z by alice: upgrade"]})
    };
    server.on(
        "GET /hosts",
        200,
        &page(&[host("web-1", "connected", 0), host("db-1.example.net", "silent", 12)]),
    );
    server.on(
        "GET /playbooks",
        200,
        &page(&[json!({"id": "restart-failed-unit", "version": 3, "title": "Start a unit again that failed",
               "risk": "approval", "digest": digest('c'), "signer": "ops@example.net", "text": "", "signature": ""})]),
    );
    let row = |of: &str,
               name: Option<&str>,
               host: Option<&str>,
               at_once: Option<(u32, u32)>,
               hour: (u32, u32)| {
        json!({"of": of, "name": name, "host": host, "under_way": at_once.map(|a| a.0), "at_once": at_once.map(|a| a.1),
               "hour_used": hour.0, "hour_max": hour.1})
    };
    server.on(
        "GET /budgets",
        200,
        &page(&[
            row("overall", None, None, Some((1, 10)), (12, 60)),
            row("sop", Some("restart-failed-unit"), None, Some((1, 5)), (3, 40)),
            row("host", Some("web-1"), None, Some((1, 1)), (4, 20)),
            row("service", Some("unit:nginx.service"), Some("web-1"), None, (4, 4)),
        ]),
    );
    let home = Home::new(Some(&server));
    let mut all = String::new();
    for args in
        [&["incident", "list"][..], &["run", "list"], &["host", "list"], &["playbook", "list"], &["budget"]]
    {
        let ran = home.sopwith(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        fits(&ran.out);
        all.push_str(&format!("$ sopwith {}\n{}\n", args.join(" "), ran.out));
    }
    golden("lists.txt", &all);
}

#[test]
fn empty_lists_say_what_will_appear_and_how() {
    let server = Server::new();
    let home = Home::new(Some(&server));
    let mut all = String::new();
    for (route, args) in [
        ("GET /incidents", &["incident", "list"][..]),
        ("GET /runs", &["run", "list"]),
        ("GET /hosts", &["host", "list"]),
        ("GET /playbooks", &["playbook", "list"]),
    ] {
        server.on(route, 200, &page(&[]));
        all.push_str(&home.sopwith(args).out);
    }
    golden("empty.txt", &all);
}

/// Relative times grow with the calendar; what they are is tested beside `words`.
fn without_relative(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(" UTC (") {
            Some((at, _)) => format!("{at} UTC (…)\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn an_incident_is_shown_and_explained() {
    let server = Server::new();
    server.on("GET /incidents/7", 200, &incident(&plan('a', "nginx.service")));
    let home = Home::new(Some(&server));
    let shown = home.sopwith(&["incident", "show", "INC-7"]);
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    fits(&shown.out);
    golden("incident.txt", &without_relative(&shown.out));
    let full = home.sopwith(&["incident", "show", "7", "--full"]);
    assert!(full.out.contains("line 1\n") && !shown.out.contains("line 1\n"));
    let explained = home.sopwith(&["explain", "inc-7"]);
    fits(&explained.out);
    golden("explain.txt", &without_relative(&explained.out));
}

#[test]
fn programs_get_the_answer_as_it_came() {
    let server = Server::new();
    let items = [summary(7, "closed", "a \u{1b}[31m title")];
    server.on("GET /incidents", 200, &page(&items));
    let home = Home::new(Some(&server));
    let json = home.sopwith(&["incident", "list", "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.out).ok(), Some(json!(items)));
    assert!(!json.out.contains('\u{1b}'), "JSON escapes it");
    let yaml = home.sopwith(&["incident", "list", "--output", "yaml"]);
    assert!(yaml.out.contains("number: INC-7") && !yaml.out.contains('\u{1b}'), "{}", yaml.out);
}

#[test]
fn doctor_says_what_to_do() {
    let server = Server::new();
    server.on_text("GET /readyz", 200, "ok");
    server.on("GET /whoami", 200, &json!({"name": "alice", "role": "approver"}));
    server.on(
        "GET /automation",
        200,
        &json!({"stopped": true, "by": "bob", "reason": "storage is moved", "since": ago(200)}),
    );
    server.on(
        "GET /hosts",
        200,
        &page(&[
            json!({"host": "db-1", "state": "silent", "epoch": 1, "enrolled_at": ago(1), "last_seen": null,
               "agent_version": null, "facts": {}, "open_incidents": 0, "declarations": [], "items_lost": 0}),
        ]),
    );
    server.on("GET /incidents", 200, &page(&[summary(7, "awaiting_approval", "t")]));
    let home = Home::new(Some(&server));
    let ran = home.sopwith(&["doctor"]);
    assert_eq!(ran.code, 1, "a silent agent is a failure: {ran:?}");
    fits(&ran.out);
    golden("doctor.txt", &ran.out.replace(&server.url, "http://127.0.0.1:PORT"));
}
