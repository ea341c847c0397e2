//! Playbooks and what they answer, kept together.

use super::*;

#[test]
fn what_answers_a_kind_follows_the_library() {
    let mut told = Told::new();
    let known = |told: &Told| told.state.answers.len();
    let before = known(&told);
    told.retire("asked");
    assert_eq!(known(&told), before - 1);
    told.install(playbook("auto", "down", "auto", 2));
    assert_eq!(known(&told), before - 1);
}

#[rustfmt::skip]
#[test]
fn playbooks_come_and_go() {
    table(&[
        ("retired: its plan is void", |t| { t.raise("down"); t.retire("asked") }, "playbook_retired plan_voided"),
        ("replaced: its plan is void", |t| { t.raise("down"); t.install(playbook("asked", "down", "approval", 2)) },
            "playbook_installed plan_voided"),
        ("another's plan stays", |t| { t.raise("down"); t.retire("auto") }, "playbook_retired"),
        ("a changed text needs a version", |t| t.install(playbook("asked", "down", "auto", 1)), "invalid"),
        ("the same text is no news", |t| t.install(playbook("asked", "down", "approval", 1)), ""),
        ("another's run goes on", |t| { t.raise("stuck"); t.retire("asked"); t.raise("stuck") },
            "item_taken signal_folded"),
        ("replaced: proposed anew at once", |t| {
            t.raise("down");
            t.install(playbook("asked", "down", "approval", 2));
            t.due()
        }, "matched plan_proposed"),
        ("replaced while it waits for its place: its successor waits", |t| {
            t.policy("at_once: {overall: 1, per_host: 1, per_playbook: 1}");
            t.signal("stuck", "b", Condition::Raised);
            t.raise("stuck");
            t.install(playbook("auto", "stuck", "auto", 2));
            t.due()
        }, "matched plan_proposed plan_approved release_held"),
        ("retired: a person is told", |t| { t.raise("down"); t.retire("asked"); t.due() }, "matched escalated"),
        ("replaced while stopped: the stop is the reason", |t| {
            t.raise("down");
            t.stop();
            t.install(playbook("asked", "down", "approval", 2));
            t.due()
        }, "refrained"),
    ]);
}
