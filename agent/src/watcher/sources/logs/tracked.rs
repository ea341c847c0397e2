//! One file that is read as it grows: from bytes to whole lines and records, with what remains of them kept for the
//! next time.

use super::cursor::{Cursor, FINGERPRINT_BYTES, Head};
use super::encoding::{MARK_BYTES, Script};
use super::reader::Reader;
use super::records::{Splitter, WAIT_MS};
use crate::config::Encoding;
use std::collections::BTreeMap;

/// Longest line, or record, in bytes; of a longer one the beginning counts as one and the rest is skipped.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at once: of a file that has more than a little, a lot.
const CHUNK_BYTES_MIN: usize = 8 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;
/// Most bytes of one file in one look, so that the others get their turn.
const LOOK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a stretch of a file was not read whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Gap {
    LongLine,
    Truncated,
    /// A file with a known place in it was not found again.
    Gone,
    TooManyFiles,
    /// What is packed in a file cannot be unpacked to its end.
    Damaged,
    /// Entries of the kernel's log, or of the journal, that were overwritten before they were read.
    Overwritten,
}

impl Gap {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::LongLine => "long-line",
            Self::Truncated => "truncated",
            Self::Gone => "gone",
            Self::TooManyFiles => "too-many-files",
            Self::Damaged => "damaged",
            Self::Overwritten => "overwritten",
        }
    }
}

/// What a look came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Looked {
    pub lines: u64,
    pub gaps: BTreeMap<Gap, u64>,
    /// There is more to read at once.
    pub more: bool,
    /// There is a record that waits for its end.
    pub waiting: bool,
}

impl Looked {
    pub(super) fn gap(&mut self, gap: Gap) {
        *self.gaps.entry(gap).or_default() += 1;
    }
}

/// Whole lines, as UTF-8 as far as they are text, and where the records among them begin, if they are asked for.
pub(super) struct Lines<'a> {
    pub text: &'a [u8],
    pub records: Option<&'a [usize]>,
}

/// Takes lines as they are read.
pub(super) type Each<'a> = &'a mut dyn FnMut(Lines<'_>);

/// How the files of a log are written.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub encoding: Encoding,
    pub splitter: Option<Splitter>,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub reader: Reader,
    pub at: Cursor,
    /// What was read after the last whole line or record.
    carry: Vec<u8>,
    script: Option<Script>,
    /// When it last grew, by the boot clock.
    grown_ms: u64,
    /// Since when it is at none of the paths, by the boot clock.
    pub absent_ms: Option<u64>,
    pub changed: bool,
    /// Read to its end, which is the end of it.
    pub ended: bool,
    /// How a copy begins, as far as that tells it from others; of it may have been read less.
    begins: Option<Head>,
}

impl Tracked {
    pub(super) fn new(reader: Reader, at: Cursor, now_ms: u64) -> Self {
        let (carry, script) = (Vec::new(), None);
        let (absent_ms, changed, ended, begins) = (None, true, false, None);
        Self { reader, at, carry, script, grown_ms: now_ms, absent_ms, changed, ended, begins }
    }

    /// Makes one of a copy, which begins so.
    pub(super) fn copy(reader: Reader, at: Cursor, first: &[u8], now_ms: u64) -> Self {
        Self { begins: Some(Head::of(first)), ..Self::absent(reader, at, now_ms) }
    }

    /// Returns how it begins.
    pub(super) fn head(&self) -> Head {
        self.begins.unwrap_or(self.at.head)
    }

    /// Makes one that is at none of the paths.
    pub(super) fn absent(reader: Reader, at: Cursor, now_ms: u64) -> Self {
        Self { absent_ms: Some(now_ms), ..Self::new(reader, at, now_ms) }
    }

    /// Returns the place up to which bytes were read, beyond the last whole line or record.
    pub(super) fn read_to(&self) -> u64 {
        self.at.offset + self.carry.len() as u64
    }

    /// Says whether the file is not any more what was read of it.
    pub(super) fn truncated(&self) -> bool {
        let length = self.reader.file().metadata().map(|m| m.len());
        !self.reader.is_packed()
            && length.is_ok_and(|length| length < self.read_to() || !self.at.fits(self.reader.file()))
    }

    /// Begins the file anew.
    pub(super) fn begin_anew(&mut self) {
        self.at = Cursor::new(self.at.path.clone(), self.at.device, self.at.inode, 0);
        self.carry.clear();
        (self.script, self.changed) = (None, true);
        // How it begins now tells it from its own copies, before it is read.
        let mut first = [0; FINGERPRINT_BYTES];
        let read = self.reader.read_at(&mut first, 0).unwrap_or(0);
        self.at.head = Head::of(&first[..read]);
        self.note();
    }

    /// Goes to the end of the last whole line.
    pub(super) fn go_to_end(&mut self, manner: &Manner) {
        let file = self.reader.file();
        let length = file.metadata().map_or(0, |m| m.len());
        self.find_script(manner);
        let from = length.saturating_sub(LINE_BYTES_MAX as u64) & !1;
        let mut tail = vec![0; usize::try_from(length - from).unwrap_or(0)];
        let read = self.reader.read_at(&mut tail, from).unwrap_or(0);
        let end = self.script.unwrap_or(Script::Utf8).last_line_end(&tail[..read]);
        self.at.offset = if end == 0 { length } else { from + end as u64 };
        self.note();
    }

    pub(super) fn note(&mut self) {
        match self.reader.is_packed() {
            // What is packed is not there to be read again.
            true => self.at.forget_tail(),
            false => self.at.note(self.reader.file()),
        }
    }

    fn find_script(&mut self, manner: &Manner) {
        if self.script.is_none() && !self.reader.is_packed() {
            let mut first = [0; MARK_BYTES];
            let read = self.reader.read_at(&mut first, 0).unwrap_or(0);
            self.script = Script::of(manner.encoding, &first[..read]);
        }
    }

    /// Reads what is new.
    pub(super) fn read(&mut self, manner: &Manner, now_ms: u64, looked: &mut Looked, each: Each<'_>) {
        self.find_script(manner);
        let mut done = 0;
        // Not kept from one look to the next: most look at nothing new.
        let (mut room, mut text, mut chunk) = (Vec::new(), Vec::new(), CHUNK_BYTES_MIN);
        loop {
            let kept = self.carry.len();
            room.resize(room.len().max(kept + chunk), 0);
            room[..kept].copy_from_slice(&self.carry);
            let count = match self.reader.read_at(&mut room[kept..kept + chunk], self.read_to()) {
                Ok(count) => count,
                Err(_) if self.reader.is_packed() => {
                    looked.gap(Gap::Damaged);
                    self.ended = true;
                    break;
                }
                Err(_) => 0,
            };
            if count == 0 {
                self.ended |= self.at.copy;
                break;
            }
            if !self.reader.is_packed() && !self.at.fits(self.reader.file()) {
                // It was emptied under the reading: what was read may be of before and of after.
                looked.more = true;
                break;
            }
            if self.script.is_none() {
                self.script = Script::of(manner.encoding, &room[..kept + count]);
            }
            let taken = self.take(&room[..kept + count], &mut text, manner, looked, each);
            self.carry.clear();
            self.carry.extend_from_slice(&room[taken..kept + count]);
            done += count;
            if count == chunk {
                chunk = CHUNK_BYTES;
            }
            if done >= LOOK_BYTES_MAX {
                looked.more = true;
                break;
            }
        }
        if done > 0 {
            (self.changed, self.grown_ms) = (true, now_ms);
            self.absent_ms = self.absent_ms.and(Some(now_ms));
            self.note();
        } else if manner.splitter.is_some() && !self.carry.is_empty() {
            self.end_record(manner, now_ms, looked, each);
        }
        self.carry.shrink_to(4096);
    }

    /// Takes what is whole and returns how much that was.
    fn take(
        &mut self,
        bytes: &[u8],
        room: &mut Vec<u8>,
        manner: &Manner,
        looked: &mut Looked,
        each: Each<'_>,
    ) -> usize {
        let Some(script) = self.script else { return 0 };
        let mut from = 0;
        if self.at.skipping {
            let end = script.first_line_end(bytes);
            from = end.unwrap_or(bytes.len() & !1);
            self.at.offset += from as u64;
            self.at.skipping = end.is_none();
        }
        let whole = from + script.last_line_end(&bytes[from..]);
        let mut taken = from;
        if whole > from {
            taken += self.hand_over(&bytes[from..whole], false, script, room, manner, looked, each);
        }
        if bytes.len() - taken > LINE_BYTES_MAX {
            looked.gap(Gap::LongLine);
            if whole > taken {
                // A record without an end in sight: what there is of it counts.
                taken += self.hand_over(&bytes[taken..whole], true, script, room, manner, looked, each);
            }
            let rest = &bytes[taken..];
            if rest.len() > LINE_BYTES_MAX {
                self.hand_over(&rest[..LINE_BYTES_MAX], true, script, room, manner, looked, each);
                self.at.offset += (rest.len() - LINE_BYTES_MAX) as u64 & !1;
                self.at.skipping = true;
                taken += LINE_BYTES_MAX + ((rest.len() - LINE_BYTES_MAX) & !1);
            }
        }
        taken
    }

    /// Hands whole lines over; of records all but the last, unless that is whole too. Returns how much was taken.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one reading, all of them in use elsewhere too"
    )]
    fn hand_over(
        &mut self,
        bytes: &[u8],
        all: bool,
        script: Script,
        room: &mut Vec<u8>,
        manner: &Manner,
        looked: &mut Looked,
        each: Each<'_>,
    ) -> usize {
        let text = script.text(bytes, self.at.offset == 0, room);
        let (mut text, mut taken) = (text, bytes.len());
        let mut beginnings = manner.splitter.as_ref().map(|splitter| splitter.beginnings(text));
        if let (Some(beginnings), false) = (&mut beginnings, all) {
            let last = beginnings.pop().unwrap_or(0);
            let open = memchr::memchr_iter(b'\n', &text[last..]).count();
            text = &text[..last];
            // The same number of lines from the end, as they are written in the file.
            for _ in 0..open {
                taken = script.last_line_end(&bytes[..taken - script.line_end_bytes()]);
            }
            if last == 0 {
                taken = 0;
            }
        }
        if taken > 0 {
            self.at.offset += taken as u64;
            let lines = memchr::memchr_iter(b'\n', text).count() as u64;
            looked.lines += lines.max(1);
            each(Lines { text, records: beginnings.as_deref() });
        }
        taken
    }

    /// Takes a record as whole that nothing was added to for a while.
    fn end_record(&mut self, manner: &Manner, now_ms: u64, looked: &mut Looked, each: Each<'_>) {
        let Some(script) = self.script else { return };
        let whole = script.last_line_end(&self.carry);
        if whole == 0 {
            return;
        }
        if self.grown_ms + WAIT_MS > now_ms && !self.ended {
            looked.waiting = true;
            return;
        }
        let carry = std::mem::take(&mut self.carry);
        self.hand_over(&carry[..whole], true, script, &mut Vec::new(), manner, looked, each);
        self.carry.extend_from_slice(&carry[whole..]);
        self.changed = true;
        self.note();
    }

    /// Takes what remains as a line: nobody will end it any more.
    pub(super) fn end(&mut self, manner: &Manner, looked: &mut Looked, each: Each<'_>) {
        let carry = std::mem::take(&mut self.carry);
        if let Some(script) = self.script.filter(|_| !carry.is_empty()) {
            self.hand_over(&carry, true, script, &mut Vec::new(), manner, looked, each);
        }
    }
}
