//! Questions and answers of the domain name system in their wire form (RFC 1035), as far as a probe needs them. An
//! answer is whatever somebody sent: every length is checked, and no pointer is followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of records.
pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
/// Class of the Internet.
const IN: u16 = 1;
const HEADER_BYTES: usize = 12;
/// Most records of one answer that are read.
const RECORDS_MAX: u16 = 256;

/// What a server says of its own answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Code {
    None,
    Refused,
    Failed,
    NoSuchName,
    Other(u8),
}

impl Code {
    /// Returns the word for a field, and what the server says in words that a name can follow.
    pub(super) fn words(self) -> (&'static str, String) {
        match self {
            Self::None => ("ok", "there is".into()),
            Self::Refused => ("refused-to-answer", "it does not answer this host about".into()),
            Self::Failed => ("server-failed", "it failed to resolve".into()),
            Self::NoSuchName => ("no-such-name", "there is no".into()),
            Self::Other(code) => ("other", format!("code {code} befits")),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub code: Code,
    pub addresses: Vec<IpAddr>,
}

/// Writes a question. The name has been checked: labels of 1 to 63 bytes, 253 in all.
pub(super) fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    out.extend(id.to_be_bytes());
    // Recursion is desired; one question, nothing else.
    out.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend(IN.to_be_bytes());
    out
}

/// Reads an answer; nothing if it is none to our question, or cannot be read.
pub(super) fn answer(bytes: &[u8], id: u16) -> Option<Answer> {
    let header = bytes.get(..HEADER_BYTES)?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let is_answer = header[2] & 0x80 != 0;
    if number(0) != id || !is_answer {
        return None;
    }
    let code = match header[3] & 0x0f {
        0 => Code::None,
        2 => Code::Failed,
        3 => Code::NoSuchName,
        5 => Code::Refused,
        other => Code::Other(other),
    };
    let mut reader = Reader { bytes, at: HEADER_BYTES };
    for _ in 0..number(4).min(RECORDS_MAX) {
        reader.name()?;
        reader.take(4)?;
    }
    let mut addresses = Vec::new();
    for _ in 0..number(6).min(RECORDS_MAX) {
        // A truncated answer ends in the middle of a record; what came before counts.
        let Some((kind, data)) = reader.record() else { break };
        match (kind, data.len()) {
            (A, 4) => addresses.push(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
            (AAAA, 16) => addresses.push(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?))),
            _ => {}
        }
    }
    Some(Answer { code, addresses })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    /// Passes over a name; a pointer ends it.
    fn name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                length if length & 0xc0 == 0xc0 => return self.take(1).map(drop),
                length if length & 0xc0 == 0 => drop(self.take(usize::from(length))?),
                _ => return None,
            }
        }
    }

    fn record(&mut self) -> Option<(u16, &'a [u8])> {
        self.name()?;
        let kind = self.number()?;
        // Class and time to live.
        self.take(6)?;
        let length = usize::from(self.number()?);
        Some((kind, self.take(length)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes an answer to a question.
    fn answered(id: u16, flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = question(id, "www.example.com", A);
        out[2..4].copy_from_slice(&flags);
        out[6..8].copy_from_slice(&u16::try_from(records.len()).expect("few").to_be_bytes());
        for (kind, data) in records {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            out.extend(*data);
        }
        out
    }

    #[test]
    fn answers() {
        let (v4, v6): (IpAddr, IpAddr) =
            ("192.0.2.7".parse().expect("v4"), "2001:db8::7".parse().expect("v6"));
        let six: [u8; 16] = "2001:db8::7".parse::<Ipv6Addr>().expect("v6").octets();
        let name = [3, b'a', b'b', b'c', 0];
        for (what, bytes, expected) in [
            (
                "two kinds",
                answered(7, [0x81, 0x80], &[(A, &[192, 0, 2, 7]), (AAAA, &six)]),
                Some((Code::None, vec![v4, v6])),
            ),
            (
                "an alias first",
                answered(7, [0x81, 0x80], &[(5, &name), (A, &[192, 0, 2, 7])]),
                Some((Code::None, vec![v4])),
            ),
            ("no records", answered(7, [0x81, 0x80], &[]), Some((Code::None, vec![]))),
            ("no such name", answered(7, [0x81, 0x83], &[]), Some((Code::NoSuchName, vec![]))),
            ("refused", answered(7, [0x81, 0x85], &[]), Some((Code::Refused, vec![]))),
            ("failed", answered(7, [0x81, 0x82], &[]), Some((Code::Failed, vec![]))),
            ("another's", answered(8, [0x81, 0x80], &[]), None),
            ("a question", answered(7, [0x01, 0x00], &[]), None),
            (
                "an address of three bytes",
                answered(7, [0x81, 0x80], &[(A, &[1, 2, 3])]),
                Some((Code::None, vec![])),
            ),
        ] {
            let read = answer(&bytes, 7);
            assert_eq!(read, expected.map(|(code, addresses)| Answer { code, addresses }), "{what}");
        }
        // Cut anywhere, it is read as far as it goes or not at all, and nothing panics.
        let whole = answered(7, [0x81, 0x80], &[(A, &[192, 0, 2, 7]), (AAAA, &six)]);
        for end in 0..whole.len() {
            let read = answer(&whole[..end], 7);
            assert!(read.is_none_or(|read| read.addresses.len() < 2), "cut at {end}");
        }
        for byte in 0..whole.len() {
            let mut bent = whole.clone();
            bent[byte] ^= 0xff;
            let _ = answer(&bent, 7);
        }
    }
}
