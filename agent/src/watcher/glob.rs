//! Patterns for file names: `*`, `?` and `[…]`, as the shell has them.

/// Says whether a text can be anything but a plain name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Says whether a file name fits a pattern of `*`, `?` and `[…]`. The time is at most that of their product.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: after the star, and one character later.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                again = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(one) if n < name.len() => match one {
                '?' => Some(p + 1),
                '[' => set(&pattern, p, name[n]),
                one => (*one == name[n]).then_some(p + 1),
            },
            None if n == name.len() => return true,
            _ => None,
        };
        match (step, again) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after, from))) if from < name.len() => {
                again = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Returns where the pattern goes on after a set that begins at `at`, if it holds the character.
fn set(pattern: &[char], at: usize, character: char) -> Option<usize> {
    let negated = pattern.get(at + 1) == Some(&'!');
    let from = at + 1 + usize::from(negated);
    let end = from + pattern[from..].iter().position(|c| *c == ']')?;
    let members = &pattern[from..end];
    let mut held = false;
    let mut i = 0;
    while i < members.len() {
        match (members.get(i + 1), members.get(i + 2)) {
            (Some('-'), Some(last)) => {
                held |= (members[i]..=*last).contains(&character);
                i += 3;
            }
            _ => {
                held |= members[i] == character;
                i += 1;
            }
        }
    }
    (held != negated).then_some(end + 1)
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
            ("a?c", "ac", false),
            ("a[0-9]c", "a5c", true),
            ("a[!0-9]c", "a5c", false),
            ("a[!0-9]c", "axc", true),
            ("a[.x-]c", "a-c", true),
            ("a[.]c", "abc", false),
            ("a+b", "aab", false),
            ("[", "[", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*é?", "caféx", true),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
        let long = "a".repeat(2_000);
        assert!(!fits(&format!("{}b", "*a".repeat(20)), &long), "and it ends");
    }
}
