//! What a check saw, in one form for all kinds: how it stands, a line that says so, numbers, and what is wrong in
//! typed fields. It is printed by the plugin contract and turned into conditions.

use super::perfdata::Perfdata;
use crate::config::Check;
use crate::watcher::report::{Fault, Report, Tolerance, bounded};
use serde::{Deserialize, Serialize};
use sopwith_domain::inspection::{LINE_BYTES_MAX, Verdict};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, UnitName, Url, Value, Word};
use sopwith_protocol::plain::misleading;
use std::collections::BTreeMap;

/// Most numbers that are kept of one run.
pub const PERFDATA_MAX: usize = 64;
/// Most text beyond the line that is kept, in bytes.
pub const MORE_BYTES_MAX: usize = 7 * 1024;

/// What one run of a check saw.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub verdict: Verdict,
    /// One line, for people.
    pub line: String,
    /// Further lines, for people.
    pub more: String,
    pub perfdata: Vec<Perfdata>,
    /// What is wrong; nothing if all is well.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Kind of the signal, as in `redis.persistence`.
    pub kind: String,
    pub verdict: Verdict,
    pub summary: String,
    pub fields: BTreeMap<Word, Value>,
}

impl Seen {
    /// Begins with a line that says that all is well; findings may follow.
    pub fn well(line: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            line: one_line(&line.into()),
            more: String::new(),
            perfdata: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Makes what is seen of a thing that is wrong in one way.
    pub fn wrong(finding: Finding) -> Self {
        let mut seen = Self::well(String::new());
        seen.find(finding);
        seen.line_from_findings();
        seen
    }

    /// Adds a finding; the worst decides how the check stands.
    pub fn find(&mut self, finding: Finding) {
        self.verdict = worse(self.verdict, finding.verdict);
        self.findings.push(finding);
    }

    /// Lets the findings, the worst first, be the line where there are any.
    pub fn line_from_findings(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(rank(finding.verdict)));
        if !self.findings.is_empty() {
            let said: Vec<_> = self.findings.iter().map(|finding| finding.summary.as_str()).collect();
            self.line = one_line(&said.join("; "));
        }
    }

    /// Adds a number.
    pub fn measure(&mut self, perfdata: Perfdata) {
        if self.perfdata.len() < PERFDATA_MAX {
            self.perfdata.push(perfdata);
        }
    }
}

/// Returns the worse of two verdicts. That something is critical outweighs that something else is not known.
pub fn worse(a: Verdict, b: Verdict) -> Verdict {
    if rank(b) > rank(a) { b } else { a }
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok => 0,
        Verdict::Warning => 1,
        Verdict::Unknown => 2,
        Verdict::Critical => 3,
    }
}

impl Finding {
    pub fn new(kind: &str, verdict: Verdict, summary: impl Into<String>) -> Self {
        Self { kind: kind.into(), verdict, summary: one_line(&summary.into()), fields: BTreeMap::new() }
    }

    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(Word::new(name).expect("fields are named by the agent"), value);
        self
    }
    pub fn integer(self, name: &str, number: impl TryInto<i64>) -> Self {
        self.field(name, Value::Integer(number.try_into().unwrap_or(i64::MAX)))
    }
    pub fn boolean(self, name: &str, flag: bool) -> Self {
        self.field(name, Value::Boolean(flag))
    }
    /// Adds a word, unless the text is none.
    pub fn word(self, name: &str, text: &str) -> Self {
        match Word::new(text) {
            Ok(word) => self.field(name, Value::Word(word)),
            Err(_) => self,
        }
    }
    pub fn path(self, name: &str, path: &AbsPath) -> Self {
        self.field(name, Value::Path(path.clone()))
    }
    pub fn url(self, name: &str, url: &Url) -> Self {
        self.field(name, Value::Url(url.clone()))
    }
    pub fn unit(self, name: &str, unit: &UnitName) -> Self {
        self.field(name, Value::Unit(unit.clone()))
    }
}

/// Makes a text one line within the bounds, without what moves a terminal's cursor.
pub fn one_line(text: &str) -> String {
    let text: String =
        text.chars().map(|c| if c == '\n' || c == '\t' || misleading(c) { ' ' } else { c }).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    bounded(&text, LINE_BYTES_MAX)
}

/// Returns the rule of a kind of signal. One program has one rule; a probe that can see several things at a time has
/// one for each.
pub fn rule(check: &Check, kind: &str) -> String {
    match kind.split_once('.') {
        Some((_, condition)) if kind != "check.failed" => format!("checks.{}.{condition}", *check.name),
        _ => format!("checks.{}", *check.name),
    }
}

/// Returns the faults of what was seen.
pub fn faults(check: &Check, seen: &Seen) -> Vec<Fault> {
    let name = &*check.name;
    let mut faults: Vec<Fault> = Vec::new();
    for finding in &seen.findings {
        let subject = Subject::Check(name.clone());
        let severity = severity(check, finding.verdict);
        let summary = match finding.kind.as_str() {
            "check.failed" => format!("check {name} failed: {}", finding.summary),
            _ => format!("{name}: {}", finding.summary),
        };
        let mut fault = Fault::new(&rule(check, &finding.kind), &finding.kind, subject, severity, summary);
        fault.field("check", Value::Word(name.clone()));
        if let Some(unit) = &check.unit {
            fault.field("unit", Value::Unit((**unit).clone()));
        }
        for (field, value) in &finding.fields {
            fault.field(field.as_str(), value.clone());
        }
        fault.show("its output", &seen.more);
        // Of two findings of one kind the worse stands for both.
        if !faults.iter().any(|known| known.rule == fault.rule) {
            faults.push(fault);
        }
    }
    faults
}

fn severity(check: &Check, verdict: Verdict) -> Severity {
    let own = check.severity.as_ref().map(|severity| **severity);
    match (check.kind().name(), verdict) {
        ("command", _) => own.unwrap_or(Severity::Warning),
        (_, Verdict::Critical) => own.unwrap_or(Severity::Critical),
        _ => own.unwrap_or(Severity::Warning).min(Severity::Warning),
    }
}

/// Returns when what was seen counts.
pub fn tolerance(check: &Check) -> Tolerance {
    match &check.failures {
        Some(failures) => Tolerance::Times { count: *failures.count, within: failures.within.0 },
        None => Tolerance::For(check.tolerance.0),
    }
}

/// Returns what is to be reported: which of the check's conditions hold, and which of them do not.
pub fn reports(check: &Check, faults: &[Fault]) -> Vec<Report> {
    let kinds = super::probes::kinds(check.kind());
    // Of what does not answer nothing else is known: neither that it holds nor that it is over.
    let silent = |fault: &Fault| [".failed", ".down"].iter().any(|end| fault.kind.as_str().ends_with(end));
    let known = if faults.iter().any(silent) { &kinds[..1] } else { kinds };
    let over = known.iter().map(|kind| rule(check, kind)).filter(|rule| {
        let holds = |fault: &Fault| fault.rule.as_str() == rule;
        !faults.iter().any(holds)
    });
    let over = over.map(|rule| Report::over(&rule, Subject::Check((*check.name).clone())));
    let holds = faults.iter().map(|fault| Report::holds(fault.clone(), tolerance(check)));
    over.chain(holds).collect()
}
