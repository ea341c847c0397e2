//! One suite that every store of a journal has to pass.

use std::path::PathBuf;

use sopwith_journal::sqlite::{open_connection, open_read_only, read_in, streams_in};
use sopwith_journal::{
    AppendError, BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BODY_BYTES_MAX, Digest, Entry, Fatal, Head, Log,
    MemoryDisk, PAGE_ENTRIES, Refused, STREAM_NAME_BYTES_MAX, SqliteLog, entries, verify, verify_log,
};

/// Something that holds streams and can be opened again and again.
trait Store {
    fn open(&self, stream: &str) -> Box<dyn Log>;
}

struct Sqlite {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Store for Sqlite {
    fn open(&self, stream: &str) -> Box<dyn Log> {
        Box::new(SqliteLog::open(&self.path, stream).unwrap())
    }
}

struct Memory(MemoryDisk);

impl Store for Memory {
    fn open(&self, _stream: &str) -> Box<dyn Log> {
        Box::new(self.0.reopen())
    }
}

fn on_both(test: fn(&dyn Store)) {
    let folder = tempfile::tempdir().unwrap();
    test(&Sqlite { path: folder.path().join("journal.db"), _folder: folder });
    test(&Memory(MemoryDisk::new("s")));
}

fn bodies(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.body.clone()).unwrap()).collect()
}

#[test]
fn an_empty_stream_has_the_empty_head() {
    on_both(|store| {
        let log = store.open("s");
        assert_eq!(log.head(), Head::EMPTY);
        assert_eq!(log.stream(), "s");
        assert_eq!(log.read(0, 10).unwrap(), []);
        assert_eq!(verify_log(&*log, None), Ok(Head::EMPTY));
    });
}

#[test]
fn appended_entries_are_numbered_chained_and_read_back() {
    on_both(|store| {
        let mut log = store.open("s");
        let first = log.append(10, &bodies(&["a", "b"])).unwrap();
        assert_eq!(first.seq, 2);
        let second = log.append(5, &bodies(&["", "d"])).unwrap();
        assert_eq!((second.seq, log.head()), (4, second));

        let all = log.read(0, 100).unwrap();
        assert_eq!(texts(&all), ["a", "b", "", "d"]);
        assert_eq!(all.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(all.iter().map(|e| e.at_ms).collect::<Vec<_>>(), [10, 10, 5, 5], "clocks may go back");
        assert_eq!(all[0].prev, Digest::ZERO);
        assert_eq!(all[1].as_head(), first);
        assert_eq!(verify("s", &all, Some(first)), Ok(second));
    });
}

#[test]
fn both_stores_make_the_same_chain() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = SqliteLog::open(&folder.path().join("j.db"), "s").unwrap();
    let mut memory = MemoryDisk::new("s").reopen();
    for (at_ms, batch) in [(1, &["a"][..]), (-2, &["b", "c"]), (i64::MAX, &["d"])] {
        assert_eq!(file.append(at_ms, &bodies(batch)), memory.append(at_ms, &bodies(batch)));
    }
    assert_eq!(file.read(0, 9), memory.read(0, 9));
}

#[test]
fn a_read_starts_after_a_seq_and_stops_at_its_limit() {
    on_both(|store| {
        let mut log = store.open("s");
        log.append(0, &bodies(&["a", "b", "c", "d"])).unwrap();
        let table: [(u64, usize, &[&str]); 7] = [
            (0, 2, &["a", "b"]),
            (1, 2, &["b", "c"]),
            (3, 2, &["d"]),
            (4, 2, &[]),
            (u64::MAX, 2, &[]),
            (0, 0, &[]),
            (2, usize::MAX, &["c", "d"]),
        ];
        for (after, limit, expected) in table {
            assert_eq!(texts(&log.read(after, limit).unwrap()), expected, "after {after}, limit {limit}");
        }
    });
}

#[test]
fn the_iterator_crosses_pages() {
    on_both(|store| {
        for count in [PAGE_ENTRIES - 1, 1, PAGE_ENTRIES] {
            let mut log = store.open("s");
            log.append(0, &vec![b"x".to_vec(); count]).unwrap();
            let all: Vec<Entry> = entries(&*log, 0).map(Result::unwrap).collect();
            assert_eq!(all.len() as u64, log.head().seq);
            assert_eq!(verify("s", &all, Some(log.head())), Ok(log.head()));
            let late = entries(&*log, log.head().seq - 1).count();
            assert_eq!(late, 1);
        }
    });
}

#[test]
fn the_head_and_the_entries_survive_opening_again() {
    on_both(|store| {
        let mut heads = vec![Head::EMPTY];
        for n in 0..5_u8 {
            let mut log = store.open("s");
            assert_eq!(Some(&log.head()), heads.last());
            heads.push(log.append(n.into(), &[vec![n], vec![n, n]]).unwrap());
        }
        let log = store.open("s");
        assert_eq!(log.head().seq, 10);
        for head in heads {
            assert!(verify_log(&*log, Some(head)).is_ok());
        }
    });
}

#[test]
fn an_empty_batch_changes_nothing() {
    on_both(|store| {
        let mut log = store.open("s");
        let head = log.append(0, &bodies(&["a"])).unwrap();
        assert_eq!(log.append(1, &[]), Ok(head));
        assert_eq!(store.open("s").head(), head);
    });
}

#[test]
fn what_is_over_a_limit_is_refused_whole_and_the_handle_lives_on() {
    on_both(|store| {
        let mut log = store.open("s");
        let head = log.append(0, &bodies(&["a"])).unwrap();
        let big = vec![0; BODY_BYTES_MAX];
        let too_big = vec![0; BODY_BYTES_MAX + 1];
        let table = [
            (vec![vec![1], too_big.clone()], Refused::BodyTooLarge { index: 1, bytes: BODY_BYTES_MAX + 1 }),
            (vec![vec![]; BATCH_ENTRIES_MAX + 1], Refused::TooManyEntries { entries: BATCH_ENTRIES_MAX + 1 }),
            (
                vec![big.clone(); BATCH_BYTES_MAX / BODY_BYTES_MAX + 1],
                Refused::BatchTooLarge { bytes: BATCH_BYTES_MAX + BODY_BYTES_MAX },
            ),
        ];
        for (batch, refused) in table {
            assert_eq!(log.append(1, &batch), Err(AppendError::Refused(refused)));
            assert_eq!(log.head(), head);
            assert_eq!(log.read(1, 10).unwrap(), []);
        }
        assert_eq!(log.append(2, std::slice::from_ref(&big)).unwrap().seq, 2, "exactly at the limit");
        assert_eq!(log.read(1, 1).unwrap()[0].body, big);
        assert_eq!(store.open("s").head().seq, 2);
    });
}

#[test]
fn a_stream_needs_a_name_of_sane_length() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", &"x".repeat(STREAM_NAME_BYTES_MAX + 1)] {
        let refused = Err(AppendError::Refused(Refused::StreamName { bytes: name.len() }));
        let mut log = SqliteLog::open(&folder.path().join("j.db"), name).unwrap();
        assert_eq!(log.append(0, &bodies(&["a"])), refused);
        assert_eq!(MemoryDisk::new(name).reopen().append(0, &bodies(&["a"])), refused);
    }
}

#[test]
fn a_writer_that_was_overtaken_is_fenced_for_ever() {
    on_both(|store| {
        let mut old = store.open("s");
        old.append(0, &bodies(&["a"])).unwrap();
        let mut new = store.open("s");
        new.append(0, &bodies(&["b"])).unwrap();
        assert!(old.append(0, &bodies(&["c", "d"])).unwrap_err().is_fatal());
        assert_eq!(old.append(0, &bodies(&["e"])), Err(AppendError::Fatal(Fatal::Crashed)));
        assert!(old.read(0, 1).is_err());
        new.append(0, &bodies(&["f"])).unwrap();
        assert_eq!(texts(&store.open("s").read(0, 9).unwrap()), ["a", "b", "f"]);
    });
}

#[test]
fn streams_of_one_file_are_chained_apart_and_read_by_read_only_connections() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut b = SqliteLog::open(&path, "b").unwrap();
    let mut a = SqliteLog::open(&path, "a").unwrap();
    for n in 0..3_u8 {
        a.append(0, &[vec![n]]).unwrap();
        b.append(0, &[vec![n], vec![n]]).unwrap();
    }
    let reader = open_read_only(&path).unwrap();
    assert_eq!(streams_in(&reader).unwrap(), ["a", "b"]);
    for log in [&a, &b] {
        let all = read_in(&reader, log.stream(), 0, 100).unwrap();
        assert_eq!(verify(log.stream(), &all, Some(log.head())), Ok(log.head()));
    }
    assert!(
        reader.execute("INSERT INTO journal SELECT 'c', 1, 0, prev, hash, body FROM journal", []).is_err()
    );
    drop((a, b, reader));
    assert!(open_read_only(&folder.path().join("missing.db")).is_err(), "a reader creates nothing");
    assert!(!folder.path().join("missing.db").exists());
    assert!(open_connection(&folder.path().join("no/such/folder.db")).is_err());
}
