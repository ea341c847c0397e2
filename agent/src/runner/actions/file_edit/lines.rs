//! One key of a line-based configuration: where it stands, what it says, and the same text with another value. Pure:
//! it knows bytes only. Everything but the value stays as it is, byte for byte.

use sopwith_domain::action::FileFormat;

/// A line of the text that says something for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Setting {
    /// Where the value begins and ends.
    from: usize,
    to: usize,
}

/// Returns what the text says for a key, as the program that reads it would take it.
pub fn value<'t>(text: &'t [u8], format: FileFormat, key: &str) -> Option<&'t str> {
    let at = setting(text, format, key)?;
    std::str::from_utf8(&text[at.from..at.to]).ok()
}

/// Returns the text with another value for a key: in the line that counts, or where there is none, in a line of its
/// own, at a place where it counts.
pub fn with_value(text: &[u8], format: FileFormat, key: &str, value: &str) -> Vec<u8> {
    let mut edited = Vec::with_capacity(text.len() + key.len() + value.len() + 4);
    if let Some(at) = setting(text, format, key) {
        edited.extend_from_slice(&text[..at.from]);
        edited.extend_from_slice(value.as_bytes());
        edited.extend_from_slice(&text[at.to..]);
        return edited;
    }
    let line = format!("{key}{}{value}\n", separator(format));
    let place = match format {
        // The first counts, and what comes after a Match is for some only.
        FileFormat::Sshd => blocks_begin(text),
        _ => text.len(),
    };
    edited.extend_from_slice(&text[..place]);
    if place > 0 && text[place - 1] != b'\n' {
        edited.push(b'\n');
    }
    edited.extend_from_slice(line.as_bytes());
    edited.extend_from_slice(&text[place..]);
    edited
}

fn separator(format: FileFormat) -> &'static str {
    match format {
        FileFormat::LoginDefs => "\t",
        FileFormat::Sshd => " ",
        FileFormat::Pwquality | FileFormat::Sysctl => " = ",
    }
}

/// Returns where each line begins and ends, its line break left out.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from >= text.len() {
            return None;
        }
        let end = text[from..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| from + at);
        let line = (from, end);
        from = end + 1;
        Some(line)
    })
}

/// Returns the setting that counts: the first of sshd's, before any block, and the last of all others.
fn setting(text: &[u8], format: FileFormat, key: &str) -> Option<Setting> {
    let end = if format == FileFormat::Sshd { blocks_begin(text) } else { text.len() };
    let mut found = lines(&text[..end])
        .filter_map(|(from, to)| of_line(&text[from..to], format, key).map(|(a, b)| (from + a, from + b)));
    let (from, to) = if format == FileFormat::Sshd { found.next() } else { found.last() }?;
    Some(Setting { from, to })
}

/// Returns where the first `Match` of sshd's configuration begins, or the end.
fn blocks_begin(text: &[u8]) -> usize {
    let is_match =
        |line: &[u8]| word(line, 0).is_some_and(|(from, to)| line[from..to].eq_ignore_ascii_case(b"match"));
    lines(text).find(|(from, to)| is_match(&text[*from..*to])).map_or(text.len(), |(from, _)| from)
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Returns the next word of a line, which a blank or an equals sign ends.
fn word(line: &[u8], after: usize) -> Option<(usize, usize)> {
    let from = after + line[after..].iter().position(|b| !blank(*b))?;
    let to = line[from..].iter().position(|b| blank(*b) || *b == b'=').map_or(line.len(), |at| from + at);
    Some((from, to))
}

/// Returns where a line has the value of this key.
fn of_line(line: &[u8], format: FileFormat, key: &str) -> Option<(usize, usize)> {
    let (from, to) = word(line, 0)?;
    let name = &line[from..to];
    let same = match format {
        FileFormat::Sshd => name.eq_ignore_ascii_case(key.as_bytes()),
        FileFormat::Sysctl => sysctl_name(name) == sysctl_name(key.as_bytes()),
        FileFormat::LoginDefs | FileFormat::Pwquality => name == key.as_bytes(),
    };
    if !same {
        return None;
    }
    let mut value = to + line[to..].iter().take_while(|b| blank(**b)).count();
    let equals = line.get(value) == Some(&b'=');
    match format {
        FileFormat::LoginDefs if equals || value == to => return None,
        FileFormat::Pwquality | FileFormat::Sysctl if !equals => return None,
        _ => {}
    }
    if equals {
        value += 1;
        value += line[value..].iter().take_while(|b| blank(**b)).count();
    }
    let comment = matches!(format, FileFormat::Pwquality | FileFormat::Sshd);
    let mut end = match line[value..].iter().position(|b| *b == b'#') {
        Some(at) if comment => value + at,
        _ => line.len(),
    };
    while end > value && blank(line[end - 1]) {
        end -= 1;
    }
    (end > value).then_some((value, end))
}

/// Returns a setting of the kernel as it is written with dots; one that is prefixed with `-` may fail.
fn sysctl_name(name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"-").unwrap_or(name);
    let slashes = name.iter().position(|b| matches!(b, b'.' | b'/')).is_some_and(|at| name[at] == b'/');
    let swapped = |b: &u8| match b {
        b'/' => b'.',
        b'.' => b'/',
        other => *other,
    };
    if slashes { name.iter().map(swapped).collect() } else { name.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileFormat::{LoginDefs, Pwquality, Sshd, Sysctl};

    /// Format, key, new value, text before, what it says, text after.
    type Row = (FileFormat, &'static str, &'static str, &'static str, Option<&'static str>, &'static str);

    const TABLE: &[Row] = &[
        (LoginDefs, "A", "90", "# A 1\nA\t99999\nB 2\n", Some("99999"), "# A 1\nA\t90\nB 2\n"),
        (LoginDefs, "A", "90", "A 1\n  A   2  \r\nAB 3", Some("2"), "A 1\n  A   90  \r\nAB 3"),
        (LoginDefs, "A", "90", "AB 3", None, "AB 3\nA\t90\n"),
        (LoginDefs, "A", "90", "A\nB 1\n", None, "A\nB 1\nA\t90\n"),
        (LoginDefs, "A", "90", "", None, "A\t90\n"),
        (
            Pwquality,
            "minlen",
            "14",
            "# minlen = 8\nminlen=6 # few\n",
            Some("6"),
            "# minlen = 8\nminlen=14 # few\n",
        ),
        (Pwquality, "minlen", "14", "minlen = 6\nminlen = 8", Some("8"), "minlen = 6\nminlen = 14"),
        (Pwquality, "minlen", "14", "minlen 6\n", None, "minlen 6\nminlen = 14\n"),
        (
            Sysctl,
            "net.ipv4.ip_forward",
            "0",
            "net/ipv4/ip_forward = 1\n",
            Some("1"),
            "net/ipv4/ip_forward = 0\n",
        ),
        (
            Sysctl,
            "kernel.x",
            "0",
            "-kernel.x=1\n; kernel.x = 2\n",
            Some("1"),
            "-kernel.x=0\n; kernel.x = 2\n",
        ),
        (
            Sshd,
            "PermitRootLogin",
            "no",
            "permitrootlogin yes\nPermitRootLogin no\n",
            Some("yes"),
            "permitrootlogin no\nPermitRootLogin no\n",
        ),
        (
            Sshd,
            "PermitRootLogin",
            "no",
            "#PermitRootLogin yes\nMatch User a\n  PermitRootLogin yes\n",
            None,
            "#PermitRootLogin yes\nPermitRootLogin no\nMatch User a\n  PermitRootLogin yes\n",
        ),
        (Sshd, "X", "no", "X=yes # why\n", Some("yes"), "X=no # why\n"),
    ];

    #[test]
    fn one_value_changes_and_nothing_else() {
        for (format, key, new, before, says, after) in TABLE {
            assert_eq!(value(before.as_bytes(), *format, key), *says, "{before:?}");
            let edited = with_value(before.as_bytes(), *format, key, new);
            assert_eq!(String::from_utf8_lossy(&edited), *after, "{before:?}");
            assert_eq!(value(&edited, *format, key), Some(*new), "{before:?}");
            assert_eq!(with_value(&edited, *format, key, new), edited, "twice is once");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let before = b"\xff\xfe\nA 1\n\xff";
        assert_eq!(with_value(before, LoginDefs, "A", "2"), b"\xff\xfe\nA 2\n\xff");
    }
}
