//! The whole round on a real host with its own systemd: a service is killed, and the real server, watcher and
//! runner see it, plan, approve, mend, verify and close; and what a person must decide waits for him.

use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{HEALTH, Rig, shipped_playbooks};

const UNIT: &str = "unit:probe-web.service";

#[test]
fn a_fault_is_seen_planned_approved_mended_and_verified() {
    let Some(lab) = Lab::open_or_skip("a_fault_is_seen_planned_approved_mended_and_verified") else { return };
    let rig = Rig::up(&lab, "loop", &shipped_playbooks());
    let healthy = || rig.holds(&format!("curl -sfm3 {HEALTH}"));

    // A standard change: the owners' policy approves it.
    rig.sh("systemctl kill --kill-who=main -s KILL probe-web.service");
    let closed = rig.await_phase(UNIT, &["closed"]);
    assert_eq!(closed.summary.playbook.as_deref(), Some("service-not-running"));
    assert!(healthy(), "the service answers again");

    // A normal change: people decide, and nothing starts before they did.
    rig.sh("sed -i 's/^port = /port: /' /etc/probe/web.conf; systemctl restart probe-web.service || true");
    let waiting = rig.await_phase(UNIT, &["awaiting_approval"]);
    let plan = waiting.summary.plan.expect("a plan waits");
    assert!(waiting.runs.iter().all(|run| run.run != plan), "nothing has run before the approval");
    assert!(rig.approve(plan), "the approval is taken");
    let closed = rig.await_phase(UNIT, &["closed"]);
    assert_eq!(closed.summary.playbook.as_deref(), Some("service-config-broken"));
    assert!(healthy(), "the service answers again");
    assert!(rig.holds("cmp /etc/probe/web.conf /var/lib/probe-good/etc/probe/web.conf"));

    // A certificate that is 40 days old is renewed, and the host speaks on with the new one.
    let certificate = "/var/lib/sopwith/watcher/certificate.pem";
    let before = rig.sh(&format!("sha256sum {certificate}"));
    rig.sh(&format!("touch -d '40 days ago' {certificate}; systemctl restart sopwith-agent.service"));
    rig.until("the certificate is renewed", || rig.sh(&format!("sha256sum {certificate}")) != before);
    rig.sh("systemctl kill --kill-who=main -s KILL probe-web.service");
    rig.until("the service is started again", healthy);

    let verified = rig.server.local(&["audit", "verify"], "").expect("verify the journal");
    assert!(verified.contains("the chain holds"), "{verified}");
}
