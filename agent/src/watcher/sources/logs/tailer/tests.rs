use super::super::records::{Splitter, WAIT_MS};
use super::super::tracked::LINE_BYTES_MAX;
use super::*;
use crate::config::Encoding;
use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

const MANNER: Manner = Manner { encoding: Encoding::Auto, splitter: None };

mod anything;

impl Tailer {
    /// Tells for a failed test what is read, and how far.
    fn story(&self) -> String {
        let one = |t: &Tracked| format!("{} at {} absent {:?}", t.at.inode, t.at.offset, t.absent_ms);
        self.tracked.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

struct Place {
    dir: tempfile::TempDir,
    cursors: BTreeMap<String, String>,
    tailer: Tailer,
    /// Lines since the places were last kept: a crash forgets them.
    unkept: Vec<String>,
    lines: Vec<String>,
    gaps: BTreeMap<Gap, u64>,
    now_ms: u64,
    clock: Cell<u64>,
}

impl Place {
    fn new(pattern: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = Self::paths(&dir, pattern);
        let tailer = Tailer::new(paths, MANNER, &BTreeMap::new());
        let (unkept, lines, gaps) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (cursors, clock) = (BTreeMap::new(), Cell::new(1_000_000_000));
        Self { dir, cursors, tailer, unkept, lines, gaps, now_ms: 0, clock }
    }
    fn paths(dir: &tempfile::TempDir, pattern: &str) -> Vec<AbsPath> {
        vec![AbsPath::new(format!("{}/{pattern}", dir.path().display())).expect("a path")]
    }
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    /// Appends at a time of its own: the clock of a file system is coarse.
    fn append(&self, name: &str, text: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.at(name)).expect("opened");
        file.write_all(text).expect("written");
        self.clock.set(self.clock.get() + 1);
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock.get())).expect("set");
    }
    fn look(&mut self) {
        self.now_ms += 100;
        loop {
            let unkept = &mut self.unkept;
            let looked = self.tailer.look(None, self.now_ms, &mut |lines| {
                let lines = lines.text;
                let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
                unkept.extend(lines.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(l).into_owned()));
            });
            for (gap, count) in looked.gaps {
                *self.gaps.entry(gap).or_default() += count;
            }
            if !looked.more {
                return;
            }
        }
    }
    /// Commits, as the spool does, lines and places together.
    fn keep(&mut self) {
        for (name, text) in self.tailer.changes() {
            match text {
                Some(text) => _ = self.cursors.insert(name, text),
                None => _ = self.cursors.remove(&name),
            }
        }
        self.lines.append(&mut self.unkept);
    }
    /// Ends the process, with or without a last commit, and begins another.
    fn restart(&mut self, pattern: &str) {
        self.unkept.clear();
        self.tailer = Tailer::new(Self::paths(&self.dir, pattern), self.tailer.manner.clone(), &self.cursors);
    }
    fn seen(&mut self) -> Vec<String> {
        self.look();
        self.keep();
        std::mem::take(&mut self.lines)
    }
}

#[test]
fn what_is_there_first_begins_at_its_end_and_what_comes_later_at_its_beginning() {
    let mut p = Place::new("*.log");
    p.append("a.log", b"old\npart");
    assert_eq!(p.seen(), [""; 0]);
    p.append("a.log", b"ly\nnew\n");
    p.append("b.log", b"first\n");
    p.append("c.log.gz", b"packed\n");
    p.append("d.txt", b"other\n");
    assert_eq!(p.seen(), ["partly", "new", "first"]);
    p.restart("*.log");
    p.append("e.log", b"while away\n");
    assert_eq!(p.seen(), ["while away"]);
    p.restart("*.txt");
    assert_eq!(p.seen(), [""; 0], "a path that was never looked at");
}

#[test]
fn a_line_is_seen_when_it_is_whole() {
    let mut p = Place::new("a.log");
    p.seen();
    p.append("a.log", b"one");
    assert_eq!(p.seen(), [""; 0]);
    p.restart("a.log");
    p.append("a.log", b" two\nthree");
    assert_eq!(p.seen(), ["one two"]);
    p.append("a.log", b"\n\r\n\xff\n");
    assert_eq!(p.seen(), ["three", "\r", "\u{fffd}"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_counted() {
    let mut p = Place::new("a.log");
    p.seen();
    p.append("a.log", &vec![b'x'; LINE_BYTES_MAX * 3]);
    let seen = p.seen();
    assert_eq!((seen.len(), seen[0].len()), (1, LINE_BYTES_MAX));
    p.restart("a.log");
    p.append("a.log", &vec![b'x'; LINE_BYTES_MAX * 2]);
    p.append("a.log", b" the end\nnext\n");
    assert_eq!(p.seen(), ["next"]);
    assert_eq!(p.gaps, BTreeMap::from([(Gap::LongLine, 1)]));
}

#[test]
fn a_renamed_file_is_read_to_its_end_also_over_a_restart() {
    let mut p = Place::new("a.log");
    p.append("a.log", b"zero\n");
    p.seen();
    for restarted in [false, true] {
        p.append("a.log", b"one\n");
        assert_eq!(p.seen(), ["one"]);
        std::fs::rename(p.at("a.log"), p.at("a.log.1")).expect("renamed");
        p.append("a.log.1", b"two\n");
        p.append("a.log", b"three\n");
        if restarted {
            p.restart("a.log");
        }
        assert_eq!(p.seen(), ["two", "three"], "{restarted}");
        p.append("a.log.1", b"late\n");
        assert_eq!(p.seen(), ["late"], "{restarted}");
        p.now_ms += GRACE_MS;
        p.seen();
        assert_eq!(p.cursors.len(), 2, "one place and one path: {:?}", p.cursors);
    }
    assert!(p.gaps.is_empty());
}

#[test]
fn a_file_that_ends_without_a_line_break_is_whole_when_nobody_writes_it_any_more() {
    let mut p = Place::new("a.log");
    p.seen();
    p.append("a.log", b"one\nlast words");
    assert_eq!(p.seen(), ["one"]);
    std::fs::remove_file(p.at("a.log")).expect("removed");
    assert_eq!(p.seen(), [""; 0]);
    p.now_ms += GRACE_MS;
    assert_eq!(p.seen(), ["last words"]);
}

#[test]
fn a_truncated_file_begins_anew() {
    let mut p = Place::new("a.log");
    p.seen();
    p.append("a.log", b"one\ntwo\n");
    assert_eq!(p.seen(), ["one", "two"]);
    std::fs::write(p.at("a.log"), b"three\n").expect("written");
    assert_eq!(p.seen(), ["three"]);
    std::fs::write(p.at("a.log"), b"four, longer than before\nfive\n").expect("written");
    assert_eq!(p.seen(), ["four, longer than before", "five"]);
    p.restart("a.log");
    std::fs::write(p.at("a.log"), b"six, and longer still than it ever was\n").expect("written");
    assert_eq!(p.seen(), ["six, and longer still than it ever was"]);
    assert_eq!(p.gaps.get(&Gap::Truncated), Some(&2), "{:?}", p.gaps);
}

#[test]
fn a_place_that_is_lost_is_counted() {
    let mut p = Place::new("a.log");
    p.seen();
    p.append("a.log", b"one\n");
    p.seen();
    std::fs::remove_file(p.at("a.log")).expect("removed");
    p.append("b.log", b"in the way of the inode\n");
    p.append("a.log", b"two\n");
    p.restart("a.log");
    assert_eq!(p.seen(), ["two"]);
    assert_eq!(p.gaps, BTreeMap::from([(Gap::Gone, 1)]));
}

/// Packs a file as gzip does; the time at which it was written is kept, or not.
fn pack(path: &Path, keep_time: bool) {
    let mut file = std::fs::File::open(path).expect("opened");
    let written = file.metadata().and_then(|m| m.modified()).expect("it has a time");
    let packed = std::fs::File::create(format!("{}.gz", path.display())).expect("made");
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    std::io::copy(&mut file, &mut encoder).expect("packed");
    let packed = encoder.finish().expect("packed");
    if keep_time {
        packed.set_modified(written).expect("set");
    }
    std::fs::remove_file(path).expect("removed");
}

fn long(text: &str) -> Vec<u8> {
    format!("{text} and enough words to tell this file from every other one\n").into_bytes()
}

fn short(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| line.split(" and").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_was_packed_while_nobody_looked_is_read_once() {
    for keep_time in [true, false] {
        let mut p = Place::new("a.log");
        p.seen();
        p.append("a.log", &long("one"));
        assert_eq!(short(p.seen()), ["one"]);
        p.append("a.log", &long("two"));
        std::fs::rename(p.at("a.log"), p.at("a.log.2")).expect("renamed");
        pack(&p.at("a.log.2"), keep_time);
        p.append("a.log.1", &long("three"));
        p.append("a.log.1", &long("four"));
        pack(&p.at("a.log.1"), keep_time);
        p.append("a.log", &long("five"));
        p.restart("a.log");
        assert_eq!(short(p.seen()), ["two", "three", "four", "five"]);
        p.restart("a.log");
        p.now_ms += GRACE_MS;
        std::fs::rename(p.at("a.log"), p.at("a.log.0")).expect("renamed");
        p.append("a.log", &long("six"));
        assert_eq!(short(p.seen()), ["six"]);
        assert!(p.gaps.is_empty(), "{:?}", p.gaps);
    }
}

#[test]
fn what_was_copied_away_before_the_file_was_emptied_is_read_from_the_copy() {
    for pattern in ["a.log", "a.log*"] {
        for packed in [false, true] {
            let mut p = Place::new(pattern);
            p.append("a.log", &long("zero"));
            p.seen();
            for restarted in [false, true] {
                p.append("a.log", &long("one"));
                assert_eq!(short(p.seen()), ["one"]);
                p.append("a.log", &long("two"));
                let copy = p.at(if restarted { "a.log.2" } else { "a.log.1" });
                std::fs::copy(p.at("a.log"), &copy).expect("copied");
                if packed {
                    pack(&copy, false);
                }
                std::fs::write(p.at("a.log"), long("three")).expect("emptied");
                if restarted {
                    p.restart(pattern);
                }
                assert_eq!(short(p.seen()), ["two", "three"], "{pattern} {packed} {restarted}");
                p.now_ms += GRACE_MS;
                assert_eq!(short(p.seen()), [""; 0]);
            }
            assert!(p.gaps.is_empty(), "{:?}", p.gaps);
        }
    }
}

#[test]
fn what_is_packed_and_damaged_is_counted() {
    let mut p = Place::new("a.log");
    p.seen();
    p.append("a.log", &long("one"));
    p.seen();
    (0..5000).for_each(|n| p.append("a.log", &long(&format!("{}", n * 7919))));
    std::fs::rename(p.at("a.log"), p.at("a.log.1")).expect("renamed");
    pack(&p.at("a.log.1"), true);
    let gz = OpenOptions::new().write(true).open(p.at("a.log.1.gz")).expect("opened");
    gz.set_len(gz.metadata().expect("known").len() / 2).expect("cut");
    p.append("a.log", &long("after"));
    p.restart("a.log");
    let seen = p.seen();
    assert!(seen.len() > 100 && seen.last().is_some_and(|l| l.starts_with("after")), "{}", seen.len());
    assert_eq!(p.gaps, BTreeMap::from([(Gap::Damaged, 1)]));
}

#[test]
fn utf16_is_read_as_it_says_of_itself() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let mut p = Place::new("*.log");
    p.append("a.log", &utf16("\u{feff}old\nha"));
    p.seen();
    p.append("a.log", &utf16("lf gr\u{fc}n \u{a0a}\n"));
    p.append("b.log", &utf16("\u{feff}new\nrest"));
    assert_eq!(p.seen(), ["half gr\u{fc}n \u{a0a}", "new"]);
    p.restart("*.log");
    p.append("b.log", &utf16("\n"));
    assert_eq!(p.seen(), ["rest"]);
}

#[test]
fn records_come_whole_or_when_nothing_is_added_to_them() {
    let mut p = Place::new("a.log");
    let record = crate::config::Record {
        start: Some(crate::config::At::of("^[A-Z]".parse().expect("a pattern"))),
        continuation: None,
    };
    p.tailer.manner.splitter = Splitter::new(&record).expect("small");
    p.seen();
    p.append("a.log", b"A one\n  two\nB three\n");
    assert_eq!(p.seen(), ["A one", "  two"]);
    p.append("a.log", b"  four\n");
    p.restart("a.log");
    assert_eq!(p.seen(), [""; 0], "it may not be whole");
    p.now_ms += WAIT_MS;
    assert_eq!(p.seen(), ["B three", "  four"]);
    p.append("a.log", &[b"C\n".as_slice(), &vec![b'x'; LINE_BYTES_MAX * 6], b"\nD\nE\n"].concat());
    assert_eq!(p.seen().iter().map(|l| l.len().min(9)).collect::<Vec<_>>(), [1, 9, 1]);
    assert_eq!(p.gaps, BTreeMap::from([(Gap::LongLine, 1)]));
}

#[test]
fn only_what_changed_is_looked_at() {
    let mut p = Place::new("*.log");
    p.seen();
    p.append("a.log", b"one\n");
    p.append("b.log", b"two\n");
    p.seen();
    p.append("a.log", b"three\n");
    p.append("b.log", b"four\n");
    let changes = Changes { structure: false, written: [p.at("b.log"), p.at("c.log")].into() };
    assert!(p.tailer.concerned(&changes));
    let mut seen = Vec::new();
    p.tailer.look(Some(&changes), 1000, &mut |lines| seen.extend_from_slice(lines.text));
    assert_eq!(seen, b"four\n");
    assert_eq!(p.seen(), ["three"]);
}
