//! When a file system will be full at its present rate: a straight line through the last looks. Pure.

use std::collections::VecDeque;

/// Time over which looks are remembered, in milliseconds.
const WINDOW_MS: u64 = 600_000;
/// Most looks that are remembered.
const LOOKS_MAX: usize = 240;
/// Fewest looks, shortest time and smallest growth (as a share of the whole) that make a trend.
const LOOKS_MIN: usize = 4;
const SPAN_MS_MIN: u64 = 10_000;
const GROWTH_MIN: f64 = 0.01;
/// What has gone on for some time is taken to go on for so many times as long, and no longer: a burst is no trend.
const HORIZON: u64 = 6;

/// Looks at one file system.
#[derive(Clone, Debug, Default)]
pub(super) struct Trend {
    /// When, and how much was used.
    looks: VecDeque<(u64, u64)>,
}

impl Trend {
    /// Notes a look. Where something was freed, what grew before it says nothing any more.
    pub(super) fn note(&mut self, now_ms: u64, used_bytes: u64) {
        if self.looks.back().is_some_and(|(_, before)| used_bytes < *before - *before / 100) {
            self.looks.clear();
        }
        self.looks.push_back((now_ms, used_bytes));
        while self.looks.len() > LOOKS_MAX
            || self.looks.front().is_some_and(|(at_ms, _)| at_ms + WINDOW_MS < now_ms)
        {
            self.looks.pop_front();
        }
    }

    /// Returns in how many seconds `free_bytes` are gone, if it grows enough to tell.
    pub(super) fn full_in_s(&self, total_bytes: u64, free_bytes: u64) -> Option<u64> {
        let ((first_ms, first), (last_ms, last)) = (self.looks.front()?, self.looks.back()?);
        let grown = last.saturating_sub(*first) as f64;
        if self.looks.len() < LOOKS_MIN
            || last_ms - first_ms < SPAN_MS_MIN
            || grown < total_bytes as f64 * GROWTH_MIN
        {
            return None;
        }
        let slope = self.slope();
        let full_in_s = (slope > 0.0).then(|| (free_bytes as f64 / slope / 1000.0) as u64);
        full_in_s.filter(|s| *s <= (last_ms - first_ms) / 1000 * HORIZON)
    }

    /// Returns the growth in bytes a millisecond, by least squares.
    fn slope(&self) -> f64 {
        let count = self.looks.len() as f64;
        let first_ms = self.looks.front().map_or(0, |(at_ms, _)| *at_ms);
        let points = || self.looks.iter().map(|(at_ms, used)| ((at_ms - first_ms) as f64, *used as f64));
        let mean = |of: fn((f64, f64)) -> f64| points().map(of).sum::<f64>() / count;
        let (mean_at, mean_used) = (mean(|p| p.0), mean(|p| p.1));
        let above: f64 = points().map(|(at, used)| (at - mean_at) * (used - mean_used)).sum();
        let below: f64 = points().map(|(at, _)| (at - mean_at).powi(2)).sum();
        if below > 0.0 { above / below } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn after(looks: &[(u64, u64)], free_mb: u64) -> Option<u64> {
        let mut trend = Trend::default();
        looks.iter().for_each(|(at_s, used_mb)| trend.note(at_s * 1000, used_mb * MB));
        trend.full_in_s(1000 * MB, free_mb * MB)
    }

    #[test]
    fn a_straight_line_to_the_end() {
        for (what, looks, free_mb, full_in_s) in [
            ("nothing known", &[][..], 100, None),
            ("too few", &[(0, 100), (10, 200), (20, 300)], 100, None),
            ("too short", &[(0, 100), (2, 200), (4, 300), (6, 400)], 100, None),
            ("steady", &[(0, 500), (10, 510), (20, 520), (30, 530)], 100, Some(100)),
            ("standing still", &[(0, 500), (10, 500), (20, 500), (30, 500)], 100, None),
            ("too little", &[(0, 500), (10, 503), (20, 506), (30, 509)], 100, None),
            ("freed meanwhile", &[(0, 500), (10, 700), (20, 900), (30, 400)], 100, None),
            (
                "growing again after it",
                &[(0, 900), (10, 400), (20, 410), (30, 420), (40, 430)],
                100,
                Some(100),
            ),
            ("uneven", &[(0, 500), (10, 515), (20, 515), (30, 530)], 90, Some(100)),
            ("full already", &[(0, 500), (10, 510), (20, 520), (30, 530)], 0, Some(0)),
            ("a burst", &[(0, 500), (10, 510), (20, 520), (30, 530)], 200, None),
            ("long ago", &[(0, 100), (1000, 500), (1010, 500), (1020, 500), (1030, 500)], 100, None),
        ] {
            assert_eq!(after(looks, free_mb), full_in_s, "{what}");
        }
    }
}
