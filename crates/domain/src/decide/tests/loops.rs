//! Decision tables of the loop guard: which runs count as come from which, where a circle is closed, how long a chain may
//! be, what is left alone after it, and for how long.

use super::*;
use crate::run::End::Resolved;

const GOES: &str = "item_taken incident_opened matched plan_proposed plan_approved order_released";
const AGAIN: &str = "item_taken signal_folded incident_reopened plan_proposed plan_approved order_released";
const STOPS: &str = "item_taken incident_opened matched targets_frozen escalated";
const STOPS_AGAIN: &str = "item_taken signal_folded incident_reopened targets_frozen escalated";

impl Told {
    /// Three SOPs that the policy approves, for three kinds of fault of a unit.
    fn opposing(&mut self, rest: &str) {
        let wide = "at_once: {overall: 9, per_host: 9, per_playbook: 9}\nbudgets: {per_service: 99}\n";
        let text =
            policy(&format!("{wide}{rest}")).text.replace("auto: [auto]", "auto: [auto, other, third]");
        let policy = SignedText { text, signature: "signed".into() };
        self.does(Command::SetPolicy { policy, signer: "owners".into(), by: name("root") });
        self.install(playbook("other", "slow", "auto", 1));
        self.install(playbook("third", "odd", "auto", 1));
    }

    /// The unit has a fault of this kind; what is done about it ends well, and the fault is gone.
    fn mends(&mut self, kind: &str) -> String {
        let said = self.kind(kind, Condition::Raised);
        if said.ends_with("order_released") {
            self.runs(Resolved);
            self.kind(kind, Condition::Cleared);
        }
        self.later(1000);
        said
    }

    fn kind(&mut self, kind: &str, condition: Condition) -> String {
        self.signal_of(kind, kind, "a", condition)
    }

    fn quiet(&mut self) {
        self.later(60_000).due();
    }
}

#[rustfmt::skip]
#[test]
fn circles() {
    table(&[
        ("a fault after another's fix", |t| { t.opposing(""); t.mends("stuck"); t.mends("slow") }, GOES),
        ("and back to the first", |t| { t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck") }, STOPS_AGAIN),
        ("the first has closed meanwhile", |t| {
            t.opposing(""); t.mends("stuck"); t.quiet(); t.mends("slow"); t.mends("stuck")
        }, STOPS),
        ("a restart forgets nothing", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.later(HOUR_MS).does(Command::Start); t.mends("stuck")
        }, STOPS_AGAIN),
        ("long after", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.later(600_000); t.quiet(); t.mends("stuck")
        }, GOES),
        ("long after the first only", |t| {
            t.opposing(""); t.mends("stuck"); t.later(600_000); t.mends("slow"); t.mends("stuck")
        }, AGAIN),
        ("the same fault again is a second try", |t| { t.opposing(""); t.mends("stuck"); t.mends("stuck") }, AGAIN),
        ("what was raised before the fix does not come from it", |t| {
            t.opposing(""); t.stop(); t.kind("slow", Condition::Raised); t.kind("stuck", Condition::Raised); t.resume();
            t.mends("stuck"); t.mends("slow"); t.mends("stuck")
        }, AGAIN),
        ("another unit", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.signal("stuck", "b", Condition::Raised)
        }, GOES),
        ("two subjects, one SOP", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.signal_of("new-rule", "stuck", "a", Condition::Raised)
        }, STOPS),
        ("three in a row", |t| { t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("odd") }, GOES),
        ("one more than the depth", |t| {
            t.opposing("loops: {depth: 2}"); t.mends("stuck"); t.mends("slow"); t.mends("odd")
        }, STOPS),
    ]);
}

#[rustfmt::skip]
#[test]
fn what_a_loop_leaves_alone() {
    table(&[
        ("the other one neither", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck"); t.quiet(); t.mends("odd")
        }, "item_taken incident_opened matched refrained"),
        ("and a restart does not change that", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck"); t.does(Command::Start); t.mends("odd")
        }, "item_taken incident_opened matched refrained"),
        ("what was begun there is not hidden", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck"); t.mends("slow")
        }, "item_taken signal_folded incident_reopened escalated"),
        ("people may", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck"); t.kind("down", Condition::Raised)
        }, "item_taken incident_opened matched plan_proposed"),
        ("another unit", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck"); t.signal("stuck", "b", Condition::Raised)
        }, GOES),
        ("until a person closes it", |t| {
            t.opposing(""); t.mends("stuck"); t.mends("slow"); t.mends("stuck"); t.mends("odd"); t.close(1); t.later(HOUR_MS);
            t.kind("odd", Condition::Raised)
        }, "item_taken signal_folded plan_proposed plan_approved order_released"),
    ]);
}

#[test]
fn the_chain_is_told() {
    let mut told = Told::new();
    told.opposing("");
    told.mends("stuck");
    told.mends("slow");
    told.mends("stuck");
    let Phase::NeedsPerson { reason, .. } = &told.state.incidents[&IncidentId(1)].phase else { panic!() };
    assert!(reason.starts_with("a loop: auto of INC-1 at "), "{reason}");
    assert!(reason.contains(", then other of INC-2 at "), "{reason}");
    assert!(reason.contains("after which INC-1 was raised, for which auto would be next"), "{reason}");
    assert_eq!(told.state.frozen[&IncidentId(1)].targets, ["unit:a.service".parse().unwrap()]);
}
