//! Faults that follow from others: folded under the root, and rising by themselves when it is over and they are not.

use super::super::depend::SETTLE_MS;
use super::*;

const DOWN: Condition = Condition::Raised;
const GONE: Condition = Condition::Cleared;

impl Told {
    /// The file system that things lie on is full, or no longer. No SOP answers that here.
    fn mount(&mut self, condition: Condition) -> String {
        self.signal_on("full", "other", "mount:/srv".parse().unwrap(), condition, &[])
    }
    fn unit(&mut self, unit: &str, condition: Condition, on: &[&str]) -> String {
        self.signal_on("rule", "down", format!("unit:{unit}.service").parse().unwrap(), condition, on)
    }
    /// The service writes to the mount, and needs another.
    fn service(&mut self, condition: Condition) -> String {
        self.unit("a", condition, &["mount:/srv", "unit:b.service"])
    }
    /// That other one hangs; the policy approves its SOP.
    fn root(&mut self, condition: Condition) -> String {
        self.signal("stuck", "b", condition)
    }
    /// Two services of which the first needs the second.
    fn needing(&mut self, condition: Condition) -> String {
        self.unit("a", condition, &["unit:b.service"])
    }
    fn needed(&mut self, condition: Condition) -> String {
        self.unit("b", condition, &["mount:/srv"])
    }
    /// Says under what each incident is folded.
    fn folds(&self) -> String {
        let one = |incident: &crate::incident::Incident| match incident.folded_under() {
            Some(root) => format!("{}<{}", incident.id.0, root.0),
            None => format!("{}:{}", incident.id.0, incident.phase.name()),
        };
        self.state.incidents.values().map(one).collect::<Vec<_>>().join(" ")
    }
}

const FOLDED: &str = "item_taken incident_opened refrained";

#[rustfmt::skip]
#[test]
fn what_follows_is_folded_and_rises_by_itself() {
    let proposed = format!("{OPENED} plan_proposed");
    table(&[
        ("nothing else is wrong", |t| t.service(DOWN), &proposed),
        ("the mount is full", |t| { t.mount(DOWN); t.service(DOWN) }, FOLDED),
        ("another mount is", |t| { t.mount(DOWN); t.unit("a", DOWN, &["mount:/srv2"]) }, &proposed),
        ("said again: no news", |t| { t.mount(DOWN); t.service(DOWN); t.service(DOWN) }, "item_taken signal_folded"),
        ("the root is over for a moment only", |t| {
            t.mount(DOWN); t.service(DOWN); t.mount(GONE); t.later(SETTLE_MS - 1).service(DOWN)
        }, "item_taken signal_folded"),
        ("the root is mended, and the host has not said so", |t| {
            t.root(DOWN); t.service(DOWN); t.runs(End::Resolved); t.later(SETTLE_MS).service(DOWN)
        }, "item_taken signal_folded"),
        ("the root is mended and it is not", |t| {
            t.root(DOWN); t.service(DOWN); t.runs(End::Resolved); t.root(GONE); t.later(SETTLE_MS).service(DOWN)
        }, "item_taken signal_folded matched plan_proposed"),
        ("the root is over and it is not", |t| {
            t.mount(DOWN); t.service(DOWN); t.mount(GONE); t.later(SETTLE_MS).service(DOWN)
        }, "item_taken signal_folded matched plan_proposed"),
        ("both are over", |t| { t.mount(DOWN); t.service(DOWN); t.mount(GONE); t.service(GONE) },
            "item_taken condition_cleared watch_began"),
        ("what it needs is down", |t| { t.needed(DOWN); t.needing(DOWN) }, FOLDED),
        ("the host falls silent about it", |t| {
            t.mount(DOWN); t.service(DOWN); t.mount(GONE); t.later(HOUR_MS).due()
        }, "escalated incident_closed"),
    ]);
}

#[rustfmt::skip]
#[test]
fn a_root_that_is_seen_later_takes_over_what_is_untouched() {
    let released = "item_taken incident_opened matched plan_proposed plan_approved order_released";
    let takes = "item_taken incident_opened plan_voided refrained matched plan_proposed plan_approved order_released";
    table(&[
        ("a plan waits for people", |t| { t.service(DOWN); t.root(DOWN) }, takes),
        ("a person was called and nothing was done", |t| { t.retire("asked"); t.service(DOWN); t.mount(DOWN) },
            "item_taken incident_opened refrained escalated"),
        ("its order is out", |t| { t.service(DOWN); t.approve("alice"); t.mount(DOWN) },
            "item_taken incident_opened escalated"),
        ("a run was there", |t| { t.service(DOWN); t.approve("alice"); t.undone(); t.root(DOWN) }, released),
        ("it is over already", |t| { t.service(DOWN); t.service(GONE); t.root(DOWN) }, released),
        ("the root comes back", |t| {
            t.mount(DOWN); t.mount(GONE); t.later(SETTLE_MS).service(DOWN); t.later(1).mount(DOWN)
        }, "item_taken signal_folded incident_reopened plan_voided refrained escalated"),
    ]);
}

#[test]
fn a_chain_hangs_on_its_end_and_a_ring_on_nothing() {
    let mut told = Told::new();
    told.needing(DOWN);
    told.needed(DOWN);
    assert_eq!(told.folds(), "1<2 2:awaiting_approval");
    told.mount(DOWN);
    assert_eq!(told.folds(), "1<2 2<3 3:needs_person");
    told.needing(DOWN);
    assert_eq!(told.folds(), "1<3 2<3 3:needs_person");

    let mut told = Told::new();
    told.unit("a", DOWN, &["unit:b.service"]);
    told.unit("b", DOWN, &["unit:a.service"]);
    told.unit("a", DOWN, &["unit:b.service"]);
    assert_eq!(told.folds(), "1:awaiting_approval 2<1", "the first of a ring waits for nobody");
}
