//! The main path of a person once more, and this time nothing is played: a real agent on this machine sees a real
//! process die, and what is approved in the browser starts it again.

use rustix::process::{Pid, Signal, kill_process};
use sopwith_protocol::api::PlaybookView;
use sopwith_tests::browser::{Browser, RealHost, missing};
use sopwith_tests::installation::{Plan, Server};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const POLICY: &str = "version: 1\nauto: []\nhosts: all\nquiet_s: 1\n";
/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a password for one test";

/// Returns the SOP; a later version says something first.
fn playbook(version: u32, talker: Option<&Path>) -> String {
    let says = talker.map_or_else(String::new, |talker| {
        format!(
            "  - name: Say what is done
    do: command
    with: {{argv: [\"{0}\"], touches: [\"path:{0}.done\"]}}
    irreversible_because: words cannot be unsaid
    timeout_s: 60
",
            talker.display()
        )
    });
    format!(
        "\
id: start-process
version: {version}
title: Start a process that is not running
purpose: Starts it again.
scope: One process.
risk: approval
answers:
  - {{kind: process.missing, has: [start_program], priority: 10}}
parameters:
  process: {{type: word, from: subject, about: the process}}
  start_program: {{type: path, from: start_program, about: what starts it}}
steps:
{says}  - name: Start the process
    require: [{{check: process.not-running, with: {{process: $process}}}}]
    do: process.start
    with: {{process: $process, program: $start_program}}
    expect: [{{check: process.running, with: {{process: $process}}}}]
    timeout_s: {}
verify:
  - {{check: process.running, with: {{process: $process}}}}
soak_s: 1
escalation: Call its owner.
",
        10 + version
    )
}

/// Builds server and agent as they are, and returns where they lie.
fn binaries() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "-q", "-p", "sopwith-server", "-p", "sopwith-agent"]).current_dir(&root);
    assert!(build.status().expect("cargo runs").success(), "server and agent were not built");
    // This test's own binary lies in TARGET/debug/deps.
    let own = std::env::current_exe().expect("a path");
    own.ancestors().nth(2).expect("a target folder").to_owned()
}

#[test]
fn a_real_process_dies_and_what_is_approved_in_the_browser_starts_it_again() {
    if let Some(what) = missing() {
        eprintln!("SKIPPED: {what}");
        return;
    }
    let binaries = binaries();
    let dir = tempfile::tempdir().expect("a folder");
    let (unsigned, place, here) =
        (dir.path().join("unsigned"), dir.path().join("server"), dir.path().join("host"));
    for folder in [&unsigned, &place, &here] {
        std::fs::create_dir(folder).expect("a folder");
    }
    std::fs::write(unsigned.join("start.yaml"), playbook(1, None)).expect("written");
    let plan = Plan {
        binaries: &binaries,
        dir: &place,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        policy: POLICY,
        playbooks: &unsigned,
    };
    let server = Server::start(&plan).expect("a server");
    server.local(&["user", "add", "alice", "--role", "approver"], PASSWORD).expect("an account");
    let host =
        RealHost::start(&binaries, &server, &here, "web-1", &["shop", "mail", "post"]).expect("a real host");
    let browser = Browser::start(&server.operators_url()).expect("a browser");
    browser.resize(1280, 900).expect("a window");
    browser.open("/").expect("a page");
    browser.write("#name", "alice").expect("a name");
    browser.write("#password", PASSWORD).expect("a password");
    browser.click("form[action='/login'] button").expect("sent");
    browser.wait_for_text("all 1 connected").expect("the host has spoken");

    // Seen, read, approved, started, verified: the page tells it as it happens.
    let killed = host.kill("shop").expect("it ran");
    browser.wait_for_text("Process shop on web-1 is gone").expect("the overview hears of it by itself");
    browser.open(&page_of(&server, "process:shop")).expect("the incident");
    browser.wait_for_text("Start the process shop").expect("the plan");
    browser.click("button[value=approve]").expect("clicked");
    browser.click("dialog button.primary").expect("approved");
    browser.wait_for_text("Approved. The run begins").expect("said so");
    browser.wait_for_text("Run ended: repaired and verified").expect("the host says so itself");
    let now = host.pid("shop");
    assert!(now.is_some_and(|pid| pid != killed), "another process runs: {now:?} after {killed}");
    browser.wait_for_text("Closed").expect("quiet, and over");

    // Who says no says why, and nothing is started.
    host.kill("mail").expect("it ran");
    browser.open(&page_of(&server, "process:mail")).expect("the incident");
    browser.write("textarea[name=reason]", "it is to stay away").expect("a reason");
    browser.click("button[value=deny]").expect("clicked");
    browser.wait_for_text("Denied. Nothing runs").expect("said so");
    browser.wait_for_text("Needs a person").expect("in people's hands");
    assert_eq!(host.pid("mail"), None, "nothing was started");

    // The SOP is replaced under the eyes of whoever reads its plan: what he approves then is refused.
    browser.scripts(false).expect("no scripts: the page stays as it was read");
    host.kill("post").expect("it ran");
    browser.open(&page_of(&server, "process:post")).expect("the incident");
    browser.wait_for("button[value=approve]").expect("the plan");
    std::fs::write(unsigned.join("start.yaml"), playbook(2, Some(&talker(dir.path())))).expect("written");
    // The old signature goes first: ssh-keygen writes over none.
    std::fs::remove_file(place.join("playbooks/start.yaml.sig")).expect("gone");
    server.owner().sign_playbooks(&unsigned, &place.join("playbooks")).expect("signed");
    let pid = server.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it runs");
    kill_process(pid, Signal::HUP).expect("told to read again");
    let installed = || server.client().get::<PlaybookView>("/playbooks/start-process").map(|sop| sop.version);
    until("the new version", || installed().expect("an SOP") == 2);
    browser.click("button[value=approve]").expect("clicked");
    browser.wait_for_text("The plan changed while you were reading").expect("refused");
    assert_eq!(host.pid("post"), None, "nothing was started");
    browser.open(&page_of(&server, "process:post")).expect("the incident");
    browser.wait_for_text("playbook start-process was replaced by version 2").expect("and why");

    // The new plan stands there at once. What its step says is read while it runs, and commands nothing.
    browser.scripts(true).expect("live again");
    browser.open(&page_of(&server, "process:post")).expect("the incident");
    browser.wait_for_text("talker").expect("the new plan");
    browser.click("button[value=approve]").expect("clicked");
    browser.click("dialog button.primary").expect("approved");
    browser.wait_for_text("block 3[U+001B][2J<b>").expect("what the step says, on the incident's page");
    std::fs::write(dir.path().join("enough"), "").expect("written");
    browser.wait_for_text("Run ended: repaired and verified").expect("the host says so itself");
    assert!(host.pid("post").is_some(), "it runs again");
}

/// A program that speaks until it is told that it is enough.
fn talker(dir: &Path) -> PathBuf {
    let path = dir.join("talker");
    let enough = dir.join("enough");
    let script = format!(
        "#!/bin/sh\nn=0\nwhile [ ! -e {} ]; do n=$((n+1)); printf 'block %d\\033[2J<b>\\n' $n; sleep 0.2; done\n",
        enough.display()
    );
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("runnable");
    path
}

/// Waits until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until there is a plan for the subject, and returns its incident's page. This machine may have other faults.
fn page_of(server: &Server, subject: &str) -> String {
    let mut page = String::new();
    until(subject, || {
        let all = server.client().incidents().expect("incidents");
        let found = all.iter().find(|one| one.summary.subject == subject && one.summary.plan.is_some());
        page = found.map_or_else(String::new, |one| format!("/incidents/{}", one.summary.id.0));
        !page.is_empty()
    });
    page
}
