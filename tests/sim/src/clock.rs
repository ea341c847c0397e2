//! Clocks: the true time that only the world and its oracles know, wall clocks that jump, boot clocks that do not,
//! and the ledger's own time, by the same rule as in the server's shell.

use sopwith_domain::time::{MINUTE_MS, Timestamp};

/// What a right wall clock says at true time 0.
pub const WALL_START: i64 = 1_800_000_000_000;
/// Largest difference between wall clock and boot clock that the ledger takes for an ordinary correction.
const STEP_MS_MAX: i64 = 5 * MINUTE_MS;

/// The time of decisions: it never goes back, and it does not follow a leap of the wall clock.
#[derive(Clone, Debug)]
pub struct LedgerClock {
    anchor_wall: i64,
    anchor_boot: i64,
    last: i64,
}

impl LedgerClock {
    /// Starts at the time at which the ledger goes on.
    pub fn starting(at: Timestamp, boot_ms: i64) -> Self {
        Self { anchor_wall: at.0, anchor_boot: boot_ms, last: at.0 }
    }

    pub fn tick(&mut self, wall: i64, boot_ms: i64) -> Timestamp {
        let carried = self.anchor_wall + (boot_ms - self.anchor_boot);
        // Followed forward only: time that stood still would let approvals live longer.
        if (1..=STEP_MS_MAX).contains(&(wall - carried)) {
            self.anchor_wall = wall;
            self.anchor_boot = boot_ms;
        }
        self.last = self.last.max(self.anchor_wall + (boot_ms - self.anchor_boot));
        Timestamp(self.last)
    }
}
