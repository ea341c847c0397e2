//! The two clocks of a host: one that neither jumps nor stops in sleep, for lengths of time, and the wall's, for
//! people and for the server.

use rustix::time::{ClockId, clock_gettime};
use sopwith_domain::time::Timestamp;

/// Returns the milliseconds since the machine started, sleep included.
pub fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1000 + nanos / 1_000_000
}

/// Returns the microseconds of the clock by which systemd says when something started: sleep is left out.
pub fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

/// Returns the time of day by this host's own clock.
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Realtime);
    Timestamp(time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000))
}
