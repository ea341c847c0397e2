//! What a person does on the pages, done in a real browser against the real server: sign in, read the plan,
//! approve, see it verified; deny; be refused when the plan changed meanwhile. By pointer, by keyboard alone, on a
//! phone, without scripts. No page may make the browser complain.

use sopwith_domain::ids::{Digest, RuleId};
use sopwith_domain::run::{End, StepResult, What};
use sopwith_domain::signal::{Condition, Evidence, Severity, Signal, SignalKind, Subject};
use sopwith_domain::value::{AbsPath, UnitName, Value, Word};
use sopwith_tests::browser::{Agent, Browser, Scheme, missing, mistakes};
use sopwith_tests::installation::{Plan, Server};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

const POLICY: &str = "version: 1\nauto: []\nhosts: all\n";
const PASSWORD: &str = "a password for one test";
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

const START: &str = "\
id: start-it
version: 1
title: Start a service that failed
purpose: Starts it again.
scope: One unit.
risk: approval
answers:
  - {kind: unit.failed, priority: 10}
parameters:
  unit: {type: unit, from: subject, about: the unit}
steps:
  - name: Clear the failed state
    do: unit.reset-failed
    with: {unit: $unit}
    timeout_s: 10
  - name: Start the unit
    do: unit.start
    with: {unit: $unit}
    expect: [{check: unit.active, with: {unit: $unit}}]
    timeout_s: 30
verify:
  - {check: unit.active, with: {unit: $unit}}
soak_s: 5
escalation: Look at its log.
";

const RESTORE: &str = "\
id: put-back
version: 1
title: Put the known-good configuration back
purpose: Undoes an edit.
scope: One file.
risk: approval
answers:
  - {kind: unit.failed, has: [config_path, known_good], priority: 20}
parameters:
  unit: {type: unit, from: subject}
  config: {type: path, from: config_path}
  good: {type: path, from: known_good}
steps:
  - name: Put the file back
    do: file.restore
    with: {path: $config, from: $good}
    timeout_s: 30
verify:
  - {check: unit.active, with: {unit: $unit}}
soak_s: 0
escalation: Call the author.
";

/// One browser at a time: the machine is small, and a test should fail for its own reasons.
static ONE: Mutex<()> = Mutex::new(());

/// Folder of the server's binary, built once.
static BINARIES: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .args(["build", "-q", "-p", "sopwith-server"])
        .current_dir(&root)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the server was not built");
    // This test's own binary lies in TARGET/debug/deps.
    let own = std::env::current_exe().expect("a path");
    own.ancestors().nth(2).expect("a target folder").to_owned()
});

/// A server with one host, and a browser in front of it.
struct Stage {
    browser: Browser,
    agent: Agent,
    server: Server,
    _dir: tempfile::TempDir,
}

/// Runs a test on a fresh stage, or says why it cannot run here.
fn on_stage(test: impl FnOnce(&mut Stage)) {
    if let Some(what) = missing() {
        eprintln!("SKIPPED: {what}");
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a folder");
    let playbooks = dir.path().join("unsigned");
    std::fs::create_dir(&playbooks).expect("a folder");
    std::fs::write(playbooks.join("start.yaml"), START).expect("written");
    std::fs::write(playbooks.join("restore.yaml"), RESTORE).expect("written");
    let place = dir.path().join("server");
    std::fs::create_dir(&place).expect("a folder");
    let plan = Plan {
        binaries: &BINARIES,
        dir: &place,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        policy: POLICY,
        playbooks: &playbooks,
    };
    let server = Server::start(&plan).expect("a server");
    for (name, role) in [("ada", "admin"), ("alice", "approver"), ("victor", "viewer")] {
        server.local(&["user", "add", name, "--role", role], PASSWORD).expect("an account");
    }
    let token = server.join_token("web-1").expect("a token");
    let ca = std::fs::read_to_string(server.ca_path()).expect("the CA");
    let agent = Agent::join(&server.agents_url(), &ca, &token, "web-1").expect("joined");
    let browser = Browser::start(&server.operators_url()).expect("a browser");
    browser.resize(1280, 900).expect("a window");
    let mut stage = Stage { browser, agent, server, _dir: dir };
    test(&mut stage);
    drop(stage.server);
}

impl Stage {
    fn sign_in(&self, name: &str) {
        self.browser.open("/").expect("a page");
        self.browser.write("#name", name).expect("a name");
        self.browser.write("#password", PASSWORD).expect("a password");
        self.browser.click("form[action='/login'] button").expect("sent");
        self.browser.wait_for(".places").expect("signed in");
    }

    fn sign_out(&self) {
        self.browser.open("/more").expect("a page");
        self.browser.click("form[action='/logout'] button").expect("sent");
        self.browser.wait_for("#password").expect("signed out");
    }

    fn signal(&self) -> Signal {
        let word = |text: &str| Word::new(text).expect("a word");
        Signal {
            host: self.agent.host().clone(),
            epoch: Agent::EPOCH,
            rule: RuleId::new("units.failed").expect("a rule"),
            kind: SignalKind::new("unit.failed").expect("a kind"),
            subject: Subject::Unit(UnitName::new("shop.service").expect("a unit")),
            condition: Condition::Raised,
            severity: Severity::Critical,
            summary: format!("shop.service failed {HOSTILE}"),
            fields: BTreeMap::from([(word("unit_result"), Value::Word(word("signal")))]),
            evidence: vec![Evidence { title: "journal".into(), text: HOSTILE.into() }],
            observed_at: sopwith_tests::browser::now(),
            cause: None,
            depends_on: Vec::new(),
        }
    }

    /// Returns the fault with a drifted configuration beside it, which another SOP answers.
    fn drifted(&self, config: &str) -> Signal {
        let mut signal = self.signal();
        for (name, path) in [("config_path", config), ("known_good", "/var/lib/good/shop.conf")] {
            let path = Value::Path(AbsPath::new(path).expect("a path"));
            signal.fields.insert(Word::new(name).expect("a word"), path);
        }
        signal
    }

    /// Has the host take its order and begin the first step.
    fn begin(&mut self) -> Digest {
        let order = self.agent.order().expect("an order");
        let run = order.plan;
        self.agent.record(run, What::Accepted { order: Box::new(order) }).expect("told");
        self.agent.record(run, What::Started { step: 0, prior: serde_json::Value::Null }).expect("told");
        run
    }

    /// Has the host do the rest, and the fault go away.
    fn finish(&mut self, run: Digest) {
        let done = |step| What::Finished { step, outcome: StepResult::Done { output: String::new() } };
        let rest = [
            done(0),
            What::Started { step: 1, prior: serde_json::Value::Null },
            done(1),
            What::Verified { passed: true, detail: "shop.service is active".into() },
            What::Soaked { passed: true, detail: String::new() },
            What::Ended { end: End::Resolved },
        ];
        for what in rest {
            self.agent.record(run, what).expect("told");
        }
        let cleared = Signal { condition: Condition::Cleared, ..self.signal() };
        self.agent.tell(cleared).expect("told");
    }

    /// Fails if the browser complained about anything but answers with these statuses, which are meant.
    fn quiet(&self, but: &[u16]) {
        let meant = |text: &String| {
            text.contains("Failed to load resource")
                && but.iter().any(|status| text.contains(&format!("status of {status}")))
        };
        let complaints: Vec<String> = self.browser.complaints().expect("a log");
        let left: Vec<&String> = complaints.iter().filter(|text| !meant(text)).collect();
        assert!(left.is_empty(), "the browser complained: {left:#?}");
    }
}

#[test]
fn the_plan_is_read_approved_and_seen_verified_while_the_page_stays_open() {
    on_stage(|stage| {
        stage.sign_in("alice");
        stage.browser.wait_for_text("Nothing needs you.").expect("an empty overview");
        let signal = stage.signal();
        stage.agent.tell(signal).expect("told");
        // The overview hears of it by itself.
        stage.browser.wait_for_text("shop on web-1 has failed").expect("the incident");
        stage.browser.click("a.row[href='/incidents/1']").expect("opened");
        let text = stage.browser.text("main").expect("text");
        for words in
            ["Clear the failed state of shop.service", "Start shop.service", "Undo: Put back", "If it fails"]
        {
            assert!(text.contains(words), "{words:?} is not in {text}");
        }
        // Evidence is text, whatever it says.
        stage.browser.click("#evidence-0 summary").expect("unfolded");
        assert!(stage.browser.text("#evidence-0 pre").expect("text").contains("<script>"));
        assert_ne!(stage.browser.eval("return document.title").expect("a title"), "owned");
        // Asked once more, one can step back.
        stage.browser.click("button[value=approve]").expect("clicked");
        stage.browser.wait_for("dialog[open]").expect("a question");
        assert_eq!(stage.browser.eval("return document.activeElement.textContent").expect("focus"), "Back");
        stage.browser.click("dialog button:not(.primary)").expect("back");
        stage.browser.click("button[value=approve]").expect("clicked");
        stage.browser.click("dialog button.primary").expect("approved");
        stage.browser.wait_for_text("Approved. The run begins").expect("said so");
        let run = stage.begin();
        stage.browser.wait_for_text("Running step 1 of 2").expect("live");
        stage.browser.open(&format!("/runs/{run}")).expect("the run");
        stage.browser.wait_for_text("step 2 would not start").expect("what cancel stops");
        stage.finish(run);
        stage.browser.wait_for_text("Run ended: repaired and verified").expect("live");
        stage.browser.open("/incidents/1").expect("the incident");
        stage.browser.wait_for_text("Watching").expect("watched");
        assert!(stage.browser.text("main").expect("text").contains("1 run: 1 verified"));
        stage.quiet(&[]);
    });
}

#[test]
fn a_denial_needs_a_reason_and_ends_it() {
    on_stage(|stage| {
        stage.sign_in("alice");
        let signal = stage.signal();
        stage.agent.tell(signal).expect("told");
        stage.browser.open("/approvals").expect("the inbox");
        stage.browser.click("button[value=deny]").expect("clicked");
        assert_eq!(stage.browser.path().expect("a path"), "/approvals", "the form asks for the reason");
        // Where the browser's own check is passed over, the server asks.
        stage
            .browser
            .eval("document.querySelectorAll('textarea').forEach((t) => t.required = false)")
            .expect("changed");
        stage.browser.click("button[value=deny]").expect("clicked");
        stage.browser.wait_for_text("a denial needs a reason").expect("said so");
        stage.browser.write("textarea[name=reason]", "we are in the middle of a release").expect("a reason");
        stage.browser.click("button[value=deny]").expect("clicked");
        stage.browser.wait_for_text("Denied. Nothing runs").expect("said so");
        stage
            .browser
            .wait_for_text("we are in the middle of a release")
            .expect("the reason stands in the timeline");
        stage.browser.wait_for_text("Needs a person").expect("in people's hands");
        assert!(
            stage
                .browser
                .eval("return document.querySelector('button[value=approve]')")
                .expect("asked")
                .is_null()
        );
        stage.quiet(&[422]);
    });
}

#[test]
fn an_approval_of_a_plan_that_changed_is_refused_and_the_difference_shown() {
    on_stage(|stage| {
        // Without scripts the page stays as it was read.
        stage.browser.scripts(false).expect("no scripts");
        stage.sign_in("alice");
        let signal = stage.drifted("/etc/shop.conf");
        stage.agent.tell(signal).expect("told");
        stage.browser.open("/incidents/1").expect("the incident");
        stage
            .browser
            .wait_for_text("Restore /etc/shop.conf from /var/lib/good/shop.conf")
            .expect("the first plan");
        let other = stage.drifted("/etc/other.conf");
        stage.agent.tell(other).expect("told");
        stage.browser.click("button[value=approve]").expect("clicked");
        stage.browser.wait_for_text("The plan changed while you were reading").expect("refused");
        let text = stage.browser.text("main").expect("text");
        assert!(text.contains("Nothing was approved or denied"), "{text}");
        for line in [
            "− was",
            "Parameter config = /etc/shop.conf",
            "+ now",
            "Step 1: Restore /etc/other.conf from /var/lib/good/shop.conf",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        // The plan as it is now can be decided on from here, still without scripts.
        stage.browser.click("button[value=approve]").expect("clicked");
        stage.browser.wait_for_text("Approved. The run begins").expect("approved");
        let order = stage.agent.order().expect("an order");
        let config = order.parameters.get(&Word::new("config").expect("a word"));
        assert_eq!(
            config.map(ToString::to_string).as_deref(),
            Some("/etc/other.conf"),
            "the order is for the second plan"
        );
        stage.browser.scripts(true).expect("scripts");
        stage.quiet(&[412]);
    });
}

#[test]
fn on_a_phone_by_keyboard_alone() {
    on_stage(|stage| {
        stage.browser.resize(390, 844).expect("a phone");
        let signal = stage.signal();
        stage.agent.tell(signal).expect("told");
        stage.browser.open("/approvals").expect("sent to sign in");
        stage.browser.wait_for("#name").expect("the form");
        assert_eq!(mistakes(&stage.browser).expect("looked at"), Vec::<String>::new());
        let (tab, enter) = ('\u{e004}', '\u{e007}');
        stage.browser.press(&format!("alice{tab}{PASSWORD}{enter}")).expect("typed");
        stage.browser.wait_for(".inbox article").expect("sent on to the inbox");
        assert_eq!(mistakes(&stage.browser).expect("looked at"), Vec::<String>::new());
        // Tab until the button has the focus, as a person does who looks for it.
        let mut steps = 0;
        while stage.browser.eval("return document.activeElement.value").expect("asked") != "approve" {
            stage.browser.press(&tab.to_string()).expect("pressed");
            steps += 1;
            assert!(steps < 40, "the button cannot be reached by Tab");
        }
        let ring = stage
            .browser
            .eval("return getComputedStyle(document.activeElement).outlineStyle")
            .expect("asked");
        assert_eq!(ring, "solid", "the focus can be seen");
        stage.browser.press(&enter.to_string()).expect("pressed");
        stage.browser.wait_for("dialog[open]").expect("a question");
        stage.browser.press(&format!("{tab}{enter}")).expect("approved");
        stage.browser.wait_for_text("Approved. The run begins").expect("said so");
        assert_eq!(mistakes(&stage.browser).expect("looked at"), Vec::<String>::new());
        stage.quiet(&[]);
    });
}

#[test]
fn every_page_can_be_read_in_light_and_dark_at_every_width() {
    on_stage(|stage| {
        stage.sign_in("victor");
        let signal = stage.signal();
        stage.agent.tell(signal).expect("told");
        let pages = [
            "/",
            "/incidents",
            "/incidents/1",
            "/approvals",
            "/runs",
            "/problems",
            "/sops",
            "/sops/put-back",
            "/hosts",
            "/audit",
            "/more",
            "/automation",
            "/policy",
            "/account",
            "/dev/components",
        ];
        for scheme in [Scheme::Light, Scheme::Dark] {
            stage.browser.prefer(scheme).expect("a scheme");
            for width in [390, 768, 1440] {
                stage.browser.resize(width, 900).expect("a window");
                for page in pages {
                    stage.browser.open(page).expect(page);
                    stage.browser.wait_for("main h1").expect(page);
                    let found = mistakes(&stage.browser).expect("looked at");
                    assert!(
                        found.is_empty() || page == "/dev/components" && only_titles(&found),
                        "{page} at {width}, {scheme:?}: {found:#?}"
                    );
                }
            }
        }
        // Who has which role is the admins' to see.
        stage.sign_out();
        stage.sign_in("ada");
        for scheme in [Scheme::Light, Scheme::Dark] {
            stage.browser.prefer(scheme).expect("a scheme");
            for width in [390, 768, 1440] {
                stage.browser.resize(width, 900).expect("a window");
                for page in ["/people", "/people/alice"] {
                    stage.browser.open(page).expect(page);
                    stage.browser.wait_for("main h1").expect(page);
                    let found = mistakes(&stage.browser).expect("looked at");
                    assert!(found.is_empty(), "{page} at {width}, {scheme:?}: {found:#?}");
                }
            }
        }
        stage.sign_out();
        stage.sign_in("victor");
        // A viewer is shown everything and may decide nothing.
        stage.browser.open("/incidents/1").expect("the incident");
        assert!(stage.browser.text("main").expect("text").contains("Deciding takes the role approver"));
        stage.quiet(&[]);
    });
}

/// The page of components shows a title as one of them.
fn only_titles(found: &[String]) -> bool {
    found.iter().all(|mistake| mistake.ends_with(" titles"))
}
