//! `nft.delete-rule`: takes one rule out of a chain, known by its handle and by a digest of what it says, so that a
//! handle used again is another rule. Before it goes it is looked whether nft would take it back; an undo puts it
//! where it stood, by its neighbours, with its counters.

use super::{Hands, change, list, named, of, word};
use crate::runner::actions::act::{Act, At};
use crate::runner::actions::command;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use sopwith_domain::action::NftFamily;
use sopwith_domain::run::Effect;
use sopwith_domain::value::Word;

/// Digits of a digest that name a rule.
const DIGITS: usize = 32;

/// A rule in a chain.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    pub family: NftFamily,
    pub table: &'a Word,
    pub chain: &'a Word,
    pub handle: u64,
    /// See [`digest`].
    pub digest: &'a Word,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The rule as nft said it, without its handle.
    rule: Map<String, Json>,
    /// Handles of the rules after and before it, the nearest first.
    after: Vec<u64>,
    before: Vec<u64>,
    /// How many rules of the chain said the same, it included.
    alike: usize,
}

/// Returns what a rule says, without what changes by itself: its handle and what it counted.
pub fn meaning(rule: &Json) -> Json {
    fn still(json: &Json) -> Json {
        match json {
            Json::Object(fields) => fields
                .iter()
                .map(|(name, value)| match (name.as_str(), value) {
                    ("counter", Json::Object(_)) => (name.clone(), json!({"packets": 0, "bytes": 0})),
                    ("used" | "used_unit", _) => (name.clone(), Json::Null),
                    _ => (name.clone(), still(value)),
                })
                .collect(),
            Json::Array(items) => items.iter().map(still).collect(),
            other => other.clone(),
        }
    }
    let mut rule = still(rule);
    if let Some(fields) = rule.as_object_mut() {
        fields.remove("handle");
    }
    rule
}

/// Returns the name of a rule by what it says.
pub fn digest(rule: &Json) -> String {
    let digest = hex::encode(Sha256::digest(meaning(rule).to_string()));
    digest[..DIGITS].to_owned()
}

/// Returns the rules of a chain, in nft's JSON.
///
/// # Errors
/// There is no such chain.
pub fn listed(family: &str, table: &str, chain: &str) -> Result<Vec<Json>, String> {
    let chain = ["chain", family, table, chain];
    let objects = list(&chain)?.ok_or_else(|| format!("there is no {}", chain.join(" ")))?;
    Ok(of(&objects, "rule").cloned().collect())
}

fn handle(rule: &Json) -> Option<u64> {
    rule.get("handle").and_then(Json::as_u64)
}

impl Rule<'_> {
    fn name(&self) -> String {
        format!("rule {} of {} {} {}", self.handle, word(self.family), self.table, self.chain)
    }

    fn rules(&self) -> Result<Vec<Json>, String> {
        named(&[self.table, self.chain])?;
        listed(word(self.family), self.table.as_str(), self.chain.as_str())
    }

    fn find(&self, rules: &[Json]) -> Option<usize> {
        rules
            .iter()
            .position(|rule| handle(rule) == Some(self.handle) && digest(rule) == self.digest.as_str())
    }

    fn look(&self) -> Result<(Prior, Vec<Json>), String> {
        let rules = self.rules()?;
        let at = self
            .find(&rules)
            .ok_or_else(|| format!("{} is not there or says something else", self.name()))?;
        let mut rule = rules[at].as_object().cloned().unwrap_or_default();
        rule.remove("handle");
        let prior = Prior {
            rule,
            after: rules[at + 1..].iter().filter_map(handle).collect(),
            before: rules[..at].iter().rev().filter_map(handle).collect(),
            alike: self.alike(&rules),
        };
        Ok((prior, rules))
    }

    /// Looks at the rule, and whether nft would take it back.
    fn keep(&self, hands: Hands<'_>) -> Result<Prior, String> {
        let (prior, rules) = self.look()?;
        change(hands, &prior.command(&rules), true)
            .map_err(|why| format!("{} could not be put back: {why}", self.name()))?;
        Ok(prior)
    }

    fn alike(&self, rules: &[Json]) -> usize {
        rules.iter().filter(|rule| digest(rule) == self.digest.as_str()).count()
    }

    fn delete(&self, hands: Hands<'_>) -> Result<String, String> {
        if self.find(&self.rules()?).is_none() {
            return Err(format!("{} is not there any more", self.name()));
        }
        let rule = json!({
            "family": word(self.family), "table": self.table, "chain": self.chain, "handle": self.handle,
        });
        change(hands, &json!({ "delete": { "rule": rule } }), false)?;
        Ok(format!("{} is gone", self.name()))
    }

    fn seen(&self, prior: &Prior) -> Effect {
        match self.rules() {
            Err(detail) => Effect::Unknown { detail },
            Ok(rules) if self.find(&rules).is_some() => {
                Effect::None { detail: format!("{} is there", self.name()) }
            }
            Ok(rules) if self.alike(&rules) < prior.alike => {
                Effect::Took { detail: format!("{} is gone", self.name()) }
            }
            Ok(_) => {
                Effect::Unknown { detail: format!("{} is gone, and another says the same", self.name()) }
            }
        }
    }

    fn put_back(&self, hands: Hands<'_>, prior: &Prior) -> Result<String, String> {
        let rules = self.rules()?;
        if self.find(&rules).is_some() || self.alike(&rules) >= prior.alike {
            return Ok(format!("{} is there", self.name()));
        }
        change(hands, &prior.command(&rules), false)?;
        let neighbour =
            |rule: &Json| handle(rule).is_some_and(|h| prior.after.contains(&h) || prior.before.contains(&h));
        if !rules.is_empty() && !rules.iter().any(neighbour) {
            return Err(format!(
                "{} is back at the end of its chain: all rules beside it were exchanged since",
                self.name()
            ));
        }
        Ok(format!("{} is back where it stood", self.name()))
    }

    /// Says whether no rule of the chain says this.
    pub fn is_gone(&self) -> Result<(), String> {
        match self.alike(&self.rules()?) {
            0 => Ok(()),
            _ => Err("it is there".into()),
        }
    }
}

impl Prior {
    /// Returns the command that puts the rule back: before the nearest of those after it that is still there, else
    /// behind the nearest before it, else at the end.
    fn command(&self, rules: &[Json]) -> Json {
        let there = |handle_of: &&u64| rules.iter().any(|rule| handle(rule) == Some(**handle_of));
        let mut rule = self.rule.clone();
        let verb = match (self.after.iter().find(there), self.before.iter().find(there)) {
            (Some(next), _) => {
                rule.insert("handle".into(), json!(next));
                "insert"
            }
            (None, Some(previous)) => {
                rule.insert("handle".into(), json!(previous));
                "add"
            }
            (None, None) => "add",
        };
        json!({ verb: { "rule": rule } })
    }
}

impl Act for Rule<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let (prior, _) = self.look()?;
        let rule = prior.rule.get("expr").map(ToString::to_string).unwrap_or_default();
        Ok(format!("{} would be gone: {rule}", self.name()))
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        command::prepare(at)?;
        self.keep(Hands::of(at, &command::lock(at)))
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        self.delete(Hands::of(at, &command::lock(at)))
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        command::over(&command::lock(at))?;
        Ok(self.seen(prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        command::over(&command::lock(at))?;
        self.put_back(Hands::of(at, &command::lock(at)), prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_known_by_what_it_says() {
        let rule = |handle: u64, packets: u64, port: u64| {
            json!({"family": "inet", "table": "t", "chain": "c", "handle": handle, "expr": [
                {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": port}},
                {"counter": {"packets": packets, "bytes": packets * 60}}, {"drop": null}]})
        };
        assert_eq!(digest(&rule(1, 0, 80)), digest(&rule(9, 77, 80)));
        assert_ne!(digest(&rule(1, 0, 80)), digest(&rule(1, 0, 81)));
        assert_eq!(digest(&rule(1, 0, 80)).len(), DIGITS);
    }

    #[test]
    fn a_rule_goes_back_where_it_stood() {
        let chain = |handles: &[u64]| handles.iter().map(|h| json!({"handle": h})).collect::<Vec<_>>();
        let prior = Prior { rule: Map::new(), after: vec![5, 6], before: vec![3, 2], alike: 1 };
        for (now, verb, at) in [
            (&[2, 3, 5, 6][..], "insert", Some(5)),
            (&[2, 3, 6], "insert", Some(6)),
            (&[2, 3], "add", Some(3)),
            (&[2, 9], "add", Some(2)),
            (&[9], "add", None),
        ] {
            let command = prior.command(&chain(now));
            let rule = &command[verb]["rule"];
            assert!(rule.is_object(), "{now:?}: {command}");
            assert_eq!(rule.get("handle").and_then(Json::as_u64), at, "{now:?}");
        }
    }
}
