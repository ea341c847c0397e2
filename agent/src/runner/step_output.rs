//! What a program of a step said, bounded: both ends are kept, however much lies between them.

use sopwith_domain::run::OUTPUT_BYTES_MAX;
use std::collections::VecDeque;

/// Bytes kept of each end of the output, less room for the note between them.
const END_BYTES_MAX: usize = OUTPUT_BYTES_MAX / 2 - 64;

/// The two ends of an output of any length.
#[derive(Debug, Default)]
pub struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Output {
    /// Takes a piece; of what is too much the middle is counted and dropped.
    pub fn take(&mut self, mut bytes: &[u8]) {
        let room = END_BYTES_MAX - self.head.len();
        let to_head = room.min(bytes.len());
        self.head.extend_from_slice(&bytes[..to_head]);
        bytes = &bytes[to_head..];
        // Only the last bytes of a long piece can stay.
        let skip = bytes.len().saturating_sub(END_BYTES_MAX);
        let over = (self.tail.len() + bytes.len() - skip).saturating_sub(END_BYTES_MAX);
        self.tail.drain(..over.min(self.tail.len()));
        self.tail.extend(&bytes[skip..]);
        self.left_out += (skip + over) as u64;
    }

    /// Returns what was kept, as text.
    pub fn text(&self) -> String {
        let (first, second) = self.tail.as_slices();
        let tail = [first, second].concat();
        if self.left_out == 0 {
            let whole = [self.head.as_slice(), &tail].concat();
            return cut_end(String::from_utf8_lossy(&whole).into_owned(), 2 * END_BYTES_MAX);
        }
        let head = cut_end(String::from_utf8_lossy(&self.head).into_owned(), END_BYTES_MAX);
        let tail = cut_start(String::from_utf8_lossy(&tail).into_owned(), END_BYTES_MAX);
        format!("{head}\n… {} bytes left out …\n{tail}", self.left_out)
    }
}

fn cut_end(mut text: String, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

fn cut_start(text: String, bytes_max: usize) -> String {
    let start = text.len().saturating_sub(bytes_max);
    let start = (start..=text.len()).find(|start| text.is_char_boundary(*start)).unwrap_or(text.len());
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_an_output_are_kept_and_the_middle_is_counted() {
        let mut short = Output::default();
        short.take(b"hello ");
        short.take(b"world");
        assert_eq!(short.text(), "hello world");
        for piece in [1, 7, 1000, 100_000] {
            let mut long = Output::default();
            let all: Vec<u8> = (0..1_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
            all.chunks(piece).for_each(|c| long.take(c));
            let text = long.text();
            assert!(text.len() <= OUTPUT_BYTES_MAX, "{}", text.len());
            assert!(text.starts_with("abcdef"));
            assert!(text.as_bytes().ends_with(&all[all.len() - 1000..]));
            assert!(
                text.contains(&format!("… {} bytes left out …", all.len() - 2 * END_BYTES_MAX)),
                "{piece}"
            );
        }
    }

    #[test]
    fn output_that_is_no_text_stays_within_the_bound() {
        let mut binary = Output::default();
        binary.take(&[0xff; 100_000]);
        assert!(binary.text().len() <= OUTPUT_BYTES_MAX);
        let mut small = Output::default();
        small.take(&[0xff; 2 * END_BYTES_MAX]);
        assert!(small.text().len() <= OUTPUT_BYTES_MAX);
    }
}
