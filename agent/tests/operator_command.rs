//! `operator.command` with real programs: the files that it touches come back as they were, whatever the program did.

use sopwith_agent::runner::NamedCommand;
use sopwith_agent::runner::actions::{self, Programs, Quarantine, Systemd, Workbench};
use sopwith_domain::action::Action;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::run::{Effect, StepContext, StepResult, UndoResult};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, Word};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

struct World {
    folder: tempfile::TempDir,
    bench: Workbench,
}

fn name() -> Word {
    Word::new("renew").expect("a word")
}

impl World {
    fn new(argv: &[&str], undo: &[&str], probe: &[&str], check: &[&str], touches: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let quarantine = folder.path().join("quarantine");
        actions::prepare(&quarantine).expect("quarantine");
        let at = |text: &str| text.replace("@", folder.path().to_str().expect("text"));
        let all = |words: &[&str]| words.iter().map(|word| at(word)).collect::<Vec<_>>();
        let path = |text: &&str| Subject::Path(AbsPath::new(at(text)).expect("a path"));
        let named = NamedCommand {
            argv: all(argv),
            undo_argv: all(undo),
            probe_argv: all(probe),
            check_argv: all(check),
            touches: touches.iter().map(path).collect(),
            writes: None,
        };
        let bench = Workbench {
            quarantine: Quarantine::new(quarantine),
            systemd: Systemd::default(),
            programs: Programs::by(PathBuf::from(env!("CARGO_BIN_EXE_sopwith-agent"))),
            reclaimable: Vec::new(),
            processes: BTreeMap::new(),
            commands: BTreeMap::from([(name(), named)]),
            tables: Default::default(),
            settings: None,
            own: Default::default(),
        };
        fs::write(folder.path().join("new.pem"), "new certificate").expect("written");
        fs::write(folder.path().join("cert.pem"), "old certificate").expect("written");
        fs::set_permissions(folder.path().join("cert.pem"), fs::Permissions::from_mode(0o640))
            .expect("chmod");
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 5);
        let file = fs::File::options().append(true).open(folder.path().join("cert.pem")).expect("opened");
        file.set_modified(old).expect("set");
        Self { folder, bench }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fingerprint(&self) -> Vec<String> {
        let one = |name: &str| {
            let path = self.path(name);
            let Ok(m) = fs::metadata(&path) else { return format!("{name} is not there") };
            format!("{:o} {} {}.{:09} {:?}", m.mode(), m.uid(), m.mtime(), m.mtime_nsec(), fs::read(&path))
        };
        vec![one("cert.pem"), one("key.pem")]
    }
}

fn step() -> Step {
    let touches = vec![Subject::Path(AbsPath::new("/etc/web/cert.pem").expect("a path"))];
    let action = Action::OperatorCommand { command: name(), touches };
    let undo = action.undo();
    let name = String::new();
    Step { name, require: vec![], action, expect: vec![], undo, irreversible_because: None, timeout_ms: 5000 }
}

fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

const COPY: &[&str] = &["/bin/cp", "--no-preserve=all", "@/new.pem", "@/cert.pem"];

#[test]
fn files_come_back_as_they_were() {
    if !Path::new("/bin/cp").exists() {
        eprintln!("SKIPPED: this machine has no /bin/cp");
        return;
    }
    for (argv, check, succeeds) in [
        (COPY, &[][..], true),
        (&["/bin/cp", "@/new.pem", "@/key.pem"], &["/bin/true"], true),
        (&["/bin/mv", "@/cert.pem", "@/key.pem"], &["/bin/true"], true),
        (COPY, &["/bin/false"], false),
        (&["/bin/false"], &[], false),
        (&["/bin/no-such-program"], &[], false),
    ] {
        let mut world = World::new(argv, &[], &[], check, &["@/cert.pem", "@/key.pem"]);
        let (step, before) = (step(), world.fingerprint());
        let context = context(&step);
        let told = actions::foresee(&mut world.bench, context).expect("foreseen");
        assert!(told.contains("would be run"), "{told}");
        let prior = actions::capture(&mut world.bench, context).expect("captured");
        assert_eq!(world.fingerprint(), before);
        let done = actions::perform(&mut world.bench, context, &prior);
        assert_eq!(matches!(done, StepResult::Done { .. }), succeeds, "{argv:?} {check:?}: {done:?}");
        for _ in 0..2 {
            let undone = actions::undo(&mut world.bench, context, &prior);
            assert!(matches!(undone, UndoResult::Restored { .. }), "{argv:?}: {undone:?}");
            assert_eq!(world.fingerprint(), before, "{argv:?}");
        }
    }
}

#[test]
fn what_somebody_wrote_since_stays() {
    let mut world = World::new(COPY, &[], &[], &[], &["@/cert.pem"]);
    let step = step();
    let prior = actions::capture(&mut world.bench, context(&step)).expect("captured");
    actions::perform(&mut world.bench, context(&step), &prior);
    fs::write(world.path("cert.pem"), "a third certificate").expect("written");
    let undone = actions::undo(&mut world.bench, context(&step), &prior);
    assert!(matches!(&undone, UndoResult::Residue { what } if what.contains("left alone")), "{undone:?}");
    assert_eq!(fs::read_to_string(world.path("cert.pem")).expect("read"), "a third certificate");
}

/// The program died with the runner: what it had written goes, though nobody noted what it was.
#[test]
fn an_interrupted_command_is_undone() {
    let mut world = World::new(COPY, &[], &["/bin/false"], &[], &["@/cert.pem", "@/key.pem"]);
    let (step, before) = (step(), world.fingerprint());
    let prior = actions::capture(&mut world.bench, context(&step)).expect("captured");
    fs::write(world.path("cert.pem"), "half a certifi").expect("written");
    fs::write(world.path("key.pem"), "a key").expect("written");
    assert!(matches!(actions::probe(&mut world.bench, context(&step), &prior), Effect::Unknown { .. }));
    assert!(matches!(actions::undo(&mut world.bench, context(&step), &prior), UndoResult::Restored { .. }));
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn its_own_undo_is_started_once() {
    let undo = ["/bin/mv", "@/key.pem", "@/gone.pem"];
    let mut world = World::new(&["/bin/cp", "@/new.pem", "@/key.pem"], &undo, &[], &[], &[]);
    let step = step();
    let prior = actions::capture(&mut world.bench, context(&step)).expect("captured");
    actions::perform(&mut world.bench, context(&step), &prior);
    for _ in 0..2 {
        let undone = actions::undo(&mut world.bench, context(&step), &prior);
        assert!(matches!(undone, UndoResult::Restored { .. }), "{undone:?}");
    }
    assert!(world.path("gone.pem").exists() && !world.path("key.pem").exists());
}

#[test]
fn what_is_not_named_or_is_protected_is_refused() {
    let mut world = World::new(COPY, &[], &[], &[], &["@/cert.pem"]);
    let step = step();
    let named = world.bench.commands.get_mut(&name()).expect("named");
    named.touches = vec![Subject::Path(AbsPath::new("/etc/sopwith/agent.yaml").expect("a path"))];
    let told = actions::capture(&mut world.bench, context(&step)).expect_err("protected");
    assert!(told.contains("belongs to Sopwith"), "{told}");
    world.bench.commands.clear();
    let told = actions::capture(&mut world.bench, context(&step)).expect_err("not named");
    assert!(told.contains("no command renew"), "{told}");
    // What is so already is neither done nor undone.
    let mut world = World::new(COPY, &["/bin/false"], &["/bin/true"], &[], &["@/cert.pem"]);
    let before = world.fingerprint();
    let prior = actions::capture(&mut world.bench, context(&step)).expect("captured");
    assert!(matches!(actions::perform(&mut world.bench, context(&step), &prior), StepResult::Done { .. }));
    assert!(matches!(actions::undo(&mut world.bench, context(&step), &prior), UndoResult::Restored { .. }));
    assert_eq!(world.fingerprint(), before);
}
