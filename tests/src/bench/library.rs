//! Matching in libraries of different sizes. Pure but for the clock: state, signal and choice are the core's own.

use super::BenchError;
use sopwith_domain::event::{Event, Recorded};
use sopwith_domain::evolve::evolve;
use sopwith_domain::ids::{AccountName, Epoch, HostId, RuleId};
use sopwith_domain::matching::{Choice, choose};
use sopwith_domain::order::SignedText;
use sopwith_domain::signal::{Condition, Severity, Signal, SignalKind, Subject};
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

pub const FEW: usize = 10;
pub const MANY: usize = 10_000;
/// As many playbooks answer one kind of signal, told apart by a field: a library grows by new kinds of faults.
const PER_KIND: usize = 10;
const REPEATS: u32 = 20_000;

/// Returns the microseconds that a choice takes in a library of few and of many playbooks.
pub fn measure() -> Result<(f64, f64), BenchError> {
    let (few, many) = (one(FEW)?, one(MANY)?);
    println!(
        "matching: {FEW} playbooks {few:.2} µs, {MANY} playbooks {many:.2} µs; {PER_KIND} answer each kind"
    );
    Ok((few, many))
}

fn one(size: usize) -> Result<f64, BenchError> {
    let mut state = State::default();
    for number in 0..size {
        let playbook = SignedText { text: text(number), signature: String::new() };
        let by = AccountName::new("bench").map_err(|e| e.to_string())?;
        let event = Event::PlaybookInstalled { playbook, signer: "owners".into(), by };
        evolve(&mut state, &Recorded { seq: number as u64 + 1, at: Timestamp(1), event });
    }
    if state.playbooks.len() != size {
        return Err(format!("install {size} playbooks; {} were taken", state.playbooks.len()));
    }
    let signal = signal(size / 2)?;
    match choose(state.answering(&signal), &signal) {
        (Choice::One(_), candidates) if candidates.len() == PER_KIND => {}
        (choice, _) => return Err(format!("find the one playbook: {choice:?}")),
    }
    let began = Instant::now();
    for _ in 0..REPEATS {
        black_box(choose(state.answering(black_box(&signal)), black_box(&signal)));
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(REPEATS))
}

/// Kinds are words of letters.
fn kind(number: usize) -> String {
    let mut rest = number / PER_KIND;
    let mut letters = String::from("bench.k");
    loop {
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
        if rest == 0 {
            return letters;
        }
    }
}

fn text(number: usize) -> String {
    format!(
        "id: bench-{number}\nversion: 1\ntitle: One of many\npurpose: To be matched or not.\nscope: Nothing.\n\
         risk: auto\nrisk_because: Nothing is done.\nanswers:\n  - kind: {}\n    where: {{sort: [s{}]}}\n    \
         priority: 1\nparameters:\n  unit: {{type: unit, from: subject, about: the unit}}\nsteps:\n  \
         - name: Start it\n    do: unit.start\n    with: {{unit: $unit}}\n    timeout_s: 10\nverify:\n  \
         - {{check: unit.active, with: {{unit: $unit}}}}\nsoak_s: 0\nescalation: Nobody is called.\n",
        kind(number),
        number % PER_KIND
    )
}

/// Returns a signal that one playbook of the library answers.
pub fn signal(number: usize) -> Result<Signal, BenchError> {
    let field = |text: String| sopwith_domain::value::Word::new(text).map_err(|e| e.to_string());
    let sort = sopwith_domain::value::Value::Word(field(format!("s{}", number % PER_KIND))?);
    Ok(Signal {
        host: HostId::new("bench").map_err(|e| e.to_string())?,
        epoch: Epoch(1),
        rule: RuleId::new("bench.rule").map_err(|e| e.to_string())?,
        kind: SignalKind::new(kind(number)).map_err(|e| e.to_string())?,
        subject: Subject::Unit(
            sopwith_domain::value::UnitName::new("bench.service").map_err(|e| e.to_string())?,
        ),
        condition: Condition::Raised,
        severity: Severity::Warning,
        summary: "bench".into(),
        fields: BTreeMap::from([(field("sort".into())?, sort)]),
        evidence: Vec::new(),
        observed_at: Timestamp(1),
        cause: None,
        depends_on: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_one_is_found_in_both() {
        for size in [PER_KIND, 100 * PER_KIND] {
            assert!(one(size).expect("matched") > 0.0);
        }
    }
}
