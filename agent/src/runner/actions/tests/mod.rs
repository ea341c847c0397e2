//! Every action that needs no systemd, in a small world of its own: after an undo the world is as it was, byte for
//! byte, mode for mode, to the nanosecond; also when the undo is done twice, and when the step was interrupted.

mod files;
mod foresee;
mod names;
mod process;

use super::*;
use rustix::process::geteuid;
use sopwith_domain::action::{FileFormat, ProcessSignal};
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::value::{AbsPath, Glob, ProcessRef};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

pub(super) struct World {
    folder: tempfile::TempDir,
    /// Name of the folder in it that is worked on.
    name: String,
    pub(super) bench: Workbench,
    /// Removed with the world.
    _other: Option<tempfile::TempDir>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_quarantine_in(None)
    }

    /// With quarantine in another folder, to have it on another file system.
    fn with_quarantine_in(other: Option<tempfile::TempDir>) -> Self {
        Self::named("w", other)
    }

    fn named(name: &str, other: Option<tempfile::TempDir>) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let root = other.as_ref().map_or(folder.path(), |other| other.path());
        let quarantine = root.join("quarantine");
        prepare(&quarantine).expect("quarantine");
        fs::create_dir(folder.path().join(name)).expect("mkdir");
        let bench = Workbench {
            quarantine: Quarantine::new(quarantine),
            systemd: Systemd::default(),
            programs: Programs::by("/nonexistent"),
            processes: BTreeMap::new(),
            reclaimable: Vec::new(),
            settings: None,
            own: Own::default(),
            commands: BTreeMap::new(),
            tables: Tables::default(),
        };
        Self { folder, name: name.to_owned(), bench, _other: other }
    }

    fn path(&self, name: &str) -> AbsPath {
        AbsPath::new(self.real(name).to_str().expect("text")).expect("valid")
    }
    fn real(&self, name: &str) -> PathBuf {
        self.folder.path().join(&self.name).join(name)
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

pub(super) fn step(action: Action) -> Step {
    let undo = action.undo();
    let name = String::new();
    Step { name, require: vec![], action, expect: vec![], undo, irreversible_because: None, timeout_ms: 5000 }
}

pub(super) fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

pub(super) fn restored(outcome: &UndoOutcome) -> bool {
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
            discard: false,
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
    ("edit", |w| {
        w.file("login.defs", "# why\nA\t99999\nB 2\n", 5);
        Action::FileEdit {
            path: w.path("login.defs"),
            format: FileFormat::LoginDefs,
            key: Word::new("A").expect("a word"),
            value: Word::new("90").expect("a word"),
        }
    }),
    ("edit by adding a line", |w| {
        w.file("pwquality.conf", "# minlen = 8", 5);
        Action::FileEdit {
            path: w.path("pwquality.conf"),
            format: FileFormat::Pwquality,
            key: Word::new("minlen").expect("a word"),
            value: Word::new("14").expect("a word"),
        }
    }),
    ("move", |w| {
        w.file("a.conf", "text", 5);
        Action::FileMove { path: w.path("a.conf"), to: w.path("a.conf.off") }
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
