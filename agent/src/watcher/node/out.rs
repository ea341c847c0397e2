//! Where collectors put what they read: straight into the exposition text, or, of a few families only, into a list
//! for whoever judges them. A collector does not know which of the two it fills.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

/// Labels of a sample, in the order in which they are written.
pub type Labels<'a> = [(&'a str, &'a str)];

/// What a family counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Untyped,
    Histogram,
    Summary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    /// Reads the word of a `# TYPE` line.
    pub fn read(word: &str) -> Option<Self> {
        let all = [Self::Counter, Self::Gauge, Self::Untyped, Self::Histogram, Self::Summary];
        all.into_iter().find(|kind| kind.word() == word)
    }
}

/// A value; whole numbers keep all their digits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}
impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}
impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}
impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(value) => value as f64,
            Number::Real(value) => value,
        }
    }
}

/// Takes families, each with all its samples.
pub trait Out {
    /// Says whether a family whose name begins so may be of use.
    fn wants(&self, prefix: &str) -> bool;
    /// Begins a family; the samples that follow are its own.
    fn family(&mut self, name: &str, kind: Kind, help: &str);
    /// Puts a sample whose name is the family's with an end of its own, as those of histograms are.
    fn ending(&mut self, end: &str, labels: &Labels<'_>, value: Number);

    fn sample(&mut self, labels: &Labels<'_>, value: Number) {
        self.ending("", labels, value);
    }

    /// Says whether a family of this name has been put already.
    fn has(&self, _: &str) -> bool {
        false
    }

    /// Puts a family of one sample.
    fn one(&mut self, name: &str, kind: Kind, help: &str, value: Number) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }
}

/// Writes the text form 0.0.4. A family without samples leaves nothing behind.
#[derive(Debug, Default)]
pub struct Text {
    pub bytes: Vec<u8>,
    name: String,
    /// Where the present family began, as long as it has no sample.
    empty_from: Option<usize>,
    /// Hashes of the families' names, by which a second family of one name is seen.
    written: HashSet<u64>,
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Text {
    /// Begins a page at the end of what is there already.
    pub fn begin(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.written.clear();
        self.empty_from = None;
    }

    /// Ends the page and hands it over.
    pub fn end(&mut self) -> Vec<u8> {
        self.drop_empty();
        std::mem::take(&mut self.bytes)
    }

    fn drop_empty(&mut self) {
        if let Some(from) = self.empty_from.take() {
            self.bytes.truncate(from);
            self.written.remove(&hash(&self.name));
        }
    }
}

impl Out for Text {
    fn wants(&self, _: &str) -> bool {
        true
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.drop_empty();
        self.empty_from = Some(self.bytes.len());
        self.written.insert(hash(name));
        self.name.clear();
        self.name.push_str(name);
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.word(), "\n"] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    fn has(&self, name: &str) -> bool {
        self.written.contains(&hash(name))
    }

    fn ending(&mut self, end: &str, labels: &Labels<'_>, value: Number) {
        self.empty_from = None;
        self.bytes.extend_from_slice(self.name.as_bytes());
        self.bytes.extend_from_slice(end.as_bytes());
        for (index, (name, text)) in labels.iter().enumerate() {
            self.bytes.push(if index == 0 { b'{' } else { b',' });
            self.bytes.extend_from_slice(name.as_bytes());
            self.bytes.extend_from_slice(b"=\"");
            escape(&mut self.bytes, text);
            self.bytes.push(b'"');
        }
        self.bytes.extend_from_slice(if labels.is_empty() { b" " } else { b"} " });
        write_number(&mut self.bytes, value);
        self.bytes.push(b'\n');
    }
}

fn escape(bytes: &mut Vec<u8>, text: &str) {
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        bytes.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => bytes.extend_from_slice(b"\\\\"),
            b'"' => bytes.extend_from_slice(b"\\\""),
            b'\n' => bytes.extend_from_slice(b"\\n"),
            other => bytes.push(other),
        }
    }
}

fn write_number(bytes: &mut Vec<u8>, value: Number) {
    // Writing into memory cannot fail.
    let _ = match value {
        Number::Whole(value) => {
            write_whole(bytes, value);
            Ok(())
        }
        Number::Real(value) if value.is_nan() => bytes.write_all(b"NaN"),
        Number::Real(value) if value.is_infinite() => {
            bytes.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
        }
        Number::Real(value) => write!(bytes, "{value}"),
    };
}

/// Writes a whole number; most of a page is such numbers, and the formatting machinery would take longer than they.
fn write_whole(bytes: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[at..]);
}

/// One sample as it is judged.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// Most samples that are picked at once; what is beyond is counted.
pub const PICKED_MAX: usize = 20_000;

/// Keeps the samples of some families.
#[derive(Debug, Default)]
pub struct Picked {
    wanted: Vec<String>,
    current: String,
    pub samples: Vec<Sample>,
    pub left_out: u64,
}

impl Picked {
    /// Makes a list for the families of these names.
    pub fn of(wanted: Vec<String>) -> Self {
        Self { wanted, ..Self::default() }
    }
}

impl Out for Picked {
    fn wants(&self, prefix: &str) -> bool {
        self.wanted.iter().any(|name| name.starts_with(prefix))
    }

    fn family(&mut self, name: &str, _: Kind, _: &str) {
        self.current.clear();
        self.current.push_str(name);
    }

    fn ending(&mut self, end: &str, labels: &Labels<'_>, value: Number) {
        let current = self.current.as_str();
        let is = |wanted: &&String| wanted.strip_prefix(current).is_some_and(|rest| rest == end);
        let Some(name) = self.wanted.iter().find(is) else { return };
        if self.samples.len() >= PICKED_MAX {
            self.left_out += 1;
            return;
        }
        let labels = labels.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        self.samples.push(Sample { name: name.clone(), labels, value: value.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_become_text() {
        let mut text = Text::default();
        text.begin(b"# before\n".to_vec());
        text.family("a_total", Kind::Counter, "Counts.");
        text.sample(&[("x", "1"), ("y", "a\\b\"c\nd")], Number::Whole(u64::MAX));
        text.sample(&[], Number::Real(0.25));
        text.family("nothing", Kind::Gauge, "Has no sample.");
        text.one("b", Kind::Untyped, "Is one.", f64::INFINITY.into());
        text.one("c", Kind::Gauge, "Is none.", f64::NAN.into());
        text.family("last", Kind::Gauge, "Has no sample either.");
        assert!(text.has("a_total") && !text.has("nothing") && text.has("c") && !text.has("x"));
        let page = String::from_utf8(text.end()).expect("text");
        let expected = "# before\n# HELP a_total Counts.\n# TYPE a_total counter\n\
            a_total{x=\"1\",y=\"a\\\\b\\\"c\\nd\"} 18446744073709551615\na_total 0.25\n\
            # HELP b Is one.\n# TYPE b untyped\nb +Inf\n# HELP c Is none.\n# TYPE c gauge\nc NaN\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn only_what_is_wanted_is_picked() {
        let mut picked = Picked::of(vec!["node_load1".into()]);
        assert!(picked.wants("node_load") && !picked.wants("node_cpu_"));
        picked.one("node_load15", Kind::Gauge, "", 3.0.into());
        picked.one("node_load1", Kind::Gauge, "", 1.5.into());
        let expected = Sample { name: "node_load1".into(), labels: Vec::new(), value: 1.5 };
        assert_eq!(picked.samples, [expected]);
    }
}
