//! Which samples a rule is about: the name of a metric and what its labels must be, as Prometheus writes it.

use super::at::Leaf;
use regex::Regex;
use std::str::FromStr;

/// Largest compiled pattern of a label, in bytes of its automaton.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
const MATCHERS_MAX: usize = 16;

/// A metric's name, and what each of some labels must be or not be.
#[derive(Clone, Debug)]
pub struct Selector {
    pub name: String,
    matchers: Vec<Matcher>,
    text: String,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    wanted: Wanted,
    /// Whether the label must be so, or must not.
    is: bool,
}

#[derive(Clone, Debug)]
enum Wanted {
    Text(String),
    Like(Regex),
}

impl Selector {
    /// Says whether the labels of a sample are as wanted; a label that is not there counts as empty.
    pub fn takes(&self, labels: &[(String, String)]) -> bool {
        self.matchers.iter().all(|matcher| {
            let text = labels.iter().find(|(name, _)| *name == matcher.label).map_or("", |(_, text)| text);
            let fits = match &matcher.wanted {
                Wanted::Text(wanted) => wanted == text,
                Wanted::Like(pattern) => pattern.is_match(text),
            };
            fits == matcher.is
        })
    }

    /// Says whether a label is the same in all samples that are taken.
    pub fn fixes(&self, label: &str) -> bool {
        self.matchers.iter().any(|m| m.label == label && m.is && matches!(m.wanted, Wanted::Text(_)))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

impl FromStr for Selector {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, rest) = text.split_once('{').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let name = name.trim();
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a metric"));
        }
        let mut matchers = Vec::new();
        if let Some(rest) = rest {
            let mut rest = rest.trim_start();
            while !rest.starts_with('}') {
                let (matcher, after) = matcher(rest)?;
                if matchers.len() >= MATCHERS_MAX {
                    return Err(format!("there are more than {MATCHERS_MAX} labels"));
                }
                matchers.push(matcher);
                let after = after.trim_start();
                rest = after.strip_prefix(',').map_or(after, str::trim_start);
                if rest.len() == after.len() && !rest.starts_with('}') {
                    return Err("the labels do not end in }".into());
                }
            }
            if !rest[1..].trim().is_empty() {
                return Err(format!("nothing can follow the labels, but {:?} does", rest[1..].trim()));
            }
        }
        Ok(Self { name: name.to_owned(), matchers, text: text.to_owned() })
    }
}

/// Reads `label="text"`, `!=`, `=~` or `!~`.
fn matcher(text: &str) -> Result<(Matcher, &str), String> {
    let end = text.find(['=', '!']).ok_or("a label needs =, !=, =~ or !~ and a text")?;
    let (label, rest) = (text[..end].trim(), &text[end..]);
    if !is_name(label) {
        return Err(format!("{label:?} is no name of a label"));
    }
    let how = ["=~", "!~", "!=", "="].into_iter().find(|how| rest.starts_with(how));
    let how = how.ok_or("a label needs =, !=, =~ or !~ and a text")?;
    let inner = rest[how.len()..]
        .trim_start()
        .strip_prefix('"')
        .ok_or("the text of a label is not in quotation marks")?;
    let mut value = String::new();
    let mut chars = inner.char_indices();
    let after = loop {
        match chars.next() {
            None => return Err("the text of a label does not end".into()),
            Some((at, '"')) => break &inner[at + 1..],
            Some((_, '\\')) => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, other)) => value.push(other),
                None => return Err("the text of a label does not end".into()),
            },
            Some((_, other)) => value.push(other),
        }
    };
    let wanted = match how.ends_with('~') {
        false => Wanted::Text(value),
        true => {
            let whole = format!("^(?:{value})$");
            let built = regex::RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build();
            Wanted::Like(built.map_err(|_| format!("the pattern {value:?} cannot be used"))?)
        }
    };
    Ok((Matcher { label: label.to_owned(), wanted, is: !how.starts_with('!') }, after))
}

impl Leaf for Selector {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn placeholder() -> Self {
        Self { name: "up".into(), matchers: Vec::new(), text: "up".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_by_name_and_labels() {
        let sample: Vec<(String, String)> =
            [("device", "sda"), ("mountpoint", "/srv/a\"b")].map(|(a, b)| (a.into(), b.into())).into();
        for (text, takes) in [
            ("m", true),
            ("m{}", true),
            ("m{device=\"sda\"}", true),
            ("m{device=\"sd\"}", false),
            ("m{ device =~ \"sd.\" , mountpoint!=\"/\", }", true),
            ("m{device=~\"d\"}", false),
            ("m{device!~\"sd.*\"}", false),
            ("m{mountpoint=\"/srv/a\\\"b\"}", true),
            ("m{other=\"\"}", true),
            ("m{other!=\"\"}", false),
        ] {
            let selector: Selector = text.parse().expect(text);
            assert_eq!((selector.name.as_str(), selector.takes(&sample)), ("m", takes), "{text}");
        }
        let selector: Selector = "m{a=\"1\",b=~\"1\",c!=\"1\"}".parse().expect("a selector");
        assert_eq!(["a", "b", "c"].map(|label| selector.fixes(label)), [true, false, false]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, says) in [
            ("", "no name of a metric"),
            ("1m", "no name of a metric"),
            ("m > 3", "no name of a metric"),
            ("m{device}", "needs ="),
            ("m{device=sda}", "quotation marks"),
            ("m{device=\"sda}", "does not end"),
            ("m{device=\"sda\"", "do not end in }"),
            ("m{device=\"a\" b=\"c\"}", "do not end in }"),
            ("m{=\"a\"}", "no name of a label"),
            ("m{device=~\"(\"}", "cannot be used"),
            ("m{} > 3", "nothing can follow"),
        ] {
            let error = text.parse::<Selector>().expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
