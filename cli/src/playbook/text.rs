//! A playbook as a procedure that people read on a terminal. As Markdown the domain writes it.

use crate::incident::section;
use crate::ui::{Tone, Ui};
use crate::words;
use sopwith_domain::playbook::Playbook;

/// Returns the playbook for a terminal.
pub fn terminal(playbook: &Playbook, signer: Option<&str>, ui: &Ui) -> String {
    let mut out = String::new();
    for line in ui.wrap(&playbook.title, 0) {
        out.push_str(&format!("{}\n", ui.paint(Tone::Strong, &line)));
    }
    out.push('\n');
    let mut row = |label: &str, text: &str| ui.labelled(&mut out, 2, label, text);
    row("SOP", &format!("{} version {}", playbook.id, playbook.version));
    row("risk", playbook.risk.sentence());
    if !playbook.risk_because.is_empty() {
        row("because", &playbook.risk_because);
    }
    row("purpose", &playbook.purpose);
    row("scope", &playbook.scope);
    signer.into_iter().for_each(|signer| row("signed by", signer));
    playbook.preconditions.iter().for_each(|text| row("before", text));
    playbook.cautions.iter().for_each(|text| row("caution", text));
    section(&mut out, "Answers", ui);
    ui.pairs(&mut out, 2, playbook.answers.iter().map(|a| (a.kind.as_str(), a.sentence())));
    section(&mut out, "Parameters", ui);
    ui.pairs(&mut out, 2, playbook.parameters.iter().map(|(name, p)| (name.as_str(), p.sentence())));
    section(&mut out, "Steps", ui);
    for (n, step) in playbook.steps.iter().enumerate() {
        ui.hanging(&mut out, 2, 3, &(n + 1).to_string(), &step.name);
        let mut row = |label: &str, text: &str| ui.labelled(&mut out, 5, label, text);
        row("do", &step.call());
        step.require.iter().for_each(|check| row("only if", &check.call()));
        step.expect.iter().for_each(|check| row("then", &check.call()));
        row("undo", &step.undo_sentence());
        row("at most", &words::duration(step.timeout_ms));
    }
    section(&mut out, "It counts as fixed when", ui);
    playbook.verify.iter().for_each(|check| ui.hanging(&mut out, 2, 2, "✓", &check.call()));
    if playbook.soak_ms > 0 {
        out.push_str(&format!("  and again after {}\n", words::duration(playbook.soak_ms)));
    }
    section(&mut out, "If that does not help", ui);
    ui.wrap(&playbook.escalation, 2).iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    out.push_str(&format!("\n  digest {}\n", playbook.digest));
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
