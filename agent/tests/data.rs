//! Backups and PostgreSQL under the runner's hands, by the real program: archives and jobs that are files and scripts,
//! and a PostgreSQL of the test's own where the machine has one. Whatever is undone is as it was, also a second time.

mod postgres_server;

use postgres_server::{Killed, Server};
use sopwith_agent::config::Config;
use sopwith_agent::runner::actions::{self, Own, Programs, Quarantine, Systemd, Workbench, prepare, sha256};
use sopwith_domain::action::Action;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::run::{Effect, Prior, StepContext, StepResult, UndoResult};
use sopwith_domain::value::{AbsPath, Word};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const AGENT: &str = env!("CARGO_BIN_EXE_sopwith-agent");

struct World {
    folder: tempfile::TempDir,
    bench: Workbench,
}

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

fn path(path: &Path) -> AbsPath {
    AbsPath::new(path.to_str().expect("text")).expect("a path")
}

impl World {
    /// With a configuration in which `FOLDER` stands for the world's own folder.
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        fs::create_dir(folder.path().join("b")).expect("mkdir");
        prepare(&folder.path().join("quarantine")).expect("quarantine");
        let file = folder.path().join("agent.yaml");
        let own = format!("state_dir: {0}/state\n{config}", folder.path().display());
        fs::write(&file, own.replace("FOLDER", &folder.path().display().to_string())).expect("written");
        let config = Config::load(&file).unwrap_or_else(|e| panic!("{e}"));
        let backups = config.backups.iter().map(|b| ((*b.name).clone(), b.clone())).collect();
        let bench = Workbench {
            quarantine: Quarantine::new(folder.path().join("quarantine")),
            systemd: Systemd::default(),
            programs: Programs::by(AGENT),
            processes: BTreeMap::new(),
            reclaimable: Vec::new(),
            settings: None,
            own: Own { argv: vec![AGENT.into(), "--config".into(), file.display().to_string()], backups },
            commands: Default::default(),
            tables: Default::default(),
        };
        Self { folder, bench }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("b").join(name)
    }

    /// Makes an archive with its checksum, so many days old.
    fn archive(&self, name: &str, days: u64) {
        let (archive, sum) = (self.at(name), self.at(&format!("{name}.sha256")));
        fs::write(&archive, format!("all of {name}")).expect("written");
        let digest = sha256(&File::open(&archive).expect("opened")).expect("read");
        fs::write(&sum, format!("{digest}  {name}\n")).expect("written");
        let then = SystemTime::now() - Duration::from_secs(days * 86_400 + 60);
        for path in [archive, sum] {
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
            let times = FileTimes::new().set_accessed(then).set_modified(then);
            File::open(&path).and_then(|f| f.set_times(times)).expect("times");
        }
    }

    /// Everything in the folder, but for access times.
    fn fingerprint(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.at("")).expect("listed").map(|entry| entry.expect("an entry"));
        let one = |entry: fs::DirEntry| {
            let m = entry.metadata().expect("metadata");
            let content = if m.is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
            let text = format!("{:o} {} {}.{:09} {content:?}", m.mode(), m.ino(), m.mtime(), m.mtime_nsec());
            (entry.file_name().into_string().expect("text"), text)
        };
        let mut all: BTreeMap<_, _> = entries.map(one).collect();
        let folder = fs::metadata(self.at("")).expect("metadata");
        all.insert(".".into(), format!("{:o}", folder.mode()));
        all
    }

    fn names(&self) -> Vec<String> {
        self.fingerprint().into_keys().filter(|name| !name.starts_with('.')).collect()
    }

    fn backup(&self, question: &str) -> Output {
        let mut command = Command::new(&self.bench.own.argv[0]);
        command.args(&self.bench.own.argv[1..]).args(["backup", question, "shop"]);
        command.output().expect("started")
    }
}

fn step(action: Action) -> Step {
    let undo = action.undo();
    let name = String::new();
    Step {
        name,
        require: vec![],
        action,
        expect: vec![],
        undo,
        irreversible_because: None,
        timeout_ms: 60_000,
    }
}

fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

fn capture(world: &mut World, step: &Step) -> Prior {
    actions::capture(&mut world.bench, context(step)).unwrap_or_else(|e| panic!("{e}"))
}

fn done(outcome: &StepResult) -> bool {
    matches!(outcome, StepResult::Done { .. })
}

/// Foresees, does, probes and twice undoes an action, and holds what is left against what was there.
fn round(world: &mut World, action: Action) -> Vec<String> {
    let (step, before) = (step(action), world.fingerprint());
    actions::foresee(&mut world.bench, context(&step)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(world.fingerprint(), before, "looking ahead changes nothing");
    let prior = capture(world, &step);
    let probed = actions::probe(&mut world.bench, context(&step), &prior);
    assert!(matches!(probed, Effect::None { .. }), "{probed:?}");
    let outcome = actions::perform(&mut world.bench, context(&step), &prior);
    assert!(done(&outcome), "{outcome:?}");
    let (after, names) = (world.fingerprint(), world.names());
    assert_ne!(after, before);
    let probed = actions::probe(&mut world.bench, context(&step), &prior);
    assert!(matches!(probed, Effect::Took { .. }), "{probed:?}");
    for _ in 0..2 {
        let undone = actions::undo(&mut world.bench, context(&step), &prior);
        assert!(matches!(undone, UndoResult::Restored { .. }), "{undone:?}");
        assert_eq!(world.fingerprint(), before);
    }
    names
}

const FILES: &str = "backups:\n- name: shop\n  keep: {min: 1, max: 2}\n  files: {directory: FOLDER/b, pattern: 'shop-*.dat', mode: 0600, directory_mode: 0700}\n";

fn prune(world: &World, keep: i64) -> Action {
    Action::BackupPrune { backup: word("shop"), directory: path(&world.folder.path().join("b")), keep }
}

#[test]
fn archives_go_aside_and_come_back_as_they_were() {
    let mut world = World::new(FILES);
    for days in 0..5 {
        world.archive(&format!("shop-{days}.dat"), days);
    }
    fs::write(world.at("notes.txt"), "somebody's").expect("written");
    assert_eq!(world.backup("few").status.code(), Some(1));
    let action = prune(&world, 2);
    let left = round(&mut world, action);
    let kept = ["notes.txt", "shop-0.dat", "shop-0.dat.sha256", "shop-1.dat", "shop-1.dat.sha256"];
    assert_eq!(left, kept);
    let one = Action::BackupQuarantine { backup: word("shop"), path: path(&world.at("shop-4.dat")) };
    let left = round(&mut world, one);
    assert!(!left.iter().any(|name| name.starts_with("shop-4")), "{left:?}");
    for (mode, folder) in [(0o666, 0o755), (0o604, 0o700)] {
        fs::set_permissions(world.at("shop-1.dat"), Permissions::from_mode(mode)).expect("chmod");
        fs::set_permissions(world.at(""), Permissions::from_mode(folder)).expect("chmod");
        assert_eq!(world.backup("private").status.code(), Some(1));
        let action =
            Action::BackupModes { backup: word("shop"), directory: path(&world.folder.path().join("b")) };
        round(&mut world, action);
    }
}

#[test]
fn nothing_is_pruned_that_the_configuration_does_not_say_or_while_one_that_stays_is_damaged() {
    let mut world = World::new(FILES);
    for days in 0..4 {
        world.archive(&format!("shop-{days}.dat"), days);
    }
    let before = world.fingerprint();
    for keep in [1, 3] {
        let step = step(prune(&world, keep));
        assert!(actions::capture(&mut world.bench, context(&step)).is_err(), "keep {keep}");
    }
    let elsewhere = Action::BackupPrune { backup: word("shop"), directory: path(Path::new("/srv")), keep: 2 };
    assert!(actions::capture(&mut world.bench, context(&step(elsewhere))).is_err());
    let no_archive = Action::BackupQuarantine { backup: word("shop"), path: path(Path::new("/etc/passwd")) };
    assert!(actions::capture(&mut world.bench, context(&step(no_archive))).is_err());
    assert_eq!(world.fingerprint(), before);
    fs::write(world.at("shop-1.dat"), "rotten").expect("written");
    let then = SystemTime::now() - Duration::from_secs(86_400);
    File::open(world.at("shop-1.dat")).and_then(|f| f.set_modified(then)).expect("times");
    let step = step(prune(&world, 2));
    let refused = actions::capture(&mut world.bench, context(&step)).expect_err("one that stays is damaged");
    assert!(refused.contains("shop-1.dat"), "{refused}");
}

#[test]
fn what_changed_since_is_left_alone() {
    let mut world = World::new(FILES);
    for days in 0..4 {
        world.archive(&format!("shop-{days}.dat"), days);
    }
    let step = step(prune(&world, 2));
    let prior = capture(&mut world, &step);
    fs::write(world.at("shop-3.dat"), "written anew since").expect("written");
    assert!(done(&actions::perform(&mut world.bench, context(&step), &prior)));
    assert!(world.names().contains(&"shop-3.dat".to_owned()), "it is another file by now");
    // Somebody puts another file where one was taken away.
    world.archive("shop-2.dat", 0);
    let undone = actions::undo(&mut world.bench, context(&step), &prior);
    assert!(matches!(undone, UndoResult::Residue { ref what } if what.contains("shop-2.dat")), "{undone:?}");
}

/// A job that makes an archive with its checksum, or fails half-way.
fn job(world: &World, script: &str) {
    let file = world.folder.path().join("job");
    fs::write(&file, format!("#!/bin/sh\ncd '{}'\n{script}\n", world.at("").display())).expect("written");
    fs::set_permissions(&file, Permissions::from_mode(0o700)).expect("chmod");
}

const JOB: &str = "backups:\n- name: shop\n  keep: {min: 1, max: 2}\n  job: {command: [FOLDER/job], lock: FOLDER/lock, stalled_after: 1s}\n  files: {directory: FOLDER/b, pattern: 'shop-*.dat'}\n  drill: {unpack: [/bin/cp, '{archive}', '{scratch}'], expect: [shop-new.dat], max_bytes: 1MiB}\n";
const MAKES: &str = "echo new > shop-new.dat; sha256sum shop-new.dat > shop-new.dat.sha256";

#[test]
fn a_backup_is_made_read_and_restored_or_leaves_nothing() {
    let mut world = World::new(JOB);
    world.archive("shop-old.dat", 9);
    let run = step(Action::BackupRun { backup: word("shop"), unit: None });
    assert_eq!(world.backup("fresh").status.code(), Some(1), "nine days are too old");
    job(&world, MAKES);
    let before = world.fingerprint();
    let prior = capture(&mut world, &run);
    let outcome = actions::perform(&mut world.bench, context(&run), &prior);
    assert!(
        matches!(outcome, StepResult::Done { ref output } if output.contains("shop-new.dat")),
        "{outcome:?}"
    );
    for question in ["fresh", "intact", "idle", "drill"] {
        let answer = world.backup(question);
        assert_eq!(answer.status.code(), Some(0), "{question}: {answer:?}");
    }
    for action in
        [Action::BackupVerify { backup: word("shop") }, Action::BackupRestoreDrill { backup: word("shop") }]
    {
        let step = step(action);
        let prior = capture(&mut world, &step);
        let outcome = actions::perform(&mut world.bench, context(&step), &prior);
        assert!(done(&outcome), "{outcome:?}");
    }
    let left = fs::read_dir(world.folder.path().join("state/runner/backups/by-runner")).map(Iterator::count);
    assert_eq!(left.expect("the drill's place"), 0, "what was restored is removed");
    for _ in 0..2 {
        let undone = actions::undo(&mut world.bench, context(&run), &prior);
        assert!(matches!(undone, UndoResult::Restored { .. }), "{undone:?}");
        assert_eq!(world.fingerprint(), before);
        let kept = world.bench.quarantine.folder(context(&run)).join("shop-new.dat");
        assert!(kept.is_file(), "what was made can be had back");
    }
    job(&world, "echo half > .shop-new.dat.part; exit 74");
    let failing = step(Action::BackupRun { backup: word("shop"), unit: None });
    let failing = StepContext { run: Digest([8; 32]), index: 0, step: &failing };
    let prior = actions::capture(&mut world.bench, failing).expect("captured");
    let outcome = actions::perform(&mut world.bench, failing, &prior);
    assert!(matches!(outcome, StepResult::Failed { ref reason, .. } if reason.contains("74")), "{outcome:?}");
    actions::undo(&mut world.bench, failing, &prior);
    assert!(!world.at(".shop-new.dat.part").exists(), "nothing half-made is left");
}

#[test]
fn a_second_job_is_not_started_and_one_that_does_nothing_is_told_from_one_that_works() {
    let mut world = World::new(JOB);
    job(&world, MAKES);
    let lock = world.folder.path().join("lock");
    let holding = format!("exec 9>'{}'; flock -n 9; exec sleep 1000", lock.display());
    let mut holder = Command::new("/usr/bin/setsid");
    holder.args(["sh", "-c", &holding]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Killed(holder.spawn().expect("started"));
    while world.backup("idle").status.success() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = step(Action::BackupRun { backup: word("shop"), unit: None });
    let refused = actions::capture(&mut world.bench, context(&run)).expect_err("its lock is held");
    assert!(refused.contains("runs"), "{refused}");
    assert_eq!(world.backup("stalled").status.code(), Some(0), "it sleeps");
    child.0.kill().and_then(|()| child.0.wait()).expect("ended");
    assert_eq!(world.backup("stalled").status.code(), Some(1), "nobody holds it");
    assert!(lock.exists(), "the lock file is left alone");
}

#[test]
fn sessions_of_postgresql_that_do_nothing_are_ended_and_no_others() {
    let mut world = World::new("checks:\n- {name: db, postgresql: {host: FOLDER/pg, as: postgres}}\n");
    let Some(server) = Server::start(world.folder.path()) else { return };
    server.ask("create role app login");
    let mut sessions: Vec<Killed> = (0..7).map(|_| server.session("app", "select 1;\n")).collect();
    sessions.push(server.session("app", "begin; select 1;\n"));
    sessions.push(server.session("postgres", "begin; select 1;\n"));
    let (idle, open) = ("select count(*) from pg_stat_activity where state = 'idle'", "idle in transaction");
    server.wait(idle, "7");
    let in_transaction = format!("select count(*) from pg_stat_activity where state = '{open}'");
    server.wait(&in_transaction, "2");
    let one = |world: &mut World, action: Action| {
        let step = step(action);
        let prior = capture(world, &step);
        let outcome = actions::perform(&mut world.bench, context(&step), &prior);
        (outcome, actions::undo(&mut world.bench, context(&step), &prior))
    };
    let name = || word("db");
    // Nine of ten are in use, and less than half are to be: psql of the action itself counts.
    let few = Action::PostgresqlTerminateIdle { name: name(), below_percent: 50, idle_s: 1, most: 2 };
    let (outcome, undone) = one(&mut world, few);
    assert!(
        matches!(outcome, StepResult::Failed { ref reason, .. } if reason.starts_with("2 idle")),
        "{outcome:?}"
    );
    assert!(matches!(undone, UndoResult::Residue { .. }), "who was ended cannot be had back: {undone:?}");
    let enough = Action::PostgresqlTerminateIdle { name: name(), below_percent: 50, idle_s: 1, most: 20 };
    let (outcome, _) = one(&mut world, enough);
    assert!(done(&outcome), "{outcome:?}");
    let left: i64 = server.ask(idle).parse().expect("a number");
    assert!((1..=2).contains(&left), "no more than it takes: {left} are left");
    assert_eq!(server.ask(&in_transaction), "2", "nobody with a transaction was ended");
    let numbers = |user: &str| {
        let query = format!(
            "select pid || ' ' || (extract(epoch from backend_start) * 1000000)::bigint from pg_stat_activity
             where state = '{open}' and usename = '{user}'"
        );
        let text = server.ask(&query);
        let (pid, start) = text.split_once(' ').expect("two numbers");
        (pid.parse::<i64>().expect("a number"), start.parse::<i64>().expect("a number"))
    };
    let ((app, began), (root, root_began)) = (numbers("app"), numbers("postgres"));
    std::thread::sleep(Duration::from_millis(1100));
    for (pid, start_us, idle_s, ends) in [
        (app, began + 1, 1, false),
        (app, began, 3600, false),
        (root, root_began, 1, false),
        (app, began, 1, true),
    ] {
        let (outcome, undone) =
            one(&mut world, Action::PostgresqlTerminate { name: name(), pid, start_us, idle_s });
        assert_eq!(done(&outcome), ends, "{pid} {start_us} {idle_s}: {outcome:?}");
        let gone = ends || start_us != began && start_us != root_began;
        assert_eq!(matches!(undone, UndoResult::Residue { .. }), gone, "{undone:?}");
    }
    assert_eq!(server.ask(&in_transaction), "1", "the superuser's is there");
    server.ask("select pg_create_physical_replication_slot('old_standby', true)");
    let drop_slot =
        |slot: &str| Action::PostgresqlDropSlot { name: name(), slot: word(slot), retained_mb: 1 };
    assert!(!done(&one(&mut world, drop_slot("old_standby")).0), "it holds back too little");
    server.ask("create table t as select repeat('x', 100) from generate_series(1, 30000)");
    assert!(!done(&one(&mut world, drop_slot("Robert")).0), "no slot has such a name");
    assert!(done(&one(&mut world, drop_slot("old_standby")).0));
    assert_eq!(server.ask("select count(*) from pg_replication_slots"), "0");
    // Writes that ALTER SYSTEM forbids are allowed, and forbidden again when that is undone, once or twice.
    let (read_only, on) =
        ("show default_transaction_read_only", "alter system set default_transaction_read_only = on");
    server.ask(on);
    server.ask("select pg_reload_conf()");
    server.wait(read_only, "on");
    let allow = step(Action::PostgresqlAllowWrites { name: name() });
    let prior = capture(&mut world, &allow);
    assert!(done(&actions::perform(&mut world.bench, context(&allow), &prior)));
    assert_eq!(server.ask(read_only), "off");
    for _ in 0..2 {
        let undone = actions::undo(&mut world.bench, context(&allow), &prior);
        assert!(!matches!(undone, UndoResult::Residue { .. }), "{undone:?}");
        assert_eq!(server.ask(read_only), "on");
    }
    drop(sessions);
}
