//! Text from elsewhere, made harmless to look at, on pages and terminals alike. Nothing of ours needs it; what a host, a log or a stranger sends
//! must not make a path or a name read as another, nor command a terminal.

use std::borrow::Cow;

/// Writes out the characters that change the order or the look of the text around them.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(misleading) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match misleading(c) {
            true => shown.push_str(&format!("[U+{:04X}]", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Says whether a character is a control character, or one of those that nobody sees.
pub fn misleading(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    ) || (c < ' ' && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        let table = [
            ("plain\n\ttext, ü 漢 🙂", "plain\n\ttext, ü 漢 🙂"),
            ("a\u{1b}[31mb", "a[U+001B][31mb"),
            ("gpj\u{202e}exe", "gpj[U+202E]exe"),
            ("nul\0, cr\r", "nul[U+0000], cr[U+000D]"),
            ("tag\u{e0041}", "tag[U+E0041]"),
        ];
        for (text, shown) in table {
            assert_eq!(visible(text), shown);
        }
    }
}
