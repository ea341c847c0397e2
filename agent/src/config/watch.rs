//! Which of many things to watch, by name.

use super::at::At;
use serde::de::{SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// All, none, or some by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Watch {
    All,
    None,
    Only(Vec<At<String>>),
}

impl Watch {
    /// Says whether a name is among them; `*` in a listed name stands for anything.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => listed(names, name),
        }
    }
}

/// Says whether a name is in a list of names in which `*` stands for anything.
pub fn listed(names: &[At<String>], name: &str) -> bool {
    names.iter().any(|listed| wildcard(listed, name))
}

impl<'de> Deserialize<'de> for Watch {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Watch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("all, none or a list of names")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Watch, E> {
                match word {
                    "all" => Ok(Watch::All),
                    "none" => Ok(Watch::None),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Watch, A::Error> {
                let mut only = Vec::new();
                while let Some(name) = names.next_element()? {
                    only.push(name);
                }
                Ok(Watch::Only(only))
            }
        }
        input.deserialize_any(Written)
    }
}

/// Says whether a name fits a pattern in which `*` stands for anything.
pub fn wildcard(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    while let Some((part, more)) = rest.split_once('*') {
        let Some(found) = name.find(part) else { return false };
        (name, rest) = (&name[found + part.len()..], more);
    }
    name.ends_with(rest)
}
