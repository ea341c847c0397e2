//! Decision tables of budgets: what each allows, at its bound and one beyond, and that what waits says why.

use super::*;
use crate::decide::{Of, left};

const GOES: &str = "item_taken incident_opened matched plan_proposed plan_approved order_released";
const WAITS: &str = "item_taken incident_opened matched plan_proposed plan_approved release_held";

/// Raises an automatic fault of unit `unit` and lets its run end well.
fn mended(told: &mut Told, unit: &str) -> String {
    let said = told.signal("stuck", unit, Condition::Raised);
    if said.ends_with("order_released") {
        told.runs(End::Resolved);
    }
    said
}

#[rustfmt::skip]
#[test]
fn budgets_of_an_hour() {
    table(&[
        ("a host's budget, its last", |t| {
            t.policy("budgets: {per_host: 2}"); mended(t, "a"); mended(t, "b")
        }, GOES),
        ("a host's budget, one more", |t| {
            t.policy("budgets: {per_host: 2}"); mended(t, "a"); mended(t, "b"); mended(t, "c")
        }, WAITS),
        ("an SOP's budget, its last", |t| {
            t.policy("budgets: {per_playbook: 2}"); mended(t, "a"); mended(t, "b")
        }, GOES),
        ("an SOP's budget, one more", |t| {
            t.policy("budgets: {per_playbook: 2}"); mended(t, "a"); mended(t, "b"); mended(t, "c")
        }, WAITS),
        ("a service's budget, its last", |t| { t.policy("budgets: {per_service: 1}"); mended(t, "a") }, GOES),
        ("a service's budget, another rule", |t| {
            t.policy("budgets: {per_service: 1}"); mended(t, "a"); t.raise_as("other-rule", "stuck")
        }, WAITS),
        ("another service", |t| { t.policy("budgets: {per_service: 1}"); mended(t, "a"); mended(t, "b") }, GOES),
        ("nothing granted is nothing", |t| { t.policy("budgets: {per_host: 0}"); mended(t, "a") }, WAITS),
        ("an hour later", |t| {
            t.policy("budgets: {per_host: 1}"); mended(t, "a"); t.later(HOUR_MS); mended(t, "b")
        }, GOES),
        ("being away frees nothing", |t| {
            t.policy("budgets: {per_host: 1}"); mended(t, "a"); t.later(HOUR_MS).does(Command::Start); mended(t, "b")
        }, WAITS),
        ("people may go beyond", |t| {
            t.policy("budgets: {per_host: 0}"); t.raise("down"); t.approve("alice")
        }, "decision_taken plan_approved order_released"),
        ("what never got its turn is a person's", |t| {
            t.policy("budgets: {per_host: 0}"); mended(t, "a"); t.later(HOUR_MS).due()
        }, "plan_voided escalated"),
    ]);
}

#[test]
fn what_waits_says_why_and_says_it_once() {
    let mut told = Told::new();
    told.policy("budgets: {per_host: 0}");
    mended(&mut told, "a");
    let held = |told: &Told| told.state.incidents[&IncidentId(1)].proposal.as_ref().unwrap().held.clone();
    assert_eq!(held(&told).as_deref(), Some("the budget of web-1, 0 automatic runs an hour, is spent"));
    assert_eq!(told.later(1000).due(), "");
    told.stop();
    assert_eq!(told.due(), "release_held");
    assert_eq!(held(&told).as_deref(), Some("automation is stopped: enough"));
    assert_eq!(told.due(), "");
    let notes = &told.state.incidents[&IncidentId(1)].notes;
    assert_eq!(notes.iter().filter(|note| note.text.starts_with("waits: ")).count(), 2);
}

#[test]
fn what_is_left_is_shown() {
    let mut told = Told::new();
    told.policy("budgets: {per_host: 3}");
    told.raise("stuck");
    let all = left(&told.state, told.now);
    let of = |of: Of| all.iter().find(|left| left.of == of).map(|left| (left.at_once, left.hour));
    assert_eq!(of(Of::Overall), Some((Some((1, 10)), (1, 60))));
    assert_eq!(of(Of::Sop("auto".into())), Some((Some((1, 5)), (1, 40))));
    assert_eq!(of(Of::Host("web-1".into())), Some((Some((1, 1)), (1, 3))));
    assert_eq!(of(Of::Service("web-1".into(), "unit:a.service".into())), Some((None, (1, 4))));
    assert_eq!(all.len(), 4);
}
