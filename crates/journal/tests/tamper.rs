//! Whoever can write to the file can change it, but not without being found: every row, every column.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sopwith_journal::sqlite::{open_read_only, verify_in};
use sopwith_journal::{ChainError, Head, Log, SqliteLog, VerifyError};

const ROWS: u64 = 7;
const STREAM: &str = "ledger";

/// Writes a small journal beside a second stream and returns the heads after each entry.
fn write_journal(path: &Path) -> Vec<Head> {
    let mut other = SqliteLog::open(path, "other").unwrap();
    other.append(0, &[b"x".to_vec()]).unwrap();
    let mut log = SqliteLog::open(path, STREAM).unwrap();
    let mut heads = vec![Head::EMPTY];
    heads.extend((1..=ROWS).map(|n| log.append(n as i64, &[vec![n as u8; 20]]).unwrap()));
    heads
}

/// Opens the file as an intruder would: no guards, no checks.
fn break_in(path: &Path) -> Connection {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch(
        "PRAGMA ignore_check_constraints = ON;
         DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete; DROP TRIGGER journal_only_next;",
    )
    .unwrap();
    raw
}

/// Applies each edit to a fresh copy of the journal and returns what the audit says.
fn audit_after(path: &Path, edit: &str, expected: Head) -> Result<Head, VerifyError> {
    let copy: PathBuf = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    let raw = break_in(&copy);
    assert!(raw.execute(edit, []).unwrap() > 0, "{edit} changed nothing");
    drop(raw);
    verify_in(&open_read_only(&copy).unwrap(), STREAM, Some(expected))
}

#[test]
fn every_edit_removal_and_reorder_of_every_row_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let head = *write_journal(&path).last().unwrap();
    assert_eq!(verify_in(&open_read_only(&path).unwrap(), STREAM, Some(head)), Ok(head));

    let columns = [
        "at_ms = at_ms + 1",
        "at_ms = -at_ms",
        "prev = randomblob(32)",
        "prev = x''",
        "hash = randomblob(32)",
        "hash = zeroblob(31)",
        "hash = prev",
        "body = x''",
        "body = CAST(body || 'x' AS BLOB)",
        "body = CAST(substr(body, 2) AS BLOB)",
        "body = zeroblob(20)",
        "seq = seq + 100",
        "seq = -seq",
        "stream = 'other'",
        "stream = 'ledger2'",
    ];
    for n in 1..=ROWS {
        let mut edits: Vec<String> = columns
            .iter()
            .map(|set| format!("UPDATE journal SET {set} WHERE stream = '{STREAM}' AND seq = {n}"))
            .collect();
        edits.push(format!("DELETE FROM journal WHERE stream = '{STREAM}' AND seq = {n}"));
        edits.push(format!("DELETE FROM journal WHERE stream = '{STREAM}' AND seq >= {n}"));
        // The rows after a removed one move up, so that no number is missing.
        edits.push(format!(
            "UPDATE OR REPLACE journal SET seq = seq - 1 WHERE stream = '{STREAM}' AND seq > {}",
            n - 1
        ));
        let nothing = format!("UPDATE journal SET at_ms = at_ms WHERE seq = {n}");
        assert_eq!(audit_after(&path, &nothing, head), Ok(head), "the audit finds what is not there");
        for edit in edits {
            if edit.contains("'other'") && n == 1 {
                continue; // That key is taken in the other stream, so SQLite itself refuses.
            }
            assert!(audit_after(&path, &edit, head).is_err(), "not found: {edit}");
        }
        for m in n + 1..=ROWS {
            let swap = format!(
                "UPDATE journal SET (at_ms, prev, hash, body) = (SELECT at_ms, prev, hash, body FROM journal AS o \
                 WHERE o.stream = '{STREAM}' AND o.seq = CASE journal.seq WHEN {n} THEN {m} ELSE {n} END) \
                 WHERE stream = '{STREAM}' AND seq IN ({n}, {m})"
            );
            assert!(audit_after(&path, &swap, head).is_err(), "not found: {n} and {m} swapped");
        }
    }
}

#[test]
fn a_cut_end_is_found_by_a_head_kept_elsewhere_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let heads = write_journal(&path);
    let cut = format!("DELETE FROM journal WHERE stream = '{STREAM}' AND seq > 4");
    let error = ChainError::Truncated { last: 4, expected: ROWS };
    let found = Err(VerifyError::Chain { stream: STREAM.to_owned(), error });
    assert_eq!(audit_after(&path, &cut, *heads.last().unwrap()), found);
    assert_eq!(audit_after(&path, &cut, heads[4]), Ok(heads[4]));
}

#[test]
fn the_guards_refuse_every_edit_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let head = *write_journal(&path).last().unwrap();
    let raw = Connection::open(&path).unwrap();
    for edit in [
        "UPDATE journal SET at_ms = 0",
        "UPDATE journal SET stream = 'z' WHERE seq = 7",
        "DELETE FROM journal",
        "DELETE FROM journal WHERE seq = 7",
        "REPLACE INTO journal SELECT * FROM journal WHERE seq = 7",
        "REPLACE INTO journal SELECT stream, seq, at_ms, prev, hash, x'' FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT stream, 8, at_ms, prev, hash, body FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT stream, 9, at_ms, hash, hash, body FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT 'new', 1, at_ms, hash, hash, body FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT 'new', 2, at_ms, zeroblob(32), hash, body FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT 'new', 1, at_ms, zeroblob(32), x'00', body FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT 'new', 1, at_ms, zeroblob(32), hash, zeroblob(1048577) FROM journal WHERE seq = 7",
        "INSERT INTO journal SELECT '', 1, at_ms, zeroblob(32), hash, body FROM journal WHERE seq = 7",
    ] {
        assert!(raw.execute(edit, []).is_err(), "not refused: {edit}");
    }
    drop(raw);
    assert_eq!(verify_in(&open_read_only(&path).unwrap(), STREAM, Some(head)), Ok(head));
}

#[test]
fn a_journal_whose_last_entry_was_altered_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    write_journal(&path);
    break_in(&path).execute("UPDATE journal SET body = x'00' WHERE seq = 7", []).unwrap();
    assert!(SqliteLog::open(&path, STREAM).is_err());
}
