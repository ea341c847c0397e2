//! Foreseeing opens nothing for writing and changes no name, whatever the action: the thread that looks gives up
//! writing as a dry run does, and on top of that each system call that could write waits, is counted and refused. So
//! what is swallowed by the code that looks is seen all the same.

use super::super::super::dry_run::write_nothing;
use super::super::super::seccomp::{count_writing, is_there};
use super::*;
use crate::config::Config;
use crate::runner::settings::{NamedCommand, NamedProcess};
use sopwith_domain::action::{ACTIONS, LookBy, Method};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::Url;

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

/// A socket at which nobody listens, beside the world's files.
fn dead_socket(world: &World) -> AbsPath {
    let path = world.folder.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    AbsPath::new(path.to_str().expect("text")).expect("a path")
}

/// One of each, mostly about what is there on any machine.
fn each(world: &World) -> Vec<Action> {
    let unit = || "cron.service".parse::<sopwith_domain::value::UnitName>().expect("a unit");
    let path = |text: &str| AbsPath::new(text).expect("a path");
    let (own, backup) = (world.path("conf"), || word("demo"));
    let of_process = processes::look(std::process::id()).expect("this one");
    let process = ProcessRef { pid: of_process.pid, start_ticks: of_process.start_ticks };
    let ip = || "192.0.2.1".parse().expect("an address");
    let name = || word("db");
    let folder = || AbsPath::new(world.folder.path().join("w").to_str().expect("text")).expect("a path");
    let mut all = vec![
        Action::UnitStart { unit: unit() },
        Action::UnitStop { unit: unit() },
        Action::UnitRestart { unit: unit() },
        Action::UnitReload { unit: unit() },
        Action::UnitResetFailed { unit: unit() },
        Action::UnitEnable { unit: unit() },
        Action::UnitDisable { unit: unit() },
        Action::UnitMask { unit: unit() },
        Action::UnitUnmask { unit: unit() },
        Action::UnitReadDefinitions { unit: unit() },
        Action::ProcessSignal { process, signal: ProcessSignal::Term },
        Action::ProcessStart { process: name(), program: path("/bin/true") },
        Action::ProcessEnd { process, grace_s: 1 },
        Action::ProcessRenice { process, nice: 5 },
        Action::FileReclaimDeleted { process, path: own.clone(), inode: 1 },
        Action::SocketRemove { path: dead_socket(world) },
        Action::DirectoryCreate {
            path: world.path("new"),
            mode: word("0755"),
            user: word("root"),
            group: word("root"),
        },
        Action::LinkUp { interface: word("lo") },
        Action::SysctlSet { key: word("net.ipv4.ip_forward"), value: "1".parse().expect("words") },
        Action::LinkMtu { interface: word("lo"), mtu: 1400 },
        Action::NftAddElement {
            family: Default::default(),
            table: word("t"),
            set: word("s"),
            ip: ip(),
            timeout_s: 9,
        },
        Action::NftDeleteElement { family: Default::default(), table: word("t"), set: word("s"), ip: ip() },
        Action::NftDeleteRule {
            family: Default::default(),
            table: word("t"),
            chain: word("c"),
            handle: 1,
            rule: word("0123456789abcdef"),
        },
        Action::MountMount { mount: path("/") },
        Action::MountUnmount { mount: path("/") },
        Action::MountRemount { mount: path("/"), option: word("rw") },
        Action::ClockStep { max_offset_s: 1 },
        Action::BackupRun { backup: backup(), unit: None },
        Action::BackupStop { backup: backup(), unit: unit() },
        Action::BackupVerify { backup: backup() },
        Action::BackupQuarantine { backup: backup(), path: world.path("demo-1.tar") },
        Action::BackupPrune { backup: backup(), directory: folder(), keep: 1 },
        Action::BackupModes { backup: backup(), directory: folder() },
        Action::BackupRestoreDrill { backup: backup() },
        Action::PostgresqlTerminate { name: name(), pid: 1, start_us: 1, idle_s: 60 },
        Action::PostgresqlTerminateIdle { name: name(), below_percent: 50, idle_s: 60, most: 1 },
        Action::PostgresqlDropSlot { name: name(), slot: word("s"), retained_mb: 1 },
        Action::PostgresqlAllowWrites { name: name() },
        Action::RedisBgsave { name: name() },
        Action::HttpCall {
            url: "http://127.0.0.1:9/".parse::<Url>().expect("an address"),
            method: Method::Post,
            status: 200,
            undo_url: None,
            irreversible: true,
            touches: vec![],
        },
        Action::AccountLock { account: word("nobody"), close_shell: true },
        Action::AccountUnlock { account: word("nobody") },
        Action::AccountExpiry { account: word("nobody"), days: 9 },
        Action::PackageConfigure { package: None },
        Action::LookProcesses { by: LookBy::Memory, most: 3 },
        Action::LookUnit { unit: unit() },
        Action::LookJournal { unit: unit(), lines: 3 },
        Action::LookFilesystem { path: folder(), most: 3 },
        Action::LookNetwork { most: 3 },
        Action::OperatorCommand { command: word("renew"), touches: vec![] },
        Action::Command {
            argv: vec!["/bin/true".into()],
            undo_argv: vec![],
            probe_argv: vec![],
            touches: vec![],
        },
    ];
    all.extend(CASES.iter().map(|(_, make)| make(world)));
    all
}

/// A world in which what the administrator names is there.
fn furnished() -> World {
    let mut world = World::new();
    world.file("demo-1.tar", "an archive", 100);
    world.file("demo-2.tar", "another", 10);
    let folder = world.real("").display().to_string();
    let text = format!(
        "backups:\n  - {{name: demo, files: {{directory: '{}', pattern: 'demo-*.tar', mode: 0600}}, keep: {{min: 1, max: 1}}, \
         job: {{command: [/bin/true]}}, drill: {{}}}}\n",
        folder.trim_end_matches('/')
    );
    let config = Config::parse(&text).unwrap_or_else(|findings| panic!("{findings:?}"));
    world.bench.own.backups = config.backups.iter().map(|b| ((*b.name).clone(), b.clone())).collect();
    world.bench.programs = Programs::none();
    let start = Some(AbsPath::new("/bin/true").expect("a path"));
    let process = NamedProcess { pidfile: None, command: vec!["no such".into()], start };
    world.bench.processes.insert(word("db"), process);
    let touches = vec![Subject::Path(world.path("conf"))];
    let argv = vec!["/bin/true".to_owned()];
    let (undo_argv, probe_argv, check_argv) = (vec![], vec![], vec![]);
    let named = NamedCommand { argv, undo_argv, probe_argv, check_argv, touches, writes: None };
    world.bench.commands.insert(word("renew"), named);
    world
}

#[test]
fn no_action_opens_anything_for_writing_when_it_foresees() {
    if !is_there() {
        eprintln!("SKIPPED: this kernel has no seccomp");
        return;
    }
    let mut world = furnished();
    let actions = each(&world);
    let missing: Vec<_> = ACTIONS.iter().filter(|name| actions.iter().all(|a| a.name() != **name)).collect();
    assert!(missing.is_empty(), "not looked at: {missing:?}");
    let before = world.fingerprint();
    let bench = &mut world.bench;
    let (told, counted) = count_writing(move || {
        write_nothing();
        let foreseen = |action: Action| {
            let step = step(action);
            let told = foresee(bench, context(&step));
            (step.action.name(), told)
        };
        actions.into_iter().map(foreseen).collect::<Vec<_>>()
    });
    let Some(counted) = counted else {
        eprintln!("SKIPPED: this kernel does not tell what it refuses");
        return;
    };
    assert_eq!(counted, Vec::<String>::new(), "{told:#?}");
    assert_eq!(world.fingerprint(), before);
    // The trap itself works.
    let file = world.real("conf");
    let (_, counted) = count_writing(move || (fs::write(&file, "x").is_ok(), fs::remove_file(&file).is_ok()));
    assert_eq!(counted.expect("told").len(), 2);
    // Those that find what they are about have something to say.
    let said = |name: &str| {
        told.iter().any(|(of, told)| *of == name && told.as_ref().is_ok_and(|t| t.contains("would")))
    };
    for name in [
        "file.truncate",
        "directory.create",
        "socket.remove",
        "file.prune",
        "backup.prune",
        "process.start",
        "operator.command",
        "command",
    ] {
        assert!(said(name), "{name}: {told:#?}");
    }
}
