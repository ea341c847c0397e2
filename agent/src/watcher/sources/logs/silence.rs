//! When a log was last heard of, and whether that is too long ago. Pure.

use crate::watcher::clock;
use serde::{Deserialize, Serialize};

/// A time that outlives a restart: by the boot clock, and by the wall's for when the machine itself is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Moment {
    boot_ms: u64,
    wall_ms: i64,
}

impl Moment {
    pub(super) fn new(boot_ms: u64, now_ms: u64) -> Self {
        let ago_ms = i64::try_from(now_ms.saturating_sub(boot_ms)).unwrap_or(0);
        Self { boot_ms, wall_ms: clock::now().0.saturating_sub(ago_ms) }
    }

    /// Returns the time by the boot clock of now; what was before this start of the machine is its beginning.
    pub(super) fn here(self, same_boot: bool, now_ms: u64) -> u64 {
        match same_boot {
            true => self.boot_ms.min(now_ms),
            false => {
                let ago_ms = u64::try_from(clock::now().0.saturating_sub(self.wall_ms)).unwrap_or(0);
                now_ms.saturating_sub(ago_ms)
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Silence {
    after_ms: u64,
    heard_ms: u64,
    /// What was last said: whether it is too long.
    told: Option<bool>,
}

impl Silence {
    pub(super) fn new(after_ms: u64, heard_ms: u64) -> Self {
        Self { after_ms, heard_ms, told: None }
    }

    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = self.heard_ms.max(now_ms);
    }

    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Returns what changed since it was last asked: for how long it has been silent, or nothing when it is over.
    pub(super) fn news(&mut self, now_ms: u64) -> Option<Option<u64>> {
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        let silent = silent_ms >= self.after_ms;
        let told = self.told.replace(silent);
        match (told, silent) {
            (Some(told), silent) if told == silent => None,
            (None, false) => None,
            (_, true) => Some(Some(silent_ms)),
            (_, false) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let mut silence = Silence::new(600_000, 0);
        for (now_s, heard, news) in [
            (0, false, None),
            (599, false, None),
            (600, false, Some(Some(600_000))),
            (700, false, None),
            (701, true, Some(None)),
            (702, false, None),
            (1301, false, Some(Some(600_000))),
        ] {
            if heard {
                silence.heard(now_s * 1000);
            }
            assert_eq!(silence.news(now_s * 1000), news, "at {now_s}");
        }
        let mut again = Silence::new(600_000, silence.heard_ms());
        assert_eq!(again.news(1_400_000), Some(Some(699_000)), "after a restart it is said again");
    }

    #[test]
    fn a_moment_outlives_the_machine() {
        let moment = Moment::new(5_000, 8_000);
        assert_eq!(moment.here(true, 9_000), 5_000);
        let here = moment.here(false, 100_000);
        assert!((96_000..=97_000).contains(&here), "three seconds ago and a little: {here}");
        assert_eq!(moment.here(false, 10), 0);
    }
}
