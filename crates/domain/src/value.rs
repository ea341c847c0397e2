//! Typed values: the only form in which anything that a host observed reaches a plan.
//! A value is parsed whole, with no line breaks, and never becomes part of a larger text.

use crate::ids::{InvalidName, checked_text};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

const UNIT_SUFFIXES: [&str; 9] =
    [".service", ".socket", ".timer", ".mount", ".automount", ".path", ".target", ".slice", ".scope"];
/// Longest path the kernel takes, less its terminating NUL.
const PATH_BYTES_MAX: usize = 4095;

checked_text!(
    /// Name of a systemd unit with its suffix.
    UnitName, "unit", "a systemd unit name with its suffix, as in nginx.service",
    |t| t.len() <= 255
        && t.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@\\".contains(c))
        && !t.starts_with(['-', '.'])
        && UNIT_SUFFIXES.iter().any(|suffix| t.len() > suffix.len() && t.ends_with(suffix))
);
checked_text!(
    /// Absolute path in normal form: no `..`, no `.`, no doubled or trailing slash, no control characters.
    AbsPath, "path", "an absolute path without . or .. parts, doubled slashes or control characters",
    |t| t == "/"
        || (t.starts_with('/')
            && t.len() <= PATH_BYTES_MAX
            && !t.chars().any(char::is_control)
            && t[1..].split('/').all(|part| !part.is_empty() && part != "." && part != ".."))
);
checked_text!(
    /// A short name such as a result, a user or a check.
    Word, "word", "1 to 128 of A-Z, a-z, 0-9 and _ . : @ / + -, not beginning with a hyphen",
    |t| (1..=128).contains(&t.len())
        && t.chars().all(|c| c.is_ascii_alphanumeric() || "_.:@/+-".contains(c))
        && !t.starts_with('-')
);
checked_text!(
    /// An http or https address.
    Url, "address", "http:// or https:// and at most 2,048 visible ASCII characters",
    |t| t.len() <= 2048
        && (t.starts_with("http://") || t.starts_with("https://"))
        && t.len() > 8
        && t.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\`".contains(c))
);

checked_text!(
    /// A pattern for file names in one folder: `*`, `?` and `[...]`, never a slash.
    Glob, "pattern", "1 to 128 of A-Z, a-z, 0-9 and _ . * ? [ ] ! @ + -, not beginning with a hyphen",
    |t| (1..=128).contains(&t.len())
        && t.chars().all(|c| c.is_ascii_alphanumeric() || "_.*?[]!@+-".contains(c))
        && !t.starts_with('-')
);

checked_text!(
    /// Words with one space between each two, as a setting of the kernel has them.
    Words, "words", "1 to 256 visible ASCII characters in words with one space between, not beginning with a hyphen",
    |t| t.len() <= 256
        && !t.starts_with('-')
        && t.split(' ').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic()))
);

/// A range of addresses: `10.0.0.0/8`, `fe80::/10`. An IPv4 address in IPv6 clothing is the IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Says whether the address lies in the range.
    pub fn covers(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                (network.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                (network.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName::new("network", text, "an address and a prefix length, as in 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

/// Says whether an address can be that of one other machine: neither loopback nor unspecified, multicast,
/// broadcast or link-local.
pub fn one_other_machine(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            v4.octets()[0] != 0
                && !(v4.is_loopback() || v4.is_multicast() || v4.is_broadcast() || v4.is_link_local())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
        }
    }
}

impl AbsPath {
    /// Says whether `other` is this path or lies below it.
    pub fn covers(&self, other: &AbsPath) -> bool {
        let base = self.as_str().trim_end_matches('/');
        other.as_str() == self.as_str()
            || other.as_str().strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// One process for certain: its number and the clock tick after boot at which it started
/// (`/proc/PID/stat`, field 22), so that a number used again is another process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ProcessRef {
    pub pid: u32,
    pub start_ticks: u64,
}

/// A typed value of a signal's field or a plan's parameter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum Value {
    Unit(UnitName),
    Path(AbsPath),
    Url(Url),
    Ip(IpAddr),
    Process(ProcessRef),
    Integer(i64),
    Boolean(bool),
    Word(Word),
    Glob(Glob),
    Words(Words),
}

/// The type of a [`Value`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    Unit,
    Path,
    Url,
    Ip,
    Process,
    Integer,
    Boolean,
    Word,
    Glob,
    Words,
}

impl ValueType {
    /// Parses a text, whole, as a value of this type.
    pub fn parse(self, text: &str) -> Result<Value, InvalidName> {
        Ok(match self {
            Self::Unit => Value::Unit(UnitName::new(text)?),
            Self::Path => Value::Path(AbsPath::new(text)?),
            Self::Url => Value::Url(Url::new(text)?),
            Self::Word => Value::Word(Word::new(text)?),
            Self::Glob => Value::Glob(Glob::new(text)?),
            Self::Words => Value::Words(Words::new(text)?),
            Self::Ip => Value::Ip(
                text.parse::<IpAddr>()
                    .map_err(|_| InvalidName::new("address", text, "an IPv4 or IPv6 address"))?
                    .to_canonical(),
            ),
            Self::Integer => {
                Value::Integer(text.parse().map_err(|_| InvalidName::new("number", text, "a whole number"))?)
            }
            Self::Boolean => {
                Value::Boolean(text.parse().map_err(|_| InvalidName::new("value", text, "true or false"))?)
            }
            Self::Process => {
                let (pid, ticks) = text.split_once('@').unwrap_or((text, ""));
                let wrong = |_| InvalidName::new("process", text, "PID@START_TICKS");
                Value::Process(ProcessRef {
                    pid: pid.parse().map_err(wrong)?,
                    start_ticks: ticks.parse().map_err(wrong)?,
                })
            }
        })
    }
}

impl Value {
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Unit(_) => ValueType::Unit,
            Self::Path(_) => ValueType::Path,
            Self::Url(_) => ValueType::Url,
            Self::Ip(_) => ValueType::Ip,
            Self::Process(_) => ValueType::Process,
            Self::Integer(_) => ValueType::Integer,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Word(_) => ValueType::Word,
            Self::Glob(_) => ValueType::Glob,
            Self::Words(_) => ValueType::Words,
        }
    }

    /// Returns the bare JSON of the value, as an action's argument.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Integer(number) => (*number).into(),
            Self::Boolean(flag) => (*flag).into(),
            Self::Process(process) => {
                serde_json::json!({"pid": process.pid, "start_ticks": process.start_ticks})
            }
            other => other.to_string().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(v) => v.fmt(f),
            Self::Path(v) => v.fmt(f),
            Self::Url(v) => v.fmt(f),
            Self::Ip(v) => v.fmt(f),
            Self::Word(v) => v.fmt(f),
            Self::Glob(v) => v.fmt(f),
            Self::Words(v) => v.fmt(f),
            Self::Integer(v) => v.fmt(f),
            Self::Boolean(v) => v.fmt(f),
            Self::Process(v) => write!(f, "{}@{}", v.pid, v.start_ticks),
        }
    }
}
