//! Server-sent events, cut out of a byte stream. It keeps what it needs of the format (`id`, `data`) and drops the
//! rest; a line without end is an error, not a growing buffer.

/// Longest line of an event stream, in bytes.
const LINE_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    pub id: Option<String>,
    pub data: String,
}

/// Collects bytes and hands out whole events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    /// The last line ended in a carriage return; a line feed right after belongs to it.
    after_return: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Parser {
    /// Takes the next bytes and returns the events that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let line_feed_of_pair = self.after_return && *byte == b'\n';
            self.after_return = *byte == b'\r';
            match byte {
                _ if line_feed_of_pair => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ if self.line.len() >= LINE_BYTES_MAX => return Err(TooLong),
                _ => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let stream = b": hello\n\nid: 7\ndata: {\"a\":1}\n\nevent: x\ndata: b\r\ndata: c\r\n\r\nid: 9\n\n";
        let event = |id: Option<&str>, data: &str| Event { id: id.map(str::to_owned), data: data.into() };
        let expected = vec![event(Some("7"), "{\"a\":1}"), event(None, "b\nc")];
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                found.extend(parser.feed(piece).unwrap_or_default());
            }
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(TooLong));
    }
}
