//! Words of the host in YAML: as text always in quotes, as the YAML library writes them, and in comments without
//! anything that could end one.

/// Longest text of the host in a comment, in characters.
const COMMENT_CHARS_MAX: usize = 200;

/// Returns a text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let options = serde_saphyr::ser_options! { quote_all: true };
    let written = serde_saphyr::to_string_with_options(&text, options).unwrap_or_default();
    let written = written.trim_end_matches('\n');
    // On one line and in quotes in any case; JSON's form is YAML too.
    match written.starts_with(['\'', '"']) && !written.contains('\n') {
        true => written.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

/// Returns what of a text may stand in a comment.
pub(super) fn comment(text: &str) -> String {
    let plain = |c: char| if c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c) { ' ' } else { c };
    text.chars().map(plain).take(COMMENT_CHARS_MAX).collect()
}

/// A mapping on one line. Keys and words are this program's own; texts are the host's.
#[derive(Debug, Default)]
pub(super) struct Flow(Vec<String>);

impl Flow {
    pub(super) fn word(mut self, key: &str, word: impl std::fmt::Display) -> Self {
        self.0.push(format!("{key}: {word}"));
        self
    }

    pub(super) fn text(self, key: &str, text: &str) -> Self {
        self.word(key, quoted(text))
    }

    pub(super) fn texts<T: AsRef<str>>(self, key: &str, texts: &[T]) -> Self {
        let quoted: Vec<_> = texts.iter().map(|text| quoted(text.as_ref())).collect();
        self.word(key, format!("[{}]", quoted.join(", ")))
    }

    pub(super) fn map(self, key: &str, map: Flow) -> Self {
        self.word(key, map.done())
    }

    pub(super) fn done(self) -> String {
        format!("{{{}}}", self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_read_back() {
        for text in [
            "nginx.service",
            "a: b",
            "# no",
            "- x",
            "{a}",
            "it's",
            "\"",
            "\\x2d",
            "a\nb: c",
            "null",
            "1e3",
            "no",
            "",
            " x ",
            "é",
            "\u{2028}",
            "\u{7f}",
            "*a",
            "&a",
            "!x",
            "%x",
            "a'\"\n",
            &"long word ".repeat(100),
        ] {
            let line = Flow::default().text("key", text).done();
            assert_eq!(line.lines().count(), 1, "{line}");
            let read: std::collections::BTreeMap<String, String> =
                sopwith_domain::yaml::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(read["key"], text, "{line}");
        }
        assert_eq!(comment("a\nb: c\u{85}d\u{2028}e"), "a b: c d e");
    }
}
