//! Real crashes of the SQLite store: kill -9, a WAL cut at every place, a disk without room.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sopwith_journal::sqlite::{
    append_in, begin, commit, head_in, open_connection, open_read_only, read_in, verify_in,
};
use sopwith_journal::{AppendError, Fatal, Head, Log, SqliteLog, verify_log};

const STREAM: &str = "s";
const BATCH: u64 = 3;
const CHILD_ENV: &str = "SOPWITH_JOURNAL_TEST_CHILD";
const ROUNDS: u64 = 20;

fn batch(n: u64) -> Vec<Vec<u8>> {
    (0..BATCH).map(|k| format!("{n}-{k}").into_bytes()).collect()
}

/// Not a test of its own: the process that the next test starts from this binary, and kills.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_ENV) else { return };
    let mut log = SqliteLog::open(Path::new(&path), STREAM).unwrap();
    loop {
        let head = log.append(0, &batch(log.head().seq)).unwrap();
        // The harness keeps standard output for itself.
        writeln!(std::io::stderr(), "{} {}", head.seq, head.hash).unwrap();
    }
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD_ENV, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn parse_head(line: &str) -> Head {
    let (seq, hash) = line.split_once(' ').unwrap_or_else(|| panic!("the child says {line:?}"));
    Head { seq: seq.parse().unwrap(), hash: hash.parse().unwrap() }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut acknowledged = Vec::new();
    for round in 1..=ROUNDS {
        let mut child = start_child(&path);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for _ in 0..round {
            acknowledged.push(parse_head(&lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said while the signal was under way counts as well; its last line may be cut.
        let rest: Vec<String> = lines.map(Result::unwrap).filter(|line| line.len() > 64).collect();
        acknowledged.extend(
            rest.iter()
                .filter(|l| l.split_once(' ').is_some_and(|(_, h)| h.len() == 64))
                .map(|l| parse_head(l)),
        );

        let log = SqliteLog::open(&path, STREAM).unwrap();
        assert_eq!(log.head().seq % BATCH, 0, "half a batch after kill {round}");
        assert_eq!(verify_log(&log, acknowledged.last().copied()), Ok(log.head()), "after kill {round}");
    }
    let reader = open_read_only(&path).unwrap();
    for head in acknowledged {
        assert_eq!(read_in(&reader, STREAM, head.seq - 1, 1).unwrap()[0].as_head(), head);
    }
}

#[test]
fn a_wal_cut_anywhere_holds_whole_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("journal.db"), folder.path().join("copy.db"));
    let wal_of = |path: &Path| path.with_extension("db-wal");
    let mut log = SqliteLog::open(&path, STREAM).unwrap();
    let before = log.append(0, &batch(0)).unwrap();
    let wal_before = std::fs::metadata(wal_of(&path)).unwrap().len() as usize;
    let after = log.append(0, &batch(3)).unwrap();
    // The log stays open, so that its WAL is not folded into the database.
    let wal = std::fs::read(wal_of(&path)).unwrap();
    assert!(wal.len() > wal_before);

    let mut seen = [0, 0];
    for cut in wal_before..=wal.len() {
        let zeros = vec![0; wal.len() - cut];
        for tail in [&[][..], &zeros[..]] {
            // Zeros over zeros change nothing: only cuts in front of something count.
            if !tail.is_empty() && wal[cut..] == *tail {
                continue;
            }
            // Between places of interest, a byte in 13 does: pages are mostly free space.
            let near_frame = (cut - wal_before) % 4120 <= 32 || wal.len() - cut < 64;
            if !near_frame && cut % 13 != 0 {
                continue;
            }
            std::fs::copy(&path, &copy).unwrap();
            std::fs::write(wal_of(&copy), [&wal[..cut], tail].concat()).unwrap();
            let reader = open_read_only(&copy).unwrap();
            let head = head_in(&reader, STREAM).unwrap();
            let whole = usize::from(cut == wal.len());
            assert_eq!(head, [before, after][whole], "cut at {cut} of {}", wal.len());
            assert_eq!(verify_in(&reader, STREAM, Some(before)), Ok(head));
            seen[whole] += 1;
        }
    }
    assert!(seen[0] > 300 && seen[1] > 0, "{seen:?}");
}

#[test]
fn a_full_disk_kills_the_handle_and_leaves_whole_batches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let connection = open_connection(&path).unwrap();
    connection.pragma_update(None, "max_page_count", 12).unwrap();
    let mut log = SqliteLog::on(connection, STREAM).unwrap();
    let error = loop {
        if let Err(error) = log.append(0, &[vec![7; 3000], vec![8; 3000]]) {
            break error;
        }
    };
    let last = log.head();
    assert_eq!(error, AppendError::Fatal(Fatal::DiskFull));
    for _ in 0..3 {
        assert_eq!(log.append(0, &[vec![]]), Err(AppendError::Fatal(Fatal::Crashed)));
        assert!(log.read(0, 1).is_err());
    }
    drop(log);
    let mut log = SqliteLog::open(&path, STREAM).unwrap();
    assert_eq!(verify_log(&log, Some(last)), Ok(last));
    assert!(last.seq >= 2 && last.seq.is_multiple_of(2));
    log.append(0, &[vec![9; 3000]]).unwrap();
}

#[test]
fn journal_and_projection_stand_or_fall_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut connection = open_connection(&path).unwrap();
    sopwith_journal::sqlite::ensure_schema(&connection).unwrap();
    connection.execute_batch("CREATE TABLE counted (n INTEGER NOT NULL) STRICT").unwrap();
    let state = |connection: &rusqlite::Connection| {
        let counted: i64 =
            connection.query_row("SELECT count(*) FROM counted", [], |row| row.get(0)).unwrap();
        (head_in(connection, STREAM).unwrap(), counted)
    };

    let tx = begin(&mut connection).unwrap();
    let first = append_in(&tx, STREAM, &Head::EMPTY, 1, &batch(0)).unwrap();
    let second = append_in(&tx, STREAM, &first, 2, &batch(1)).unwrap();
    tx.execute("INSERT INTO counted VALUES (1)", []).unwrap();
    commit(tx).unwrap();
    assert_eq!(state(&connection), (second, 1));

    let tx = begin(&mut connection).unwrap();
    append_in(&tx, STREAM, &second, 3, &batch(2)).unwrap();
    tx.execute("INSERT INTO counted VALUES (2)", []).unwrap();
    drop(tx);
    assert_eq!(state(&connection), (second, 1), "what is not committed was never there");

    let tx = begin(&mut connection).unwrap();
    for stale in [Head::EMPTY, first, Head { seq: second.seq, hash: first.hash }, Head { seq: 99, ..second }]
    {
        let seq = stale.seq + 1;
        let fenced = Err(AppendError::Fatal(Fatal::Fenced { seq }));
        assert_eq!(append_in(&tx, STREAM, &stale, 3, &batch(2)), fenced, "{stale:?}");
    }
}
