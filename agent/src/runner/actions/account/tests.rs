//! Accounts on tables of their own: done as Debian's tools do it, and undone to the byte.

use super::super::{Programs, Systemd, Workbench, capture, foresee, perform, prepare, probe, undo};
use super::*;
use sopwith_domain::action::Action;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::run::{Prior as Journaled, StepResult, UndoResult};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\njob:x:990:990::/srv:/bin/sh\n";
const SHADOW: &str = "root:$y$j9T$r:19000:0:99999:7:::\ntoor:$y$j9T$t:19000:0:99999:7:::\nalice:$y$j9T$a:19000:0:99999:7:::\njob:$y$j9T$j:19000:0:90:7:0:19500:\n";

struct Host {
    folder: tempfile::TempDir,
    bench: Workbench,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let etc = folder.path().join("etc");
        fs::create_dir(&etc).expect("made");
        for (name, text, mode) in
            [("passwd", PASSWD, 0o644), ("shadow", SHADOW, 0o640), ("group", "sudo:x:27:alice\n", 0o644)]
        {
            fs::write(etc.join(name), text).expect("written");
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(mode)).expect("chmod");
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(etc.join(name), Some(0), Some(42)).expect("chown");
            }
            let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 5);
            fs::File::options()
                .append(true)
                .open(etc.join(name))
                .and_then(|f| f.set_modified(old))
                .expect("set");
        }
        let quarantine = folder.path().join("quarantine");
        prepare(&quarantine).expect("quarantine");
        let bench = Workbench {
            quarantine: super::super::Quarantine::new(quarantine),
            systemd: Systemd::default(),
            programs: Programs::by("/nonexistent"),
            reclaimable: Vec::new(),
            processes: BTreeMap::new(),
            commands: BTreeMap::new(),
            tables: Tables::below(folder.path()),
            settings: None,
            own: Default::default(),
        };
        Self { folder, bench }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("etc").join(name)).expect("read")
    }

    /// Bytes, mode, owner and time of both tables.
    fn fingerprint(&self) -> Vec<String> {
        ["passwd", "shadow"]
            .map(|name| {
                let m = fs::metadata(self.folder.path().join("etc").join(name)).expect("stat");
                let text = self.read(name);
                format!("{:o} {}:{} {}.{:09} {text}", m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec())
            })
            .to_vec()
    }

    fn set(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name).replace(from, to);
        fs::write(self.folder.path().join("etc").join(name), text).expect("written");
    }
}

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

fn step(action: Action) -> Step {
    let undo = action.undo();
    let name = String::new();
    Step { name, require: vec![], action, expect: vec![], undo, irreversible_because: None, timeout_ms: 5000 }
}

fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

fn lock(name: &str, close_shell: bool) -> Action {
    Action::AccountLock { account: word(name), close_shell }
}

fn actions() -> Vec<Action> {
    vec![lock("alice", false), lock("toor", true), Action::AccountExpiry { account: word("job"), days: 90 }]
}

#[test]
fn done_and_undone_leaves_the_tables_as_they_were() {
    for action in actions() {
        let mut host = Host::new();
        let step = step(action);
        let (context, before) = (context(&step), host.fingerprint());
        let told = foresee(&mut host.bench, context).expect("foreseen");
        assert!(told.contains("would be"), "{told}");
        let prior = capture(&mut host.bench, context).expect("captured");
        assert!(!prior.to_string().contains("$y$"), "no hash is in the journal: {prior}");
        assert_eq!(host.fingerprint(), before);
        assert!(matches!(probe(&mut host.bench, context, &prior), Effect::None { .. }));
        let done = perform(&mut host.bench, context, &prior);
        assert!(matches!(done, StepResult::Done { .. }), "{done:?}");
        assert_ne!(host.fingerprint(), before);
        assert!(matches!(probe(&mut host.bench, context, &prior), Effect::Took { .. }));
        for _ in 0..2 {
            assert!(matches!(undo(&mut host.bench, context, &prior), UndoResult::Restored { .. }));
            assert_eq!(host.fingerprint(), before, "{:?}", step.action);
        }
    }
}

#[test]
fn what_others_changed_since_stays() {
    let mut host = Host::new();
    let step = step(lock("toor", true));
    let context = context(&step);
    let prior = capture(&mut host.bench, context).expect("captured");
    perform(&mut host.bench, context, &prior);
    host.set("shadow", "$y$j9T$a", "$y$j9T$new");
    assert!(matches!(undo(&mut host.bench, context, &prior), UndoResult::Restored { .. }));
    assert_eq!(host.read("shadow"), SHADOW.replace("$y$j9T$a", "$y$j9T$new"), "alice has her new password");
    assert_eq!(host.read("passwd"), PASSWD);
    // The very account was changed by somebody: it is left alone, and said so.
    let prior = capture(&mut host.bench, context).expect("captured");
    perform(&mut host.bench, context, &prior);
    host.set("shadow", "toor:!$y$j9T$t", "toor:$y$j9T$other");
    for _ in 0..2 {
        let undone = undo(&mut host.bench, context, &prior);
        assert!(matches!(&undone, UndoResult::Residue { what } if what.contains("left alone")), "{undone:?}");
        assert!(host.read("shadow").contains("toor:$y$j9T$other"));
        assert_eq!(host.read("passwd"), PASSWD, "what could be put back is");
    }
}

/// A crash between the two tables, and one before the rename.
#[test]
fn an_interrupted_change_is_undone() {
    let mut host = Host::new();
    let step = step(lock("toor", true));
    let (context, before) = (context(&step), host.fingerprint());
    let prior = capture(&mut host.bench, context).expect("captured");
    let kept = Kept::read(&host.bench.quarantine, context).expect("kept");
    let whole = host.bench.tables.read(Table::Passwd).expect("read");
    let bytes = lines::with_line(&whole.bytes, "toor", &kept.passwd.after).expect("a line");
    whole.replace(context, &bytes, None).expect("written");
    super::super::quarantine::beside(context, &whole.place).and_then(|place| place.create()).expect("left");
    assert!(matches!(probe(&mut host.bench, context, &prior), Effect::Unknown { .. }));
    assert!(matches!(undo(&mut host.bench, context, &prior), UndoResult::Restored { .. }));
    assert_eq!(host.fingerprint(), before);
    let left: Vec<_> = fs::read_dir(host.folder.path().join("etc")).expect("listed").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("sopwith")), "{left:?}");
}

#[test]
fn what_makes_no_sense_or_shuts_everybody_out_is_refused() {
    let refused = |host: &mut Host, action: Action| {
        let step = step(action);
        capture(&mut host.bench, context(&step)).expect_err("refused")
    };
    let mut host = Host::new();
    assert!(refused(&mut host, lock("nobody-here", false)).contains("no account"));
    host.set("shadow", "root:$y$", "root:!$y$");
    assert!(refused(&mut host, lock("alice", false)).contains("the last account"));
    host.set("passwd", "alice:x:1000", "toor:x:1000");
    assert!(refused(&mut host, lock("toor", false)).contains("two accounts"));
    let step = step(Action::AccountUnlock { account: word("root") });
    assert!(sopwith_domain::protect::refuse(&step.action).is_some(), "root is nobody's target");
}

/// What is done twice is done once: an account that is locked already is not the step's to unlock.
#[test]
fn what_was_so_before_stays_so() {
    let mut host = Host::new();
    host.set("shadow", "alice:$y$j9T$a:19000:0:99999:7:::", "alice:!$y$j9T$a:19000:0:99999:7::1:");
    let step = step(lock("alice", false));
    let (context, before) = (context(&step), host.fingerprint());
    let prior: Journaled = capture(&mut host.bench, context).expect("captured");
    assert!(matches!(perform(&mut host.bench, context, &prior), StepResult::Done { .. }));
    assert!(matches!(undo(&mut host.bench, context, &prior), UndoResult::Restored { .. }));
    assert_eq!(host.fingerprint(), before);
}

/// Asks Debian's usermod to do the same to the same tables.
#[test]
fn usermod_does_the_same() {
    if !Path::new("/usr/sbin/usermod").exists() || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: there is no usermod here, or not root: what it does was not compared");
        return;
    }
    for (close_shell, arguments) in
        [(false, &["-L", "-e", "1"][..]), (true, &["-L", "-e", "1", "-s", "/usr/sbin/nologin"])]
    {
        let (mut ours, theirs) = (Host::new(), Host::new());
        let step = step(lock("toor", close_shell));
        let prior = capture(&mut ours.bench, context(&step)).expect("captured");
        perform(&mut ours.bench, context(&step), &prior);
        let done = Command::new("/usr/sbin/usermod")
            .arg("--prefix")
            .arg(theirs.folder.path())
            .args(arguments)
            .arg("toor")
            .output()
            .expect("usermod runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for table in ["passwd", "shadow"] {
            assert_eq!(ours.read(table), theirs.read(table), "{table}");
        }
    }
}
