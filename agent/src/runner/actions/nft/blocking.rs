//! Which rule of the packet filter keeps others from a port: the only one of an input chain that drops or rejects that
//! very port and nothing else. Looks only; the watcher asks, since the kernel shows the ruleset to root alone.

use super::{list, of, rule};
use crate::runner_protocol::Blocking;
use serde_json::{Value as Json, json};
use sopwith_domain::value::Word;

/// Asks the kernel for the rule.
///
/// # Errors
/// The ruleset cannot be read.
pub fn find(port: u16, protocol: &str) -> Result<Option<Blocking>, String> {
    Ok(list(&["ruleset"])?.and_then(|objects| only(&objects, port, protocol)))
}

/// Several such rules, or none so plain, are for a person to read.
fn only(objects: &[Json], port: u16, protocol: &str) -> Option<Blocking> {
    let text = |object: &Json, name: &str| object.get(name).and_then(Json::as_str).map(str::to_owned);
    let key = |object: &Json, name: &str| {
        Some((text(object, "family")?, text(object, "table")?, text(object, name)?))
    };
    let input: Vec<_> = of(objects, "chain")
        .filter(|chain| text(chain, "hook").as_deref() == Some("input"))
        .filter_map(|chain| key(chain, "name"))
        .collect();
    let mut found = of(objects, "rule")
        .filter(|rule| key(rule, "chain").is_some_and(|key| input.contains(&key)))
        .filter(|rule| blocks(rule, port, protocol));
    let (rule, None) = (found.next()?, found.next()) else { return None };
    let word = |name: &str| Word::new(text(rule, name)?).ok();
    Some(Blocking {
        family: word("family")?,
        table: word("table")?,
        chain: word("chain")?,
        handle: rule.get("handle")?.as_u64()?,
        digest: Word::new(rule::digest(rule)).ok()?,
        shown: rule.to_string(),
    })
}

/// Says whether a rule does nothing but drop or reject this port.
fn blocks(rule: &Json, port: u16, protocol: &str) -> bool {
    let Some(expressions) = rule.get("expr").and_then(Json::as_array) else { return false };
    let of_port = |of: &str| json!({"match": {"op": "==", "left": {"payload": {"protocol": of, "field": "dport"}}, "right": port}});
    let of_protocol = json!({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": protocol}});
    let count = |name: &str| expressions.iter().filter(|e| e.get(name).is_some()).count();
    let counts = count("counter") + count("log");
    let ends = expressions.last().is_some_and(|e| e.get("drop").is_some() || e.get("reject").is_some());
    let plain = expressions.contains(&of_port(protocol));
    let by_protocol = expressions.contains(&of_protocol);
    let general = by_protocol && expressions.contains(&of_port("th"));
    let wanted = counts + 1 + usize::from(by_protocol) + 1;
    ends && (plain || general) && expressions.len() == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dport(protocol: &str, right: Json) -> Json {
        json!({"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}})
    }

    fn ruleset(rules: &[(&str, Vec<Json>)]) -> Vec<Json> {
        let chain = |name: &str, hook: &str| json!({"chain": {"family": "inet", "table": "filter", "name": name, "hook": hook}});
        let mut objects = vec![json!({"metainfo": {}}), chain("input", "input"), chain("forward", "forward")];
        objects.extend(rules.iter().enumerate().map(|(at, (chain, expr))| {
            json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "handle": at, "expr": expr}})
        }));
        objects
    }

    #[test]
    fn the_only_rule_that_blocks_the_port() {
        let (drop, reject, accept) =
            (json!({"drop": null}), json!({"reject": null}), json!({"accept": null}));
        let counter = json!({"counter": {"packets": 1, "bytes": 60}});
        let from = json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "192.0.2.1"}});
        let l4 = json!({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}});
        let port = || dport("tcp", json!(80));
        let allows = ("input", vec![dport("tcp", json!({"set": [22, 80]})), accept.clone()]);
        for (what, rules, handle) in [
            ("dropped", vec![("input", vec![port(), drop.clone()]), allows.clone()], Some(0)),
            ("rejected", vec![allows.clone(), ("input", vec![port(), counter.clone(), reject])], Some(1)),
            ("by protocol", vec![("input", vec![l4, dport("th", json!(80)), drop.clone()])], Some(0)),
            ("another protocol", vec![("input", vec![dport("udp", json!(80)), drop.clone()])], None),
            ("another port", vec![("input", vec![dport("tcp", json!(81)), drop.clone()])], None),
            ("of one address only", vec![("input", vec![from, port(), drop.clone()])], None),
            (
                "several ports",
                vec![("input", vec![dport("tcp", json!({"set": [80, 443]})), drop.clone()])],
                None,
            ),
            ("on its way elsewhere", vec![("forward", vec![port(), drop.clone()])], None),
            ("accepted", vec![("input", vec![port(), accept])], None),
            (
                "two",
                vec![("input", vec![port(), drop.clone()]), ("input", vec![port(), counter, drop])],
                None,
            ),
        ] {
            let found = only(&ruleset(&rules), 80, "tcp");
            assert_eq!(found.map(|f| f.handle), handle, "{what}");
        }
    }
}
