//! Takes a document apart field by field. Whatever is missing, unknown or of the wrong kind becomes a finding at its
//! place, and reading goes on, so that one look tells everything.

use super::Finding;
use super::node::{Entry, Node, Place, Tree};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Findings(RefCell<Vec<Finding>>);

impl Findings {
    pub fn add(&self, place: Place, text: impl Into<String>) {
        self.0.borrow_mut().push(place.finding(text));
    }

    /// Returns all findings in the order in which they stand in the document, each once.
    pub fn into_sorted(self) -> Vec<Finding> {
        let mut findings = self.0.into_inner();
        findings.sort_by(|a, b| (a.line, a.column, &a.text).cmp(&(b.line, b.column, &b.text)));
        findings.dedup();
        findings
    }
}

/// One map of the document, with the fields that were asked for so far.
pub struct Fields<'a> {
    pub place: Place,
    what: &'static str,
    entries: &'a [Entry],
    asked: RefCell<BTreeSet<&'static str>>,
    pub findings: &'a Findings,
}

impl<'a> Fields<'a> {
    /// Opens a map, or finds that the value is none.
    pub fn open(node: &'a Node, what: &'static str, findings: &'a Findings) -> Option<Self> {
        let Tree::Map(entries) = &node.value else {
            findings.add(node.place, format!("{what} is {}, must be a map of fields", node.what()));
            return None;
        };
        Some(Self { place: node.place, what, entries, asked: RefCell::default(), findings })
    }

    /// Returns the field's value; an empty one is none.
    pub fn get(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (!matches!(entry.node.value, Tree::Nothing)).then_some(&entry.node)
    }

    /// Returns the field's value, or finds that it is missing.
    pub fn need(&self, name: &'static str) -> Option<&'a Node> {
        let node = self.get(name);
        if node.is_none() {
            self.findings.add(self.place, format!("{} needs the field {name}", self.what));
        }
        node
    }

    /// Finds every field that was not asked for. Called last.
    pub fn no_others(&self) {
        let known = self.asked.borrow();
        for entry in self.entries.iter().filter(|e| !known.contains(e.key.as_str())) {
            let near = nearest(&entry.key, known.iter().copied());
            let known: Vec<_> = known.iter().copied().collect();
            let hint =
                near.map_or_else(|| format!("it has {}", known.join(", ")), |n| format!("{n} is meant?"));
            self.findings.add(entry.place, format!("{} has no field {}: {hint}", self.what, entry.key));
        }
    }

    /// Returns a text that says something; it may run over several lines.
    pub fn text(&self, name: &'static str) -> Option<(String, Place)> {
        let node = self.need(name)?;
        let text = text(node, name, self.findings)?;
        if text.trim().is_empty() {
            self.findings.add(node.place, format!("{name} is empty"));
            return None;
        }
        Some((text.trim().to_owned(), node.place))
    }

    /// Returns a text, or an empty one where the field is not there.
    pub fn text_or_empty(&self, name: &'static str) -> String {
        self.get(name).and_then(|node| text(node, name, self.findings)).unwrap_or_default().trim().to_owned()
    }

    pub fn texts(&self, name: &'static str) -> Vec<(String, Place)> {
        self.list(name).iter().filter_map(|n| Some((scalar(n, name, self.findings)?, n.place))).collect()
    }

    /// Returns the items of a list, of which there are none where the field is not there.
    pub fn list(&self, name: &'static str) -> &'a [Node] {
        match self.get(name).map(|node| (&node.value, node)) {
            Some((Tree::List(items), _)) => items,
            Some((_, node)) => {
                self.findings.add(node.place, format!("{name} is {}, must be a list", node.what()));
                &[]
            }
            None => &[],
        }
    }

    /// Returns the entries of a map, of which there are none where the field is not there.
    pub fn map(&self, name: &'static str) -> &'a [Entry] {
        match self.get(name).map(|node| (&node.value, node)) {
            Some((Tree::Map(entries), _)) => entries,
            Some((_, node)) => {
                self.findings.add(node.place, format!("{name} is {}, must be a map", node.what()));
                &[]
            }
            None => &[],
        }
    }

    pub fn integer(&self, name: &'static str) -> Option<(i64, Place)> {
        let node = self.get(name)?;
        match node.value {
            Tree::Integer(number) => Some((number, node.place)),
            _ => {
                self.findings.add(node.place, format!("{name} is {}, must be a whole number", node.what()));
                None
            }
        }
    }

    /// Returns a whole number within bounds, or finds that it is none.
    pub fn bounded<T: TryFrom<i64>>(&self, name: &'static str, min: i64, max: i64) -> Option<T> {
        let (number, place) = self.integer(name)?;
        let fits = (min..=max).contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fits.is_none() {
            let bounds = match max >= i64::from(u32::MAX) {
                true => format!("at least {min}"),
                false => format!("{min} to {max}"),
            };
            self.findings.add(place, format!("{name} is {number}, must be {bounds}"));
        }
        fits
    }

    pub fn boolean(&self, name: &'static str) -> bool {
        let Some(node) = self.get(name) else { return false };
        let Tree::Boolean(flag) = node.value else {
            self.findings.add(node.place, format!("{name} is {}, must be true or false", node.what()));
            return false;
        };
        flag
    }

    /// Returns the items of a list, each parsed from its text.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Vec<T> {
        let texts = self.texts(name).into_iter();
        texts.filter_map(|(text, place)| parse(&text, place, self.findings)).collect()
    }
}

/// Parses a text, or finds why it is not what was expected.
pub fn parse<T: FromStr<Err: Display>>(text: &str, place: Place, findings: &Findings) -> Option<T> {
    text.parse().map_err(|e: T::Err| findings.add(place, e.to_string())).ok()
}

fn text(node: &Node, name: &str, findings: &Findings) -> Option<String> {
    if let Tree::Text(text) = &node.value {
        return Some(text.clone());
    }
    findings.add(node.place, format!("{name} is {}, must be a text (put it in quotes)", node.what()));
    None
}

/// Returns a text, a whole number or a truth value as the text that a signal's value would print.
pub fn scalar(node: &Node, name: &str, findings: &Findings) -> Option<String> {
    match &node.value {
        Tree::Text(text) => Some(text.clone()),
        Tree::Integer(number) => Some(number.to_string()),
        Tree::Boolean(flag) => Some(flag.to_string()),
        _ => {
            findings.add(node.place, format!("{name} holds {}, must be a text", node.what()));
            None
        }
    }
}

/// Returns the known name that was most likely meant: one letter more, less or other, or the beginning of it.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known.map(|k| (distance(name, k), k)).filter(|(d, k)| *d <= 2 && *d < k.len()).min().map(|(_, k)| k)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}
