//! Pauses between tries: from about a second to half a minute, each with jitter, so that hosts that were cut off
//! together do not come back together.

use std::time::Duration;

const PAUSE_MS_MIN: u64 = 1_000;
const PAUSE_MS_MAX: u64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Returns the next pause.
    pub(super) fn next(&mut self) -> Duration {
        let longest_ms = PAUSE_MS_MIN.saturating_mul(1 << self.tries.min(10)).min(PAUSE_MS_MAX);
        self.tries += 1;
        Duration::from_millis(rand::random_range(longest_ms / 4..=longest_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        for longest_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let pause_ms = backoff.next().as_millis() as u64;
            assert!((longest_ms / 4..=longest_ms).contains(&pause_ms), "{pause_ms} of {longest_ms}");
        }
        backoff.reset();
        assert!(backoff.next().as_millis() <= 1_000);
    }
}
