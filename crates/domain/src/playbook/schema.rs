//! The form of a playbook as JSON Schema, for editors. Names of types, actions and checks and the arguments of each
//! come from the very types that read them, so that nothing here can drift; what is a matter of judgement (bounds,
//! parameters that lead nowhere, steps that cannot be undone) `playbook check` says, which reads the whole.

use super::{PLAYBOOK_BYTES_MAX, Risk, SOAK_S_MAX, STEPS_MAX, STRONGER_MAX, TIMEOUT_S_MAX};
use crate::action::{ACTIONS, Action};
use crate::check::{CHECKS, Check};
use crate::value::ValueType;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

/// A name that nothing has.
const NOBODY: &str = "there is nothing of this name";

/// Returns the schema.
pub fn schema() -> Json {
    let text = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
    let texts = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
    let whole = |min: u64, max: u64, about: &str| json!({ "type": "integer", "minimum": min, "maximum": max, "description": about });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sopwith playbook (SOP)",
        "description": format!("At most {PLAYBOOK_BYTES_MAX} bytes; `sopwith playbook check FILE` says the rest."),
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "version", "title", "purpose", "scope", "risk", "answers", "steps", "escalation"],
        "properties": {
            "id": { "type": "string", "pattern": "^[a-z0-9-]{1,64}$", "description": "Its name, the same in every version" },
            "version": { "type": "integer", "minimum": 1, "description": "Raised with every change" },
            "title": text("What it does, in one line"),
            "purpose": text("What it is for"),
            "scope": text("What it acts on, and on nothing else"),
            "preconditions": texts("What has to be so before it"),
            "cautions": texts("What to be careful of"),
            "risk": { "enum": one_of::<Risk>(), "description": "Who must say yes" },
            "risk_because": text("Why it has this risk"),
            "answers": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/answer" } },
            "parameters": {
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$" },
                "additionalProperties": { "$ref": "#/$defs/parameter" }
            },
            "steps": { "type": "array", "maxItems": STEPS_MAX, "items": { "$ref": "#/$defs/step" } },
            "verify": { "type": "array", "items": { "$ref": "#/$defs/check" }, "description": "What shows that it helped" },
            "soak_s": whole(0, SOAK_S_MAX, "How long the checks must go on passing, in seconds"),
            "limits": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "attempts_per_day": whole(1, 1000, "Automatic tries a day on one fault"),
                    "at_once": whole(1, 1000, "Runs of it at the same time")
                }
            },
            "stronger": {
                "type": "array", "maxItems": STRONGER_MAX, "items": { "type": "string" },
                "description": "What is proposed next where it did not help, the mildest first"
            },
            "escalation": text("Whom to call when it does not help, and what to tell")
        },
        "$defs": {
            "answer": answer(),
            "parameter": parameter(),
            "step": step(),
            "check": named::<Check>("check", CHECKS, &[])
        }
    })
}

fn answer() -> Json {
    let choice = json!({
        "type": "object",
        "additionalProperties": {
            "type": "array", "minItems": 1, "items": { "type": ["string", "integer", "boolean"] }
        }
    });
    let bounds = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    let names = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["kind"],
        "properties": {
            "kind": { "type": "string", "pattern": "^[a-z-]+\\.[a-z-]+$", "description": "Kind of the signal, as in unit.failed" },
            "where": choice, "unless": choice, "host": choice, "has": names, "lacks": names,
            "at_least": bounds, "at_most": bounds,
            "priority": { "type": "integer", "minimum": -1000, "maximum": 1000 }
        }
    })
}

fn parameter() -> Json {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["type"],
        "properties": {
            "type": { "enum": one_of::<ValueType>() },
            "from": { "type": "string", "description": "subject, or a field of the signal" },
            "default": { "type": ["string", "integer", "boolean"] },
            "optional": { "type": "boolean" },
            "min": { "type": "integer" }, "max": { "type": "integer" },
            "within": texts, "not_in": texts,
            "one_of": { "type": "array", "items": { "type": ["string", "integer", "boolean"] } },
            "about": { "type": "string" }
        }
    })
}

fn step() -> Json {
    let checks = json!({ "type": "array", "items": { "$ref": "#/$defs/check" } });
    let own = json!({
        "name": { "type": "string", "minLength": 1 },
        "require": checks,
        "expect": checks,
        "irreversible_because": { "type": "string" },
        "timeout_s": { "type": "integer", "minimum": 1, "maximum": TIMEOUT_S_MAX }
    });
    let mut step = named::<Action>("action", ACTIONS, &["name", "timeout_s"]);
    step["properties"]["do"] = step["properties"]["action"].take();
    if let Json::Object(properties) = &mut step["properties"] {
        properties.remove("action");
        if let Json::Object(own) = own {
            properties.extend(own);
        }
    }
    step["required"] = json!(["name", "do", "timeout_s"]);
    for rule in step["allOf"].as_array_mut().into_iter().flatten() {
        rule["if"]["properties"]["do"] = rule["if"]["properties"]["action"].take();
        if let Json::Object(properties) = &mut rule["if"]["properties"] {
            properties.remove("action");
        }
    }
    step
}

/// Returns the form of something that is chosen by name and takes the arguments of that name.
fn named<T: DeserializeOwned>(tag: &str, names: &[&str], also: &[&str]) -> Json {
    let rules: Vec<Json> = names
        .iter()
        .map(|name| {
            let arguments = arguments::<T>(tag, name);
            let properties: serde_json::Map<String, Json> =
                arguments.into_iter().map(|argument| (argument, json!({}))).collect();
            json!({
                "if": { "properties": { tag: { "const": name } } },
                "then": { "properties": { "with": { "properties": properties, "additionalProperties": false } } }
            })
        })
        .collect();
    let required = [&[tag], also].concat();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": { tag: { "enum": names }, "with": { "type": "object" } },
        "allOf": rules
    })
}

/// Returns the names that a type which is one of several words may be, as the type itself lists them.
fn one_of<T: DeserializeOwned>() -> Vec<String> {
    let refused = serde_json::from_value::<T>(NOBODY.into()).err();
    listed(&refused.map(|e| e.to_string()).unwrap_or_default())
}

/// Returns the arguments that an action or a check takes, as its type itself lists them.
fn arguments<T: DeserializeOwned>(tag: &str, name: &str) -> Vec<String> {
    let refused = serde_json::from_value::<T>(json!({ tag: name, NOBODY: 0 })).err();
    listed(&refused.map(|e| e.to_string()).unwrap_or_default())
}

/// Reads the names out of "unknown …, expected one of `a`, `b`".
fn listed(error: &str) -> Vec<String> {
    let Some((_, expected)) = error.split_once("expected") else { return Vec::new() };
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::Playbook;

    #[test]
    fn the_types_tell_their_own_names() {
        assert_eq!(one_of::<Risk>(), ["look", "auto", "approval", "never"]);
        assert!(one_of::<ValueType>().contains(&"unit".to_owned()));
        assert_eq!(arguments::<Action>("action", "unit.start"), ["unit"]);
        assert_eq!(arguments::<Check>("check", "file.same"), ["path", "other"]);
        for name in ACTIONS {
            assert!(!arguments::<Action>("action", name).is_empty(), "{name}");
        }
        for name in CHECKS {
            // A few ask of the host as a whole.
            let asks_nothing = serde_json::from_value::<Check>(json!({ "check": name })).is_ok();
            assert!(asks_nothing || !arguments::<Check>("check", name).is_empty(), "{name}");
        }
    }

    /// What the reader says that each part has.
    #[test]
    fn the_schema_has_the_fields_that_the_reader_reads() {
        let odd = "qqqqqqqqqqqqqqqq: 1";
        let text = format!(
            "{odd}\nid: a\nversion: 1\ntitle: t\npurpose: p\nscope: s\nrisk: auto\nescalation: e\nsoak_s: 1\n\
             answers: [{{kind: a.b, {odd}}}]\nparameters: {{p: {{type: word, from: x, {odd}}}}}\n\
             limits: {{{odd}}}\nverify: [{{check: unit.active, {odd}}}]\n\
             steps: [{{name: n, do: unit.start, timeout_s: 1, {odd}}}]\n"
        );
        let findings = Playbook::parse(&text).unwrap_err();
        let schema = schema();
        for (what, properties) in [
            ("a playbook", &schema["properties"]),
            ("an answer", &schema["$defs"]["answer"]["properties"]),
            ("a parameter", &schema["$defs"]["parameter"]["properties"]),
            ("limits", &schema["properties"]["limits"]["properties"]),
            ("a check", &schema["$defs"]["check"]["properties"]),
            ("a step", &schema["$defs"]["step"]["properties"]),
        ] {
            let said = format!("{what} has no field qqqqqqqqqqqqqqqq: it has ");
            let found = findings.iter().find_map(|finding| finding.text.strip_prefix(&said));
            let mut here: Vec<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
            here.sort_unstable();
            assert_eq!(found, Some(here.join(", ").as_str()), "{what}: {findings:#?}");
        }
    }
}
