//! Entries of systemd's journal in its export format, from a stream of bytes. A field that is too long is cut; memory
//! is bounded whatever comes. Pure.

/// Longest value that is kept of a field, in bytes.
const VALUE_BYTES_MAX: usize = 32 * 1024;
/// Longest line before its end, beyond what is kept of a value.
const LINE_BYTES_MAX: usize = VALUE_BYTES_MAX + 256;

/// What is known of one entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Entry {
    pub cursor: String,
    pub message: Vec<u8>,
    pub identifier: String,
    pub command: String,
    pub pid: String,
    pub unit: String,
    /// The unit that systemd itself speaks of.
    pub about_unit: String,
    pub transport: String,
    pub priority: Option<u8>,
    /// A field was cut.
    pub cut: bool,
}

impl Entry {
    fn set(&mut self, name: &[u8], value: &[u8]) {
        let text = |value: &[u8]| String::from_utf8_lossy(&value[..value.len().min(512)]).into_owned();
        match name {
            b"MESSAGE" => self.message = value.to_vec(),
            b"__CURSOR" => self.cursor = text(value),
            b"SYSLOG_IDENTIFIER" => self.identifier = text(value),
            b"_COMM" => self.command = text(value),
            b"_PID" => self.pid = text(value),
            b"_SYSTEMD_UNIT" => self.unit = text(value),
            b"UNIT" => self.about_unit = text(value),
            b"_TRANSPORT" => self.transport = text(value),
            b"PRIORITY" => self.priority = text(value).parse().ok(),
            _ => {}
        }
    }

    /// Adds the entry as one line, `IDENTIFIER[PID]: MESSAGE`. Breaks within the message become blanks: one entry is
    /// one line, whatever somebody wrote into it.
    pub(super) fn write_line(&self, to: &mut Vec<u8>) {
        let who = if self.identifier.is_empty() { &self.command } else { &self.identifier };
        to.extend_from_slice(who.as_bytes());
        if !self.pid.is_empty() && self.transport != "kernel" {
            to.extend_from_slice(format!("[{}]", self.pid).as_bytes());
        }
        to.extend_from_slice(b": ");
        let message = self.message.trim_ascii_end();
        to.extend(message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        to.push(b'\n');
    }
}

/// Where in the stream it is.
#[derive(Debug, Default)]
enum At {
    #[default]
    Line,
    /// The length of a value in bytes, of which so many digits came.
    Length { name: Vec<u8>, bytes: Vec<u8> },
    /// A value of so many bytes that are still to come.
    Value { name: Vec<u8>, left: u64, value: Vec<u8>, cut: bool },
}

#[derive(Debug, Default)]
pub(super) struct Parser {
    at: At,
    line: Vec<u8>,
    line_cut: bool,
    entry: Entry,
}

impl Parser {
    /// Takes bytes as they come and hands over each entry that is whole.
    pub(super) fn take(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Entry)) {
        while !bytes.is_empty() {
            bytes = match std::mem::take(&mut self.at) {
                At::Line => self.take_line(bytes, each),
                At::Length { name, bytes: mut length } => {
                    let wanted = (8 - length.len()).min(bytes.len());
                    length.extend_from_slice(&bytes[..wanted]);
                    self.at = match <[u8; 8]>::try_from(length.as_slice()) {
                        Ok(length) => {
                            // The line break after the value counts with it.
                            let left = u64::from_le_bytes(length).saturating_add(1);
                            At::Value { name, left, value: Vec::new(), cut: false }
                        }
                        Err(_) => At::Length { name, bytes: length },
                    };
                    &bytes[wanted..]
                }
                At::Value { name, left, mut value, mut cut } => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let kept = count.min(VALUE_BYTES_MAX.saturating_sub(value.len()));
                    value.extend_from_slice(&bytes[..kept]);
                    cut |= kept < count;
                    let left = left - count as u64;
                    if left == 0 {
                        let value = value.strip_suffix(b"\n").unwrap_or(&value);
                        self.entry.cut |= cut;
                        self.entry.set(&name, value);
                    } else {
                        self.at = At::Value { name, left, value, cut };
                    }
                    &bytes[count..]
                }
            };
        }
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8], each: &mut dyn FnMut(Entry)) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let kept = part.len().min(LINE_BYTES_MAX.saturating_sub(self.line.len()));
        self.line.extend_from_slice(&part[..kept]);
        self.line_cut |= kept < part.len();
        let Some(end) = end else { return &[] };
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.line_cut);
        match memchr::memchr(b'=', &line) {
            Some(at) => {
                self.entry.cut |= cut;
                self.entry.set(&line[..at], &line[at + 1..]);
            }
            None if line.is_empty() => {
                let entry = std::mem::take(&mut self.entry);
                if !entry.cursor.is_empty() {
                    each(entry);
                }
            }
            None => self.at = At::Length { name: line, bytes: Vec::new() },
        }
        &bytes[end + 1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes =
            b"__CURSOR=s=1\n_PID=7\nSYSLOG_IDENTIFIER=sshd\nMESSAGE=one=two\nPRIORITY=6\n\n".to_vec();
        bytes.extend_from_slice(b"__CURSOR=s=2\nMESSAGE\n");
        bytes.extend_from_slice(&9_u64.to_le_bytes());
        bytes.extend_from_slice(b"a\nb=c\n\xff\nd\n_TRANSPORT=kernel\n_PID=9\n\n");
        bytes.extend_from_slice(b"MESSAGE=without a cursor\n\n\n");
        bytes
    }

    #[test]
    fn entries_come_out_whole_however_the_bytes_arrive() {
        for step in [1, 2, 3, 7, 1000] {
            let (mut parser, mut lines) = (Parser::default(), Vec::new());
            for bytes in stream().chunks(step) {
                parser.take(bytes, &mut |entry| {
                    let mut line = Vec::new();
                    entry.write_line(&mut line);
                    lines.push((entry.cursor, entry.priority, String::from_utf8_lossy(&line).into_owned()));
                });
            }
            let expected = [
                ("s=1".to_owned(), Some(6), "sshd[7]: one=two\n".to_owned()),
                ("s=2".to_owned(), None, ": a b=c \u{fffd} d\n".to_owned()),
            ];
            assert_eq!(lines, expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (mut parser, mut seen) = (Parser::default(), Vec::new());
        let mut feed = |bytes: &[u8]| parser.take(bytes, &mut |e| seen.push((e.message.len(), e.cut)));
        feed(b"__CURSOR=s=1\nMESSAGE=");
        (0..1000).for_each(|_| feed(&[b'x'; 1000]));
        feed(b"\n\n__CURSOR=s=2\nMESSAGE\n");
        feed(&u64::MAX.to_le_bytes());
        (0..1000).for_each(|_| feed(&[b'\n'; 1000]));
        assert_eq!(seen, [(LINE_BYTES_MAX - "MESSAGE=".len(), true)], "the second never ends");
    }
}
