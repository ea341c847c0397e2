use super::*;
use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

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
        let tailer = Tailer::new(paths, &BTreeMap::new());
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
            let looked = self.tailer.look(self.now_ms, &mut |lines| {
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
        self.tailer = Tailer::new(Self::paths(&self.dir, pattern), &self.cursors);
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

/// A small generator, so that a failure is replayed by its seed.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Numbered lines through any mixture of growth, rotation, restarts and kills between reading and keeping: each is
/// seen exactly once. Before a file is truncated it is read, which is the limit that the module states.
#[test]
fn no_line_is_lost_or_seen_twice_whatever_happens_to_the_file() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut p = Place::new("a.log");
        p.append("a.log", b"before\n");
        p.look();
        p.keep();
        let (mut next, mut rotated, mut story) = (0_u64, 0, Vec::new());
        for _ in 0..60 {
            let what = dice.roll(12);
            story.push(format!("{what} next {next} rotated {rotated} now {} {}", p.now_ms, p.tailer.story()));
            match what {
                0..=3 => {
                    for _ in 0..=dice.roll(4) {
                        p.append(
                            "a.log",
                            format!("line {next} {}\n", "x".repeat(dice.roll(200) as usize)).as_bytes(),
                        );
                        next += 1;
                    }
                }
                4 => {
                    // Half a line now, the rest later, as a writer does that is scheduled away.
                    p.append("a.log", format!("line {next}").as_bytes());
                    if dice.roll(2) == 0 {
                        p.look();
                    }
                    p.append("a.log", b" y\n");
                    next += 1;
                }
                5 => {
                    rotated += 1;
                    std::fs::rename(p.at("a.log"), p.at(&format!("a.log.{rotated}"))).ok();
                    p.append("a.log", b"");
                }
                6 => {
                    p.look();
                    p.keep();
                    std::fs::write(p.at("a.log"), b"").expect("truncated");
                    p.append("a.log", b"");
                }
                7 => {
                    // Deleted and made again: what was written and not yet read stays readable while it is open.
                    p.look();
                    p.keep();
                    std::fs::remove_file(p.at("a.log")).ok();
                    p.append("a.log", b"");
                }
                8 => {
                    // Kill in the middle: what was read and not kept is read again.
                    p.look();
                    p.restart("a.log");
                }
                9 => p.now_ms += GRACE_MS,
                _ => {
                    p.look();
                    p.keep();
                }
            }
        }
        p.look();
        p.look();
        p.keep();
        let numbers: Vec<u64> = p
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse().ok())
            .collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..next).collect::<Vec<_>>(), "seed {seed}: {story:#?}");
        assert_eq!(numbers, sorted, "in order, seed {seed}: {story:#?}");
    }
}
