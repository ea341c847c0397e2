//! Logging in and out, and how a command ends when the server refuses or is not there.

mod common;

use common::{Home, Server, golden, problem};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_session_is_stored_for_its_owner_only_and_used() {
    let server = Server::new();
    server.on("POST /session", 200, &json!({"token": "t-1", "expires_at": "2099-01-01T00:00:00Z"}));
    server.on("GET /whoami", 200, &json!({"name": "alice", "role": "admin"}));
    server.on("DELETE /session", 200, &json!({}));
    let home = Home::new(None);
    let ran = home.sopwith_fed(&["login", &server.url, "alice", "--password-stdin"], "hunter2\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("as alice (admin)"), "{}", ran.out);
    let file = home.path(".config/sopwith/session.json");
    assert_eq!(std::fs::metadata(&file).expect("a session").permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).expect("a session").contains("hunter2"));

    assert_eq!(home.sopwith(&["whoami"]).out, format!("alice (admin) at {}\n", server.url));
    assert_eq!(home.sopwith(&["logout"]).code, 0);
    assert!(!file.exists());
    assert!(server.writes().iter().any(|r| r.line.starts_with("DELETE")));
    let after = home.sopwith(&["whoami"]);
    assert!(after.code == 3 && after.err.contains("sopwith login"), "{after:?}");
}

#[test]
fn a_stored_token_is_not_shown_to_another_server() {
    let (server, other) = (Server::new(), Server::new());
    server.on("GET /whoami", 200, &json!({"name": "alice", "role": "admin"}));
    let home = Home::new(None);
    assert_eq!(home.sopwith_fed(&["login", &server.url, "--token", "-"], "api-token\n").code, 0);
    let ran = Home::command(&home, &["whoami"]).env("SOPWITH_URL", &other.url).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(3));
    assert!(other.requests().is_empty());
}

#[test]
fn errors_say_what_to_do_and_have_their_exit_code() {
    let server = Server::new();
    let home = Home::new(Some(&server));
    let mut all = String::new();
    let mut run = |title: &str, code: i32, args: &[&str]| {
        let ran = home.sopwith(args);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{title}: {ran:?}");
        all.push_str(&format!("# {title}: exit {code}\n{}\n", ran.err.replace(&server.url, "http://SERVER")));
    };
    run("not found", 1, &["incident", "show", "INC-9"]);
    server.on("GET /whoami", 401, &problem(401, "session-expired", "The session has ended", "it expired"));
    run("expired session", 3, &["whoami"]);
    server.on("GET /whoami", 403, &problem(403, "forbidden", "Not permitted", "viewers may not do this"));
    run("wrong role", 3, &["whoami"]);
    server.on_text("GET /whoami", 200, "<html>");
    run("another kind of server", 1, &["whoami"]);
    server.on("GET /whoami", 200, &json!({"nick": "x"}));
    run("another version", 1, &["whoami"]);
    golden("errors.txt", &all);
}

#[test]
fn a_server_that_is_not_there_exits_4() {
    let home = Home::new(None);
    let ran = home
        .command(&["whoami"])
        .envs([("SOPWITH_URL", "http://127.0.0.1:1"), ("SOPWITH_TOKEN", "t")])
        .output();
    let ran = common::Ran::from(ran.expect("it runs"));
    assert!(ran.code == 4 && ran.err.contains("sopwith doctor"), "{ran:?}");
    let clear = home
        .command(&["whoami"])
        .envs([("SOPWITH_URL", "http://192.0.2.1"), ("SOPWITH_TOKEN", "t")])
        .output();
    let clear = common::Ran::from(clear.expect("it runs"));
    assert!(clear.code == 2 && clear.err.contains("in clear"), "{clear:?}");
}
