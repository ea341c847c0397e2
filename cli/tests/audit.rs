//! `audit verify`: a sound journal holds, an edit is found, and a rewritten or cut one is found by what was seen before.

mod common;

use common::{Home, Ran, Server};
use serde_json::json;
use sopwith_journal::{Entry, Head};
use sopwith_protocol::api::LEDGER_STREAM;

fn chain(bodies: &[&str]) -> Vec<Entry> {
    let mut head = Head::EMPTY;
    bodies
        .iter()
        .map(|body| {
            let entry = Entry::following(&head, LEDGER_STREAM, 1_700_000_000_000, body.as_bytes().to_vec());
            head = entry.as_head();
            entry
        })
        .collect()
}

fn export(entries: &[Entry]) -> String {
    let line = |e: &Entry| {
        let body = String::from_utf8(e.body.clone()).expect("text");
        let entry = json!({"seq": e.seq, "at": "2023-11-14T22:13:20Z", "at_ms": e.at_ms, "body": body,
                           "prev": e.prev.to_string(), "hash": e.hash.to_string()});
        format!("{entry}\n")
    };
    entries.iter().map(line).collect()
}

fn verify(home: &Home, server: &Server, entries: &[Entry]) -> Ran {
    server.on_text("GET /audit/export", 200, &export(entries));
    home.sopwith(&["audit", "verify"])
}

#[test]
fn a_journal_that_grows_holds_and_one_that_was_rewritten_does_not() {
    let server = Server::new();
    let home = Home::new(Some(&server));
    let first = verify(&home, &server, &chain(&["{}", "{\"a\":1}"]));
    assert!(first.code == 0 && first.out.contains("2 entries"), "{first:?}");
    let grown = verify(&home, &server, &chain(&["{}", "{\"a\":1}", "{}"]));
    assert!(grown.code == 0 && grown.out.contains("contains entry 2 as it was seen"), "{grown:?}");

    let rewritten = verify(&home, &server, &chain(&["{}", "{\"a\":2}", "{}", "{}"]));
    assert!(rewritten.code == 1 && rewritten.err.contains("rewritten"), "{rewritten:?}");
    let other_start = verify(&home, &server, &chain(&["{\"new\":1}", "{}", "{}", "{}"]));
    assert!(other_start.code == 1 && other_start.err.contains("rewritten"), "{other_start:?}");
    let cut = verify(&home, &server, &chain(&["{}", "{\"a\":1}"]));
    assert!(cut.code == 1 && cut.err.contains("entry 3 is known"), "{cut:?}");
    let empty = verify(&home, &server, &[]);
    assert!(empty.code == 1 && empty.err.contains("entry 3 is known"), "{empty:?}");
    let again = verify(&home, &server, &chain(&["{}", "{\"a\":1}", "{}"]));
    assert_eq!(again.code, 0, "what was refused was not remembered: {again:?}");
}

#[test]
fn an_export_is_verified_without_a_server() {
    let home = Home::new(None);
    let entries = chain(&["{}", "{\"a\":1}", "{}"]);
    let file = home.path("journal.jsonl");
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).expect("written");
        home.sopwith(&[&["audit", "verify", "--file", "journal.jsonl"], more].concat())
    };
    assert_eq!(run(&export(&entries), &[]).code, 0);
    let older = run(&export(&entries[..2]), &[]);
    assert!(older.code == 0 && older.out.contains("ends before entry 3"), "{older:?}");
    let edited = run(&export(&entries).replace("\\\"a\\\":1", "\\\"a\\\":2"), &[]);
    assert!(edited.code == 1 && edited.err.contains("entry 2 was altered"), "{edited:?}");
    let torn = run(&export(&entries)[..300], &[]);
    assert!(torn.code == 1 && torn.err.contains("line 2"), "{torn:?}");
    let removed = run(&export(&[entries[0].clone(), entries[2].clone()]), &[]);
    assert!(removed.code == 1 && removed.err.contains("entry 2 is missing"), "{removed:?}");
    let head = format!("2:{}", entries[1].hash);
    assert_eq!(run(&export(&entries), &["--head", &head]).code, 0);
    let other = format!("2:{}", entries[0].hash);
    assert_eq!(run(&export(&entries), &["--head", &other]).code, 1);
    let beyond = format!("9:{}", entries[0].hash);
    assert_eq!(run(&export(&entries), &["--head", &beyond]).code, 1);
    assert_eq!(run(&export(&entries), &["--head", "nonsense"]).code, 2);
}

#[test]
fn an_export_is_written_once_and_verifies() {
    let server = Server::new();
    server.on_text("GET /audit/export", 200, &export(&chain(&["{}"])));
    let home = Home::new(Some(&server));
    assert_eq!(home.sopwith(&["audit", "export", "--out", "e.jsonl"]).code, 0);
    assert_eq!(home.sopwith(&["audit", "export", "--out", "e.jsonl"]).code, 1, "it overwrites nothing");
    assert_eq!(home.sopwith(&["audit", "export"]).out, export(&chain(&["{}"])));
    assert_eq!(home.sopwith(&["audit", "verify", "--file", "e.jsonl"]).code, 0);
}
