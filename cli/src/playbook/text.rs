//! A playbook as a procedure that people read: on a terminal, and as Markdown to print or publish.

use crate::incident::section;
use crate::ui::{Tone, Ui};
use crate::words;
use serde_json::{Map, Value as Json};
use sopwith_domain::playbook::{Answers, CheckTemplate, Parameter, Playbook, Risk, StepTemplate};
use sopwith_domain::value::AbsPath;

/// Returns the risk in words.
pub fn risk(playbook: &Playbook) -> &'static str {
    match playbook.risk {
        Risk::Auto => "auto: a standing policy may approve it",
        Risk::Approval => "approval: people approve each plan",
        Risk::Never => "never: it tells people what to do, the machine does nothing",
    }
}

/// Returns the playbook for a terminal.
pub fn terminal(playbook: &Playbook, signer: Option<&str>, ui: &Ui) -> String {
    let mut out = String::new();
    for line in ui.wrap(&playbook.title, 0) {
        out.push_str(&format!("{}\n", ui.paint(Tone::Strong, &line)));
    }
    out.push('\n');
    let mut row = |label: &str, text: &str| ui.labelled(&mut out, 2, label, text);
    row("SOP", &format!("{} version {}", playbook.id, playbook.version));
    row("risk", risk(playbook));
    if !playbook.risk_because.is_empty() {
        row("because", &playbook.risk_because);
    }
    row("purpose", &playbook.purpose);
    row("scope", &playbook.scope);
    signer.into_iter().for_each(|signer| row("signed by", signer));
    playbook.preconditions.iter().for_each(|text| row("before", text));
    playbook.cautions.iter().for_each(|text| row("caution", text));
    section(&mut out, "Answers", ui);
    ui.pairs(&mut out, 2, playbook.answers.iter().map(|a| (a.kind.as_str(), answers(a))));
    section(&mut out, "Parameters", ui);
    ui.pairs(&mut out, 2, playbook.parameters.iter().map(|(name, p)| (name.as_str(), parameter(p))));
    section(&mut out, "Steps", ui);
    for (n, step) in playbook.steps.iter().enumerate() {
        ui.hanging(&mut out, 2, 3, &(n + 1).to_string(), &step.name);
        let mut row = |label: &str, text: &str| ui.labelled(&mut out, 5, label, text);
        row("do", &call(&step.action, &step.with));
        step.require.iter().for_each(|check| row("only if", &check_text(check)));
        step.expect.iter().for_each(|check| row("then", &check_text(check)));
        row("undo", &undo(step));
        row("at most", &words::duration(step.timeout_ms));
    }
    section(&mut out, "It counts as fixed when", ui);
    playbook.verify.iter().for_each(|check| ui.hanging(&mut out, 2, 2, "✓", &check_text(check)));
    out.push_str(&format!("  and again after {}\n", words::duration(playbook.soak_ms)));
    section(&mut out, "If that does not help", ui);
    ui.wrap(&playbook.escalation, 2).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    out.push_str(&format!("\n  digest {}\n", playbook.digest));
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Returns the playbook as Markdown.
pub fn markdown(playbook: &Playbook) -> String {
    let mut out = format!("# {}\n\n", line(&playbook.title));
    out.push_str(&format!("| | |\n|---|---|\n| SOP | `{}` version {} |\n", playbook.id, playbook.version));
    out.push_str(&format!("| Risk | {} |\n| Digest | `{}` |\n\n", risk(playbook), playbook.digest));
    out.push_str(&format!(
        "**Purpose.** {}\n\n**Scope.** {}\n",
        line(&playbook.purpose),
        line(&playbook.scope)
    ));
    if !playbook.risk_because.is_empty() {
        out.push_str(&format!("\n**Why this risk.** {}\n", line(&playbook.risk_because)));
    }
    bullets(&mut out, "Before it", playbook.preconditions.iter().map(|t| line(t)));
    bullets(&mut out, "Cautions", playbook.cautions.iter().map(|t| line(t)));
    bullets(&mut out, "Answers", playbook.answers.iter().map(|a| format!("`{}` {}", a.kind, answers(a))));
    bullets(
        &mut out,
        "Parameters",
        playbook.parameters.iter().map(|(n, p)| format!("`{n}`: {}", parameter(p))),
    );
    out.push_str("\n## Steps\n");
    for (n, step) in playbook.steps.iter().enumerate() {
        out.push_str(&format!("\n{}. **{}**\n", n + 1, line(&step.name)));
        out.push_str(&format!("   - do: `{}`\n", call(&step.action, &step.with)));
        step.require.iter().for_each(|c| out.push_str(&format!("   - only if: `{}`\n", check_text(c))));
        step.expect.iter().for_each(|c| out.push_str(&format!("   - then: `{}`\n", check_text(c))));
        out.push_str(&format!(
            "   - undo: {}\n   - at most {}\n",
            undo(step),
            words::duration(step.timeout_ms)
        ));
    }
    bullets(
        &mut out,
        "It counts as fixed when",
        playbook.verify.iter().map(|c| format!("`{}`", check_text(c))),
    );
    out.push_str(&format!("\nand again after {}.\n", words::duration(playbook.soak_ms)));
    out.push_str(&format!("\n## If that does not help\n\n{}\n", line(&playbook.escalation)));
    out
}

fn bullets(out: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.map(|item| format!("- {item}\n")).collect();
    if !items.is_empty() {
        out.push_str(&format!("\n## {title}\n\n{}", items.concat()));
    }
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn answers(answers: &Answers) -> String {
    let mut parts: Vec<String> =
        answers.fields.iter().map(|(field, wanted)| format!("{field} is {}", wanted.join(" or "))).collect();
    parts.extend(answers.at_most.iter().map(|(field, most)| format!("{field} is at most {most}")));
    parts.extend(answers.has.iter().map(|field| format!("it carries {field}")));
    parts.extend(answers.lacks.iter().map(|field| format!("it carries no {field}")));
    let when = if parts.is_empty() { "always".into() } else { format!("when {}", parts.join(", ")) };
    if answers.priority == 0 { when } else { format!("{when} (priority {})", answers.priority) }
}

fn parameter(parameter: &Parameter) -> String {
    let mut parts = vec![format!("{:?}", parameter.value_type).to_lowercase()];
    parts.extend(parameter.from.as_ref().map(|from| format!("from {from}")));
    parts.extend(parameter.default.as_ref().map(|default| format!("default {default}")));
    match (parameter.min, parameter.max) {
        (None, None) => {}
        (min, max) => {
            let end = |bound: Option<i64>| bound.map_or_else(|| "any".into(), |b| b.to_string());
            parts.push(format!("{} to {}", end(min), end(max)));
        }
    }
    if !parameter.within.is_empty() {
        let folders: Vec<&str> = parameter.within.iter().map(AbsPath::as_str).collect();
        parts.push(format!("within {}", folders.join(", ")));
    }
    if !parameter.one_of.is_empty() {
        parts.push(format!("one of {}", parameter.one_of.join(", ")));
    }
    if parameter.optional {
        parts.push("may be missing".into());
    }
    let about = line(&parameter.about);
    if about.is_empty() { parts.join(", ") } else { format!("{about} ({})", parts.join(", ")) }
}

fn check_text(check: &CheckTemplate) -> String {
    call(&check.check, &check.with)
}

/// Returns an action or check with its arguments, as in `unit.start unit=$unit`.
fn call(name: &str, with: &Map<String, Json>) -> String {
    let argument = |json: &Json| match json {
        Json::String(text) => text.clone(),
        Json::Array(items) => items
            .iter()
            .map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    };
    let arguments: Vec<String> = with.iter().map(|(key, json)| format!("{key}={}", argument(json))).collect();
    [vec![name.to_owned()], arguments].concat().join(" ")
}

/// Says whether a step can be taken back. What exactly it puts back, the plan says.
fn undo(step: &StepTemplate) -> String {
    match &step.irreversible_because {
        Some(because) => format!("cannot be undone; accepted because {}", line(because)),
        None => "what was there before is put back".into(),
    }
}
