//! Steps and checks with parameters still in them. A parameter stands for a whole argument (`$unit`), never for
//! a part of one, so that no value can change the shape of what it is put into.

use super::Playbook;
use crate::action::{Action, Undo};
use crate::check::Check;
use crate::signal::Subject;
use crate::value::{Value, Word};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Why a template could not become an action or a check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// An optional parameter has no value: the step or check is left out.
    #[error("parameter {0} has no value")]
    NoValue(Word),
    #[error("there is no parameter {0:?}")]
    Unknown(String),
    #[error("{0}")]
    Wrong(String),
}

/// A check with parameters in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckTemplate {
    pub check: String,
    pub with: Map<String, Json>,
}

/// A step with parameters in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepTemplate {
    pub name: String,
    /// What must hold before the step; where it does not, the run stops and what was done is undone.
    pub require: Vec<CheckTemplate>,
    pub action: String,
    pub with: Map<String, Json>,
    pub expect: Vec<CheckTemplate>,
    /// Why an irreversible step is accepted; required for one.
    pub irreversible_because: Option<String>,
    pub timeout_ms: i64,
}

type Values = BTreeMap<Word, Value>;

fn fill(json: &Json, playbook: &Playbook, values: &Values, in_list: bool) -> Result<Json, Unresolved> {
    Ok(match json {
        Json::String(text) => match text.strip_prefix('$') {
            // `$$` is a dollar sign.
            Some(literal) if literal.starts_with('$') => Json::String(literal.into()),
            Some(name) => {
                let value = value(name, playbook, values)?;
                if in_list { list_argument(value)? } else { value.to_json() }
            }
            None => json.clone(),
        },
        Json::Array(items) => {
            Json::Array(items.iter().map(|i| fill(i, playbook, values, true)).collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

/// Returns a value as one argument of a program. A value that could be taken for an option is refused.
fn list_argument(value: &Value) -> Result<Json, Unresolved> {
    let text = value.to_string();
    let harmless = matches!(value, Value::Integer(_)) || !text.starts_with('-');
    harmless
        .then(|| Json::String(text.clone()))
        .ok_or_else(|| Unresolved::Wrong(format!("{text} as an argument would read as an option")))
}

fn build<T: serde::de::DeserializeOwned>(
    tag: &str,
    name: &str,
    with: &Map<String, Json>,
    playbook: &Playbook,
    values: &Values,
) -> Result<T, Unresolved> {
    let mut object = Map::new();
    object.insert(tag.into(), Json::String(name.into()));
    for (key, json) in with {
        let filled = match json {
            Json::Array(subjects) if key == "touches" => {
                Json::Array(subjects.iter().map(|s| subject(s, playbook, values)).collect::<Result<_, _>>()?)
            }
            _ => fill(json, playbook, values, false)?,
        };
        object.insert(key.clone(), filled);
    }
    serde_json::from_value(Json::Object(object)).map_err(|e| Unresolved::Wrong(format!("{name}: {e}")))
}

/// Returns one subject of a `touches` list; what kind of subject a parameter is follows from its type.
fn subject(json: &Json, playbook: &Playbook, values: &Values) -> Result<Json, Unresolved> {
    let Some(name) = json.as_str().and_then(|text| text.strip_prefix('$')) else { return Ok(json.clone()) };
    let subject = match value(name, playbook, values)? {
        Value::Unit(unit) => Subject::Unit(unit.clone()),
        Value::Path(path) => Subject::Path(path.clone()),
        Value::Ip(ip) => Subject::Address(*ip),
        other => return Err(Unresolved::Wrong(format!("touches: {other} is no unit, path or address"))),
    };
    Ok(Json::String(subject.to_string()))
}

fn value<'a>(name: &str, playbook: &Playbook, values: &'a Values) -> Result<&'a Value, Unresolved> {
    let word = Word::new(name).map_err(|_| Unresolved::Unknown(name.into()))?;
    if !playbook.parameters.contains_key(&word) {
        return Err(Unresolved::Unknown(name.into()));
    }
    values.get(&word).ok_or(Unresolved::NoValue(word))
}

impl CheckTemplate {
    /// Builds the check, or says what is missing or wrong.
    pub fn resolve(&self, playbook: &Playbook, values: &Values) -> Result<Check, Unresolved> {
        let check: Check = build("check", &self.check, &self.with, playbook, values)?;
        check.fault().map_or(Ok(check), |fault| Err(Unresolved::Wrong(format!("{}: {fault}", self.check))))
    }
}

impl StepTemplate {
    /// Builds the action, or says what is missing or wrong.
    pub fn resolve(&self, playbook: &Playbook, values: &Values) -> Result<Action, Unresolved> {
        let action: Action = build("action", &self.action, &self.with, playbook, values)?;
        if let Some(fault) = action.fault() {
            return Err(Unresolved::Wrong(format!("{}: {fault}", self.action)));
        }
        if action.undo() == Undo::Irreversible && self.irreversible_because.is_none() {
            return Err(Unresolved::Wrong(format!(
                "{} cannot be undone here: say why that is accepted, in irreversible_because",
                self.action
            )));
        }
        Ok(action)
    }
}
