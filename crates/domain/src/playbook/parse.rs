//! From text to [`Playbook`], with all findings at once, each with its line and column.

use super::lint;
use super::node::{Entry, Node, Place, Tree};
use super::reader::{Fields, Findings, parse, scalar};
use super::*;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// Something wrong in a document, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{line}:{column}: {text}")]
pub struct Finding {
    /// From 1; 0 where the place is not known.
    pub line: u64,
    pub column: u64,
    pub text: String,
}

/// Where the parts of a playbook stand, for what can only be judged when all of it has been read.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub parameters: BTreeMap<Word, Place>,
    /// Parameters of no type that exists; what uses them cannot be judged.
    pub untyped: BTreeSet<Word>,
    pub steps: Vec<StepPlaces>,
    pub verify: Vec<Place>,
}

/// Where a step and its checks stand.
#[derive(Debug)]
pub(super) struct StepPlaces {
    pub step: Place,
    pub action: Place,
    pub require: Vec<Place>,
    pub expect: Vec<Place>,
}

impl Playbook {
    /// Parses and checks a playbook's text; on error returns every finding, in the order of the text. Only what is
    /// not YAML at all ends the reading where it stands.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        if text.len() > PLAYBOOK_BYTES_MAX {
            let text =
                format!("the playbook has {} bytes, at most {PLAYBOOK_BYTES_MAX} are read", text.len());
            return Err(vec![Finding { line: 1, column: 1, text }]);
        }
        let document = Node::parse(text).map_err(|finding| vec![finding])?;
        let findings = Findings::default();
        let playbook = read(text, &document, &findings);
        let findings = findings.into_sorted();
        match playbook {
            Some(playbook) if findings.is_empty() => Ok(playbook),
            _ => Err(findings),
        }
    }
}

fn read(text: &str, document: &Node, findings: &Findings) -> Option<Playbook> {
    let fields = Fields::open(document, "a playbook", findings)?;
    let mut places = Places::default();
    let id = fields.text("id").and_then(|(id, place)| parse(&id, place, findings));
    let version = fields.need("version").and_then(|_| fields.bounded("version", 1, i64::from(u32::MAX)));
    let title = fields.text("title");
    let purpose = fields.text("purpose");
    let scope = fields.text("scope");
    let risk = fields.text("risk").and_then(|(word, place)| risk(&word, place, findings));
    let parameters = parameters(&fields, &mut places);
    let answers = answers(&fields);
    let steps = steps(&fields, &mut places);
    let verify = checks(fields.list("verify"), findings, &mut places.verify);
    let soak_s: Option<i64> = fields.bounded("soak_s", 0, SOAK_S_MAX as i64);
    if fields.get("soak_s").is_none() && !matches!(risk, Some(Risk::Never | Risk::Look)) {
        findings
            .add(fields.place, "a playbook needs the field soak_s: how long its checks must go on passing");
    }
    let limits = limits(&fields);
    let stronger = stronger(&fields, id.as_ref());
    let escalation = fields.text("escalation");
    let texts = |name| fields.texts(name).into_iter().map(|(text, _)| text.trim().to_owned()).collect();
    let (preconditions, cautions) = (texts("preconditions"), texts("cautions"));
    let risk_because = fields.text_or_empty("risk_because");
    fields.no_others();
    text_texts(document, &parameters, findings);
    let playbook = Playbook {
        digest: Digest::of(text.as_bytes()),
        id: id.unwrap_or_else(|| PlaybookId::new("unread").expect("letters are an id")),
        version: version.unwrap_or(1),
        title: title.unwrap_or_default().0,
        purpose: purpose.unwrap_or_default().0,
        scope: scope.unwrap_or_default().0,
        preconditions,
        cautions,
        risk: risk.unwrap_or(Risk::Approval),
        risk_because,
        answers,
        parameters,
        steps,
        verify,
        soak_ms: soak_s.unwrap_or(0) * crate::time::SECOND_MS,
        limits,
        stronger,
        escalation: escalation.unwrap_or_default().0,
    };
    lint::whole(&playbook, fields.place, &places, findings);
    Some(playbook)
}

fn risk(word: &str, place: Place, findings: &Findings) -> Option<Risk> {
    match word {
        "look" => Some(Risk::Look),
        "auto" => Some(Risk::Auto),
        "approval" => Some(Risk::Approval),
        "never" => Some(Risk::Never),
        _ => {
            findings.add(place, format!("risk is {word}, must be look, auto, approval or never"));
            None
        }
    }
}

/// Finds every text in which a parameter's name stands as part of something longer.
fn text_texts(document: &Node, parameters: &BTreeMap<Word, Parameter>, findings: &Findings) {
    let Tree::Map(entries) = &document.value else { return };
    for entry in entries.iter().filter(|e| e.key == "steps" || e.key == "verify") {
        entry.node.each_text(&mut |text, place| {
            let whole = text.strip_prefix('$').and_then(|name| Word::new(name).ok());
            if text.starts_with("$$") || whole.is_some_and(|name| parameters.contains_key(&name)) {
                return;
            }
            let named = parameters.keys().find(|name| text.contains(&format!("${name}")));
            if let Some(name) = named {
                findings.add(
                    place,
                    format!(
                        "${name} stands inside a longer text: a parameter is always a whole argument, so that its \
                         value cannot change the shape of what it is put into; have the signal give the whole \
                         value, or begin the text with $$ where a dollar sign is meant"
                    ),
                );
            }
        });
    }
}

fn answers(fields: &Fields<'_>) -> Vec<Answers> {
    let Some(node) = fields.need("answers") else { return Vec::new() };
    let list = fields.list("answers");
    if list.is_empty() && matches!(node.value, Tree::List(_)) {
        fields
            .findings
            .add(node.place, "answers is empty: name the kinds of signal that the playbook answers");
    }
    list.iter().filter_map(|node| answer(node, fields.findings)).collect()
}

fn answer(node: &Node, findings: &Findings) -> Option<Answers> {
    let fields = Fields::open(node, "an answer", findings)?;
    let kind = fields.text("kind").and_then(|(kind, place)| parse(&kind, place, findings));
    let texts = |name| -> BTreeMap<Word, Vec<String>> {
        fields.map(name).iter().filter_map(|entry| wanted(entry, findings)).collect()
    };
    let (wanted, unless, host) = (texts("where"), texts("unless"), texts("host"));
    let (has, lacks): (Vec<Word>, Vec<Word>) = (fields.parsed("has"), fields.parsed("lacks"));
    let bounds = |name| -> BTreeMap<Word, i64> {
        fields.map(name).iter().filter_map(|entry| bound(entry, findings)).collect()
    };
    let (at_least, at_most) = (bounds("at_least"), bounds("at_most"));
    let priority = fields.bounded("priority", -1000, 1000).unwrap_or(0);
    fields.no_others();
    let answers =
        Answers { kind: kind?, fields: wanted, unless, has, lacks, host, at_least, at_most, priority };
    let needed = answers.fields.keys().chain(&answers.has).chain(answers.at_least.keys());
    if let Some(field) = needed.into_iter().find(|field| answers.lacks.contains(field)) {
        findings.add(node.place, format!("{field} must be there and must not be there: this never matches"));
    }
    Some(answers)
}

fn wanted(entry: &Entry, findings: &Findings) -> Option<(Word, Vec<String>)> {
    let name = parse(&entry.key, entry.place, findings)?;
    let Tree::List(items) = &entry.node.value else {
        findings.add(entry.node.place, format!("{name} must be a list of the texts that it may be"));
        return None;
    };
    if items.is_empty() {
        findings.add(entry.node.place, format!("{name} names no text: this never matches or never helps"));
    }
    Some((name, items.iter().filter_map(|item| scalar(item, &entry.key, findings)).collect()))
}

fn bound(entry: &Entry, findings: &Findings) -> Option<(Word, i64)> {
    let name = parse(&entry.key, entry.place, findings)?;
    let Tree::Integer(number) = entry.node.value else {
        findings.add(entry.node.place, format!("the bound of {name} must be a whole number"));
        return None;
    };
    Some((name, number))
}

fn limits(fields: &Fields<'_>) -> Limits {
    let Some(node) = fields.get("limits") else { return Limits::default() };
    let Some(limits) = Fields::open(node, "limits", fields.findings) else { return Limits::default() };
    let read = Limits {
        attempts_per_day: limits.bounded("attempts_per_day", 1, 1000),
        at_once: limits.bounded("at_once", 1, 1000),
    };
    limits.no_others();
    read
}

fn stronger(fields: &Fields<'_>, own: Option<&PlaybookId>) -> Vec<PlaybookId> {
    let stronger: Vec<PlaybookId> = fields.parsed("stronger");
    let Some(node) = fields.get("stronger") else { return stronger };
    let different: BTreeSet<&PlaybookId> = stronger.iter().collect();
    if stronger.len() > STRONGER_MAX
        || different.len() < stronger.len()
        || own.is_some_and(|id| different.contains(id))
    {
        let text = format!("stronger names at most {STRONGER_MAX} other playbooks, each once");
        fields.findings.add(node.place, text);
    }
    stronger
}

fn parameters(fields: &Fields<'_>, places: &mut Places) -> BTreeMap<Word, Parameter> {
    let mut parameters = BTreeMap::new();
    for entry in fields.map("parameters") {
        let name: Option<Word> = parse(&entry.key, entry.place, fields.findings);
        let read = parameter(&entry.node, fields.findings);
        if let (Some(name), Some((parameter, typed))) = (name, read) {
            if typed {
                lint::parameter(&name, &parameter, entry.node.place, fields.findings);
            } else {
                places.untyped.insert(name.clone());
            }
            places.parameters.insert(name.clone(), entry.place);
            parameters.insert(name, parameter);
        }
    }
    parameters
}

/// Returns the parameter and whether its type is one.
fn parameter(node: &Node, findings: &Findings) -> Option<(Parameter, bool)> {
    let fields = Fields::open(node, "a parameter", findings)?;
    let value_type = fields.text("type").and_then(|(word, place)| value_type(&word, place, findings));
    let from = fields.get("from").and_then(|n| parse(&scalar(n, "from", findings)?, n.place, findings));
    let parameter = Parameter {
        value_type: value_type.unwrap_or(ValueType::Word),
        from,
        default: fields.get("default").and_then(|node| scalar(node, "default", findings)),
        optional: fields.boolean("optional"),
        min: fields.integer("min").map(|(number, _)| number),
        max: fields.integer("max").map(|(number, _)| number),
        within: fields.parsed("within"),
        not_in: fields.parsed("not_in"),
        one_of: fields.texts("one_of").into_iter().map(|(text, _)| text).collect(),
        about: fields.text_or_empty("about"),
    };
    fields.no_others();
    Some((parameter, value_type.is_some()))
}

fn value_type(word: &str, place: Place, findings: &Findings) -> Option<ValueType> {
    let found = serde_json::from_value(word.into()).ok();
    if found.is_none() {
        let types = "unit, path, url, ip, process, integer, boolean, word, words, glob";
        findings.add(place, format!("there is no type {word}; there are {types}"));
    }
    found
}

fn steps(fields: &Fields<'_>, places: &mut Places) -> Vec<StepTemplate> {
    let findings = fields.findings;
    if let Some(node) = fields.need("steps")
        && fields.list("steps").len() > STEPS_MAX
    {
        findings.add(node.place, format!("{} steps, at most {STEPS_MAX}", fields.list("steps").len()));
    }
    fields.list("steps").iter().filter_map(|node| step(node, findings, places)).collect()
}

fn step(node: &Node, findings: &Findings, places: &mut Places) -> Option<StepTemplate> {
    let fields = Fields::open(node, "a step", findings)?;
    let mut here =
        StepPlaces { step: node.place, action: node.place, require: Vec::new(), expect: Vec::new() };
    let name = fields.text("name");
    let require = checks(fields.list("require"), findings, &mut here.require);
    let action = fields.text("do");
    let with = arguments(&fields);
    let expect = checks(fields.list("expect"), findings, &mut here.expect);
    let irreversible_because = fields.text_or_empty("irreversible_because");
    fields.need("timeout_s");
    let timeout_s: Option<i64> = fields.bounded("timeout_s", 1, TIMEOUT_S_MAX as i64);
    fields.no_others();
    let (action, place) = action?;
    here.action = place;
    places.steps.push(here);
    Some(StepTemplate {
        name: name.unwrap_or_default().0,
        require,
        action,
        with,
        expect,
        irreversible_because: (!irreversible_because.is_empty()).then_some(irreversible_because),
        timeout_ms: timeout_s.unwrap_or(1) * crate::time::SECOND_MS,
    })
}

/// Returns the arguments of an action or a check, and finds those that are no value.
fn arguments(fields: &Fields<'_>) -> Map<String, Json> {
    let entries = fields.map("with").iter();
    entries
        .map(|entry| {
            if matches!(entry.node.value, Tree::Nothing | Tree::OtherNumber) {
                let text = format!("{} is {}: put a text in quotes", entry.key, entry.node.what());
                fields.findings.add(entry.node.place, text);
            }
            (entry.key.clone(), entry.node.to_json())
        })
        .collect()
}

fn checks(list: &[Node], findings: &Findings, places: &mut Vec<Place>) -> Vec<CheckTemplate> {
    list.iter()
        .filter_map(|node| {
            let fields = Fields::open(node, "a check", findings)?;
            let check = fields.text("check");
            let with = arguments(&fields);
            fields.no_others();
            let (check, place) = check?;
            places.push(place);
            Some(CheckTemplate { check, with })
        })
        .collect()
}
