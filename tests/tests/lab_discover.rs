//! What `sopwith-agent discover` proposes on a real host: a configuration that can be used, under which a healthy host
//! raises nothing, and by which a service that is killed is seen.

use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{Rig, test_playbooks};
use std::time::{Duration, Instant};

/// So long the healthy host is watched with the proposal.
const WATCHED: Duration = Duration::from_secs(12);
const PROPOSED: &str = "/etc/sopwith/agent.yaml.proposed";

#[test]
fn the_proposal_is_quiet_on_a_healthy_host_and_sees_what_breaks() {
    let name = "the_proposal_is_quiet_on_a_healthy_host_and_sees_what_breaks";
    let Some(lab) = Lab::open_or_skip(name) else { return };
    let rig = Rig::up(&lab, "discover", &test_playbooks());
    rig.until("the fixture's web service answers", || rig.holds("curl -sf http://127.0.0.1:8090/health"));
    rig.sh(&format!("sopwith-agent discover --ask --output {PROPOSED}"));
    let proposed = rig.sh(&format!("cat {PROPOSED}"));
    rig.sh(&format!("sopwith-agent check-config --config {PROPOSED}"));
    for said in ["'probe-web.service': {expect: active", "http://127.0.0.1:8090/health", "{port: 8090"] {
        assert!(proposed.contains(said), "{said} is not in\n{proposed}");
    }
    assert!(
        !rig.holds(&format!("sopwith-agent discover --output {PROPOSED}")),
        "what is there is not written over"
    );

    // The server and the name are the operator's to say.
    let own = rig.sh("grep -E '^(server|host): ' /etc/sopwith/agent.yaml");
    let config = format!("{own}\n{proposed}");
    rig.host.write("/etc/sopwith/agent.yaml", config.as_bytes(), 0o644).expect("write");
    // Root's half runs the checks, and reads them from the same file.
    rig.sh("sopwith-agent check-config --config /etc/sopwith/agent.yaml && systemctl restart sopwith-runner sopwith-agent");
    rig.until("the agent is connected again", || rig.connected());
    let until = Instant::now() + WATCHED;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
    let incidents = rig.server.client().incidents().expect("the incidents");
    // The host's root lies on the disk of this machine, which may well be full.
    let of_the_host = incidents.iter().filter(|v| v.summary.subject != "mount:/");
    let told: Vec<_> = of_the_host.map(|v| format!("{} {}", v.summary.kind, v.summary.title)).collect();
    assert!(told.is_empty(), "a healthy host raised {told:?} with\n{proposed}");

    rig.sh("systemctl kill -s KILL probe-web.service");
    rig.until("the dead service is seen", || rig.newest("unit:probe-web.service").is_some());
}
