//! Names of things, each with a type of its own and parsed in one place.
//! An id never carries behaviour and is never built from unchecked text.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Says why a text is not the id, name or path that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {expected}")]
pub struct InvalidName {
    pub what: &'static str,
    pub text: String,
    pub expected: &'static str,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), expected }
    }
}

/// Implements the text form (parse, print, serde) of a checked string type.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text, or says what was expected.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::ids::InvalidName> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err($crate::ids::InvalidName::new($what, &text, $expected)) }
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::ids::InvalidName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::ids::InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
pub(crate) use checked_text;

fn of(text: &str, max: usize, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.chars().all(allowed)
}

checked_text!(
    /// Name of a managed host, as its certificate carries it.
    HostId, "host name", "1 to 253 of a-z, 0-9, dot and hyphen, beginning with a letter or digit",
    |t| of(t, 253, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-')
        && t.starts_with(|c: char| c.is_ascii_alphanumeric())
);
checked_text!(
    /// Name of a rule in an agent's configuration.
    RuleId, "rule name", "1 to 128 of A-Z, a-z, 0-9 and _ . : @ / -",
    |t| of(t, 128, |c| c.is_ascii_alphanumeric() || "_.:@/-".contains(c))
);
impl RuleId {
    /// Says whether the name is what a configuration may give: records that are older than this rule may hold others,
    /// so that it is asked for at the doors and not where what was recorded is read.
    pub fn is_plain(&self) -> bool {
        self.0.starts_with(|c: char| c.is_ascii_alphanumeric()) && self.0.split('/').all(is_plain_part)
    }
}

/// Says whether a part between two slashes leads nowhere else, taken for a path.
fn is_plain_part(part: &str) -> bool {
    !part.is_empty() && part.split(':').all(|name| name != "." && name != "..")
}

checked_text!(
    /// Name of a playbook, the same through all its versions.
    PlaybookId, "playbook id", "1 to 64 of a-z, 0-9 and hyphen",
    |t| of(t, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
);
checked_text!(
    /// Login name of an operator.
    AccountName, "account name", "1 to 64 of a-z, 0-9 and _ . -, beginning with a letter",
    |t| of(t, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
        && t.starts_with(|c: char| c.is_ascii_lowercase())
);

/// Number of an incident, shown as `INC-7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub u64);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INC-{}", self.0)
    }
}

impl FromStr for IncidentId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.strip_prefix("INC-").or_else(|| text.strip_prefix("inc-")).unwrap_or(text);
        digits.parse().map(Self).map_err(|_| InvalidName::new("incident", text, "INC- and a number"))
    }
}

/// Life of a host's memory: made anew when the host is installed again or its disk was set back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// SHA-256 of a document or of a canonical form, in JSON and on screen as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of a value's canonical JSON (ordered maps, no spaces), under a tag that says what it is.
    pub fn of_json<T: Serialize>(tag: &str, value: &T) -> Self {
        let mut hash = Sha256::new();
        hash.update((tag.len() as u64).to_be_bytes());
        hash.update(tag.as_bytes());
        hash.update(serde_json::to_vec(value).expect("domain values have string keys and no floats"));
        Self(hash.finalize().into())
    }

    /// Returns the first 12 digits, or all where these do not tell it from the other.
    pub fn apart_from(&self, other: &Self) -> String {
        if self.0[..6] == other.0[..6] { self.to_string() } else { self.short() }
    }

    /// Returns the first 12 digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Digest {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| InvalidName::new("digest", text, "64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_by_what_leads_nowhere_else() {
        for plain in ["units.failed", "checks.web:443", "fs.space:/srv/a..b", "a", "server.same-fault.x@y"] {
            assert!(RuleId::new(plain).unwrap().is_plain(), "{plain}");
        }
        for other in
            ["..", "../x", "x/../y", "x/..", "x:../y", "x:..", "/x", "x//y", "x/", "-x", ".x", "x/./y"]
        {
            assert!(!RuleId::new(other).unwrap().is_plain(), "{other}");
        }
        for none in ["", "a b", "a\n", "a\0", "ä", "$(x)", ";x", &"a".repeat(129)] {
            assert!(RuleId::new(none).is_err(), "{none:?}");
        }
    }
}
