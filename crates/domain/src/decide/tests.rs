//! Decision tables: state × command → events, one line a case. A state is told as the commands that lead to it.

mod budgets;
mod depend;
mod diagnose;
mod dry_run;
mod fleet;
mod ladder;
mod library;
mod loops;
mod problem;
mod runs;
mod silence;
mod storm;
mod trust;

use super::{decide, due, owed};
use crate::approval::Vote;
use crate::command::{Command, Item};
use crate::declaration::{Declaration, Declarations, Forbidden};
use crate::event::{Event, Recorded};
use crate::evolve::evolve;
use crate::ids::{AccountName, Digest, Epoch, HostId, IncidentId, PlaybookId, RuleId};
use crate::incident::Phase;
use crate::order::SignedText;
use crate::people::Role;
use crate::run::{End, Record, What};
use crate::signal::{Condition, Severity, Signal, SignalKind, Subject};
use crate::state::State;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use crate::value::{UnitName, Word};
use crate::warrant::Refusal as HostRefusal;
use std::collections::BTreeMap;

const PLAYBOOK: &str = "
id: ID
version: VERSION
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

fn playbook(id: &str, kind: &str, risk: &str, version: u32) -> SignedText {
    let text = PLAYBOOK.replace("ID", id).replace("KIND", kind).replace("RISK", risk);
    SignedText { text: text.replace("VERSION", &version.to_string()), signature: "signed".into() }
}

fn policy(rest: &str) -> SignedText {
    let text = format!("version: 1\nauto: [auto]\nhosts: all\nquiet_s: 60\n{rest}");
    SignedText { text, signature: "signed".into() }
}

fn name(text: &str) -> AccountName {
    AccountName::new(text).unwrap()
}

fn web() -> HostId {
    HostId::new("web-1").unwrap()
}

/// A server, told step by step.
struct Told {
    state: State,
    now: Timestamp,
}

impl Told {
    /// One host, four people, a playbook that people approve and one that the policy does.
    fn new() -> Self {
        let mut told = Self { state: State::default(), now: Timestamp(1_000_000) };
        let root = || name("root");
        for (who, role) in [
            ("root", Role::Admin),
            ("alice", Role::Approver),
            ("bob", Role::Approver),
            ("carol", Role::Operator),
        ] {
            told.does(Command::AddPerson { name: name(who), role, by: root() });
        }
        told.policy("");
        told.install(playbook("asked", "down", "approval", 1));
        told.install(playbook("auto", "stuck", "auto", 1));
        told.does(Command::Enrol { host: web(), epoch: Epoch(1) });
        told
    }

    /// Decides a command, folds its events in, and names them, or the refusal.
    fn does(&mut self, command: Command) -> String {
        match decide(&self.state, &command, self.now) {
            Err(refusal) => refusal.code().to_owned(),
            Ok(events) => {
                let names: Vec<String> = events.iter().map(name_of).collect();
                for event in events {
                    let recorded = Recorded { seq: self.state.seq + 1, at: self.now, event };
                    evolve(&mut self.state, &recorded);
                }
                names.join(" ")
            }
        }
    }

    fn later(&mut self, ms: i64) -> &mut Self {
        self.now = self.now.plus(ms);
        self
    }

    fn policy(&mut self, rest: &str) -> String {
        self.does(Command::SetPolicy { policy: policy(rest), signer: "owners".into(), by: name("root") })
    }

    fn install(&mut self, playbook: SignedText) -> String {
        self.does(Command::InstallPlaybook { playbook, signer: "owners".into(), by: name("root") })
    }

    fn retire(&mut self, id: &str) -> String {
        let playbook = PlaybookId::new(id).unwrap();
        self.does(Command::RetirePlaybook { playbook, by: name("root") })
    }

    fn item(&mut self, item: Item) -> String {
        let known = &self.state.hosts[&web()];
        let (epoch, seq) = (known.epoch, known.items_through + 1);
        self.does(Command::Observe { host: web(), epoch, seq, item })
    }

    fn signal(&mut self, kind: &str, unit: &str, condition: Condition) -> String {
        self.signal_of("rule", kind, unit, condition)
    }

    fn signal_of(&mut self, rule: &str, kind: &str, unit: &str, condition: Condition) -> String {
        let subject = Subject::Unit(UnitName::new(format!("{unit}.service")).unwrap());
        self.signal_on(rule, kind, subject, condition, &[])
    }

    fn signal_on(
        &mut self,
        rule: &str,
        kind: &str,
        subject: Subject,
        condition: Condition,
        depends_on: &[&str],
    ) -> String {
        let signal = Signal {
            host: web(),
            epoch: self.state.hosts[&web()].epoch,
            rule: RuleId::new(rule).unwrap(),
            kind: SignalKind::new(format!("svc.{kind}")).unwrap(),
            subject,
            condition,
            severity: Severity::Critical,
            summary: "down".into(),
            fields: BTreeMap::new(),
            evidence: vec![],
            observed_at: self.now,
            cause: None,
            depends_on: depends_on.iter().map(|on| on.parse().unwrap()).collect(),
        };
        self.item(Item::Signal { signal: Box::new(signal) })
    }

    fn raise(&mut self, kind: &str) -> String {
        self.signal(kind, "a", Condition::Raised)
    }

    /// Raises it by another rule, so that it is another incident on the same unit.
    fn raise_as(&mut self, rule: &str, kind: &str) -> String {
        self.signal_of(rule, kind, "a", Condition::Raised)
    }

    fn begin(&mut self, epoch: u64) -> String {
        self.does(Command::BeginEpoch { host: web(), epoch: Epoch(epoch), reason: "set back".into() })
    }

    fn clear(&mut self, kind: &str) -> String {
        self.signal(kind, "a", Condition::Cleared)
    }

    fn declare(&mut self, declarations: Declarations) -> String {
        self.item(Item::Declarations { declarations })
    }

    fn plan(&self) -> Digest {
        self.state.incidents[&IncidentId(1)].proposal.as_ref().map_or(Digest([9; 32]), |p| p.plan.digest())
    }

    fn say(&mut self, by: &str, vote: Vote, plan: Digest) -> String {
        let (incident, by, reason) = (IncidentId(1), name(by), "seen".to_owned());
        self.does(Command::Decide { incident, plan, by, vote, reason, signature: None })
    }

    fn approve(&mut self, by: &str) -> String {
        self.say(by, Vote::Approve, self.plan())
    }

    fn report(&mut self, run: Digest, what: What) -> String {
        let known = &self.state.hosts[&web()];
        let (epoch, seq) = (known.epoch, known.records_through + 1);
        let record = Box::new(Record { run, at: self.now, what });
        self.does(Command::ReportRun { host: web(), epoch, seq, record })
    }

    /// The host takes the order it is owed and ends its run so.
    fn runs(&mut self, end: End) -> String {
        let order = owed(&self.state, &web()).remove(0);
        let run = order.plan;
        self.report(run, What::Accepted { order: Box::new(order) });
        self.report(run, What::Ended { end })
    }

    fn undone(&mut self) -> String {
        self.runs(End::RolledBack { reason: "it failed".into() })
    }

    fn refuses(&mut self, refusal: HostRefusal) -> String {
        self.report(self.plan(), What::Refused { refusal })
    }

    /// Does all that is due, and says what came of it.
    fn due(&mut self) -> String {
        let commands = due(&self.state, self.now);
        commands.into_iter().map(|command| self.does(command)).collect::<Vec<_>>().join(" ")
    }

    fn stop(&mut self) -> String {
        self.does(Command::Stop { by: name("carol"), reason: "enough".into() })
    }

    fn resume(&mut self) -> String {
        self.does(Command::Resume { by: name("root"), reason: "go on".into() })
    }

    fn phase(&self) -> &'static str {
        self.state.incidents[&IncidentId(1)].phase.name()
    }
}

/// Returns an event's name as the journal has it.
fn name_of(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned()
}

fn hold() -> Declarations {
    let hold = Declaration::Hold {
        scope: vec![Subject::Host],
        by: "root".into(),
        reason: "work".into(),
        until: None,
    };
    Declarations { stated: vec![hold], broken: vec![] }
}

fn maintenance(from: Timestamp, to: Timestamp) -> Declarations {
    let (id, by, reason) = (Word::new("m1").unwrap(), "root".to_owned(), "work".to_owned());
    let scope = vec![Subject::Host];
    Declarations {
        stated: vec![Declaration::Maintenance { id, scope, from, to, by, reason }],
        broken: vec![],
    }
}

fn broken() -> Declarations {
    Declarations { stated: vec![], broken: vec!["x.yaml: no YAML".into()] }
}

const OPENED: &str = "item_taken incident_opened matched";

/// A line of a table: its name, what is told, and what the last word must bring about.
type Case<'a> = (&'a str, fn(&mut Told) -> String, &'a str);

/// Runs a table: what leads to the state, then one more word and what it must bring about.
fn table(cases: &[Case<'_>]) {
    for (case, tell, expected) in cases {
        assert_eq!(tell(&mut Told::new()).as_str(), *expected, "{case}");
    }
}

#[rustfmt::skip]
#[test]
fn signals() {
    let proposed = format!("{OPENED} plan_proposed");
    let released = format!("{OPENED} plan_proposed plan_approved order_released");
    let nobody = format!("{OPENED} escalated");
    table(&[
        ("people are asked", |t| t.raise("down"), &proposed),
        ("the policy approves", |t| t.raise("stuck"), &released),
        ("no SOP answers", |t| t.raise("other"), "item_taken incident_opened escalated"),
        ("a repeat folds", |t| { t.raise("down"); t.raise("down") }, "item_taken signal_folded"),
        ("cleared and unknown", |t| t.clear("down"), "item_taken"),
        ("gone by itself", |t| { t.raise("down"); t.clear("down") },
            "item_taken condition_cleared plan_voided watch_began"),
        ("back while it is watched", |t| { t.raise("down"); t.clear("down"); t.later(1000).raise("down") },
            "item_taken signal_folded incident_reopened plan_proposed"),
        ("a tie is nobody's", |t| { t.install(playbook("other", "down", "auto", 1)); t.raise("down") }, &nobody),
        ("told again under its number", |t| {
            t.raise("down");
            let item = Item::Gap { from_seq: 1, reason: "x".into() };
            t.does(Command::Observe { host: web(), epoch: Epoch(1), seq: 1, item })
        }, ""),
        ("a hole", |t| {
            let item = Item::Declarations { declarations: hold() };
            t.does(Command::Observe { host: web(), epoch: Epoch(1), seq: 2, item })
        }, "hole"),
        ("an earlier life", |t| {
            let item = Item::Declarations { declarations: hold() };
            t.does(Command::Observe { host: web(), epoch: Epoch(9), seq: 1, item })
        }, "other-epoch"),
    ]);
}

#[test]
fn an_inspection_report_is_recorded_within_its_bounds() {
    use crate::inspection::{Day, Inspection};
    let report = |left_out| Inspection {
        day: Day::new("2026-01-31").expect("a day"),
        made_at: Timestamp(0),
        complete: true,
        checks: Vec::new(),
        left_out,
    };
    let one = crate::inspection::Inspected {
        check: Word::new("a").expect("a word"),
        kind: Word::new("http").expect("a word"),
        schedule: "every 1m".into(),
        runs: 1,
        warnings: 0,
        criticals: 0,
        unknowns: 0,
        missed: 0,
        verdict: None,
        since: None,
        last_at: None,
        line: "x".repeat(crate::inspection::LINE_BYTES_MAX + 1),
    };
    let mut told = Told::new();
    told.item(Item::Inspection { report: Box::new(report(0)) });
    let too_long = Inspection { checks: vec![one], ..report(0) };
    told.item(Item::Inspection { report: Box::new(too_long) });
    let host = &told.state.hosts[&web()];
    assert_eq!((host.items_through, host.items_lost), (2, 1), "the second was refused, and counted");
}

#[test]
fn a_gap_counts_its_first_and_its_last_item() {
    let mut told = Told::new();
    let item = Item::Gap { from_seq: 1, reason: "full".into() };
    told.does(Command::Observe { host: web(), epoch: Epoch(1), seq: 3, item });
    assert_eq!((told.state.hosts[&web()].items_lost, told.state.hosts[&web()].items_through), (3, 3));
    told.signal("down", "a", Condition::Raised);
    assert_eq!(told.state.hosts[&web()].items_lost, 3);
}

#[rustfmt::skip]
#[test]
fn refraining() {
    let left_alone = "item_taken incident_opened refrained";
    table(&[
        ("held", |t| { t.declare(hold()); t.raise("stuck") }, left_alone),
        ("under maintenance", |t| { t.declare(maintenance(t.now, t.now.plus(1000))); t.raise("stuck") }, left_alone),
        ("maintenance is over", |t| { t.declare(maintenance(Timestamp(0), t.now)); t.raise("down") },
            "item_taken incident_opened matched plan_proposed"),
        ("declarations cannot be read", |t| { t.declare(broken()); t.raise("stuck") }, left_alone),
        ("stopped", |t| { t.stop(); t.raise("stuck") }, left_alone),
        ("the same reason again is no news", |t| { t.stop(); t.raise("stuck"); t.raise("stuck") },
            "item_taken signal_folded"),
        ("resumed", |t| { t.stop(); t.raise("stuck"); t.resume(); t.raise("stuck") },
            "item_taken signal_folded matched plan_proposed plan_approved order_released"),
        ("held between approval and release", |t| {
            t.policy("at_once: {overall: 1, per_host: 1, per_playbook: 1}");
            t.signal("stuck", "b", Condition::Raised);
            t.raise("stuck");
            t.declare(hold());
            t.due()
        }, "plan_voided refrained"),
    ]);
}

#[rustfmt::skip]
#[test]
fn decisions() {
    let released = "decision_taken plan_approved order_released";
    table(&[
        ("approved", |t| { t.raise("down"); t.approve("alice") }, released),
        ("denied", |t| { t.raise("down"); t.say("alice", Vote::Deny, t.plan()) }, "decision_taken plan_voided escalated"),
        ("an operator may not", |t| { t.raise("down"); t.approve("carol") }, "role-too-low"),
        ("a stranger may not", |t| { t.raise("down"); t.approve("mallory") }, "unknown-person"),
        ("another plan", |t| { t.raise("down"); t.say("alice", Vote::Approve, Digest([1; 32])) }, "plan-changed"),
        ("too late", |t| { t.raise("down"); t.later(2 * HOUR_MS).approve("alice") }, "invalid"),
        ("nothing waits", |t| { t.raise("down"); t.approve("alice"); t.approve("bob") }, "nothing-to-decide"),
        ("the first of two", |t| { t.policy("approvers: 2"); t.raise("down"); t.approve("alice") }, "decision_taken"),
        ("nobody counts twice", |t| {
            t.policy("approvers: 2");
            t.raise("down");
            t.approve("alice");
            t.approve("alice")
        }, "already-decided"),
        ("the second of two", |t| {
            t.policy("approvers: 2");
            t.raise("down");
            t.approve("alice");
            t.approve("bob")
        }, released),
        ("one denial outweighs", |t| {
            t.policy("approvers: 2");
            t.raise("down");
            t.approve("alice");
            t.say("bob", Vote::Deny, t.plan())
        }, "decision_taken plan_voided escalated"),
        ("nobody decided", |t| { t.raise("down"); t.later(2 * HOUR_MS).due() }, "plan_voided escalated"),
        ("approved while stopped waits, and says so", |t| { t.raise("down"); t.stop(); t.approve("alice") },
            "decision_taken plan_approved release_held"),
        ("the same reason again is no news", |t| { t.raise("down"); t.stop(); t.approve("alice"); t.due() }, ""),
        ("released once resumed", |t| { t.raise("down"); t.stop(); t.approve("alice"); t.resume(); t.due() },
            "order_released"),
        ("its approval ended first", |t| { t.raise("down"); t.stop(); t.approve("alice"); t.later(HOUR_MS).due() },
            "plan_voided escalated"),
    ]);
}
