//! Follows one host's incidents from the injection on and gathers the facts for the judge. Pure.

use std::collections::BTreeSet;

use super::judge::Facts;
use super::kinds::Kinds;
use super::product::{Millis, Phase, PlanSeen, RunSeen, Seen};
use super::sop_map::SopMap;

/// What is followed on one host.
#[derive(Debug, Clone)]
pub(super) struct Track<'a> {
    map: &'a SopMap,
    kinds: &'a Kinds,
    /// Ids of the SOPs that are right, the entry's own first.
    sops: Vec<&'a str>,
    /// Incidents that were there before the fault.
    before: BTreeSet<String>,
    injected_at: Millis,
    approved_at: Option<Millis>,
    pub facts: Facts,
    latest: Vec<Seen>,
}

impl<'a> Track<'a> {
    pub fn new(map: &'a SopMap, kinds: &'a Kinds, sops: Vec<&'a str>, before: &[Seen]) -> Track<'a> {
        let before = before.iter().map(|seen| seen.id.clone()).collect();
        let (facts, latest) = (Facts::default(), Vec::new());
        Track { map, kinds, sops, before, injected_at: 0, approved_at: None, facts, latest }
    }

    /// Starts the clock: the fault is wholly there.
    pub fn injected(&mut self, at: Millis) {
        self.injected_at = at;
    }

    /// Notes when a person first approved something.
    pub fn approved(&mut self, at: Millis) {
        self.approved_at.get_or_insert(at);
    }

    /// Takes in what the product shows now.
    pub fn update(&mut self, all: Vec<Seen>) {
        self.latest = all.into_iter().filter(|seen| !self.before.contains(&seen.id)).collect();
        self.facts.others = self.latest.iter().filter(|seen| !self.is_about(seen)).map(in_words).collect();
        // Whoever is called, for whatever of this host, comes and looks; and steps are counted wherever they were
        // started: harm is harm whatever it was meant for.
        self.facts.called |= self.latest.iter().any(|seen| seen.phase == Phase::NeedsPerson);
        self.count_steps();
        let Some(main) = self.main().cloned() else { return };
        let first = self.about().map(|seen| seen.opened_at).min().unwrap_or(main.opened_at);
        self.facts.detected_s = Some(self.seconds(first));
        self.facts.about = Some((main.kind.clone(), main.subject.clone()));
        self.facts.playbook_answers = main.playbook.as_ref().map(|_| self.is_answered(&main));
        self.facts.playbook.clone_from(&main.playbook);
        let waited = self.about().any(|seen| seen.phase == Phase::AwaitingApproval);
        self.facts.waited |= waited;
        let last = main.runs.last();
        self.facts.end = last.and_then(|run| run.end.clone());
        self.facts.recovered_s = last.and_then(|run| run.verified_at).map(|at| self.seconds(at));
        self.facts.words = main.why_not.clone().unwrap_or_else(|| main.status.clone());
    }

    /// Says whether an incident is about the entry's class: its playbook answers, or what it says is of the class.
    fn is_about(&self, seen: &Seen) -> bool {
        self.is_answered(seen) || self.sops.iter().any(|sop| self.kinds.about(sop, &seen.kind, &seen.subject))
    }

    /// Says whether the playbook of an incident answers the entry.
    fn is_answered(&self, seen: &Seen) -> bool {
        let answers = |id: &str| self.sops.iter().any(|sop| self.map.answers(id, sop));
        seen.playbook.as_deref().is_some_and(answers)
    }

    fn about(&self) -> impl Iterator<Item = &Seen> {
        self.latest.iter().filter(|seen| self.is_about(seen))
    }

    fn count_steps(&mut self) {
        let starts: Vec<Millis> =
            self.latest.iter().flat_map(|seen| &seen.runs).flat_map(|run| run.started.clone()).collect();
        let early =
            starts.iter().filter(|at| self.approved_at.is_none_or(|approved| **at < approved)).count();
        self.facts.steps_started = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        self.facts.steps_before_approval = u32::try_from(early).unwrap_or(u32::MAX);
    }

    /// Says whether it is known which playbook the fault was matched to, or that it was matched to none.
    pub fn matched(&self) -> bool {
        self.main().is_some_and(|main| main.playbook.is_some() || main.phase == Phase::NeedsPerson)
    }

    /// Returns the incident that stands for the fault, of those about its class: one whose playbook answers the
    /// entry, else one that chose any, else the first.
    pub fn main(&self) -> Option<&Seen> {
        let by_age =
            |candidates: Vec<&'_ Seen>| candidates.into_iter().min_by_key(|seen| seen.opened_at).cloned();
        let ids = [
            by_age(self.latest.iter().filter(|seen| self.is_answered(seen)).collect()),
            by_age(self.about().filter(|seen| seen.playbook.is_some()).collect()),
            by_age(self.about().collect()),
        ];
        let id = ids.into_iter().flatten().next()?.id;
        self.latest.iter().find(|seen| seen.id == id)
    }

    /// Returns the plan that waits for a person, if its playbook answers the entry.
    pub fn waiting(&self) -> Option<&PlanSeen> {
        let main = self.main().filter(|main| main.phase == Phase::AwaitingApproval)?;
        main.plan.as_ref().filter(|plan| self.is_answered(main) && plan.waits)
    }

    /// Says whether a plan of any incident waits under this digest.
    pub fn waits_for(&self, digest: &str) -> bool {
        self.latest
            .iter()
            .filter_map(|seen| seen.plan.as_ref())
            .any(|plan| plan.waits && plan.digest == digest)
    }

    /// Says whether the last run of the fault's incident has come to its end, and the incident with it.
    pub fn settled(&self) -> bool {
        self.main().is_some_and(|main| {
            let ended = main.runs.last().is_some_and(|run| run.end.is_some());
            ended && matches!(main.phase, Phase::Watching | Phase::Closed | Phase::NeedsPerson)
        })
    }

    /// Says whether some step has started in a run that has not ended.
    pub fn under_way(&self) -> bool {
        let begun = |run: &RunSeen| !run.started.is_empty() && run.end.is_none();
        self.latest.iter().flat_map(|seen| &seen.runs).any(begun)
    }

    /// Seconds from the injection; what was seen while it still went on counts as none.
    fn seconds(&self, at: Millis) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "differences of minutes, in milliseconds")]
        let seconds = (at - self.injected_at) as f64 / 1000.0;
        seconds.max(0.0)
    }
}

fn in_words(seen: &Seen) -> String {
    format!("{} {} {}", seen.id, seen.kind, seen.subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::product::EndSeen;

    fn seen(id: &str, opened_at: Millis, playbook: Option<&str>) -> Seen {
        let playbook = playbook.map(str::to_owned);
        Seen { id: id.into(), opened_at, kind: "x.down".into(), playbook, ..Seen::default() }
    }

    fn kinds() -> Kinds {
        Kinds::parse("SOP-X: [{kind: x.down}]").expect("valid")
    }

    #[test]
    fn what_is_about_something_else_is_listed_and_counts_as_nothing() {
        // The kind, the playbook, and whether the incident is about the entry's class.
        let cases = [
            ("x.down", None, true),
            ("x.down", Some("other"), true),
            ("y.down", Some("right"), true),
            ("y.down", None, false),
            ("y.down", Some("other"), false),
        ];
        let (map, kinds) = (map(), kinds());
        for (kind, playbook, expected) in cases {
            let mut one = seen("a", 1500, playbook);
            (one.kind, one.phase, one.subject) = (kind.into(), Phase::NeedsPerson, "host".into());
            one.runs = vec![RunSeen { started: vec![1], ..RunSeen::default() }];
            let mut track = Track::new(&map, &kinds, vec!["SOP-X"], &[]);
            track.injected(1000);
            track.update(vec![one]);
            let facts = &track.facts;
            assert_eq!(facts.detected_s, expected.then_some(0.5), "{kind} {playbook:?}");
            assert_eq!(facts.others, if expected { vec![] } else { vec![format!("a {kind} host")] });
            assert_eq!((facts.called, track.matched()), (true, expected), "{kind} {playbook:?}");
            assert_eq!(facts.playbook_answers, playbook.filter(|_| expected).map(|id| id == "right"));
            assert_eq!(facts.steps_started, 1);
        }
    }

    #[test]
    fn a_class_without_kinds_is_seen_by_its_playbook_only() {
        let (map, kinds) = (map(), Kinds::default());
        for (playbook, expected) in [(None, false), (Some("other"), false), (Some("right"), true)] {
            let mut track = Track::new(&map, &kinds, vec!["SOP-X"], &[]);
            track.update(vec![seen("a", 1, playbook)]);
            assert_eq!(track.facts.detected_s.is_some(), expected, "{playbook:?}");
        }
    }

    fn map() -> SopMap {
        SopMap::parse("SOP-X: [right]").expect("valid")
    }

    #[test]
    fn the_incident_with_the_right_playbook_stands_for_the_fault() {
        let (map, kinds) = (map(), kinds());
        let cases = [
            (vec![], None),
            (vec![seen("old", 1, Some("right"))], None),
            (vec![seen("a", 5, None), seen("b", 4, None)], Some("b")),
            (vec![seen("a", 5, None), seen("b", 6, Some("other"))], Some("b")),
            (vec![seen("b", 6, Some("other")), seen("c", 9, Some("right"))], Some("c")),
        ];
        for (all, expected) in cases {
            let mut track = Track::new(&map, &kinds, vec!["SOP-X"], &[seen("old", 1, None)]);
            track.update(all);
            assert_eq!(track.main().map(|seen| seen.id.as_str()), expected);
        }
    }

    #[test]
    fn time_counts_from_the_injection_and_steps_from_the_approval() {
        let (map, kinds) = (map(), kinds());
        let mut track = Track::new(&map, &kinds, vec!["SOP-X"], &[]);
        track.injected(10_000);
        let run = RunSeen {
            digest: "d".into(),
            started: vec![12_000, 13_000],
            verified_at: Some(13_500),
            end: Some(EndSeen::Resolved),
        };
        let mut one = seen("a", 10_250, Some("right"));
        one.runs = vec![run];
        one.phase = Phase::Watching;
        track.update(vec![one.clone()]);
        assert_eq!((track.facts.detected_s, track.facts.recovered_s), (Some(0.25), Some(3.5)));
        assert_eq!((track.facts.steps_started, track.facts.steps_before_approval), (2, 2));
        track.approved(12_500);
        track.approved(99_000);
        track.update(vec![one]);
        assert_eq!(track.facts.steps_before_approval, 1);
        assert!(track.settled() && !track.under_way());
    }

    #[test]
    fn only_a_plan_of_the_right_playbook_is_for_the_harness_to_approve() {
        let (map, kinds) = (map(), kinds());
        for (playbook, waits, phase, expected) in [
            ("right", true, Phase::AwaitingApproval, true),
            ("right", false, Phase::AwaitingApproval, false),
            ("right", true, Phase::Running, false),
            ("other", true, Phase::AwaitingApproval, false),
        ] {
            let mut one = seen("a", 1, Some(playbook));
            one.phase = phase;
            one.plan = Some(PlanSeen { digest: "d".into(), waits, ..PlanSeen::default() });
            let mut track = Track::new(&map, &kinds, vec!["SOP-X"], &[]);
            track.update(vec![one]);
            assert_eq!(track.waiting().is_some(), expected, "{playbook} {waits} {phase:?}");
        }
    }
}
