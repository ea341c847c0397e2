//! Values of one sample over a time: how fast it changes, and when it will be at a level if it goes on so. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Into so many parts the time that is looked at is divided; of each at most two values are kept.
const POINTS_MAX: usize = 120;
/// Fewest values, and least part of the time, that make a line.
const LINE_POINTS_MIN: usize = 5;
const SPAN_PARTS: u64 = 4;

/// The values of the last while.
#[derive(Clone, Debug)]
pub(super) struct Series {
    over_ms: u64,
    /// Shortest time between two values that are kept.
    step_ms: u64,
    points: VecDeque<(u64, f64)>,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Series {
    pub(super) fn over(time: Duration) -> Self {
        let over_ms = ms(time);
        Self { over_ms, step_ms: over_ms / POINTS_MAX as u64, points: VecDeque::new() }
    }

    /// Notes a value. One that follows too soon takes the place of the last, so that the newest always counts.
    pub(super) fn note(&mut self, now_ms: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let count = self.points.len();
        let soon = count >= 2 && self.points[count - 2].0 + self.step_ms > now_ms;
        if soon {
            self.points.pop_back();
        }
        self.points.push_back((now_ms, value));
        // The first value is the last one before the time began, so that the whole of it is covered.
        while self.points.get(1).is_some_and(|(at_ms, _)| at_ms.saturating_add(self.over_ms) <= now_ms) {
            self.points.pop_front();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.points.clear();
    }

    fn span_ms(&self) -> u64 {
        let ends = self.points.front().zip(self.points.back());
        ends.map_or(0, |((first_ms, _), (last_ms, _))| last_ms - first_ms)
    }

    /// Returns the change a second over the time, once half of it is known. A counter that fell began anew.
    pub(super) fn rate(&self, counter: bool) -> Option<f64> {
        let span_ms = self.span_ms();
        if span_ms == 0 || span_ms < self.over_ms / 2 {
            return None;
        }
        let steps = self.points.iter().zip(self.points.iter().skip(1));
        let change = |((_, before), (_, after)): (&(u64, f64), &(u64, f64))| match after - before {
            fallen if fallen < 0.0 && counter => *after,
            change => change,
        };
        Some(steps.map(change).sum::<f64>() * 1000.0 / span_ms as f64)
    }

    /// Returns in how many seconds it will be at a level, if it moves there.
    pub(super) fn reaches_in_s(&self, level: f64) -> Option<f64> {
        let (_, last) = *self.points.back()?;
        if self.points.len() < LINE_POINTS_MIN || self.span_ms() < self.over_ms / SPAN_PARTS {
            return None;
        }
        let in_s = (level - last) / self.slope_s();
        (in_s.is_finite() && in_s >= 0.0).then_some(in_s)
    }

    /// Returns the least of the known values, and the newest.
    pub(super) fn least_and_last(&self) -> Option<(f64, f64)> {
        let least = self.points.iter().map(|(_, value)| *value).min_by(f64::total_cmp)?;
        Some((least, self.points.back()?.1))
    }

    /// Says whether it moved up in the last third of the time as well as before, and never far down.
    pub(super) fn climbs(&self) -> bool {
        let (Some((_, first)), Some((last_ms, last))) = (self.points.front(), self.points.back()) else {
            return false;
        };
        let grown = last - first;
        let third_ms = last_ms - self.span_ms() / 3;
        let before = self.points.iter().rev().find(|(at_ms, _)| *at_ms <= third_ms);
        let lately = before.map_or(0.0, |(_, value)| last - value);
        let pairs = self.points.iter().zip(self.points.iter().skip(1));
        let fallen: f64 = pairs.map(|((_, a), (_, b))| (a - b).max(0.0)).sum();
        grown > 0.0 && (grown / 6.0..=grown * 5.0 / 6.0).contains(&lately) && fallen <= grown / 4.0
    }

    /// Returns the change a second, by least squares.
    fn slope_s(&self) -> f64 {
        let count = self.points.len() as f64;
        let first_ms = self.points.front().map_or(0, |(at_ms, _)| *at_ms);
        let points = || self.points.iter().map(|(at_ms, value)| ((at_ms - first_ms) as f64 / 1000.0, *value));
        let mean_at = points().map(|(at, _)| at).sum::<f64>() / count;
        let mean = points().map(|(_, value)| value).sum::<f64>() / count;
        let above: f64 = points().map(|(at, value)| (at - mean_at) * (value - mean)).sum();
        let below: f64 = points().map(|(at, _)| (at - mean_at).powi(2)).sum();
        above / below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(over_s: u64, points: &[(u64, f64)]) -> Series {
        let mut series = Series::over(Duration::from_secs(over_s));
        points.iter().for_each(|(at_s, value)| series.note(at_s * 1000, *value));
        series
    }

    #[test]
    fn changes_a_second() {
        for (what, points, counter, is) in [
            ("nothing", &[][..], true, None),
            ("one", &[(0, 1.0)][..], true, None),
            ("too short", &[(0, 1.0), (20, 2.0)], true, None),
            ("half", &[(0, 1.0), (30, 61.0)], true, Some(2.0)),
            ("whole", &[(0, 0.0), (30, 30.0), (60, 120.0)], true, Some(2.0)),
            ("older is forgotten", &[(0, 900.0), (10, 1000.0), (40, 1060.0), (70, 1120.0)], true, Some(2.0)),
            ("a counter that began anew", &[(0, 1000.0), (30, 1060.0), (60, 60.0)], true, Some(2.0)),
            ("a gauge may fall", &[(0, 100.0), (30, 70.0), (60, 40.0)], false, Some(-1.0)),
            ("what is no number counts nothing", &[(0, 0.0), (30, f64::NAN), (60, 60.0)], true, Some(1.0)),
        ] {
            assert_eq!(series(60, points).rate(counter), is, "{what}");
        }
    }

    #[test]
    fn a_line_to_a_level() {
        let line =
            |from: f64, step: f64, count: u64| (0..count).map(|n| (n * 10, from + step * n as f64)).collect();
        for (what, points, level, in_s) in [
            ("too few", line(0.0, 10.0, 4), 100.0, None),
            ("up", line(0.0, 10.0, 6), 100.0, Some(50.0)),
            ("down", line(100.0, -10.0, 6), 0.0, Some(50.0)),
            ("away", line(100.0, -10.0, 6), 200.0, None),
            ("still", line(100.0, 0.0, 6), 200.0, None),
            ("there", line(50.0, 10.0, 6), 100.0, Some(0.0)),
        ] {
            let points: Vec<(u64, f64)> = points;
            let told = series(60, &points).reaches_in_s(level);
            assert_eq!(told.map(f64::round), in_s, "{what}: {told:?}");
        }
    }

    #[test]
    fn a_step_is_no_climb() {
        for (what, values, is) in [
            ("steady", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..], true),
            ("an early step", &[1.0, 6.0, 6.0, 6.0, 6.0, 6.0], false),
            ("a late step", &[1.0, 1.0, 1.0, 1.0, 1.0, 6.0], false),
            ("saw", &[1.0, 5.0, 1.0, 5.0, 1.0, 6.0], false),
            ("with a dent", &[1.0, 3.0, 2.5, 4.0, 5.0, 6.0], true),
            ("down", &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], false),
        ] {
            let points: Vec<(u64, f64)> =
                values.iter().enumerate().map(|(n, v)| (n as u64 * 10, *v)).collect();
            assert_eq!(series(60, &points).climbs(), is, "{what}");
        }
    }

    #[test]
    fn a_long_time_keeps_few_values() {
        let mut series = Series::over(Duration::from_secs(1200));
        (0..5000).for_each(|n| series.note(n * 1000, n as f64));
        assert!(series.points.len() <= 2 * POINTS_MAX, "{}", series.points.len());
        assert_eq!(series.points.back(), Some(&(4_999_000, 4999.0)));
        assert_eq!(series.rate(true), Some(1.0));
    }
}
