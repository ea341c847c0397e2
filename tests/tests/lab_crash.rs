//! Real kill -9 at every journal write of a real run, on a real host: of the runner before and after each of its
//! writes, of the server before and after each of its commits, and of the whole host by a power cut. However it
//! dies, the run ends repaired, rolled back byte for byte, or parked with its reason, and no step began twice.
//!
//! Needs binaries built with the feature `test-hooks` (`cargo xtask test lab` builds them).

use sopwith_domain::run::{End, What};
use sopwith_protocol::api::IncidentView;
use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{HEALTH, LIMIT, Rig, test_playbooks};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const UNIT: &str = "unit:probe-web.service";
/// More writes than the run of the test's playbook has, so that the loop has an end.
const WRITES_MAX: u32 = 40;
const DROP_IN: &str = "/etc/systemd/system/sopwith-runner.service.d";
const PRINT: &str = "stat -c '%a %U:%G %Y' /etc/probe/web.conf; sha256sum < /etc/probe/web.conf";

/// Breaks the service's configuration in a way of its own and returns the file's fingerprint.
fn break_configuration(rig: &Rig, round: u32) -> String {
    rig.sh(&format!(
        "printf 'port: 8090\\n# round {round}\\n' > /etc/probe/web.conf; chmod 640 /etc/probe/web.conf; \
         chown probe:probe /etc/probe/web.conf; touch -d '2026-01-02 03:04:05' /etc/probe/web.conf; \
         systemctl restart probe-web.service || true"
    ));
    rig.sh(PRINT)
}

/// Mends by hand what a round left, and waits until no incident is open.
fn mend(rig: &Rig) {
    rig.sh("cp -a /var/lib/probe-good/etc/probe/web.conf /etc/probe/web.conf; \
         systemctl reset-failed probe-web.service; systemctl start probe-web.service");
    rig.until("everything is closed after mending by hand", || {
        rig.newest(UNIT).is_some_and(|view| view.summary.phase == "closed")
    });
}

fn count_starts(rig: &Rig) -> u32 {
    let script = "journalctl -u probe-web.service -o cat --no-pager | grep -c '^Started probe-web' || true";
    rig.sh(script).trim().parse().expect("a number")
}

/// Holds what became of a round against the promise.
fn judge(rig: &Rig, round: &str, broken: &str, starts_before: u32, view: &IncidentView) -> &'static str {
    let context = || format!("{round}\n{}", rig.last_words());
    let run = view.runs.last().unwrap_or_else(|| panic!("there was a run in {}", context()));
    let mut begun: BTreeMap<usize, u32> = BTreeMap::new();
    for record in &run.records {
        if let Some(What::Started { step, .. }) = &record.what {
            *begun.entry(*step).or_default() += 1;
        }
    }
    assert!(begun.values().all(|count| *count == 1), "a step began twice in {}", context());
    let starts = count_starts(rig) - starts_before;
    assert!(starts <= 1, "the service was started {starts} times in {}", context());
    match (&run.end, view.summary.phase.as_str()) {
        (Some(End::Resolved), "closed") => {
            assert!(
                rig.holds("cmp /etc/probe/web.conf /var/lib/probe-good/etc/probe/web.conf"),
                "{}",
                context()
            );
            assert!(rig.holds(&format!("curl -sfm3 {HEALTH}")), "{}", context());
            "repaired"
        }
        (Some(End::RolledBack { .. }), "needs_person") => {
            assert_eq!(rig.sh(PRINT), broken, "not as before in {}", context());
            assert!(!rig.holds("systemctl is-active -q probe-web.service"), "{}", context());
            "rolled back"
        }
        (Some(End::Parked { reason, .. }), "needs_person") if !reason.is_empty() => "parked",
        (end, phase) => panic!("it ended as {end:?} in phase {phase} in {}", context()),
    }
}

fn approve_when_it_waits(rig: &Rig) {
    let waiting = rig.await_phase(UNIT, &["awaiting_approval"]);
    let plan = waiting.summary.plan.expect("a plan waits");
    rig.until("the approval is taken", || rig.approve(plan));
}

/// Starts the runner anew, told where to die or not at all.
fn restart_runner(rig: &Rig, die_at: Option<&str>) {
    match die_at {
        Some(place) => rig.sh(&format!(
            "mkdir -p {DROP_IN}; printf '[Service]\\nRestart=no\\nEnvironment=SOPWITH_TEST_DIE_AT={place}\\n' \
             > {DROP_IN}/die.conf; systemctl daemon-reload; systemctl restart sopwith-runner.service"
        )),
        None => rig.sh(&format!(
            "rm -rf {DROP_IN}; systemctl daemon-reload; systemctl reset-failed sopwith-runner.service; \
             systemctl start sopwith-runner.service"
        )),
    };
}

#[test]
fn the_runner_dies_at_every_write() {
    let Some(lab) = Lab::open_or_skip("the_runner_dies_at_every_write") else { return };
    let rig = Rig::up(&lab, "killrun", &test_playbooks());
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    for side in ["before", "after"] {
        for n in 1.. {
            assert!(n < WRITES_MAX, "the run never ended unkilled");
            let place = format!("{side}:{n}");
            restart_runner(&rig, Some(&place));
            let starts = count_starts(&rig);
            let broken = break_configuration(&rig, n);
            let starts_at_break = count_starts(&rig).max(starts);
            approve_when_it_waits(&rig);
            let dead = || !rig.holds("systemctl is-active -q sopwith-runner.service");
            let over = || rig.newest(UNIT).is_some_and(|view| view.summary.phase == "closed");
            rig.until("the runner has died or the run has ended", || dead() || over());
            let killed = dead();
            restart_runner(&rig, None);
            let view = rig.await_phase(UNIT, &["closed", "needs_person"]);
            let end = judge(&rig, &format!("round {place}"), &broken, starts_at_break, &view);
            *ends.entry(end).or_default() += 1;
            mend(&rig);
            if !killed {
                assert_eq!(end, "repaired");
                break;
            }
        }
    }
    println!("runner killed at every write: {ends:?}");
    let ends = [ends.get("repaired"), ends.get("rolled back")];
    assert!(ends.iter().all(Option::is_some), "both ends have been seen");
}

#[test]
fn the_server_dies_at_every_commit() {
    let Some(lab) = Lab::open_or_skip("the_server_dies_at_every_commit") else { return };
    let mut rig = Rig::up(&lab, "killsrv", &test_playbooks());
    let mut kills = 0;
    for side in ["before-commit", "after-commit"] {
        for n in 1.. {
            assert!(n < WRITES_MAX, "the round never ended unkilled");
            let place = format!("{side}:{n}");
            let opened = rig.about(UNIT).len();
            rig.server.kill();
            // It may die before it is seen ready: the host reports at once, which is a commit.
            if let Err(e) = rig.server.boot(&[("SOPWITH_TEST_DIE_AT", &place)]) {
                assert!(rig.server.died(), "boot the server: {e}");
            }
            let broken = break_configuration(&rig, n);
            let starts = count_starts(&rig);
            let killed = go_on_until_the_end(&mut rig);
            kills += u32::from(killed);
            let view = rig.newest(UNIT).expect("the incident is there");
            assert_eq!(rig.about(UNIT).len(), opened + 1, "one incident for one fault in round {place}");
            let end = judge(&rig, &format!("round {place}"), &broken, starts, &view);
            assert_eq!(end, "repaired", "the host is not hurt by what befalls the server");
            let verified = rig.server.local(&["audit", "verify"], "").expect("verify the journal");
            assert!(verified.contains("the chain holds"), "{verified}");
            if !killed {
                break;
            }
        }
    }
    assert!(kills > 4, "the server died only {kills} times: was it built with the feature test-hooks?");
}

/// Approves what waits and starts the server again whenever it has died, until the incident is closed. Says whether
/// it had died.
fn go_on_until_the_end(rig: &mut Rig) -> bool {
    let deadline = Instant::now() + LIMIT;
    let mut killed = false;
    loop {
        assert!(Instant::now() < deadline, "the round never ended\n{}", rig.last_words());
        if rig.server.died() {
            killed = true;
            rig.server.boot(&[]).expect("boot the server again");
        }
        let newest = rig.newest(UNIT);
        let summary = newest.as_ref().map(|view| &view.summary);
        match summary.map(|s| (s.phase.as_str(), s.plan)) {
            Some(("awaiting_approval", Some(plan))) => drop(rig.approve(plan)),
            Some(("closed", _)) if rig.holds(&format!("curl -sfm3 {HEALTH}")) => return killed,
            Some(("needs_person", _)) => panic!("it was given up\n{}", rig.last_words()),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_host_loses_power_in_the_middle() {
    let Some(lab) = Lab::open_or_skip("the_host_loses_power_in_the_middle") else { return };
    let mut rig = Rig::up(&lab, "powercut", &test_playbooks());
    for (round, wait_ms) in [(1, 0), (2, 60), (3, 250), (4, 900)] {
        let broken = break_configuration(&rig, round);
        approve_when_it_waits(&rig);
        std::thread::sleep(Duration::from_millis(wait_ms));
        rig.host.kill();
        rig.host.boot().expect("boot after the power cut");
        let view = rig.await_phase(UNIT, &["closed", "needs_person"]);
        let run = view.runs.last().expect("there was a run");
        match &run.end {
            Some(End::Resolved) => assert!(rig.holds(&format!("curl -sfm3 {HEALTH}"))),
            Some(End::RolledBack { .. }) => assert_eq!(rig.sh(PRINT), broken, "{}", rig.last_words()),
            Some(End::Parked { reason, .. }) => assert!(!reason.is_empty()),
            None => panic!("the run has no end\n{}", rig.last_words()),
        }
        let begun = run.records.iter().filter_map(|r| match r.what {
            Some(What::Started { step, .. }) => Some(step),
            _ => None,
        });
        let begun: Vec<usize> = begun.collect();
        let mut once = begun.clone();
        once.dedup();
        assert_eq!(begun, once, "no step began twice");
        mend(&rig);
    }
}
