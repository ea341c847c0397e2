//! Which playbook answers a signal, with the reasons for and against each. No match and more than one best match
//! are both nobody's: zero steps, and a person is called.

mod index;

pub use index::Index;

use crate::declaration::Declarations;
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

impl Candidate {
    /// Returns how many reasons speak against it.
    pub fn against(&self) -> usize {
        self.reasons.iter().filter(|reason| !reason.speaks_for).count()
    }
}

/// What came of weighing all playbooks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice<'a> {
    One(&'a Playbook),
    None,
    Tie(Vec<PlaybookId>),
}

/// Most candidates that are told of one signal: those that match, and the nearest of the others.
pub const CANDIDATES_MAX: usize = 32;

/// Weighs every playbook that answers the signal's kind and returns the choice with the candidates, best first.
/// Nothing is known of the host; see [`choose_on`].
pub fn choose<'a>(
    playbooks: impl IntoIterator<Item = &'a Playbook>,
    signal: &Signal,
) -> (Choice<'a>, Vec<Candidate>) {
    choose_on(playbooks, signal, &Declarations::default())
}

/// Weighs playbooks for a signal of a host that declares this.
pub fn choose_on<'a>(
    playbooks: impl IntoIterator<Item = &'a Playbook>,
    signal: &Signal,
    host: &Declarations,
) -> (Choice<'a>, Vec<Candidate>) {
    let (choice, mut weighed) =
        weigh_all(playbooks.into_iter().filter(|p| p.risk != Risk::Look), signal, host);
    let matching = weighed.iter().take_while(|(_, candidate)| candidate.matches).count();
    weighed[matching..].sort_by_key(|(_, candidate)| candidate.against());
    weighed.truncate(CANDIDATES_MAX);
    (choice, weighed.into_iter().map(|(_, candidate)| candidate).collect())
}

/// Returns the playbook that only looks and suits the signal best, among equals the first by name: they change nothing.
pub fn choose_look<'a>(
    playbooks: impl IntoIterator<Item = &'a Playbook>,
    signal: &Signal,
    host: &Declarations,
) -> Option<&'a Playbook> {
    let (_, weighed) = weigh_all(playbooks.into_iter().filter(|p| p.risk == Risk::Look), signal, host);
    weighed.first().filter(|(_, candidate)| candidate.matches).map(|(playbook, _)| *playbook)
}

/// Weighs playbooks and returns the choice with all of them, best first.
fn weigh_all<'a>(
    playbooks: impl Iterator<Item = &'a Playbook>,
    signal: &Signal,
    host: &Declarations,
) -> (Choice<'a>, Vec<(&'a Playbook, Candidate)>) {
    let mut weighed: Vec<(&Playbook, Candidate)> =
        playbooks.filter_map(|p| Some((p, weigh(p, signal, host)?))).collect();
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
    (choice, weighed)
}

/// Returns the candidate for a playbook, or nothing if it answers other kinds of signals only.
fn weigh(playbook: &Playbook, signal: &Signal, host: &Declarations) -> Option<Candidate> {
    playbook
        .answers
        .iter()
        .filter(|answers| answers.kind == signal.kind)
        .map(|answers| weigh_answer(playbook, answers, signal, host))
        .max_by_key(|candidate| (candidate.matches, candidate.priority))
}

fn weigh_answer(playbook: &Playbook, answers: &Answers, signal: &Signal, host: &Declarations) -> Candidate {
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
    for (fact, wanted) in &answers.host {
        match host.fact(fact) {
            Some(value) if wanted.iter().any(|one| one == value.as_str()) => {
                weigh(true, format!("the host's {fact} is {value}"));
            }
            Some(value) => weigh(false, format!("the host's {fact} is {value}, not {}", wanted.join(" or "))),
            None => weigh(false, format!("the host declares no {fact}")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::Declaration;
    use crate::ids::{Epoch, HostId, RuleId};
    use crate::signal::{Condition, Severity, SignalKind, Subject};
    use crate::time::Timestamp;
    use crate::value::Word;
    use std::collections::BTreeMap;

    /// A playbook with one answer of a kind.
    pub(super) fn playbook(id: &str, kind: &str, rest: &str) -> Playbook {
        let comma = if rest.is_empty() { "" } else { ", " };
        let text = format!(
            "id: {id}\nversion: 1\ntitle: Do\npurpose: It does.\nscope: All.\nrisk: never\n\
             answers: [{{kind: {kind}{comma}{rest}}}]\nsteps: []\nverify: []\nescalation: Look.\n"
        );
        Playbook::parse(&text).unwrap_or_else(|findings| panic!("{findings:?} in {text}"))
    }

    pub(super) fn signal(kind: &str, name: &str, size: i64) -> Signal {
        let word = |text: &str| Word::new(text).unwrap();
        Signal {
            host: HostId::new("web-1").unwrap(),
            epoch: Epoch(1),
            rule: RuleId::new("rule").unwrap(),
            kind: SignalKind::new(kind).unwrap(),
            subject: Subject::Host,
            condition: Condition::Raised,
            severity: Severity::Critical,
            summary: String::new(),
            fields: BTreeMap::from([
                (word("name"), Value::Word(word(name))),
                (word("size"), Value::Integer(size)),
            ]),
            evidence: vec![],
            observed_at: Timestamp(0),
            cause: None,
            depends_on: vec![],
        }
    }

    #[test]
    fn what_a_host_declares_of_itself_counts() {
        let web = playbook("web", "svc.down", "host: {role: [web, edge]}");
        let all = playbook("all", "svc.down", "priority: -1");
        let said = |role: Option<&str>| {
            let word = |text: &str| Word::new(text).unwrap();
            let fact = |value: &str| Declaration::Fact { name: word("role"), value: word(value) };
            let host = Declarations { stated: role.map(fact).into_iter().collect(), broken: vec![] };
            let (choice, told) = choose_on([&web, &all], &signal("svc.down", "a", 1), &host);
            let Choice::One(chosen) = choice else { panic!("{choice:?}") };
            let web = told.iter().find(|c| c.playbook == web.id).expect("weighed");
            (chosen.id.to_string(), web.reasons[1].text.clone())
        };
        assert_eq!(said(Some("edge")), ("web".into(), "the host's role is edge".into()));
        assert_eq!(said(Some("db")), ("all".into(), "the host's role is db, not web or edge".into()));
        assert_eq!(said(None), ("all".into(), "the host declares no role".into()));
    }
}
