//! Problems: opened at the ladder's end, one for each fault of a host, closed by people with the cause.

use super::*;
use crate::problem::ProblemId;

impl Told {
    /// People's own try comes to nothing.
    fn fails(&mut self, incident: u64) -> String {
        let proposal = self.state.incidents[&IncidentId(incident)].proposal.as_ref();
        let plan = proposal.map_or(Digest([9; 32]), |p| p.plan.digest());
        let (incident, by, reason) = (IncidentId(incident), name("alice"), "seen".to_owned());
        let vote = Vote::Approve;
        self.does(Command::Decide { incident, plan, by, vote, reason, signature: None });
        self.undone()
    }

    fn closes(&mut self, incident: u64) -> String {
        let (incident, by, reason) = (IncidentId(incident), name("carol"), "by hand".to_owned());
        self.does(Command::Close { incident, by, reason })
    }

    fn cause(&mut self, problem: u64, by: &str, root_cause: &str) -> String {
        let (problem, by, root_cause) = (ProblemId(problem), name(by), root_cause.to_owned());
        self.does(Command::CloseProblem { problem, by, root_cause })
    }
}

#[rustfmt::skip]
#[test]
fn problems_come_and_are_closed() {
    let again = "run_reported problem_recurred escalated";
    table(&[
        ("the last SOP failed", |t| { t.raise("down"); t.fails(1) }, "run_reported problem_opened escalated"),
        ("it came back in another incident", |t| {
            t.raise("down"); t.fails(1); t.closes(1); t.raise("down"); t.fails(2)
        }, again),
        ("another unit has its own", |t| {
            t.raise("down"); t.fails(1); t.signal("down", "b", Condition::Raised); t.fails(2)
        }, "run_reported problem_opened escalated"),
        ("after its cause was found it is another", |t| {
            t.raise("down"); t.fails(1); t.closes(1); t.cause(1, "carol", "a leak"); t.raise("down"); t.fails(2)
        }, "run_reported problem_opened escalated"),
        ("the cause is found", |t| { t.raise("down"); t.fails(1); t.cause(1, "carol", "a leak") }, "problem_closed"),
        ("twice", |t| { t.raise("down"); t.fails(1); t.cause(1, "carol", "a leak"); t.cause(1, "bob", "x") }, "unchanged"),
        ("without a word", |t| { t.raise("down"); t.fails(1); t.cause(1, "carol", " \n ") }, "invalid"),
        ("at length", |t| { t.raise("down"); t.fails(1); t.cause(1, "carol", &"x".repeat(5000)) }, "invalid"),
        ("by a stranger", |t| { t.raise("down"); t.fails(1); t.cause(1, "mallory", "x") }, "unknown-person"),
        ("of nothing", |t| t.cause(1, "carol", "x"), "unknown-problem"),
    ]);
}

#[test]
fn a_problem_outlives_its_incidents_and_names_them() {
    let mut told = Told::new();
    for incident in 1..=3 {
        told.raise("down");
        told.fails(incident);
        told.closes(incident);
    }
    let problem = &told.state.problems[&ProblemId(1)];
    assert_eq!(problem.incidents, [1, 2, 3].map(IncidentId));
    assert!(problem.why.contains("undone"), "{}", problem.why);
    assert_eq!((told.state.problems.len(), told.state.open_problems.len()), (1, 1));
    told.cause(1, "carol", "  a leak\n");
    let closed = told.state.problems[&ProblemId(1)].closed.clone().expect("closed");
    assert_eq!((closed.root_cause.as_str(), closed.by.as_str()), ("a leak", "carol"));
    assert!(told.state.open_problems.is_empty());
    let notes: Vec<&str> =
        told.state.incidents[&IncidentId(2)].notes.iter().map(|n| n.text.as_str()).collect();
    assert!(notes.contains(&"PRB-1 shows itself again"), "{notes:?}");
}
