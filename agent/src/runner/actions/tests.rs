//! Every action that needs no systemd, in a small world of its own: after an undo the world is as it was, byte for
//! byte, mode for mode, to the nanosecond; also when the undo is done twice, and when the step was interrupted.

use super::*;
use rustix::process::geteuid;
use sopwith_domain::action::ProcessSignal;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::value::{AbsPath, Glob, ProcessRef};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

struct World {
    folder: tempfile::TempDir,
    bench: Workbench,
}

impl World {
    fn new() -> Self {
        Self::with_quarantine_in(&std::env::temp_dir())
    }

    /// With quarantine elsewhere, to have it on another file system.
    fn with_quarantine_in(_other: &Path) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let quarantine = folder.path().join("quarantine");
        prepare(&quarantine).expect("quarantine");
        fs::create_dir(folder.path().join("w")).expect("mkdir");
        let bench = Workbench {
            quarantine: Quarantine::new(quarantine),
            systemd: Systemd::default(),
            programs: Programs { supervisor: "/nonexistent".into() },
            processes: BTreeMap::new(),
        };
        Self { folder, bench }
    }

    fn path(&self, name: &str) -> AbsPath {
        AbsPath::new(self.real(name).to_str().expect("text")).expect("valid")
    }
    fn real(&self, name: &str) -> PathBuf {
        self.folder.path().join("w").join(name)
    }

    /// Makes a file with an odd mode, an old time, an attribute and, as root, an owner of its own.
    fn file(&self, name: &str, content: &str, age_s: u64) {
        let path = self.real(name);
        fs::write(&path, content).expect("write");
        let file = File::open(&path).expect("open");
        // Not every file system of a test machine has attributes for users.
        let _ = xattr::FileExt::set_xattr(&file, "user.note", name.as_bytes());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1234), Some(4321)).expect("chown");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o2640)).expect("chmod");
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000 - age_s, 123_456_789);
        file.set_times(FileTimes::new().set_accessed(time).set_modified(time)).expect("utimes");
    }

    /// Everything about every file, but for access times, which looking changes.
    fn fingerprint(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(self.real("")).expect("list") {
            let entry = entry.expect("entry");
            let file = File::open(entry.path()).expect("open");
            let m = file.metadata().expect("stat");
            let content = if m.is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
            let attributes: Vec<_> = xattr::FileExt::list_xattr(&file)
                .into_iter()
                .flatten()
                .map(|n| (n.clone(), xattr::FileExt::get_xattr(&file, &n).ok().flatten()))
                .collect();
            let text = format!(
                "{:o} {}:{} {}.{:09} {} {attributes:?} {content:?}",
                m.mode(),
                m.uid(),
                m.gid(),
                m.mtime(),
                m.mtime_nsec(),
                m.nlink(),
            );
            all.insert(entry.file_name().into_string().expect("text"), text);
        }
        all
    }
}

fn step(action: Action) -> Step {
    let undo = action.undo();
    let name = String::new();
    Step { name, require: vec![], action, expect: vec![], undo, irreversible_because: None, timeout_ms: 5000 }
}

fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

fn restored(outcome: &UndoOutcome) -> bool {
    matches!(outcome, UndoResult::Restored { .. })
}

/// A world and the action to be done in it.
type Case = (&'static str, fn(&World) -> Action);

/// Every file action, on a world in which it has something to do.
const CASES: &[Case] = &[
    ("truncate", |w| {
        w.file("log", "old lines\n", 10);
        Action::FileTruncate { path: w.path("log") }
    }),
    ("rotate", |w| {
        w.file("log", "now", 1);
        w.file("log.1", "yesterday", 2);
        w.file("log.2", "long ago", 3);
        Action::FileRotate { path: w.path("log"), keep: 2 }
    }),
    ("rotate up to a gap", |w| {
        w.file("log", "now", 1);
        w.file("log.2", "long ago", 3);
        Action::FileRotate { path: w.path("log"), keep: 2 }
    }),
    ("prune", |w| {
        for (n, age_s) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
            w.file(&format!("core.a.{n}"), &format!("a{n}"), age_s);
            w.file(&format!("core.b.{n}"), &format!("b{n}"), age_s);
        }
        w.file("other", "stays", 99);
        Action::FilePrune {
            directory: w.path("other").as_str().trim_end_matches("/other").parse().expect("valid"),
            pattern: Glob::new("core.*").expect("valid"),
            keep_newest: 1,
            group_until: Some('.'),
            group_parts: None,
            min_age_s: 0,
        }
    }),
    ("quarantine", |w| {
        w.file("stale.pid", "4711\n", 5);
        Action::FileQuarantine { path: w.path("stale.pid") }
    }),
    ("restore", |w| {
        w.file("conf", "broken", 5);
        w.file("good", "right", 500);
        Action::FileRestore { path: w.path("conf"), from: w.path("good") }
    }),
    ("restore what is gone", |w| {
        w.file("good", "right", 500);
        if geteuid().is_root() {
            std::os::unix::fs::chown(w.real("good"), Some(0), Some(0)).expect("chown");
        }
        Action::FileRestore { path: w.path("conf"), from: w.path("good") }
    }),
    ("write", |w| {
        w.file("conf", "broken", 5);
        Action::FileWrite { path: w.path("conf"), content: "right".into() }
    }),
    ("write anew", |w| Action::FileWrite { path: w.path("conf"), content: "right".into() }),
    ("mode", |w| {
        w.file("conf", "text", 5);
        Action::FileMode { path: w.path("conf"), mode: Word::new("0600").expect("valid") }
    }),
    ("owner", |w| {
        w.file("conf", "text", 5);
        let root = geteuid().is_root();
        let own = |id: u32| Word::new(if root { "1".to_owned() } else { id.to_string() }).expect("valid");
        let (user, group) = (own(geteuid().as_raw()), own(rustix::process::getegid().as_raw()));
        Action::FileOwner { path: w.path("conf"), user, group }
    }),
];

#[test]
fn done_and_undone_leaves_the_world_as_it_was() {
    for (name, make) in CASES {
        let mut world = World::new();
        let step = step(make(&world));
        let context = context(&step);
        let before = world.fingerprint();
        let prior = capture(&mut world.bench, context).unwrap_or_else(|e| panic!("{name}: {e}"));
        let outcome = perform(&mut world.bench, context, &prior);
        assert!(matches!(outcome, StepResult::Done { .. }), "{name}: {outcome:?}");
        if *name != "owner" || geteuid().is_root() {
            assert_ne!(world.fingerprint(), before, "{name} does something");
        }
        let probed = probe(&mut world.bench, context, &prior);
        if *name != "owner" || geteuid().is_root() {
            assert!(matches!(probed, Effect::Took { .. }), "{name}: {probed:?}");
        }
        for round in ["once", "twice"] {
            let undone = undo(&mut world.bench, context, &prior);
            assert!(restored(&undone), "{name} {round}: {undone:?}");
            assert_eq!(world.fingerprint(), before, "{name} undone {round}");
        }
    }
}

#[test]
fn interrupted_before_its_effect_it_is_probed_and_undone_without_a_trace() {
    for (name, make) in CASES {
        let mut world = World::new();
        let step = step(make(&world));
        let context = context(&step);
        let before = world.fingerprint();
        // A crash before the record: capture is made anew.
        capture(&mut world.bench, context).unwrap_or_else(|e| panic!("{name}: {e}"));
        let prior = capture(&mut world.bench, context).unwrap_or_else(|e| panic!("{name}: {e}"));
        let probed = probe(&mut world.bench, context, &prior);
        if *name != "owner" || geteuid().is_root() {
            assert!(matches!(probed, Effect::None { .. }), "{name}: {probed:?}");
        }
        for _ in 0..2 {
            let undone = undo(&mut world.bench, context, &prior);
            assert!(restored(&undone), "{name}: {undone:?}");
            assert_eq!(world.fingerprint(), before, "{name}");
        }
    }
}

#[test]
fn what_was_left_beside_the_target_by_a_crash_is_taken_away() {
    let mut world = World::new();
    world.file("conf", "broken", 5);
    let step = step(Action::FileWrite { path: world.path("conf"), content: "right".into() });
    let before = world.fingerprint();
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    let half =
        quarantine::beside(context(&step), &Place::of(&world.path("conf")).expect("place")).expect("beside");
    fs::write(half.shown(), "ri").expect("write");
    assert_ne!(world.fingerprint(), before);
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::None { .. }));
    assert!(restored(&undo(&mut world.bench, context(&step), &prior)));
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn half_a_prune_and_half_a_rotation_are_undone_whole() {
    let mut world = World::new();
    let pruning = step(CASES.iter().find(|(name, _)| *name == "prune").expect("there").1(&world));
    let before = world.fingerprint();
    let prior = capture(&mut world.bench, context(&pruning)).expect("captured");
    fs::remove_file(world.real("core.a.4")).expect("remove");
    assert!(matches!(probe(&mut world.bench, context(&pruning), &prior), Effect::Unknown { .. }));
    let undone = undo(&mut world.bench, context(&pruning), &prior);
    assert!(restored(&undone), "{undone:?}");
    assert_eq!(world.fingerprint(), before);

    let mut world = World::new();
    let rotating = step(CASES.iter().find(|(name, _)| *name == "rotate").expect("there").1(&world));
    let before = world.fingerprint();
    let prior = capture(&mut world.bench, context(&rotating)).expect("captured");
    fs::remove_file(world.real("log.2")).expect("remove");
    assert!(matches!(probe(&mut world.bench, context(&rotating), &prior), Effect::Unknown { .. }));
    fs::rename(world.real("log.1"), world.real("log.2")).expect("rename");
    assert!(matches!(probe(&mut world.bench, context(&rotating), &prior), Effect::Unknown { .. }));
    let undone = undo(&mut world.bench, context(&rotating), &prior);
    assert!(restored(&undone), "{undone:?}");
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn what_somebody_else_did_since_is_left_alone_and_said() {
    for (name, target) in [
        ("rotate", "log"),
        ("prune", "core.a.4"),
        ("quarantine", "stale.pid"),
        ("restore", "conf"),
        ("restore what is gone", "conf"),
        ("write", "conf"),
        ("write anew", "conf"),
    ] {
        let mut world = World::new();
        let step = step(CASES.iter().find(|(n, _)| *n == name).expect("there").1(&world));
        let prior = capture(&mut world.bench, context(&step)).expect("captured");
        perform(&mut world.bench, context(&step), &prior);
        fs::write(world.real(target), "somebody else's").expect("write");
        for _ in 0..2 {
            let undone = undo(&mut world.bench, context(&step), &prior);
            assert!(!restored(&undone), "{name}: {undone:?}");
            assert_eq!(fs::read_to_string(world.real(target)).expect("there"), "somebody else's", "{name}");
        }
    }
    let mut world = World::new();
    world.file("conf", "text", 5);
    let step = step(Action::FileMode { path: world.path("conf"), mode: Word::new("0600").expect("valid") });
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    perform(&mut world.bench, context(&step), &prior);
    fs::set_permissions(world.real("conf"), Permissions::from_mode(0o644)).expect("chmod");
    assert!(!restored(&undo(&mut world.bench, context(&step), &prior)));
    assert_eq!(fs::metadata(world.real("conf")).expect("there").mode() & 0o7777, 0o644);
}

#[test]
fn what_changed_between_capture_and_step_is_not_touched() {
    for (name, target) in
        [("quarantine", "stale.pid"), ("restore", "conf"), ("write", "conf"), ("mode", "conf")]
    {
        let mut world = World::new();
        let step = step(CASES.iter().find(|(n, _)| *n == name).expect("there").1(&world));
        let prior = capture(&mut world.bench, context(&step)).expect("captured");
        fs::remove_file(world.real(target)).expect("remove");
        fs::write(world.real(target), "somebody else's").expect("write");
        let outcome = perform(&mut world.bench, context(&step), &prior);
        assert!(matches!(outcome, StepResult::Failed { .. }), "{name}: {outcome:?}");
        assert_eq!(fs::read_to_string(world.real(target)).expect("there"), "somebody else's", "{name}");
    }
}

#[test]
fn lines_written_to_a_truncated_log_stay_behind_the_old_ones() {
    for append in [true, false] {
        let mut world = World::new();
        world.file("log", "old\n", 10);
        let mut writer = OpenOptions::new().append(append).write(true).open(world.real("log")).expect("open");
        if !append {
            std::io::Seek::seek(&mut writer, std::io::SeekFrom::End(0)).expect("seek");
        }
        let step = step(Action::FileTruncate { path: world.path("log") });
        let prior = capture(&mut world.bench, context(&step)).expect("captured");
        writer.write_all(b"late\n").expect("write");
        perform(&mut world.bench, context(&step), &prior);
        writer.write_all(b"new\n").expect("write");
        for _ in 0..2 {
            assert!(restored(&undo(&mut world.bench, context(&step), &prior)));
            assert_eq!(fs::read_to_string(world.real("log")).expect("text"), "old\nlate\nnew\n", "{append}");
        }
    }
}

#[test]
fn links_pipes_and_files_with_two_names_are_refused() {
    let mut world = World::new();
    world.file("real", "text", 5);
    std::os::unix::fs::symlink(world.real("real"), world.real("link")).expect("symlink");
    world.file("one", "text", 5);
    fs::hard_link(world.real("one"), world.real("two")).expect("link");
    let fifo = rustix::fs::mknodat(
        rustix::fs::CWD,
        world.real("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    );
    fifo.expect("mkfifo");
    let mode = || Word::new("0600").expect("valid");
    for action in [
        Action::FileTruncate { path: world.path("link") },
        Action::FileQuarantine { path: world.path("link") },
        Action::FileWrite { path: world.path("link"), content: "x".into() },
        Action::FileMode { path: world.path("link"), mode: mode() },
        Action::FileTruncate { path: world.path("two") },
        Action::FileWrite { path: world.path("two"), content: "x".into() },
        Action::FileMode { path: world.path("two"), mode: mode() },
        Action::FileTruncate { path: world.path("pipe") },
        Action::FileQuarantine { path: world.path("pipe") },
        Action::FileTruncate { path: world.path("absent") },
        Action::FileQuarantine { path: world.path("absent") },
        Action::FileRestore { path: world.path("conf"), from: world.path("absent") },
        Action::FileRestore { path: world.path("conf"), from: world.path("link") },
    ] {
        let step = step(action);
        assert!(capture(&mut world.bench, context(&step)).is_err(), "{:?}", step.action);
    }
    fs::set_permissions(world.real("real"), Permissions::from_mode(0o666)).expect("chmod");
    let step = step(Action::FileRestore { path: world.path("conf"), from: world.path("real") });
    assert!(capture(&mut world.bench, context(&step)).is_err(), "a known-good copy that anybody can write");
}

#[test]
fn a_spoilt_copy_in_quarantine_is_not_put_back() {
    let mut world = World::new();
    world.file("conf", "broken", 5);
    let step = step(Action::FileWrite { path: world.path("conf"), content: "right".into() });
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    perform(&mut world.bench, context(&step), &prior);
    fs::write(world.bench.quarantine.folder(context(&step)).join("file"), "spoilt").expect("write");
    assert!(!restored(&undo(&mut world.bench, context(&step), &prior)));
    assert_eq!(fs::read_to_string(world.real("conf")).expect("there"), "right");
}

#[test]
fn a_deleted_file_that_is_held_open_is_emptied_and_its_bytes_kept() {
    let mut world = World::new();
    world.file("held.log", "bytes", 5);
    let path = world.real("held.log");
    let script = "exec 3>>\"$1\"; rm \"$1\"; read -r _";
    let mut holder = std::process::Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh");
    let inode = fs::metadata(&path).map(|m| m.ino()).expect("there");
    while path.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let seen = processes::look(holder.id()).expect("there");
    let process = ProcessRef { pid: seen.pid, start_ticks: seen.start_ticks };
    let inode = i64::try_from(inode).expect("fits");
    let step = step(Action::FileReclaimDeleted { process, path: world.path("held.log"), inode });
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::None { .. }));
    let outcome = perform(&mut world.bench, context(&step), &prior);
    assert!(matches!(outcome, StepResult::Done { .. }), "{outcome:?}");
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::Took { .. }));
    assert!(!restored(&undo(&mut world.bench, context(&step), &prior)));
    let kept = world.bench.quarantine.folder(context(&step)).join("file");
    assert_eq!(fs::read_to_string(kept).expect("kept"), "bytes");
    let other = super::tests::step(Action::FileReclaimDeleted {
        process,
        path: world.path("held.log"),
        inode: inode + 1,
    });
    assert!(capture(&mut world.bench, context(&other)).is_err(), "another inode");
    drop(holder.stdin.take());
    holder.wait().expect("ended");
    assert!(capture(&mut world.bench, context(&step)).is_err(), "the holder is gone");
}

#[test]
fn a_process_is_signalled_by_number_and_start_time() {
    let mut world = World::new();
    let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
    let seen = processes::look(child.id()).expect("there");
    let right = ProcessRef { pid: seen.pid, start_ticks: seen.start_ticks };
    let signal = |process| step(Action::ProcessSignal { process, signal: ProcessSignal::Term });
    for wrong in [
        ProcessRef { start_ticks: seen.start_ticks + 1, ..right },
        ProcessRef { pid: 1, start_ticks: processes::look(1).expect("there").start_ticks },
        ProcessRef {
            pid: std::process::id(),
            start_ticks: processes::look(std::process::id()).expect("there").start_ticks,
        },
    ] {
        assert!(capture(&mut world.bench, context(&signal(wrong))).is_err(), "{wrong:?}");
    }
    let step = signal(right);
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::Unknown { .. }));
    let outcome = perform(&mut world.bench, context(&step), &prior);
    assert!(matches!(&outcome, StepResult::Done { output } if output.contains("ended")), "{outcome:?}");
    assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::Took { .. }));
    assert!(matches!(perform(&mut world.bench, context(&step), &prior), StepResult::Failed { .. }));
    child.wait().expect("ended");
}

use std::process::Stdio;
