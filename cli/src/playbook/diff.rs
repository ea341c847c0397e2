//! `playbook diff`: what changes from one version of a playbook to another, part by part, what may run without a
//! person first.

use super::show::source;
use crate::failure::Failure;
use crate::plan_text::difference;
use crate::ui::{Tone, Ui};
use clap::Args;
use serde_json::json;
use sopwith_domain::ids::PlaybookId;
use sopwith_domain::playbook::{CheckTemplate, Playbook, Risk};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sopwith playbook diff restart-unit restart-unit.yaml
  sopwith playbook diff old.yaml new.yaml -o json")]
pub struct Diff {
    /// A file, or the id of an installed playbook.
    #[arg(value_name = "OLD")]
    old: String,
    /// A file, or the id of an installed playbook.
    #[arg(value_name = "NEW")]
    new: String,
}

/// One part of a playbook that is not the same in both.
struct Change {
    part: &'static str,
    lines: Vec<String>,
}

pub async fn diff(args: Diff, ui: &Ui) -> Result<(), Failure> {
    let (old, new) = (parsed(&args.old).await?, parsed(&args.new).await?);
    let notes = notes(&old, &new);
    let changes = changes(&old, &new);
    let raw = json!({
        "old": { "id": old.id, "version": old.version, "digest": old.digest },
        "new": { "id": new.id, "version": new.version, "digest": new.digest },
        "notes": notes,
        "changes": changes.iter().map(|c| json!({ "part": c.part, "lines": c.lines })).collect::<Vec<_>>(),
    });
    ui.show(&raw, || text(&old, &new, &notes, &changes, ui))
}

async fn parsed(what: &str) -> Result<Playbook, Failure> {
    let (text, _, _) = source(what).await?;
    Playbook::parse(&text).map_err(|findings| {
        let mut failure = Failure::failed(format!("{what} does not check"));
        failure.details = findings.iter().map(|f| format!("{what}:{f}")).collect();
        failure
    })
}

/// Returns what somebody who is to sign the new version must not overlook.
fn notes(old: &Playbook, new: &Playbook) -> Vec<String> {
    let mut notes = Vec::new();
    if old.id != new.id {
        notes.push(format!("these are two playbooks: {} and {}", old.id, new.id));
    }
    match (old.risk, new.risk) {
        (old, new) if old == new => {}
        (_, Risk::Auto) => notes.push("a standing policy may now run it without a person".into()),
        (Risk::Auto, _) => notes.push("it does not run without a person any more".into()),
        (_, Risk::Look) => notes.push("it only looks now".into()),
        (_, Risk::Never) => {
            notes.push("the machine does nothing any more, it tells people what to do".into());
        }
        (_, Risk::Approval) => notes.push("the machine may now do it where people approve it".into()),
    }
    let irreversible = |playbook: &Playbook| {
        playbook.steps.iter().filter(|step| step.irreversible_because.is_some()).count()
    };
    if irreversible(new) > irreversible(old) {
        notes.push("it has more steps that cannot be undone".into());
    }
    let kinds = |playbook: &Playbook| {
        let kinds = playbook.answers.iter().map(|answers| answers.kind.to_string());
        kinds.collect::<std::collections::BTreeSet<_>>()
    };
    let more: Vec<String> = kinds(new).difference(&kinds(old)).cloned().collect();
    if !more.is_empty() {
        notes.push(format!("it answers more kinds of signals: {}", more.join(", ")));
    }
    if new.digest != old.digest && new.id == old.id && new.version <= old.version {
        notes.push(format!(
            "the text changed and the version did not rise ({} to {})",
            old.version, new.version
        ));
    }
    notes
}

/// A part of a playbook by its name, and its lines.
type Part = (&'static str, fn(&Playbook) -> Vec<String>);

fn changes(old: &Playbook, new: &Playbook) -> Vec<Change> {
    let parts: [Part; 7] = [
        ("risk", |p| vec![p.risk.sentence().to_owned(), p.risk_because.clone()]),
        ("matching", |p| p.answers.iter().map(|a| format!("{} {}", a.kind, a.sentence())).collect()),
        ("parameters", |p| p.parameters.iter().map(|(n, p)| format!("{n}: {}", p.sentence())).collect()),
        ("steps", steps),
        ("verification", verification),
        ("limits", |p| {
            let shown = |n: Option<u32>| n.map_or_else(|| "as the policy says".to_owned(), |n| n.to_string());
            vec![
                format!("tries a day: {}", shown(p.limits.attempts_per_day)),
                format!("at once: {}", shown(p.limits.at_once)),
                format!(
                    "stronger: {}",
                    p.stronger.iter().map(PlaybookId::as_str).collect::<Vec<_>>().join(", ")
                ),
            ]
        }),
        ("words", |p| {
            let texts =
                [&p.title, &p.purpose, &p.scope].into_iter().chain(&p.preconditions).chain(&p.cautions);
            texts.chain([&p.escalation]).cloned().collect()
        }),
    ];
    let changed = parts.into_iter().map(|(part, of)| Change { part, lines: difference(&of(old), &of(new)) });
    changed.filter(|change| !change.lines.is_empty()).collect()
}

fn steps(playbook: &Playbook) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &playbook.steps {
        lines.push(step.name.clone());
        lines.extend(step.require.iter().map(|check| format!("  only if {}", check.call())));
        lines.push(format!("  do {}", step.call()));
        lines.extend(step.expect.iter().map(|check| format!("  then {}", check.call())));
        lines.push(format!("  undo: {}", step.undo_sentence()));
        lines.push(format!("  at most {}", crate::words::duration(step.timeout_ms)));
    }
    lines
}

fn verification(playbook: &Playbook) -> Vec<String> {
    let soak = format!("and again after {}", crate::words::duration(playbook.soak_ms));
    playbook.verify.iter().map(CheckTemplate::call).chain([soak]).collect()
}

fn text(old: &Playbook, new: &Playbook, notes: &[String], changes: &[Change], ui: &Ui) -> String {
    let name = |p: &Playbook| format!("{} version {} ({})", p.id, p.version, p.digest.short());
    let mut out = format!("{} → {}\n", name(old), name(new));
    for note in notes {
        ui.hanging(&mut out, 2, 2, "!", &ui.paint(Tone::Attention, note));
    }
    if changes.is_empty() {
        out.push_str("  They do the same.\n");
    }
    for change in changes {
        out.push_str(&format!("\n{}\n", ui.paint(Tone::Strong, change.part)));
        for line in &change.lines {
            let tone = if line.starts_with('-') { Tone::Bad } else { Tone::Good };
            out.push_str(&format!("  {}\n", ui.paint(tone, line)));
        }
    }
    out
}
