//! Patterns for file names: `*`, `?` and `[…]`, as the shell has them.

/// Says whether a file name fits a pattern of `*`, `?` and `[…]`.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut expression = String::from("^(?s:");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => {
                let set: String = chars.by_ref().take_while(|c| *c != ']').collect();
                let (not, set) = set.strip_prefix('!').map_or(("", set.as_str()), |rest| ("^", rest));
                // Ranges keep their hyphen; everything else stands for itself.
                let set: String = set
                    .chars()
                    .map(|c| if c == '-' { "-".into() } else { regex::escape(&c.to_string()) })
                    .collect();
                expression.push_str(&format!("[{not}{set}]"));
            }
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    expression.push_str(")$");
    regex::Regex::new(&expression).is_ok_and(|expression| expression.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, is) in [
            ("*.log.*", "web.log.1", true),
            ("*.log.*", "web.log", false),
            ("core.*", "core.python3.0.x.zst", true),
            ("core.*", "score.x", false),
            ("a?c", "abc", true),
            ("a[0-9]c", "a5c", true),
            ("a[!0-9]c", "a5c", false),
            ("a[.]c", "abc", false),
            ("a+b", "aab", false),
            ("[", "[", false),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
    }
}
