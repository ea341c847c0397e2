//! Reads the text form 0.0.4, strictly: what Prometheus would not take is refused with its line. Pure.

use crate::watcher::node::out::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Most samples of one file.
const SAMPLES_MAX: usize = 10_000;
const LABELS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 256;

/// A family with its samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    pub name: String,
    pub kind: Kind,
    pub help: String,
    pub samples: Vec<Line>,
}

/// One sample: the end of its name behind the family's, its labels in order, its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub end: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// Reads a whole file.
///
/// # Errors
/// Says in which line what is wrong.
pub fn families(text: &str) -> Result<Vec<Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen: BTreeSet<(String, Vec<(String, String)>)> = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", index + 1);
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            about(comment.trim_start(), &mut families).map_err(|e| wrong(&e))?;
            continue;
        }
        if seen.len() >= SAMPLES_MAX {
            return Err(wrong("there are too many samples"));
        }
        let (name, labels, value) = sample(line).map_err(|e| wrong(&e))?;
        let (family, end) = belongs(&name, &families);
        if !seen.insert((name.clone(), labels.clone())) {
            return Err(wrong(&format!("{name} is there twice with the same labels")));
        }
        let family = families.entry(family).or_insert_with_key(|name| empty(name));
        family.samples.push(Line { end, labels, value });
    }
    Ok(families.into_values().filter(|family| !family.samples.is_empty()).collect())
}

fn empty(name: &str) -> Family {
    let help = "Read from a file.".to_owned();
    Family { name: name.to_owned(), kind: Kind::Untyped, help, samples: Vec::new() }
}

/// Takes a `HELP` or `TYPE` line; any other is a comment.
fn about(comment: &str, families: &mut BTreeMap<String, Family>) -> Result<(), String> {
    let mut words = comment.splitn(3, [' ', '\t']);
    let what = words.next().unwrap_or_default();
    if !matches!(what, "HELP" | "TYPE") {
        return Ok(());
    }
    let name = words.next().filter(|name| is_name(name, true)).ok_or(format!("{what} names no metric"))?;
    let rest = words.next().unwrap_or_default().trim();
    let family = families.entry(name.to_owned()).or_insert_with_key(|name| empty(name));
    if what == "HELP" {
        family.help = rest.to_owned();
        return Ok(());
    }
    if !family.samples.is_empty() {
        return Err(format!("the type of {name} comes after its samples"));
    }
    family.kind = Kind::read(rest).ok_or_else(|| format!("{rest:?} is no type of a metric"))?;
    Ok(())
}

/// Returns the family that a sample of this name belongs to, and the rest of the name.
fn belongs(name: &str, families: &BTreeMap<String, Family>) -> (String, String) {
    for end in ["_bucket", "_sum", "_count"] {
        let family = name.strip_suffix(end).and_then(|stem| families.get(stem));
        let fits = |kind| kind == Kind::Histogram || kind == Kind::Summary && end != "_bucket";
        if let Some(family) = family.filter(|family| fits(family.kind)) {
            return (family.name.clone(), end.to_owned());
        }
    }
    (name.to_owned(), String::new())
}

/// Reads letters, digits and underscores, of metrics colons too.
fn is_name(text: &str, colons: bool) -> bool {
    let first = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || colons && byte == b':';
    first && text.len() <= NAME_BYTES_MAX && text.bytes().all(fits)
}

type Sample = (String, Vec<(String, String)>, f64);

/// Reads `name{label="text",…} value`.
fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ', '\t']).ok_or("there is no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err(format!("{:?} is no name of a metric", name.chars().take(40).collect::<String>()));
    }
    let mut labels = Vec::new();
    rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix('{') {
        rest = read_labels(after, &mut labels)?;
    }
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or("there is no value")?;
    let value = number(value).ok_or_else(|| format!("{value:?} is no number"))?;
    match words.next() {
        Some(_) => Err("a time behind the value is not taken".into()),
        None => Ok((name.to_owned(), labels, value)),
    }
}

fn read_labels<'a>(text: &'a str, labels: &mut Vec<(String, String)>) -> Result<&'a str, String> {
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort();
            let twice = labels.windows(2).any(|pair| pair[0].0 == pair[1].0);
            return if twice { Err("a label is there twice".into()) } else { Ok(after) };
        }
        let (name, after) = rest.split_once('=').ok_or("a label has no value")?;
        let name = name.trim();
        if !is_name(name, false) || labels.len() >= LABELS_MAX {
            return Err(format!("{:?} is no name of a label", name.chars().take(40).collect::<String>()));
        }
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name.to_owned(), value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return Err("the labels do not end".into()),
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let unended = || "the text of a label does not end".to_owned();
    let inner = text.strip_prefix('"').ok_or("the text of a label is not in quotation marks")?;
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &inner[at + 1..])),
            '\\' => match chars.next().ok_or_else(unended)?.1 {
                'n' => value.push('\n'),
                other @ ('"' | '\\') => value.push(other),
                other => return Err(format!("\\{other} means nothing in the text of a label")),
            },
            other => value.push(other),
        }
    }
    Err(unended())
}

fn number(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Rust reads words such as infinity too.
        _ if word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => word.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_every_kind() {
        let text = "\
# a comment
# HELP jobs_seconds How long jobs took.
# TYPE jobs_seconds histogram
jobs_seconds_bucket{le=\"1\"} 3
jobs_seconds_bucket{le=\"+Inf\"} 4
jobs_seconds_sum 5.5
jobs_seconds_count 4
last_run{b=\"x\\\"\\\\\\n\", a=\"é\",} 1.7e9
  plain\t-Inf

";
        let families = families(text).expect("well formed");
        let told: Vec<_> = families.iter().map(|f| (f.name.as_str(), f.kind, f.samples.len())).collect();
        let expected = [
            ("jobs_seconds", Kind::Histogram, 4),
            ("last_run", Kind::Untyped, 1),
            ("plain", Kind::Untyped, 1),
        ];
        assert_eq!(told, expected);
        assert_eq!(
            (families[0].help.as_str(), families[0].samples[2].end.as_str()),
            ("How long jobs took.", "_sum")
        );
        let labels = [("a".to_owned(), "é".to_owned()), ("b".to_owned(), "x\"\\\n".to_owned())];
        assert_eq!(
            (families[1].samples[0].labels.as_slice(), families[1].samples[0].value),
            (&labels[..], 1.7e9)
        );
    }

    #[test]
    fn what_is_not_well_formed_is_refused_with_its_line() {
        for (text, says) in [
            ("a 1\nb", "line 2: there is no value"),
            ("1a 1", "is no name of a metric"),
            ("a-b 1", "is no name of a metric"),
            ("a one", "\"one\" is no number"),
            ("a infinity", "is no number"),
            ("a 1 2", "a time behind the value"),
            ("a{b=c} 1", "quotation marks"),
            ("a{b=\"c} 1", "does not end"),
            ("a{b=\"c\" d=\"e\"} 1", "the labels do not end"),
            ("a{b=\"\\x\"} 1", "means nothing"),
            ("a{1b=\"\"} 1", "is no name of a label"),
            ("a{b=\"1\",b=\"2\"} 1", "a label is there twice"),
            ("a{b=\"1\"} 1\na{b=\"1\"} 2", "line 2: a is there twice"),
            ("# TYPE a number", "is no type"),
            ("# TYPE 1a gauge", "names no metric"),
            ("a 1\n# TYPE a gauge", "comes after its samples"),
        ] {
            let error = families(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        let many: String = (0..=SAMPLES_MAX).map(|n| format!("a{n} 1\n")).collect();
        assert!(families(&many).expect_err("too many").contains("too many"));
    }
}
