//! Actions on the kernel against a real kernel: settings, interfaces, the packet filter, mounts. In namespaces of their
//! own (`unshare`), so that the machine of the test is not touched; where those cannot be had the test says so.

use sopwith_agent::runner::actions::{
    Programs, Quarantine, Systemd, Workbench, capture, foresee, perform, prepare, probe, undo,
};
use sopwith_domain::action::{Action, NftFamily};
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::run::{Effect, StepContext, StepResult, UndoResult};
use sopwith_domain::value::{AbsPath, Word, Words};
use std::fs;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "SOPWITH_TEST_INSIDE";

#[test]
fn actions_on_a_kernel_that_is_the_tests_own() {
    let unshare = |argv: &[&str]| {
        let own = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
        let mut command = Command::new("/usr/bin/unshare");
        command.args(own).args(argv);
        command
    };
    if !unshare(&["/bin/true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: this machine gives no namespaces");
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("text");
    let arguments = [program, "--exact", "inside", "--nocapture"];
    let status = unshare(&arguments).env(INSIDE, "1").status().expect("it starts");
    assert!(status.success(), "{status}");
}

/// What the test above starts in its namespaces. Elsewhere it does nothing.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    settings();
    interfaces();
    packet_filter();
    mounts();
}

struct World {
    folder: tempfile::TempDir,
    bench: Workbench,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let quarantine = folder.path().join("quarantine");
        prepare(&quarantine).expect("quarantine");
        let bench = Workbench {
            quarantine: Quarantine::new(quarantine),
            systemd: Systemd::default(),
            programs: Programs::by(env!("CARGO_BIN_EXE_sopwith-agent")),
            processes: [].into(),
            reclaimable: Vec::new(),
            settings: None,
            own: Default::default(),
            commands: Default::default(),
            tables: Default::default(),
        };
        Self { folder, bench }
    }

    fn refused(&mut self, action: Action) -> String {
        let step = step(action);
        capture(&mut self.bench, context(&step)).expect_err("it is refused")
    }

    /// Does the action, looks, takes it back, each twice, and holds what the kernel says against what it said before.
    fn cycle(&mut self, action: Action, look: &dyn Fn() -> String) {
        let step = step(action);
        let told = format!("{:?}", step.action);
        let bench = &mut self.bench;
        let before = look();
        foresee(bench, context(&step)).unwrap_or_else(|e| panic!("{told}: {e}"));
        for round in 0..2 {
            let prior = capture(bench, context(&step)).unwrap_or_else(|e| panic!("{told}: {e}"));
            assert_eq!(look(), before, "{told}: looking changes nothing");
            assert!(matches!(probe(bench, context(&step), &prior), Effect::None { .. }), "{told}");
            // An undo of what never began changes nothing.
            assert!(restored(&undo(bench, context(&step), &prior)), "{told}");
            assert_eq!(look(), before, "{told}");
            let done = perform(bench, context(&step), &prior);
            assert!(matches!(done, StepResult::Done { .. }), "{told}: {done:?}");
            let after = look();
            assert_ne!(after, before, "{told}: it has an effect");
            let effect = probe(bench, context(&step), &prior);
            assert!(matches!(effect, Effect::Took { .. }), "{told}: {effect:?}");
            for _ in 0..2 {
                let outcome = undo(bench, context(&step), &prior);
                assert!(restored(&outcome), "{told}, round {round}: {outcome:?}");
                assert_eq!(look(), before, "{told}, round {round}");
            }
        }
    }

    /// Does the action and leaves it so; says what an undo says after somebody else had his hands on it.
    fn meddled(&mut self, action: Action, meddle: &dyn Fn(), look: &dyn Fn() -> String) -> UndoResult {
        let step = step(action);
        let prior = capture(&mut self.bench, context(&step)).expect("captured");
        let done = perform(&mut self.bench, context(&step), &prior);
        assert!(matches!(done, StepResult::Done { .. }), "{done:?}");
        meddle();
        let theirs = look();
        let outcome = undo(&mut self.bench, context(&step), &prior);
        if matches!(outcome, UndoResult::Residue { .. }) {
            assert_eq!(look(), theirs, "what somebody else set stays");
        }
        outcome
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
        timeout_ms: 20_000,
    }
}

fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

fn restored(outcome: &UndoResult) -> bool {
    matches!(outcome, UndoResult::Restored { .. })
}

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

fn run(argv: &[&str]) -> bool {
    Command::new(argv[0]).args(&argv[1..]).status().is_ok_and(|status| status.success())
}

fn said(argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).output().expect("it starts");
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn settings() {
    let mut world = World::new();
    let set = |key: &str, value: &str| Action::SysctlSet {
        key: word(key),
        value: Words::new(value).expect("words"),
    };
    let range = || fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("read");
    world.cycle(set("net.ipv4.ip_local_port_range", "40000 40999"), &range);
    // What sets the forwarding of every interface puts all of them back as each was.
    fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1").expect("written");
    let forwarding = || {
        let of = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).expect("read");
        ["ip_forward", "conf/all/forwarding", "conf/default/forwarding", "conf/lo/forwarding"]
            .map(of)
            .concat()
            + &of("conf/all/accept_redirects")
    };
    let wanted = if forwarding().starts_with('0') { "1" } else { "0" };
    world.cycle(set("net.ipv4.ip_forward", wanted), &forwarding);
    let meddle = || fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50999").expect("written");
    let outcome = world.meddled(set("net.ipv4.ip_local_port_range", "40000 40999"), &meddle, &range);
    assert!(!restored(&outcome), "{outcome:?}");
    let step = step(set("net.ipv4.ip_local_port_range", "9 8"));
    let (prior, before) = (capture(&mut world.bench, context(&step)).expect("captured"), range());
    let outcome = perform(&mut world.bench, context(&step), &prior);
    assert!(matches!(outcome, StepResult::Failed { .. }), "the kernel refuses it: {outcome:?}");
    assert_eq!(range(), before);
}

fn interfaces() {
    let kinds: [&[&str]; 2] = [
        &["/usr/sbin/ip", "link", "add", "t0", "type", "dummy"],
        &["/usr/sbin/ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1"],
    ];
    if !kinds.iter().any(|argv| run(argv)) {
        eprintln!("NOT TESTED: link.mtu, since this kernel makes no interface");
        return;
    }
    let mut world = World::new();
    let mtu = |mtu| Action::LinkMtu { interface: word("t0"), mtu };
    let look = || said(&["/usr/sbin/ip", "-o", "link", "show", "dev", "t0"]);
    world.cycle(mtu(1400), &look);
    let meddle = || assert!(run(&["/usr/sbin/ip", "link", "set", "t0", "mtu", "1300"]));
    assert!(!restored(&world.meddled(mtu(1400), &meddle, &look)));
    world.refused(Action::LinkMtu { interface: word("lo"), mtu: 1500 });
    world.refused(Action::LinkMtu { interface: word("nobody"), mtu: 1500 });
}

fn packet_filter() {
    const RULES: &str = "table inet filter {
        set blocked { type ipv4_addr; flags timeout; }
        set kept { type ipv4_addr; flags timeout; elements = { 203.0.113.7 timeout 1h } }
        chain input { type filter hook input priority 0; policy drop;
            tcp dport 80 counter packets 7 bytes 420 drop comment \"who was it\"
            iif lo accept
            ip saddr @blocked drop
            tcp dport 80 log prefix \"eighty \" reject with tcp reset
            tcp dport { 22, 80, 443 } ct state new,established accept
            udp dport 53 drop
        }
    }\n";
    let mut world = World::new();
    let file = world.folder.path().join("rules");
    fs::write(&file, RULES).expect("written");
    if !run(&["/usr/sbin/nft", "-f", file.to_str().expect("text")]) {
        eprintln!("NOT TESTED: nft, since this kernel has no packet filter");
        return;
    }
    let look = || said(&["/usr/sbin/nft", "-s", "list", "ruleset"]);
    let (family, table) = (NftFamily::Inet, word("filter"));
    let ip = |text: &str| text.parse().expect("an address");
    let add = |set: &str, address: &str, timeout_s| Action::NftAddElement {
        family,
        table: table.clone(),
        set: word(set),
        ip: ip(address),
        timeout_s,
    };
    // What is left of an element's time is in no ruleset without its state.
    world.cycle(add("blocked", "203.0.113.9", 3600), &look);
    for wrong in [
        add("nothing", "203.0.113.9", 1),
        add("blocked", "2001:db8::1", 1),
        Action::NftDeleteElement { family, table: word("@x"), set: word("b"), ip: ip("192.0.2.1") },
    ] {
        world.refused(wrong);
    }
    let kept = step(add("kept", "203.0.113.7", 60));
    let prior = capture(&mut world.bench, context(&kept)).expect("captured");
    assert!(matches!(perform(&mut world.bench, context(&kept), &prior), StepResult::Done { .. }));
    undo(&mut world.bench, context(&kept), &prior);
    assert!(look().contains("203.0.113.7"), "what was there before stays");
    let set = word("kept");
    world.cycle(Action::NftDeleteElement { family, table: table.clone(), set, ip: ip("203.0.113.7") }, &look);
    rules(&mut world, &look);
}

fn rules(world: &mut World, look: &dyn Fn() -> String) {
    let chain = || -> Vec<(u64, String)> {
        let text = said(&["/usr/sbin/nft", "-a", "list", "chain", "inet", "filter", "input"]);
        let rule = |line: &str| {
            let (rule, handle) = line.trim().split_once(" # handle ")?;
            Some((handle.parse().ok()?, rule.to_owned()))
        };
        text.lines()
            .filter(|line| !line.contains("chain") && !line.contains("table"))
            .filter_map(rule)
            .collect()
    };
    let digest = |handle: u64| {
        let rules =
            sopwith_agent::runner::actions::nft::rule::listed("inet", "filter", "input").expect("listed");
        let rule = rules.into_iter().find(|rule| rule["handle"] == handle).expect("there");
        word(&sopwith_agent::runner::actions::nft::rule::digest(&rule))
    };
    let delete = |handle: u64, rule: Word| Action::NftDeleteRule {
        family: NftFamily::Inet,
        table: word("filter"),
        chain: word("input"),
        handle,
        rule,
    };
    assert_eq!(chain().len(), 6);
    // The first, the last, and all between; each goes back to where it stood, with what it counted.
    for at in 0..6 {
        let step_of = || {
            let (handle, _) = chain()[at];
            delete(handle, digest(handle))
        };
        let (step, before, counters) = (step(step_of()), look(), chain());
        let prior = capture(&mut world.bench, context(&step)).expect("captured");
        foresee(&mut world.bench, context(&step)).expect("foreseen");
        assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::None { .. }));
        let done = perform(&mut world.bench, context(&step), &prior);
        assert!(matches!(done, StepResult::Done { .. }), "{at}: {done:?}");
        assert_eq!(chain().len(), 5);
        assert!(matches!(probe(&mut world.bench, context(&step), &prior), Effect::Took { .. }));
        for _ in 0..2 {
            let outcome = undo(&mut world.bench, context(&step), &prior);
            assert!(restored(&outcome), "{at}: {outcome:?}");
            assert_eq!(look(), before, "{at}");
        }
        let texts = |rules: Vec<(u64, String)>| rules.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(chain()), texts(counters), "{at}: with its counters");
    }
    let (handle, _) = chain()[0];
    world.refused(delete(handle, word("0123456789abcdef0123456789abcdef")));
    world.refused(delete(handle + 1000, digest(handle)));
    // Of two rules that block the port none is plainly to blame; of one it is.
    let blocking = |port| sopwith_agent::runner::actions::nft::blocking::find(port, "tcp").expect("read");
    assert_eq!(blocking(80), None);
    let (reject, _) = chain()[3].clone();
    assert!(run(&[
        "/usr/sbin/nft",
        "delete",
        "rule",
        "inet",
        "filter",
        "input",
        "handle",
        &reject.to_string()
    ]));
    let found = blocking(80).expect("one rule");
    assert_eq!((found.handle, found.digest), (chain()[0].0, digest(chain()[0].0)));
    assert_eq!(blocking(443), None);
}

fn mounts() {
    let mut world = World::new();
    let root = world.folder.path().to_owned();
    let point = |name: &str| AbsPath::new(root.join(name).to_str().expect("text")).expect("a path");
    let (volume, other) = (point("volume"), point("other"));
    for path in [&volume, &other] {
        fs::create_dir(path.as_str()).expect("made");
    }
    let fstab = root.join("fstab");
    let line = format!("tmpfs {volume} tmpfs size=1m,nosuid,mode=0750 0 0\n");
    fs::write(&fstab, line).expect("written");
    assert!(Path::new("/etc/fstab").exists() || fs::write("/etc/fstab", "").is_ok());
    assert!(run(&["/usr/bin/mount", "--bind", fstab.to_str().expect("text"), "/etc/fstab"]));
    let look = || {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("read");
        let of_world = |line: &&str| line.contains(root.to_str().expect("text")) && !line.contains("fstab");
        // Number and parent of a mount, and the device of a file system of its own, are new each time.
        let lines = table.lines().filter(of_world);
        lines.map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ") + "\n").collect::<String>()
    };
    let mount = || Action::MountMount { mount: volume.clone() };
    world.cycle(mount(), &look);
    world.refused(Action::MountMount { mount: other.clone() });
    world.refused(Action::MountUnmount { mount: other });
    fs::write(root.join("volume/orphan"), "x").expect("written");
    let why = world.refused(mount());
    assert!(why.contains("1 entries"), "{why}");
    fs::remove_file(root.join("volume/orphan")).expect("removed");
    world.refused(Action::MountRemount { mount: volume.clone(), option: word("ro") });
    assert!(run(&["/usr/bin/mount", volume.as_str()]));
    world.cycle(Action::MountUnmount { mount: volume.clone() }, &look);
    let remount = |option: &str| Action::MountRemount { mount: volume.clone(), option: word(option) };
    for (given, option) in [
        ("rw", "ro"),
        ("rw", "noexec"),
        ("rw", "suid"),
        // The place alone, and the whole file system.
        ("bind,ro", "rw"),
        ("ro", "rw"),
    ] {
        let options = format!("remount,{given},nosuid");
        assert!(
            run(&["/usr/bin/mount", "--options-mode=ignore", "-o", &options, volume.as_str()]),
            "{given}"
        );
        world.cycle(remount(option), &look);
        for reset in ["remount,rw,nosuid", "remount,bind,rw,nosuid"] {
            assert!(run(&["/usr/bin/mount", "--options-mode=ignore", "-o", reset, volume.as_str()]));
        }
    }
    let meddle = || {
        let options = "remount,bind,rw,nosuid,nodev,noexec";
        assert!(run(&["/usr/bin/mount", "--options-mode=ignore", "-o", options, volume.as_str()]));
    };
    let outcome = world.meddled(remount("noexec"), &meddle, &look);
    assert!(!restored(&outcome), "{outcome:?}");
    // Somebody works there: nothing is unmounted by force, and that it could not be is said.
    assert!(run(&["/usr/bin/umount", volume.as_str()]));
    let step = step(mount());
    let prior = capture(&mut world.bench, context(&step)).expect("captured");
    assert!(matches!(perform(&mut world.bench, context(&step), &prior), StepResult::Done { .. }));
    let busy = fs::File::create(root.join("volume/busy")).expect("made");
    assert!(matches!(undo(&mut world.bench, context(&step), &prior), UndoResult::Residue { .. }));
    drop(busy);
    assert!(restored(&undo(&mut world.bench, context(&step), &prior)));
    assert!(run(&["/usr/bin/umount", "/etc/fstab"]));
}
