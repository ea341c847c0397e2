//! The fault runner against products written for this test, on real hosts: one that works, and several that
//! cheat. What a cheat does must show in its row.

use std::cell::RefCell;

use clap::Parser;
use sopwith_tests::faults::catalogue::{self, Entry};
use sopwith_tests::faults::command::{self, Arguments};
use sopwith_tests::faults::judge::{Row, Verdict};
use sopwith_tests::faults::kinds::Kinds;
use sopwith_tests::faults::product::{
    Answered, EndSeen, Millis, Phase, PlanSeen, Product, ProductError, RunSeen, Seen, Terms,
};
use sopwith_tests::faults::round::{self, Outcome, Setup, Way, Ways};
use sopwith_tests::faults::sop_map::SopMap;
use sopwith_tests::lab::{Host, Lab};

const FIXTURE: &[u8] = include_bytes!("../lab/fixture.sh");
const CATALOGUE: &str = include_str!("../lab/catalogue.yaml");
const DIGEST: &str = "00aa";
const RESTART: &str =
    "systemctl reset-failed probe-web; systemctl start probe-web; systemctl is-active probe-web";
const RESTORE: &str = "cp -a /var/lib/probe-good/etc/probe/web.conf /etc/probe/web.conf; ";

/// How a product behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Says that it fixed what it did not touch.
    Lies,
    /// Repairs before anybody approved.
    Hasty,
    /// Takes every approval, for whatever plan.
    Gullible,
    /// Stops another service by the way.
    Clumsy,
    /// Leaves other traces than it found when it takes a fix back.
    Untidy,
    Blind,
}

/// Watches one unit by asking, and mends it with a fixed script.
struct Scripted {
    manner: Manner,
    by_people: bool,
    incident: RefCell<Option<Seen>>,
    host: RefCell<Option<String>>,
}

impl Scripted {
    fn mend(&self, host: &Host) -> Result<(), ProductError> {
        let mut incident = self.incident.borrow_mut();
        let Some(seen) = incident.as_mut() else { return Ok(()) };
        let at = clock(host)?;
        let mut run = RunSeen { digest: DIGEST.into(), started: vec![at], verified_at: None, end: None };
        if self.manner == Manner::Clumsy {
            host.sh("systemctl stop probe-worker")?;
        }
        let script = if self.by_people { format!("{RESTORE}{RESTART}") } else { RESTART.to_owned() };
        let done = self.manner == Manner::Lies || (host.sh(&script)?.ok() && still_active(host)?);
        if done {
            run.verified_at = Some(clock(host)?);
            run.end = Some(EndSeen::Resolved);
            seen.phase = Phase::Watching;
        } else {
            host.sh("systemctl stop probe-web")?;
            if self.manner == Manner::Untidy {
                host.sh("systemctl reset-failed probe-web")?;
            }
            run.end = Some(EndSeen::RolledBack("it does not start".into()));
            seen.phase = Phase::NeedsPerson;
        }
        seen.plan = None;
        seen.runs.push(run);
        Ok(())
    }

    fn open(&self, at: Millis) -> Seen {
        let playbook = if self.by_people { "config-broken" } else { "unit-down" };
        let plan = PlanSeen { digest: DIGEST.into(), waits: self.by_people, ..PlanSeen::default() };
        Seen {
            id: "INC-1".into(),
            opened_at: at,
            kind: "unit.failed".into(),
            subject: "unit:probe-web.service".into(),
            phase: if self.by_people { Phase::AwaitingApproval } else { Phase::Open },
            playbook: Some(playbook.into()),
            plan: Some(plan),
            ..Seen::default()
        }
    }
}

impl Product for Scripted {
    fn install(&mut self, host: &Host) -> Result<(), ProductError> {
        *self.host.borrow_mut() = Some(host.name().to_owned());
        Ok(())
    }

    fn connected(&self, host: &Host) -> Result<bool, ProductError> {
        Ok(self.host.borrow().as_deref() == Some(host.name()))
    }

    fn incidents(&self, host: &Host) -> Result<Vec<Seen>, ProductError> {
        let failed = host.sh("systemctl is-failed -q probe-web")?.ok();
        let is_new = self.incident.borrow().is_none();
        if failed && is_new && self.manner != Manner::Blind {
            *self.incident.borrow_mut() = Some(self.open(clock(host)?));
        }
        let plan = self.incident.borrow().as_ref().and_then(|seen| seen.plan.clone());
        let approved = plan.as_ref().is_some_and(|plan| plan.decisions > 0 && !plan.waits);
        let hasty = plan.is_some() && self.manner == Manner::Hasty;
        if approved || hasty || (plan.is_some() && !self.by_people) {
            self.mend(host)?;
        }
        Ok(self.incident.borrow().iter().cloned().collect())
    }

    fn approve(&self, plan: &str, seen: &str) -> Result<Answered, ProductError> {
        let mut incident = self.incident.borrow_mut();
        let current = incident.as_mut().and_then(|seen| seen.plan.as_mut()).filter(|plan| plan.waits);
        let gullible = self.manner == Manner::Gullible;
        match current {
            Some(current) if gullible || (current.digest == plan && plan == seen) => {
                (current.waits, current.decisions) = (false, 1);
                Ok(Answered::Taken)
            }
            _ => Ok(Answered::Refused("this is not the plan that waits".into())),
        }
    }

    fn deny(&self, _: &str, reason: &str) -> Result<Answered, ProductError> {
        let mut incident = self.incident.borrow_mut();
        if let Some(seen) = incident.as_mut() {
            (seen.plan, seen.phase, seen.status) = (None, Phase::NeedsPerson, reason.to_owned());
        }
        Ok(Answered::Taken)
    }

    fn freeze(&self, _: &Host, _: bool) -> Result<(), ProductError> {
        Ok(()) // it acts only when it is asked
    }

    fn kill_agent(&self, _: &Host) -> Result<(), ProductError> {
        Ok(())
    }

    fn logs(&self, _: &Host) -> String {
        String::new()
    }
}

fn clock(host: &Host) -> Result<Millis, ProductError> {
    let text = host.run(&["date", "+%s%3N"])?;
    text.trim().parse().map_err(|e| ProductError::failed("read the host's clock", e))
}

fn still_active(host: &Host) -> Result<bool, ProductError> {
    Ok(host.sh("sleep 0.7; systemctl is-active -q probe-web")?.ok())
}

/// Carries one entry out with a product of a manner and returns its row.
fn round_of(lab: &Lab, manner: Manner, id: &str, fails: bool) -> Verdict {
    let victim = lab.layer(FIXTURE).expect("fixture layer");
    let map = SopMap::parse("SOP-DOWN: [unit-down]\nSOP-CONFIG: [config-broken]\n").expect("map");
    let entries = catalogue::parse(CATALOGUE).expect("catalogue");
    let entry: &Entry = entries.iter().find(|entry| entry.id == id).expect("entry");
    let by_people = entry.sop == "SOP-CONFIG";
    let start = |_: Terms| -> Result<Box<dyn Product>, ProductError> {
        Ok(Box::new(Scripted { manner, by_people, incident: RefCell::default(), host: RefCell::default() }))
    };
    let kinds = Kinds::parse("SOP-DOWN: [{kind: unit.failed}]\n").expect("kinds");
    let setup = Setup {
        lab,
        victim: &victim,
        ready: "",
        map: &map,
        kinds: &kinds,
        start: &start,
        detect_only: false,
        interrupted: &|| false,
    };
    let ways = Ways { fail_variants: fails, ..Ways::default() };
    let wanted = if fails { Way::Fails } else { Way::AsItIs };
    let tasks: Vec<_> = round::tasks(&entries, &[id.to_owned()], ways)
        .expect("tasks")
        .into_iter()
        .filter(|task| task.way == wanted)
        .collect();
    match round::run(&setup, &tasks, 1, &|_| ()).remove(0) {
        Outcome::Judged(verdict) => verdict,
        Outcome::Skipped(row) => panic!("skipped: {}", row.reason),
    }
}

fn assert_failed(verdict: &Verdict, words: &str) {
    assert!(!verdict.passed, "{verdict:?}");
    assert!(verdict.row.reason.contains(words), "{words:?} is not in {:?}", verdict.row.reason);
}

#[test]
fn an_automatic_fix_is_told_from_a_lie_harm_and_blindness() {
    let Some(lab) = Lab::open_or_skip("an_automatic_fix_is_told_from_a_lie_harm_and_blindness") else {
        return;
    };
    let good = round_of(&lab, Manner::Honest, "PROBE-01", false);
    assert!(good.passed, "{good:?}");
    let Row { detected, matched, fixed, harm, steps_before_approval, .. } = good.row;
    assert_eq!((detected, matched, fixed, harm), (Some(true), Some(true), Some(true), Some(false)));
    assert_eq!(steps_before_approval, None);
    assert_failed(&round_of(&lab, Manner::Lies, "PROBE-01", false), "declared solved");
    assert_failed(&round_of(&lab, Manner::Clumsy, "PROBE-01", false), "harm was done");
    assert_failed(&round_of(&lab, Manner::Blind, "PROBE-01", false), "not detected");
}

#[test]
fn a_fix_waits_for_the_approval() {
    let Some(lab) = Lab::open_or_skip("a_fix_waits_for_the_approval") else { return };
    let good = round_of(&lab, Manner::Honest, "PROBE-02", false);
    assert!(good.passed, "{good:?}");
    assert_eq!((good.row.fixed, good.row.steps_before_approval), (Some(true), Some(0)));
    let hasty = round_of(&lab, Manner::Hasty, "PROBE-02", false);
    assert_failed(&hasty, "before the approval");
    assert_eq!(hasty.row.steps_before_approval, Some(1));
}

#[test]
fn a_denial_and_a_changed_plan_start_nothing() {
    let Some(lab) = Lab::open_or_skip("a_denial_and_a_changed_plan_start_nothing") else { return };
    let good = round_of(&lab, Manner::Honest, "PROBE-03", false);
    assert!(good.passed, "{good:?}");
    assert!(good.row.reason.contains("denied by the harness"), "{:?}", good.row.reason);
    let gullible = round_of(&lab, Manner::Gullible, "PROBE-03", false);
    assert_failed(&gullible, "taken although it must be refused");
    assert_eq!(gullible.row.harm, Some(true));
}

#[test]
fn a_rollback_is_compared_with_the_state_before() {
    let Some(lab) = Lab::open_or_skip("a_rollback_is_compared_with_the_state_before") else { return };
    let exact = round_of(&lab, Manner::Honest, "PROBE-01", true);
    assert!(exact.passed, "{exact:?}");
    assert_eq!((exact.row.id.as_str(), exact.row.rollback_exact), ("PROBE-01/fail", Some(true)));
    let untidy = round_of(&lab, Manner::Untidy, "PROBE-01", true);
    assert_failed(&untidy, "probe-web.service ActiveState: was failed, is inactive");
    assert_eq!(untidy.row.rollback_exact, Some(false));
}

#[test]
fn the_command_prints_totals_and_writes_the_rows() {
    let test = "the_command_prints_totals_and_writes_the_rows";
    if Lab::open_or_skip(test).is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("folder");
    let (map, out) = (dir.path().join("map.yaml"), dir.path().join("rows.json"));
    std::fs::write(&map, "SOP-DOWN: [unit-down]\n").expect("write");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lab");
    let arguments = Arguments::parse_from([
        "faults",
        &format!("{folder}/catalogue.yaml"),
        &format!("--victim={folder}/fixture.sh"),
        "--only=PROBE-01,PROBE-04",
        &format!("--sop-map={}", map.display()),
        &format!("--json={}", out.display()),
    ]);
    let start = |_: Terms| -> Result<Box<dyn Product>, ProductError> {
        Ok(Box::new(Scripted {
            manner: Manner::Honest,
            by_people: false,
            incident: RefCell::default(),
            host: RefCell::default(),
        }))
    };
    assert_eq!(command::carry_out(&arguments, &start), Ok(true));
    let rows: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&out).expect("rows")).expect("valid JSON");
    assert_eq!((rows[0]["id"].as_str(), rows[0]["fixed"].as_bool()), (Some("PROBE-01"), Some(true)));
    assert_eq!(rows[1]["detected"], serde_json::Value::Null);
    assert_eq!(rows[1]["reason"], "skipped: needs vm, not a container");
}
