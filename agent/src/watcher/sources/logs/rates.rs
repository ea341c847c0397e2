//! How often something happens, by key. Both the keys and the times kept of each are bounded; when there are too many
//! keys the one that was quiet longest is forgotten. Pure.

use std::collections::{BTreeMap, VecDeque};

/// Most keys of one rule. Whoever forges more addresses than these only pushes out his own.
pub(super) const KEYS_MAX: usize = 10_000;
/// Lines kept of each key, for people.
const LINES_KEPT: usize = 5;

#[derive(Debug, Default)]
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
}

/// A rate that was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reached {
    pub count: usize,
    pub lines: Vec<String>,
}

impl<K: Ord + Clone> Rates<K> {
    pub(super) fn new(count: usize, within_ms: u64) -> Self {
        Self { count, within_ms, keys: BTreeMap::new() }
    }

    /// Counts a line, and returns what there is if the rate is reached.
    pub(super) fn note(&mut self, key: K, line: String, now_ms: u64) -> Option<Reached> {
        if !self.keys.contains_key(&key) && self.keys.len() >= KEYS_MAX {
            self.make_room(now_ms);
        }
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

    /// Forgets what is over; where nothing is, the key that was quiet longest.
    fn make_room(&mut self, now_ms: u64) {
        let within_ms = self.within_ms;
        let last_ms = |times: &Times| times.at_ms.back().copied().unwrap_or(0);
        self.keys.retain(|_, times| last_ms(times) + within_ms > now_ms);
        if self.keys.len() >= KEYS_MAX {
            let quietest =
                self.keys.iter().min_by_key(|(_, times)| last_ms(times)).map(|(key, _)| key.clone());
            quietest.inspect(|key| _ = self.keys.remove(key));
        }
    }
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
            let is = rates.note(key, format!("at {at_s}"), at_s * 1000);
            assert_eq!(is.as_ref().map(|r| r.count), reached, "{key} at {at_s}");
        }
        let shown = (0..9).filter_map(|n| rates.note("c", format!("line {n}"), 100_000)).last();
        assert_eq!(shown.expect("reached").lines, ["line 4", "line 5", "line 6", "line 7", "line 8"]);
        assert!(Rates::new(1, 1000).note("a", String::new(), 0).is_some(), "once is enough");
    }

    #[test]
    fn keys_are_bounded_and_the_quietest_goes_first() {
        let mut rates = Rates::new(2, 1_000_000);
        for n in 0..KEYS_MAX as u64 + 10 {
            rates.note(n, String::new(), n);
        }
        assert_eq!(rates.keys.len(), KEYS_MAX);
        let now_ms = KEYS_MAX as u64 + 10;
        assert!(rates.note(0, String::new(), now_ms).is_none(), "it was forgotten");
        assert!(rates.note(now_ms - 1, String::new(), now_ms).is_some());
        rates.note(u64::MAX, String::new(), 10_000_000);
        assert_eq!(rates.keys.len(), 1, "what is over goes first");
    }
}
