//! The plan: a playbook with all parameters filled in, for one host and one incident. What was shown, what was
//! approved and what runs have one digest; a plan never changes after its digest is taken.

use crate::action::{Action, Undo};
use crate::check::Check;
use crate::ids::{Digest, Epoch, HostId, IncidentId, PlaybookId};
use crate::playbook::{CheckTemplate, Playbook, Risk, Unresolved};
use crate::protect;
use crate::signal::{Signal, Subject};
use crate::value::{Value, Word};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which host, which incident and which try a plan is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    pub host: HostId,
    pub epoch: Epoch,
    pub incident: IncidentId,
    /// From 1; each proposal for an incident counts.
    pub attempt: u32,
    pub subject: Subject,
    pub fingerprint: Digest,
}

/// One step, ready to be shown and to be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub require: Vec<Check>,
    pub action: Action,
    pub expect: Vec<Check>,
    pub undo: Undo,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irreversible_because: Option<String>,
    pub timeout_ms: i64,
}

/// What the digest is taken of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Body {
    pub target: Target,
    pub playbook: PlaybookId,
    pub version: u32,
    pub playbook_digest: Digest,
    pub title: String,
    pub risk: Risk,
    pub parameters: BTreeMap<Word, Value>,
    pub steps: Vec<Step>,
    pub verify: Vec<Check>,
    pub soak_ms: i64,
}

/// A plan with its digest. Read-only: it dereferences to its [`Body`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Body", into = "Body")]
pub struct Plan {
    body: Body,
    digest: Digest,
}

impl From<Body> for Plan {
    fn from(body: Body) -> Self {
        let digest = Digest::of_json("sopwith-plan-v1", &body);
        Self { body, digest }
    }
}

impl From<Plan> for Body {
    fn from(plan: Plan) -> Body {
        plan.body
    }
}

impl std::ops::Deref for Plan {
    type Target = Body;
    fn deref(&self) -> &Body {
        &self.body
    }
}

/// Why no plan could be made; each text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct NoPlan(pub Vec<String>);

/// Fills a playbook's parameters from a signal, or says what is missing or out of bounds.
pub fn parameters(playbook: &Playbook, signal: &Signal) -> Result<BTreeMap<Word, Value>, Vec<String>> {
    let mut values = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, parameter) in &playbook.parameters {
        let found = match parameter.from.as_ref().map(Word::as_str) {
            Some("subject") => subject_value(&signal.subject),
            Some(field) => Word::new(field).ok().and_then(|field| signal.fields.get(&field).cloned()),
            None => None,
        };
        let value = found.or_else(|| parameter.default_value().and_then(Result::ok));
        match value {
            Some(value) => match parameter.fault(&value) {
                Some(fault) => faults.push(format!("parameter {name}: {fault}")),
                None => drop(values.insert(name.clone(), value)),
            },
            None if parameter.optional => {}
            None => faults.push(format!("parameter {name} has no value in the signal")),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

fn subject_value(subject: &Subject) -> Option<Value> {
    Some(match subject {
        Subject::Unit(unit) => Value::Unit(unit.clone()),
        Subject::Path(path) | Subject::Mount(path) => Value::Path(path.clone()),
        Subject::Process(name)
        | Subject::Check(name)
        | Subject::Account(name)
        | Subject::Package(name)
        | Subject::Sysctl(name) => Value::Word(name.clone()),
        Subject::Address(ip) => Value::Ip(*ip),
        Subject::Host => return None,
    })
}

impl Plan {
    /// Resolves a playbook with given parameters. The server calls it to propose, the agent to recompute.
    pub fn build(
        playbook: &Playbook,
        target: Target,
        parameters: BTreeMap<Word, Value>,
    ) -> Result<Self, NoPlan> {
        let mut faults = parameter_faults(playbook, &parameters);
        let mut steps = Vec::new();
        for template in &playbook.steps {
            match template.resolve(playbook, &parameters) {
                Err(Unresolved::NoValue(name))
                    if playbook.parameters.get(&name).is_some_and(|p| p.optional) => {}
                Err(e) => faults.push(e.to_string()),
                Ok(action) => {
                    faults.extend(protect::refuse(&action));
                    steps.push(Step {
                        name: template.name.clone(),
                        require: checks(playbook, &parameters, &template.require, &mut faults),
                        undo: action.undo(),
                        action,
                        expect: checks(playbook, &parameters, &template.expect, &mut faults),
                        irreversible_because: template.irreversible_because.clone(),
                        timeout_ms: template.timeout_ms,
                    });
                }
            }
        }
        let verify = checks(playbook, &parameters, &playbook.verify, &mut faults);
        if steps.is_empty() {
            faults.push("no step is left to do".into());
        }
        if verify.is_empty() && playbook.risk != Risk::Look {
            faults.push("no check is left to verify the fix with".into());
        }
        if !faults.is_empty() {
            return Err(NoPlan(faults));
        }
        Ok(Self::from(Body {
            target,
            playbook: playbook.id.clone(),
            version: playbook.version,
            playbook_digest: playbook.digest,
            title: playbook.title.clone(),
            risk: playbook.risk,
            parameters,
            steps,
            verify,
            soak_ms: playbook.soak_ms,
        }))
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns everything that the plan touches, its subject included: its locks.
    pub fn touches(&self) -> BTreeSet<Subject> {
        let actions = self.steps.iter().flat_map(|step| step.action.touches());
        actions.chain([self.target.subject.clone()]).collect()
    }

    /// Says whether no step of it changes anything.
    pub fn only_looks(&self) -> bool {
        self.steps.iter().all(|step| step.action.only_looks())
    }

    /// Says whether two plans may not run at the same time on one host.
    pub fn collides(&self, other: &Plan) -> bool {
        let theirs = other.touches();
        self.touches().iter().any(|a| theirs.iter().any(|b| a.covers(b) || b.covers(a)))
    }
}

fn parameter_faults(playbook: &Playbook, values: &BTreeMap<Word, Value>) -> Vec<String> {
    let unknown = values.keys().filter(|name| !playbook.parameters.contains_key(*name));
    let mut faults: Vec<String> = unknown.map(|name| format!("there is no parameter {name}")).collect();
    for (name, parameter) in &playbook.parameters {
        match values.get(name) {
            Some(value) => faults.extend(parameter.fault(value).map(|f| format!("parameter {name}: {f}"))),
            None if parameter.optional => {}
            None => faults.push(format!("parameter {name} has no value")),
        }
    }
    faults
}

fn checks(
    playbook: &Playbook,
    values: &BTreeMap<Word, Value>,
    templates: &[CheckTemplate],
    faults: &mut Vec<String>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for template in templates {
        match template.resolve(playbook, values) {
            Ok(check) => checks.push(check),
            Err(Unresolved::NoValue(name)) if playbook.parameters.get(&name).is_some_and(|p| p.optional) => {}
            Err(e) => faults.push(e.to_string()),
        }
    }
    checks
}
