use super::*;
use crate::ids::IncidentId;
use crate::order::SignedText;
use crate::plan::Target;
use crate::playbook::Playbook;
use std::collections::BTreeMap;

const LOOK: &str = "
id: look
version: 1
title: Look at it
purpose: It shows.
scope: Hosts.
risk: look
answers: [{kind: svc.odd}]
steps: [{name: look, do: look.network, with: {most: 3}, timeout_s: 10}]
escalation: Read it.
";

struct Asked {
    plan: Plan,
    question: Question,
    policy: Policy,
    facts: Facts,
}

/// A look that is right in every way.
fn good() -> Asked {
    let host = HostId::new("web-1").unwrap();
    let playbook = Playbook::parse(LOOK).unwrap();
    let target = Target {
        host: host.clone(),
        epoch: Epoch(1),
        incident: IncidentId(1),
        attempt: 1,
        subject: "host".parse().unwrap(),
        fingerprint: Digest([1; 32]),
    };
    let plan = Plan::build(&playbook, target.clone(), BTreeMap::new()).unwrap();
    let policy = Policy::parse("version: 1\nauto: []\nhosts: all\ndiagnosis: {per_host: 3}\n").unwrap();
    let approval = approve(&plan, &policy, Timestamp(1000)).unwrap();
    let signed = SignedText { text: LOOK.into(), signature: String::new() };
    let question = Question {
        target,
        plan: plan.digest(),
        parameters: BTreeMap::new(),
        playbook: signed.clone(),
        asked_at: approval.granted_at,
        approval: Some(approval),
        policy: Some(signed),
    };
    let facts = Facts {
        host,
        epoch: Epoch(1),
        server_now: Some(Timestamp(2000)),
        stop: None,
        forbidden: None,
        looks: 2,
        begun: false,
    };
    Asked { plan, question, policy, facts }
}

fn judged(asked: &Asked) -> String {
    let judged = admit(&asked.plan, &asked.question, Some(&asked.policy), &asked.facts);
    judged.map_or_else(|refusal| refusal.to_string(), |()| "looks".into())
}

#[test]
fn a_host_looks_only_by_the_rule_that_its_owners_signed() {
    type Change = fn(&mut Asked);
    let silent = || Policy::parse("version: 1\nauto: []\nhosts: all\n").unwrap();
    assert_eq!(judged(&good()), "looks");
    assert_eq!(
        approve(&good().plan, &silent(), Timestamp(0)),
        None,
        "a policy that is silent permits nothing"
    );
    let cases: [(&str, Change); 15] = [
        ("for host web-1", |a| a.facts.host = HostId::new("web-2").unwrap()),
        ("earlier life", |a| a.facts.epoch = Epoch(2)),
        ("no approval", |a| a.question.approval = None),
        ("the approval is for plan", |a| a.question.approval.as_mut().unwrap().plan = Digest([7; 32])),
        ("not for diagnosis", |a| {
            let policy = a.policy.digest;
            a.question.approval.as_mut().unwrap().basis = Basis::Standing { policy };
        }),
        ("another policy", |a| a.policy.digest = Digest([7; 32])),
        ("no rule for diagnosis", |a| a.policy.diagnosis = None),
        ("does not speak of this host", |a| a.policy.hosts = crate::policy::Hosts::Named(vec![])),
        ("stopped: enough", |a| a.facts.stop = Some("enough".into())),
        ("cannot be read", |a| {
            a.facts.forbidden = Some(Forbidden::BrokenDeclarations { file: "x".into() });
        }),
        ("not been heard", |a| a.facts.server_now = None),
        ("expired", |a| a.facts.server_now = Some(Timestamp(1000 + VALID_MS))),
        ("begun before", |a| a.facts.begun = true),
        ("3 looks within the hour, at most 3", |a| a.facts.looks = 3),
        ("12 looks within the hour, at most 12", |a| {
            a.policy.diagnosis = Some(Rule { per_host: 1000, per_hour: 1000 });
            a.facts.looks = LOOKS_MAX;
        }),
    ];
    for (expected, change) in cases {
        let mut asked = good();
        change(&mut asked);
        let said = judged(&asked);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let mut none = good();
    none.question.policy = None;
    assert!(admit(&none.plan, &none.question, None, &none.facts).is_err(), "without the policy itself");
}

/// What a reader lets pass is asked again: a plan that says that it looks and does more.
#[test]
fn what_does_more_than_look_is_neither_approved_nor_begun() {
    let asked = good();
    let text = LOOK
        .replace("look.network, with: {most: 3}", "unit.stop, with: {unit: a.service}")
        .replace("risk: look", "risk: auto")
        .replace(
            "escalation",
            "verify: [{check: unit.not-active, with: {unit: a.service}}]\nsoak_s: 1\nescalation",
        );
    let mut playbook = Playbook::parse(&text).unwrap();
    for risk in [Risk::Auto, Risk::Look] {
        playbook.risk = risk;
        let plan = Plan::build(&playbook, asked.plan.target.clone(), BTreeMap::new()).unwrap();
        assert_eq!(approve(&plan, &asked.policy, Timestamp(0)), None);
        let said = admit(&plan, &asked.question, Some(&asked.policy), &asked.facts);
        assert!(matches!(said, Err(Refusal::MayWrite(_))), "{said:?}");
    }
}
