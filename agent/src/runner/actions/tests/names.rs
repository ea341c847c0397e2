//! Files and folders that are named as an attacker would name them: each action works on that one, and on nothing that
//! a shell, a pattern or an option would make of the name.

use super::files::done_and_undone;
use super::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Names that a path may hold.
const NAMES: [&str; 12] = [
    "CANARY;touch c",
    "$(touch c)",
    "`touch c`",
    "a b  c",
    "--output=c",
    "-rf",
    "{{name}}${name}$name%n",
    "*?[a-z]",
    "quo\"te'\\",
    "txt.\u{202e}exe\u{200b}",
    "~root",
    "|&<>#!",
];

/// Names that no path of ours holds, and that a host may have all the same.
const ODD: [&[u8]; 4] = [b"core.two\nlines", b"core.\x1b[2J\x07", b"core.\xff\xfe", b"core.\r.."];

#[test]
fn every_action_on_files_keeps_to_a_folder_however_it_is_named() {
    for name in NAMES {
        for (case, make) in CASES {
            done_and_undone(World::named(name, None), &format!("{case} in {name:?}"), *make);
        }
    }
}

#[test]
fn a_file_is_itself_however_it_is_named() {
    type Make = fn(AbsPath) -> Action;
    let actions: [(&str, Make); 4] = [
        ("truncate", |path| Action::FileTruncate { path }),
        ("quarantine", |path| Action::FileQuarantine { path }),
        ("mode", |path| Action::FileMode { path, mode: Word::new("0600").expect("valid") }),
        ("rotate", |path| Action::FileRotate { path, keep: 2 }),
    ];
    for name in NAMES {
        for (what, action) in actions {
            let mut world = World::new();
            // What a name would stand for, were it more than a name.
            for other in NAMES.iter().chain(&["c", "a", "b", "name", "root", "output"]) {
                world.file(other, other, 5);
            }
            let before = world.fingerprint();
            let step = step(action(world.path(name)));
            let prior = capture(&mut world.bench, context(&step)).expect("captured");
            let done = perform(&mut world.bench, context(&step), &prior);
            assert!(matches!(done, StepResult::Done { .. }), "{what} {name:?}: {done:?}");
            let after = world.fingerprint();
            let touched = |of: &str| of == name || (what == "rotate" && of == format!("{name}.1"));
            for (other, looks) in before.iter().filter(|(other, _)| !touched(other)) {
                assert_eq!(after.get(other), Some(looks), "{what} {name:?} touched {other:?}");
            }
            assert!(restored(&undo(&mut world.bench, context(&step), &prior)), "{what} {name:?}");
            assert_eq!(world.fingerprint(), before, "{what} {name:?}");
        }
    }
}

#[test]
fn no_path_holds_what_ends_a_line_or_leads_elsewhere() {
    let bad = ["/a\nb", "/a\0b", "/a\u{1b}[2Jb", "/a/../b", "a", "-rf", "/a/./b", "//a", "/a/", "", "$(x)"];
    for text in bad.into_iter().map(str::to_owned).chain(["/".to_owned() + &"x".repeat(1 << 20)]) {
        assert!(AbsPath::new(text.clone()).is_err(), "{text:.40?}");
    }
}

#[test]
fn what_is_pruned_by_a_pattern_may_have_any_name_and_comes_back() {
    let mut world = World::new();
    world.file("core.plain", "plain", 10);
    world.file("other", "stays", 99);
    for (n, name) in ODD.iter().enumerate() {
        fs::write(world.real("").join(OsStr::from_bytes(name)), [n as u8]).expect("written");
    }
    let list = |world: &World| {
        let entries = fs::read_dir(world.real("")).expect("listed").map(|entry| entry.expect("entry"));
        let mut all: Vec<_> = entries
            .map(|entry| {
                let told = entry.metadata().expect("stat");
                (entry.file_name(), fs::read(entry.path()).expect("read"), told.mtime_nsec(), told.mode())
            })
            .collect();
        all.sort();
        all
    };
    let before = list(&world);
    let prune = Action::FilePrune {
        directory: AbsPath::new(world.real("").to_str().expect("text").trim_end_matches('/')).expect("valid"),
        pattern: Glob::new("core.*").expect("valid"),
        keep_newest: 0,
        group_until: None,
        group_parts: None,
        min_age_s: 0,
        discard: false,
    };
    let step = step(prune);
    let captured = capture(&mut world.bench, context(&step));
    if let Ok(prior) = captured {
        let done = perform(&mut world.bench, context(&step), &prior);
        assert!(matches!(done, StepResult::Done { .. }), "{done:?}");
        let left = list(&world);
        assert!(left.len() < before.len() && left.iter().any(|(name, ..)| name == "other"), "{left:?}");
        assert!(restored(&undo(&mut world.bench, context(&step), &prior)));
    }
    assert_eq!(list(&world), before, "whatever it made of the names, nothing is lost");
}
