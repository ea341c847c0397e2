//! A plan as people read it before they say yes, and the difference between two of them.

use crate::ui::{Tone, Ui};
use crate::{dry_run, words};
use sopwith_domain::approval::{Decision, Vote};
use sopwith_protocol::api::{PlanView, SopRecord, StepView};

/// Returns the plan, line by line: steps, parameters, undo, verification, risk, digest.
pub fn lines(plan: &PlanView, ui: &Ui) -> Vec<String> {
    let mut out = head(plan, ui);
    if !plan.parameters.is_empty() {
        out.push_str("\n  Parameters\n");
        ui.pairs(&mut out, 4, plan.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())));
    }
    out.push_str("\n  Steps, as root on the host\n");
    for (n, step) in plan.steps.iter().enumerate() {
        step_text(&mut out, n + 1, step, ui);
    }
    out.push_str("\n  It counts as fixed when\n");
    for check in &plan.verify {
        ui.hanging(&mut out, 4, 2, "✓", check);
    }
    out.push_str(&format!(
        "    and again after {}; else everything is undone in reverse\n",
        words::duration(plan.soak_s.saturating_mul(1000))
    ));
    if let Some(dry_run) = &plan.dry_run {
        out.push_str("\n  On the host\n");
        out.push_str(&dry_run::text(dry_run, ui));
    }
    if !plan.decisions.is_empty() {
        out.push_str("\n  Decisions\n");
        plan.decisions.iter().for_each(|decision| decision_text(&mut out, decision, ui));
    }
    let word = if plan.plan.is_some() { "computed here from the above" } else { "the server's word" };
    out.push_str(&format!("\n  digest, {word}\n  {}\n", plan.digest));
    out.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn head(plan: &PlanView, ui: &Ui) -> String {
    let mut out = String::new();
    for line in ui.wrap(&plan.title, 2) {
        out.push_str(&format!("  {}\n", ui.paint(Tone::Strong, &line)));
    }
    let mut row = |label: &str, text: String| ui.labelled(&mut out, 2, label, &text);
    row("plan", format!("{} {}", plan.digest.short(), words::plan_state(&plan.state)));
    row("for", format!("{} on {}, try {}", plan.incident, plan.host, plan.attempt));
    row("SOP", format!("{} version {}", plan.playbook, plan.version));
    let given = plan.decisions.iter().filter(|d| d.vote == Vote::Approve).count();
    row(
        "risk",
        match plan.risk.as_str() {
            "auto" => "auto: a standing policy may approve it".into(),
            risk => format!("{risk}: {given} of {} given", words::count(plan.required_approvals, "approval")),
        },
    );
    row("record", record(&plan.record));
    row("proposed", words::when(&plan.proposed_at, ui.now));
    row("expires", words::when(&plan.expires_at, ui.now));
    if let Some(until) = &plan.approved_until {
        row("approved", format!("until {}", words::when(until, ui.now)));
    }
    out
}

/// Says how earlier runs of the SOP ended.
fn record(record: &SopRecord) -> String {
    if record.runs == 0 {
        return "this SOP has not run yet".into();
    }
    let ends = [
        (record.resolved, "verified"),
        (record.rolled_back, "undone"),
        (record.parked, "parked"),
        (record.refused, "refused by hosts"),
        (record.under_way, "under way"),
    ];
    let ends = ends.iter().filter(|(count, _)| *count > 0).map(|(count, end)| format!("{count} {end}"));
    format!("{}: {}", words::count(record.runs, "run"), ends.collect::<Vec<_>>().join(", "))
}

fn step_text(out: &mut String, number: usize, step: &StepView, ui: &Ui) {
    ui.hanging(out, 4, 3, &number.to_string(), &step.sentence);
    let mut row = |label: &str, text: &str| ui.labelled(out, 7, label, text);
    if step.name != step.sentence {
        row("name", &step.name);
    }
    step.require.iter().for_each(|check| row("only if", check));
    step.expect.iter().for_each(|check| row("then", check));
    row("undo", &step.undo);
    row("at most", &words::duration(step.timeout_s.saturating_mul(1000)));
}

fn decision_text(out: &mut String, decision: &Decision, ui: &Ui) {
    let (tone, word) = match decision.vote {
        Vote::Approve => (Tone::Good, "✓ approved"),
        Vote::Deny => (Tone::Bad, "✗ denied"),
    };
    let signed = if decision.signature.is_some() { ", signed" } else { "" };
    let reason = if decision.reason.is_empty() { String::new() } else { format!(": {}", decision.reason) };
    let at = words::relative(decision.at, ui.now);
    let first = format!("{} {word} {at}{signed}{reason}", decision.by);
    for line in ui.wrap(&first, 4) {
        out.push_str(&format!("    {}\n", ui.paint(tone, &line)));
    }
}

/// Returns the lines that two texts do not share, each marked with `-` or `+`, with no line between left out
/// that changed.
pub fn difference(old: &[String], new: &[String]) -> Vec<String> {
    // Lengths of the longest common subsequence of every two tails; plans have at most some hundred lines.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::difference;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_difference_names_what_changed_and_nothing_else() {
        let table = [
            ("a b c", "a b c", ""),
            ("a b c", "a x c", "- b|+ x"),
            ("a", "a b", "+ b"),
            ("a b", "b", "- a"),
            ("a b c d", "d a b c", "+ d|- d"),
        ];
        for (old, new, expected) in table {
            assert_eq!(difference(&lines(old), &lines(new)).join("|"), expected, "{old} → {new}");
        }
    }
}
