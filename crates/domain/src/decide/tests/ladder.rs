//! Decision tables of the ladder: when the next stronger SOP is proposed, who decides on it, and what follows at its end.

use super::*;

impl Told {
    /// The SOP that the policy approves names two stronger ones, of which people approve the last.
    fn ladder(&mut self, rest: &str) {
        let text = policy(rest).text.replace("auto: [auto]", "auto: [auto, more]");
        let policy = SignedText { text, signature: "signed".into() };
        self.does(Command::SetPolicy { policy, signer: "owners".into(), by: name("root") });
        let SignedText { text, signature } = playbook("auto", "stuck", "auto", 2);
        self.install(SignedText { text: format!("{text}stronger: [gone, more, most]\n"), signature });
        self.install(playbook("more", "other", "auto", 1));
        self.install(playbook("most", "other", "approval", 1));
    }

    /// The two tries of a day come to nothing.
    fn tries(&mut self) -> String {
        self.raise("stuck");
        self.undone();
        self.raise("stuck");
        self.undone()
    }

    /// The fix passes its checks and does not last on the host.
    fn does_not_last(&mut self) -> String {
        let order = owed(&self.state, &web()).remove(0);
        let run = order.plan;
        self.report(run, What::Accepted { order: Box::new(order) });
        self.report(run, What::Soaked { passed: false, detail: "down again".into() });
        self.report(run, What::Ended { end: End::RolledBack { reason: "it did not last".into() } })
    }

    fn proposed(&self) -> String {
        let incident = &self.state.incidents[&IncidentId(1)];
        let proposal = incident.proposal.as_ref().map(|p| p.plan.playbook.to_string()).unwrap_or_default();
        format!("{} {proposal}", incident.phase.name())
    }

    pub(super) fn close(&mut self, incident: u64) -> String {
        let (incident, by, reason) = (IncidentId(incident), name("carol"), "mended by hand".to_owned());
        self.does(Command::Close { incident, by, reason })
    }
}

#[rustfmt::skip]
#[test]
fn rungs() {
    type Case = (&'static str, fn(&mut Told), &'static str);
    let cases: &[Case] = &[
        ("one try", |t| { t.ladder(""); t.raise("stuck"); t.undone(); t.raise("stuck"); }, "approved auto"),
        ("two tries are used up", |t| { t.ladder(""); t.tries(); }, "detected "),
        ("the host says that it still holds", |t| { t.ladder(""); t.tries(); t.raise("stuck"); }, "awaiting_approval more"),
        ("the fix did not last", |t| { t.ladder(""); t.raise("stuck"); t.does_not_last(); t.raise("stuck"); },
            "awaiting_approval more"),
        ("it is gone", |t| { t.ladder(""); t.tries(); t.clear("stuck"); }, "watching "),
        ("the policy says that it may", |t| {
            t.ladder("stronger_by_itself: true"); t.tries(); t.raise("stuck");
        }, "approved more"),
        ("and the last one is people's all the same", |t| {
            t.ladder("stronger_by_itself: true"); t.tries(); t.raise("stuck"); t.undone(); t.raise("stuck");
        }, "awaiting_approval most"),
        ("people let the stronger one try", |t| {
            t.ladder(""); t.tries(); t.raise("stuck"); t.approve("alice"); t.undone(); t.raise("stuck");
        }, "awaiting_approval most"),
        ("and the last one", |t| {
            t.ladder(""); t.tries(); t.raise("stuck"); t.approve("alice"); t.undone(); t.raise("stuck");
            t.approve("alice"); t.undone();
        }, "needs_person most"),
        ("people's own SOP failed", |t| { t.ladder(""); t.raise("down"); t.approve("alice"); t.undone(); },
            "needs_person asked"),
        ("none is installed", |t| { t.ladder(""); t.retire("more"); t.retire("most"); t.tries(); }, "needs_person auto"),
        ("did not last, and none is installed", |t| {
            t.ladder(""); t.retire("more"); t.retire("most"); t.raise("stuck"); t.does_not_last(); t.raise("stuck");
        }, "approved auto"),
    ];
    for (case, tell, expected) in cases {
        let mut told = Told::new();
        tell(&mut told);
        assert_eq!(told.proposed(), *expected, "{case}");
    }
}

#[rustfmt::skip]
#[test]
fn the_end_of_the_ladder() {
    table(&[
        ("nothing stronger", |t| t.tries(), "run_reported targets_frozen problem_opened escalated"),
        ("parked", |t| { t.raise("stuck"); t.runs(End::Parked { reason: "?".into(), residue: vec![] }) },
            "run_reported targets_frozen problem_opened escalated"),
        ("people's own try", |t| { t.raise("down"); t.approve("alice"); t.undone() }, "run_reported problem_opened escalated"),
        ("another fault of it", |t| { t.tries(); t.raise_as("new-rule", "stuck") },
            "item_taken incident_opened matched refrained"),
        ("of which people decide", |t| { t.tries(); t.raise_as("new-rule", "down") },
            "item_taken incident_opened matched plan_proposed"),
        ("of another thing", |t| { t.tries(); t.signal("stuck", "b", Condition::Raised) },
            "item_taken incident_opened matched plan_proposed plan_approved order_released"),
        ("it is closed", |t| { t.tries(); t.raise_as("new-rule", "stuck"); t.close(1); t.raise_as("new-rule", "stuck") },
            "item_taken signal_folded plan_proposed plan_approved order_released"),
        ("an order that waits is held", |t| {
            t.policy("at_once: {overall: 9, per_host: 1, per_playbook: 9}");
            t.raise("stuck"); t.raise_as("new-rule", "stuck"); t.runs(End::Parked { reason: "?".into(), residue: vec![] });
            t.due()
        }, "release_held"),
    ]);
}

#[test]
fn a_person_is_told_what_was_tried() {
    let mut told = Told::new();
    told.tries();
    let Phase::NeedsPerson { reason, .. } = &told.state.incidents[&IncidentId(1)].phase else { panic!() };
    assert!(reason.ends_with("; tried: auto was undone: it failed; auto was undone: it failed"), "{reason}");
}
