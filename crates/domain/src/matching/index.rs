//! Finds the playbooks that a signal could be answered by without weighing all of them. It only ever leaves out what
//! could not match; where few answer a kind none is left out, so that people read why each of them does not.

use super::CANDIDATES_MAX;
use crate::ids::PlaybookId;
use crate::playbook::{Answers, Playbook};
use crate::signal::{Signal, SignalKind};
use crate::value::Word;
use std::collections::{BTreeMap, BTreeSet};

/// Playbooks by the kinds that they answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index(BTreeMap<SignalKind, OfKind>);

/// Playbooks that answer one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct OfKind {
    all: BTreeSet<PlaybookId>,
    /// Those that ask no text of any field.
    any: BTreeSet<PlaybookId>,
    /// The others, by the first field of which they ask a text, and each text that it may be.
    by: BTreeMap<Word, BTreeMap<String, BTreeSet<PlaybookId>>>,
}

impl Index {
    pub fn add(&mut self, playbook: &Playbook) {
        for answers in &playbook.answers {
            let of_kind = self.0.entry(answers.kind.clone()).or_default();
            of_kind.all.insert(playbook.id.clone());
            match asked(answers) {
                None => drop(of_kind.any.insert(playbook.id.clone())),
                Some((field, texts)) => {
                    let by = of_kind.by.entry(field.clone()).or_default();
                    for text in texts {
                        by.entry(text.clone()).or_default().insert(playbook.id.clone());
                    }
                }
            }
        }
    }

    pub fn remove(&mut self, playbook: &Playbook) {
        for answers in &playbook.answers {
            let Some(of_kind) = self.0.get_mut(&answers.kind) else { continue };
            of_kind.all.remove(&playbook.id);
            of_kind.any.remove(&playbook.id);
            if let Some((field, texts)) = asked(answers)
                && let Some(by) = of_kind.by.get_mut(field)
            {
                for text in texts {
                    if let Some(ids) = by.get_mut(text) {
                        ids.remove(&playbook.id);
                    }
                }
                by.retain(|_, ids| !ids.is_empty());
            }
            of_kind.by.retain(|_, by| !by.is_empty());
            if of_kind.all.is_empty() {
                self.0.remove(&answers.kind);
            }
        }
    }

    /// Returns how many there are, each counted once for every kind that it answers.
    pub fn len(&self) -> usize {
        self.0.values().map(|of_kind| of_kind.all.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns those that are to be weighed for a signal, by their ids.
    pub fn answering(&self, signal: &Signal) -> impl Iterator<Item = &PlaybookId> {
        let of_kind = self.0.get(&signal.kind);
        let few = of_kind.filter(|of_kind| of_kind.all.len() <= CANDIDATES_MAX);
        let many = of_kind.filter(|of_kind| of_kind.all.len() > CANDIDATES_MAX);
        let narrowed: BTreeSet<&PlaybookId> = many.iter().flat_map(|of_kind| of_kind.could(signal)).collect();
        few.into_iter().flat_map(|of_kind| &of_kind.all).chain(narrowed)
    }
}

impl OfKind {
    /// Returns those of which no field says at once that they do not match.
    fn could<'a>(&'a self, signal: &Signal) -> Vec<&'a PlaybookId> {
        let said = self.by.iter().filter_map(|(field, by)| by.get(&signal.fields.get(field)?.to_string()));
        self.any.iter().chain(said.flatten()).collect()
    }
}

/// Returns the first field of which a text is asked.
fn asked(answers: &Answers) -> Option<(&Word, &Vec<String>)> {
    answers.fields.iter().next()
}

#[cfg(test)]
mod tests {
    use super::super::{choose, tests};
    use super::*;
    use crate::matching::Choice;

    #[test]
    fn an_index_finds_what_weighing_all_finds() {
        let mut index = Index::default();
        let all: Vec<Playbook> = (0..200)
            .map(|n| match n % 4 {
                0 => tests::playbook(&format!("any-{n}"), "svc.down", &format!("priority: {n}")),
                1 => tests::playbook(
                    &format!("one-{n}"),
                    "svc.down",
                    &format!("where: {{name: [u{n}]}}, priority: 900"),
                ),
                2 => tests::playbook(
                    &format!("two-{n}"),
                    "svc.down",
                    &format!("where: {{name: [u{n}, v{n}], size: ['7']}}"),
                ),
                _ => tests::playbook(&format!("other-{n}"), "svc.slow", ""),
            })
            .collect();
        all.iter().for_each(|playbook| index.add(playbook));
        for (name, size) in [("u1", 7), ("u2", 7), ("v2", 7), ("u2", 8), ("x", 7), ("u197", 7)] {
            let signal = tests::signal("svc.down", name, size);
            let narrowed: BTreeSet<&PlaybookId> = index.answering(&signal).collect();
            assert!(narrowed.len() < 60, "{}", narrowed.len());
            let (by_all, told) = choose(&all, &signal);
            let (by_index, _) = choose(all.iter().filter(|p| narrowed.contains(&p.id)), &signal);
            assert_eq!(by_all, by_index, "{name} {size}");
            assert!(matches!(by_all, Choice::One(_)) && told.len() == CANDIDATES_MAX);
        }
        let slow = index.answering(&tests::signal("svc.slow", "u1", 7)).count();
        assert_eq!(slow, 50, "those that ask nothing could all match");
        all.iter().for_each(|playbook| index.remove(playbook));
        assert_eq!(index, Index::default());
    }

    #[test]
    fn few_are_all_weighed_so_that_all_reasons_are_told() {
        let mut index = Index::default();
        let one = tests::playbook("one", "svc.down", "where: {name: [u1]}");
        let two = tests::playbook("two", "svc.down", "where: {name: [u2]}");
        [&one, &two].iter().for_each(|playbook| index.add(playbook));
        let signal = tests::signal("svc.down", "u1", 1);
        assert_eq!(index.answering(&signal).count(), 2);
        let (choice, told) = choose([&one, &two], &signal);
        assert_eq!(choice, Choice::One(&one));
        assert_eq!((told.len(), told[1].against()), (2, 1));
    }
}
