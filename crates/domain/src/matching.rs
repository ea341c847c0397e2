//! Which playbook answers a signal, with the reasons for and against each. No match and more than one best match
//! are both nobody's: zero steps, and a person is called.

use crate::ids::PlaybookId;
use crate::playbook::{Answers, Playbook, Risk};
use crate::signal::Signal;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// One reason for or against a playbook.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    pub speaks_for: bool,
    pub text: String,
}

/// A playbook that was weighed for a signal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub playbook: PlaybookId,
    pub version: u32,
    pub matches: bool,
    pub priority: i64,
    pub reasons: Vec<Reason>,
}

/// What came of weighing all playbooks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice<'a> {
    One(&'a Playbook),
    None,
    Tie(Vec<PlaybookId>),
}

/// Weighs every playbook that answers the signal's kind and returns the choice with all candidates, best first.
pub fn choose<'a>(
    playbooks: impl IntoIterator<Item = &'a Playbook>,
    signal: &Signal,
) -> (Choice<'a>, Vec<Candidate>) {
    let mut weighed: Vec<(&Playbook, Candidate)> =
        playbooks.into_iter().filter_map(|p| Some((p, weigh(p, signal)?))).collect();
    weighed.sort_by(|(_, a), (_, b)| {
        (b.matches, b.priority, &a.playbook).cmp(&(a.matches, a.priority, &b.playbook))
    });
    let best: Vec<&(&Playbook, Candidate)> =
        weighed.iter().filter(|(_, c)| c.matches && c.priority == weighed[0].1.priority).collect();
    let choice = match best.as_slice() {
        [] => Choice::None,
        [(playbook, _)] => Choice::One(playbook),
        several => Choice::Tie(several.iter().map(|(p, _)| p.id.clone()).collect()),
    };
    (choice, weighed.into_iter().map(|(_, candidate)| candidate).collect())
}

/// Returns the candidate for a playbook, or nothing if it answers other kinds of signals only.
fn weigh(playbook: &Playbook, signal: &Signal) -> Option<Candidate> {
    playbook
        .answers
        .iter()
        .filter(|answers| answers.kind == signal.kind)
        .map(|answers| weigh_answer(playbook, answers, signal))
        .max_by_key(|candidate| (candidate.matches, candidate.priority))
}

fn weigh_answer(playbook: &Playbook, answers: &Answers, signal: &Signal) -> Candidate {
    let mut reasons = vec![Reason { speaks_for: true, text: format!("it answers {}", answers.kind) }];
    let mut weigh = |holds: bool, text: String| reasons.push(Reason { speaks_for: holds, text });
    for (field, wanted) in &answers.fields {
        match signal.fields.get(field) {
            Some(value) if wanted.contains(&value.to_string()) => weigh(true, format!("{field} is {value}")),
            Some(value) => weigh(false, format!("{field} is {value}, not {}", wanted.join(" or "))),
            None => weigh(false, format!("the signal says nothing of {field}")),
        }
    }
    for (field, unwanted) in &answers.unless {
        match signal.fields.get(field) {
            Some(value) if unwanted.contains(&value.to_string()) => {
                weigh(false, format!("{field} is {value}"));
            }
            Some(value) => weigh(true, format!("{field} is {value}, not {}", unwanted.join(" or "))),
            None => weigh(true, format!("the signal says nothing of {field}")),
        }
    }
    for field in &answers.has {
        let there = signal.fields.contains_key(field);
        weigh(there, format!("the signal {} {field}", if there { "carries" } else { "does not carry" }));
    }
    for field in &answers.lacks {
        let there = signal.fields.contains_key(field);
        weigh(!there, format!("the signal {} {field}", if there { "carries" } else { "does not carry" }));
    }
    let number = |field| match signal.fields.get(field) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    for (field, least) in &answers.at_least {
        match number(field) {
            Some(n) => weigh(n >= *least, format!("{field} is {n}, at least {least} is asked for")),
            None => weigh(false, format!("the signal gives no number for {field}")),
        }
    }
    for (field, most) in &answers.at_most {
        match number(field) {
            Some(n) => weigh(n <= *most, format!("{field} is {n}, at most {most} is asked for")),
            None => weigh(true, format!("the signal gives no number for {field}")),
        }
    }
    match crate::plan::parameters(playbook, signal) {
        Ok(_) => {}
        Err(faults) => faults.into_iter().for_each(|fault| weigh(false, fault)),
    }
    if playbook.risk == Risk::Never {
        reasons.push(Reason {
            speaks_for: true,
            text: "it tells people what to do; the machine does nothing".into(),
        });
    }
    Candidate {
        playbook: playbook.id.clone(),
        version: playbook.version,
        matches: reasons.iter().all(|reason| reason.speaks_for),
        priority: answers.priority,
        reasons,
    }
}
