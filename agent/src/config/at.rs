//! A value of the configuration together with the place it was written at. A value that does not parse becomes a
//! finding and a placeholder, so that one reading of the file tells everything that is wrong with it; a
//! configuration with findings is never handed out.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use sopwith_domain::ids::HostId;
use sopwith_domain::playbook::Finding;
use sopwith_domain::signal::{Severity, SignalKind, Subject};
use sopwith_domain::value::{AbsPath, Glob, UnitName, Url, Value, ValueType, Word};
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

thread_local! {
    /// What this thread has found since it began to read a file; serde has no other place to put it.
    static FOUND: RefCell<Vec<Finding>> = const { RefCell::new(Vec::new()) };
}

/// Takes what was found since the last call.
pub(super) fn take_findings() -> Vec<Finding> {
    FOUND.with(RefCell::take)
}

/// A value and where in the file it stands; line 0 where it is a default.
#[derive(Clone)]
pub struct At<T> {
    value: T,
    line: u64,
    column: u64,
}

impl<T> At<T> {
    /// Makes a value that stands in no file.
    pub const fn of(value: T) -> Self {
        Self { value, line: 0, column: 0 }
    }

    /// Makes a finding at this place.
    pub(super) fn finding(&self, text: impl Into<String>) -> Finding {
        Finding { line: self.line, column: self.column, text: text.into() }
    }

    /// Says whether it is written in a file, rather than a default.
    pub(super) const fn is_said(&self) -> bool {
        self.line > 0
    }

    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Default> Default for At<T> {
    fn default() -> Self {
        Self::of(T::default())
    }
}

impl At<AbsPath> {
    pub fn path(&self) -> &Path {
        Path::new(self.value.as_str())
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What can stand as one word in the file.
pub trait Leaf: Sized {
    /// # Errors
    /// Says what was expected.
    fn read(text: &str) -> Result<Self, String>;
    /// Returns any value; it is used nowhere, because a file with findings is not used.
    fn placeholder() -> Self;
}

impl<'de, T: Leaf> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(input)?;
        let (line, column) = (spanned.referenced.line(), spanned.referenced.column());
        let value = T::read(&spanned.value).unwrap_or_else(|text| {
            FOUND.with_borrow_mut(|found| found.push(Finding { line, column, text }));
            T::placeholder()
        });
        Ok(Self { value, line, column })
    }
}

macro_rules! leaves {
    ($($type:ty, $placeholder:expr;)*) => {$(
        impl Leaf for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|e| format!("{e}"))
            }
            fn placeholder() -> Self {
                $placeholder
            }
        }
    )*};
}

fn valid<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is a valid placeholder"))
}

leaves! {
    HostId, valid("host");
    AbsPath, valid("/");
    Word, valid("word");
    UnitName, valid("x.service");
    Url, valid("http://localhost");
    Glob, valid("*");
    SignalKind, valid("a.b");
    String, String::new();
    Subject, Subject::Host;
    Period, Period(Duration::ZERO);
    Pattern, valid("x");
}

/// A constant: true or false, a whole number, or else a word.
impl Leaf for Value {
    fn read(text: &str) -> Result<Self, String> {
        let parsed = [ValueType::Boolean, ValueType::Integer].iter().find_map(|t| t.parse(text).ok());
        parsed.map_or_else(|| ValueType::Word.parse(text).map_err(|e| e.to_string()), Ok)
    }
    fn placeholder() -> Self {
        Self::Boolean(false)
    }
}

impl Leaf for IpAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not an IPv4 or IPv6 address"))
    }
    fn placeholder() -> Self {
        Self::from(Ipv4Addr::LOCALHOST)
    }
}

impl Leaf for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not an address and port such as 127.0.0.1:9631"))
    }
    fn placeholder() -> Self {
        Self::from((Ipv4Addr::LOCALHOST, 1))
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Leaf for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("{text:?} is not a whole number from 0 to {}", <$type>::MAX))
            }
            fn placeholder() -> Self {
                1
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64);

macro_rules! words {
    ($type:ty, $placeholder:expr, $($word:literal => $value:expr),+) => {
        impl Leaf for $type {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!("{text:?} is not one of {}", [$($word),+].join(", "))),
                }
            }
            fn placeholder() -> Self {
                $placeholder
            }
        }
    };
}
words!(Severity, Severity::Warning, "information" => Severity::Information, "warning" => Severity::Warning,
    "critical" => Severity::Critical);
words!(ValueType, ValueType::Word, "word" => ValueType::Word, "ip" => ValueType::Ip,
    "integer" => ValueType::Integer, "boolean" => ValueType::Boolean, "path" => ValueType::Path,
    "unit" => ValueType::Unit, "url" => ValueType::Url, "process" => ValueType::Process);
words!(bool, false, "true" => true, "false" => false);

/// A length of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
    pub fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a length of time such as 500ms, 10s, 5m, 2h or 7d");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit_ms = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit_ms).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Largest compiled pattern, in bytes of its automaton.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// A regular expression over the bytes of a line: `.` is any byte, so that nobody hides a line from it by bytes that
/// are no text; `(?u)` asks for characters. Matching takes time linear in the line, whatever the pattern. It was built
/// once to see that it can be; what that takes in memory is held from the first use on only.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    groups: Vec<String>,
    built: OnceLock<Regex>,
}

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of its groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    pub fn regex(&self) -> &Regex {
        self.built.get_or_init(|| Self::build(&self.text).expect("it could be built when it was read"))
    }

    fn build(text: &str) -> Result<Regex, regex::Error> {
        RegexBuilder::new(text).unicode(false).size_limit(PATTERN_BYTES_MAX).build()
    }
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match Self::build(text) {
            Ok(built) => {
                let groups = built.capture_names().flatten().map(str::to_owned).collect();
                Ok(Self { text: text.to_owned(), groups, built: OnceLock::new() })
            }
            Err(e) => {
                let lines: Vec<_> = e.to_string().lines().map(|l| l.trim().to_owned()).collect();
                Err(format!("the pattern cannot be used: {}", lines.last().cloned().unwrap_or_default()))
            }
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}
