//! One address in a set: put in for a time, or taken out. What was there already is neither added nor taken away by an
//! undo; what was taken out comes back with the rest of its time.

use super::{Hands, change, list, named, of, word};
use crate::runner::actions::act::{Act, At};
use crate::runner::actions::command;
use crate::runner::clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sopwith_domain::action::NftFamily;
use sopwith_domain::run::Effect;
use sopwith_domain::value::Word;
use std::net::IpAddr;

/// A place for an address.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub family: NftFamily,
    pub table: &'a Word,
    pub set: &'a Word,
    pub ip: IpAddr,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The element as nft said it, if it was there.
    element: Option<Json>,
    /// When that was, by the boot clock.
    at_boot_ms: i64,
}

impl Element<'_> {
    fn listed(&self) -> Result<Option<Json>, String> {
        named(&[self.table, self.set])?;
        let objects = list(&["set", word(self.family), self.table.as_str(), self.set.as_str()])?;
        Ok(objects.and_then(|objects| of(&objects, "set").next().cloned()))
    }

    fn name(&self) -> String {
        format!("{} {} {}", word(self.family), self.table, self.set)
    }

    /// Returns the set, which must take addresses of this kind.
    fn set(&self) -> Result<Json, String> {
        let set = self.listed()?.ok_or_else(|| format!("there is no set {}", self.name()))?;
        let wanted = if self.ip.is_ipv4() { "ipv4_addr" } else { "ipv6_addr" };
        match set.get("type").and_then(Json::as_str) {
            Some(kind) if kind == wanted => Ok(set),
            _ => Err(format!("the set {} does not hold addresses such as {}", self.name(), self.ip)),
        }
    }

    /// Finds the very address among the elements of a set.
    fn find(&self, set: &Json) -> Option<Json> {
        let elements = set.get("elem")?.as_array()?;
        elements.iter().find(|element| address(element) == Some(self.ip)).cloned()
    }

    fn command(&self, verb: &str, element: &Json) -> Json {
        json!({ verb: { "element": {
            "family": word(self.family), "table": self.table, "name": self.set, "elem": [element],
        }}})
    }

    /// Looks before the address is put in.
    pub fn capture(&self, timeout_s: u64) -> Result<Prior, String> {
        let set = self.set()?;
        let flags = set.get("flags").and_then(Json::as_array).cloned().unwrap_or_default();
        if timeout_s > 0 && !flags.iter().any(|flag| flag == "timeout") {
            return Err(format!(
                "the set {} keeps nothing for a time (it lacks the flag timeout)",
                self.name()
            ));
        }
        Ok(Prior { element: self.find(&set), at_boot_ms: clock::boot_ms() })
    }

    pub fn add(&self, hands: Hands<'_>, timeout_s: u64, prior: &Prior) -> Result<String, String> {
        if prior.element.is_some() {
            return Ok(format!("{} is in {} already", self.ip, self.name()));
        }
        let element = match timeout_s {
            0 => json!(self.ip),
            _ => json!({ "elem": { "val": self.ip, "timeout": timeout_s } }),
        };
        change(hands, &self.command("add", &element), false)?;
        Ok(format!("{} is in {} for {timeout_s} s", self.ip, self.name()))
    }

    pub fn delete(&self, hands: Hands<'_>, prior: &Prior) -> Result<String, String> {
        if prior.element.is_none() || self.find(&self.set()?).is_none() {
            return Ok(format!("{} is not in {}", self.ip, self.name()));
        }
        change(hands, &self.command("delete", &json!(self.ip)), false)?;
        Ok(format!("{} is out of {}", self.ip, self.name()))
    }

    pub fn probe(&self, prior: &Prior) -> Effect {
        match self.set() {
            Err(detail) => Effect::Unknown { detail },
            Ok(set) => match (self.find(&set).is_some(), prior.element.is_some()) {
                (now, before) if now == before => {
                    Effect::None { detail: format!("{} is as it was", self.name()) }
                }
                (true, _) => Effect::Took { detail: format!("{} is in {}", self.ip, self.name()) },
                (false, _) => Effect::Took { detail: format!("{} is out of {}", self.ip, self.name()) },
            },
        }
    }

    pub fn undo(&self, hands: Hands<'_>, prior: &Prior) -> Result<String, String> {
        let Some(set) = self.listed()? else {
            return match prior.element {
                None => Ok(format!("the set {} is gone, and the address with it", self.name())),
                Some(_) => Err(format!("the set {} is gone", self.name())),
            };
        };
        match (self.find(&set), &prior.element) {
            (None, None) | (Some(_), Some(_)) => Ok(format!("{} is as it was", self.name())),
            (Some(_), None) => {
                change(hands, &self.command("delete", &json!(self.ip)), false)?;
                Ok(format!("{} is out of {} again", self.ip, self.name()))
            }
            (None, Some(element)) => match with_rest(element, clock::boot_ms() - prior.at_boot_ms) {
                None => Ok(format!("the time of {} in {} would be over by now", self.ip, self.name())),
                Some(element) => {
                    change(hands, &self.command("add", &element), false)?;
                    Ok(format!("{} is in {} again", self.ip, self.name()))
                }
            },
        }
    }

    /// Says whether the set holds the address.
    pub fn is_there(&self) -> Result<(), String> {
        self.find(&self.set()?).map(drop).ok_or_else(|| "it does not".into())
    }

    /// Says whether there is such a set for such an address.
    pub fn has_set(&self) -> Result<(), String> {
        self.set().map(drop)
    }
}

/// Returns the address of an element that is a single one.
fn address(element: &Json) -> Option<IpAddr> {
    let value = element.get("elem").and_then(|inner| inner.get("val")).unwrap_or(element);
    value.as_str()?.parse().ok()
}

/// Returns an element with what is left of its time; nothing where that is over.
fn with_rest(element: &Json, passed_ms: i64) -> Option<Json> {
    let mut element = element.clone();
    if let Some(expires) = element.get_mut("elem").and_then(|inner| inner.get_mut("expires")) {
        // A clock that began anew says nothing of what has passed.
        let left_s = expires.as_i64()? - passed_ms.max(0) / 1000;
        if left_s <= 0 {
            return None;
        }
        *expires = json!(left_s);
    }
    Some(element)
}

/// Puts an address in.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    pub element: Element<'a>,
    pub timeout_s: u64,
}

/// Takes an address out.
#[derive(Clone, Copy, Debug)]
pub struct Delete<'a> {
    pub element: Element<'a>,
}

impl Act for Add<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let (ip, name) = (self.element.ip, self.element.name());
        Ok(match self.element.capture(self.timeout_s)?.element {
            Some(_) => format!("nothing: {ip} is in {name} already"),
            None => format!("{ip} would be in {name} for {} s", self.timeout_s),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        command::prepare(at)?;
        self.element.capture(self.timeout_s)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        self.element.add(Hands::of(at, &command::lock(at)), self.timeout_s, prior)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        command::over(&command::lock(at))?;
        Ok(self.element.probe(prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&command::lock(at))?;
        self.element.undo(Hands::of(at, &command::lock(at)), prior)
    }
}

impl Act for Delete<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let (ip, name) = (self.element.ip, self.element.name());
        Ok(match self.element.capture(0)?.element {
            Some(_) => format!("{ip} would be out of {name}"),
            None => format!("nothing: {ip} is not in {name}"),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        command::prepare(at)?;
        self.element.capture(0)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        self.element.delete(Hands::of(at, &command::lock(at)), prior)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        command::over(&command::lock(at))?;
        Ok(self.element.probe(prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&command::lock(at))?;
        self.element.undo(Hands::of(at, &command::lock(at)), prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_as_nft_says_them() {
        let ip: IpAddr = "203.0.113.9".parse().expect("an address");
        for (element, is) in [
            (json!("203.0.113.9"), true),
            (json!("203.0.113.8"), false),
            (json!({"elem": {"val": "203.0.113.9", "timeout": 3600, "expires": 3599}}), true),
            (json!({"prefix": {"addr": "203.0.113.0", "len": 24}}), false),
            (json!({"range": ["203.0.113.0", "203.0.113.9"]}), false),
            (json!(7), false),
        ] {
            assert_eq!(address(&element) == Some(ip), is, "{element}");
        }
    }

    #[test]
    fn the_rest_of_an_elements_time() {
        let element = json!({"elem": {"val": "203.0.113.9", "timeout": 60, "expires": 10}});
        for (passed_ms, left) in
            [(0, Some(10)), (3500, Some(7)), (10_000, None), (99_000, None), (-5, Some(10))]
        {
            let rest = with_rest(&element, passed_ms);
            let left_s = rest.as_ref().map(|r| r["elem"]["expires"].as_i64().expect("a number"));
            assert_eq!(left_s, left, "{passed_ms}");
        }
        assert_eq!(with_rest(&json!("203.0.113.9"), 99_999), Some(json!("203.0.113.9")));
    }
}
