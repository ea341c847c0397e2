//! The storm brake: at its bounds and one beyond, one page whatever its size, and how it ends.

use super::fleet::{Many, host};
use super::*;
use crate::incident::WhyNot;

/// Every host has a fault of its own, so that none is common.
fn sick(many: &mut Many, n: usize) -> String {
    many.signal(n, "stuck", &format!("u{n}"), Condition::Raised)
}

fn stormy(many: &Many) -> bool {
    many.told.state.storm.is_some()
}

#[test]
fn too_many_sick_hosts_stop_what_starts_by_itself() {
    // With the host of `Told` there are 20.
    let mut many = Many::new(19, "storm: {sick_percent: 30, sick_hosts: 5}\n");
    (0..5).for_each(|n| assert!(sick(&mut many, n).ends_with("order_released"), "{n}"));
    assert!(!stormy(&many), "5 of 20 are 25 %");
    assert!(
        sick(&mut many, 5).ends_with("incident_opened escalated matched refrained"),
        "the sixth is too many"
    );
    assert_eq!((stormy(&many), many.pages()), (true, 1));
    assert!(many.orders(19).is_empty(), "orders that are on their way are kept back");
    (6..19).for_each(|n| drop(sick(&mut many, n)));
    assert_eq!(many.pages(), 1);
    let last = many.told.state.incidents.values().next_back().unwrap();
    assert!(matches!(last.why_not, Some(WhyNot::Storm { .. })));
}

#[test]
fn few_hosts_are_no_storm_whatever_their_share() {
    let mut many = Many::new(3, "");
    (0..3).for_each(|n| drop(sick(&mut many, n)));
    assert!(!stormy(&many));
}

#[test]
fn too_many_faults_in_a_minute_are_a_storm() {
    let mut many = Many::new(1, "storm: {raised_per_minute: 10}\n");
    let raise = |many: &mut Many, n: usize| many.signal(0, "other", &format!("u{n}"), Condition::Raised);
    (0..10).for_each(|n| drop(raise(&mut many, n)));
    assert!(!stormy(&many));
    raise(&mut many, 10);
    assert!(stormy(&many));
    let mut slow = Many::new(1, "storm: {raised_per_minute: 10}\n");
    (0..30).for_each(|n| {
        slow.told.later(6_000);
        raise(&mut slow, n);
    });
    assert!(!stormy(&slow), "10 a minute, for long");
}

#[test]
fn it_lasts_until_things_are_calm_and_the_time_has_passed() {
    let mut many = Many::new(19, "storm: {cool_down_s: 600}\n");
    (0..10).for_each(|n| drop(sick(&mut many, n)));
    let healed = |many: &mut Many, n: usize| many.signal(n, "stuck", &format!("u{n}"), Condition::Cleared);
    (0..10).for_each(|n| drop(healed(&mut many, n)));
    many.told.later(599_999).due();
    assert!(stormy(&many), "calm, and too early");
    many.told.later(1).due();
    assert!(!stormy(&many));
    let mut still = Many::new(19, "storm: {cool_down_s: 600}\n");
    (0..10).for_each(|n| drop(sick(&mut still, n)));
    still.told.later(HOUR_MS).due();
    assert!(stormy(&still), "late, and not calm");
    (0..10).for_each(|n| drop(healed(&mut still, n)));
    still.told.due();
    assert!(!stormy(&still));
    assert!(still.signal(11, "stuck", "u11", Condition::Raised).ends_with("order_released"));
}

#[test]
fn an_order_that_is_kept_back_is_told_once_it_cannot_start() {
    let mut many = Many::new(19, "storm: {cool_down_s: 60}\n");
    (0..10).for_each(|n| drop(sick(&mut many, n)));
    assert!(many.orders(19).is_empty());
    many.told.later(HOUR_MS).due();
    assert!(stormy(&many) && many.orders(19) == [0, 1, 2, 3, 4], "the hosts say that they did not start");
}

#[test]
fn what_the_storm_holds_back_still_counts_as_sick() {
    let mut many = Many::new(19, "storm: {cool_down_s: 60}\n");
    (0..10).for_each(|n| drop(sick(&mut many, n)));
    many.told.later(61_000);
    (0..10).for_each(|n| drop(sick(&mut many, n)));
    many.told.due();
    assert!(stormy(&many), "ten hosts are as sick as before");
}

#[test]
fn a_person_may_end_it() {
    let mut many = Many::new(19, "");
    (0..10).for_each(|n| drop(sick(&mut many, n)));
    let root = many.told.state.storm.as_ref().unwrap().root;
    many.told.does(Command::Close { incident: root, by: name("carol"), reason: "a test".into() });
    assert!(!stormy(&many));
}

#[test]
fn storms_of_any_size_are_one_page_and_start_nothing() {
    for hosts in [10, 1_000] {
        let mut many = Many::new(hosts, "");
        let before = (0..hosts).filter(|n| sick(&mut many, *n).ends_with("order_released")).count();
        assert!(before <= 60.min(hosts * 3 / 10 + 4), "{before} of {hosts}");
        assert_eq!((many.pages(), stormy(&many)), (1, true), "{hosts}");
        assert!((0..hosts).all(|n| owed(&many.told.state, &host(n)).is_empty()));
    }
}
