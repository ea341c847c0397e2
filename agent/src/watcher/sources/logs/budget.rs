//! How much processor time a rule has left. Each rule has a store that fills as time goes by and empties as the rule
//! works; one that is empty pauses the rule until it is half full. Pure.

/// A store holds what comes in within so long.
const STORED_MS: u64 = 60_000;

/// The processor time of one rule.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    percent: u64,
    left_us: u64,
    filled_ms: Option<u64>,
    paused: bool,
}

impl Budget {
    pub(super) fn new(percent: u8) -> Self {
        let percent = u64::from(percent);
        Self { percent, left_us: Self::most_us(percent), filled_ms: None, paused: false }
    }

    /// A percent of a millisecond is ten microseconds.
    fn most_us(percent: u64) -> u64 {
        STORED_MS * percent * 10
    }

    /// Lets time pass; returns whether the rule may work.
    pub(super) fn may(&mut self, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.filled_ms.unwrap_or(now_ms));
        self.filled_ms = Some(now_ms);
        let most_us = Self::most_us(self.percent);
        if self.percent > 0 {
            self.left_us = most_us.min(self.left_us + passed_ms.min(STORED_MS) * self.percent * 10);
        }
        if self.paused && self.left_us * 2 >= most_us {
            self.paused = false;
        }
        !self.paused
    }

    /// Takes what the rule has used.
    pub(super) fn take(&mut self, used_us: u64) {
        self.left_us = self.left_us.saturating_sub(used_us);
        self.paused |= self.left_us == 0;
    }

    /// Gives more than can ever be used.
    pub(super) fn unbound(&mut self) {
        (self.percent, self.left_us) = (0, u64::MAX);
    }

    pub(super) fn paused(&self) -> bool {
        self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_takes_too_much_pauses_and_comes_back() {
        let mut budget = Budget::new(10);
        for (now_s, used_ms, may, paused) in [
            (0, 5_000, true, false),
            // Six seconds in a minute are all there is.
            (0, 999, true, false),
            (0, 1, true, true),
            (1, 0, false, true),
            (29, 0, false, true),
            (30, 0, true, false),
            (30, 3_000, true, true),
            (90, 0, true, false),
            // A long sleep fills no more than the store.
            (10_000, 6_000, true, true),
        ] {
            assert_eq!(budget.may(now_s * 1000), may, "at {now_s}");
            budget.take(used_ms * 1000);
            assert_eq!(budget.paused(), paused, "at {now_s}");
        }
    }
}
