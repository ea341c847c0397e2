//! What each kind of program gets that the runner starts, on the real kernel: what it is not to do is refused and told,
//! and the real tools do their work all the same.

use sopwith_agent::config::{Backup, Config};
use sopwith_agent::runner::actions::{Programs, command};
use sopwith_agent::runner::{Confinement, NamedCommand, Report, has_landlock, has_seccomp, profiles};
use std::fs;
use std::path::Path;

fn run(confinement: &Confinement, argv: &[&str]) -> Report {
    let programs = Programs::by(env!("CARGO_BIN_EXE_sopwith-agent"));
    let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
    programs.run(confinement, &argv, 60_000, None).expect("runs")
}

fn good(confinement: &Confinement, argv: &[&str]) -> String {
    let report = run(confinement, argv);
    assert_eq!(command::fault(&report), None, "{argv:?}: {report:?}");
    assert!(report.refused.is_empty(), "{argv:?}: {report:?}");
    report.output
}

fn sh(confinement: &Confinement, script: &str, argument: &Path) -> Report {
    run(confinement, &["/bin/sh", "-c", script, "sh", argument.to_str().expect("text")])
}

/// Makes a folder that is not below /tmp, which every program may write.
fn elsewhere() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = if target.starts_with("/tmp") { Path::new("/var/lib") } else { target };
    tempfile::tempdir_in(place).expect("tempdir")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn touching(what: &str) -> Confinement {
    Confinement::of(&[what.parse().expect("a subject")])
}

fn backup(folder: &Path, text: &str) -> Backup {
    let file = folder.join("agent.yaml");
    fs::write(&file, text.replace("FOLDER", folder.to_str().expect("text"))).expect("written");
    Config::load(&file).unwrap_or_else(|e| panic!("{e}")).backups.remove(0)
}

/// Every profile, with the system calls that it permits of those that most do not.
fn all() -> Vec<(&'static str, Confinement)> {
    vec![
        ("step", touching("path:/srv")),
        ("whole host", touching("host")),
        ("looking", profiles::looking()),
        ("reading", profiles::reading()),
        ("hand", profiles::hand()),
        ("packages", profiles::packages()),
        ("packet filter", profiles::packet_filter()),
        ("mounting", profiles::mounting()),
        ("clock", profiles::clock()),
    ]
}

/// Makes system calls by their numbers, without arguments, and says how each ended.
const CALLS: &str = "for my $n (@ARGV) { my $r = syscall($n + 0, 0, 0, 0, 0, 0); print $n, '=', ($r < 0 ? $! + 0 : 0), \"\\n\" }";

#[test]
fn what_no_repair_does_is_refused_to_everybody_and_told() {
    if !has_seccomp() {
        eprintln!("SKIPPED: this kernel has no seccomp");
        return;
    }
    // None of them does anything without arguments, should it be permitted after all.
    let calls = [
        ("init_module", libc::SYS_init_module),
        ("delete_module", libc::SYS_delete_module),
        ("kexec_file_load", libc::SYS_kexec_file_load),
        ("reboot", libc::SYS_reboot),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("swapon", libc::SYS_swapon),
    ];
    let numbers: Vec<String> = calls.iter().map(|(_, number)| number.to_string()).collect();
    for (kind, profile) in all() {
        let mut argv = vec!["/usr/bin/perl", "-e", CALLS];
        argv.extend(numbers.iter().map(String::as_str));
        let report = run(&profile, &argv);
        assert_eq!(command::fault(&report), None, "{kind}: {report:?}");
        for (name, number) in calls {
            assert!(report.output.contains(&format!("{number}=1\n")), "{kind}, {name}: {report:?}");
            assert!(report.refused.iter().any(|told| told == name), "{kind}, {name}: {report:?}");
        }
        assert!(report.output.starts_with("[refused to it: "), "it stands in the record: {report:?}");
    }
    // A failure names it as well.
    let call = [libc::SYS_bpf.to_string()];
    let failing = format!("{CALLS} exit 3");
    let report = run(&touching("host"), &["/usr/bin/perl", "-e", &failing, &call[0]]);
    assert_eq!(command::fault(&report).as_deref(), Some("it exited with 3; refused to it: bpf"));
}

#[test]
fn mounts_name_spaces_and_the_clock_are_for_those_who_declare_them() {
    if !has_seccomp() {
        eprintln!("SKIPPED: this kernel has no seccomp");
        return;
    }
    let calls = [libc::SYS_umount2, libc::SYS_setns, libc::SYS_clock_settime, libc::SYS_chroot]
        .map(|n| n.to_string());
    for (kind, profile) in all() {
        let mut argv = vec!["/usr/bin/perl", "-e", CALLS];
        argv.extend(calls.iter().map(String::as_str));
        let refused = run(&profile, &argv).refused.len();
        assert_eq!(refused, if profile.system { 0 } else { calls.len() }, "{kind}");
        // A process in name spaces of its own, by whichever call the library makes it.
        let report = run(&profile, &["/usr/bin/unshare", "--user", "--mount", "/bin/true"]);
        assert_eq!(report.refused.is_empty(), profile.system, "{kind}: {report:?}");
    }
}

#[test]
fn nobody_keeps_a_core_and_what_only_looks_writes_nothing_long() {
    for (kind, profile) in all() {
        let said = good(&profile, &["/bin/sh", "-c", "ulimit -c; ulimit -n; ulimit -f"]);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "0", "{kind}");
        assert!(lines[1].parse::<u64>().expect("a number") <= 65_536, "{kind}");
        assert_eq!(lines[2] == "unlimited", profile.file_max.is_none(), "{kind}: {said}");
    }
}

#[test]
fn a_hand_writes_nothing_and_signals_nobody() {
    let folder = tempfile::tempdir().expect("tempdir");
    let kept = folder.path().join("kept");
    fs::write(&kept, "as it was").expect("written");
    if has_landlock() {
        for profile in [profiles::hand(), profiles::packet_filter()] {
            let script = "echo x >/dev/null && ! echo x >\"$1/new\" && ! echo x >>\"$1/kept\" && ! rm -f \"$1/kept\" \
                          && ! touch /run/sopwith-test && ! mkdir \"$1/folder\" && cat \"$1/kept\" >/dev/null";
            let report = sh(&profile, script, folder.path());
            assert_eq!(command::fault(&report), None, "{report:?}");
        }
        assert_eq!(fs::read_to_string(&kept).expect("there"), "as it was");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        // What holds signals back came with kernel 6.12.
        let own = std::process::id().to_string();
        let may = run(&profiles::hand(), &["/bin/kill", "-0", &own]);
        match command::fault(&may) {
            Some(_) => {}
            None => eprintln!("NOT CHECKED: this kernel does not hold signals back"),
        }
        good(&profiles::hand(), &["/bin/sh", "-c", "sleep 100 & kill $! && ! wait $!"]);
    } else {
        eprintln!("SKIPPED: this kernel has no Landlock");
    }
}

#[test]
fn capabilities_are_the_fewest_with_which_each_can_work() {
    if !is_root() {
        eprintln!("SKIPPED: only root has capabilities to lose");
        return;
    }
    let own = fs::read_to_string("/proc/self/status").expect("read");
    let effective = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line");
        u64::from_str_radix(line.trim(), 16).expect("a number")
    };
    let bits = |numbers: &[u64]| numbers.iter().map(|bit| 1 << bit).sum::<u64>();
    // As in linux/capability.h: DAC_OVERRIDE 1, DAC_READ_SEARCH 2, SETGID 6, SETUID 7, NET_ADMIN 12, NET_BROADCAST 11, NET_RAW 13,
    // SYS_MODULE 16, SYS_RAWIO 17, SYS_PTRACE 19, SYS_ADMIN 21, SYS_BOOT 22, SYS_TIME 25.
    let script = "/proc/self/status";
    for (profile, all) in
        [(profiles::hand(), bits(&[1, 2, 6, 7])), (profiles::packet_filter(), bits(&[11, 12, 13]))]
    {
        assert_eq!(effective(&good(&profile, &["/bin/cat", script])), effective(&own) & all);
    }
    let dangerous = bits(&[12, 16, 17, 19, 21, 22, 25]);
    for profile in [profiles::packages(), profiles::reading(), profiles::clock(), touching("path:/srv")] {
        assert_eq!(effective(&good(&profile, &["/bin/cat", script])) & dangerous, 0, "{profile:?}");
    }
}

#[test]
fn the_systems_own_tools_work_with_what_they_get() {
    let has = |program: &str| {
        let there = Path::new(program).exists() && is_root();
        if !there {
            eprintln!("NOT CHECKED: {program} is not there, or nobody is root");
        }
        there
    };
    if has("/usr/bin/dpkg") {
        good(&profiles::packages(), &["/usr/bin/dpkg", "--audit"]);
        good(&profiles::packages(), &["/usr/bin/dpkg", "--configure", "--pending"]);
    }
    if has("/usr/sbin/logrotate") {
        let folder = tempfile::tempdir().expect("tempdir");
        let (config, log) = (folder.path().join("config"), folder.path().join("log"));
        fs::write(&log, "line\n").expect("written");
        fs::write(&config, format!("{} {{\n size 1\n rotate 1\n}}\n", log.display())).expect("written");
        let said =
            good(&profiles::reading(), &["/usr/sbin/logrotate", "--debug", config.to_str().expect("text")]);
        assert!(said.contains("log needs rotating"), "{said}");
    }
    for argv in [["/usr/sbin/visudo", "-c", "-q"], ["/usr/sbin/sshd", "-t", "-q"]] {
        if has(argv[0]) {
            let free = run(&Confinement::default(), &argv);
            assert_eq!(run(&profiles::reading(), &argv).ending, free.ending, "{argv:?}");
        }
    }
    let nft = ["/usr/sbin/nft", "-j", "list", "ruleset"];
    if has(nft[0]) && command::fault(&run(&Confinement::default(), &nft)).is_none() {
        assert!(good(&profiles::packet_filter(), &nft).contains("nftables"));
    }
    let folder = tempfile::tempdir().expect("tempdir");
    let place = folder.path().to_str().expect("text");
    let mount = ["/usr/bin/mount", "-t", "tmpfs", "none", place];
    if has(mount[0]) && command::fault(&run(&Confinement::default(), &mount)).is_none() {
        good(&profiles::mounting(), &["/usr/bin/umount", place]);
        good(&profiles::mounting(), &mount);
        good(&profiles::mounting(), &["/usr/bin/umount", place]);
    }
}

#[test]
fn backups_are_made_into_their_repository_and_nowhere_else() {
    let folder = elsewhere();
    let at = |name: &str| folder.path().join(name);
    for name in ["data", "tar", "cache"] {
        fs::create_dir(at(name)).expect("mkdir");
    }
    fs::write(at("data/file"), "what matters").expect("written");
    fs::write(at("password"), "only a test").expect("written");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let files = "backups:\n  - {name: b, files: {directory: FOLDER/tar, pattern: 'b-*.tar'}}\n";
    let profile = profiles::backup_job(&backup(folder.path(), files));
    good(&profile, &["/bin/tar", "-C", &text(&at("data")), "-cf", &text(&at("tar/b-1.tar")), "."]);
    if has_landlock() {
        let report = sh(
            &profile,
            "! echo x >\"$1/data/file\" && ! touch \"$1/new\" && ! touch /etc/sopwith",
            folder.path(),
        );
        assert_eq!(command::fault(&report), None, "{report:?}");
    } else {
        eprintln!("NOT CHECKED: this kernel has no Landlock");
    }
    assert_eq!(fs::read_to_string(at("data/file")).expect("there"), "what matters");
    if Path::new("/usr/bin/restic").exists() {
        let own =
            "backups:\n  - {name: b, restic: {repository: FOLDER/restic}, job: {writes: [FOLDER/cache]}}\n";
        let profile = profiles::backup_job(&backup(folder.path(), own));
        let (repository, password, cache) = (text(&at("restic")), text(&at("password")), text(&at("cache")));
        let base = ["/usr/bin/restic", "-q", "-r", &repository, "-p", &password, "--cache-dir", &cache];
        // The folder of a repository that is to be is its administrator's to make.
        fs::create_dir(at("restic")).expect("mkdir");
        for more in [&["init"][..], &["backup", &text(&at("data"))], &["check"]] {
            good(&profile, &[&base[..], more].concat());
        }
    } else {
        eprintln!("NOT CHECKED: restic is not there");
    }
    if Path::new("/usr/bin/borg").exists() {
        let own = "backups:\n  - {name: b, borg: {repository: FOLDER/borg}, job: {writes: [FOLDER/cache]}}\n";
        fs::create_dir(at("borg")).expect("mkdir");
        let profile = profiles::backup_job(&backup(folder.path(), own));
        let base = format!("BORG_BASE_DIR={}", text(&at("cache")));
        let borg = ["/usr/bin/env", &base, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "/usr/bin/borg"];
        let repository = text(&at("borg"));
        let archive = format!("{repository}::one");
        for more in [&["init", "-e", "none", &repository][..], &["create", &archive, &text(&at("data"))]] {
            good(&profile, &[&borg[..], more].concat());
        }
    } else {
        eprintln!("NOT CHECKED: borg is not there");
    }
}

#[test]
fn an_administrators_command_is_held_to_what_its_configuration_says() {
    if !has_landlock() {
        eprintln!("SKIPPED: this kernel has no Landlock");
        return;
    }
    let folder = elsewhere();
    for name in ["tls", "ca", "other"] {
        fs::create_dir(folder.path().join(name)).expect("mkdir");
    }
    fs::write(folder.path().join("tls/cert"), "old").expect("written");
    let touched = format!("path:{}", folder.path().join("tls/cert").display());
    let mut named = NamedCommand {
        argv: vec![],
        undo_argv: vec![],
        probe_argv: vec![],
        check_argv: vec![],
        touches: vec![touched.parse().expect("a subject")],
        writes: Some(vec![folder.path().join("ca")]),
    };
    // What it replaces it makes beside the old.
    let script =
        "echo 1 >\"$1/ca/serial\" && echo new >\"$1/tls/.new\" && mv \"$1/tls/.new\" \"$1/tls/cert\"";
    let held = profiles::operator_command(&named);
    let report = sh(&held, &format!("{script} && ! echo x >\"$1/other/file\""), folder.path());
    assert_eq!(command::fault(&report), None, "{report:?}");
    named.writes = None;
    let free = profiles::operator_command(&named);
    let report = sh(&free, &format!("{script} && echo x >\"$1/other/file\""), folder.path());
    assert_eq!(command::fault(&report), None, "{report:?}");
}
