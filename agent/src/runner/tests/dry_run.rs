//! A dry run looks and leaves no trace, whatever it is asked and by whom.

use super::super::dry_run::{look, write_nothing};
use super::support::World;
use super::*;
use sopwith_domain::dry_run::{Found, Question};
use sopwith_domain::ids::Digest;
use sopwith_domain::order::Order;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::SERVER_NAMESPACE;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn question(order: &Order) -> Question {
    Question {
        target: order.target.clone(),
        plan: order.plan,
        parameters: order.parameters.clone(),
        playbook: order.playbook.clone(),
        asked_at: Timestamp(7),
        approval: None,
        policy: None,
    }
}

/// Every file and folder below, with its size, mode and times.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("lists") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("looks");
        let text = format!("{:o} {} {}.{}", meta.mode(), meta.len(), meta.ctime(), meta.ctime_nsec());
        all.insert(path.display().to_string(), text);
        if meta.is_dir() {
            all.extend(tree(&path));
        }
    }
    all
}

#[test]
fn it_says_what_each_step_would_change_and_changes_nothing() {
    let world = World::new();
    let life = Life::begin(&world);
    let order = world.order(life.epoch, 1, &world.playbook("fixed", "fixed"));
    let before = world.fingerprint();
    let state = tree(world.state.path());
    for _ in 0..2 {
        let report = look(&life.settings, None, &world.seal(&question(&order))).expect("sealed");
        let Found::Looked { against: None, steps, verify } = &report.found else { panic!("{report:?}") };
        assert_eq!((report.plan, report.asked_at, steps.len()), (order.plan, Timestamp(7), 3));
        for (step, file) in steps.iter().zip(["stale", "log", "conf"]) {
            assert!(step.cannot.is_none() && step.would[0].contains(file), "{step:?}");
        }
        assert!(!verify.is_empty() && report.bound_broken().is_none());
    }
    assert_eq!(world.fingerprint(), before, "the host is as it was");
    assert_eq!(tree(world.state.path()), state, "and the runner's own folder, quarantine included");
    assert_eq!(life.records().len(), 0, "nothing was begun");
}

#[test]
fn what_stands_in_the_way_is_said() {
    let world = World::new();
    let life = Life::begin(&world);
    let order = world.order(life.epoch, 1, &world.playbook("fixed", "fixed"));
    fs::remove_file(world.path("w/stale")).expect("removed");
    let report = look(&life.settings, Some("storm".into()), &world.seal(&question(&order))).expect("sealed");
    let Found::Looked { against, steps, .. } = report.found else { panic!("{report:?}") };
    assert_eq!(against.as_deref(), Some("storm"), "a stop does not keep it from looking");
    assert!(
        steps.iter().any(|step| step.cannot.is_some() || step.would[0].starts_with("nothing")),
        "{steps:?}"
    );
}

#[test]
fn nobody_but_server_and_owners_together_can_have_root_look() {
    let world = World::new();
    let life = Life::begin(&world);
    let good = question(&world.order(life.epoch, 1, &world.playbook("fixed", "fixed")));
    let text = serde_json::to_string(&good).expect("encodes");
    let other_key = world.sign(&world.stranger, SERVER_NAMESPACE, &text);
    assert!(look(&life.settings, None, &other_key).is_err(), "another seal");
    let mut elsewhere = good.clone();
    elsewhere.target.host = "web-2".parse().expect("a name");
    assert!(look(&life.settings, None, &world.seal(&elsewhere)).is_err(), "another host");
    let mut unsigned = good.clone();
    unsigned.playbook.text.push('\n');
    let mut other_plan = good.clone();
    other_plan.plan = Digest([5; 32]);
    for question in [unsigned, other_plan] {
        let report = look(&life.settings, None, &world.seal(&question)).expect("sealed");
        assert!(matches!(report.found, Found::Refused { .. }), "{report:?}");
    }
}

#[test]
fn the_thread_that_looks_could_not_write_if_it_tried() {
    let world = World::new();
    let file = world.path("w/conf");
    let wrote = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let bound = write_nothing();
            let made = fs::write(world.path("w/new"), "x").is_ok();
            (bound, made || fs::write(&file, "x").is_ok() || fs::remove_file(&file).is_ok())
        });
        looking.join().expect("it ends")
    });
    match wrote {
        (false, _) => eprintln!("NOT CHECKED: this kernel has no Landlock"),
        (true, wrote) => assert!(!wrote, "it wrote all the same"),
    }
    fs::write(&file, "this thread still can").expect("written");
}
