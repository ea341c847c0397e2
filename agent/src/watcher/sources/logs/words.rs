//! The fault that a rule's lines come to: what it is about, its typed fields, and the words beside them.

use super::rates::Reached;
use super::waits::Key;
use crate::config::LogRule;
use crate::watcher::report::Fault;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, Value, Word};
use std::collections::BTreeMap;

pub(super) struct Words<'a> {
    pub log: &'a str,
    pub rule: &'a LogRule,
    pub values: &'a BTreeMap<Word, Value>,
}

impl Words<'_> {
    pub(super) fn id(&self) -> String {
        format!("logs.{}.{}", self.log, *self.rule.name)
    }

    /// Returns what a fault is about: what the rule says, the address by which it counts, or else the rule.
    pub(super) fn subject(&self, key: &Key) -> Subject {
        let said = self.rule.subject.iter().find_map(|name| {
            let value = self.values.get(&**name)?;
            subject_of(name, value)
        });
        said.unwrap_or_else(|| match key {
            Some(Value::Ip(address)) => Subject::Address(*address),
            _ => Subject::Check((*self.rule.name).clone()),
        })
    }

    fn fault(&self, kind: &str, subject: Subject, text: String, lines: &str) -> Fault {
        let kind = self.rule.kind.as_ref().map_or(kind, |kind| kind.as_str());
        let mut fault = Fault::new(&self.id(), kind, subject, self.rule.severity(), text);
        let constants = self.rule.fields.iter().map(|(name, value)| (name, (**value).clone()));
        for (name, value) in constants.chain(self.values.iter().map(|(name, value)| (name, value.clone()))) {
            fault.field(name.as_str(), value);
        }
        fault.show("lines", lines);
        fault
    }

    /// A line fits, or as many as a rate counts.
    pub(super) fn happened(&self, subject: Subject, reached: &Reached) -> Fault {
        let (log, rule, lines) = (self.log, &*self.rule.name, reached.lines.join("\n"));
        let about = match &subject {
            Subject::Check(name) if name == rule => String::new(),
            Subject::Address(address) => format!(" from {address}"),
            subject => format!(" about {subject}"),
        };
        let Some(rate) = &self.rule.rate else {
            return self.fault("log.match", subject, format!("{log}: a line fits {rule}{about}"), &lines);
        };
        let within_s = rate.within.0.as_secs();
        let text = format!("{log}: {rule} {} times within {within_s} s{about}", reached.count);
        let mut fault = self.fault("log.rate", subject, text, &lines);
        fault.integer("count", reached.count);
        fault.integer("within_s", within_s);
        fault
    }

    /// Nothing fits for too long.
    pub(super) fn silent(&self, silent_ms: u64) -> Fault {
        let (log, rule, silent_s) = (self.log, &*self.rule.name, silent_ms / 1000);
        let text = match self.rule.all_patterns().next() {
            None => format!("{log}: {rule}: nothing was written for {silent_s} s"),
            Some(_) => format!("{log}: {rule}: no line fits for {silent_s} s"),
        };
        let mut fault = self.fault("log.silence", self.subject(&None), text, "");
        fault.integer("silent_s", silent_s);
        fault.integer("within_s", self.rule.silence.as_ref().map_or(0, |s| s.0.as_secs()));
        fault
    }

    /// A line was not followed by the one that must.
    pub(super) fn missing(&self, subject: Subject, line: String) -> Fault {
        let within_s = self.rule.unless.as_ref().map_or(0, |u| u.within.0.as_secs());
        let (log, rule) = (self.log, &*self.rule.name);
        let text = format!("{log}: {rule}: what must follow did not within {within_s} s");
        let mut fault = self.fault("log.missing", subject, text, &line);
        fault.integer("within_s", within_s);
        fault
    }
}

fn subject_of(name: &Word, value: &Value) -> Option<Subject> {
    Some(match value {
        Value::Ip(address) => Subject::Address(*address),
        Value::Unit(unit) => Subject::Unit(unit.clone()),
        Value::Path(path) if name.as_str() == "mount" => Subject::Mount(path.clone()),
        Value::Path(path) => Subject::Path(path.clone()),
        Value::Word(word) if name.as_str() == "device" => {
            Subject::Path(AbsPath::new(format!("/dev/{word}")).ok()?)
        }
        Value::Word(word) if matches!(name.as_str(), "exe" | "process") => Subject::Process(word.clone()),
        Value::Word(word) => Subject::Check(word.clone()),
        _ => return None,
    })
}
