//! How far this host's wall clock is from the server's, as the last answer of the server told.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the uplink, which notes it, and the source that judges it; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ServerClock(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// When it was seen, by the boot clock, and the difference: positive where this host is ahead.
    offset_ms: Option<(u64, i64)>,
    /// What was seen before this says nothing: the clock was set.
    from_ms: u64,
}

impl ServerClock {
    /// Notes the difference at a moment of the boot clock.
    pub fn note(&self, boot_ms: u64, offset_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = known.offset_ms.is_none_or(|(before_ms, _)| before_ms <= boot_ms);
        if newer && boot_ms >= known.from_ms {
            known.offset_ms = Some((boot_ms, offset_ms));
        }
    }

    /// Forgets what was seen before this moment.
    pub fn forget(&self, boot_ms: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.offset_ms, known.from_ms) = (None, boot_ms);
    }

    /// Returns the difference, if it is not older than this.
    pub fn offset_ms(&self, boot_ms: u64, age_ms_max: u64) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).offset_ms;
        known.filter(|(at_ms, _)| at_ms.saturating_add(age_ms_max) >= boot_ms).map(|(_, offset_ms)| offset_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_since_counts() {
        let clock = ServerClock::default();
        assert_eq!(clock.offset_ms(0, 100), None);
        clock.note(1000, 7);
        assert_eq!((clock.offset_ms(1100, 100), clock.offset_ms(1101, 100)), (Some(7), None));
        clock.note(900, 8);
        assert_eq!(clock.offset_ms(1100, 1000), Some(7), "an answer that came late says nothing new");
        clock.forget(2000);
        clock.note(1999, 9);
        assert_eq!(clock.offset_ms(2000, 1000), None);
        clock.note(2000, 10);
        assert_eq!(clock.offset_ms(2000, 1000), Some(10));
    }
}
