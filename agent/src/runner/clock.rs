//! The two clocks: the wall clock for records, which people set and which jumps, and the boot clock for every
//! length of time, which does neither and goes on while the machine sleeps.

use rustix::time::{ClockId, clock_gettime};
use sopwith_domain::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns milliseconds since boot (CLOCK_BOOTTIME).
pub fn boot_ms() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// Returns what tells this start of the machine from all others.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Returns the wall clock.
pub fn wall() -> Timestamp {
    let ms = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    Timestamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => ms(after),
        Err(before) => -ms(before.duration()),
    })
}
