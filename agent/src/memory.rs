//! Gives memory back that is not needed any more: what was freed between pieces that are in use. Both halves of the agent
//! run for months and do little; what they took to begin they need not hold.

use rusqlite::Connection;
use std::time::{Duration, Instant};

/// How long after the start it is done first, when everything has begun.
const FIRST: Duration = Duration::from_secs(6);
/// How often it is done then. It takes a millisecond of a processor; what lies between the pieces in use grows by more than
/// 100 kB a minute.
const EVERY: Duration = Duration::from_secs(60);
/// Most memory in which a database of the agent keeps pages, in KiB; they are small, and read little.
const DATABASE_KIB: i64 = 256;

/// When memory is given back.
#[derive(Debug)]
pub struct Thrift {
    next: Instant,
}

impl Default for Thrift {
    fn default() -> Self {
        Self { next: Instant::now() + FIRST }
    }
}

impl Thrift {
    /// Gives back where it is time to, and returns how long it is until then.
    pub fn turn(&mut self) -> Duration {
        let now = Instant::now();
        if self.next <= now {
            give_back_freed();
            self.next = now + EVERY;
        }
        self.next.saturating_duration_since(now)
    }
}

/// Has a database keep few pages in memory, and none from its beginning.
///
/// # Errors
/// The database does not answer.
pub fn sparing(db: &Connection) -> Result<(), rusqlite::Error> {
    db.pragma_update(None, "cache_size", -DATABASE_KIB)?;
    db.execute_batch("PRAGMA shrink_memory")
}

fn give_back_freed() {
    #[cfg(target_env = "gnu")]
    #[expect(
        unsafe_code,
        reason = "no safe library has the call; it is the allocator's own, for any thread at any time"
    )]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on() {
        let words: Vec<String> = (0..10_000).map(|n| format!("word {n}")).collect();
        give_back_freed();
        assert_eq!(words.iter().filter(|word| word.ends_with("99")).count(), 100);
        let mut thrift = Thrift { next: Instant::now() };
        let wait = thrift.turn();
        assert!(wait > EVERY - FIRST && wait <= EVERY, "{wait:?}");
        assert!(thrift.turn() <= wait, "it is not time yet");
    }
}
