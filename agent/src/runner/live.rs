//! What the program of the step at hand says, while it says it. The supervisor tells it in small frames and never waits
//! for a reader: what does not fit is counted and dropped. The last of it is kept for whoever asks. None of this enters a
//! journal, and no decision looks at it; the record of the step carries the bounded output as ever.

use rustix::io::Errno;
use sopwith_domain::ids::Digest;
use sopwith_protocol::exchange::{LIVE_TEXT_BYTES_MAX, LiveOutput};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of output that are kept for a reader who comes later.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// Shortest time between two frames, in milliseconds; also how long a program runs before its first.
const FRAME_MS_MIN: i64 = 250;
/// Most bytes of a frame, so that a pipe takes it whole or not at all.
const FRAME_BYTES_MAX: usize = 4096;
/// Tag, length of the text, bytes left out before it.
const HEAD_BYTES: usize = 1 + 2 + 8;
/// Most bytes of one program that are told live; of what follows only the count is.
const TOLD_BYTES_MAX: u64 = 1024 * 1024;
/// What a frame begins with, and what the report at the end begins with.
const FRAME: u8 = b'L';
pub const REPORT: u8 = b'R';

/// The supervisor's end.
#[derive(Debug)]
pub struct Teller {
    waiting: Vec<u8>,
    left_out: u64,
    told: u64,
    next_ms: i64,
}

impl Teller {
    pub fn new(now_ms: i64) -> Self {
        Self { waiting: Vec::new(), left_out: 0, told: 0, next_ms: now_ms + FRAME_MS_MIN }
    }

    /// Takes a piece of the output; of what is too much for a frame the beginning is counted and dropped.
    pub fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        let room = u64::try_from(FRAME_BYTES_MAX - HEAD_BYTES).unwrap_or(0);
        let room = room.min(TOLD_BYTES_MAX - self.told) as usize;
        let over = self.waiting.len().saturating_sub(room);
        self.waiting.drain(..over);
        self.left_out += over as u64;
    }

    /// Returns when there is something to tell, if there is.
    pub fn due_ms(&self) -> Option<i64> {
        (!self.waiting.is_empty() || self.left_out > 0).then_some(self.next_ms)
    }

    /// Tells what is due. A reader that is behind costs what was to be told, never time.
    pub fn tell(&mut self, now_ms: i64, to: impl AsFd) {
        if self.due_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        self.next_ms = now_ms + FRAME_MS_MIN;
        let length = u16::try_from(self.waiting.len()).unwrap_or(u16::MAX);
        let mut frame = vec![FRAME];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&self.left_out.to_be_bytes());
        frame.extend_from_slice(&self.waiting);
        match write_now(&to, &frame) {
            Ok(()) => {
                self.told += self.waiting.len() as u64;
                self.left_out = 0;
            }
            Err(_) => self.left_out += self.waiting.len() as u64,
        }
        self.waiting.clear();
    }
}

/// Writes a frame to a pipe that takes it whole, or says that it is full.
fn write_now(to: impl AsFd, frame: &[u8]) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(&to, true)?;
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&to, frame));
    rustix::io::ioctl_fionbio(&to, false)?;
    written.map(drop)
}

/// The output of the step that is being carried out.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// The step, as long as it is being carried out.
    on: bool,
    of: Option<(Digest, usize)>,
    kept: VecDeque<u8>,
    /// Bytes that the step has said in all.
    through: u64,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This step is being carried out until what is returned is dropped.
    pub fn of(&self, run: Digest, step: usize) -> Speaking {
        *self.lock() = Said { on: true, of: Some((run, step)), ..Said::default() };
        Speaking(self.clone())
    }

    /// Says whether a step is being carried out.
    pub fn on(&self) -> bool {
        self.lock().on
    }

    fn take(&self, left_out: u64, bytes: &[u8]) {
        let mut said = self.lock();
        if left_out > 0 {
            said.kept.clear();
        }
        said.kept.extend(bytes);
        let over = said.kept.len().saturating_sub(KEPT_BYTES_MAX);
        said.kept.drain(..over);
        said.through += left_out + bytes.len() as u64;
    }

    /// Reads frames until the report, whose rest is then to be read.
    ///
    /// # Errors
    /// The supervisor has ended without one, or speaks another language.
    pub fn follow(&self, from: &mut impl Read) -> io::Result<()> {
        loop {
            let mut head = [0; HEAD_BYTES];
            from.read_exact(&mut head[..1])?;
            if head[0] == REPORT {
                return Ok(());
            }
            if head[0] != FRAME {
                return Err(io::ErrorKind::InvalidData.into());
            }
            from.read_exact(&mut head[1..])?;
            let [_, high, low, left_out @ ..] = head;
            let mut bytes = vec![0; usize::from(u16::from_be_bytes([high, low]))];
            from.read_exact(&mut bytes)?;
            self.take(u64::from_be_bytes(left_out), &bytes);
        }
    }

    /// Returns what was said after so many bytes of a step, or from its beginning where another one speaks now.
    pub fn after(&self, of: Option<(Digest, usize)>, after: u64) -> Option<LiveOutput> {
        let said = self.lock();
        let (run, step) = said.of?;
        let after = if of == said.of { after.min(said.through) } else { 0 };
        let kept_from = said.through - said.kept.len() as u64;
        let skip = usize::try_from(after.saturating_sub(kept_from)).unwrap_or(usize::MAX);
        let mut bytes: Vec<u8> = said.kept.iter().skip(skip).copied().take(LIVE_TEXT_BYTES_MAX / 3).collect();
        // What may be the half of a character waits for its other half; there is one only while the step speaks.
        if let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
            && said.on
        {
            bytes.truncate(error.valid_up_to());
        }
        let from = after.max(kept_from);
        let through = from + bytes.len() as u64;
        (through > after).then(|| LiveOutput {
            run,
            step,
            from,
            through,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}

/// While it lives the step that it was made for speaks.
#[derive(Debug)]
pub struct Speaking(Live);

impl Drop for Speaking {
    fn drop(&mut self) {
        self.0.lock().on = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn run() -> Digest {
        Digest([7; 32])
    }

    #[test]
    fn what_a_program_says_is_told_in_frames_and_the_rest_is_counted() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut teller = Teller::new(0);
        teller.take(b"one ");
        teller.tell(FRAME_MS_MIN - 1, &writer);
        assert_eq!(teller.due_ms(), Some(FRAME_MS_MIN), "a short program is left in peace");
        teller.take(b"two");
        teller.tell(FRAME_MS_MIN, &writer);
        assert_eq!(teller.due_ms(), None);
        teller.take(&[b'x'; 10_000]);
        teller.tell(2 * FRAME_MS_MIN, &writer);
        (&writer).write_all(&[REPORT, b'{']).expect("written");
        let live = Live::default();
        let speaking = live.of(run(), 2);
        live.follow(&mut reader).expect("it comes to the report");
        let mut rest = [0; 1];
        reader.read_exact(&mut rest).expect("the report follows");
        assert_eq!(rest, *b"{");
        let first = live.after(None, 0).expect("there is something");
        let text = FRAME_BYTES_MAX - HEAD_BYTES;
        assert_eq!(
            (first.step, first.from, first.through),
            (2, 10_007 - text as u64, first.from + first.text.len() as u64)
        );
        assert!(first.text.chars().all(|c| c == 'x'), "what was left out comes before it");
        drop(speaking);
        assert!(!live.on());
    }

    #[test]
    fn a_reader_that_is_behind_costs_no_time() {
        let (_reader, writer) = io::pipe().expect("a pipe");
        let mut teller = Teller::new(0);
        let mut now_ms = 0;
        for _ in 0..100 {
            now_ms += FRAME_MS_MIN;
            teller.take(&[b'x'; 4000]);
            teller.tell(now_ms, &writer);
        }
        assert!(teller.left_out > 0 && teller.left_out.is_multiple_of(4000), "{}", teller.left_out);
        assert!(teller.told <= 64 * 1024);
    }

    #[test]
    fn one_program_is_told_live_up_to_its_bound() {
        let mut teller = Teller::new(0);
        teller.told = TOLD_BYTES_MAX - 3;
        teller.take(b"abcdef");
        assert_eq!((teller.waiting.as_slice(), teller.left_out), (&b"def"[..], 3));
        teller.told = TOLD_BYTES_MAX;
        teller.take(b"ghi");
        assert_eq!((teller.waiting.len(), teller.left_out), (0, 9));
        assert!(teller.due_ms().is_some(), "that there is more is told");
    }

    #[test]
    fn readers_go_on_where_they_were_and_gaps_show_in_the_numbers() {
        let live = Live::default();
        assert_eq!(live.after(None, 0), None, "nothing has run yet");
        let speaking = live.of(run(), 0);
        assert_eq!(live.after(None, 0), None, "nothing was said yet");
        live.take(0, "grü".as_bytes());
        let said = live.after(None, 0).expect("said");
        assert_eq!((said.from, said.through, said.text.as_str()), (0, 4, "grü"));
        let of = Some((run(), 0));
        assert_eq!(live.after(of, 4), None);
        live.take(0, &[0xc3]);
        assert_eq!(live.after(of, 4), None, "half a character waits");
        live.take(0, &[0xbc, 0xff]);
        assert_eq!(live.after(of, 4).map(|s| (s.through, s.text)), Some((7, "ü\u{fffd}".into())));
        live.take(100, b"end");
        assert_eq!(live.after(of, 7).map(|s| (s.from, s.through)), Some((107, 110)));
        for _ in 0..100 {
            live.take(0, &[b'y'; 1000]);
        }
        let late = live.after(of, 110).expect("said");
        assert_eq!(late.from, 100_110 - KEPT_BYTES_MAX as u64);
        assert!(late.text.len() <= LIVE_TEXT_BYTES_MAX);
        live.take(0, &[0xc3]);
        drop(speaking);
        assert_eq!(
            live.after(of, 100_110).map(|s| s.text),
            Some("\u{fffd}".into()),
            "it will not be whole any more"
        );
        let _next = live.of(run(), 1);
        live.take(0, b"next");
        let next = live.after(of, 50).expect("said");
        assert_eq!((next.step, next.from, next.text.as_str()), (1, 0, "next"), "another step begins anew");
    }

    #[test]
    fn a_supervisor_that_says_something_else_is_not_listened_to() {
        let live = Live::default();
        for said in [&b""[..], b"X", b"L", b"L\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00ab"] {
            assert!(live.follow(&mut &*said).is_err(), "{said:?}");
        }
    }
}
