//! The ledger's time: it never goes back and never leaps. Small corrections of the wall clock are followed; a leap
//! is not, because approvals, leases and budgets are measured with it: then time is carried by the boot clock.

use rustix::time::{ClockId, clock_gettime};
use sopwith_domain::time::{MINUTE_MS, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// Largest difference between wall clock and boot clock that is taken for an ordinary correction.
const STEP_MS_MAX: i64 = 5 * MINUTE_MS;

/// What both clocks of the machine say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub wall: Timestamp,
    /// Milliseconds since the machine was started, sleep included.
    pub boot_ms: i64,
}

impl Reading {
    /// Reads both clocks.
    pub fn take() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        Self { wall: wall(), boot_ms: boot.tv_sec.saturating_mul(1000) + boot.tv_nsec / 1_000_000 }
    }
}

/// Returns the wall clock as it is, for things that are not decisions: sessions, tokens, certificates.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The time of decisions.
#[derive(Clone, Debug)]
pub struct LedgerClock {
    anchor: Reading,
    last: Timestamp,
    leaping: bool,
}

/// One time for one batch, and whether the wall clock has just begun to disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub now: Timestamp,
    /// How far the wall clock leapt, said once per leap, in milliseconds.
    pub leapt_ms: Option<i64>,
}

impl LedgerClock {
    /// Starts at the time at which the ledger goes on, or at the wall clock's if that is later.
    pub fn starting(reading: Reading, goes_on: Timestamp) -> Self {
        let wall = reading.wall.max(goes_on);
        Self { anchor: Reading { wall, boot_ms: reading.boot_ms }, last: wall, leaping: false }
    }

    /// Returns the time to decide with.
    pub fn tick(&mut self, reading: Reading) -> Tick {
        let carried = self.anchor.wall.plus((reading.boot_ms - self.anchor.boot_ms).max(0));
        let difference = reading.wall.since(carried);
        let leapt = difference.abs() > STEP_MS_MAX;
        let leapt_ms = (leapt && !self.leaping).then_some(difference);
        self.leaping = leapt;
        // Small corrections are followed forward only: time that stood still would let approvals live longer.
        if !leapt && difference > 0 {
            self.anchor = reading;
        }
        self.last = self.last.max(if leapt { carried } else { carried.max(reading.wall) });
        Tick { now: self.last, leapt_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_and_never_leaps() {
        let minute = MINUTE_MS;
        // (wall, boot) → (now, leapt)
        let table = [
            ((minute, 0), (minute, None)),
            ((2 * minute, minute), (2 * minute, None)),
            // The wall clock is set back by a minute: time goes on.
            ((2 * minute, 2 * minute), (3 * minute, None)),
            // It is set forward by two: followed.
            ((5 * minute, 3 * minute), (5 * minute, None)),
            // Ten years forward: carried by the boot clock, and said once.
            ((5_000_000 * minute, 4 * minute), (6 * minute, Some(5_000_000 * minute - 6 * minute))),
            ((5_000_001 * minute, 5 * minute), (7 * minute, None)),
            // Back to sense: followed again.
            ((8 * minute, 6 * minute), (8 * minute, None)),
            // Ten years back.
            ((-5_000_000 * minute, 7 * minute), (9 * minute, Some(-5_000_009 * minute))),
        ];
        let mut clock = LedgerClock::starting(Reading { wall: Timestamp(minute), boot_ms: 0 }, Timestamp(0));
        for (n, ((wall, boot_ms), (now, leapt_ms))) in table.into_iter().enumerate() {
            let tick = clock.tick(Reading { wall: Timestamp(wall), boot_ms });
            assert_eq!(tick, Tick { now: Timestamp(now), leapt_ms }, "case {n}");
        }
    }

    #[test]
    fn a_start_before_the_last_event_is_carried_and_does_not_stand_still() {
        let last = Timestamp(3_600_000 * 24);
        let mut clock = LedgerClock::starting(Reading { wall: Timestamp(0), boot_ms: 500 }, last);
        let tick = clock.tick(Reading { wall: Timestamp(1000), boot_ms: 1500 });
        assert_eq!(tick.now, last.plus(1000));
        assert!(tick.leapt_ms.is_some());
    }
}
