//! A small world to look at pages with, made by the same decisions as the real one. Debug builds and tests only.

use sopwith_domain::approval::Vote;
use sopwith_domain::command::{Command, Item};
use sopwith_domain::decide::{decide, due, owed};
use sopwith_domain::declaration::{Declaration, Declarations};
use sopwith_domain::event::{EVENT_VERSION, Event, Recorded, Versioned};
use sopwith_domain::evolve::evolve;
use sopwith_domain::ids::{AccountName, Digest, Epoch, HostId, IncidentId, RuleId};
use sopwith_domain::inspection::Inspection;
use sopwith_domain::order::SignedText;
use sopwith_domain::people::Role;
use sopwith_domain::run::{End, Record, StepResult, UndoResult, What};
use sopwith_domain::signal::{Condition, Evidence, Severity, Signal, SignalKind, Subject};
use sopwith_domain::state::State;
use sopwith_domain::time::{HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use sopwith_domain::value::{Value, Word};
use sopwith_protocol::api::AuditEntry;

/// Text as somebody who controls a log line would write it.
pub const HOSTILE: &str =
    "<script>alert(1)</script><img src=x onerror=alert(2)> \u{202e}&amp; \"quoted\" 'single'";

/// A server's state with its journal, and the time.
pub struct World {
    pub state: State,
    pub journal: Vec<Recorded<Event>>,
    pub now: Timestamp,
}

impl World {
    /// Begins with an admin, alice, and two others.
    pub fn new() -> Self {
        let mut world =
            Self { state: State::default(), journal: Vec::new(), now: Timestamp(1_767_225_600_000) };
        for (name, role) in [("alice", Role::Admin), ("bob", Role::Approver), ("carol", Role::Viewer)] {
            world.does(Command::AddPerson { name: person(name), role, by: person("alice") });
        }
        world
    }

    /// Decides a command, which must not be refused, and folds its events in.
    pub fn does(&mut self, command: Command) {
        let events = decide(&self.state, &command, self.now)
            .unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
        for event in events {
            let recorded = Recorded { seq: self.state.seq + 1, at: self.now, event };
            evolve(&mut self.state, &recorded);
            self.journal.push(recorded);
        }
    }

    /// Lets time pass, with what it brings about.
    pub fn passes(&mut self, ms: i64) {
        self.now = self.now.plus(ms);
        for command in due(&self.state, self.now) {
            self.does(command);
        }
    }

    pub fn joins(&mut self, name: &str) {
        self.does(Command::Enrol { host: host(name), epoch: Epoch(7) });
    }

    pub fn installs(&mut self, text: &str) {
        let playbook = SignedText { text: text.into(), signature: "(a signature)".into() };
        self.does(Command::InstallPlaybook {
            playbook,
            signer: "ops@example.com".into(),
            by: person("alice"),
        });
    }

    /// Has a host report something.
    pub fn tells(&mut self, item: Item, name: &str) {
        let seq = self.state.hosts[&host(name)].items_through + 1;
        self.does(Command::Observe { host: host(name), epoch: Epoch(7), seq, item });
    }

    /// Has a host report a signal; returns its incident.
    pub fn raises(&mut self, signal: Signal) -> IncidentId {
        let (name, fingerprint) = (signal.host.to_string(), signal.fingerprint());
        self.tells(Item::Signal { signal: Box::new(signal) }, &name);
        self.state.open[&fingerprint]
    }

    pub fn votes(&mut self, incident: IncidentId, by: &str, vote: Vote, reason: &str) {
        let plan =
            self.state.incidents[&incident].proposal.as_ref().expect("a plan is proposed").plan.digest();
        self.does(Command::Decide {
            incident,
            plan,
            by: person(by),
            vote,
            reason: reason.into(),
            signature: None,
        });
    }

    /// Has the host take its first owed order; returns the run.
    pub fn takes(&mut self, name: &str) -> Digest {
        let order = owed(&self.state, &host(name)).remove(0);
        let run = order.plan;
        self.reports(name, run, What::Accepted { order: Box::new(order) });
        run
    }

    pub fn reports(&mut self, name: &str, run: Digest, what: What) {
        self.now = self.now.plus(40);
        let seq = self.state.hosts[&host(name)].records_through + 1;
        let record = Box::new(Record { run, at: self.now, what });
        self.does(Command::ReportRun { host: host(name), epoch: Epoch(7), seq, record });
    }

    /// Returns the journal as the audit shows it.
    pub fn audit(&self) -> Vec<AuditEntry> {
        let entry = |recorded: &Recorded<Event>| {
            let versioned = Versioned { v: EVENT_VERSION, event: recorded.event.clone() };
            let body = serde_json::to_string(&versioned).expect("events have string keys");
            AuditEntry {
                seq: recorded.seq,
                at: recorded.at.to_string(),
                at_ms: recorded.at.0,
                prev: Digest::of(b"before"),
                hash: Digest::of(body.as_bytes()),
                body,
                left_out: false,
            }
        };
        self.journal.iter().map(entry).collect()
    }

    /// Returns the inspection reports, in the order in which they came.
    pub fn inspections(&self) -> Vec<(HostId, Inspection)> {
        let reported = self.journal.iter().filter_map(|recorded| match &recorded.event {
            Event::InspectionReported { host, report } => Some((host.clone(), (**report).clone())),
            _ => None,
        });
        reported.collect()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

pub fn person(name: &str) -> AccountName {
    AccountName::new(name).expect("a sample name")
}

pub fn host(name: &str) -> HostId {
    HostId::new(name).expect("a sample name")
}

/// Returns a signal of a unit.
pub fn unit_signal(on: &str, kind: &str, unit: &str, summary: &str) -> Signal {
    let field = |name: &str, value: &str| {
        (Word::new(name).expect("a word"), Value::Word(Word::new(value).expect("a word")))
    };
    Signal {
        host: host(on),
        epoch: Epoch(7),
        rule: RuleId::new(format!("units.{}", kind.rsplit('.').next().unwrap_or("x"))).expect("a rule"),
        kind: SignalKind::new(kind).expect("a kind"),
        subject: format!("unit:{unit}").parse::<Subject>().expect("a subject"),
        condition: Condition::Raised,
        severity: Severity::Critical,
        summary: summary.into(),
        fields: [field("unit_result", "exit-code"), field("load_state", "loaded")].into(),
        evidence: vec![
            Evidence {
                title: "journalctl -u, last lines".into(),
                text: format!("Started.\nbind: address in use\n{HOSTILE}\nExited with 1."),
            },
            Evidence {
                title: "systemctl status".into(), text: "● failed (Result: exit-code)\n".repeat(12)
            },
        ],
        observed_at: Timestamp(1_767_225_600_000),
        cause: None,
        depends_on: Vec::new(),
    }
}

/// Returns a signal of a file system.
pub fn mount_signal(on: &str, mount: &str, percent: i64) -> Signal {
    let mut signal = unit_signal(on, "filesystem.full", "x.service", "the file system fills up");
    signal.subject = format!("mount:{mount}").parse().expect("a subject");
    signal.fields = [(Word::new("used_percent").expect("a word"), Value::Integer(percent))].into();
    signal.severity = Severity::Warning;
    signal
}

pub const RESTART: &str = r#"id: restart-failed-service
version: 3
title: Restart a service that failed
purpose: Brings a service back that stopped with an error and does not come back by itself.
scope: Services that keep no state in memory that others wait for.
preconditions:
  - The unit is loaded and was not stopped on purpose.
cautions:
  - Requests that are under way are lost.
risk: approval
answers:
  - kind: unit.failed
    where: {unit_result: [exit-code, signal, core-dump]}
    priority: 10
parameters:
  unit: {type: unit, from: subject, about: The unit that failed.}
steps:
  - name: Clear the failed state
    do: unit.reset-failed
    with: {unit: $unit}
    timeout_s: 10
  - name: Start the service
    require: [{check: unit.not-active, with: {unit: $unit}}]
    do: unit.start
    with: {unit: $unit}
    expect: [{check: unit.active, with: {unit: $unit}}]
    timeout_s: 60
verify:
  - {check: unit.active, with: {unit: $unit}}
soak_s: 30
limits: {attempts_per_day: 2, at_once: 3}
escalation: Call the owner of the service with the last lines of its log.
"#;

pub const RESTORE: &str = r#"id: restore-configuration
version: 1
title: Put back a known-good configuration
purpose: Undoes an edit that keeps a service from starting.
scope: Services with a known-good copy of their configuration.
cautions:
  - The edit is kept in quarantine; tell its author.
risk: approval
answers:
  - kind: unit.failed
    has: [config_path, known_good]
    priority: 20
parameters:
  unit: {type: unit, from: subject}
  config: {type: path, from: config_path, within: [/etc]}
  good: {type: path, from: known_good, within: [/var/lib/known-good]}
steps:
  - name: Put the known-good file back
    do: file.restore
    with: {path: $config, from: $good}
    expect: [{check: file.same, with: {path: $config, other: $good}}]
    timeout_s: 20
  - name: Tell the running process
    do: process.signal
    with: {process: {pid: 4711, start_ticks: 12}, signal: TERM}
    irreversible_because: The service is down anyway and its work is kept on disk.
    timeout_s: 20
  - name: Start the service
    do: unit.start
    with: {unit: $unit}
    timeout_s: 60
verify:
  - {check: unit.active, with: {unit: $unit}}
soak_s: 30
escalation: Call the author of the edit.
"#;

/// Returns a world with a bit of everything.
pub fn ordinary() -> World {
    let mut world = World::new();
    for name in ["web-1", "web-2", "web-3", "db-1"] {
        world.joins(name);
    }
    world.installs(RESTART);
    world.installs(RESTORE);
    world.passes(HOUR_MS);
    verified(&mut world);
    rolled_back(&mut world);
    let declared = Declaration::Hold {
        scope: vec![Subject::Host],
        by: "dana".into(),
        reason: "failover drill".into(),
        until: None,
    };
    world.tells(
        Item::Declarations { declarations: Declarations { stated: vec![declared], broken: vec![] } },
        "db-1",
    );
    let report = Box::new(super::sample_inspection::report(world.now));
    world.tells(Item::Inspection { report }, "web-1");
    world.raises(unit_signal("db-1", "unit.failed", "postgresql.service", "postgresql.service failed"));
    world.passes(7 * MINUTE_MS);
    world.raises(mount_signal("web-3", "/var/log", 93));
    let running = world.raises(unit_signal("web-2", "unit.failed", "cache.service", "cache.service failed"));
    world.votes(running, "bob", Vote::Approve, "");
    let run = world.takes("web-2");
    world.reports("web-2", run, What::Started { step: 0, prior: serde_json::json!({"secret": "hunter2"}) });
    world.reports(
        "web-2",
        run,
        What::Finished { step: 0, outcome: StepResult::Done { output: String::new() } },
    );
    world.reports("web-2", run, What::Started { step: 1, prior: serde_json::Value::Null });
    world.passes(2 * MINUTE_MS);
    let waiting = unit_signal("web-3", "unit.failed", "nginx.service", HOSTILE);
    world.raises(waiting.clone());
    for _ in 0..3 {
        world.passes(MINUTE_MS);
        world.raises(waiting.clone());
    }
    let mut changed = unit_signal("web-1", "unit.failed", "shop.service", "shop.service failed");
    for (name, path) in
        [("config_path", "/etc/shop/shop.conf"), ("known_good", "/var/lib/known-good/shop.conf")]
    {
        let value = sopwith_domain::value::AbsPath::new(path).expect("a path");
        changed.fields.insert(Word::new(name).expect("a word"), Value::Path(value));
    }
    world.raises(changed);
    world.passes(40 * SECOND_MS);
    world
}

fn verified(world: &mut World) {
    let signal = unit_signal("web-1", "unit.failed", "mail.service", "mail.service failed");
    let incident = world.raises(signal.clone());
    world.votes(incident, "bob", Vote::Approve, "as yesterday");
    let run = world.takes("web-1");
    for step in 0..2 {
        world.reports("web-1", run, What::Started { step, prior: serde_json::Value::Null });
        let output = if step == 1 { "Started mail.\n".into() } else { String::new() };
        world.reports("web-1", run, What::Finished { step, outcome: StepResult::Done { output } });
    }
    world.reports("web-1", run, What::Verified { passed: true, detail: "mail.service is active".into() });
    world.passes(30 * SECOND_MS);
    world.reports("web-1", run, What::Soaked { passed: true, detail: String::new() });
    world.reports("web-1", run, What::Ended { end: End::Resolved });
    let cleared = Signal { condition: Condition::Cleared, ..signal };
    world.tells(Item::Signal { signal: Box::new(cleared) }, "web-1");
    world.passes(3 * HOUR_MS);
}

fn rolled_back(world: &mut World) {
    let incident = world.raises(unit_signal("web-2", "unit.failed", "api.service", "api.service failed"));
    world.votes(incident, "bob", Vote::Approve, "");
    let run = world.takes("web-2");
    world.reports("web-2", run, What::Started { step: 0, prior: serde_json::Value::Null });
    world.reports(
        "web-2",
        run,
        What::Finished { step: 0, outcome: StepResult::Done { output: String::new() } },
    );
    world.reports("web-2", run, What::Started { step: 1, prior: serde_json::Value::Null });
    let failed = StepResult::Failed {
        reason: "api.service is not active after 60 s".into(),
        output: format!("Starting…\n{HOSTILE}\n"),
    };
    world.reports("web-2", run, What::Finished { step: 1, outcome: failed });
    world.reports("web-2", run, What::UndoStarted { step: 1 });
    let back = UndoResult::Restored { detail: "api.service is stopped again, as before".into() };
    world.reports("web-2", run, What::UndoFinished { step: 1, result: back });
    world.reports("web-2", run, What::UndoStarted { step: 0 });
    let residue = UndoResult::Residue { what: "the failed state of api.service cannot be set again".into() };
    world.reports("web-2", run, What::UndoFinished { step: 0, result: residue });
    let end = End::Parked {
        reason: "not everything could be put back".into(),
        residue: vec!["the failed state of api.service".into()],
    };
    world.reports("web-2", run, What::Ended { end });
    world.passes(40 * MINUTE_MS);
}

/// Returns a world in which somebody stopped automation, and a plan was denied.
pub fn stopped() -> World {
    let mut world = ordinary();
    let waiting =
        world.state.incidents.values().find(|i| i.phase.name() == "awaiting_approval").map(|i| i.id);
    if let Some(incident) = waiting {
        world.votes(incident, "bob", Vote::Deny, "we are in the middle of a release");
    }
    let reason = "restarts make the database failover worse, see the bridge call".to_owned();
    world.does(Command::Stop { by: person("alice"), reason });
    world.sets_policies();
    world.passes(MINUTE_MS);
    world
}

/// Returns a world with far more than fits a screen, and long names.
pub fn overfull() -> World {
    let mut world = ordinary();
    for number in 0..70 {
        let name = format!("node-{number:03}.a-rather-long-datacentre-name.internal.example.com");
        world.joins(&name);
        let unit = format!("a-service-with-a-very-long-name-that-does-not-fit@instance-{number}.service");
        world.raises(unit_signal(&name, "unit.failed", &unit, "failed"));
        world.passes(10 * SECOND_MS);
    }
    world
}
