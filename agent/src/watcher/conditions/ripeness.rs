//! Whether a condition has used up its tolerance: it held without a break for so long, or was seen so many times
//! within a time.

use crate::watcher::report::Tolerance;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Ripeness {
    tolerance: Option<Tolerance>,
    /// When it began to hold, in milliseconds of the boot clock.
    since_ms: Option<u64>,
    /// When it was seen, for counting.
    times_ms: VecDeque<u64>,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Ripeness {
    /// Makes the ripeness of what was raised already.
    pub(super) fn ripe() -> Self {
        Self { tolerance: Some(Tolerance::NONE), since_ms: Some(0), times_ms: VecDeque::new() }
    }

    /// Notes that it was seen to hold.
    pub(super) fn seen(&mut self, tolerance: Tolerance, now_ms: u64) {
        self.tolerance = Some(tolerance);
        self.since_ms.get_or_insert(now_ms);
        if let Tolerance::Times { count, within } = tolerance {
            self.times_ms.push_back(now_ms);
            while self.times_ms.len() > count as usize
                || self.times_ms.front().is_some_and(|at| at.saturating_add(ms(within)) <= now_ms)
            {
                self.times_ms.pop_front();
            }
        }
    }

    /// Notes that it was seen not to hold.
    pub(super) fn unseen(&mut self) {
        self.since_ms = None;
    }

    pub(super) fn is_ripe(&self, now_ms: u64) -> bool {
        match self.tolerance {
            None => false,
            Some(Tolerance::For(time)) => {
                self.since_ms.is_some_and(|at| at.saturating_add(ms(time)) <= now_ms)
            }
            Some(Tolerance::Times { count, within }) => self.counted(within, now_ms) >= count as usize,
        }
    }

    /// Says whether there are sightings that count on, although it does not hold at this moment.
    pub(super) fn counts(&self, now_ms: u64) -> bool {
        match self.tolerance {
            Some(Tolerance::Times { within, .. }) => self.counted(within, now_ms) > 0,
            _ => false,
        }
    }

    /// Returns when it becomes ripe if nothing changes.
    pub(super) fn ripe_at_ms(&self) -> Option<u64> {
        match self.tolerance {
            Some(Tolerance::For(time)) => self.since_ms.map(|at| at.saturating_add(ms(time))),
            _ => None,
        }
    }

    fn counted(&self, within: Duration, now_ms: u64) -> usize {
        self.times_ms.iter().filter(|at| at.saturating_add(ms(within)) > now_ms).count()
    }
}
