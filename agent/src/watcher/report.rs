//! What sources say: which conditions hold, which are over, how the source itself is. Typed through and through;
//! words beside the fields are for people only.

use serde::{Deserialize, Serialize};
use sopwith_domain::declaration::Declarations;
use sopwith_domain::ids::RuleId;
use sopwith_domain::inspection::Inspection;
use sopwith_domain::signal::{
    DEPENDS_ON_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX, Evidence, FIELDS_MAX, SUMMARY_BYTES_MAX, Severity,
    SignalKind, Subject,
};
use sopwith_domain::value::{UnitName, Value, Word};
use std::collections::BTreeMap;
use std::time::Duration;

/// A fault that a source sees.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    pub rule: RuleId,
    pub kind: SignalKind,
    pub subject: Subject,
    pub severity: Severity,
    pub summary: String,
    pub fields: BTreeMap<Word, Value>,
    pub evidence: Vec<Evidence>,
    /// What the subject cannot be well without.
    #[serde(default)]
    pub depends_on: Vec<Subject>,
}

impl Fault {
    /// Begins a fault without fields. Rule and kind are names from the agent's own text or checked configuration.
    pub fn new(
        rule: &str,
        kind: &str,
        subject: Subject,
        severity: Severity,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            rule: RuleId::new(rule).expect("rules are named by the agent or by checked configuration"),
            kind: SignalKind::new(kind).expect("kinds are named by the agent"),
            subject,
            severity,
            summary: bounded(&summary.into(), SUMMARY_BYTES_MAX),
            fields: BTreeMap::new(),
            evidence: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    /// Adds something that the subject cannot be well without, up to the bound of a signal.
    pub fn depends_on(&mut self, on: Subject) {
        if self.depends_on.len() < DEPENDS_ON_MAX && !self.depends_on.contains(&on) {
            self.depends_on.push(on);
        }
    }

    /// Adds a field, up to the bound of a signal.
    pub fn field(&mut self, name: &str, value: Value) {
        if self.fields.len() < FIELDS_MAX {
            self.fields.insert(Word::new(name).expect("fields are named by the agent"), value);
        }
    }

    /// Adds a word, unless the text is none.
    pub fn word(&mut self, name: &str, text: &str) {
        if let Ok(word) = Word::new(text) {
            self.field(name, Value::Word(word));
        }
    }

    pub fn integer(&mut self, name: &str, number: impl TryInto<i64>) {
        self.field(name, Value::Integer(number.try_into().unwrap_or(i64::MAX)));
    }

    /// Adds a piece of evidence; of a text that is too long the end is kept, where the news is.
    pub fn show(&mut self, title: &str, text: &str) {
        if self.evidence.len() < EVIDENCE_MAX && !text.trim().is_empty() {
            self.evidence.push(evidence(title, text));
        }
    }
}

/// Makes a piece of evidence within its bounds.
pub fn evidence(title: &str, text: &str) -> Evidence {
    let mut from = text.len().saturating_sub(EVIDENCE_BYTES_MAX - 4);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let text = if from > 0 { format!("…{}", &text[from..]) } else { text.to_owned() };
    Evidence { title: bounded(title, SUMMARY_BYTES_MAX), text }
}

/// Cuts a text to so many bytes.
pub fn bounded(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// How much of a condition it takes to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tolerance {
    /// It holds for so long.
    For(Duration),
    /// It is seen so many times within a time.
    Times { count: u32, within: Duration },
}

impl Tolerance {
    pub const NONE: Self = Self::For(Duration::ZERO);
}

/// What to look at, after a fault was raised, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    Journal(UnitName),
}

/// One thing that a source says.
#[derive(Clone, Debug)]
pub enum Report {
    /// The condition holds now.
    Holds { fault: Box<Fault>, tolerance: Tolerance, look: Option<Look> },
    /// It happened once and is over by itself when it did not happen again for so long.
    Happened { fault: Box<Fault>, quiet: Duration },
    /// The condition does not hold now.
    Over { rule: RuleId, subject: Subject },
    /// What was gathered about a condition after it was raised.
    Gathered { rule: RuleId, subject: Subject, evidence: Vec<Evidence> },
    /// Everything of this source that holds has been reported since it began.
    Settled,
    /// What the host says of itself has changed.
    Declared(Declarations),
    /// What the checks said in the course of a day.
    Inspected(Box<Inspection>),
    /// Everything of this source was looked at afresh, because something changed that the server judges by: what
    /// holds is said again.
    LookedAfresh,
    /// The server, or the host's life, began anew: everything that holds is said again.
    BeginAgain,
}

impl Report {
    pub fn holds(fault: Fault, tolerance: Tolerance) -> Self {
        Self::Holds { fault: Box::new(fault), tolerance, look: None }
    }
    pub fn over(rule: &str, subject: Subject) -> Self {
        let rule = RuleId::new(rule).expect("rules are named by the agent or by checked configuration");
        Self::Over { rule, subject }
    }
}

/// How a source is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceState {
    Starting,
    /// It cannot begin yet, which is no fault.
    Waiting(String),
    Well,
    Broken(String),
}

impl SourceState {
    pub fn text(&self) -> String {
        match self {
            Self::Starting => "starting".into(),
            Self::Waiting(reason) => format!("waiting: {reason}"),
            Self::Well => "ok".into(),
            Self::Broken(reason) => format!("broken: {reason}"),
        }
    }
}
