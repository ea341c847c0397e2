//! Gives memory back that is not needed any more: what was freed between pieces that are in use, and the pages of this
//! program's own code that only its start went through. Both halves of the agent run for months and do little; what
//! they took to begin they need not hold. Code that is needed again comes back from the file by itself.

use rusqlite::Connection;
use std::fs;
use std::time::{Duration, Instant};

/// How long after the start it is done first, when everything has begun.
const FIRST: Duration = Duration::from_secs(6);
/// How often code is given back, which takes some microseconds, and in every which time what was freed is as well.
const EVERY: Duration = Duration::from_secs(60);
const FREED_EVERY: u32 = 10;
/// Most memory in which a database of the agent keeps pages, in KiB; they are small, and read little.
const DATABASE_KIB: i64 = 256;

/// When memory is given back.
#[derive(Debug)]
pub struct Thrift {
    next: Instant,
    turns: u32,
}

impl Default for Thrift {
    fn default() -> Self {
        Self { next: Instant::now() + FIRST, turns: 0 }
    }
}

impl Thrift {
    /// Gives back where it is time to, and returns how long it is until then.
    pub fn turn(&mut self) -> Duration {
        let now = Instant::now();
        if self.next <= now {
            // The second turn follows soon on all that begins late.
            if self.turns <= 1 || self.turns.is_multiple_of(FREED_EVERY) {
                give_back_freed();
            }
            give_back_code();
            (self.next, self.turns) = (now + EVERY, self.turns.wrapping_add(1));
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

/// Lets go of the pages of this program's code; those that are needed come back with the first step into them.
fn give_back_code() {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (from, to) in code(&maps, &program.to_string_lossy()) {
        #[expect(
            unsafe_code,
            reason = "these pages are of a file, cannot be written and never were: what is dropped is read again, the \
                      same, by whoever touches it next"
        )]
        // Where the kernel refuses, the pages stay.
        let _ = unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
    }
}

/// Returns where the program's code and its constants lie: what is mapped from its file and can be run, and what is
/// mapped from the file's beginning. What the loader has written to, although it can only be read now, is neither.
fn code(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let one = |line: &str| {
        let mut words = line.splitn(6, ' ');
        let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
        let path = words.nth(2)?.trim_start();
        let ours = path == program && (rights == "r-xp" || rights == "r--p" && offset == "00000000");
        let (from, to) = range.split_once('-')?;
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        ours.then_some((address(from)?, address(to)?)).filter(|(from, to)| from < to)
    };
    maps.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0000000-55d0c0400000 r--p 00000000 fd:00 123                        /usr/bin/sopwith-agent
55d0c0400000-55d0c1100000 r-xp 00400000 fd:00 123                        /usr/bin/sopwith-agent
55d0c1100000-55d0c1170000 r--p 01100000 fd:00 123                        /usr/bin/sopwith-agent
55d0c1170000-55d0c1178000 rw-p 01170000 fd:00 123                        /usr/bin/sopwith-agent
55d0c2000000-55d0c2400000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000100000 r-xp 00026000 fd:00 77                         /usr/lib/libc.so.6
7f0000200000-7f0000201000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn only_what_was_never_written_is_dropped() {
        let found = code(MAPS, "/usr/bin/sopwith-agent");
        let kib: Vec<_> = found.iter().map(|(from, to)| (to - from) / 1024).collect();
        assert_eq!(kib, [4096, 13 * 1024], "not what the loader has written to, and nothing of others");
        assert!(code(MAPS, "/usr/bin/other").is_empty());
        assert!(code("nonsense\nx-y r-xp 0 0 0 /p\n", "/p").is_empty());
    }

    #[test]
    fn the_program_goes_on() {
        let words: Vec<String> = (0..10_000).map(|n| format!("word {n}")).collect();
        give_back_freed();
        give_back_code();
        assert_eq!(words.iter().filter(|word| word.ends_with("99")).count(), 100);
        let mut thrift = Thrift { next: Instant::now(), turns: 0 };
        assert!(thrift.turn() > EVERY - FIRST && thrift.turn() <= EVERY);
    }
}
