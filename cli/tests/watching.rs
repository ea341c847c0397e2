//! `incident watch`: lines appear as events come, and the watch ends as its incident does.

mod common;

use common::{Home, Server, incident, plan};
use serde_json::json;

#[test]
fn the_watch_ends_with_its_incident() {
    for (phase, code) in [("closed", 0), ("needs_person", 1)] {
        let server = Server::new();
        let change = json!({"seq": 9, "event": "incident_closed", "incident": 7, "run": null});
        server.on_text("GET /events", 200, &format!("id: 9\ndata: {change}\n\n"));
        let mut view = incident(&plan('a', "nginx.service"));
        view["phase"] = json!(phase);
        server.on("GET /incidents/7", 200, &view);
        let ran = Home::new(Some(&server)).sopwith(&["incident", "watch", "INC-7"]);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.out.contains("sopwith: proposed restart-failed-unit"), "{}", ran.out);
    }
}

#[test]
fn an_event_makes_it_look_again() {
    let server = Server::new();
    let change = json!({"seq": 9, "event": "run_reported", "incident": 7, "run": null});
    server.on_text("GET /events", 200, &format!("id: 9\ndata: {change}\n\n"));
    server.on("GET /incidents/7", 200, &incident(&plan('a', "nginx.service")));
    let mut child = Home::new(Some(&server))
        .command(&["incident", "watch", "INC-7"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    // The stream ends after one event; the second connection says what was seen last.
    let events = || server.requests().into_iter().filter(|r| r.line.contains("/events")).collect::<Vec<_>>();
    while events().len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(events()[1].headers.get("last-event-id").map(String::as_str), Some("9"));
    let mut view = incident(&plan('a', "nginx.service"));
    view["phase"] = json!("closed");
    server.on("GET /incidents/7", 200, &view);
    assert!(child.wait().expect("it ends").success());
}
