//! Hosts fall silent, alone and together.

use super::*;
use crate::incident::{Phase, WhyNot};

fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

fn three() -> Told {
    let mut told = Told::new();
    for name in ["web-2", "web-3"] {
        told.does(Command::Enrol { host: host(name), epoch: Epoch(1) });
    }
    told
}

fn silent(told: &mut Told, name: &str) -> String {
    let last_seen = told.now;
    told.does(Command::DeclareSilent { host: host(name), last_seen })
}

fn heard(told: &mut Told, name: &str) -> String {
    told.does(Command::HearAgain { host: host(name) })
}

/// Returns how each incident stands: what a person is called for, what is told with another, what is over.
fn stands(told: &Told) -> Vec<&'static str> {
    let one = |incident: &crate::incident::Incident| match (&incident.phase, &incident.why_not) {
        (Phase::NeedsPerson { .. }, _) => "person",
        (Phase::Detected, Some(WhyNot::WithOthers { .. })) => "with others",
        (phase, _) => phase.name(),
    };
    told.state.incidents.values().map(one).collect()
}

#[test]
fn a_silent_host_is_one_incident_and_over_when_it_is_heard() {
    let mut told = three();
    assert_eq!(silent(&mut told, "web-1"), "host_silent incident_opened escalated");
    assert_eq!(silent(&mut told, "web-1"), "");
    assert_eq!(stands(&told), ["person"]);
    assert_eq!(heard(&mut told, "web-1"), "host_heard condition_cleared watch_began");
    assert_eq!(heard(&mut told, "web-1"), "");
    // It falls silent again before that is over: the same incident.
    assert_eq!(silent(&mut told, "web-1"), "host_silent signal_folded incident_reopened escalated");
    heard(&mut told, "web-1");
    told.later(MINUTE_MS);
    for command in due(&told.state, told.now) {
        assert_eq!(told.does(command), "incident_closed");
    }
    assert_eq!(stands(&told), ["closed"]);
    assert_eq!(silent(&mut told, "web-1"), "host_silent incident_opened escalated");
}

#[test]
fn hosts_that_fall_silent_together_are_told_as_one() {
    let mut told = three();
    silent(&mut told, "web-1");
    assert_eq!(silent(&mut told, "web-2"), "host_silent incident_opened refrained");
    assert_eq!(silent(told.later(MINUTE_MS), "web-3"), "host_silent incident_opened refrained");
    assert_eq!(stands(&told), ["person", "with others", "with others"]);
    // However long it takes, they are not told one by one while the first stands for them.
    told.later(HOUR_MS);
    assert!(due(&told.state, told.now).is_empty());
    // The first is heard: another stands for the rest.
    assert_eq!(heard(&mut told, "web-1"), "host_heard condition_cleared watch_began escalated refrained");
    assert_eq!(stands(&told), ["watching", "person", "with others"]);
    assert_eq!(heard(&mut told, "web-3"), "host_heard condition_cleared watch_began");
    assert_eq!(stands(&told), ["watching", "person", "watching"]);
}

#[test]
fn one_that_falls_silent_much_later_is_told_by_itself() {
    let mut told = three();
    silent(&mut told, "web-1");
    told.later(HOUR_MS);
    assert_eq!(silent(&mut told, "web-2"), "host_silent incident_opened escalated");
}

#[test]
fn closing_the_first_by_hand_hides_no_other() {
    let mut told = three();
    silent(&mut told, "web-1");
    silent(&mut told, "web-2");
    let close = Command::Close { incident: IncidentId(1), by: name("carol"), reason: "scrapped".into() };
    assert_eq!(told.does(close), "incident_closed");
    told.later(HOUR_MS);
    let due = due(&told.state, told.now);
    assert_eq!(due, [Command::NoteOverdue { incident: IncidentId(2) }]);
    assert_eq!(told.does(due[0].clone()), "escalated");
    assert_eq!(stands(&told), ["closed", "person"]);
}

#[test]
fn a_revoked_host_is_not_waited_for() {
    let mut told = three();
    silent(&mut told, "web-1");
    silent(&mut told, "web-2");
    let revoke = |name| Command::Revoke { host: host(name), by: super::name("root") };
    assert_eq!(told.does(revoke("web-1")), "host_revoked incident_closed escalated");
    assert_eq!(stands(&told), ["closed", "person"]);
    assert_eq!(silent(&mut told, "web-1"), "");
}
