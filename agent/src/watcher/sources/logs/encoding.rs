//! How a file is written: where its lines end, and its text as UTF-8. What is no text stays as it is, or becomes the
//! sign for that; nothing is refused. Pure.

use crate::config::Encoding;

/// Bytes by which a file may say how it is written.
pub(super) const MARK_BYTES: usize = 3;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How one file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Script {
    Utf8,
    Utf16 { big: bool },
    Latin1,
}

impl Script {
    /// Tells from a file's first bytes, or from what was said of it; nothing as long as there are too few of them.
    pub(super) fn of(said: Encoding, first: &[u8]) -> Option<Self> {
        match (said, first) {
            (Encoding::Utf8, _) => Some(Self::Utf8),
            (Encoding::Latin1, _) => Some(Self::Latin1),
            (Encoding::Utf16Le, _) => Some(Self::Utf16 { big: false }),
            (Encoding::Utf16Be, _) => Some(Self::Utf16 { big: true }),
            (Encoding::Auto, [] | [0xff] | [0xfe]) => None,
            (Encoding::Auto, [0xff, 0xfe, ..]) => Some(Self::Utf16 { big: false }),
            (Encoding::Auto, [0xfe, 0xff, ..]) => Some(Self::Utf16 { big: true }),
            (Encoding::Auto, _) => Some(Self::Utf8),
        }
    }

    /// Returns how many bytes end a line.
    pub(super) fn line_end_bytes(self) -> usize {
        if matches!(self, Self::Utf16 { .. }) { 2 } else { 1 }
    }

    /// Returns the place after the first line, which begins at the beginning.
    pub(super) fn first_line_end(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Utf8 | Self::Latin1 => memchr::memchr(b'\n', bytes).map(|at| at + 1),
            Self::Utf16 { big } => {
                bytes.chunks_exact(2).position(|unit| unit == line_end(big)).map(|at| at * 2 + 2)
            }
        }
    }

    /// Returns the place after the last whole line; 0 where there is none.
    pub(super) fn last_line_end(self, bytes: &[u8]) -> usize {
        match self {
            Self::Utf8 | Self::Latin1 => memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            Self::Utf16 { big } => {
                bytes.chunks_exact(2).rposition(|unit| unit == line_end(big)).map_or(0, |at| at * 2 + 2)
            }
        }
    }

    /// Returns the text as UTF-8, as far as it is text; `room` is used where it has to be written anew.
    pub(super) fn text<'a>(self, bytes: &'a [u8], first: bool, room: &'a mut Vec<u8>) -> &'a [u8] {
        let text = match self {
            Self::Utf8 => bytes,
            Self::Latin1 => {
                room.clear();
                for byte in bytes {
                    match byte {
                        0..0x80 => room.push(*byte),
                        _ => room.extend([0xc0 | byte >> 6, 0x80 | byte & 0x3f]),
                    }
                }
                room
            }
            Self::Utf16 { big } => {
                room.clear();
                let units = bytes.chunks_exact(2).map(|unit| match big {
                    true => u16::from_be_bytes([unit[0], unit[1]]),
                    false => u16::from_le_bytes([unit[0], unit[1]]),
                });
                let mut utf8 = [0; 4];
                for character in char::decode_utf16(units) {
                    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                    room.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                }
                room
            }
        };
        if first { text.strip_prefix(UTF8_MARK).unwrap_or(text) } else { text }
    }
}

fn line_end(big: bool) -> &'static [u8] {
    if big { b"\0\n" } else { b"\n\0" }
}

/// Counts lines that are no text.
pub(super) fn lines_not_text(text: &[u8]) -> u64 {
    let (mut count, mut from) = (0, 0);
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        count += 1;
        let at = from + error.valid_up_to();
        match memchr::memchr(b'\n', &text[at..]) {
            Some(end) => from = at + end + 1,
            None => break,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[test]
    fn a_file_says_how_it_is_written() {
        for (said, first, script) in [
            (Encoding::Auto, &b""[..], None),
            (Encoding::Auto, b"\xff", None),
            (Encoding::Auto, b"\xff\xfea", Some(Script::Utf16 { big: false })),
            (Encoding::Auto, b"\xfe\xff", Some(Script::Utf16 { big: true })),
            (Encoding::Auto, b"a", Some(Script::Utf8)),
            (Encoding::Auto, b"\xef\xbb\xbf", Some(Script::Utf8)),
            (Encoding::Latin1, b"", Some(Script::Latin1)),
            (Encoding::Utf16Be, b"\xff\xfe", Some(Script::Utf16 { big: true })),
        ] {
            assert_eq!(Script::of(said, first), script, "{said:?} {first:?}");
        }
    }

    #[test]
    fn lines_become_utf8() {
        // U+0A0A holds the byte of a line end twice and is none.
        let text = "\u{feff}gr\u{fc}n \u{a0a}\u{1f980}\nnext\nrest";
        for big in [false, true] {
            let (bytes, script) = (utf16(text, big), Script::Utf16 { big });
            let whole = script.last_line_end(&bytes);
            assert_eq!(whole, utf16("\u{feff}gr\u{fc}n \u{a0a}\u{1f980}\nnext\n", big).len());
            assert_eq!(script.first_line_end(&bytes), Some(whole - 10));
            let mut room = Vec::new();
            let read = script.text(&bytes[..whole], true, &mut room);
            assert_eq!(std::str::from_utf8(read), Ok("gr\u{fc}n \u{a0a}\u{1f980}\nnext\n"));
        }
        let mut room = Vec::new();
        assert_eq!(Script::Latin1.text(b"gr\xfcn\n", true, &mut room), "gr\u{fc}n\n".as_bytes());
        assert_eq!(Script::Utf8.text(b"\xef\xbb\xbfa\xff\n", true, &mut room), b"a\xff\n");
        let broken = Script::Utf16 { big: false }.text(b"\x00\xd8a\0", false, &mut room);
        assert_eq!(broken, "\u{fffd}a".as_bytes());
    }

    #[test]
    fn lines_that_are_no_text_are_counted() {
        for (text, count) in [
            (&b""[..], 0),
            (b"a\nb\n", 0),
            (b"\xff\xff\xff\n\xc3\xa4\nx\xff\n", 2),
            (b"\xff", 1),
            (b"ends in the middle \xc3\n", 1),
        ] {
            assert_eq!(lines_not_text(text), count, "{text:?}");
        }
    }
}
