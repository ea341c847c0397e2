//! A server that lies, with all its keys: every leaf of an order changed, every member taken away, under its real
//! seal and without. Nothing starts but the very plan that the owners' documents and the approval lead to.

use super::support::{World, key};
use super::*;
use crate::runner::admission;
use serde_json::{Value as Json, json};
use sopwith_domain::ids::Digest;
use sopwith_domain::order::Order;
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::LEASE_MS;
use sopwith_protocol::exchange::SERVER_NAMESPACE;
use std::collections::BTreeSet;

/// Returns the way to every value in a document.
fn ways(json: &Json, way: &str, found: &mut Vec<String>) {
    if !way.is_empty() {
        found.push(way.to_owned());
    }
    match json {
        Json::Object(members) => members.iter().for_each(|(k, v)| {
            let k = k.replace('~', "~0").replace('/', "~1");
            ways(v, &format!("{way}/{k}"), found);
        }),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, v)| ways(v, &format!("{way}/{n}"), found));
        }
        _ => {}
    }
}

/// Marks a change that only adds a member which nobody asks for.
const ADDED: &str = " with more in it";

/// Returns the document with the value at `way` changed in several manners, and without it.
fn mutations(document: &Json, way: &str) -> Vec<(String, Json)> {
    let old = document.pointer(way).expect("there");
    let mut new = vec![Json::Null, json!([]), json!({}), json!("../../x"), json!(-1)];
    match old {
        Json::String(text) => {
            let flipped = |n: usize| {
                let mut chars: Vec<char> = text.chars().collect();
                if let Some(c) = chars.get_mut(n) {
                    *c = if *c == 'a' { 'b' } else { 'a' };
                }
                json!(chars.into_iter().collect::<String>())
            };
            new.extend([
                flipped(0),
                flipped(text.len() / 2),
                flipped(text.chars().count().saturating_sub(1)),
            ]);
            new.push(json!(format!("{text}x")));
            new.push(json!(""));
        }
        Json::Number(number) => {
            let number = number.as_u64().unwrap_or(0);
            new.extend([json!(number.wrapping_add(1)), json!(number.saturating_sub(1)), json!(0)]);
        }
        _ => {}
    }
    let mut documents: Vec<(String, Json)> = new
        .into_iter()
        .filter(|value| value != old)
        .map(|value| {
            let mut changed = document.clone();
            *changed.pointer_mut(way).expect("there") = value;
            (way.to_owned(), changed)
        })
        .collect();
    let (parent, name) = way.rsplit_once('/').expect("a way");
    let mut without = document.clone();
    match without.pointer_mut(parent).expect("there") {
        Json::Object(members) => drop(members.remove(&name.replace("~1", "/").replace("~0", "~"))),
        Json::Array(items) => drop(items.remove(name.parse().expect("a number"))),
        _ => {}
    }
    documents.push((format!("{way} taken away"), without));
    let mut added = document.clone();
    if let Some(Json::Object(members)) = added.pointer_mut(way) {
        members.insert("unknown".into(), json!(1));
        documents.push((format!("{way}{ADDED}"), added));
    }
    documents
}

/// What came of all the changes of one order.
#[derive(Default)]
struct Outcome {
    tried: usize,
    /// Where a change led to the very same plan.
    same: BTreeSet<String>,
}

/// Every so many refused changes go through a whole runner as well, with a memory of its own.
const WHOLE_EVERY: usize = 48;

/// Has a runner judge every change of an order. What it would admit, and a part of the rest, is given to a whole
/// runner, and what that starts is looked at from outside.
fn try_all(make: impl Fn(&World, Epoch) -> Order, demand: bool, resealed: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut world = World::new();
    let epoch = Life::begin(&world).epoch;
    let order = make(&world, epoch);
    let good = world.seal(&order);
    let document = serde_json::to_value(&order).expect("encodes");
    let mut all = Vec::new();
    ways(&document, "", &mut all);
    let judge = Life::begin_with(&world, |settings| settings.demand_signatures = demand);
    judge.lease();
    let seal = Seal::read(&judge.settings.server_key()).expect("pinned");
    let mut whole = Vec::new();
    for way in all {
        for (way, changed) in mutations(&document, &way) {
            let text = serde_json::to_string(&changed).expect("encodes");
            let sealed = if resealed {
                world.sign(&world.server, SERVER_NAMESPACE, &text)
            } else {
                SignedText { text, signature: good.signature.clone() }
            };
            let admitted =
                seal.open_order(&sealed).ok().map(|s| admission::admit(&s, judge.engine.gate_for_test()));
            let admitted = matches!(admitted, Some(Ok(_)));
            assert!(resealed || !admitted, "{way}: a broken seal was admitted");
            if admitted || outcome.tried.is_multiple_of(WHOLE_EVERY) {
                whole.push((way.clone(), sealed));
            }
            outcome.tried += 1;
        }
    }
    drop(judge);
    for (way, sealed) in whole {
        // A memory of its own: otherwise the first refusal would stand for all.
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = std::fs::remove_file(world.path("state/runner").join(name));
        }
        let mut life = Life::begin_with(&world, |settings| settings.demand_signatures = demand);
        life.engine.set_epoch_for_test(epoch);
        life.epoch = epoch;
        life.lease();
        life.order(sealed);
        life.settle();
        let started: BTreeSet<Digest> =
            life.records().iter().filter(|r| matches!(r.what, What::Started { .. })).map(|r| r.run).collect();
        drop(life);
        if !started.is_empty() {
            assert_eq!(started, BTreeSet::from([order.plan]), "{way}: another plan was started");
            outcome.same.insert(way);
            world = renewed(world);
        }
    }
    outcome
}

/// The files as they were before a run.
fn renewed(world: World) -> World {
    for (name, content) in [("w/conf", "broken"), ("w/log", "a\nb\n"), ("w/stale", "4711")] {
        std::fs::write(world.path(name), content).expect("write");
    }
    let _ = std::fs::remove_dir_all(world.path("state/runner/quarantine"));
    world
}

fn automatic(world: &World, epoch: Epoch) -> Order {
    world.order(epoch, 1, &world.playbook("fixed", "fixed"))
}

fn by_people(world: &World, epoch: Epoch) -> Order {
    world.by_people(automatic(world, epoch), &world.owner)
}

#[test]
fn a_changed_order_under_the_old_seal_starts_nothing() {
    let outcome = try_all(automatic, false, false);
    assert!(outcome.tried > 200, "{}", outcome.tried);
    assert!(outcome.same.is_empty());
}

/// When an approval was given and how long it lasts is the server's to say. The rest of what may change without
/// changing anything is behind the end of a signature.
#[test]
fn a_lying_server_with_its_real_seal_starts_no_other_plan() {
    let outcome = try_all(automatic, false, true);
    assert!(outcome.tried > 200, "{}", outcome.tried);
    let harmless =
        ["/approval/expires_at", "/approval/granted_at", "/playbook/signature", "/policy/signature"];
    let harmful: Vec<_> = outcome
        .same
        .iter()
        .filter(|way| !harmless.contains(&way.as_str()) && !way.ends_with(ADDED))
        .collect();
    assert!(harmful.is_empty(), "{harmful:?}");
    assert!(outcome.same.contains("/approval/expires_at"), "the test itself lets something through");
}

/// What people decided is under their own signature; what they said beside it, and how many are needed beyond
/// those who signed, is not.
#[test]
fn a_lying_server_cannot_forge_people_where_their_signatures_are_demanded() {
    let outcome = try_all(by_people, true, true);
    assert!(outcome.tried > 150, "{}", outcome.tried);
    let decision = "/approval/basis/decisions/0";
    let forged = ["by", "vote", "plan"].map(|part| format!("{decision}/{part}"));
    let begins = |way: &str| ["/target", "/parameters", "/plan"].iter().any(|part| way.starts_with(part));
    let harmful = outcome.same.iter().filter(|way| {
        !way.ends_with(ADDED) && (forged.contains(way) || begins(way) || way.as_str() == decision)
    });
    assert_eq!(harmful.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn documents_under_other_keys_or_for_other_uses_are_refused_before_they_are_parsed() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = automatic(&world, life.epoch);
    let playbook = |key: u8, namespace: &str| Order {
        playbook: world.sign(&super::support::key(key), namespace, &order.playbook.text),
        ..order.clone()
    };
    let nonsense = Order {
        playbook: SignedText { text: "\u{0}: [".repeat(1000), ..order.playbook.clone() },
        ..order.clone()
    };
    for (changed, named) in [
        (playbook(3, "sopwith-playbook"), "playbook"),
        (playbook(1, "sopwith-playbook"), "playbook"),
        (playbook(2, "sopwith-policy"), "playbook"),
        (playbook(2, "file"), "playbook"),
        (nonsense, "playbook"),
        (Order { policy: Some(world.sign(&key(3), "sopwith-policy", "x")), ..order.clone() }, "policy"),
        (Order { policy: Some(world.sign(&key(2), "sopwith-playbook", "x")), ..order.clone() }, "policy"),
    ] {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = std::fs::remove_file(world.path("state/runner").join(name));
        }
        drop(life);
        life = Life::begin(&world);
        life.lease();
        life.order(world.seal(&changed));
        life.settle();
        let refused = life.records().into_iter().any(|r| {
            matches!(r.what, What::Refused { refusal: sopwith_domain::warrant::Refusal::Signature { document, .. } }
                if document == named)
        });
        assert!(refused, "{named}: {:?}", life.records());
        assert_eq!(life.started(), 0);
    }
}

#[test]
fn orders_for_other_hosts_and_other_lives_start_nothing() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let other_epoch = world.order(Epoch(life.epoch.0 ^ 1), 1, &world.playbook("fixed", "fixed"));
    let mut other_host = world.order(life.epoch, 2, &world.playbook("fixed", "fixed"));
    other_host.target.host = "web-2".parse().expect("valid");
    let playbook = sopwith_domain::playbook::Playbook::parse(&other_host.playbook.text).expect("parses");
    let target = other_host.target.clone();
    let plan = sopwith_domain::plan::Plan::build(&playbook, target, other_host.parameters.clone());
    other_host.plan = plan.expect("right for that host").digest();
    other_host.approval.plan = other_host.plan;
    for order in [other_epoch, other_host] {
        life.order(world.seal(&order));
        life.settle();
        assert!(life.journal_refused(order.plan), "{:?}", life.kinds());
    }
    assert_eq!(life.started(), 0);
}

#[test]
fn leases_that_are_stale_replayed_or_from_before_a_restart_start_nothing() {
    let world = World::new();
    let mut life = Life::begin(&world);
    let order = world.seal(&automatic(&world, life.epoch));
    let old_challenge = life.status().challenge;
    let old_lease = world.seal(&world.lease(&old_challenge, life.epoch));
    drop(life);
    life = Life::begin(&world);
    life.order(order.clone());
    life.settle();
    let deliver = |life: &Life<'_>, lease: SignedText| {
        life.deliver(Delivery { lease: Some(lease), ..Delivery::default() })
    };
    assert_eq!(deliver(&life, old_lease).len(), 1, "from before the restart");
    let challenge = life.status().challenge;
    let forged = world.sign(&world.stranger, SERVER_NAMESPACE, "{}");
    assert_eq!(deliver(&life, forged).len(), 1, "another key");
    let mut wrong = world.lease(&challenge, life.epoch);
    wrong.host = "web-2".parse().expect("valid");
    assert_eq!(deliver(&life, world.seal(&wrong)).len(), 1, "another host");
    let as_order = world.seal(&world.lease(&challenge, life.epoch));
    assert_eq!(life.order(as_order).len(), 1, "a lease is no order");
    life.settle();
    assert_eq!((life.records().len(), life.status().holding.len()), (0, 1), "it still waits");
    life.lease();
    life.settle();
    assert_eq!(life.started(), 3, "and goes on with a good one");
}

#[test]
fn an_approval_that_expired_by_the_servers_clock_starts_nothing() {
    let world = World::new();
    let mut life = Life::begin(&world);
    let mut order = automatic(&world, life.epoch);
    order.approval.expires_at = Timestamp(super::support::SERVER_NOW.0 - 1);
    life.lease();
    life.order(world.seal(&order));
    life.settle();
    assert!(life.journal_refused(order.plan));
    assert_eq!(life.started(), 0);
    const { assert!(LEASE_MS <= 60_000) };
}

impl Life<'_> {
    fn journal_refused(&self, run: Digest) -> bool {
        self.records().iter().any(|r| r.run == run && matches!(r.what, What::Refused { .. }))
    }
}
