//! Finds the lines that a log's rules speak of, in whole buffers at a time, and takes typed values from them: a search
//! for the literals that the patterns need, the bounds of a line only where one is, and only then the patterns. The
//! time is linear in the buffer, whatever the patterns, and bounded for each rule. A value that is not of its type in
//! full is left out and counted.

use super::budget::Budget;
use super::literals;
use super::search::{Candidate, Search};
use crate::config::LogRule;
use regex::bytes::{Captures, Regex};
use rustix::time::{ClockId, clock_gettime};
use sopwith_domain::value::{Value, Word};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Longest line that is shown as evidence, in bytes.
const SHOWN_BYTES_MAX: usize = 400;
/// Processor time of a rule that does not say, in hundredths of a core.
const CPU_PERCENT: u8 = 10;
/// Largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A line that fits a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hit {
    /// Which of the log's rules.
    pub rule: usize,
    /// Whether it fits the pattern that must not be missing, rather than the rule's own.
    pub unless: bool,
    pub values: BTreeMap<Word, Value>,
    /// Captures that were there and not of their type.
    pub rejected: u32,
    /// The line, for people.
    pub line: String,
}

/// What asking a buffer came to, beside the hits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    /// Processor time by rule, in microseconds.
    pub used_us: Vec<(usize, u64)>,
    /// Rules that were not asked because they had used up their time.
    pub paused: Vec<usize>,
}

struct Pattern {
    /// As it is asked of a line, or of a record.
    text: String,
    /// Built when a line may fit it for the first time: most patterns of most hosts never meet one.
    built: OnceLock<Regex>,
    rule: usize,
    unless: bool,
}

impl Pattern {
    fn build(text: &str) -> Result<Regex, regex::Error> {
        regex::bytes::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build()
    }

    fn regex(&self) -> &Regex {
        self.built.get_or_init(|| Self::build(&self.text).expect("it could be built before"))
    }
}

/// The rules of one log.
pub(super) struct Rules {
    rules: Vec<LogRule>,
    budgets: Vec<Budget>,
    patterns: Vec<Pattern>,
    /// Patterns with a literal in everything that they match.
    search: Search,
    /// Patterns without one.
    loose: Vec<usize>,
    candidates: Vec<Candidate>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

impl Rules {
    /// Prepares rules, to be asked of lines or of records of several lines.
    ///
    /// # Errors
    /// A pattern is too large.
    pub(super) fn new(rules: Vec<LogRule>, of_records: bool) -> Result<Self, String> {
        let (mut patterns, mut needed, mut loose) = (Vec::new(), Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            let own = rule.all_patterns().map(|pattern| (pattern, false));
            for (pattern, unless) in own.chain(rule.unless.iter().map(|u| (&u.pattern, true))) {
                let text = pattern.as_str();
                let read = if of_records { literals::of_a_record } else { literals::of_a_line };
                let hir = read(text).map_err(|e| e.to_string())?;
                let text = hir.to_string();
                Pattern::build(&text).map_err(|e| e.to_string())?;
                match literals::required(&hir) {
                    Some(literals) => needed.push((patterns.len(), literals)),
                    None => loose.push(patterns.len()),
                }
                patterns.push(Pattern { text, built: OnceLock::new(), rule: index, unless });
            }
        }
        let percent = |rule: &LogRule| rule.cpu_percent.as_ref().map_or(CPU_PERCENT, |percent| **percent);
        let budgets = rules.iter().map(|rule| Budget::new(percent(rule))).collect();
        let search = Search::new(&needed)?;
        Ok(Self { rules, budgets, patterns, search, loose, candidates: Vec::new() })
    }

    /// Lets the rules take as much processor time as they need.
    pub(super) fn unbounded(&mut self) {
        self.budgets.iter_mut().for_each(Budget::unbound);
    }

    pub(super) fn rule(&self, index: usize) -> &LogRule {
        &self.rules[index]
    }

    pub(super) fn all(&self) -> &[LogRule] {
        &self.rules
    }

    /// Says which rules have used up their time.
    pub(super) fn paused(&self) -> impl Iterator<Item = &LogRule> {
        self.rules.iter().zip(&self.budgets).filter(|(_, budget)| budget.paused()).map(|(rule, _)| rule)
    }

    /// Hands over every line of a buffer that fits a rule, in order; the buffer ends with a line. Where `records`
    /// says where the records begin, they are asked instead of the lines.
    pub(super) fn find(
        &mut self,
        buffer: &[u8],
        records: Option<&[usize]>,
        now_ms: u64,
        each: &mut dyn FnMut(Hit),
    ) -> Asked {
        let mut asked = Asked::default();
        let may: Vec<bool> = self.budgets.iter_mut().map(|budget| budget.may(now_ms)).collect();
        asked.paused.extend((0..may.len()).filter(|rule| !may[*rule]));
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        self.search.candidates(buffer, records, &mut candidates);
        // One pattern after the other, so that its time is measured with two looks at the clock.
        candidates.sort_unstable_by_key(|c| (c.pattern, c.start));
        let mut hits: Vec<(usize, Hit)> = Vec::new();
        let mut clock = Stopwatch::new();
        for group in candidates.chunk_by(|a, b| a.pattern == b.pattern) {
            let pattern = &self.patterns[group[0].pattern];
            if may[pattern.rule] {
                let rule = &self.rules[pattern.rule];
                for candidate in group {
                    let line = &buffer[candidate.start..candidate.end];
                    hits.extend(take(pattern, rule, line).map(|hit| (candidate.start, hit)));
                }
                clock.lap(&mut asked, pattern.rule);
            }
        }
        for pattern in self.loose.iter().map(|index| &self.patterns[*index]) {
            if may[pattern.rule] {
                let rule = &self.rules[pattern.rule];
                let mut found = |start: usize, text: &[u8]| {
                    hits.extend(take(pattern, rule, text).map(|hit| (start, hit)));
                };
                match records {
                    Some(records) => each_record(buffer, records, &mut found),
                    None => lines_with_matches(pattern.regex(), buffer, &mut found),
                }
                clock.lap(&mut asked, pattern.rule);
            }
        }
        self.candidates = candidates;
        for (rule, used_us) in &asked.used_us {
            self.budgets[*rule].take(*used_us);
        }
        // A line that fits several patterns of one rule counts once.
        hits.sort_by_key(|(start, hit)| (*start, hit.rule, hit.unless));
        hits.dedup_by_key(|(start, hit)| (*start, hit.rule, hit.unless));
        hits.into_iter().for_each(|(_, hit)| each(hit));
        asked
    }
}

/// Measures this thread's processor time.
struct Stopwatch(u64);

impl Stopwatch {
    fn new() -> Self {
        Self(Self::now_ns())
    }
    fn now_ns() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
    }
    fn lap(&mut self, asked: &mut Asked, rule: usize) {
        let now_ns = Self::now_ns();
        asked.used_us.push((rule, (now_ns - self.0).div_ceil(1000)));
        self.0 = now_ns;
    }
}

/// Goes from match to match; none of them goes beyond its line.
fn lines_with_matches(pattern: &Regex, buffer: &[u8], each: &mut dyn FnMut(usize, &[u8])) {
    let mut from = 0;
    while from < buffer.len() {
        let Some(found) = pattern.find_at(buffer, from) else { return };
        if found.start() >= buffer.len() {
            return;
        }
        let start = memchr::memrchr(b'\n', &buffer[..found.start()]).map_or(0, |at| at + 1);
        let end = memchr::memchr(b'\n', &buffer[found.start()..]);
        let end = end.map_or(buffer.len(), |n| found.start() + n);
        each(start, &buffer[start..end]);
        from = end + 1;
    }
}

fn each_record(buffer: &[u8], records: &[usize], each: &mut dyn FnMut(usize, &[u8])) {
    for (index, start) in records.iter().enumerate() {
        let end = records.get(index + 1).copied().unwrap_or(buffer.len());
        each(*start, buffer[*start..end].strip_suffix(b"\n").unwrap_or(&buffer[*start..end]));
    }
}

fn take(pattern: &Pattern, rule: &LogRule, line: &[u8]) -> Option<Hit> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (values, rejected) = if rule.captures.is_empty() {
        pattern.regex().is_match(line).then(Default::default)?
    } else {
        values(&pattern.regex().captures(line)?, rule)
    };
    let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES_MAX)]).into_owned();
    Some(Hit { rule: pattern.rule, unless: pattern.unless, values, rejected, line: shown })
}

fn values(captures: &Captures<'_>, rule: &LogRule) -> (BTreeMap<Word, Value>, u32) {
    let (mut values, mut rejected) = (BTreeMap::new(), 0);
    for (name, kind) in &rule.captures {
        let Some(found) = captures.name(name.as_str()) else { continue };
        match std::str::from_utf8(found.as_bytes()).ok().and_then(|text| kind.parse(text).ok()) {
            Some(value) => _ = values.insert(name.clone(), value),
            None => rejected += 1,
        }
    }
    (values, rejected)
}

#[cfg(test)]
mod tests;
