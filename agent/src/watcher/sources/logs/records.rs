//! Several lines as one record: which lines begin one. Pure.

use super::literals;
use crate::config::Record;
use regex::bytes::Regex;

/// Longest time that a record waits for its next line, in milliseconds.
pub(super) const WAIT_MS: u64 = 1_500;

#[derive(Clone, Debug)]
pub(super) struct Splitter {
    pattern: Regex,
    /// Whether a line that fits begins a record, or else goes on with the one before it.
    begins: bool,
}

impl Splitter {
    /// # Errors
    /// The pattern is too large.
    pub(super) fn new(record: &Record) -> Result<Option<Self>, String> {
        let begins = record.start.is_some();
        let Some(pattern) = record.start.as_ref().or(record.continuation.as_ref()) else { return Ok(None) };
        let hir = literals::of_a_line(pattern.as_str()).map_err(|e| e.to_string())?;
        let pattern = Regex::new(&hir.to_string()).map_err(|e| e.to_string())?;
        Ok(Some(Self { pattern, begins }))
    }

    /// Returns where records begin in a text of whole lines; the first always does.
    pub(super) fn beginnings(&self, text: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n);
            let line = text[start..end].strip_suffix(b"\r").unwrap_or(&text[start..end]);
            if start == 0 || self.pattern.is_match(line) == self.begins {
                found.push(start);
            }
            start = end + 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;

    #[test]
    fn lines_begin_records_or_go_on_with_them() {
        let text = b"  first\nA one\n  two\nB three\n  four\r\n\nC five\n";
        for (start, pattern, expected) in [
            (true, "^[A-Z]", &[0, 8, 20, 37][..]),
            (false, "^\\s|^$", &[0, 8, 20, 37]),
            (true, "o", &[0, 8, 14, 28]),
        ] {
            let pattern = Some(At::of(pattern.parse().expect("a pattern")));
            let record = match start {
                true => Record { start: pattern, continuation: None },
                false => Record { start: None, continuation: pattern },
            };
            let splitter = Splitter::new(&record).expect("small").expect("one");
            assert_eq!(splitter.beginnings(text), expected, "{record:?}");
        }
    }
}
