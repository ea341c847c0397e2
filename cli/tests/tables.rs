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
               "risk": "approval", "digest": digest('c'), "signer": "ops@example.net", "text": "", "signature": ""}),
               json!({"id": "fs-full", "version": 1, "title": "Make room", "risk": "auto", "digest": digest('d'),
               "signer": "ops@example.net", "text": "", "signature": "",
               "trust": [{"environment": "all", "stage": "suggest", "count": 2, "runs": 5, "since": null,
                          "reason": "5 dry runs with nothing in the way"}]})]),
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

#[test]
fn trust_is_gained_before_autonomy() {
    let server = Server::new();
    let asked = |check: &str, holds: Option<bool>, detail: &str| json!({"check": check, "holds": holds, "detail": detail});
    server.on(
        "POST /incidents/7/dry-run",
        200,
        &json!({
            "plan": digest('a'), "asked_by": "carol", "asked_at": ago(2), "state": "looked", "looked_at": ago(1),
            "reason": null, "against": "hold by bob: he looks at it himself",
            "steps": [{
                "sentence": "Restart nginx.service",
                "require": [asked("nginx.service is not active", Some(false), "it is active")],
                "would": ["nginx.service, now active (running), would be ended and started anew"], "cannot": null
            }, {
                "sentence": "Run /usr/bin/true", "require": [], "would": [],
                "cannot": "not asked: a dry run starts no program, not even /usr/bin/true"
            }],
            "verify": [asked("nginx.service is active", Some(true), ""), asked("/bin/x exits with 0", None, "not asked: a dry run starts no program")]
        }),
    );
    let row = |n: u64, would: &str, brake: Option<&str>| {
        json!({"incident": n, "at": ago(9000), "host": "web-1", "kind": "unit.failed", "subject": "unit:nginx.service",
               "then_playbook": null, "then": "a person was called", "playbook": "service-not-running", "would": would,
               "brake": brake, "reason": "", "after_ms": null, "runs": 1})
    };
    server.on(
        "POST /backtest",
        200,
        &json!({"since": ago(2_592_000), "until": ago(0), "left_out": 0, "automatic_runs": 1, "chosen_otherwise": 2,
                "would": {"run": 1, "hold": 1}, "brakes": {"tries": 1},
                "rows": [row(7, "run", None), row(8, "hold", Some("tries"))]}),
    );
    let home = Home::new(Some(&server));
    let mut all = String::new();
    for args in [&["run", "--dry-run", "INC-7"][..], &["backtest", "--since", "30d"]] {
        let ran = home.sopwith(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        fits(&ran.out);
        all.push_str(&format!("$ sopwith {}\n{}\n", args.join(" "), without_relative(&ran.out)));
    }
    let all: Vec<&str> = all.lines().filter(|line| !line.contains(" UTC (")).collect();
    golden("trust.txt", &all.join("\n"));
    assert!(server.writes()[1].body.contains("2592000"));
    assert_eq!(home.sopwith(&["backtest", "--since", "soon"]).code, 2);
}

#[test]
fn playbooks_are_tried_without_a_server() {
    let home = Home::new(None);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../playbooks");
    let ran = home.sopwith(&["playbook", "test", shipped]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("all hold"), "{}", ran.out);

    std::fs::create_dir_all(home.path("p/cases")).unwrap();
    let playbook = |version: u32, risk: &str, kind: &str| {
        format!(
            "id: cache\nversion: {version}\ntitle: Start it\npurpose: It runs.\nscope: One unit.\nrisk: {risk}\n\
             answers: [{{kind: {kind}, where: {{result: [signal]}}, host: {{role: [cache]}}}}]\n\
             parameters: {{unit: {{type: unit, from: subject}}}}\n\
             steps: [{{name: start, do: unit.start, with: {{unit: $unit}}, timeout_s: 10}}]\n\
             verify: [{{check: unit.active, with: {{unit: $unit}}}}]\nsoak_s: 5\nescalation: Look.\n"
        )
    };
    std::fs::write(home.path("p/cache.yaml"), playbook(1, "approval", "unit.failed")).unwrap();
    std::fs::write(home.path("new.yaml"), playbook(2, "auto", "unit.gone")).unwrap();
    let cases = "- name: a cache\n  kind: unit.failed\n  subject: unit:a.service\n  fields: {result: signal}\n  \
                 host: {role: cache}\n  chosen: cache\n- name: elsewhere\n  kind: unit.failed\n  subject: unit:a.service\n  \
                 fields: {result: signal}\n  host: {role: web}\n  chosen: cache\n";
    std::fs::write(home.path("p/cases/cache.yaml"), cases).unwrap();
    let ran = home.sopwith(&["playbook", "test", "p"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let mut all = format!("$ sopwith playbook test p\n{}\n", ran.out);
    for args in [
        &["playbook", "explain", "p/cases/cache.yaml"][..],
        &["playbook", "diff", "p/cache.yaml", "new.yaml"],
    ] {
        let ran = home.sopwith(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        fits(&ran.out);
        let digests = |word: &str| {
            word.len() == 14 && word.starts_with('(') && word[1..13].chars().all(|c| c.is_ascii_hexdigit())
        };
        let told: Vec<String> = ran
            .out
            .lines()
            .map(|line| {
                line.split(' ')
                    .map(|word| if digests(word) { "(DIGEST)" } else { word })
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        all.push_str(&format!("$ sopwith {}\n{}\n\n", args.join(" "), told.join("\n")));
    }
    golden("try.txt", &all);
    let schema = home.sopwith(&["playbook", "schema"]);
    let mut schema: serde_json::Value = serde_json::from_str(&schema.out).expect("JSON");
    // Which actions, checks and types there are, the domain's own tests hold.
    for (part, named) in [("step", "do"), ("check", "check"), ("parameter", "type")] {
        let names = schema["$defs"][part]["properties"][named]["enum"].take();
        assert!(names.as_array().is_some_and(|names| names.len() > 5), "{part}");
        if part != "parameter" {
            let rules = schema["$defs"][part]["allOf"].take();
            assert_eq!(rules.as_array().map(Vec::len), names.as_array().map(Vec::len), "{part}");
        }
    }
    golden("schema.json", &serde_json::to_string_pretty(&schema).expect("JSON"));
}
