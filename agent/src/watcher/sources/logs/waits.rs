//! Lines that another must follow: what waits for it, by key, and until when. Pure.

use serde::{Deserialize, Serialize};
use sopwith_domain::value::{Value, Word};
use std::collections::{BTreeMap, BTreeSet};

/// Most keys that wait at a time; further ones are not waited for, and counted.
pub(super) const WAITING_MAX: usize = 10_000;

/// By what lines belong together: the value of a capture, or all alike.
pub(super) type Key = Option<Value>;

/// A line that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub until_ms: u64,
    pub values: BTreeMap<Word, Value>,
    pub line: String,
}

/// What waits for one rule.
#[derive(Debug)]
pub(super) struct Waits {
    within_ms: u64,
    keys: BTreeMap<Key, Waiting>,
    changed: BTreeSet<Key>,
}

impl Waits {
    pub(super) fn new(within_ms: u64) -> Self {
        Self { within_ms, keys: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Begins to wait; one that waits already goes on with that. Says whether there was room.
    pub(super) fn begin(
        &mut self,
        key: Key,
        values: BTreeMap<Word, Value>,
        line: String,
        now_ms: u64,
    ) -> bool {
        if self.keys.contains_key(&key) {
            return true;
        }
        if self.keys.len() >= WAITING_MAX {
            return false;
        }
        self.changed.insert(key.clone());
        self.keys.insert(key, Waiting { until_ms: now_ms + self.within_ms, values, line });
        true
    }

    /// What was waited for came, unless it came too late.
    pub(super) fn came(&mut self, key: &Key, now_ms: u64) {
        if self.keys.get(key).is_some_and(|waiting| waiting.until_ms > now_ms) {
            self.keys.remove(key);
            self.changed.insert(key.clone());
        }
    }

    /// Takes what waited in vain.
    pub(super) fn over(&mut self, now_ms: u64) -> Vec<(Key, Waiting)> {
        let over: Vec<_> = self.keys.extract_if(.., |_, waiting| waiting.until_ms <= now_ms).collect();
        self.changed.extend(over.iter().map(|(key, _)| key.clone()));
        over
    }

    /// Returns what is to be kept, or forgotten, since the last call, by key.
    pub(super) fn changes(&mut self) -> Vec<(Key, Option<String>)> {
        let changed = std::mem::take(&mut self.changed);
        let text = |key: Key| {
            let kept = self.keys.get(&key).map(|waiting| {
                serde_json::to_string(&(&key, waiting)).expect("what waits has string keys and no floats")
            });
            (key, kept)
        };
        changed.into_iter().map(text).collect()
    }

    /// Takes up what was kept; says whether it can be read.
    pub(super) fn restore(&mut self, text: &str) -> bool {
        let Ok((key, waiting)) = serde_json::from_str(text) else { return false };
        self.keys.insert(key, waiting);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_follows_is_told_once() {
        let key = |n: i64| Some(Value::Integer(n));
        let mut waits = Waits::new(30_000);
        let begin = |waits: &mut Waits, n, now_s: u64| {
            assert!(waits.begin(key(n), BTreeMap::new(), format!("{n} at {now_s}"), now_s * 1000));
        };
        begin(&mut waits, 1, 0);
        begin(&mut waits, 2, 0);
        begin(&mut waits, 1, 20);
        waits.came(&key(2), 29_999);
        waits.came(&key(3), 0);
        assert_eq!(waits.over(29_999), []);
        let mut again = Waits::new(30_000);
        let kept: Vec<_> = waits.changes().into_iter().filter_map(|(_, text)| text).collect();
        assert!(kept.iter().all(|text| again.restore(text)));
        again.came(&key(1), 30_000);
        let over = again.over(30_000);
        assert_eq!(
            over.iter().map(|(k, w)| (k.clone(), w.line.as_str())).collect::<Vec<_>>(),
            [(key(1), "1 at 0")]
        );
        assert_eq!(again.over(u64::MAX), []);
        assert_eq!(again.changes(), [(key(1), None)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waits = Waits::new(1000);
        let many = (0..WAITING_MAX as i64 + 1)
            .filter(|n| waits.begin(Some(Value::Integer(*n)), BTreeMap::new(), String::new(), 0));
        assert_eq!(many.count(), WAITING_MAX);
    }
}
