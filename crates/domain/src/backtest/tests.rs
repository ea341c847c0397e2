//! The past told by commands, and what today makes of it.

use super::*;
use crate::command::{Command, Item};
use crate::decide::{decide, due, owed};
use crate::evolve::evolve;
use crate::ids::{AccountName, Epoch, RuleId};
use crate::order::SignedText;
use crate::people::Role;
use crate::run::{End, Record, What};
use crate::signal::{Condition, Severity, Signal};
use crate::state::State;
use crate::time::{HOUR_MS, MINUTE_MS};
use crate::value::UnitName;

const PLAYBOOK: &str = "
id: ID
version: 1
title: Restart it
purpose: It answers.
scope: Services.
risk: RISK
answers: [{kind: svc.KIND}]
parameters: {unit: {type: unit, from: subject}}
steps: [{name: restart, do: unit.restart, with: {unit: $unit}, timeout_s: 10}]
verify: [{check: unit.active, with: {unit: $unit}}]
soak_s: 5
escalation: Look at it.
";

fn playbook(id: &str, kind: &str, risk: &str) -> String {
    PLAYBOOK.replace("ID", id).replace("KIND", kind).replace("RISK", risk)
}

fn parsed(id: &str, kind: &str, risk: &str) -> Playbook {
    Playbook::parse(&playbook(id, kind, risk)).unwrap()
}

fn policy(rest: &str) -> Option<Policy> {
    Some(Policy::parse(&format!("version: 2\nauto: [fix]\nhosts: all\n{rest}")).unwrap())
}

/// A server of the past and its journal.
struct Past1 {
    state: State,
    journal: Vec<Recorded<Event>>,
    now: Timestamp,
}

impl Past1 {
    /// Two hosts, and an SOP for a crash that people approve.
    fn new() -> Self {
        let mut past = Self { state: State::default(), journal: Vec::new(), now: Timestamp(1_000_000) };
        let root = || AccountName::new("root").unwrap();
        past.does(Command::AddPerson { name: root(), role: Role::Admin, by: root() });
        let signed = SignedText { text: playbook("asked", "down", "approval"), signature: "s".into() };
        past.does(Command::InstallPlaybook { playbook: signed, signer: "o".into(), by: root() });
        for host in ["web-1", "web-2"] {
            past.does(Command::Enrol { host: HostId::new(host).unwrap(), epoch: Epoch(1) });
        }
        past
    }

    fn does(&mut self, command: Command) {
        for event in decide(&self.state, &command, self.now).unwrap() {
            let recorded = Recorded { seq: self.state.seq + 1, at: self.now, event };
            evolve(&mut self.state, &recorded);
            self.journal.push(recorded);
        }
    }

    fn later(&mut self, ms: i64) {
        self.now = self.now.plus(ms);
        for command in due(&self.state, self.now) {
            self.does(command);
        }
    }

    fn says(&mut self, host: &str, kind: &str, unit: &str, condition: Condition) {
        let host = HostId::new(host).unwrap();
        let seq = self.state.hosts[&host].items_through + 1;
        let signal = Signal {
            host: host.clone(),
            epoch: Epoch(1),
            rule: RuleId::new(format!("rule.{kind}")).unwrap(),
            kind: SignalKind::new(format!("svc.{kind}")).unwrap(),
            subject: Subject::Unit(UnitName::new(format!("{unit}.service")).unwrap()),
            condition,
            severity: Severity::Critical,
            summary: "down".into(),
            fields: BTreeMap::new(),
            evidence: vec![],
            observed_at: self.now,
            cause: None,
            depends_on: vec![],
        };
        let item = Item::Signal { signal: Box::new(signal) };
        self.does(Command::Observe { host, epoch: Epoch(1), seq, item });
    }

    fn raises(&mut self, host: &str, kind: &str, unit: &str) {
        self.says(host, kind, unit, Condition::Raised);
    }

    fn tried(&self, since: Timestamp, playbooks: Vec<Playbook>, policy: Option<Policy>) -> Report {
        let mut past = Past::default();
        self.journal.iter().for_each(|recorded| past.take(recorded));
        let mut backtest = Backtest::new(since, Documents::unsigned(playbooks, policy), past);
        self.journal.iter().for_each(|recorded| backtest.take(recorded));
        backtest.finish(self.now.plus(HOUR_MS))
    }

    fn all(&self, playbooks: Vec<Playbook>, policy: Option<Policy>) -> Report {
        self.tried(Timestamp(0), playbooks, policy)
    }
}

/// Returns each row as `what SOP brake runs`.
fn told(report: &Report) -> Vec<String> {
    let one = |row: &Row| {
        let sop = row.playbook.as_ref().map_or("-", PlaybookId::as_str);
        let brake = row.brake.as_deref().unwrap_or("-");
        format!("{} {sop} {brake} {}", row.would.name(), row.runs)
    };
    report.rows.iter().map(one).collect()
}

#[test]
fn what_was_asked_of_people_would_run_by_itself_once_they_let_it() {
    let mut past = Past1::new();
    past.raises("web-1", "down", "a");
    past.later(5 * MINUTE_MS);
    past.says("web-1", "down", "a", Condition::Cleared);
    past.later(5 * MINUTE_MS);
    let today = past.all(vec![parsed("asked", "down", "approval")], None);
    assert_eq!(told(&today), ["ask asked - 0"]);
    assert_eq!((today.rows[0].then.as_str(), today.chosen_otherwise), ("asked people", 0));
    let tomorrow = past.all(vec![parsed("fix", "down", "auto")], policy(""));
    assert_eq!(told(&tomorrow), ["run fix - 1"]);
    assert_eq!(
        (tomorrow.rows[0].after_ms, tomorrow.chosen_otherwise, tomorrow.automatic_runs),
        (Some(0), 1, 1)
    );
    assert_eq!(told(&past.all(vec![], policy(""))), ["person - - 0"], "no SOP answers it");
    let both = vec![parsed("fix", "down", "auto"), parsed("fix2", "down", "auto")];
    assert_eq!(told(&past.all(both, policy(""))), ["person - - 0"], "two that match equally well");
}

#[test]
fn each_brake_is_named() {
    let mut past = Past1::new();
    for unit in ["a", "b", "c"] {
        past.raises("web-1", "down", unit);
    }
    past.later(MINUTE_MS);
    let fix = || vec![parsed("fix", "down", "auto")];
    let report = past.all(fix(), policy(""));
    assert_eq!(
        told(&report),
        ["run fix - 1", "run fix limits 1", "run fix limits 1"],
        "one at a time on a host"
    );
    assert_eq!(report.brakes, BTreeMap::from([("limits".to_owned(), 2)]));
    let hourly = past.all(fix(), policy("per_hour: 1\n"));
    assert_eq!(told(&hourly), ["run fix - 1", "hold fix limits 0", "hold fix limits 0"]);

    let mut stopped = Past1::new();
    let by = AccountName::new("root").unwrap();
    stopped.does(Command::Stop { by, reason: "storm".into() });
    stopped.raises("web-1", "down", "a");
    assert_eq!(told(&stopped.all(fix(), policy(""))), ["hold - stopped 0"]);
}

#[test]
fn a_fault_that_comes_back_spends_its_tries() {
    let mut past = Past1::new();
    for _ in 0..3 {
        past.raises("web-1", "down", "a");
        past.later(5 * MINUTE_MS);
        past.says("web-1", "down", "a", Condition::Cleared);
        past.later(20 * MINUTE_MS);
    }
    let report = past.all(vec![parsed("fix", "down", "auto")], policy(""));
    assert_eq!(told(&report), ["run fix - 1", "run fix - 1", "hold fix tries 0"]);
}

#[test]
fn what_still_holds_in_the_past_was_mended_in_the_shadow() {
    let mut past = Past1::new();
    past.raises("web-1", "down", "a");
    for _ in 0..30 {
        past.later(MINUTE_MS);
        past.raises("web-1", "down", "a");
    }
    let report = past.all(vec![parsed("fix", "down", "auto")], policy(""));
    assert_eq!(told(&report), ["run fix - 1"], "nobody mended it then, which says nothing against the SOP");
}

#[test]
fn a_run_of_the_same_sop_ends_as_it_did() {
    let mut past = Past1::new();
    past.raises("web-1", "down", "a");
    let root = AccountName::new("root").unwrap();
    let plan = past.state.incidents[&IncidentId(1)].proposal.as_ref().unwrap().plan.digest();
    past.does(Command::Decide {
        incident: IncidentId(1),
        plan,
        by: root,
        vote: crate::approval::Vote::Approve,
        reason: String::new(),
        signature: None,
    });
    let host = HostId::new("web-1").unwrap();
    let order = owed(&past.state, &host).remove(0);
    let end = End::RolledBack { reason: "it failed".into() };
    for (seq, what) in (1..).zip([What::Accepted { order: Box::new(order) }, What::Ended { end }]) {
        past.later(MINUTE_MS);
        let record = Box::new(Record { run: plan, at: past.now, what });
        past.does(Command::ReportRun { host: host.clone(), epoch: Epoch(1), seq, record });
    }
    past.later(MINUTE_MS);
    past.raises("web-1", "down", "a");
    past.later(MINUTE_MS);
    let text = playbook("asked", "down", "auto");
    let auto = Policy::parse("version: 2\nauto: [asked]\nhosts: all\n").unwrap();
    let report = past.all(vec![Playbook::parse(&text).unwrap()], Some(auto));
    assert_eq!(told(&report), ["run asked - 2"], "undone as it was then, so it would have been tried again");
}

#[test]
fn only_the_window_is_told_and_twice_the_same() {
    let mut past = Past1::new();
    past.raises("web-1", "down", "a");
    past.later(HOUR_MS);
    let since = past.now;
    past.raises("web-2", "down", "b");
    let fix = || vec![parsed("fix", "down", "auto")];
    let report = past.tried(since, fix(), policy(""));
    assert_eq!((report.rows.len(), report.rows[0].host.as_str()), (1, "web-2"));
    assert_eq!(past.tried(since, fix(), policy("")), report);
}
