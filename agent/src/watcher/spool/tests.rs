use super::*;
use sopwith_domain::ids::{HostId, RuleId};
use sopwith_domain::signal::{SignalKind, Subject};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::Word;
use sopwith_protocol::exchange::Batch;
use std::path::PathBuf;

fn signal(name: &str, severity: Severity, condition: Condition) -> Item {
    let signal = Signal {
        host: HostId::new("web-1").expect("valid"),
        epoch: Epoch(0),
        rule: RuleId::new("checks.x").expect("valid"),
        kind: SignalKind::new("check.failed").expect("valid"),
        subject: Subject::Check(Word::new(name).expect("valid")),
        condition,
        severity,
        summary: name.into(),
        fields: BTreeMap::new(),
        evidence: Vec::new(),
        observed_at: Timestamp(1),
        cause: None,
        depends_on: Vec::new(),
    };
    Item::Signal { signal: Box::new(signal) }
}

fn raised(name: &str, severity: Severity) -> Item {
    signal(name, severity, Condition::Raised)
}

struct Place {
    dir: tempfile::TempDir,
    limits: Limits,
}

impl Place {
    fn new(items_max: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { dir, limits: Limits { items_max, ..Limits::default() } }
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("spool.db")
    }
    /// Opens the spool of a process that the server has not answered.
    fn open_unheard(&self) -> Spool {
        Spool::open(&self.file(), self.limits).expect("the spool opens")
    }
    /// Opens the spool of a process that the server has answered.
    fn open(&self) -> Spool {
        let mut spool = self.open_unheard();
        spool.acknowledge(spool.acked(), spool.acked()).expect("greeted");
        spool
    }
}

fn add(spool: &mut Spool, item: Item) {
    spool.commit(&Entry { items: vec![item], ..Entry::default() }).expect("committed");
}

/// One line an item: its number and what it is.
fn told(batch: &Batch<Item>) -> Vec<String> {
    let numbered = batch.items.iter().zip(batch.first_seq..);
    numbered
        .map(|(item, seq)| match item {
            Item::Signal { signal } => format!("{seq} {}", signal.summary),
            Item::Declarations { .. } => format!("{seq} declarations"),
            Item::Inspection { .. } => format!("{seq} inspection"),
            Item::Gap { from_seq, reason } => {
                format!("{seq} gap from {from_seq}: {}", reason.split(':').next().unwrap_or(""))
            }
        })
        .collect()
}

/// Takes everything that waits, as a server does that acknowledges each batch.
fn drain(spool: &mut Spool) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let batch = spool.batch(256, 1 << 20).expect("a batch");
        if batch.items.is_empty() {
            return all;
        }
        all.extend(told(&batch));
        let through = batch.first_seq + batch.items.len() as u64 - 1;
        spool.acknowledge(through, spool.acked()).expect("acknowledged");
    }
}

#[test]
fn numbers_go_on_over_a_restart_and_cursors_with_them() {
    let place = Place::new(100);
    let mut spool = place.open();
    let cursor = |value: &str| ("logs".to_owned(), "/a".to_owned(), Some(value.to_owned()));
    for (n, name) in ["a", "b"].into_iter().enumerate() {
        let entry = Entry {
            items: vec![raised(name, Severity::Warning)],
            cursors: vec![cursor(&n.to_string())],
            ..Entry::default()
        };
        spool.commit(&entry).expect("committed");
    }
    drop(spool);
    let mut spool = place.open();
    assert_eq!(spool.cursors("logs").expect("read")["/a"], "1");
    add(&mut spool, raised("c", Severity::Warning));
    assert_eq!(drain(&mut spool), ["1 a", "2 b", "3 c"]);
    assert_eq!(spool.depth(), Depth::default());
}

#[test]
fn acknowledgements() {
    let place = Place::new(100);
    let mut spool = place.open();
    ["a", "b", "c", "d"].into_iter().for_each(|name| add(&mut spool, raised(name, Severity::Warning)));
    for (through, when_asked, became, acked) in [
        (0, 0, Acknowledged::Through(0), 0),
        (2, 0, Acknowledged::Through(2), 2),
        (1, 0, Acknowledged::Overtaken, 2),
        (2, 0, Acknowledged::Through(2), 2),
        (9, 2, Acknowledged::Ahead, 2),
        (3, 2, Acknowledged::Through(3), 3),
        (1, 3, Acknowledged::SetBack { from: 2, through: 3 }, 1),
        (1, 1, Acknowledged::Through(1), 1),
    ] {
        assert_eq!(spool.acknowledge(through, when_asked).expect("taken"), became, "{through} {when_asked}");
        assert_eq!(spool.acked(), acked, "{through} {when_asked}");
    }
    let mut spool = place.open();
    assert_eq!(drain(&mut spool), ["3 gap from 2: the server was set back", "4 d"]);
}

#[test]
fn a_full_spool_drops_the_lowest_severity_and_counts_it() {
    let place = Place::new(6);
    let mut spool = place.open();
    for (name, severity) in [
        ("c1", Severity::Critical),
        ("i1", Severity::Information),
        ("w1", Severity::Warning),
        ("i2", Severity::Information),
        ("i3", Severity::Information),
        ("c2", Severity::Critical),
        ("w2", Severity::Warning),
    ] {
        add(&mut spool, raised(name, severity));
    }
    let full = "the spool was full";
    let waits = drain(&mut place.open());
    assert_eq!(waits[..2], ["1 c1".to_owned(), format!("2 gap from 2: {full}")]);
    assert_eq!(waits[waits.len() - 2..], ["6 c2", "7 w2"]);
    assert!(place.open().depth().dropped >= 1);
}

#[test]
fn criticals_outlive_a_flood_and_every_number_is_accounted_for() {
    let place = Place::new(50);
    let mut spool = place.open();
    for n in 0..1000 {
        let severity = match n % 100 {
            0 => Severity::Critical,
            odd if odd % 2 == 1 => Severity::Warning,
            _ => Severity::Information,
        };
        add(&mut spool, raised(&format!("n{n}"), severity));
    }
    assert!(spool.depth().items <= 50, "{:?}", spool.depth());
    let dropped = spool.depth().dropped;
    let mut spool = place.open();
    let mut next = 1;
    let (mut criticals, mut lost) = (0, 0);
    loop {
        let batch = spool.batch(7, 1 << 20).expect("a batch");
        if batch.items.is_empty() {
            break;
        }
        for (item, seq) in batch.items.iter().zip(batch.first_seq..) {
            let from = match item {
                Item::Gap { from_seq, .. } => {
                    lost += seq - from_seq + 1;
                    *from_seq
                }
                Item::Signal { signal } => {
                    criticals += u64::from(signal.severity == Severity::Critical);
                    seq
                }
                Item::Declarations { .. } | Item::Inspection { .. } => seq,
            };
            assert_eq!(from, next);
            next = seq + 1;
        }
        let through = next - 1;
        spool.acknowledge(through, spool.acked()).expect("acknowledged");
    }
    assert_eq!((next, criticals, lost), (1001, 10, dropped));
}

#[test]
fn a_new_epoch_numbers_anew_what_waits() {
    let place = Place::new(100);
    let mut spool = place.open();
    ["a", "b", "c"].into_iter().for_each(|name| add(&mut spool, raised(name, Severity::Warning)));
    spool.acknowledge(2, 0).expect("acknowledged");
    spool.acknowledge(1, 2).expect("set back");
    spool.begin_epoch(Epoch(77)).expect("begun");
    add(&mut spool, raised("d", Severity::Warning));
    let mut spool = place.open();
    assert_eq!(spool.epoch(), Epoch(77));
    let batch = spool.batch(10, 1 << 20).expect("a batch");
    let epochs: Vec<_> = batch
        .items
        .iter()
        .filter_map(|i| if let Item::Signal { signal } = i { Some(signal.epoch.0) } else { None })
        .collect();
    assert_eq!(epochs, [77, 77]);
    assert_eq!(drain(&mut spool), ["1 gap from 1: the server was set back", "2 c", "3 d"]);
}

/// A spool that comes back from an old image gives out numbers that the server has seen. It must not take the
/// server's word for them as the word for its own items, however often the process began again before it was heard.
#[test]
fn a_spool_that_was_set_back_is_noticed() {
    for (added_before_the_image, server_has, processes, set_back) in [
        (3, 3, 1, false),
        (3, 2, 1, false),
        (3, 4, 1, true),
        (3, 5, 3, true),
        (3, 3, 3, false),
        (0, 1, 2, true),
        (0, 0, 2, false),
    ] {
        let what = format!("{added_before_the_image} {server_has} {processes}");
        let place = Place::new(100);
        let mut spool = place.open();
        (0..added_before_the_image).for_each(|_| add(&mut spool, raised("old", Severity::Critical)));
        drop(spool);
        for _ in 0..processes {
            let mut spool = place.open_unheard();
            assert!(!spool.greeted(), "{what}");
            (0..4).for_each(|_| add(&mut spool, raised("new", Severity::Critical)));
        }
        let mut spool = place.open_unheard();
        assert_eq!(spool.known_head(), added_before_the_image, "{what}");
        let became = spool.acknowledge(server_has, spool.acked()).expect("judged");
        assert_eq!(became == Acknowledged::Ahead, set_back, "{what}");
        assert_eq!(spool.greeted(), !set_back, "{what}");
        if set_back {
            spool.begin_epoch(Epoch(9)).expect("begun");
            let told = drain(&mut spool);
            assert_eq!(told.len() as u64, added_before_the_image + 4 * processes, "nothing is lost: {what}");
        }
    }
}

#[test]
fn a_raise_that_waits_is_known() {
    let place = Place::new(100);
    let mut spool = place.open();
    let Item::Signal { signal: a } = raised("a", Severity::Warning) else { unreachable!() };
    let waits = |spool: &Spool| spool.raise_waits(&a).expect("read");
    assert!(!waits(&spool));
    add(&mut spool, raised("a", Severity::Warning));
    add(&mut spool, raised("b", Severity::Warning));
    assert!(waits(&spool));
    add(&mut spool, signal("a", Severity::Warning, Condition::Cleared));
    assert!(!waits(&spool));
    add(&mut spool, raised("a", Severity::Warning));
    assert!(waits(&spool));
    spool.acknowledge(4, 0).expect("acknowledged");
    assert!(!waits(&spool));
}

/// A database that may not grow stands for a disk without a free byte.
#[test]
fn on_a_full_disk_the_ballast_goes_first_and_nothing_is_half_written() {
    let place = Place::new(100_000);
    let mut spool = place.open();
    let pages: u64 = spool.db.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("read");
    let _: u64 =
        spool.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).expect("set");
    let mut written = 0;
    let end = loop {
        let entry = Entry {
            items: vec![raised(&format!("n{written}"), Severity::Critical); 10],
            cursors: vec![("s".into(), "n".into(), Some(written.to_string()))],
            ..Entry::default()
        };
        match spool.commit(&entry) {
            Ok(()) => written += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(end, SpoolError::Full), "{end}");
    assert!(written * 10 * 300 > ballast::BYTES / 2, "the ballast held {written} entries");
    drop(spool);
    let spool = place.open();
    assert_eq!(spool.head(), written as u64 * 10);
    assert_eq!(spool.cursors("s").expect("read")["n"], (written - 1).to_string());
}

/// The process is gone at any moment: what the copy of its files holds is what a restart finds.
#[test]
fn a_crash_at_any_commit_keeps_items_and_cursors_together() {
    let place = Place::new(20);
    let mut spool = place.open();
    for n in 1..=40_u64 {
        let entry = Entry {
            items: vec![raised(&format!("n{n}"), Severity::Warning)],
            cursors: vec![("s".into(), "n".into(), Some(n.to_string()))],
            conditions: vec![("r".into(), "s".into(), Some(n.to_string()))],
        };
        spool.commit(&entry).expect("committed");
        let copy = Place::new(20);
        for name in ["spool.db", "spool.db-wal"] {
            std::fs::copy(place.dir.path().join(name), copy.dir.path().join(name)).expect("copied");
        }
        // A record of the log that was cut off while it was written belongs to no transaction.
        if n % 3 == 0 {
            let log = copy.dir.path().join("spool.db-wal");
            let mut bytes = std::fs::read(&log).expect("read");
            bytes.extend_from_slice(&[0xAB; 700]);
            std::fs::write(&log, bytes).expect("written");
        }
        let found = copy.open();
        assert_eq!(found.head(), n);
        assert_eq!(found.cursors("s").expect("read")["n"], n.to_string());
        assert_eq!(found.conditions().expect("read"), [n.to_string()]);
        if n % 5 == 0 {
            spool.acknowledge(n - 2, spool.acked()).expect("acknowledged");
        }
    }
}
