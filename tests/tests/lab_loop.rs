//! The whole round on a real host with its own systemd: a service is killed, and the real server, watcher and
//! runner see it, plan, approve, mend, verify and close; and what a person must decide waits for him.

use sopwith_protocol::api::{DecisionBody, IncidentView};
use sopwith_tests::installation::{Plan, Server, agent};
use sopwith_tests::lab::{Host, Lab, SERVER_ADDRESS};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FIXTURE: &[u8] = include_bytes!("../lab/fixture.sh");
const CONFIG: &str = include_str!("../lab/agent.yaml");
const POLICY: &str = include_str!("../lab/policy.yaml");
const LIMIT: Duration = Duration::from_secs(90);

/// Returns the folder of the built binaries, which lies beside this test's own.
fn binaries() -> PathBuf {
    let own = std::env::current_exe().expect("a running test has a path");
    own.parent().and_then(Path::parent).expect("target/debug/deps/test").to_path_buf()
}

fn start(dir: &Path) -> Server {
    let playbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks");
    let address = SERVER_ADDRESS.into();
    Server::start(&Plan { binaries: &binaries(), dir, address, policy: POLICY, playbooks: &playbooks })
        .expect("start the server")
}

fn logs(server: &Server, host: &Host) -> String {
    let agent = host.sh("journalctl -u sopwith-agent -u sopwith-runner -n 60 -o cat --no-pager");
    let agent = agent.map_or_else(|e| e.to_string(), |done| done.stdout);
    format!("server:\n{}\nagent:\n{agent}", server.log_tail())
}

/// Waits for an incident about a subject in a phase.
fn await_phase(server: &Server, host: &Host, subject: &str, phase: &str) -> IncidentView {
    let deadline = Instant::now() + LIMIT;
    let mut last = String::from("no incident");
    while Instant::now() < deadline {
        let all = server.client().incidents().expect("list incidents");
        let found = all.into_iter().rev().find(|view| view.summary.subject == subject);
        if let Some(view) = found {
            if view.summary.phase == phase {
                return view;
            }
            last = format!("{}: {}", view.summary.phase, view.summary.status);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{subject} never came to {phase}; it is {last}\n{}", logs(server, host));
}

fn await_connected(server: &Server, host: &Host) {
    use sopwith_protocol::api::{HostView, Page};
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let hosts: Page<HostView> = server.client().get("/hosts").expect("list hosts");
        if hosts.items.iter().any(|view| view.host == host.name() && view.state == "connected") {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the agent never connected\n{}", logs(server, host));
}

fn healthy(host: &Host) -> bool {
    host.sh("curl -sfm3 http://127.0.0.1:8090/health").is_ok_and(|done| done.ok())
}

#[test]
fn a_fault_is_seen_planned_approved_mended_and_verified() {
    let Some(lab) = Lab::open_or_skip("a_fault_is_seen_planned_approved_mended_and_verified") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let server = start(dir.path());
    let root = lab.layer(FIXTURE).expect("fixture");
    let host = Host::up(&lab, "loop", &root).expect("boot");
    let config = agent::config_for(&host, &server, CONFIG);
    agent::install(&binaries(), &host, &server, &config).expect("install the agent");
    await_connected(&server, &host);

    // A standard change: the owners' policy approves it.
    host.run(&["systemctl", "kill", "--kill-who=main", "-s", "KILL", "probe-web.service"]).expect("kill");
    let closed = await_phase(&server, &host, "unit:probe-web.service", "closed");
    assert_eq!(closed.summary.playbook.as_deref(), Some("service-not-running"));
    assert!(healthy(&host), "the service answers again");

    // A normal change: people decide, and nothing starts before they did.
    host.sh("sed -i 's/^port = /port: /' /etc/probe/web.conf; systemctl restart probe-web.service || true")
        .expect("break the configuration");
    let waiting = await_phase(&server, &host, "unit:probe-web.service", "awaiting_approval");
    let plan = waiting.summary.plan.expect("a plan waits");
    assert!(waiting.runs.iter().all(|run| run.run != plan), "nothing has run before the approval");
    let body = DecisionBody { reason: String::new(), signature: None };
    server
        .client()
        .post::<serde_json::Value>(&format!("/plans/{plan}/approve"), &body, Some(&plan.to_string()))
        .expect("approve");
    let closed = await_phase(&server, &host, "unit:probe-web.service", "closed");
    assert_eq!(closed.summary.playbook.as_deref(), Some("service-config-broken"));
    assert!(healthy(&host), "the service answers again");
    let same = host.sh("cmp /etc/probe/web.conf /var/lib/probe-good/etc/probe/web.conf").expect("compare");
    assert!(same.ok(), "the known-good configuration is back");

    let verified = server.local(&["audit", "verify"], "").expect("verify the journal");
    assert!(verified.contains("the chain holds"), "{verified}");
}
