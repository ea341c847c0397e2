//! Finds the lines that a log's rules speak of, in whole buffers at a time, and takes typed values from them. The time
//! is linear in the buffer, whatever the patterns. A value that is not of its type in full is left out and counted.

use crate::config::{Log, LogRule};
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use sopwith_domain::value::{Value, Word};
use std::collections::BTreeMap;

/// Longest line that is shown as evidence, in bytes.
const SHOWN_BYTES_MAX: usize = 400;

/// A line that fits a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hit {
    /// Which of the log's rules.
    pub rule: usize,
    pub values: BTreeMap<Word, Value>,
    /// Captures that were there and not of their type.
    pub rejected: u32,
    /// The line, for people.
    pub line: String,
}

/// The rules of one log.
#[derive(Debug)]
pub(super) struct Rules {
    all: RegexSet,
    each: Vec<(Regex, LogRule)>,
}

/// Says whether a pattern can be asked of a buffer of many lines: `\A` and `\z` mean the ends of one.
fn spans_buffers(pattern: &str) -> bool {
    !pattern.contains("\\A") && !pattern.contains("\\z")
}

impl Rules {
    /// Prepares the rules of a log.
    ///
    /// # Errors
    /// The patterns together are too large.
    pub(super) fn new(log: &Log) -> Result<Self, regex::Error> {
        let patterns = log.rules.iter().map(|rule| rule.pattern.0.as_str());
        let all = RegexSetBuilder::new(patterns).unicode(false).multi_line(true).crlf(true).build()?;
        let each = log.rules.iter().map(|rule| {
            let mut pattern = RegexBuilder::new(rule.pattern.0.as_str());
            Ok((pattern.unicode(false).multi_line(true).crlf(true).build()?, rule.clone()))
        });
        Ok(Self { all, each: each.collect::<Result<_, regex::Error>>()? })
    }

    pub(super) fn rule(&self, index: usize) -> &LogRule {
        &self.each[index].1
    }

    /// Hands over every line of a buffer that fits a rule; the buffer ends with a line.
    pub(super) fn find(&self, buffer: &[u8], each: &mut dyn FnMut(Hit)) {
        let likely = self.all.matches(buffer);
        for (index, (pattern, rule)) in self.each.iter().enumerate() {
            if spans_buffers(pattern.as_str()) {
                if likely.matched(index) {
                    lines_near_matches(pattern, buffer, &mut |line| take(index, pattern, rule, line, each));
                }
            } else {
                let lines = buffer.split(|b| *b == b'\n');
                lines.for_each(|line| take(index, pattern, rule, line, each));
            }
        }
    }
}

/// Goes from match to match. One may begin in a line that does not fit by itself and end in another, so that the
/// search goes on with the next line.
fn lines_near_matches(pattern: &Regex, buffer: &[u8], each: &mut dyn FnMut(&[u8])) {
    let mut from = 0;
    while let Some(found) = pattern.find_at(buffer, from) {
        let begin = buffer[..found.start()].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let end = buffer[found.start()..]
            .iter()
            .position(|b| *b == b'\n')
            .map_or(buffer.len(), |n| found.start() + n);
        each(&buffer[begin.max(from)..end]);
        from = end + 1;
        if from > buffer.len() {
            return;
        }
    }
}

fn take(index: usize, pattern: &Regex, rule: &LogRule, line: &[u8], each: &mut dyn FnMut(Hit)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(captures) = pattern.captures(line) else { return };
    let (values, rejected) = values(&captures, rule);
    let mut shown = line;
    shown = &shown[..shown.len().min(SHOWN_BYTES_MAX)];
    each(Hit { rule: index, values, rejected, line: String::from_utf8_lossy(shown).into_owned() });
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
mod tests {
    use super::*;
    use crate::config::Config;

    fn rules(rules: &[(&str, &str)]) -> Rules {
        let lines: Vec<_> = rules
            .iter()
            .enumerate()
            .map(|(n, (pattern, captures))| {
                format!("  - {{name: r{n}, pattern: '{pattern}', captures: {{{captures}}}}}")
            })
            .collect();
        let text = format!("logs:\n- name: l\n  paths: [/x]\n  rules:\n{}\n", lines.join("\n"));
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        Rules::new(&config.logs[0]).expect("they are small")
    }

    fn found(rules: &Rules, buffer: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        rules.find(buffer, &mut |hit| {
            let values: Vec<_> = hit.values.iter().map(|(n, v)| format!("{n}={v}")).collect();
            found.push(format!("{} {} !{} {}", hit.rule, values.join(","), hit.rejected, hit.line));
        });
        found
    }

    #[test]
    fn each_fitting_line_is_found_once_and_nothing_across_lines() {
        let rules = rules(&[("^a.*z$", ""), ("b\\sc", ""), ("\\Ax", ""), ("[^q]+y$", "")]);
        for (buffer, expected) in [
            (&b"abz\nb c\nx\n"[..], &["0  !0 abz", "1  !0 b c", "2  !0 x"][..]),
            (b"a\nz\n", &[]),
            (b"b\nc\nb c\n", &["1  !0 b c"]),
            (b"az\r\naz\r\n", &["0  !0 az", "0  !0 az"]),
            (b"one\ntwo y\nthree\n", &["3  !0 two y"]),
            (b"\xff\xfe az\naz \xff\nab\xffz\n", &["0  !0 ab\u{fffd}z"]),
            (b"", &[]),
            (b"no end but az\nax", &[]),
            (b"\n\n\n", &[]),
        ] {
            assert_eq!(found(&rules, buffer), expected, "{:?}", String::from_utf8_lossy(buffer));
        }
    }

    #[test]
    fn captures_are_taken_in_full_by_their_type_or_not_at_all() {
        let rules = rules(&[(
            "from (?P<ip>\\S+) port (?P<port>\\S+)(?P<rest> .*)?$",
            "ip: ip, port: integer, rest: word",
        )]);
        for (line, expected) in [
            ("from 192.0.2.1 port 22", "ip=192.0.2.1,port=22 !0"),
            ("from 2001:db8::1 port 22", "ip=2001:db8::1,port=22 !0"),
            ("from 192.0.2.1/24 port 22", "port=22 !1"),
            ("from $(id) port 22;id", " !2"),
            ("from 0x7f000001 port 99999999999999999999", " !2"),
            ("from 192.0.2.1 port 22 some words", "ip=192.0.2.1,port=22 !1"),
        ] {
            let told = found(&rules, format!("{line}\n").as_bytes());
            assert_eq!(told, [format!("0 {expected} {line}")], "{line}");
        }
    }

    #[test]
    fn nested_quantifiers_take_linear_time() {
        let rules = rules(&[("^(a+)+$", "")]);
        let buffer = [vec![b'a'; 60_000], b"b\n".to_vec()].concat();
        assert!(found(&rules, &buffer).is_empty());
    }
}
