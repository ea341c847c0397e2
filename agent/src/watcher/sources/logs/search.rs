//! Goes through a buffer for literals, and returns the lines, or records, that hold one, each with the patterns that
//! it may fit. Where no literal is, nothing is looked at twice.

use aho_corasick::packed;
use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

/// A line that may fit a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub pattern: usize,
    pub start: usize,
    pub end: usize,
}

/// Finds the first of many literals.
enum First {
    Nothing,
    /// A few literals, many bytes at once.
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

pub(super) struct Search {
    first: First,
    /// Finds all literals of a line, also those within others.
    all: Option<AhoCorasick>,
    /// Which patterns need a literal, by its number.
    owners: Vec<Vec<usize>>,
}

impl Search {
    /// Prepares a search for patterns and the literals that each needs one of.
    ///
    /// # Errors
    /// The literals together are too large.
    pub(super) fn new(needed: &[(usize, Vec<Vec<u8>>)]) -> Result<Self, String> {
        let mut literals: Vec<&[u8]> = needed.iter().flat_map(|(_, l)| l.iter().map(Vec::as_slice)).collect();
        literals.sort_unstable();
        literals.dedup();
        if literals.is_empty() {
            return Ok(Self { first: First::Nothing, all: None, owners: Vec::new() });
        }
        let owners = literals.iter().map(|literal| {
            let own = needed.iter().filter(|(_, l)| l.iter().any(|one| one == literal));
            own.map(|(pattern, _)| *pattern).collect()
        });
        let owners = owners.collect();
        let all = AhoCorasickBuilder::new().match_kind(MatchKind::Standard).build(&literals);
        let all = all.map_err(|e| e.to_string())?;
        let mut config = packed::Config::new();
        let packed = config.match_kind(packed::MatchKind::LeftmostFirst).builder().extend(&literals).build();
        let first = match packed {
            Some(packed) => First::Packed(packed),
            None => {
                let built = AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostFirst).build(&literals);
                First::Automaton(built.map_err(|e| e.to_string())?)
            }
        };
        Ok(Self { first, all: Some(all), owners })
    }

    /// Adds the lines of a buffer that hold a literal; or the records, where it is said where they begin.
    pub(super) fn candidates(&self, buffer: &[u8], records: Option<&[usize]>, to: &mut Vec<Candidate>) {
        let Some(all) = &self.all else { return };
        let mut from = 0;
        while let Some(at) = self.first_at(buffer, from) {
            let (start, end) = match records {
                None => {
                    let start = memchr::memrchr(b'\n', &buffer[from..at]).map_or(from, |n| from + n + 1);
                    (start, memchr::memchr(b'\n', &buffer[at..]).map_or(buffer.len(), |n| at + n))
                }
                Some(records) => {
                    let next = records.partition_point(|begin| *begin <= at);
                    let start = records.get(next.wrapping_sub(1)).copied().unwrap_or(from);
                    let end = records.get(next).copied().unwrap_or(buffer.len());
                    (start, if end > start && buffer[end - 1] == b'\n' { end - 1 } else { end })
                }
            };
            self.patterns_of(all, &buffer[start..end], start, to);
            from = end + 1;
        }
    }

    fn first_at(&self, buffer: &[u8], from: usize) -> Option<usize> {
        if from >= buffer.len() {
            return None;
        }
        match &self.first {
            First::Nothing => None,
            First::Packed(packed) => {
                let span = aho_corasick::Span { start: from, end: buffer.len() };
                packed.find_in(buffer, span).map(|found| found.start())
            }
            First::Automaton(automaton) => {
                let input = aho_corasick::Input::new(buffer).span(from..buffer.len());
                automaton.find(input).map(|found| found.start())
            }
        }
    }

    /// Adds each pattern that needs a literal of this line, once.
    fn patterns_of(&self, all: &AhoCorasick, line: &[u8], start: usize, to: &mut Vec<Candidate>) {
        let before = to.len();
        let end = start + line.len();
        for found in all.find_overlapping_iter(line) {
            for pattern in &self.owners[found.pattern().as_usize()] {
                if !to[before..].iter().any(|c| c.pattern == *pattern) {
                    to.push(Candidate { pattern: *pattern, start, end });
                }
            }
        }
    }
}
