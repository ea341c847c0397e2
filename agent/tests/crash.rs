//! The runner's process is killed before and after every write of its journal, n = 1, 2, 3 … until a run ends
//! unkilled, and once more in its recovery. Each run ends resolved, rolled back byte for byte, or parked with its
//! reason; no effect comes twice, counted outside the runner.

mod runner_process;
mod support;

use runner_process::{Runner, status};
use sopwith_agent::runner_protocol::Request;
use sopwith_domain::run::{End, Record, What};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::World;

/// Files, and a program whose effect is counted outside: it adds a line, its undo adds another.
fn playbook(world: &World, last: &str) -> String {
    let program = |name: &str, script: &str| {
        let path = world.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
        path.display().to_string()
    };
    let did = program("etc/did", "echo did >>\"$1\"");
    let undid = program("etc/undid", "grep -q did \"$1\" && echo undid >>\"$1\"; exit 0");
    let counted = world.path("effects").display().to_string();
    let steps = format!(
        r#"
  - name: Count
    do: command
    with:
      argv: ["{did}", "{counted}"]
      undo_argv: ["{undid}", "{counted}"]
      probe_argv: [/bin/grep, -q, did, "{counted}"]
      touches: ["path:{counted}"]
    timeout_s: 20
  - name: The last
    do: command
    with: {{argv: [{last}], undo_argv: [/bin/true], touches: ["path:{counted}"]}}
    timeout_s: 20
"#
    );
    world.playbook("fixed", "fixed").replace("\nverify:", &format!("{steps}verify:"))
}

fn effects(world: &World, word: &str) -> usize {
    let text = fs::read_to_string(world.path("effects")).unwrap_or_default();
    text.lines().filter(|line| *line == word).count()
}

/// Kills at every write until a run ends unkilled; returns how many kills there were and what the runs came to.
fn kill_at_every_write(last: &str, when: &str, again: Option<&str>) -> (u64, Vec<&'static str>) {
    let mut ends = Vec::new();
    for number in 1.. {
        let world = World::new();
        fs::write(world.path("effects"), "").expect("write");
        let mut runner = Runner::start(&world, Some(&format!("{when}:{number}")));
        let mut client = runner.client().expect("lives until its first write");
        let epoch = status(client.ask(&Request::Status { challenge: false }).expect("answers")).epoch;
        let order = world.order(epoch, 1, &playbook(&world, last));
        let before = world.fingerprint();

        let unkilled = runner.until_end(&order);
        drop(runner);
        let killed = unkilled.is_none();
        let records = unkilled.unwrap_or_else(|| {
            if let Some(point) = again {
                Runner::start(&world, Some(point)).until_end(&order);
            }
            let mut runner = Runner::start(&world, None);
            runner.until_end(&order).expect("nobody kills this one")
        });
        ends.push(judge(&world, &records, &before, &format!("{when}:{number}")));
        if !killed {
            return (number - 1, ends);
        }
    }
    unreachable!("the numbers do not end");
}

/// Holds a run against the promise, and says how it ended.
fn judge(
    world: &World,
    records: &[Record],
    before: &std::collections::BTreeMap<String, String>,
    point: &str,
) -> &'static str {
    for step in 0..5 {
        let starts =
            records.iter().filter(|r| matches!(r.what, What::Started { step: s, .. } if s == step)).count();
        assert!(starts <= 1, "{point}: step {step} was started {starts} times: {records:?}");
    }
    assert!(effects(world, "did") <= 1, "{point}: an effect came twice");
    let end = records.iter().find_map(|r| match &r.what {
        What::Ended { end } => Some(end),
        _ => None,
    });
    match end.unwrap_or_else(|| panic!("{point}: {records:?}")) {
        End::Resolved => {
            assert_eq!(effects(world, "did"), 1, "{point}");
            assert_eq!(fs::read_to_string(world.path("w/conf")).expect("there"), "fixed", "{point}");
            assert!(!world.path("w/stale").exists(), "{point}");
            "resolved"
        }
        End::RolledBack { .. } => {
            assert_eq!(&world.fingerprint(), before, "{point}: {records:?}");
            assert_eq!(effects(world, "did"), effects(world, "undid").min(1), "{point}");
            "rolled back"
        }
        End::Parked { reason, residue } => {
            assert!(!reason.is_empty() && !residue.is_empty(), "{point}: {records:?}");
            "parked"
        }
    }
}

#[test]
fn killed_at_every_write_of_a_fix_that_works() {
    for (when, again) in [("before", None), ("after", None), ("before", Some("after:1"))] {
        let (kills, ends) = kill_at_every_write("/bin/true", when, again);
        assert_eq!(kills, 14, "acceptance, five steps twice, verification, soak, end");
        assert_eq!(ends.last(), Some(&"resolved"), "{ends:?}");
        assert!(ends.contains(&"rolled back") && !ends.contains(&"parked"), "{ends:?}");
    }
}

#[test]
fn killed_at_every_write_of_a_fix_that_fails() {
    for (when, again) in [("before", None), ("after", None), ("after", Some("before:1"))] {
        let (kills, ends) = kill_at_every_write("/bin/false", when, again);
        assert_eq!(kills, 22, "acceptance, five steps twice, five undos twice, end");
        assert!(ends.iter().all(|end| *end == "rolled back"), "{ends:?}");
    }
}
