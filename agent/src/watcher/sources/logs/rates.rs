//! How often something happens, by key. Both the keys and the times kept of each are bounded; when there are too many
//! keys those that were quiet longest are forgotten. What is counted is kept over a restart of the agent, up to a
//! bound. Pure.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most keys of one rule. Whoever forges more addresses than these only pushes out his own.
pub(super) const KEYS_MAX: usize = 10_000;
/// So many of them are forgotten at once when there is no room.
const KEYS_FORGOTTEN: usize = KEYS_MAX / 100;
/// Lines kept of each key, for people.
const LINES_KEPT: usize = 5;
/// Rates that count further than this are not kept over a restart.
const KEPT_COUNT_MAX: usize = 256;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Times {
    at_ms: VecDeque<u64>,
    lines: VecDeque<String>,
}

/// Counts of one rule.
#[derive(Debug)]
pub(super) struct Rates<K> {
    count: usize,
    within_ms: u64,
    keys: BTreeMap<K, Times>,
    /// Keys of which something else is to be kept than was.
    changed: BTreeSet<K>,
}

/// A rate that was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reached {
    pub count: usize,
    pub lines: Vec<String>,
}

impl<K: Ord + Clone + Serialize + for<'a> Deserialize<'a>> Rates<K> {
    pub(super) fn new(count: usize, within_ms: u64) -> Self {
        Self { count, within_ms, keys: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Counts a line, and returns what there is if the rate is reached.
    pub(super) fn note(&mut self, key: K, line: String, now_ms: u64) -> Option<Reached> {
        if !self.keys.contains_key(&key) && self.keys.len() >= KEYS_MAX {
            self.make_room(now_ms);
        }
        self.changed.insert(key.clone());
        let times = self.keys.entry(key).or_default();
        times.at_ms.push_back(now_ms);
        while times.at_ms.len() > self.count
            || times.at_ms.front().is_some_and(|at_ms| at_ms + self.within_ms <= now_ms)
        {
            times.at_ms.pop_front();
        }
        times.lines.push_back(line);
        while times.lines.len() > LINES_KEPT {
            times.lines.pop_front();
        }
        (times.at_ms.len() >= self.count)
            .then(|| Reached { count: times.at_ms.len(), lines: times.lines.iter().cloned().collect() })
    }

    /// Forgets what is over.
    pub(super) fn forget_over(&mut self, now_ms: u64) {
        let over: Vec<K> = self
            .keys
            .iter()
            .filter(|(_, times)| last_ms(times) + self.within_ms <= now_ms)
            .map(|(key, _)| key.clone())
            .collect();
        over.iter().for_each(|key| self.forget(key));
    }

    fn forget(&mut self, key: &K) {
        self.keys.remove(key);
        self.changed.insert(key.clone());
    }

    /// Forgets what is over; where nothing is, the keys that were quiet longest.
    fn make_room(&mut self, now_ms: u64) {
        self.forget_over(now_ms);
        if self.keys.len() >= KEYS_MAX {
            let mut last: Vec<_> =
                self.keys.iter().map(|(key, times)| (last_ms(times), key.clone())).collect();
            last.sort();
            last.iter().take(KEYS_FORGOTTEN).for_each(|(_, key)| self.forget(key));
        }
    }

    /// Returns what is to be kept, or forgotten, since the last call, by key.
    pub(super) fn changes(&mut self) -> Vec<(K, Option<String>)> {
        let changed = std::mem::take(&mut self.changed);
        if self.count > KEPT_COUNT_MAX {
            return Vec::new();
        }
        let text = |key: K| {
            let kept = self.keys.get(&key).map(|times| {
                serde_json::to_string(&(&key, times)).expect("counts have string keys and no floats")
            });
            (key, kept)
        };
        changed.into_iter().map(text).collect()
    }

    /// Takes up what was kept; says whether it can be read.
    pub(super) fn restore(&mut self, text: &str) -> bool {
        let Ok((key, times)) = serde_json::from_str::<(K, Times)>(text) else { return false };
        self.keys.insert(key, times);
        true
    }
}

fn last_ms(times: &Times) -> u64 {
    times.at_ms.back().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_within_a_time_by_key() {
        let mut rates = Rates::new(3, 10_000);
        for (at_s, key, reached) in [
            (0, "a", None),
            (1, "b", None),
            (2, "a", None),
            (3, "b", None),
            (9, "a", Some(3)),
            (9, "a", Some(3)),
            (12, "b", None), // the first of b has left the window
            (13, "b", None),
            (14, "b", Some(3)),
            (18, "a", Some(3)),
            (40, "a", None),
        ] {
            let is = rates.note(key.to_owned(), format!("at {at_s}"), at_s * 1000);
            assert_eq!(is.as_ref().map(|r| r.count), reached, "{key} at {at_s}");
        }
        let shown = (0..9).filter_map(|n| rates.note("c".to_owned(), format!("line {n}"), 100_000)).last();
        assert_eq!(shown.expect("reached").lines, ["line 4", "line 5", "line 6", "line 7", "line 8"]);
        assert!(Rates::new(1, 1000).note("a".to_owned(), String::new(), 0).is_some(), "once is enough");
    }

    #[test]
    fn keys_are_bounded_and_the_quietest_goes_first() {
        let mut rates = Rates::new(2, 1_000_000);
        for n in 0..KEYS_MAX as u64 + 10 {
            rates.note(n, String::new(), n);
        }
        assert_eq!(rates.keys.len(), KEYS_MAX + 10 - KEYS_FORGOTTEN);
        let now_ms = KEYS_MAX as u64 + 10;
        assert!(rates.note(0, String::new(), now_ms).is_none(), "it was forgotten");
        assert!(rates.note(now_ms - 1, String::new(), now_ms).is_some());
        rates.forget_over(10_000_000);
        assert_eq!(rates.keys.len(), 0);
    }

    #[test]
    fn a_count_goes_on_after_a_restart() {
        let mut rates = Rates::new(3, 10_000);
        rates.note("a".to_owned(), "one".into(), 0);
        rates.note("a".to_owned(), "two".into(), 1);
        let kept = rates.changes();
        assert!(rates.changes().is_empty(), "what did not change is not kept again");
        let mut again = Rates::new(3, 10_000);
        assert!(kept.iter().all(|(_, text)| again.restore(text.as_deref().expect("it is counting"))));
        assert!(!again.restore("{}"));
        let reached = again.note("a".to_owned(), "three".into(), 2).expect("it is the third");
        assert_eq!(reached.lines, ["one", "two", "three"]);
        again.forget_over(20_000);
        assert_eq!(again.changes(), [("a".to_owned(), None)]);
    }
}
