//! Cases for playbooks: a signal, who must answer it among all playbooks, and what the plan must then be. They lie
//! beside the playbooks, so that whoever changes one sees at once what else answers the same signals.

use super::node::{Node, Tree};
use super::reader::{Fields, Findings, parse, scalar};
use super::{Finding, Playbook, Risk};
use crate::declaration::{Declaration, Declarations};
use crate::ids::{Epoch, HostId, IncidentId, PlaybookId, RuleId};
use crate::matching::{Candidate, Choice, choose_look, choose_on};
use crate::plan::{Plan, Target, parameters};
use crate::signal::{Condition, Severity, Signal, SignalKind, Subject};
use crate::time::Timestamp;
use crate::value::{Value, ValueType, Word};
use std::collections::BTreeMap;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub line: u64,
    pub signal: Signal,
    /// What the host declares of itself.
    pub host: Declarations,
    /// Who must be chosen; nothing means that nobody may be.
    pub chosen: Option<PlaybookId>,
    /// Part of the reason why there is no plan though somebody is chosen.
    pub no_plan: String,
    /// Who looks where nobody mends, where the case says it, and at what.
    pub looks: Option<PlaybookId>,
    pub looked: Vec<String>,
    /// The plan's steps as sentences, where the case says them.
    pub steps: Vec<String>,
    /// What the plan is verified with, as sentences, where the case says it.
    pub verify: Vec<String>,
}

impl Case {
    /// Reads a list of cases.
    ///
    /// # Errors
    /// Returns every finding.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Vec<Finding>> {
        let document = Node::parse(text).map_err(|finding| vec![finding])?;
        let findings = Findings::default();
        let cases: Vec<Self> = match &document.value {
            Tree::List(items) => items.iter().filter_map(|node| read(node, &findings)).collect(),
            _ => {
                findings.add(document.place, format!("cases are {}, must be a list", document.what()));
                Vec::new()
            }
        };
        let findings = findings.into_sorted();
        if findings.is_empty() { Ok(cases) } else { Err(findings) }
    }

    /// Holds the case against the playbooks and returns the plan, if there is one to be made.
    ///
    /// # Errors
    /// Says what came instead of what the case expects.
    pub fn hold<'p>(
        &self,
        playbooks: impl IntoIterator<Item = &'p Playbook>,
    ) -> Result<Option<Plan>, String> {
        let playbooks: Vec<&Playbook> = playbooks.into_iter().collect();
        self.hold_look(&playbooks)?;
        let (choice, candidates) = choose_on(playbooks.iter().copied(), &self.signal, &self.host);
        let chosen = match (&choice, &self.chosen) {
            (Choice::One(playbook), Some(expected)) if playbook.id == *expected => playbook,
            (Choice::None, None) => return Ok(None),
            (choice, expected) => return Err(other(choice, expected.as_ref(), &candidates)),
        };
        if chosen.risk == Risk::Never {
            return Ok(None);
        }
        let values = parameters(chosen, &self.signal).map_err(|faults| faults.join("; "))?;
        let plan = match Plan::build(chosen, self.target(), values).map_err(|e| e.to_string()) {
            Err(reason) if !self.no_plan.is_empty() && reason.contains(&self.no_plan) => return Ok(None),
            Ok(_) if !self.no_plan.is_empty() => return Err("there is a plan, none was expected".into()),
            made => made?,
        };
        let steps: Vec<String> = plan.steps.iter().map(|step| step.action.sentence()).collect();
        let verify: Vec<String> = plan.verify.iter().map(crate::check::Check::sentence).collect();
        for (what, is, expected) in [("steps", &steps, &self.steps), ("verify", &verify, &self.verify)] {
            if !expected.is_empty() && is != expected {
                return Err(format!("{what} are {is:#?}, expected were {expected:#?}"));
            }
        }
        Ok(Some(plan))
    }

    /// Holds who looks, where the case says it.
    fn hold_look(&self, playbooks: &[&Playbook]) -> Result<(), String> {
        let Some(expected) = &self.looks else { return Ok(()) };
        let chosen = choose_look(playbooks.iter().copied(), &self.signal, &self.host);
        let Some(chosen) = chosen.filter(|playbook| playbook.id == *expected) else {
            let is = chosen.map_or("nobody", |playbook| playbook.id.as_str());
            return Err(format!("{is} looks, {expected} was expected"));
        };
        let values = parameters(chosen, &self.signal).map_err(|faults| faults.join("; "))?;
        let plan = Plan::build(chosen, self.target(), values).map_err(|e| e.to_string())?;
        let steps: Vec<String> = plan.steps.iter().map(|step| step.action.sentence()).collect();
        match steps == self.looked || self.looked.is_empty() {
            true => Ok(()),
            false => Err(format!("looked at is {steps:#?}, expected was {:#?}", self.looked)),
        }
    }

    fn target(&self) -> Target {
        Target {
            host: self.signal.host.clone(),
            epoch: self.signal.epoch,
            incident: IncidentId(1),
            attempt: 1,
            subject: self.signal.subject.clone(),
            fingerprint: self.signal.fingerprint(),
        }
    }
}

fn other(choice: &Choice<'_>, expected: Option<&PlaybookId>, candidates: &[Candidate]) -> String {
    let expected = expected.map_or("nobody", PlaybookId::as_str);
    let is = match choice {
        Choice::One(playbook) => playbook.id.to_string(),
        Choice::None => "nobody".into(),
        Choice::Tie(ids) => {
            let ids: Vec<_> = ids.iter().map(PlaybookId::as_str).collect();
            format!("nobody, because of a tie between {}", ids.join(", "))
        }
    };
    let against = candidates.iter().filter(|c| c.playbook.as_str() == expected).flat_map(|c| &c.reasons);
    let against: Vec<_> = against.filter(|r| !r.speaks_for).map(|r| r.text.as_str()).collect();
    let why = if against.is_empty() { String::new() } else { format!(": {}", against.join("; ")) };
    format!("{is} was chosen, {expected} was expected{why}")
}

fn read(node: &Node, findings: &Findings) -> Option<Case> {
    let fields = Fields::open(node, "a case", findings)?;
    let name = fields.text("name");
    let kind: Option<SignalKind> =
        fields.text("kind").and_then(|(text, place)| parse(&text, place, findings));
    let subject: Option<Subject> =
        fields.text("subject").and_then(|(text, place)| parse(&text, place, findings));
    let mut values = BTreeMap::new();
    for entry in fields.map("fields") {
        let field: Option<Word> = parse(&entry.key, entry.place, findings);
        if let (Some(field), Some(value)) = (field, value(&entry.node, findings)) {
            values.insert(field, value);
        }
    }
    let mut host = Declarations::default();
    for entry in fields.map("host") {
        let name: Option<Word> = parse(&entry.key, entry.place, findings);
        let value = scalar(&entry.node, &entry.key, findings)
            .and_then(|text| parse::<Word>(&text, entry.node.place, findings));
        host.stated.extend(name.zip(value).map(|(name, value)| Declaration::Fact { name, value }));
    }
    let chosen = fields.text("chosen").and_then(|(text, place)| match text.as_str() {
        "nobody" => Some(None),
        _ => parse(&text, place, findings).map(Some),
    });
    let texts = |name| fields.texts(name).into_iter().map(|(text, _)| text).collect();
    let (steps, verify) = (texts("steps"), texts("verify"));
    let no_plan = fields.text_or_empty("no_plan");
    let looks =
        fields.get("looks").and_then(|node| parse(&scalar(node, "looks", findings)?, node.place, findings));
    let looked = texts("looked");
    fields.no_others();
    Some(Case {
        name: name?.0,
        line: node.place.line,
        signal: signal(kind?, subject?, values),
        host,
        chosen: chosen?,
        no_plan,
        looks,
        looked,
        steps,
        verify,
    })
}

/// Reads a value: true or false, a whole number, or a map of one type to its text, as in `{unit: nginx.service}`.
fn value(node: &Node, findings: &Findings) -> Option<Value> {
    match &node.value {
        Tree::Boolean(flag) => Some(Value::Boolean(*flag)),
        Tree::Integer(number) => Some(Value::Integer(*number)),
        Tree::Text(text) => parse::<Word>(text, node.place, findings).map(Value::Word),
        Tree::Map(entries) if entries.len() == 1 => {
            let entry = &entries[0];
            let value_type: Option<ValueType> = serde_json::from_value(entry.key.clone().into()).ok();
            let Some(value_type) = value_type else {
                findings.add(entry.place, format!("there is no type {}", entry.key));
                return None;
            };
            let text = super::reader::scalar(&entry.node, &entry.key, findings)?;
            value_type.parse(&text).map_err(|e| findings.add(entry.node.place, e.to_string())).ok()
        }
        _ => {
            findings.add(node.place, "must be a value, or a map of one type to a text: {path: /srv/x}");
            None
        }
    }
}

fn signal(kind: SignalKind, subject: Subject, fields: BTreeMap<Word, Value>) -> Signal {
    Signal {
        host: HostId::new("host-1").expect("a host name"),
        epoch: Epoch(1),
        rule: RuleId::new(kind.as_str()).expect("a kind is a rule name"),
        kind,
        subject,
        condition: Condition::Raised,
        severity: Severity::Critical,
        summary: "a case".into(),
        fields,
        evidence: Vec::new(),
        observed_at: Timestamp(0),
        cause: None,
        depends_on: Vec::new(),
    }
}
