//! What changed between the plan that somebody decided on and the plan that stands now.

use super::decision;
use super::frame::Frame;
use maud::{Markup, html};
use sopwith_protocol::api::PlanView;

/// Whether a line stands in both plans or in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Same,
    Was,
    Now,
}

/// Returns a plan as lines that say everything that its digest covers and people read.
pub fn lines(plan: &PlanView) -> Vec<String> {
    let mut lines = vec![
        format!("Host: {}", plan.host),
        format!("SOP: {} version {}, {}", plan.playbook, plan.version, plan.title),
        format!("Risk: {}", plan.risk),
        format!("Try: {}", plan.attempt),
    ];
    lines.extend(plan.parameters.iter().map(|(name, value)| format!("Parameter {name} = {value}")));
    for (index, step) in plan.steps.iter().enumerate() {
        let at = index + 1;
        lines.push(format!("Step {at}: {}", step.sentence));
        if !told_by_sentence(&step.action) {
            lines.push(format!("Step {at} in full: {}", step.action));
        }
        lines.extend(step.require.iter().map(|check| format!("Step {at} only if {check}")));
        lines.extend(step.expect.iter().map(|check| format!("Step {at} expects that {check}")));
        lines.push(format!("Step {at} undo: {}", step.undo));
        lines.push(format!("Step {at} at most {} s", step.timeout_s));
    }
    lines.extend(plan.verify.iter().map(|check| format!("Verified if {check}")));
    lines.push(format!("Soak: {} s", plan.soak_s));
    lines
}

/// Says whether an action's sentence names all its arguments.
fn told_by_sentence(action: &serde_json::Value) -> bool {
    let name = action.get("action").and_then(|name| name.as_str()).unwrap_or_default();
    name.starts_with("unit.")
        || matches!(name, "process.signal" | "file.truncate" | "file.rotate" | "file.quarantine")
        || matches!(name, "file.restore" | "file.mode" | "file.owner")
}

/// Compares two lists of lines by their longest common part.
pub fn compare(was: &[String], now: &[String]) -> Vec<(Side, String)> {
    let mut common = vec![vec![0_u32; now.len() + 1]; was.len() + 1];
    for i in (0..was.len()).rev() {
        for j in (0..now.len()).rev() {
            common[i][j] = match was[i] == now[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < was.len() || j < now.len() {
        if i < was.len() && j < now.len() && was[i] == now[j] {
            out.push((Side::Same, was[i].clone()));
            (i, j) = (i + 1, j + 1);
        } else if i < was.len() && (j == now.len() || common[i + 1][j] >= common[i][j + 1]) {
            out.push((Side::Was, was[i].clone()));
            i += 1;
        } else {
            out.push((Side::Now, now[j].clone()));
            j += 1;
        }
    }
    out
}

/// Returns the differing lines, with the words was and now.
pub fn markup(was: &PlanView, now: &PlanView) -> Markup {
    let changed: Vec<(Side, String)> =
        compare(&lines(was), &lines(now)).into_iter().filter(|(side, _)| *side != Side::Same).collect();
    html! {
        @if changed.is_empty() {
            p { "Everything that is shown of them is the same; they differ in what they are bound to (host's life or incident)." }
        } @else {
            ul.diff {
                @for (side, line) in &changed {
                    @match side {
                        Side::Was => li.was { span.word { "− was" } span { (line) } },
                        _ => li.now { span.word { "+ now" } span { (line) } },
                    }
                }
            }
        }
    }
}

/// Returns the page that refuses a decision on a plan that changed meanwhile, with the difference and the plan that
/// can be decided on now.
pub fn refused(frame: &Frame, was: Option<&PlanView>, now: &PlanView) -> Markup {
    html! {
        header.head {
            h1 { "The plan changed while you were reading" }
            p.status { "Nothing was approved or denied. Read what changed, then decide on the plan as it is now." }
        }
        section.prose.stack-s {
            h2 { "What changed" }
            @match was {
                Some(was) => (markup(was, now)),
                None => p { "The plan that you decided on is not known here any more." },
            }
        }
        div.card.narrow {
            (decision::heading(frame, now))
            (super::components::steps(&now.steps))
            (decision::grounds(frame, now, &[]))
            (decision::form(frame, now, ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_part_stays() {
        let text = |lines: &str| lines.chars().map(String::from).collect::<Vec<_>>();
        let shown = |was: &str, now: &str| {
            compare(&text(was), &text(now))
                .into_iter()
                .map(|(side, line)| match side {
                    Side::Same => line,
                    Side::Was => format!("-{line}"),
                    Side::Now => format!("+{line}"),
                })
                .collect::<String>()
        };
        let cases = [
            ("", "", ""),
            ("abc", "abc", "abc"),
            ("abc", "axc", "a-b+xc"),
            ("abc", "", "-a-b-c"),
            ("", "ab", "+a+b"),
            ("abcd", "bd", "-ab-cd"),
            ("ab", "ba", "-ab+a"),
        ];
        for (was, now, expected) in cases {
            assert_eq!(shown(was, now), expected, "{was} to {now}");
        }
    }
}
