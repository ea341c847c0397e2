//! What can be wrong with a playbook whose every field reads well: parameters that lead nowhere, steps that cannot be
//! built, an order of steps that could not be taken back.

use super::node::Place;
use super::parse::Places;
use super::reader::{Findings, nearest};
use super::*;
use crate::action::{ACTIONS, Action, Undo};
use crate::check::{CHECKS, Check};
use crate::protect;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// Programs that read a text as a program of its own. What such a text does nobody can type, bound or show.
const SHELLS: [&str; 10] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "csh", "tcsh", "fish", "busybox"];

/// Finds what is wrong with one parameter.
pub fn parameter(name: &Word, parameter: &Parameter, place: Place, findings: &Findings) {
    let add = |text: String| findings.add(place, format!("parameter {name} {text}"));
    let is = |value_type| parameter.value_type == value_type;
    if parameter.from.is_none() && parameter.default.is_none() {
        add("has neither from nor default: nothing gives it a value".into());
    }
    if parameter.optional && parameter.default.is_some() {
        add("is optional and has a default, which makes it always there: choose one".into());
    }
    if (parameter.min.is_some() || parameter.max.is_some()) && !is(ValueType::Integer) {
        add("has min or max, which bound whole numbers only".into());
    }
    if !parameter.within.is_empty() && !is(ValueType::Path) {
        add("has within, which bounds paths only".into());
    }
    if !parameter.not_in.is_empty() && !is(ValueType::Ip) {
        add("has not_in, which bounds addresses only".into());
    }
    if parameter.within.iter().any(|folder| folder.as_str() == "/") {
        add("lies within /, which bounds nothing: name the folders".into());
    }
    if let (Some(min), Some(max)) = (parameter.min, parameter.max)
        && min > max
    {
        add(format!("has no value at all between {min} and {max}"));
    }
    for text in parameter.one_of.iter().chain(&parameter.default) {
        match parameter.value_type.parse(text) {
            Err(e) => add(format!("cannot be {text}: {e}")),
            Ok(value) => {
                if let Some(fault) = parameter.fault(&value) {
                    add(format!("cannot be {text}: {fault}"));
                }
            }
        }
    }
}

/// Finds what is wrong with the playbook as a whole.
pub fn whole(playbook: &Playbook, start: Place, places: &Places, findings: &Findings) {
    match playbook.risk {
        Risk::Never if !playbook.steps.is_empty() => {
            let place = places.steps[0].step;
            findings.add(place, "a playbook of risk never has no steps: it tells people what to do");
        }
        Risk::Look | Risk::Auto | Risk::Approval if playbook.steps.is_empty() => {
            findings.add(start, "no steps: a playbook that only tells people what to do has risk: never");
        }
        _ => {}
    }
    if playbook.risk == Risk::Look {
        looks(playbook, start, findings);
    } else if playbook.verify.is_empty() && playbook.risk != Risk::Never {
        findings.add(start, "verify is empty: without a check nobody knows that the fix worked");
    }
    let samples = samples(playbook, &places.untyped);
    steps(playbook, &samples, places, findings);
    checks(&playbook.verify, &places.verify, playbook, &samples, findings);
    unused(playbook, places, findings);
}

/// Finds what a playbook that only looks has no use for: nothing is mended, so nothing is verified, and it ends.
fn looks(playbook: &Playbook, start: Place, findings: &Findings) {
    let parts = [
        ("verify", playbook.verify.is_empty()),
        ("soak_s", playbook.soak_ms == 0),
        ("limits", playbook.limits == Limits::default()),
        ("stronger", playbook.stronger.is_empty()),
    ];
    for (part, _) in parts.iter().filter(|(_, empty)| !empty) {
        findings.add(start, format!("a playbook of risk look mends nothing, so {part} does not belong here"));
    }
}

fn steps(playbook: &Playbook, samples: &BTreeMap<Word, Value>, places: &Places, findings: &Findings) {
    let mut names = BTreeSet::new();
    let mut irreversible = None;
    for (index, (step, here)) in playbook.steps.iter().zip(&places.steps).enumerate() {
        if !step.name.is_empty() && !names.insert(step.name.as_str()) {
            findings.add(here.step, format!("there is another step named {:?}", step.name));
        }
        if let Some(before) = irreversible
            && playbook.risk == Risk::Auto
        {
            findings.add(
                here.step,
                format!(
                    "step {before} cannot be undone, so that nothing can be taken back if this one fails: put it \
                     last, or let people approve the playbook (risk: approval)"
                ),
            );
        }
        if action(step, here.action, playbook, samples, findings) == Some(Undo::Irreversible) {
            irreversible = irreversible.or(Some(index + 1));
        }
        checks(&step.require, &here.require, playbook, samples, findings);
        checks(&step.expect, &here.expect, playbook, samples, findings);
    }
}

/// Finds what is wrong with a step's action and returns how it is undone.
fn action(
    step: &StepTemplate,
    place: Place,
    playbook: &Playbook,
    samples: &BTreeMap<Word, Value>,
    findings: &Findings,
) -> Option<Undo> {
    if !ACTIONS.contains(&step.action.as_str()) {
        findings.add(place, no_such("action", &step.action, ACTIONS));
        return None;
    }
    let action = match step.resolve(playbook, samples) {
        Ok(action) => action,
        // A parameter with a fault of its own has no sample; that fault is found already.
        Err(Unresolved::NoValue(_)) => return None,
        Err(e) => {
            unresolved(&e, &step.with, place, playbook, findings);
            return None;
        }
    };
    if step.irreversible_because.is_some() && action.undo() != Undo::Irreversible {
        findings
            .add(place, format!("{} can be undone: irreversible_because does not belong here", step.action));
    }
    if let Some(refusal) = protect::refuse(&action) {
        findings.add(place, refusal);
    }
    if playbook.risk == Risk::Look && !action.only_looks() {
        let text = format!("{} may change something: a playbook of risk look only looks", step.action);
        findings.add(place, text);
    }
    if let Action::Command { argv, undo_argv, probe_argv, .. } = &action {
        [argv, undo_argv, probe_argv].iter().for_each(|argv| shell(argv, place, findings));
        let shown = step.with.get("argv").and_then(Json::as_array).and_then(|argv| argv.first());
        if shown.and_then(Json::as_str).is_some_and(|program| program.starts_with('$')) {
            findings.add(place, "the program itself must stand in the playbook: it cannot be a parameter");
        }
    }
    Some(action.undo())
}

fn checks(
    templates: &[CheckTemplate],
    places: &[Place],
    playbook: &Playbook,
    samples: &BTreeMap<Word, Value>,
    findings: &Findings,
) {
    for (template, place) in templates.iter().zip(places) {
        if !CHECKS.contains(&template.check.as_str()) {
            findings.add(*place, no_such("check", &template.check, CHECKS));
            continue;
        }
        match template.resolve(playbook, samples) {
            Ok(Check::CommandOk { argv }) => shell(&argv, *place, findings),
            Ok(_) | Err(Unresolved::NoValue(_)) => {}
            Err(e) => unresolved(&e, &template.with, *place, playbook, findings),
        }
    }
}

/// Finds why a step or check cannot be built, unless that was found where it stands.
fn unresolved(
    error: &Unresolved,
    with: &Map<String, Json>,
    place: Place,
    playbook: &Playbook,
    findings: &Findings,
) {
    let known = || playbook.parameters.keys().map(Word::as_str);
    match error {
        _ if with.values().any(Json::is_null) => {}
        Unresolved::Unknown(name) if known().any(|known| name.starts_with(known)) => {}
        Unresolved::Unknown(name) => {
            findings.add(place, no_such("parameter", name, &known().collect::<Vec<_>>()));
        }
        other => findings.add(place, other.to_string()),
    }
}

fn no_such(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no {what} {name}: {near} is meant?"),
        None => format!("there is no {what} {name}; there are {}", known.join(", ")),
    }
}

fn shell(argv: &[String], place: Place, findings: &Findings) {
    let program = argv.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    if SHELLS.contains(&program) {
        let text = format!(
            "{program} reads a text as a program, which nobody can bound: put what it should do in a file of the \
             host's and start that"
        );
        findings.add(place, text);
    }
}

/// Finds parameters that no step and no check names. A playbook of risk never only shows them.
fn unused(playbook: &Playbook, places: &Places, findings: &Findings) {
    if playbook.risk == Risk::Never {
        return;
    }
    let mut used = BTreeSet::new();
    for step in &playbook.steps {
        step.with.values().for_each(|json| names(json, &mut used));
        let checks = step.require.iter().chain(&step.expect);
        checks.flat_map(|check| check.with.values()).for_each(|json| names(json, &mut used));
    }
    playbook.verify.iter().flat_map(|check| check.with.values()).for_each(|json| names(json, &mut used));
    for (name, place) in places.parameters.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        findings.add(*place, format!("parameter {name} is used by no step and no check"));
    }
}

fn names<'j>(json: &'j Json, used: &mut BTreeSet<&'j str>) {
    match json {
        Json::String(text) => used.extend(text.strip_prefix('$')),
        Json::Array(items) => items.iter().for_each(|item| names(item, used)),
        _ => {}
    }
}

/// Returns a value for every parameter, so that steps can be checked before there is a signal.
fn samples(playbook: &Playbook, untyped: &BTreeSet<Word>) -> BTreeMap<Word, Value> {
    let text = |parameter: &Parameter| match parameter.value_type {
        ValueType::Unit => "sample.service".to_owned(),
        ValueType::Path => parameter
            .within
            .first()
            .map_or_else(|| "/srv/sample".to_owned(), |folder| format!("{folder}/sample")),
        ValueType::Url => "http://127.0.0.1/".to_owned(),
        ValueType::Ip => "192.0.2.1".to_owned(),
        ValueType::Process => "4711@1".to_owned(),
        ValueType::Integer => parameter.min.or(parameter.max).unwrap_or(1).to_string(),
        ValueType::Boolean => "true".to_owned(),
        ValueType::Word => "0640".to_owned(),
        ValueType::Glob => "sample.*".to_owned(),
        ValueType::Words => "1 2".to_owned(),
    };
    playbook
        .parameters
        .iter()
        .filter(|(name, _)| !untyped.contains(*name))
        .filter_map(|(name, parameter)| {
            let text = parameter
                .default
                .clone()
                .or_else(|| parameter.one_of.first().cloned())
                .unwrap_or_else(|| text(parameter));
            Some((name.clone(), parameter.value_type.parse(&text).ok()?))
        })
        .collect()
}
