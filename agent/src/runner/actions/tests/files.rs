//! Actions on files.

use super::*;

/// A world whose quarantine is in memory, where this machine has such a file system.
fn elsewhere() -> Option<World> {
    let other = tempfile::tempdir_in("/dev/shm").ok()?;
    let here = tempfile::tempdir().expect("tempdir");
    let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
    (device(other.path()) != device(here.path())).then(|| World::with_quarantine_in(Some(other)))
}

#[test]
fn done_and_undone_leaves_the_world_as_it_was() {
    for (name, make) in CASES {
        done_and_undone(World::new(), name, *make);
    }
}

#[test]
fn foreseeing_changes_nothing_and_has_something_to_say() {
    for (name, make) in CASES {
        let mut world = World::new();
        let step = step(make(&world));
        let before = world.fingerprint();
        let told = foresee(&mut world.bench, context(&step)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(told.contains("would"), "{name}: {told}");
        assert_eq!(world.fingerprint(), before, "{name}");
        let kept = fs::read_dir(world.folder.path().join("quarantine")).expect("quarantine");
        assert_eq!(kept.count(), 0, "{name} keeps nothing");
    }
}

#[test]
fn done_and_undone_across_file_systems_leaves_the_world_as_it_was() {
    for (name, make) in CASES {
        let Some(world) = elsewhere() else { return };
        done_and_undone(world, name, *make);
    }
}

pub(super) fn done_and_undone(mut world: World, name: &str, make: fn(&World) -> Action) {
    {
        let step = step(make(&world));
        let context = context(&step);
        let before = world.fingerprint();
        let prior = capture(&mut world.bench, context).unwrap_or_else(|e| panic!("{name}: {e}"));
        let outcome = perform(&mut world.bench, context, &prior);
        assert!(matches!(outcome, StepResult::Done { .. }), "{name}: {outcome:?}");
        if !name.starts_with("owner") || geteuid().is_root() {
            assert_ne!(world.fingerprint(), before, "{name} does something");
        }
        let probed = probe(&mut world.bench, context, &prior);
        if !name.starts_with("owner") || geteuid().is_root() {
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
fn bytes_that_do_not_fit_are_not_kept_and_the_step_says_so() {
    // Of a sparse file that is longer than any disk a copy cannot fit.
    let mut world = World::new();
    world.file("log", "", 10);
    let log = OpenOptions::new().write(true).open(world.real("log")).expect("open");
    let long = 1_u64 << 43;
    if log.set_len(long).is_err() {
        return;
    }
    let emptying = step(Action::FileTruncate { path: world.path("log") });
    let prior = capture(&mut world.bench, context(&emptying)).expect("captured");
    assert_eq!(prior["kept"], false);
    assert!(matches!(probe(&mut world.bench, context(&emptying), &prior), Effect::None { .. }));
    assert!(restored(&undo(&mut world.bench, context(&emptying), &prior)), "nothing was done yet");
    let outcome = perform(&mut world.bench, context(&emptying), &prior);
    assert!(matches!(&outcome, StepResult::Done { output } if output.contains("not kept")), "{outcome:?}");
    assert!(!restored(&undo(&mut world.bench, context(&emptying), &prior)));
    log.set_len(long).expect("long again");
    let writing = step(Action::FileWrite { path: world.path("log"), content: "x".into() });
    assert!(capture(&mut world.bench, context(&writing)).is_err(), "what cannot be kept is not replaced");
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

/// A service that the run started writes its pidfile, and leaves it behind when the undo of its start kills it.
#[test]
fn a_pidfile_that_the_dead_left_makes_room_for_the_one_before() {
    let own = std::process::id();
    let cases = [
        // What was moved away, what is there when it is undone, and whether the old one comes back.
        ("4000001\n", "4000002\n".to_owned(), true),
        ("4000001\n", format!("{own}\n"), false),
        ("4000001\n", "somebody's notes\n".to_owned(), false),
        ("notes\n", "4000002\n".to_owned(), false),
    ];
    for (old, new, expected) in cases {
        let mut world = World::new();
        world.file("x.pid", old, 10);
        let before = world.fingerprint();
        let step = step(Action::FileQuarantine { path: world.path("x.pid") });
        let prior = capture(&mut world.bench, context(&step)).expect("captured");
        perform(&mut world.bench, context(&step), &prior);
        fs::write(world.real("x.pid"), &new).expect("write");
        for _ in 0..2 {
            let undone = undo(&mut world.bench, context(&step), &prior);
            assert_eq!(restored(&undone), expected, "{old:?} {new:?}: {undone:?}");
            assert_eq!(world.fingerprint() == before, expected, "{old:?} {new:?}");
        }
        let there = fs::read_to_string(world.real("x.pid")).expect("there");
        assert_eq!(there, if expected { old.to_owned() } else { new });
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
