use super::*;

/// A playbook without a fault, in which a test puts one.
const GOOD: &str = r#"
id: start-it
version: 1
title: Start it
purpose: It should run.
scope: One unit.
risk: auto
answers:
  - kind: unit.failed
parameters:
  unit: {type: unit, from: subject}
  url: {type: url, from: health_url, optional: true}
steps:
  - name: Start it
    do: unit.start
    with: {unit: $unit}
    timeout_s: 10
verify:
  - {check: unit.active, with: {unit: $unit}}
  - {check: http.ok, with: {url: $url}}
soak_s: 10
escalation: Call somebody.
"#;

fn findings(text: &str) -> Vec<String> {
    Playbook::parse(text).map_or_else(|f| f.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(GOOD.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old:?} stands in the good playbook");
        text.replacen(old, new, 1)
    })
}

#[test]
fn the_good_one_is_good() {
    assert_eq!(findings(GOOD), Vec::<String>::new());
}

/// One mistake a line: what is changed, and what the only finding says.
#[test]
fn each_mistake_is_found_where_it_stands() {
    let step = "    with: {unit: $unit}\n    timeout_s: 10\n";
    let then = |more: &str| format!("{step}{more}");
    let kill = "  - name: End it\n    do: process.signal\n    with: {process: $p, signal: TERM}\n    \
                irreversible_because: it hangs\n    timeout_s: 5\n";
    let p = ("  unit: {", "  p: {type: process, from: process}\n  unit: {");
    let table: Vec<(Vec<(&str, String)>, &str)> = vec![
        (vec![("version: 1", "version: 0".into())], "3:10: version is 0, must be at least 1"),
        (vec![("risk: auto", "risk: low".into())], "7:7: risk is low, must be look, auto, approval or never"),
        (vec![("escalation: Call somebody.\n", String::new())], "2:1: a playbook needs the field escalation"),
        (
            vec![("escalation: ", "escalatoin: x\nescalation: ".into())],
            "a playbook has no field escalatoin: escalation is meant?",
        ),
        (vec![("{url: $url}", "{url: $ulr}".into())], "there is no parameter ulr: url is meant?"),
        (vec![("{url: $url}", "{url: 1.5}".into())], "20:34: url is a number that is not whole"),
        (vec![("{url: $url}", "{url: }".into())], "url is nothing"),
        (vec![("soak_s: 10\n", String::new())], "soak_s: how long"),
        (vec![("soak_s: 10", "soak_s: 4000".into())], "21:9: soak_s is 4000, must be 0 to 3600"),
        (vec![("kind: unit.failed", "kind: unit".into())], "9:11: signal kind \"unit\" is not valid"),
        (vec![("kind: unit.failed", "kind: unit.failed\n    where: {x: []}".into())], "x names no text"),
        (vec![("type: unit", "type: units".into())], "11:16: there is no type units"),
        (vec![("optional: true", "optional: maybe".into())], "must be true or false"),
        (vec![(", optional: true", ", min: 1".into())], "has min or max, which bound whole numbers only"),
        (vec![("timeout_s: 10", "timeout_s: 0".into())], "17:16: timeout_s is 0, must be 1 to 3600"),
        (vec![("do: unit.start", "do: unit.begin".into())], "15:9: there is no action unit.begin; there are"),
        (vec![("do: unit.start", "do: unit.strat".into())], "unit.start is meant?"),
        (vec![("check: http.ok", "check: http".into())], "there is no check http; there are"),
        (vec![("{unit: $unit}\n    time", "{unit: $unit, now: 1}\n    time".into())], "unknown field `now`"),
        (vec![("{unit: $unit}\n    time", "{unit: $url}\n    time".into())], "is not valid: a systemd unit"),
        (vec![("{url: $url}", "{url: $health}".into())], "there is no parameter health; there are unit, url"),
        (vec![("{url: $url}", "{url: \"http://h/$url\"}".into())], "$url stands inside a longer text"),
        (
            vec![("  url: {", "  other: {type: word, default: a}\n  url: {".into())],
            "12:3: parameter other is used by",
        ),
        (
            vec![(step, then(&format!("  - name: Start it\n    do: unit.reload\n{step}")))],
            "there is another step named",
        ),
        (vec![(p.0, p.1.into()), (step, then(kill))], ""),
        (
            vec![(p.0, p.1.into()), ("  - name: Start it", format!("{kill}  - name: Start it"))],
            "step 1 cannot be undone, so that nothing can be taken back if this one fails",
        ),
        (
            vec![
                ("risk: auto", "risk: approval".into()),
                (p.0, p.1.into()),
                ("  - name: Start it", format!("{kill}  - name: Start it")),
            ],
            "",
        ),
        (
            vec![(p.0, p.1.into()), (step, then(&kill.replace("    irreversible_because: it hangs\n", "")))],
            "say why that is accepted, in irreversible_because",
        ),
        (vec![(step, format!("    irreversible_because: x\n{step}"))], "unit.start can be undone"),
        (vec![("{unit: $unit}\n    time", "{unit: dbus.service}\n    time".into())], "which no plan may"),
        (vec![("risk: auto", "risk: never".into())], "a playbook of risk never has no steps"),
    ];
    for (changes, expected) in table {
        let changes: Vec<(&str, &str)> = changes.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let found = findings(&with(&changes));
        let told: Vec<_> = found.iter().filter(|f| !f.contains("is used by no step")).collect();
        if expected.is_empty() {
            assert!(found.is_empty(), "{changes:?}: {found:?}");
        } else if expected.contains("is used by") {
            assert!(found.len() == 1 && found[0].contains(expected), "{changes:?}: {found:?}");
        } else {
            assert!(told.len() == 1 && told[0].contains(expected), "{changes:?}: {found:?}");
        }
    }
}

#[test]
fn shells_are_no_programs() {
    for argv in ["[/bin/sh, -c, id]", "[/usr/bin/bash, /x]", "[/bin/busybox, sh]"] {
        let text = with(&[("do: unit.start", "do: command"), ("{unit: $unit}\n    time", "ARGS\n    time")]);
        let text =
            text.replace("ARGS", &format!("{{argv: {argv}, undo_argv: [/bin/true], touches: [$unit]}}"));
        let found = findings(&text);
        assert!(found.len() == 1 && found[0].contains("reads a text as a program"), "{argv}: {found:?}");
    }
}

/// All findings of a document come at once, in its order; `bad.findings` is what a person sees.
#[test]
fn all_findings_at_once() {
    let found = findings(include_str!("tests/bad.yaml")).join("\n") + "\n";
    assert_eq!(found, include_str!("tests/bad.findings"), "what is found now:\n{found}");
}

#[test]
fn what_is_not_a_playbook_is_refused_with_its_place() {
    let long = format!("# {}", "x".repeat(PLAYBOOK_BYTES_MAX));
    for (text, expected) in [
        ("", "must be a map of fields"),
        ("[]", "a playbook is a list, must be a map of fields"),
        ("id: [", ""),
        ("id: a\nid: b\n", "2:1: "),
        (long.as_str(), "bytes, at most"),
    ] {
        let found = findings(text);
        assert!(found.iter().any(|f| f.contains(expected)) && !found.is_empty(), "{text:.40}: {found:?}");
    }
}

/// serde names all variants when it is given one that is none.
#[test]
fn the_lists_of_actions_and_checks_are_whole() {
    let variants =
        |error: String| -> Vec<String> { error.split('`').skip(3).step_by(2).map(str::to_owned).collect() };
    let none = serde_json::json!({"action": "?", "check": "?"});
    let actions = serde_json::from_value::<crate::action::Action>(none.clone()).expect_err("there is no ?");
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let ours = |names: &[&str]| sorted(names.iter().map(ToString::to_string).collect());
    assert_eq!(sorted(variants(actions.to_string())), ours(crate::action::ACTIONS));
    let checks = serde_json::from_value::<crate::check::Check>(none).expect_err("there is no ?");
    assert_eq!(sorted(variants(checks.to_string())), ours(crate::check::CHECKS));
}

/// What only looks is marked as such, and nothing else passes for it.
#[test]
fn a_playbook_that_looks_has_no_step_that_could_change_something() {
    let look = with(&[
        ("risk: auto", "risk: look"),
        ("do: unit.start", "do: look.unit"),
        (
            "verify:\n  - {check: unit.active, with: {unit: $unit}}\n  - {check: http.ok, with: {url: $url}}\nsoak_s: 10\n",
            "",
        ),
        ("  url: {type: url, from: health_url, optional: true}\n", ""),
    ]);
    assert_eq!(findings(&look), Vec::<String>::new());
    for action in ["unit.start", "unit.reload", "unit.reset-failed"] {
        let text = look.replace("look.unit", action);
        let found = findings(&text);
        assert!(found.iter().any(|f| f.contains("only looks")), "{action}: {found:?}");
    }
    let verified =
        look.replace("escalation:", "verify: [{check: unit.active, with: {unit: $unit}}]\nescalation:");
    assert!(findings(&verified).iter().any(|f| f.contains("mends nothing")), "{:?}", findings(&verified));
}
