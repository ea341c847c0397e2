//! What the administrator says of logs: where they are, how they are written, and what to notice in them; the rules
//! that come with the agent; and what can be wrong with all that.

use super::at::{At, Leaf, Pattern, Period};
use super::check::{count, unique};
use super::kernel::Kernel;
use super::watch::Watch;
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use sopwith_domain::signal::{Severity, SignalKind};
use sopwith_domain::value::{AbsPath, UnitName, Value, ValueType, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

/// The rules that come with the agent, by group.
const SHIPPED: &str = include_str!("log_rules.yaml");
/// Longest time of silence, or between a line and the one that must follow it.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Most patterns of one rule.
const PATTERNS_MAX: usize = 32;

/// A log and what to notice in it. It is read from `paths`, from the journal, or it is the kernel's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub name: At<Word>,
    /// Files and folders; in each part of a path `*`, `?` and `[…]` are a pattern. A folder stands for its files.
    #[serde(default)]
    pub paths: Vec<At<AbsPath>>,
    /// Entries of systemd's journal, each as one line `IDENTIFIER[PID]: MESSAGE`.
    #[serde(default)]
    pub journal: Option<JournalFilter>,
    /// The kernel's own log, as lines `kernel: MESSAGE`: from the journal, or where there is none from /dev/kmsg.
    #[serde(default = "not")]
    pub kernel: At<bool>,
    #[serde(default = "automatic")]
    pub encoding: At<Encoding>,
    /// How several lines are one record.
    #[serde(default)]
    pub record: Option<Record>,
    /// Rules that come with the agent, one by one or by group.
    #[serde(default, rename = "use")]
    pub shipped: Vec<At<Word>>,
    #[serde(default)]
    pub rules: Vec<LogRule>,
    /// Rules of a group that another source makes needless: it tells the same.
    #[serde(skip)]
    pub needless: Vec<&'static str>,
}

/// Which entries of the journal: those that fit one of the units or identifiers, if any are said, and the rest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalFilter {
    pub units: Vec<At<UnitName>>,
    pub identifiers: Vec<At<Word>>,
    /// Least priority: emerg, alert, crit, err, warning, notice, info, debug.
    pub priority: Option<At<Priority>>,
}

/// A priority of syslog, 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16 where the file begins with its mark, else UTF-8.
    Auto,
    Utf8,
    Utf16Le,
    Utf16Be,
    Latin1,
}

/// One of the two says where a record begins.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// A line that fits begins a record.
    #[serde(default)]
    pub start: Option<At<Pattern>>,
    /// A line that fits belongs to the record before it.
    #[serde(default)]
    pub continuation: Option<At<Pattern>>,
}

/// One thing to notice in a log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRule {
    pub name: At<Word>,
    /// A rule that comes with the agent, of which everything is taken that is not said here.
    #[serde(default)]
    pub like: Option<At<Word>>,
    /// Whatever a stranger can write into a line he can also write to look like something else: anchor the pattern
    /// at the end that he does not control. For sshd that is the last ` from IP port N ssh2$`.
    #[serde(default)]
    pub pattern: Option<At<Pattern>>,
    /// Further patterns, where a thing is written in several ways.
    #[serde(default)]
    pub patterns: Vec<At<Pattern>>,
    /// Named groups of the patterns and the type that each must be, in full, to be taken.
    #[serde(default)]
    pub captures: BTreeMap<Word, At<ValueType>>,
    /// Values that every signal of the rule carries, for playbooks: what only the operator can know.
    #[serde(default)]
    pub fields: BTreeMap<Word, At<Value>>,
    #[serde(default)]
    pub rate: Option<Rate>,
    /// It is a fault when no line fits for so long; without a pattern, when there is no line at all.
    #[serde(default)]
    pub silence: Option<At<Period>>,
    /// It is a fault only when no line follows that fits this.
    #[serde(default)]
    pub unless: Option<Unless>,
    /// Kind of the signal, in place of log.match, log.rate, log.silence and log.missing.
    #[serde(default)]
    pub kind: Option<At<SignalKind>>,
    /// Captures that may say what the signal is about; the first that is there does.
    #[serde(default)]
    pub subject: Vec<At<Word>>,
    #[serde(default)]
    pub severity: Option<At<Severity>>,
    /// So long after the last match the condition is over; by default the rate's `within`, or ten minutes.
    #[serde(default)]
    pub quiet: Option<At<Period>>,
    /// Most processor time that the rule may take, in hundredths of a core. Beyond it the rule pauses.
    #[serde(default)]
    pub cpu_percent: Option<At<u8>>,
}

/// So many matches within a time, counted by the value of a capture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub count: At<u32>,
    pub within: At<Period>,
    #[serde(default)]
    pub by: Option<At<Word>>,
}

/// What must follow within a time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unless {
    pub pattern: At<Pattern>,
    pub within: At<Period>,
    /// A capture, there in both patterns, by which lines belong together.
    #[serde(default)]
    pub by: Option<At<Word>>,
}

fn not() -> At<bool> {
    At::of(false)
}
fn automatic() -> At<Encoding> {
    At::of(Encoding::Auto)
}

const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

impl Leaf for Priority {
    fn read(text: &str) -> Result<Self, String> {
        let found = PRIORITIES.iter().position(|p| *p == text);
        let found = found.and_then(|at| u8::try_from(at).ok()).map(Self);
        found.ok_or_else(|| format!("{text:?} is not one of {}", PRIORITIES.join(", ")))
    }
    fn placeholder() -> Self {
        Self(7)
    }
}

impl Leaf for Encoding {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "utf-8" => Ok(Self::Utf8),
            "utf-16le" => Ok(Self::Utf16Le),
            "utf-16be" => Ok(Self::Utf16Be),
            "latin1" => Ok(Self::Latin1),
            _ => Err(format!("{text:?} is not one of auto, utf-8, utf-16le, utf-16be, latin1")),
        }
    }
    fn placeholder() -> Self {
        Self::Auto
    }
}

impl Log {
    /// Returns the rules in force: the log's own and the shipped ones that it uses, each with all that it takes over.
    pub fn effective(&self) -> Vec<LogRule> {
        let mut rules: Vec<LogRule> = self.rules.iter().map(LogRule::completed).collect();
        for wanted in &self.shipped {
            let found = shipped().iter().flat_map(|(group, rules)| rules.iter().map(move |r| (group, r)));
            let by_group = |rule: &LogRule| !self.needless.contains(&rule.name.as_str());
            let wanted =
                found.filter(|(group, rule)| *group == &**wanted && by_group(rule) || *rule.name == **wanted);
            for (_, rule) in wanted {
                if !rules.iter().any(|r| r.name == rule.name) {
                    rules.push(rule.clone());
                }
            }
        }
        rules
    }
}

impl LogRule {
    /// Returns all its patterns.
    pub fn all_patterns(&self) -> impl Iterator<Item = &At<Pattern>> {
        self.pattern.iter().chain(&self.patterns)
    }

    pub fn severity(&self) -> Severity {
        self.severity.as_ref().map_or(Severity::Warning, |severity| **severity)
    }

    /// Takes over what it does not say itself.
    fn completed(&self) -> Self {
        let mut rule = self.clone();
        let Some(model) = self.like.as_ref().and_then(|name| shipped_rule(name)) else { return rule };
        if rule.all_patterns().next().is_none() {
            (rule.pattern, rule.patterns) = (model.pattern.clone(), model.patterns.clone());
            rule.captures.extend(model.captures.clone());
        }
        for (name, value) in &model.fields {
            rule.fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if rule.subject.is_empty() {
            rule.subject.clone_from(&model.subject);
        }
        rule.rate = rule.rate.or_else(|| model.rate.clone());
        rule.unless = rule.unless.or_else(|| model.unless.clone());
        rule.kind = rule.kind.or_else(|| model.kind.clone());
        rule.severity = rule.severity.or_else(|| model.severity.clone());
        rule.quiet = rule.quiet.or_else(|| model.quiet.clone());
        rule
    }
}

/// Returns the rules that come with the agent, by group.
pub fn shipped() -> &'static BTreeMap<Word, Vec<LogRule>> {
    static RULES: OnceLock<BTreeMap<Word, Vec<LogRule>>> = OnceLock::new();
    RULES.get_or_init(|| {
        sopwith_domain::yaml::from_str(SHIPPED)
            .unwrap_or_else(|finding: Finding| panic!("the shipped log rules: {finding}"))
    })
}

fn shipped_rule(name: &Word) -> Option<&'static LogRule> {
    shipped().values().flatten().find(|rule| *rule.name == *name)
}

/// Notes which rules of a group say of this host's own kernel what a source that asks the kernel itself says.
pub(super) fn note_needless(logs: &mut [Log], kernel: &Kernel) {
    let (oom, mounts) = (kernel.oom.watch != Watch::None, kernel.mounts.watch != Watch::None);
    let needless = [("oom-kill", oom), ("remounted-read-only", mounts)];
    for log in logs.iter_mut().filter(|log| *log.kernel) {
        log.needless = needless.iter().filter(|(_, told)| *told).map(|(rule, _)| *rule).collect();
    }
}

/// Adds everything that is wrong with the logs.
pub(super) fn findings(logs: &[Log], found: &mut Vec<Finding>) {
    unique(logs.iter().map(|l| &l.name), "logs", found);
    for log in logs {
        let places = [!log.paths.is_empty(), log.journal.is_some(), *log.kernel];
        if places.iter().filter(|there| **there).count() != 1 {
            found.push(log.name.finding("say one of paths, journal and kernel: true"));
        }
        if let Some(record) = &log.record
            && record.start.is_some() == record.continuation.is_some()
        {
            found.push(log.name.finding("a record has either a start or a continuation"));
        }
        if log.record.is_some() && log.paths.is_empty() {
            found.push(log.name.finding("records are of files: an entry of the journal is one by itself"));
        }
        for wanted in &log.shipped {
            if !shipped().contains_key(&**wanted) && shipped_rule(wanted).is_none() {
                let groups = shipped().keys().map(Word::as_str).collect::<Vec<_>>().join(", ");
                found.push(
                    wanted.finding(format!("{} is no shipped rule or group: {groups}", wanted.as_str())),
                );
            }
        }
        if log.rules.is_empty() && log.shipped.is_empty() {
            found.push(log.name.finding("say what to notice: rules, or use"));
        }
        unique(log.rules.iter().map(|r| &r.name), "rules", found);
        log.rules.iter().for_each(|rule| log_rule(rule, found));
    }
}

fn log_rule(said: &LogRule, found: &mut Vec<Finding>) {
    if let Some(like) = &said.like
        && shipped_rule(like).is_none()
    {
        found.push(like.finding(format!("{} is no shipped rule", like.as_str())));
    }
    let rule = said.completed();
    let patterns: Vec<_> = rule.all_patterns().collect();
    if patterns.is_empty() && rule.silence.is_none() {
        found.push(rule.name.finding("say a pattern, or silence"));
    }
    if patterns.len() > PATTERNS_MAX {
        found.push(rule.name.finding(format!("at most {PATTERNS_MAX} patterns")));
    }
    let groups: BTreeSet<&str> = patterns.iter().flat_map(|p| p.groups()).collect();
    for (name, kind) in &rule.captures {
        if !groups.contains(name.as_str()) {
            found.push(kind.finding(format!("the pattern has no group (?P<{name}>…)")));
        }
    }
    for (name, value) in &rule.fields {
        if rule.captures.contains_key(name) {
            found.push(value.finding(format!("{name} is a capture already")));
        }
    }
    let by = rule.rate.as_ref().and_then(|r| r.by.as_ref()).into_iter();
    let by = by.chain(rule.unless.as_ref().and_then(|u| u.by.as_ref()));
    for name in by.chain(&rule.subject).filter(|name| !rule.captures.contains_key(&***name)) {
        found.push(name.finding(format!("{} is not among the captures", name.as_str())));
    }
    conditions(&rule, found);
}

/// What a rule counts, or waits for: at most one of these.
fn conditions(rule: &LogRule, found: &mut Vec<Finding>) {
    if [rule.rate.is_some(), rule.silence.is_some(), rule.unless.is_some()].iter().filter(|is| **is).count()
        > 1
    {
        found.push(rule.name.finding("at most one of rate, silence and unless"));
    }
    if let Some(rate) = &rule.rate {
        count(&rate.count, &rate.within, found);
    }
    let within = |period: &At<Period>, found: &mut Vec<Finding>| {
        if period.0 < Duration::from_secs(1) || period.0 > SILENCE_MAX {
            found.push(period.finding("must be 1s to 30d"));
        }
    };
    rule.silence.iter().for_each(|silence| within(silence, found));
    if let Some(unless) = &rule.unless {
        within(&unless.within, found);
        let there = |by: &At<Word>| unless.pattern.groups().any(|n| n == by.as_str());
        if let Some(by) = unless.by.as_ref().filter(|by| !there(by)) {
            found.push(by.finding(format!("the pattern after unless has no group (?P<{}>…)", by.as_str())));
        }
    }
    if let Some(percent) = rule.cpu_percent.as_ref().filter(|p| !(1..=100).contains(&***p)) {
        found.push(percent.finding("must be 1 to 100"));
    }
}

#[cfg(test)]
mod tests;
