//! Decision tables of runs, limits, time, hosts and restarts.

use super::*;
use crate::decide::{cancels, resumes_at, rewound};

#[rustfmt::skip]
#[test]
fn ends_of_runs() {
    table(&[
        ("resolved: quiet time begins", |t| { t.raise("stuck"); t.runs(End::Resolved) }, "run_reported watch_began"),
        ("undone: the host looks afresh", |t| { t.raise("stuck"); t.undone() }, "run_reported refrained"),
        ("undone by people's choice: people", |t| { t.raise("down"); t.approve("alice"); t.undone() },
            "run_reported problem_opened escalated"),
        ("undone after the condition went", |t| { t.raise("stuck"); t.clear("stuck"); t.undone() },
            "run_reported watch_began"),
        ("undone, and its end heard before the word that it holds again", |t| {
            t.raise("stuck"); t.clear("stuck"); t.undone(); t.raise("stuck")
        }, "item_taken signal_folded incident_reopened plan_proposed plan_approved order_released"),
        ("parked", |t| { t.raise("stuck"); t.runs(End::Parked { reason: "?".into(), residue: vec![] }) },
            "run_reported targets_frozen problem_opened escalated"),
        ("a second try", |t| { t.raise("stuck"); t.undone(); t.raise("stuck") },
            "item_taken signal_folded plan_proposed plan_approved order_released"),
        ("two tries and no more", |t| { t.raise("stuck"); t.undone(); t.raise("stuck"); t.undone() },
            "run_reported targets_frozen problem_opened escalated"),
        ("given up until tomorrow", |t| {
            t.raise("stuck"); t.runs(End::Resolved);
            t.later(1000).raise("stuck"); t.runs(End::Resolved);
            t.later(1000).raise("stuck")
        }, "item_taken signal_folded incident_reopened targets_frozen problem_opened escalated"),
        ("tries of yesterday are forgotten", |t| {
            t.raise("stuck"); t.runs(End::Resolved);
            t.later(1000).raise("stuck"); t.runs(End::Resolved);
            t.later(DAY_MS).raise("stuck")
        }, "item_taken signal_folded incident_reopened plan_proposed plan_approved order_released"),
        ("back while the fix is watched", |t| { t.raise("stuck"); t.runs(End::Resolved); t.later(1).raise("stuck") },
            "item_taken signal_folded incident_reopened plan_proposed plan_approved order_released"),
        ("a word from before the end is no return", |t| { t.raise("stuck"); t.runs(End::Resolved); t.raise("stuck") },
            "item_taken signal_folded"),
        ("of a run nobody knows", |t| t.report(Digest([5; 32]), What::Ended { end: End::Resolved }), "run_reported"),
    ]);
}

#[rustfmt::skip]
#[test]
fn refusals_of_hosts() {
    table(&[
        ("declared there", |t| {
            t.raise("stuck");
            t.refuses(HostRefusal::Forbidden { forbidden: Forbidden::BrokenDeclarations { file: "x".into() } })
        }, "run_reported refrained"),
        ("stopped there", |t| { t.raise("stuck"); t.refuses(HostRefusal::Stopped { reason: "x".into() }) },
            "run_reported refrained"),
        ("stopped there, and over", |t| {
            t.raise("stuck"); t.clear("stuck");
            t.refuses(HostRefusal::Stopped { reason: "x".into() })
        }, "run_reported watch_began"),
        ("too late, automatic", |t| { t.raise("stuck"); t.refuses(HostRefusal::Expired { at: t.now }) },
            "run_reported refrained"),
        ("too late, by people", |t| { t.raise("down"); t.approve("alice"); t.refuses(HostRefusal::Expired { at: t.now }) },
            "run_reported escalated"),
        ("another life", |t| { t.raise("stuck"); t.refuses(HostRefusal::OtherEpoch) }, "run_reported escalated"),
        ("of a plan that is only proposed", |t| { t.raise("down"); t.refuses(HostRefusal::OtherEpoch) },
            "run_reported escalated"),
    ]);
}

#[test]
fn a_plan_that_was_answered_is_not_proposed_again() {
    let mut told = Told::new();
    told.raise("stuck");
    let (plan, mut restored) = (told.plan(), Told::new());
    restored.report(plan, What::Refused { refusal: HostRefusal::OtherEpoch });
    restored.raise("stuck");
    assert_ne!(restored.plan(), plan);
    assert_eq!(owed(&restored.state, &web()).len(), 1);
}

#[rustfmt::skip]
#[test]
fn limits() {
    let goes = "item_taken incident_opened matched plan_proposed plan_approved order_released";
    let waits = goes.replace("order_released", "release_held");
    let waits = waits.as_str();
    table(&[
        ("one on a host", |t| { t.raise("stuck"); t.signal("stuck", "b", Condition::Raised) }, waits),
        ("two on a host", |t| {
            t.policy("at_once: {overall: 9, per_host: 2, per_playbook: 9}");
            t.raise("stuck");
            t.signal("stuck", "b", Condition::Raised)
        }, goes),
        ("two of a playbook", |t| {
            t.policy("at_once: {overall: 9, per_host: 9, per_playbook: 1}");
            t.raise("stuck");
            t.signal("stuck", "b", Condition::Raised)
        }, waits),
        ("released when the other has ended", |t| {
            t.raise("stuck"); t.signal("stuck", "b", Condition::Raised);
            t.runs(End::Resolved);
            t.due()
        }, "order_released"),
        ("one in the hour", |t| {
            t.policy("per_hour: 1");
            t.raise("stuck"); t.runs(End::Resolved);
            t.signal("stuck", "b", Condition::Raised)
        }, waits),
        ("one in the hour, an hour later", |t| {
            t.policy("per_hour: 1");
            t.raise("stuck"); t.runs(End::Resolved);
            t.later(HOUR_MS).signal("stuck", "b", Condition::Raised)
        }, goes),
        ("being away frees nothing", |t| {
            t.policy("per_hour: 1");
            t.raise("stuck"); t.runs(End::Resolved);
            t.later(HOUR_MS).does(Command::Start);
            t.signal("stuck", "b", Condition::Raised)
        }, waits),
        ("two on one resource", |t| {
            t.policy("at_once: {overall: 9, per_host: 9, per_playbook: 9}");
            t.raise("stuck");
            t.install(playbook("more", "loose", "auto", 1));
            t.does(Command::SetPolicy {
                policy: SignedText { text: policy("at_once: {overall: 9, per_host: 9, per_playbook: 9}").text
                    .replace("[auto]", "[auto, more]"), signature: "signed".into() },
                signer: "owners".into(), by: name("root") });
            t.raise_as("other-rule", "loose")
        }, waits),
    ]);
}

#[rustfmt::skip]
#[test]
fn time_alone() {
    table(&[
        ("nothing yet", |t| { t.raise("stuck"); t.due() }, ""),
        ("quiet long enough", |t| { t.raise("stuck"); t.clear("stuck"); t.runs(End::Resolved); t.later(MINUTE_MS).due() },
            "incident_closed"),
        ("never confirmed", |t| { t.raise("stuck"); t.runs(End::Resolved); t.later(11 * MINUTE_MS).due() }, "escalated"),
        ("an order unheard of", |t| { t.raise("stuck"); t.later(7 * MINUTE_MS).due() }, "run_overdue"),
        ("said once", |t| { t.raise("stuck"); t.later(7 * MINUTE_MS).due(); t.later(HOUR_MS).due() }, ""),
        ("no fresh look", |t| { t.raise("stuck"); t.undone(); t.later(10 * MINUTE_MS).due() }, "escalated"),
        ("no fresh look while stopped", |t| { t.stop(); t.raise("stuck"); t.later(DAY_MS).due() }, ""),
        ("no fresh look after the stop", |t| { t.stop(); t.raise("stuck"); t.resume(); t.later(DAY_MS).due() }, "escalated"),
        ("no fresh look while held", |t| { t.declare(hold()); t.raise("stuck"); t.later(DAY_MS).due() }, ""),
    ]);
}

#[rustfmt::skip]
#[test]
fn lives_of_hosts() {
    table(&[
        ("a new life voids what waits", |t| { t.raise("down"); t.begin(2) }, "epoch_began plan_voided"),
        ("and gives what is under way to people", |t| { t.raise("stuck"); t.begin(2) }, "epoch_began escalated"),
        ("the same life is no news", |t| t.begin(1), ""),
        ("an earlier life does not come back", |t| { t.begin(2); t.begin(1) }, "other-epoch"),
        ("nor at joining", |t| { t.begin(2); t.does(Command::Enrol { host: web(), epoch: Epoch(1) }) }, "other-epoch"),
        ("revoked", |t| { t.raise("down"); t.does(Command::Revoke { host: web(), by: name("root") }) },
            "host_revoked plan_voided"),
        ("the revoked may not speak", |t| { t.does(Command::Revoke { host: web(), by: name("root") }); t.raise("down") },
            "host-revoked"),
    ]);
}

#[test]
fn runs_that_are_told_again_are_known_once() {
    let mut told = Told::new();
    told.raise("stuck");
    told.runs(End::Resolved);
    let run = *told.state.runs.keys().next().unwrap();
    let records = told.state.runs[&run].records.clone();
    told.begin(2);
    for record in &records {
        told.report(run, record.what.clone());
    }
    assert_eq!(told.state.runs[&run].records, records);
}

#[test]
fn a_memory_that_stands_behind_what_it_reported_was_set_back() {
    let mut told = Told::new();
    told.raise("stuck");
    told.runs(End::Resolved);
    let host = &told.state.hosts[&web()];
    let table = [(2, false), (3, false), (1, true), (0, true)];
    for (journal_seq, expected) in table {
        assert_eq!(rewound(host, journal_seq).is_some(), expected, "{journal_seq}");
    }
}

#[test]
fn a_cancelled_run_goes_to_people_when_it_is_undone() {
    let mut told = Told::new();
    told.raise("stuck");
    let order = owed(&told.state, &web()).remove(0);
    let run = order.plan;
    let cancel = || Command::Cancel { run, by: name("carol") };
    assert_eq!(told.does(cancel()), "unknown-run");
    told.report(run, What::Accepted { order: Box::new(order) });
    assert_eq!(told.does(cancel()), "cancel_requested");
    assert_eq!(told.does(cancel()), "");
    assert_eq!(cancels(&told.state, &web()).len(), 1);
    let end = End::RolledBack { reason: "cancelled".into() };
    assert_eq!(told.report(run, What::Ended { end }), "run_reported escalated");
    assert_eq!(told.phase(), "needs_person");
    assert_eq!(told.does(cancel()), "run-ended");
}

#[test]
fn a_ledger_goes_on_where_no_approval_from_before_is_fresh() {
    let mut told = Told::new();
    told.raise("stuck");
    let (last, ends) = (told.now, told.now.plus(5 * MINUTE_MS));
    let table = [
        (last.plus(1000), last.plus(1000)),
        (last, last),
        (last.plus(-1), ends),
        (Timestamp(0), ends),
        (last.plus(DAY_MS), last.plus(DAY_MS)),
    ];
    for (wall, expected) in table {
        assert_eq!(resumes_at(&told.state, last, wall), expected, "{wall}");
    }
    let quiet = Told::new();
    assert_eq!(resumes_at(&quiet.state, quiet.now, Timestamp(0)), quiet.now);
}

#[test]
fn an_order_carries_what_it_was_approved_with() {
    let mut told = Told::new();
    told.raise("stuck");
    let before = owed(&told.state, &web());
    told.retire("auto");
    told.policy("approvers: 2");
    assert_eq!(owed(&told.state, &web()), before);
    assert_eq!(before.len(), 1);
}
