//! The real agent is killed again and again while a log floods and rotates: at the end each line has counted once.
//!
//! `SOPWITH_FLOOD_LINES` says how many lines there are; 10,000,000 take some minutes in release.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LINES: u64 = 200_000;
/// Rules tell lines apart by their last two digits.
const RULES: u64 = 100;
/// Without progress for so long the agent is stuck.
const STUCK: Duration = Duration::from_secs(60);

fn lines() -> u64 {
    let said = std::env::var("SOPWITH_FLOOD_LINES").ok();
    said.map_or(LINES, |text| text.parse().expect("a number of lines"))
}

/// A small generator, so that what happens is told by its seed.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let place = Self { folder };
        for made in ["state", "run", "logs", "declarations"] {
            fs::create_dir(place.path(made)).expect("made");
        }
        let mut rules = String::new();
        for n in 0..RULES {
            rules.push_str(&format!(
                "  - {{name: n{n:02}, pattern: '{n:02} of the flood$', cpu_percent: 100}}\n"
            ));
        }
        let at = place.folder.path().display();
        let config = format!(
            "host: flood\nstate_dir: {at}/state\nruntime_dir: {at}/run\ndeclarations_dir: {at}/declarations\n\
             metrics_listen: 127.0.0.1:0\nunits: {{failed: {{watch: none}}}}\nfilesystems: {{watch: none}}\n\
             logs:\n- name: flood\n  paths: [{at}/logs/a.log]\n  rules:\n{rules}"
        );
        fs::write(place.path("agent.yaml"), config).expect("written");
        File::create(place.path("logs/a.log")).expect("made");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sopwith-agent"));
        command.arg("--config").arg(self.path("agent.yaml")).arg("watch").env("RUST_LOG", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts")
    }

    /// Returns what is kept of the log, by name.
    fn kept(&self) -> BTreeMap<String, String> {
        use rusqlite::{Connection, OpenFlags};
        let file = self.path("state/watcher/spool.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let Ok(db) = Connection::open_with_flags(file, flags) else { return BTreeMap::new() };
        db.busy_timeout(Duration::from_secs(5)).expect("set");
        let Ok(mut query) = db.prepare("SELECT name, value FROM cursor WHERE source = 'logs'") else {
            return BTreeMap::new();
        };
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("asked");
        rows.collect::<Result<_, _>>().expect("read")
    }

    fn seen(&self) -> serde_json::Value {
        let kept = self.kept();
        kept.get("flood/seen").map_or(serde_json::Value::Null, |t| serde_json::from_str(t).expect("JSON"))
    }
}

/// Writes the lines and rotates in every way in which none of them is lost.
fn flood(logs: &Path, lines: u64, written: &AtomicU64) {
    let mut dice = Dice(lines);
    let live = logs.join("a.log");
    let open =
        || BufWriter::new(fs::OpenOptions::new().append(true).create(true).open(&live).expect("opened"));
    let (mut file, mut rotated) = (open(), 0);
    let mut next_rotation = 3_000;
    for n in 0..lines {
        writeln!(file, "2026-01-02T03:04:05 host app[7]: this is line {n:010} of the flood")
            .expect("written");
        if n % 500 == 0 {
            file.flush().expect("written");
            written.store(n, Ordering::Relaxed);
            if lines <= 1_000_000 {
                // A short flood takes long enough for some kills.
                std::thread::sleep(Duration::from_millis(6));
            }
        }
        if n == next_rotation {
            next_rotation += lines / 60 + dice.roll(lines / 30);
            rotated += 1;
            file.flush().expect("written");
            let old = logs.join(format!("a.log.{rotated}"));
            match dice.roll(3) {
                0 => fs::rename(&live, &old).expect("renamed"),
                1 => {
                    fs::rename(&live, &old).expect("renamed");
                    pack(&old);
                }
                _ => {
                    fs::copy(&live, &old).expect("copied");
                    File::create(&live).expect("emptied");
                }
            }
            file = open();
        }
    }
    file.flush().expect("written");
    written.store(lines, Ordering::Relaxed);
}

fn pack(path: &Path) {
    let mut file = File::open(path).expect("opened");
    let written = file.metadata().and_then(|m| m.modified()).expect("it has a time");
    let packed = File::create(format!("{}.gz", path.display())).expect("made");
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    std::io::copy(&mut file, &mut encoder).expect("packed");
    encoder.finish().expect("packed").set_modified(written).expect("set");
    fs::remove_file(path).expect("removed");
}

fn end(mut agent: Child) {
    agent.kill().expect("killed");
    agent.wait().expect("it ended");
}

/// Waits until something is so, as long as there is progress.
fn wait(what: &str, mut progress: impl FnMut() -> (u64, bool)) {
    let (mut last, mut since) = (u64::MAX, Instant::now());
    loop {
        let (now, done) = progress();
        if done {
            return;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < STUCK, "{what}: stuck at {now}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_in_a_rotating_flood_no_line_is_lost_or_counts_twice() {
    let (place, lines) = (Place::new(), lines());
    let agent = place.start();
    wait("the first look", || (0, place.kept().keys().any(|name| name.contains("begun:"))));
    end(agent);
    let (logs, written, done) = (place.path("logs"), AtomicU64::new(0), AtomicBool::new(false));
    let mut kills = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            flood(&logs, lines, &written);
            done.store(true, Ordering::Relaxed);
        });
        let mut dice = Dice(7);
        while !done.load(Ordering::Relaxed) {
            let agent = place.start();
            std::thread::sleep(Duration::from_millis(60 + dice.roll(300)));
            end(agent);
            kills += 1;
            if dice.roll(4) == 0 {
                // It stays away for a while, and much may rotate meanwhile.
                std::thread::sleep(Duration::from_millis(dice.roll(400)));
            }
        }
    });
    let agent = place.start();
    wait("the rest", || {
        let seen = place.seen()["lines"].as_u64().unwrap_or(0);
        (seen, seen >= lines)
    });
    // What is read twice may come late: the packed files are done with when their places are forgotten.
    std::thread::sleep(Duration::from_millis(1_500));
    end(agent);
    let seen = place.seen();
    assert!(kills >= 2, "it was killed {kills} times");
    assert_eq!(seen["lines"].as_u64(), Some(lines), "killed {kills} times");
    let wrong: Vec<_> = (0..RULES)
        .filter_map(|n| {
            let count = seen["matches"][format!("n{n:02}")].as_u64().unwrap_or(0);
            (count != lines / RULES).then(|| format!("lines that end in {n:02}: {count}"))
        })
        .collect();
    assert_eq!(wrong, [""; 0], "of each {} expected; killed {kills} times", lines / RULES);
    println!("{lines} lines, killed {kills} times: each counted once");
}
