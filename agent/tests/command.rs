//! Programs of steps, under the real supervisor: everything they start is dead before the step ends, whatever it does
//! about it, and their output is bounded.

use sopwith_agent::runner::actions::{self, Programs, Quarantine, Systemd, Workbench, command, processes};
use sopwith_agent::runner::{Confinement, Ending, NamedProcess, Report, has_landlock};
use sopwith_domain::action::{Action, Undo};
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::run::{Effect, StepContext, StepResult, UndoResult};
use sopwith_domain::value::{AbsPath, Word};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn programs() -> Programs {
    Programs::by(env!("CARGO_BIN_EXE_sopwith-agent"))
}

fn sh(script: &str, argument: &Path) -> Vec<String> {
    ["/bin/sh", "-c", script, "sh"]
        .map(str::to_owned)
        .into_iter()
        .chain([argument.display().to_string()])
        .collect()
}

/// Runs a program as the runner does, or as where it has no control group to itself.
fn run(argv: &[String], timeout_ms: i64, cgroup: bool) -> Report {
    run_within(&Confinement::default(), argv, timeout_ms, cgroup)
}

/// The same with no more rights than are given.
fn run_within(confinement: &Confinement, argv: &[String], timeout_ms: i64, cgroup: bool) -> Report {
    if cgroup {
        return programs().run(confinement, argv, timeout_ms, None).expect("runs");
    }
    let mut supervisor = Command::new(programs().supervisor);
    supervisor.args(["step-exec", "--no-cgroup", "--timeout-ms", &timeout_ms.to_string()]);
    supervisor.args(confinement.arguments()).arg("--").args(argv);
    let child = supervisor.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    // Its input stays open until it has ended: the wait would close it.
    let mut child = child;
    let lifeline = child.stdin.take();
    let output = child.wait_with_output().expect("ends");
    drop(lifeline);
    serde_json::from_slice(&output.stdout).expect("reports")
}

/// Makes a folder that is not below /tmp, which every program may write.
fn elsewhere() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = if target.starts_with("/tmp") { Path::new("/var/lib") } else { target };
    tempfile::tempdir_in(place).expect("tempdir")
}

/// Says whether the process whose number the file holds lives.
fn lives(pidfile: &Path) -> bool {
    let text = fs::read_to_string(pidfile).unwrap_or_else(|e| panic!("{}: {e}", pidfile.display()));
    let pid = text.trim().parse().expect("a number");
    processes::look(pid).is_some_and(|p| p.state != 'Z')
}

#[test]
fn how_a_program_ends_is_told() {
    let none = Path::new("");
    for (script, passes, says) in [
        ("echo fine", true, ""),
        ("exit 3", false, "exited with 3"),
        ("kill -9 $$", false, "signal 9"),
        ("sleep 100", false, "too long"),
    ] {
        let report = programs().run(&Confinement::default(), &sh(script, none), 1000, None).expect("runs");
        let fault = command::fault(&report);
        assert_eq!(fault.is_none(), passes, "{script}: {report:?}");
        assert!(fault.unwrap_or_default().contains(says), "{script}: {report:?}");
    }
    let absent = programs()
        .run(&Confinement::default(), &["/nonexistent/program".into()], 1000, None)
        .expect("reports");
    assert!(command::fault(&absent).is_some_and(|f| f.contains("could not be started")), "{absent:?}");
}

#[test]
fn its_environment_is_clean_and_its_input_empty() {
    let script = "env; pwd; cat; umask";
    let report =
        programs().run(&Confinement::default(), &sh(script, Path::new("")), 5000, None).expect("runs");
    let mut lines: Vec<_> =
        report.output.lines().filter(|l| !l.starts_with('_') && !l.starts_with("PWD=")).collect();
    lines[..2].sort_unstable();
    assert_eq!(lines, ["LANG=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/", "0022"], "{report:?}");
}

#[test]
fn what_left_its_session_forked_twice_and_ignores_signals_is_dead_all_the_same() {
    let folder = tempfile::tempdir().expect("tempdir");
    let pidfile = folder.path().join("pid");
    let daemon = "trap '' TERM HUP INT; setsid sh -c '(trap \"\" TERM HUP INT; echo $$ >$0.tmp; \
                  exec setsid sh -c \"trap \\\"\\\" TERM HUP; echo \\$\\$ >$0; while :; do sleep 1; done\") &' \"$1\" & \
                  while [ ! -s \"$1\" ]; do sleep 0.01; done";
    for (after, passes, cgroup) in [
        ("exit 0", true, true),
        ("sleep 100", false, true),
        ("exit 0", true, false),
        ("sleep 100", false, false),
    ] {
        let _ = fs::remove_file(&pidfile);
        let report = run(&sh(&format!("{daemon}; {after}"), &pidfile), 1500, cgroup);
        assert_eq!(command::fault(&report).is_none(), passes, "{report:?}");
        assert!(report.killed > 0, "{report:?}");
        assert_eq!(report.survivors, 0);
        assert!(!lives(&pidfile), "after {after}");
    }
}

#[test]
fn ten_megabytes_of_output_are_bounded_and_counted() {
    let script = "echo first; head -c 10000000 /dev/zero | tr '\\0' x; echo last";
    let report =
        programs().run(&Confinement::default(), &sh(script, Path::new("")), 60_000, None).expect("runs");
    assert_eq!(command::fault(&report), None);
    assert!(report.output.len() <= sopwith_domain::run::OUTPUT_BYTES_MAX);
    assert!(report.output.starts_with("first\n") && report.output.ends_with("last\n"));
    assert!(report.output.contains(" bytes left out …"));
}

#[test]
fn a_bomb_of_forks_is_over_when_the_step_is() {
    let folder = tempfile::tempdir().expect("tempdir");
    let mark = folder.path().join("bomb-mark");
    // Bounded by itself, so that a test that fails does not take the machine with it: each forks twice, nine deep.
    let bomb = "trap '' TERM; b() { [ $1 -gt 0 ] || { sleep 1000; return; }; b $(($1 - 1)) & b $(($1 - 1)) & wait; }; b 8";
    let named = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    for cgroup in [true, false] {
        let report = run(&sh(bomb, &mark), 2000, cgroup);
        assert!(report.killed > 100, "{}", report.killed);
        assert_eq!(report.survivors, 0);
        let own = mark.display().to_string();
        let left = processes::all().into_iter().filter(|p| named(p.pid).contains(&own)).count();
        assert_eq!(left, 0);
    }
}

#[test]
fn when_the_runner_dies_so_does_the_program_and_the_lock_tells() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (pidfile, lock) = (folder.path().join("pid"), folder.path().join("lock"));
    fs::write(&lock, "").expect("write");
    let mut supervisor = Command::new(programs().supervisor)
        .args(["step-exec", "--timeout-ms", "100000", "--lock"])
        .arg(&lock)
        .arg("--")
        .args(sh("trap '' TERM; echo $$ >$1; while :; do sleep 1; done", &pidfile))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    while fs::read_to_string(&pidfile).unwrap_or_default().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let held = fs::File::open(&lock).expect("open");
    let try_lock = || rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    assert!(try_lock().is_err(), "it lives");
    // What the kernel does to the runner's end of the pipe when the runner is killed.
    drop(supervisor.stdin.take());
    supervisor.wait().expect("ends");
    assert!(!lives(&pidfile));
    assert!(try_lock().is_ok());
}

#[test]
fn a_cancelled_program_is_ended_at_once_and_it_is_told_what_really_stopped() {
    let folder = tempfile::tempdir().expect("tempdir");
    let pidfile = folder.path().join("pid");
    let (run, other) = (Digest([1; 32]), Digest([2; 32]));
    let programs = programs();
    // One that obeys and whose parent is gone, and one that does not.
    let script = "(sleep 1000 &); trap '' TERM; echo $$ >\"$1.new\" && mv \"$1.new\" \"$1\"; while :; do sleep 1; done";
    let performing = programs.leash.of(run);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !pidfile.exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            programs.leash.cancel(&other);
            assert!(lives(&pidfile), "another run's end is not this one's");
            programs.leash.cancel(&run);
        });
        programs.run(&Confinement::default(), &sh(script, &pidfile), 600_000, None).expect("runs")
    });
    assert!(!lives(&pidfile));
    let fault = command::fault(&report).expect("it did not end by itself");
    assert!(fault.starts_with("the run was cancelled and it was ended; stopped: "), "{fault}");
    let is_told = |name: &str, signal: &str| {
        report.ended.iter().any(|told| told.starts_with(name) && told.ends_with(signal))
    };
    assert!(is_told("sh (", "signal 9"), "{fault}");
    // A child that was just born still has its parent's name.
    assert!(is_told("sleep (", "signal 15") || is_told("sh (", "signal 15"), "{fault}");
    assert!(!fault.contains("could not be ended") && report.survivors == 0, "{fault}");
    // Nothing more of that step is started, and what undoes it is.
    let late = programs.run(&Confinement::default(), &sh("sleep 1000", Path::new("")), 600_000, None);
    assert!(command::fault(&late.expect("runs")).is_some_and(|fault| fault.contains("was cancelled")));
    drop(performing);
    let undo = programs.run(&Confinement::default(), &sh("echo undone", Path::new("")), 5000, None);
    assert_eq!(undo.expect("runs").output, "undone\n");
}

/// A process that its administrator named, with a program that starts it away from everything.
#[test]
fn a_named_process_is_started_outlives_its_step_and_is_ended_by_the_undo() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (program, pidfile) = (folder.path().join("start"), folder.path().join("pid"));
    let script = format!(
        "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; echo $$ >{0}.tmp; mv {0}.tmp {0}; while :; do sleep 1; done' &\n",
        pidfile.display()
    );
    fs::write(&program, script).expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("chmod");
    let path = |path: &Path| AbsPath::new(path.to_str().expect("text")).expect("valid");
    let name = Word::new("daemon").expect("valid");
    let named = NamedProcess { pidfile: Some(pidfile.clone()), command: vec![], start: Some(path(&program)) };
    let mut bench = Workbench {
        quarantine: Quarantine::new(folder.path().join("quarantine")),
        systemd: Systemd::default(),
        programs: programs(),
        processes: [(name.clone(), named)].into(),
        reclaimable: Vec::new(),
        settings: None,
        own: Default::default(),
        commands: Default::default(),
        tables: Default::default(),
    };
    let step = |program: &Path| Step {
        name: String::new(),
        require: vec![],
        action: Action::ProcessStart { process: name.clone(), program: path(program) },
        expect: vec![],
        undo: Undo::Inverse,
        irreversible_because: None,
        timeout_ms: 20_000,
    };
    let run = Digest::of(folder.path().display().to_string().as_bytes());
    let other = step(Path::new("/bin/true"));
    let refused = actions::capture(&mut bench, StepContext { run, index: 0, step: &other });
    assert!(refused.is_err(), "only what the configuration names is started");
    let step = step(&program);
    let context = StepContext { run, index: 0, step: &step };
    let prior = actions::capture(&mut bench, context).expect("captured");
    assert!(matches!(actions::probe(&mut bench, context, &prior), Effect::None { .. }));
    let outcome = actions::perform(&mut bench, context, &prior);
    assert!(matches!(outcome, StepResult::Done { .. }), "{outcome:?}");
    assert!(lives(&pidfile));
    assert!(matches!(actions::probe(&mut bench, context, &prior), Effect::Took { .. }));
    for _ in 0..2 {
        assert!(matches!(actions::undo(&mut bench, context, &prior), UndoResult::Restored { .. }));
        assert!(!lives(&pidfile), "it ignored SIGTERM");
    }
}

/// Bits of capabilities as in linux/capability.h.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_MODULE: u64 = 1 << 16;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_BOOT: u64 = 1 << 22;

#[test]
fn a_program_has_no_more_rights_than_its_step_declares() {
    let script = "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status";
    let dangerous = CAP_SYS_MODULE | CAP_SYS_BOOT | CAP_SYS_ADMIN | CAP_NET_ADMIN;
    let own = fs::read_to_string("/proc/self/status").expect("read");
    let effective = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line");
        u64::from_str_radix(line.trim(), 16).expect("a number")
    };
    for (touches, allowed) in [
        ("path:/srv", 0),
        ("address:192.0.2.1", CAP_NET_ADMIN),
        ("mount:/srv", CAP_SYS_ADMIN),
        ("unit:a.service", 0),
    ] {
        let confinement = Confinement::of(&[touches.parse().expect("a subject")]);
        for cgroup in [true, false] {
            let report = run_within(&confinement, &sh(script, Path::new("")), 5000, cgroup);
            assert_eq!(command::fault(&report), None, "{report:?}");
            assert!(report.output.contains("NoNewPrivs:\t1"), "{report:?}");
            assert_eq!(
                effective(&report.output) & dangerous,
                effective(&own) & allowed,
                "{touches}, {cgroup}"
            );
        }
    }
}

#[test]
fn a_program_writes_only_what_its_step_declares() {
    if !has_landlock() {
        eprintln!("SKIPPED: this kernel has no Landlock");
        return;
    }
    let folder = elsewhere();
    let at = |name: &str| folder.path().join(name);
    for name in ["declared", "other"] {
        fs::create_dir(at(name)).expect("mkdir");
    }
    fs::write(at("other/file"), "as it was").expect("write");
    let declared =
        Confinement::of(&[format!("path:{}", at("declared").display()).parse().expect("a subject")]);
    let script = "cat \"$1/other/file\" && echo new >\"$1/declared/file\" && echo x >/dev/null && ! echo new >\"$1/other/file\" \
                  && ! rm \"$1/other/file\" && ! mv \"$1/declared/file\" \"$1/other/moved\" && ! touch /etc/sopwith-test";
    for cgroup in [true, false] {
        let report = run_within(&declared, &sh(script, folder.path()), 5000, cgroup);
        assert_eq!(command::fault(&report), None, "{report:?}");
        assert_eq!(fs::read_to_string(at("other/file")).expect("there"), "as it was");
        assert_eq!(fs::read_to_string(at("declared/file")).expect("there"), "new\n");
        fs::remove_file(at("declared/file")).expect("removed");
    }
    let anywhere = Confinement::of(&["unit:shop.service".parse().expect("a subject")]);
    let report = run_within(&anywhere, &sh("echo new >\"$1/other/file\"", folder.path()), 5000, true);
    assert_eq!(command::fault(&report), None, "{report:?}");
}

#[test]
fn a_supervisor_that_was_started_ahead_does_the_same() {
    let programs = programs();
    let none = Confinement::default();
    let run = |script: &str| {
        let report = programs.run(&none, &sh(script, Path::new("a b\n\"c")), 5000, None).expect("runs");
        (report.ending, report.output)
    };
    let said = (Ending::Exited(3), "a b\n\"c".to_owned());
    programs.make_ready();
    programs.make_ready();
    for _ in 0..3 {
        assert_eq!(run("printf %s \"$1\"; exit 3"), said);
    }
    programs.rest();
    assert_eq!(run("exit 3"), (Ending::Exited(3), String::new()));
}

#[test]
fn what_a_program_says_is_heard_while_it_runs() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (gate, programs, run) = (folder.path().join("gate"), programs(), Digest([5; 32]));
    assert!(Command::new("mkfifo").arg(&gate).status().expect("runs").success());
    let speaking = programs.live.of(run, 3);
    let script = "echo begun; read -r word < $1; echo over";
    let argv = sh(script, &gate);
    let (said, report) = std::thread::scope(|scope| {
        let ends = scope.spawn(|| programs.run(&Confinement::default(), &argv, 60_000, None));
        let said = loop {
            match programs.live.after(None, 0) {
                None if !ends.is_finished() => std::thread::sleep(std::time::Duration::from_millis(5)),
                said => break said,
            }
        };
        // A program that has ended would never read it.
        if said.is_some() {
            fs::write(&gate, "go\n").expect("it reads");
        }
        (said, ends.join().expect("no panic").expect("reports"))
    });
    let said = said.expect("it spoke while it ran");
    assert_eq!((said.run, said.step, said.text.as_str()), (run, 3, "begun\n"));
    assert_eq!((report.ending, report.output.as_str()), (Ending::Exited(0), "begun\nover\n"));
    drop(speaking);
}

#[test]
fn a_flood_is_counted_and_holds_nobody_up() {
    let (programs, run) = (programs(), Digest([6; 32]));
    let speaking = programs.live.of(run, 0);
    // Nobody asks for it meanwhile, and it is far more than is kept.
    let argv = sh("yes | head -c 200000000; printf '\\033]0;x\\007'; sleep 1", Path::new(""));
    let report = programs.run(&Confinement::default(), &argv, 60_000, None).expect("reports");
    assert_eq!(report.ending, Ending::Exited(0));
    assert!(report.output.contains("bytes left out"), "the record is bounded as ever");
    let said = programs.live.after(None, 0).expect("it spoke");
    assert!(said.from > 1_000_000 && said.text.len() < 20_000, "{} to {}", said.from, said.through);
    drop(speaking);
}
