//! A look begins once, by a rule that the owners signed, and leaves no trace but its line in the book.

use super::super::diagnosis::{Looks, Moment, or_dry_run};
use super::support::World;
use super::*;
use sopwith_domain::approval::{Approval, Basis};
use sopwith_domain::diagnosis::LOOKS_MAX;
use sopwith_domain::dry_run::{Found, Question, Report};
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::plan::{Plan, Target};
use sopwith_domain::playbook::Playbook;
use sopwith_domain::policy::Policy;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::signature::{PLAYBOOK_NAMESPACE, POLICY_NAMESPACE};
use std::collections::BTreeMap;
use std::fs;

const LOOK: &str = "
id: look
version: 1
title: Look at it
purpose: It shows.
scope: Hosts.
risk: look
answers: [{kind: svc.odd}]
steps:
  - {name: memory, do: look.processes, with: {by: memory, most: 3}, timeout_s: 10}
  - {name: journal, do: look.journal, with: {unit: sample.service, lines: 3}, timeout_s: 10}
escalation: Read it.
";
const NOW: Timestamp = Timestamp(1_000_000);

/// A question that is right in every way, for one incident.
fn question(world: &World, epoch: Epoch, incident: u64) -> Question {
    let playbook = Playbook::parse(LOOK).expect("reads");
    let target = Target {
        host: world.host.clone(),
        epoch,
        incident: IncidentId(incident),
        attempt: 1,
        subject: "host".parse().expect("valid"),
        fingerprint: Digest::of(&incident.to_be_bytes()),
    };
    let plan = Plan::build(&playbook, target.clone(), BTreeMap::new()).expect("builds").digest();
    let policy = "version: 1\nauto: []\nhosts: all\ndiagnosis: {per_host: 100}\n";
    let basis = Basis::Diagnosis { policy: Policy::parse(policy).expect("reads").digest };
    Question {
        target,
        plan,
        parameters: BTreeMap::new(),
        playbook: world.sign(&world.owner, PLAYBOOK_NAMESPACE, LOOK),
        asked_at: NOW,
        approval: Some(Approval { plan, basis, granted_at: NOW, expires_at: NOW.plus(60_000) }),
        policy: Some(world.sign(&world.owner, POLICY_NAMESPACE, policy)),
    }
}

fn moment(epoch: Epoch) -> Moment {
    Moment { epoch, server_now: Some(NOW.plus(1)), stop: None }
}

fn ask(life: &Life<'_>, looks: &mut Looks, question: &Question) -> Report {
    let sealed = life.world.seal(question);
    or_dry_run(&life.settings, looks, moment(life.epoch), &sealed).expect("sealed")
}

fn refused(report: &Report) -> &str {
    match &report.found {
        Found::Refused { reason } => reason,
        Found::Looked { .. } => "looked",
    }
}

#[test]
fn it_tells_what_it_saw_once_and_notes_that_it_began() {
    let world = World::new();
    let life = Life::begin_with(&world, |settings| settings.program = "/bin/false".into());
    let asked = question(&world, life.epoch, 1);
    let (before, mut looks) = (world.fingerprint(), Looks::default());
    let report = ask(&life, &mut looks, &asked);
    let Found::Looked { against: None, steps, verify } = &report.found else { panic!("{report:?}") };
    assert_eq!((report.plan, report.asked_at, steps.len(), verify.len()), (asked.plan, NOW, 2, 0));
    assert!(steps[0].would.iter().any(|line| line.contains("(pid ")), "{steps:?}");
    assert_eq!(refused(&ask(&life, &mut looks, &asked)), "it was begun before, and is not begun twice");
    // Nor by a process that knows nothing of it but the book.
    assert_eq!(
        refused(&ask(&life, &mut Looks::default(), &asked)),
        "it was begun before, and is not begun twice"
    );
    assert_eq!(world.fingerprint(), before, "the host is as it was");
    assert_eq!(life.records().len(), 0, "no run was begun");
}

#[test]
fn it_has_a_budget_of_its_own_which_a_restart_does_not_clear() {
    let world = World::new();
    let life = Life::begin_with(&world, |settings| settings.program = "/bin/false".into());
    for incident in 1..=u64::from(LOOKS_MAX) {
        let report = ask(&life, &mut Looks::default(), &question(&world, life.epoch, incident));
        assert_eq!(refused(&report), "looked");
    }
    let one_more = question(&world, life.epoch, 99);
    let said = ask(&life, &mut Looks::default(), &one_more);
    assert!(refused(&said).contains("looks within the hour"), "{said:?}");
    let book = life.settings.state_dir.join("runner/looks.json");
    fs::write(&book, "{").expect("written");
    let said = ask(&life, &mut Looks::default(), &one_more);
    assert!(
        refused(&said).contains("failed to read"),
        "a book that cannot be read lets nothing begin: {said:?}"
    );
}

#[test]
fn nobody_but_server_and_owners_together_can_have_root_look_around() {
    let world = World::new();
    let life = Life::begin_with(&world, |settings| settings.program = "/bin/false".into());
    let good = question(&world, life.epoch, 1);
    let text = serde_json::to_string(&good).expect("encodes");
    let other = world.sign(&world.stranger, sopwith_protocol::exchange::SERVER_NAMESPACE, &text);
    assert!(
        or_dry_run(&life.settings, &mut Looks::default(), moment(life.epoch), &other).is_err(),
        "another seal"
    );
    type Change = fn(&mut Question, &World);
    let changes: [(&str, Change); 7] = [
        ("signature of the playbook", |q, _| q.playbook.text.push('\n')),
        ("signature of the policy", |q, _| {
            q.policy.as_mut().expect("there").text.push_str("per_hour: 9\n");
        }),
        ("signature of the policy", |q, w| {
            let text = q.policy.as_ref().expect("there").text.clone();
            q.policy = Some(w.sign(&w.stranger, POLICY_NAMESPACE, &text));
        }),
        ("did not come with it", |q, _| q.policy = None),
        ("has to be an approval", |q, _| q.approval = None),
        ("expired", |q, _| q.approval.as_mut().expect("there").expires_at = NOW),
        ("digest", |q, _| q.plan = Digest([5; 32])),
    ];
    for (expected, change) in changes {
        let mut asked = good.clone();
        change(&mut asked, &world);
        let said = ask(&life, &mut Looks::default(), &asked);
        assert!(refused(&said).contains(expected), "{expected}: {said:?}");
    }
    let stopped = Moment { stop: Some("enough".into()), ..moment(life.epoch) };
    let said =
        or_dry_run(&life.settings, &mut Looks::default(), stopped, &world.seal(&good)).expect("sealed");
    assert!(refused(&said).contains("stopped: enough"), "{said:?}");
    let unheard = Moment { server_now: None, ..moment(life.epoch) };
    let said =
        or_dry_run(&life.settings, &mut Looks::default(), unheard, &world.seal(&good)).expect("sealed");
    assert!(refused(&said).contains("not been heard"), "{said:?}");
    assert_eq!(refused(&ask(&life, &mut Looks::default(), &good)), "looked", "none of it was begun before");
}
