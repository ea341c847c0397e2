//! Samples of every event as version 1 wrote it, in `golden/events-v1.jsonl`. They must decode for ever: lines are
//! added there, none is ever changed.

mod common;

use common::{PLAYBOOK, host, name};
use sopwith_domain::approval::{Approval, Basis, Decision, Vote};
use sopwith_domain::declaration::{Declaration, Declarations, Forbidden};
use sopwith_domain::dry_run::{Asked, Found, Report, Step};
use sopwith_domain::event::{EVENT_VERSION, Event, Versioned};
use sopwith_domain::ids::{Digest, Epoch, IncidentId, PlaybookId, RuleId};
use sopwith_domain::incident::WhyNot;
use sopwith_domain::inspection::{Day, Inspected, Inspection, Verdict};
use sopwith_domain::matching::choose;
use sopwith_domain::order::{Order, SignedText};
use sopwith_domain::people::Role;
use sopwith_domain::plan::{Plan, Target, parameters};
use sopwith_domain::playbook::Playbook;
use sopwith_domain::problem::ProblemId;
use sopwith_domain::run::{Effect, End, Record, StepResult, UndoResult, What};
use sopwith_domain::signal::{Condition, Evidence, Severity, Signal, SignalKind, Subject};
use sopwith_domain::time::Timestamp;
use sopwith_domain::triage::Priority;
use sopwith_domain::trust::{Stage, Standing};
use sopwith_domain::value::{ProcessRef, UnitName, Value, Word};
use std::collections::{BTreeMap, BTreeSet};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/events-v1.jsonl");

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn signal() -> Signal {
    Signal {
        host: host("web-1"),
        epoch: Epoch(u64::MAX),
        rule: RuleId::new("units.failed").unwrap(),
        kind: SignalKind::new("unit.failed").unwrap(),
        subject: Subject::Unit(UnitName::new("demo.service").unwrap()),
        condition: Condition::Raised,
        severity: Severity::Critical,
        summary: "demo.service failed".into(),
        fields: BTreeMap::from([
            (word("unit_result"), Value::Word(word("signal"))),
            (word("starts_10m"), Value::Integer(2)),
            (word("process"), Value::Process(ProcessRef { pid: 7, start_ticks: 99 })),
        ]),
        evidence: vec![Evidence { title: "journal".into(), text: "line 1\nline 2".into() }],
        observed_at: Timestamp(1_767_225_600_000),
        cause: Some(Digest([3; 32])),
        depends_on: Vec::new(),
    }
}

fn declarations() -> Declarations {
    Declarations {
        stated: vec![
            Declaration::Maintenance {
                id: word("m1"),
                scope: vec![Subject::Host],
                from: Timestamp(0),
                to: Timestamp(60_000),
                by: "alice".into(),
                reason: "work".into(),
            },
            Declaration::Hold {
                scope: vec![Subject::Host],
                by: "bob".into(),
                reason: "no".into(),
                until: None,
            },
        ],
        broken: vec!["x.yaml: line 1".into()],
    }
}

fn inspection() -> Inspection {
    let at = Timestamp(1_767_225_600_000);
    let one = |check: &str, verdict, since| Inspected {
        check: word(check),
        kind: word("plugin"),
        schedule: "cron 0 3 * * *".into(),
        runs: 3,
        warnings: 1,
        criticals: 1,
        unknowns: 0,
        missed: 2,
        verdict,
        since,
        last_at: since,
        line: "DISK OK".into(),
    };
    Inspection {
        day: Day::new("2026-01-01").unwrap(),
        made_at: at,
        complete: true,
        checks: vec![one("disk", Some(Verdict::Ok), Some(at)), one("new", None, None)],
        left_out: 1,
    }
}

fn dry_run(plan: Digest, at: Timestamp) -> Report {
    let asked = |holds, detail: &str| Asked { check: "it is active".into(), holds, detail: detail.into() };
    let step = Step {
        require: vec![asked(Some(true), ""), asked(None, "it starts a program")],
        would: vec!["would restart demo.service".into()],
        cannot: Some("it is masked".into()),
    };
    let found = Found::Looked {
        against: Some("a hold".into()),
        steps: vec![step],
        verify: vec![asked(Some(false), "it is failed")],
    };
    Report { plan, asked_at: at, looked_at: at, found }
}

fn samples() -> Vec<Event> {
    let (web, alice, incident, at) =
        (host("web-1"), name("alice"), IncidentId(7), Timestamp(1_767_225_600_000));
    let signal = Box::new(signal());
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
    let (_, candidates) = choose([&playbook], &signal);
    let target = Target {
        host: web.clone(),
        epoch: Epoch(1),
        incident,
        attempt: 1,
        subject: signal.subject.clone(),
        fingerprint: signal.fingerprint(),
    };
    let plan = Plan::build(&playbook, target.clone(), parameters(&playbook, &signal).unwrap()).unwrap();
    let run = plan.digest();
    let signed = SignedText { text: PLAYBOOK.into(), signature: "-----BEGIN SSH SIGNATURE-----".into() };
    let decision = Decision {
        by: alice.clone(),
        vote: Vote::Approve,
        plan: run,
        at,
        reason: "seen".into(),
        signature: Some("sig".into()),
    };
    let approval = Approval {
        plan: run,
        basis: Basis::People { decisions: vec![decision.clone()], required: 1 },
        granted_at: at,
        expires_at: at.plus(300_000),
    };
    let order = Order {
        target,
        plan: run,
        parameters: plan.parameters.clone(),
        approval: approval.clone(),
        playbook: signed.clone(),
        policy: None,
    };
    let standing = Approval { basis: Basis::Standing { policy: Digest([4; 32]) }, ..approval.clone() };
    let look = Approval { basis: Basis::Diagnosis { policy: Digest([4; 32]) }, ..approval.clone() };
    let reason = || "a reason".to_owned();
    let reported =
        |seq, what| Event::RunReported { host: web.clone(), seq, record: Box::new(Record { run, at, what }) };
    vec![
        Event::HostEnrolled { host: web.clone(), epoch: Epoch(u64::MAX) },
        Event::EpochBegan { host: web.clone(), epoch: Epoch(2), reason: reason() },
        Event::HostRevoked { host: web.clone(), by: alice.clone() },
        Event::HostSilent { host: web.clone(), last_seen: at },
        Event::HostHeard { host: web.clone() },
        Event::ItemTaken { host: web.clone(), seq: 1 },
        Event::GapRecorded { host: web.clone(), from_seq: 2, through_seq: 9, reason: reason() },
        Event::DeclarationsReported { host: web.clone(), declarations: declarations() },
        Event::IncidentOpened {
            incident,
            signal: signal.clone(),
            priority: Priority::P2,
            priority_reason: reason(),
        },
        Event::SignalFolded { incident, signal: signal.clone() },
        Event::IncidentReopened { incident, reason: reason() },
        Event::ConditionCleared { incident, signal },
        Event::Matched { incident, candidates, chosen: Some(playbook.id.clone()) },
        Event::Refrained { incident, why_not: WhyNot::Stopped { reason: reason() } },
        Event::Refrained {
            incident,
            why_not: WhyNot::Declared {
                forbidden: Forbidden::Hold { by: "bob".into(), reason: reason(), until: Some(at) },
            },
        },
        Event::Refrained { incident, why_not: WhyNot::LookAfresh { after: reason() } },
        Event::Refrained { incident, why_not: WhyNot::Follows { root: incident, subject: Subject::Host } },
        Event::Refrained { incident, why_not: WhyNot::WithOthers { root: incident } },
        Event::Refrained { incident, why_not: WhyNot::OneOfMany { root: incident, because: reason() } },
        Event::Refrained { incident, why_not: WhyNot::Frozen { root: incident, because: reason() } },
        Event::Refrained { incident, why_not: WhyNot::Storm { root: incident } },
        Event::ReleaseHeld { incident, plan: plan.digest(), reason: reason() },
        Event::DiagnosisApproved { incident, plan: Box::new(plan.clone()), approval: look },
        Event::DiagnosisReported { incident, report: Box::new(dry_run(run, at)) },
        Event::PlanProposed { incident, plan: Box::new(plan), expires_at: at, required_approvals: 1 },
        Event::DryRunAsked { incident, plan: run, by: alice.clone() },
        Event::DryRunReported { incident, report: Box::new(dry_run(run, at)) },
        Event::DryRunReported {
            incident,
            report: Box::new(Report { found: Found::Refused { reason: reason() }, ..dry_run(run, at) }),
        },
        Event::DecisionTaken { incident, decision },
        Event::PlanApproved { incident, approval },
        Event::PlanApproved { incident, approval: standing },
        Event::PlanVoided { incident, plan: run, reason: reason() },
        Event::OrderReleased { incident, plan: run, automatic: true },
        Event::RunOverdue { incident, plan: run, reason: reason() },
        reported(1, What::Accepted { order: Box::new(order) }),
        reported(2, What::Started { step: 0, prior: serde_json::json!({ "active": false }) }),
        reported(3, What::Finished { step: 0, outcome: StepResult::Done { output: "ok".into() } }),
        reported(4, What::Probed { step: 0, effect: Effect::Unknown { detail: reason() } }),
        reported(5, What::UndoFinished { step: 0, result: UndoResult::Residue { what: reason() } }),
        reported(6, What::Ended { end: End::Parked { reason: reason(), residue: vec![reason()] } }),
        Event::TrustMoved {
            playbook: PlaybookId::new("start-it").unwrap(),
            environment: "all".into(),
            standing: Standing {
                text: Digest([6; 32]),
                stage: Stage::Suggest,
                count: 1,
                since: at,
                reason: reason(),
            },
        },
        Event::CancelRequested { run, by: alice.clone() },
        Event::WatchBegan { incident, reason: reason() },
        Event::Escalated { incident, reason: reason() },
        Event::TargetsFrozen { incident, targets: vec![Subject::Host], because: reason() },
        Event::IncidentClosed { incident, reason: reason(), by: Some(alice.clone()) },
        Event::ProblemOpened { problem: ProblemId(1), incident, why: reason() },
        Event::ProblemRecurred { problem: ProblemId(1), incident, why: reason() },
        Event::ProblemClosed { problem: ProblemId(1), root_cause: reason(), by: alice.clone() },
        Event::StopSet { by: alice.clone(), reason: reason() },
        Event::StopCleared { by: alice.clone(), reason: reason() },
        Event::PlaybookInstalled { playbook: signed.clone(), signer: "owner".into(), by: alice.clone() },
        Event::PlaybookRetired { playbook: PlaybookId::new("start-it").unwrap(), by: alice.clone() },
        Event::PolicySet { policy: signed, signer: "owner".into(), by: alice.clone() },
        Event::PersonAdded { name: name("bob"), role: Role::Approver, by: alice.clone() },
        Event::RoleChanged { name: name("bob"), role: Role::Admin, by: alice.clone() },
        Event::PersonDisabled { name: name("bob"), by: alice.clone() },
        Event::AccessChanged { by: alice, what: reason() },
        Event::ServerStarted,
        Event::InspectionReported { host: web, report: Box::new(inspection()) },
    ]
}

/// Does nothing; a new variant does not compile here until somebody has read the module's first lines.
fn known(event: &Event) {
    match event {
        Event::HostEnrolled { .. }
        | Event::EpochBegan { .. }
        | Event::HostRevoked { .. }
        | Event::HostSilent { .. }
        | Event::HostHeard { .. }
        | Event::ItemTaken { .. }
        | Event::GapRecorded { .. }
        | Event::DeclarationsReported { .. }
        | Event::InspectionReported { .. }
        | Event::IncidentOpened { .. }
        | Event::SignalFolded { .. }
        | Event::IncidentReopened { .. }
        | Event::ConditionCleared { .. }
        | Event::Matched { .. }
        | Event::Refrained { .. }
        | Event::PlanProposed { .. }
        | Event::DryRunAsked { .. }
        | Event::DryRunReported { .. }
        | Event::DiagnosisApproved { .. }
        | Event::DiagnosisReported { .. }
        | Event::DecisionTaken { .. }
        | Event::PlanApproved { .. }
        | Event::PlanVoided { .. }
        | Event::ReleaseHeld { .. }
        | Event::OrderReleased { .. }
        | Event::RunOverdue { .. }
        | Event::RunReported { .. }
        | Event::TrustMoved { .. }
        | Event::CancelRequested { .. }
        | Event::WatchBegan { .. }
        | Event::Escalated { .. }
        | Event::TargetsFrozen { .. }
        | Event::IncidentClosed { .. }
        | Event::ProblemOpened { .. }
        | Event::ProblemRecurred { .. }
        | Event::ProblemClosed { .. }
        | Event::StopSet { .. }
        | Event::StopCleared { .. }
        | Event::PlaybookInstalled { .. }
        | Event::PlaybookRetired { .. }
        | Event::PolicySet { .. }
        | Event::PersonAdded { .. }
        | Event::RoleChanged { .. }
        | Event::PersonDisabled { .. }
        | Event::AccessChanged { .. }
        | Event::ServerStarted => {}
    }
}

fn tag(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned()
}

#[test]
fn events_of_version_1_decode_for_ever() {
    let fresh: Vec<Event> = samples();
    fresh.iter().for_each(known);
    if !std::path::Path::new(FILE).exists() {
        let lines = fresh.iter().map(|event| {
            serde_json::to_string(&Versioned { v: EVENT_VERSION, event: event.clone() }).unwrap() + "\n"
        });
        std::fs::write(FILE, lines.collect::<String>()).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap();
    let mut tags = BTreeSet::new();
    for line in kept.lines() {
        let read: Versioned = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(read.v, 1);
        let again: Versioned = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read, "what was read is written so that it reads the same");
        tags.insert(tag(&read.event));
    }
    let wanted: BTreeSet<String> = fresh.iter().map(tag).collect();
    assert!(wanted.is_subset(&tags), "no sample of {:?}", wanted.difference(&tags).collect::<Vec<_>>());
}
