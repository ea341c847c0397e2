//! One run, live: its steps from top to bottom, what cancelling would stop, and after an undo exactly what was put
//! back and what was not.

use super::components::{digest, facts, folded, run_state, sentences};
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::{clock, span, when};
use maud::{Markup, html};
use sopwith_domain::people::Role;
use sopwith_domain::run::{Effect, End, StepResult, UndoResult, What};
use sopwith_domain::time::SECOND_MS;
use sopwith_protocol::api::{LiveView, RunView};

/// Where one step of a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Todo,
    Running,
    Done,
    Failed,
    InDoubt,
    Undoing,
    Undone,
    Residue,
}

impl Stage {
    fn of(run: &RunView, step: usize) -> Self {
        let told = |record: &&sopwith_protocol::api::RunRecordView| record.step == Some(step);
        match run.records.iter().rev().find(told).and_then(|record| record.what.as_ref()) {
            None => Self::Todo,
            Some(What::Finished { outcome: StepResult::Done { .. }, .. }) => Self::Done,
            Some(What::Finished { .. } | What::Probed { effect: Effect::None { .. }, .. }) => Self::Failed,
            Some(What::Probed { effect: Effect::Took { .. }, .. }) => Self::Done,
            Some(What::Probed { .. }) => Self::InDoubt,
            Some(What::UndoStarted { .. }) => Self::Undoing,
            Some(What::UndoFinished {
                result: UndoResult::Restored { .. } | UndoResult::Untouched { .. },
                ..
            }) => Self::Undone,
            Some(What::UndoFinished { .. }) => Self::Residue,
            Some(_) => Self::Running,
        }
    }

    /// Returns class, colour, drawing and word.
    fn looks(self, ended: bool) -> (&'static str, &'static str, Glyph, &'static str) {
        match self {
            Self::Todo if ended => ("todo", "paused", Glyph::Ring, "not reached"),
            Self::Todo => ("todo", "paused", Glyph::Ring, "to come"),
            Self::Running => ("now", "info", Glyph::Play, "running"),
            Self::Done => ("done", "ok", Glyph::Check, "done"),
            Self::Failed => ("failed", "crit", Glyph::Cross, "failed"),
            Self::InDoubt => ("failed", "parked", Glyph::Square, "in doubt"),
            Self::Undoing => ("now", "warn", Glyph::Back, "being put back"),
            Self::Undone => ("undone", "warn", Glyph::Back, "put back"),
            Self::Residue => ("failed", "parked", Glyph::Square, "not put back"),
        }
    }
}

pub fn content(frame: &Frame, run: &RunView) -> Markup {
    html! {
        (head(frame, run))
        (outcome(run))
        div.halves {
            div.stack {
                section.stack-s { h2 { "Steps" } (steps(run)) }
                (cancel(frame, run))
            }
            section.stack-s {
                h2 { "Records of " (run.host) }
                ol.records { @for record in &run.records { li { (clock(&record.at)) span { (record.sentence) } } } }
            }
        }
    }
}

fn head(frame: &Frame, run: &RunView) -> Markup {
    html! {
        header.head {
            div.line {
                (run_state(&run.state))
                @if let Some(incident) = run.incident { a href={ "/incidents/" (incident.0) } { (incident) } }
                @if let Some(playbook) = &run.playbook { a href={ "/sops/" (playbook) } { (playbook) } }
                (digest(&run.run))
                @if let Some(last) = run.records.last() { span { "last heard " (when(&last.at, frame.now)) } }
            }
            h1 { (run.title.as_deref().unwrap_or("A plan that is not known here")) " on " (run.host) }
            @if run.title.is_none() {
                p.status { "The server was set back to a backup that does not know this plan. The host knows it and tells what it does." }
            }
        }
    }
}

/// Returns what stands at the end, exactly.
fn outcome(run: &RunView) -> Markup {
    html! {
        @match &run.end {
            None => {},
            Some(End::Resolved) => section.prose { p { "The check that had failed passed after the last step, and again after the soak." } },
            Some(End::RolledBack { reason }) => section.prose {
                p { "Undone because " (reason) "." }
                (put_back(run))
            },
            Some(End::Parked { reason, residue }) => section.prose {
                p { "A person is needed: " (reason) "." }
                (put_back(run))
                @if !residue.is_empty() {
                    h3 { "Not put back" }
                    ul.reasons { @for what in residue { li { span.parked { (Glyph::Square.svg()) } span { (what) } } } }
                }
            },
        }
    }
}

fn put_back(run: &RunView) -> Markup {
    let restored: Vec<(usize, &str)> = run
        .records
        .iter()
        .filter_map(|record| match &record.what {
            Some(What::UndoFinished {
                step,
                result: UndoResult::Restored { detail } | UndoResult::Untouched { detail },
            }) => Some((*step, detail.as_str())),
            _ => None,
        })
        .collect();
    html! {
        h3 { "Put back" }
        @if restored.is_empty() { p.muted { "Nothing had to be put back." } }
        @else {
            ul.reasons {
                @for (step, detail) in restored {
                    li {
                        span.ok { (Glyph::Back.svg()) }
                        span { "Step " (step + 1) @if !detail.is_empty() { ": " (detail) } }
                    }
                }
            }
        }
    }
}

fn steps(run: &RunView) -> Markup {
    html! {
        ol.steps {
            @for (index, step) in run.steps.iter().enumerate() {
                @let (class, tone, glyph, word) = Stage::of(run, index).looks(run.end.is_some());
                li class=(class) {
                    @if class != "todo" { span class={ "mark " (tone) } { (glyph.svg()) } }
                    p.does { (step.sentence) }
                    p.undo { span class=(tone) { (word) } }
                    (speech(run, index))
                    (trace(run, index))
                }
            }
            (closing(run, "Verify", &run.verify, |what| match what {
                What::Verified { passed, .. } => Some(*passed),
                _ => None,
            }))
            @if run.soak_s > 0 {
                (closing(run, &format!("Soak for {}, then verify again", span(run.soak_s * SECOND_MS)), &[], |what| match what {
                    What::Soaked { passed, .. } => Some(*passed),
                    _ => None,
                }))
            }
        }
    }
}

/// Returns verification or soak as the last lines of the steps.
fn closing(run: &RunView, title: &str, checks: &[String], passed: fn(&What) -> Option<bool>) -> Markup {
    let outcome = run.records.iter().filter_map(|record| record.what.as_ref()).find_map(passed);
    let stage = match outcome {
        None => Stage::Todo,
        Some(true) => Stage::Done,
        Some(false) => Stage::Failed,
    };
    let (class, tone, glyph, word) = stage.looks(run.end.is_some());
    html! {
        li class=(class) {
            @if stage != Stage::Todo { span class={ "mark " (tone) } { (glyph.svg()) } }
            p.does { (title) }
            @if !checks.is_empty() { div.muted { (sentences(checks, "")) } }
            p.undo { span class=(tone) { (word) } }
        }
    }
}

/// Returns what the program of the running step says, of this step or of any.
fn speech(run: &RunView, step: usize) -> Markup {
    html! { @if let Some(said) = run.live.as_ref().filter(|said| said.step == step) { (speaking(said)) } }
}

/// Returns what a program says while it runs.
pub fn speaking(said: &LiveView) -> Markup {
    html! {
        div.speech {
            p.muted {
                "Says now"
                @if said.before > 0 { ", after " (said.before) " bytes that are not kept here" }
            }
            pre tabindex="0" aria-label="Output of the running step" { (said.text) }
        }
    }
}

/// Returns what a step told: its reason and output.
fn trace(run: &RunView, step: usize) -> Markup {
    let outcome = run.records.iter().find_map(|record| match &record.what {
        Some(What::Finished { step: s, outcome }) if *s == step => Some(outcome),
        _ => None,
    });
    let (reason, output) = match outcome {
        None => (None, ""),
        Some(StepResult::Done { output }) => (None, output.as_str()),
        Some(StepResult::Failed { reason, output }) => (Some(reason), output.as_str()),
    };
    let residue = run.records.iter().find_map(|record| match &record.what {
        Some(What::UndoFinished { step: s, result: UndoResult::Residue { what } }) if *s == step => {
            Some(what)
        }
        _ => None,
    });
    html! {
        @if let Some(reason) = reason { p { (reason) } }
        @if let Some(residue) = residue { p { (residue) } }
        @if !output.trim().is_empty() { (folded(&format!("output-{step}"), "Output", output)) }
    }
}

fn cancel(frame: &Frame, run: &RunView) -> Markup {
    let under_way = matches!(run.state.as_str(), "accepted" | "running" | "verifying" | "soaking");
    html! {
        @if let Some(by) = &run.cancel_requested {
            @if run.end.is_none() { p.prose { strong { (by) } " asked to cancel. The host stops before its next step and puts back what was done." } }
        } @else if under_way {
            section.card {
                h2 { "Cancel" }
                (facts(&[
                    ("Would stop", html! { (would_stop(run)) }),
                    ("Would put back", html! { (would_put_back(run)) }),
                ]))
                @if frame.may(Role::Operator) {
                    form method="post" action={ "/runs/" (run.run) "/cancel" } {
                        button.grave data-confirm="cancel" { "Cancel the run" }
                    }
                } @else { p.muted { "This takes the role operator." } }
            }
        }
    }
}

fn would_stop(run: &RunView) -> String {
    let todo: Vec<String> = (0..run.steps.len())
        .filter(|step| Stage::of(run, *step) == Stage::Todo)
        .map(|step| (step + 1).to_string())
        .collect();
    let running = (0..run.steps.len()).find(|step| Stage::of(run, *step) == Stage::Running);
    let kept = match running {
        Some(step) => format!(
            "; step {0} is under way: a program that it runs is ended, anything else runs to its end",
            step + 1
        ),
        None => String::new(),
    };
    match todo.as_slice() {
        [] => format!("no step, since all have begun{kept}"),
        [one] => format!("step {one} would not start{kept}"),
        several => format!("steps {} would not start{kept}", several.join(", ")),
    }
}

fn would_put_back(run: &RunView) -> String {
    let begun: Vec<usize> =
        (0..run.steps.len()).filter(|step| Stage::of(run, *step) != Stage::Todo).collect();
    let named = |irreversible: bool| -> Vec<String> {
        begun
            .iter()
            .rev()
            .filter(|step| run.steps[**step].irreversible == irreversible)
            .map(|step| (step + 1).to_string())
            .collect()
    };
    match (named(false), named(true)) {
        (back, lost) if back.is_empty() && lost.is_empty() => "nothing, since nothing was begun".into(),
        (back, lost) if lost.is_empty() => format!("step {}", back.join(", then ")),
        (back, lost) if back.is_empty() => format!("nothing; step {} cannot be undone", lost.join(", ")),
        (back, lost) => format!("step {}; step {} cannot be undone", back.join(", then "), lost.join(", ")),
    }
}
