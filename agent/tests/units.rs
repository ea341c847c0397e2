//! Unit actions against a real systemd. Where the machine has none (as on most build machines) there is nothing to
//! test here and the test says so; on lab hosts SOPWITH_TEST_SYSTEMD=1 makes that a failure.

use sopwith_agent::runner::actions::{self, Programs, Quarantine, Systemd, UnitState, Workbench};
use sopwith_domain::action::Action;
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Step;
use sopwith_domain::run::{Effect, StepContext, StepResult, UndoResult};
use sopwith_domain::value::UnitName;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A unit of the test's own, gone with it.
struct Unit {
    name: UnitName,
    file: PathBuf,
}

fn systemctl(arguments: &[&str]) {
    Command::new("systemctl").args(arguments).output().expect("systemctl");
}

impl Unit {
    fn new(name: &str, service: &str) -> Self {
        let name =
            UnitName::new(format!("runner-test-{name}-{}.service", std::process::id())).expect("valid");
        let file = PathBuf::from("/run/systemd/system").join(name.as_str());
        fs::write(&file, format!("[Service]\n{service}\n")).expect("write");
        systemctl(&["daemon-reload"]);
        Self { name, file }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        systemctl(&["kill", "--signal=KILL", self.name.as_str()]);
        systemctl(&["stop", self.name.as_str()]);
        let _ = fs::remove_file(&self.file);
        systemctl(&["daemon-reload"]);
        systemctl(&["reset-failed", self.name.as_str()]);
    }
}

/// Returns what actions work with, or nothing where there is no systemd.
fn bench() -> Option<Workbench> {
    let mut systemd = Systemd::default();
    if let Err(e) = systemd.reach() {
        assert!(std::env::var_os("SOPWITH_TEST_SYSTEMD").is_none(), "{e}");
        eprintln!("not tested: {e}");
        return None;
    }
    Some(Workbench {
        quarantine: Quarantine::new("/nonexistent".into()),
        systemd,
        programs: Programs::by("/nonexistent"),
        processes: [].into(),
        reclaimable: Vec::new(),
        settings: None,
        own: Default::default(),
        commands: Default::default(),
        tables: Default::default(),
    })
}

fn step(action: Action, timeout_ms: i64) -> Step {
    let undo = action.undo();
    let name = String::new();
    Step { name, require: vec![], action, expect: vec![], undo, irreversible_because: None, timeout_ms }
}

fn context(step: &Step) -> StepContext<'_> {
    StepContext { run: Digest([7; 32]), index: 0, step }
}

fn state(bench: &mut Workbench, unit: &Unit) -> UnitState {
    bench.systemd.state(&unit.name).expect("known")
}

/// Does a step and its undo, twice, and returns what the unit was before, after the step and after the undo.
fn round(bench: &mut Workbench, unit: &Unit, action: Action) -> [String; 3] {
    let step = step(action, 20_000);
    let before = state(bench, unit).active_state;
    let prior = actions::capture(bench, context(&step)).expect("captured");
    let outcome = actions::perform(bench, context(&step), &prior);
    assert!(matches!(outcome, StepResult::Done { .. }), "{outcome:?}");
    let probed = actions::probe(bench, context(&step), &prior);
    assert!(matches!(probed, Effect::Took { .. }), "{probed:?}");
    let after = state(bench, unit).active_state;
    let mut undone = String::new();
    for _ in 0..2 {
        let result = actions::undo(bench, context(&step), &prior);
        assert!(matches!(result, UndoResult::Restored { .. }), "{result:?}");
        undone = state(bench, unit).active_state;
    }
    [before, after, undone]
}

#[test]
fn units_are_started_stopped_and_brought_back() {
    let Some(mut bench) = bench() else { return };
    let unit = Unit::new("plain", "ExecStart=/bin/sleep 1000");
    let name = || unit.name.clone();
    let start = round(&mut bench, &unit, Action::UnitStart { unit: name() });
    assert_eq!(start, ["inactive", "active", "inactive"]);
    systemctl(&["start", unit.name.as_str()]);
    let stop = round(&mut bench, &unit, Action::UnitStop { unit: name() });
    assert_eq!(stop, ["active", "inactive", "active"]);
    let first = state(&mut bench, &unit);
    let restart = round(&mut bench, &unit, Action::UnitRestart { unit: name() });
    assert_eq!(restart, ["active", "active", "active"]);
    let second = state(&mut bench, &unit);
    assert_ne!(first.invocation, second.invocation);
    assert_ne!((first.main_pid, second.main_pid), (0, 0));
    systemctl(&["kill", "--signal=KILL", unit.name.as_str()]);
    while state(&mut bench, &unit).active_state != "failed" {
        std::thread::yield_now();
    }
    let again = round(&mut bench, &unit, Action::UnitStart { unit: name() });
    assert_eq!(again, ["failed", "active", "failed"]);
    // Started too often, it is refused by systemd, and started all the same.
    (0..12).for_each(|_| systemctl(&["restart", unit.name.as_str()]));
    assert_eq!(state(&mut bench, &unit).active_state, "failed");
    let refused = round(&mut bench, &unit, Action::UnitStart { unit: name() });
    assert_eq!(refused, ["failed", "active", "failed"]);
    let reset = step(Action::UnitResetFailed { unit: name() }, 20_000);
    let prior = actions::capture(&mut bench, context(&reset)).expect("captured");
    assert!(matches!(actions::probe(&mut bench, context(&reset), &prior), Effect::None { .. }));
    assert!(matches!(actions::perform(&mut bench, context(&reset), &prior), StepResult::Done { .. }));
    assert!(matches!(actions::probe(&mut bench, context(&reset), &prior), Effect::Took { .. }));
}

#[test]
fn the_real_result_of_a_job_is_told() {
    let Some(mut bench) = bench() else { return };
    let fails = Unit::new("fails", "Type=oneshot\nExecStart=/bin/false");
    let slow = Unit::new("slow", "Type=notify\nExecStart=/bin/sleep 1000");
    for (unit, timeout_ms, says) in [(&fails, 20_000, "\"failed\""), (&slow, 500, "\"timeout\"")] {
        let step = step(Action::UnitStart { unit: unit.name.clone() }, timeout_ms);
        let prior = actions::capture(&mut bench, context(&step)).expect("captured");
        let outcome = actions::perform(&mut bench, context(&step), &prior);
        let StepResult::Failed { reason, .. } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains(says), "{reason}");
        let undone = actions::undo(&mut bench, context(&step), &prior);
        assert!(matches!(undone, UndoResult::Restored { .. }), "{undone:?}");
        assert_eq!(state(&mut bench, unit).job, 0, "no job is left");
        assert_ne!(state(&mut bench, unit).active_state, "active");
    }
    let absent = step(Action::UnitStart { unit: "runner-test-absent.service".parse().expect("valid") }, 1000);
    assert!(actions::capture(&mut bench, context(&absent)).is_err());
}

/// Everything that links to a unit, as `find` sees it.
fn links(unit: &Unit) -> Vec<(PathBuf, PathBuf)> {
    let folders = ["/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let named = |entry: &fs::DirEntry| entry.file_name() == unit.name.as_str();
    entries
        .filter(named)
        .filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?)))
        .collect()
}

#[test]
fn unit_files_are_enabled_masked_and_brought_back_link_for_link() {
    let Some(mut bench) = bench() else { return };
    let unit = Unit::new("file", "ExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target");
    let name = || unit.name.clone();
    let state = |bench: &mut Workbench| bench.systemd.unit_file_state(&unit.name).expect("known");
    // Units of /run are enabled for good all the same: the links are an administrator's.
    for (action, after) in [
        (Action::UnitEnable { unit: name() }, "enabled"),
        (Action::UnitMask { unit: name() }, "masked"),
        (Action::UnitDisable { unit: name() }, "disabled"),
        (Action::UnitUnmask { unit: name() }, "disabled"),
    ] {
        match action {
            Action::UnitDisable { .. } => systemctl(&["enable", unit.name.as_str()]),
            Action::UnitUnmask { .. } => systemctl(&["mask", unit.name.as_str()]),
            _ => {}
        }
        let (before, linked) = (state(&mut bench), links(&unit));
        let step = step(action, 20_000);
        let told = actions::foresee(&mut bench, context(&step)).expect("foreseen");
        assert!(told.contains("would be"), "{told}");
        let prior = actions::capture(&mut bench, context(&step)).expect("captured");
        let outcome = actions::perform(&mut bench, context(&step), &prior);
        assert!(matches!(outcome, StepResult::Done { .. }), "{outcome:?}");
        let probed = actions::probe(&mut bench, context(&step), &prior);
        assert!(matches!(probed, Effect::Took { .. }), "{probed:?}");
        assert_eq!(state(&mut bench), after);
        for _ in 0..2 {
            let undone = actions::undo(&mut bench, context(&step), &prior);
            assert!(matches!(undone, UndoResult::Restored { .. }), "{undone:?}");
            assert_eq!((state(&mut bench), links(&unit)), (before.clone(), linked.clone()));
        }
        systemctl(&["unmask", unit.name.as_str()]);
        systemctl(&["disable", unit.name.as_str()]);
    }
}
