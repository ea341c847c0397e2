//! The numbers of the plugin contract: `'label'=value[UOM];[warn];[crit];[min];[max]`, with ranges as limits. Read
//! leniently, as plugins write them, and written strictly.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 64;

/// One number.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Perfdata {
    pub label: String,
    /// Nothing where the plugin says `U`: it could not find out.
    pub value: Option<f64>,
    /// As the plugin wrote it: `s`, `ms`, `us`, `%`, `B`, `KB`, …, `c`, or nothing.
    pub unit: String,
    pub warning: Option<Range>,
    pub critical: Option<Range>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// A range of the plugin contract. A value outside alerts, or inside, where it begins with `@`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Range {
    /// Nothing stands for no end, which JSON has no number for.
    pub from: Option<f64>,
    pub to: Option<f64>,
    pub inside: bool,
}

impl Range {
    /// Parses `10`, `10:`, `~:10`, `10:20`, `@10:20`.
    pub fn parse(text: &str) -> Option<Self> {
        let (inside, text) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (from, to) = match text.split_once(':') {
            None => (Some(0.0), Some(number(text)?)),
            Some((from, to)) => {
                let from = match from {
                    "~" => None,
                    "" => Some(0.0),
                    from => Some(number(from)?),
                };
                (from, if to.is_empty() { None } else { Some(number(to)?) })
            }
        };
        let ordered = from.zip(to).is_none_or(|(from, to)| from <= to);
        ordered.then_some(Self { from, to, inside })
    }

    /// Says whether the value alerts.
    pub fn alerts(&self, value: f64) -> bool {
        let within = self.from.is_none_or(|from| value >= from) && self.to.is_none_or(|to| value <= to);
        within == self.inside
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
            f.write_str("@")?;
        }
        match self.from {
            None => f.write_str("~:")?,
            Some(0.0) if self.to.is_some() => {}
            Some(from) => write!(f, "{from}:")?,
        }
        self.to.map_or(Ok(()), |to| write!(f, "{to}"))
    }
}

fn number(text: &str) -> Option<f64> {
    // Plugins of other languages write a decimal comma in spite of LC_ALL.
    let number: f64 = text.trim().replace(',', ".").parse().ok()?;
    number.is_finite().then_some(number)
}

impl Perfdata {
    /// Makes a number of the agent's own.
    pub fn new(label: &str, value: f64, unit: &str) -> Self {
        let (label, unit) = (label.to_owned(), unit.to_owned());
        Self { label, value: Some(value), unit, warning: None, critical: None, min: None, max: None }
    }

    /// Adds upper limits.
    pub fn limits(mut self, warning: Option<f64>, critical: Option<f64>) -> Self {
        let upper = |to: f64| Range { from: Some(0.0), to: Some(to), inside: false };
        (self.warning, self.critical) = (warning.map(upper), critical.map(upper));
        self
    }

    /// Adds lower limits.
    pub fn at_least(mut self, warning: Option<f64>, critical: Option<f64>) -> Self {
        let lower = |from: f64| Range { from: Some(from), to: None, inside: false };
        (self.warning, self.critical) = (warning.map(lower), critical.map(lower));
        self
    }

    /// Returns the value in base units, and the name of the unit: seconds, bytes, percent, count or nothing.
    pub fn base(&self) -> Option<(f64, &'static str)> {
        let (factor, unit) = base_unit(&self.unit);
        self.value.map(|value| (value * factor, unit))
    }

    /// Returns a limit in base units.
    pub fn base_of(&self, limit: f64) -> f64 {
        limit * base_unit(&self.unit).0
    }

    /// Says whether the value is beyond the limit that the plugin itself states.
    pub fn beyond(&self, limit: Option<&Range>) -> bool {
        self.value.zip(limit).is_some_and(|(value, limit)| limit.alerts(value))
    }
}

/// Returns the factor to the base unit and its name. Sizes go by 1024, as the standard plugins count them.
fn base_unit(unit: &str) -> (f64, &'static str) {
    const KIB: f64 = 1024.0;
    match unit {
        "s" => (1.0, "seconds"),
        "ms" => (1e-3, "seconds"),
        "us" | "µs" => (1e-6, "seconds"),
        "ns" => (1e-9, "seconds"),
        "%" => (1.0, "percent"),
        "B" => (1.0, "bytes"),
        "KB" | "kB" | "KiB" => (KIB, "bytes"),
        "MB" | "MiB" => (KIB * KIB, "bytes"),
        "GB" | "GiB" => (KIB * KIB * KIB, "bytes"),
        "TB" | "TiB" => (KIB * KIB * KIB * KIB, "bytes"),
        "c" => (1.0, "count"),
        _ => (1.0, ""),
    }
}

impl fmt::Display for Perfdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.replace('\'', "''");
        let value = self.value.map_or_else(|| "U".into(), |value| value.to_string());
        let range = |range: &Option<Range>| range.map_or_else(String::new, |range| range.to_string());
        let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
        let limits =
            [range(&self.warning), range(&self.critical), bound(self.min), bound(self.max)].join(";");
        let limits = limits.trim_end_matches(';');
        let semicolon = if limits.is_empty() { "" } else { ";" };
        write!(f, "'{label}'={value}{}{semicolon}{limits}", self.unit)
    }
}

/// Reads all numbers of a text, at most so many; what is none is passed over up to the next blank.
pub fn parse_all(text: &str, max: usize) -> Vec<Perfdata> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && found.len() < max {
        let Some((label, after)) = label(rest) else {
            rest = skip_word(rest);
            continue;
        };
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        found.extend(one(label, &after[..end]));
        rest = after[end..].trim_start();
    }
    found
}

fn skip_word(text: &str) -> &str {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text[end..].trim_start()
}

/// Takes a label and its `=`; in a quoted label two quotes stand for one.
fn label(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find('=').filter(|end| !text[..*end].contains(char::is_whitespace))?;
        return (end > 0).then(|| (text[..end].to_owned(), &text[end + 1..]));
    };
    let mut label = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match (c, characters.peek()) {
            ('\'', Some((_, '\''))) => {
                label.push('\'');
                characters.next();
            }
            ('\'', _) => {
                let rest = quoted[at + 1..].strip_prefix('=')?;
                return (!label.is_empty()).then_some((label, rest));
            }
            _ => label.push(c),
        }
    }
    None
}

fn one(label: String, text: &str) -> Option<Perfdata> {
    let mut parts = text.split(';');
    let measured = parts.next()?;
    let (value, unit) = match measured {
        "U" => (None, ""),
        _ => exponent(measured).or_else(|| decimal(measured)).map(|(value, unit)| (Some(value), unit))?,
    };
    let usable = unit.len() <= 8 && unit.chars().all(|c| c.is_alphabetic() || "%/".contains(c));
    if !usable || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return None;
    }
    let mut next = || parts.next().unwrap_or_default().trim();
    let (warning, critical) = (Range::parse(next()), Range::parse(next()));
    let (min, max) = (number(next()), number(next()));
    Some(Perfdata { label, value, unit: unit.to_owned(), warning, critical, min, max })
}

/// Reads a number and returns what follows it.
fn decimal(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.,".contains(c))).unwrap_or(text.len());
    number(&text[..end]).map(|value| (value, &text[end..]))
}

/// Reads a number with an exponent, as in `1.5e-05s`.
fn exponent(text: &str) -> Option<(f64, &str)> {
    let at = text.find(['e', 'E'])?;
    let signed = text[at + 1..].strip_prefix(['+', '-']).map_or(at + 1, |_| at + 2);
    let digits = text[signed..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - signed);
    if digits == 0 {
        return None;
    }
    let end = signed + digits;
    number(&text[..end]).map(|value| (value, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        // Range, and values with whether they alert.
        for (text, cases) in [
            ("10", &[(-1.0, true), (0.0, false), (10.0, false), (10.1, true)][..]),
            ("10:", &[(9.9, true), (10.0, false), (1e12, false)]),
            ("~:10", &[(-1e12, false), (10.0, false), (10.1, true)]),
            ("10:20", &[(9.0, true), (10.0, false), (20.0, false), (21.0, true)]),
            ("@10:20", &[(9.0, false), (10.0, true), (20.0, true), (21.0, false)]),
            ("-5:-1", &[(-6.0, true), (-3.0, false), (0.0, true)]),
            ("0.5", &[(0.5, false), (0.51, true)]),
            (":7", &[(-0.1, true), (7.0, false)]),
        ] {
            let range = Range::parse(text).unwrap_or_else(|| panic!("{text}"));
            for (value, alerts) in cases {
                assert_eq!(range.alerts(*value), *alerts, "{text} and {value}");
            }
            let again = Range::parse(&range.to_string());
            assert_eq!(again, Some(range), "{text} is written as {range}");
        }
        for text in ["", "x", "20:10", "10:x", "@", "~", "nan", "inf", "1e999"] {
            assert_eq!(Range::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_as_plugins_write_them() {
        for (text, read) in [
            ("time=0.011s;1;2;0", "'time'=0.011s;1;2;0"),
            (
                "/=4711MB;9000;9500;0;10000 '/var log'=3%;80;90",
                "'/'=4711MB;9000;9500;0;10000 '/var log'=3%;80;90",
            ),
            ("'it''s'=1c", "'it''s'=1c"),
            ("a=1 b=x c=3", "'a'=1 'c'=3"),
            ("load1=0,52;5,000;10,000;0;", "'load1'=0.52;5;10;0"),
            (
                "rta=0.021000ms;100.000000;500.000000;0.000000 pl=0%;20;60;0",
                "'rta'=0.021ms;100;500;0 'pl'=0%;20;60;0",
            ),
            ("x=U;1;2", "'x'=U;1;2"),
            ("x=1.5e-05s y=2E3B", "'x'=0.000015s 'y'=2000B"),
            ("offset=-0.000003s;60.0;120.0;", "'offset'=-0.000003s;60;120"),
            ("t=5;@1:3;~:9", "'t'=5;@1:3;~:9"),
            ("procs=12;;;0;", "'procs'=12;;;0"),
            ("  junk =5 'open=3 ok=1", "'ok'=1"),
            ("=5 ''=6 ok=1", "'ok'=1"),
            ("a=inf b=nan c=1;nan", "'c'=1"),
            ("a=5\u{1b}[31m b=2", "'b'=2"),
            ("a=1$(reboot) b=2", "'b'=2"),
            ("", ""),
        ] {
            let found = parse_all(text, 64);
            let written: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(written.join(" "), read, "{text}");
            assert_eq!(parse_all(&written.join(" "), 64), found, "what is written is read as the same");
        }
        assert_eq!(parse_all("a=1 b=2 c=3", 2).len(), 2);
        let long = format!("{}=1 b=2", "x".repeat(LABEL_BYTES_MAX + 1));
        assert_eq!(parse_all(&long, 64).len(), 1);
    }

    #[test]
    fn base_units() {
        for (text, base) in [
            ("a=250ms", Some((0.25, "seconds"))),
            ("a=2MB", Some((2_097_152.0, "bytes"))),
            ("a=3c", Some((3.0, "count"))),
            ("a=7%", Some((7.0, "percent"))),
            ("a=9", Some((9.0, ""))),
            ("a=9furlong", Some((9.0, ""))),
            ("a=U", None),
        ] {
            assert_eq!(parse_all(text, 1)[0].base(), base, "{text}");
        }
        let of = |text: &str| parse_all(text, 1).remove(0);
        assert!(of("a=9;5;10").beyond(of("a=9;5;10").warning.as_ref()));
        assert!(!of("a=9;5;10").beyond(of("a=9;5;10").critical.as_ref()));
        assert!(!of("a=U;5;10").beyond(of("a=U;5;10").warning.as_ref()));
    }
}
