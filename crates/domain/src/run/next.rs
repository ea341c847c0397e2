//! What a run does next, from its plan and its records alone. Called again after every record and every restart.

use super::{Effect, End, Record, StepResult, UndoResult, What, setback};
use crate::action::Undo;
use crate::mutant::{self, Mutant};
use crate::plan::Plan;

/// The one thing to be done now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Start a step that was never started.
    Step(usize),
    /// Look whether a step that began and never finished took effect.
    Probe(usize),
    Verify,
    Soak,
    Undo(usize),
    End(End),
    /// The run has ended.
    Nothing,
}

/// Returns what is to be done next in a run whose order was admitted.
pub fn next(plan: &Plan, records: &[Record]) -> Next {
    let has = |wanted: fn(&What) -> bool| records.iter().any(|r| wanted(&r.what));
    if has(|w| matches!(w, What::Ended { .. } | What::Refused { .. })) {
        return Next::Nothing;
    }
    if let Some(step) = (0..plan.steps.len()).find(|step| in_doubt(records, *step)) {
        return if mutant::is(Mutant::RepeatStepInDoubt) { Next::Step(step) } else { Next::Probe(step) };
    }
    if let Some(reason) = setback(records) {
        return undo(plan, records, reason);
    }
    if let Some(step) = (0..plan.steps.len()).find(|step| !begun(records, *step)) {
        return Next::Step(step);
    }
    if !has(|w| matches!(w, What::Verified { passed: true, .. })) && !mutant::is(Mutant::SkipVerify) {
        return Next::Verify;
    }
    if !has(|w| matches!(w, What::Soaked { passed: true, .. })) && !mutant::is(Mutant::SkipSoak) {
        return Next::Soak;
    }
    Next::End(End::Resolved)
}

/// Says whether the step's beginning is recorded.
fn begun(records: &[Record], step: usize) -> bool {
    records.iter().any(|r| matches!(&r.what, What::Started { step: s, .. } if *s == step))
}

/// Says whether the step began and neither finished nor was looked at.
fn in_doubt(records: &[Record], step: usize) -> bool {
    begun(records, step)
        && !records.iter().any(|r| match &r.what {
            What::Finished { step: s, .. } | What::Probed { step: s, .. } => *s == step,
            _ => false,
        })
}

fn undo(plan: &Plan, records: &[Record], reason: String) -> Next {
    let undone = |step: usize| {
        records.iter().any(|r| matches!(&r.what, What::UndoFinished { step: s, .. } if *s == step))
    };
    let finished = |step: usize| {
        records.iter().any(
            |r| matches!(&r.what, What::Finished { step: s, outcome: StepResult::Done { .. } } if *s == step),
        )
    };
    let mut begun: Vec<usize> = (0..plan.steps.len()).filter(|step| begun(records, *step)).collect();
    if mutant::is(Mutant::UndoFinishedOnly) {
        begun.retain(|step| finished(*step));
    }
    if !mutant::is(Mutant::UndoForward) {
        begun.reverse();
    }
    if let Some(step) = begun.iter().find(|step| !undone(**step)) {
        return Next::Undo(*step);
    }
    let residue = residue(plan, records);
    Next::End(if residue.is_empty() { End::RolledBack { reason } } else { End::Parked { reason, residue } })
}

/// Returns what the begun steps changed and their undo could not put back.
fn residue(plan: &Plan, records: &[Record]) -> Vec<String> {
    let mut residue = Vec::new();
    for record in records {
        let What::UndoFinished { step, result } = &record.what else { continue };
        let no_effect = records
            .iter()
            .any(|r| matches!(&r.what, What::Probed { step: s, effect: Effect::None { .. } } if s == step));
        match result {
            UndoResult::Residue { what } => residue.push(format!("step {}: {what}", step + 1)),
            UndoResult::Restored { .. } if plan.steps[*step].undo == Undo::Irreversible && !no_effect => {
                residue.push(format!(
                    "step {} cannot be undone: {}",
                    step + 1,
                    plan.steps[*step].action.sentence()
                ));
            }
            UndoResult::Restored { .. } | UndoResult::Untouched { .. } => {}
        }
    }
    residue
}
