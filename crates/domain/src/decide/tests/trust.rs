//! What a playbook may do by itself is earned by its record and lost by one failure, below what the policy permits.

use super::*;
use crate::dry_run::{Found, Report, Step};
use crate::trust::Stage;

impl Told {
    fn phase_of_last(&self) -> &'static str {
        self.state.incidents.values().next_back().expect("an incident").phase.name()
    }
}

const LADDER: &str = "promotion: {runs: 2, from: suggest}\n";

fn stage(told: &Told) -> (Stage, u32) {
    told.state.trust.values().next().map_or((Stage::Shadow, 99), |standing| (standing.stage, standing.count))
}

/// The fault comes, people let the plan run where they are asked, and the run ends so.
fn one(told: &mut Told, end: End) -> String {
    let came = told.raise("stuck");
    if told.phase_of_last() == "awaiting_approval" {
        let incident = *told.state.incidents.keys().next_back().unwrap();
        let plan = told.state.incidents[&incident].proposal.as_ref().unwrap().plan.digest();
        let by = name("alice");
        let vote = Vote::Approve;
        told.does(Command::Decide { incident, plan, by, vote, reason: "seen".into(), signature: None });
    }
    let ended = told.runs(end);
    told.later(1);
    told.clear("stuck");
    told.later(MINUTE_MS).due();
    format!("{} | {ended}", came.rsplit(' ').next().unwrap_or_default())
}

fn failed() -> End {
    End::RolledBack { reason: "it failed".into() }
}

#[test]
fn a_policy_that_says_nothing_of_it_is_as_before() {
    let mut told = Told::new();
    assert_eq!(one(&mut told, End::Resolved), "order_released | run_reported watch_began");
    assert_eq!(told.state.trust.len(), 0);
}

#[test]
fn verified_runs_lift_it_and_one_failure_brings_it_down() {
    let mut told = Told::new();
    told.policy(LADDER);
    for (end, expected, now) in [
        (End::Resolved, "plan_proposed | run_reported watch_began trust_moved", (Stage::Suggest, 1)),
        (End::Resolved, "plan_proposed | run_reported watch_began trust_moved", (Stage::Auto, 0)),
        (End::Resolved, "order_released | run_reported watch_began trust_moved", (Stage::Auto, 1)),
    ] {
        assert_eq!(one(&mut told, end), expected);
        assert_eq!(stage(&told), now);
        told.later(DAY_MS);
    }
    assert_eq!(one(&mut told, failed()), "order_released | run_reported refrained trust_moved");
    assert_eq!(stage(&told), (Stage::Suggest, 0), "demoted at once");
    told.later(DAY_MS);
    told.raise("stuck");
    assert_eq!(told.phase_of_last(), "awaiting_approval", "the very next fault asks people again");
}

#[test]
fn what_was_approved_before_a_failure_waits_and_is_not_released() {
    let mut told = Told::new();
    told.policy("promotion: {runs: 2, from: auto}\nat_once: {overall: 1, per_host: 1, per_playbook: 1}\n");
    told.raise("stuck");
    let held = told.signal("stuck", "b", Condition::Raised);
    assert!(held.ends_with("plan_approved release_held"), "{held}");
    assert!(told.runs(failed()).ends_with("trust_moved"));
    told.later(1).due();
    let waits = told.state.incidents.values().next_back().and_then(|i| i.proposal.as_ref()?.held.clone());
    assert!(waits.is_some_and(|reason| reason.contains("has failed meanwhile")), "the failure holds it");
}

#[test]
fn a_failure_counts_whoever_has_its_incident() {
    let mut told = Told::new();
    told.policy("promotion: {runs: 2, from: auto}\n");
    told.raise("stuck");
    let order = owed(&told.state, &web()).remove(0);
    let run = order.plan;
    told.report(run, What::Accepted { order: Box::new(order) });
    told.begin(2);
    assert_eq!(told.phase(), "needs_person");
    assert_eq!(told.report(run, What::Ended { end: failed() }), "run_reported trust_moved");
    assert_eq!(told.report(run, What::Ended { end: failed() }), "run_reported", "it is told again");
    assert_eq!(stage(&told), (Stage::Suggest, 0));
}

#[test]
fn what_a_person_cancelled_tells_nothing() {
    let mut told = Told::new();
    told.policy("promotion: {runs: 2, from: auto}\n");
    told.raise("stuck");
    let order = owed(&told.state, &web()).remove(0);
    let run = order.plan;
    told.report(run, What::Accepted { order: Box::new(order) });
    told.does(Command::Cancel { run, by: name("carol") });
    assert_eq!(told.report(run, What::Ended { end: failed() }), "run_reported escalated");
    assert_eq!(told.state.trust.len(), 0);
}

#[test]
fn in_shadow_it_is_shown_looked_at_and_never_run() {
    let mut told = Told::new();
    told.policy("promotion: {runs: 1}\n");
    assert_eq!(told.raise("stuck"), "item_taken incident_opened matched plan_proposed escalated");
    assert_eq!((told.phase(), told.approve("alice")), ("needs_person", "nothing-to-decide".into()));
    assert_eq!(owed(&told.state, &web()).len(), 0);
    let ask = Command::AskDryRun { incident: IncidentId(1), by: name("carol") };
    let found = |cannot: Option<&str>| {
        let step = Step { require: vec![], would: vec![], cannot: cannot.map(str::to_owned) };
        Found::Looked { against: None, steps: vec![step], verify: vec![] }
    };
    for (found, expected) in
        [(found(Some("masked")), "dry_run_reported"), (found(None), "dry_run_reported trust_moved")]
    {
        told.does(ask.clone());
        let report = Report { plan: told.plan(), asked_at: told.now, looked_at: told.now, found };
        let answered = Command::ReportDryRun { host: web(), epoch: Epoch(1), report: Box::new(report) };
        assert_eq!(told.does(answered), expected);
    }
    assert_eq!(stage(&told), (Stage::Suggest, 0));
    told.later(1).clear("stuck");
    told.later(MINUTE_MS).due();
    told.raise("stuck");
    assert_eq!(told.phase_of_last(), "awaiting_approval");
}

#[test]
fn environments_earn_for_themselves() {
    let mut told = Told::new();
    told.policy("promotion: {runs: 1, from: suggest, by: env}\n");
    let fact = |value: &str| Declarations {
        stated: vec![Declaration::Fact { name: Word::new("env").unwrap(), value: Word::new(value).unwrap() }],
        broken: vec![],
    };
    told.declare(fact("staging"));
    one(&mut told, End::Resolved);
    told.later(DAY_MS).declare(fact("prod"));
    assert!(one(&mut told, End::Resolved).starts_with("plan_proposed"), "not yet in prod");
    told.later(DAY_MS);
    assert!(one(&mut told, End::Resolved).starts_with("order_released"));
    let known: Vec<&str> = told.state.trust.keys().map(|(_, environment)| environment.as_str()).collect();
    assert_eq!(known, ["prod", "staging"]);
}

#[test]
fn another_text_has_to_earn_it_again_and_the_policy_stays_the_ceiling() {
    let mut told = Told::new();
    told.policy("promotion: {runs: 1, from: suggest}\n");
    one(&mut told, End::Resolved);
    told.later(DAY_MS).install(playbook("auto", "stuck", "auto", 2));
    assert!(one(&mut told, End::Resolved).starts_with("plan_proposed"));
    told.later(DAY_MS);
    let nothing = "version: 2\nauto: []\nhosts: all\npromotion: {runs: 1, from: auto}\n";
    let policy = SignedText { text: nothing.into(), signature: "signed".into() };
    told.does(Command::SetPolicy { policy, signer: "owners".into(), by: name("root") });
    assert!(one(&mut told, End::Resolved).starts_with("plan_proposed"), "auto by record, not by policy");
}
