//! What becomes of orders that are right: accepted once, carried out, verified or undone, within the host's bounds.

use super::support::{SERVER_NOW, World, key};
use super::*;
use sopwith_domain::ids::Digest;
use sopwith_domain::order::Order;
use sopwith_domain::run::End;
use sopwith_domain::warrant::Refusal;
use sopwith_protocol::exchange::BeginEpoch;
use std::fs;

fn end(life: &Life<'_>, run: Digest) -> Option<End> {
    life.records().into_iter().find_map(|r| match r.what {
        What::Ended { end } if r.run == run => Some(end),
        _ => None,
    })
}

fn refusal(life: &Life<'_>, run: Digest) -> Option<Refusal> {
    life.records().into_iter().find_map(|r| match r.what {
        What::Refused { refusal } if r.run == run => Some(refusal),
        _ => None,
    })
}

fn good(world: &World, life: &Life<'_>, incident: u64) -> Order {
    world.order(life.epoch, incident, &world.playbook("fixed", "fixed"))
}

#[test]
fn an_order_is_carried_out_once_and_verified() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = good(&world, &life, 1);
    let sealed = world.seal(&order);
    for _ in 0..3 {
        assert_eq!(life.order(sealed.clone()), Vec::<String>::new());
        life.settle();
    }
    assert_eq!(end(&life, order.plan), Some(End::Resolved));
    assert_eq!(life.started(), 3);
    assert_eq!(fs::read_to_string(world.path("w/conf")).expect("there"), "fixed");
    assert_eq!(fs::read_to_string(world.path("w/log")).expect("there"), "");
    assert!(!world.path("w/stale").exists());
    drop(life);
    let mut life = Life::begin(&world);
    life.lease();
    life.order(sealed);
    life.settle();
    assert_eq!(life.started(), 3, "not after a restart either");
}

#[test]
fn a_fix_that_does_not_pass_is_undone_without_a_trace() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = world.order(life.epoch, 1, &world.playbook("fixed", "other"));
    let before = world.fingerprint();
    life.order(world.seal(&order));
    life.settle();
    assert!(matches!(end(&life, order.plan), Some(End::RolledBack { .. })), "{:?}", life.kinds());
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn without_a_lease_an_order_waits_and_with_one_it_goes_on() {
    let world = World::new();
    let mut life = Life::begin(&world);
    let order = good(&world, &life, 1);
    life.order(world.seal(&order));
    life.settle();
    assert_eq!((life.records().len(), life.status().holding), (0, vec![order.plan]));
    life.lease();
    life.settle();
    assert_eq!(end(&life, order.plan), Some(End::Resolved));
    assert_eq!(life.status().holding, vec![]);
}

#[test]
fn stops_holds_and_broken_declarations_end_an_order() {
    type Change = fn(&World, &mut Life<'_>);
    let table: [(&str, Change); 7] = [
        ("local stop", |w, _| fs::write(w.path("state/stop"), "storm").expect("write")),
        ("the server's stop", |w, l| {
            l.desk.challenge();
            let mut lease = w.lease(&l.status().challenge, l.epoch);
            lease.stop = Some("storm".into());
            lease.server_now = SERVER_NOW.plus(1);
            l.deliver(Delivery { lease: Some(w.seal(&lease)), ..Delivery::default() });
        }),
        ("hold", |w, _| {
            let text =
                format!("- {{kind: hold, scope: [\"path:{}\"], by: a, reason: b}}", w.path("w").display());
            fs::write(w.path("etc/host.d/a.yaml"), text).expect("write");
        }),
        ("broken declarations", |w, _| fs::write(w.path("etc/host.d/a.yaml"), "- {").expect("write")),
        ("a server's clock cannot end a maintenance", |w, _| {
            let text = "- {kind: maintenance, id: m, scope: [host], from: 2020-01-01T00:00:00Z, \
                        to: 2099-01-01T00:00:00Z, by: a, reason: b}";
            fs::write(w.path("etc/host.d/a.yaml"), text).expect("write");
        }),
        ("no signers", |w, _| fs::remove_file(w.path("etc/allowed_signers")).expect("remove")),
        ("signers that anybody can write", |w, _| {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::Permissions::from_mode(0o666);
            fs::set_permissions(w.path("etc/allowed_signers"), mode).expect("chmod");
        }),
    ];
    for (name, change) in table {
        let world = World::new();
        let mut life = Life::begin(&world);
        life.lease();
        change(&world, &mut life);
        let order = good(&world, &life, 1);
        life.order(world.seal(&order));
        life.settle();
        assert!(refusal(&life, order.plan).is_some(), "{name}: {:?}", life.kinds());
        assert_eq!(life.started(), 0, "{name}");
    }
}

#[test]
fn a_key_that_is_taken_away_stops_a_run_before_its_next_step() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = good(&world, &life, 1);
    let before = world.fingerprint();
    life.order(world.seal(&order));
    life.first_step();
    assert_eq!(life.started(), 1);
    world.add_key_to_signers(&format!("alice {}\n", key(9).public_key().to_openssh().expect("encodes")));
    life.settle();
    assert_eq!(life.started(), 1);
    assert!(matches!(end(&life, order.plan), Some(End::RolledBack { .. })));
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn the_hosts_own_budget_counts_whatever_the_server_says() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let playbook = world.playbook("fixed", "other");
    for incident in 1..=4 {
        // Another fingerprint each time: the same playbook on the same files is the same try all the same.
        let order = world.order(life.epoch, incident, &playbook);
        life.order(world.seal(&order));
        life.settle();
        let spent = matches!(refusal(&life, order.plan), Some(Refusal::BudgetSpent { .. }));
        assert_eq!(spent, incident > 2, "{incident}");
        if incident == 3 {
            drop(life);
            life = Life::begin(&world);
            life.lease();
        }
    }
    let order = world.by_people(world.order(life.epoch, 9, &playbook), &world.owner);
    life.order(world.seal(&order));
    life.settle();
    assert!(end(&life, order.plan).is_some(), "people's decisions are not counted");
}

#[test]
fn an_order_that_collides_waits_until_the_other_has_ended() {
    let world = World::new();
    let mut life = Life::begin_with(&world, |settings| settings.automatic_tries_max = 9);
    life.lease();
    let soaking = world.playbook("fixed", "fixed").replace("soak_s: 0", "soak_s: 1");
    let (first, second) = (world.order(life.epoch, 1, &soaking), world.order(life.epoch, 2, &soaking));
    life.order(world.seal(&first));
    life.settle();
    fs::write(world.path("w/stale"), "again").expect("write");
    life.order(world.seal(&second));
    life.settle();
    assert_eq!(life.status().holding, vec![second.plan]);
    assert_eq!(life.status().active.len(), 1);
    while end(&life, second.plan).is_none() {
        let pause_ms = life.turn().clamp(0, 20);
        std::thread::sleep(Duration::from_millis(u64::try_from(pause_ms).unwrap_or(0)));
    }
    let of = |run: Digest, wanted: fn(&What) -> bool| {
        life.records().iter().position(|r| r.run == run && wanted(&r.what)).expect("there")
    };
    let first_end = of(first.plan, |w| matches!(w, What::Ended { .. }));
    assert!(first_end < of(second.plan, |w| matches!(w, What::Accepted { .. })));
    assert_eq!(end(&life, first.plan), Some(End::Resolved));
}

#[test]
fn a_cancelled_run_is_undone() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = good(&world, &life, 1);
    let before = world.fingerprint();
    life.order(world.seal(&order));
    life.first_step();
    life.deliver(Delivery { cancels: vec![(order.plan, "alice".into())], ..Delivery::default() });
    life.settle();
    assert!(matches!(end(&life, order.plan), Some(End::RolledBack { reason }) if reason.contains("alice")));
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn a_new_life_of_the_host_ends_what_was_ordered_for_the_old_one() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = good(&world, &life, 1);
    let before = world.fingerprint();
    life.order(world.seal(&order));
    life.first_step();
    let challenge = life.status().challenge;
    let say = |reason: &str, known_seq| BeginEpoch {
        reason: reason.into(),
        epoch: life.epoch,
        known_seq: Some(known_seq),
        known_hash: None,
    };
    let (late, behind) = (say("an old request came late", 1), say("the disk was set back", 1000));
    life.deliver(Delivery { begin_epoch: Some(late), ..Delivery::default() });
    let inbox = life.desk.take(Duration::ZERO);
    life.engine.turn(inbox).expect("the journal holds");
    assert_eq!(life.status().epoch, life.epoch, "nothing was set back");
    life.deliver(Delivery { begin_epoch: Some(behind.clone()), ..Delivery::default() });
    life.settle();
    let epoch = life.status().epoch;
    assert_ne!(epoch, life.epoch);
    assert_ne!(life.status().challenge, challenge);
    assert!(!life.status().leased);
    assert!(matches!(end(&life, order.plan), Some(End::RolledBack { .. })), "{:?}", life.kinds());
    assert_eq!(world.fingerprint(), before);
    life.deliver(Delivery { begin_epoch: Some(behind), ..Delivery::default() });
    life.settle();
    assert_eq!(life.status().epoch, epoch, "the server repeats itself");
    drop(life);
    assert_eq!(Life::begin(&world).epoch, epoch);
}

#[test]
fn until_the_server_is_heard_it_is_told_the_head_that_is_certain() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    assert_eq!(life.status().unsure_head, None, "the server has answered");
    let order = good(&world, &life, 1);
    life.order(world.seal(&order));
    life.first_step();
    let certain = life.status().head;
    drop(life);
    // Whatever this process and the next one add, the head of before is what the server hears of.
    let mut life = Life::begin(&world);
    assert_eq!(life.status().unsure_head, Some(certain));
    life.deliver(Delivery { cancels: vec![(order.plan, "alice".into())], ..Delivery::default() });
    life.settle();
    assert!(life.status().head.seq > certain.seq);
    drop(life);
    let life = Life::begin(&world);
    assert_eq!(life.status().unsure_head, Some(certain));
}

#[test]
fn signatures_of_approvers_count_where_the_host_demands_them() {
    for (demanded, signer, resolved) in [(true, 2, true), (true, 3, false), (false, 3, true)] {
        let world = World::new();
        let mut life = Life::begin_with(&world, |settings| settings.demand_signatures = demanded);
        life.lease();
        let order = world.by_people(good(&world, &life, 1), &key(signer));
        life.order(world.seal(&order));
        life.settle();
        assert_eq!(end(&life, order.plan) == Some(End::Resolved), resolved, "{demanded} {signer}");
    }
}

#[test]
fn no_step_starts_before_the_server_knows_of_the_run() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = good(&world, &life, 1);
    life.order(world.seal(&order));
    for _ in 0..5 {
        let inbox = life.desk.take(Duration::ZERO);
        life.engine.turn(inbox).expect("the journal holds");
    }
    assert_eq!((life.records().len(), life.started()), (1, 0), "accepted, and waiting");
    life.settle();
    assert_eq!(end(&life, order.plan), Some(End::Resolved));
}

#[test]
fn after_a_start_of_the_machine_a_run_takes_no_further_step() {
    let world = World::new();
    let mut life = Life::begin(&world);
    life.lease();
    let order = good(&world, &life, 1);
    let before = world.fingerprint();
    life.order(world.seal(&order));
    life.first_step();
    let (journal, _) = RunJournal::open(&life.settings.journal()).expect("opens");
    journal.set_boot_id("another start of the machine");
    drop((journal, life));
    let mut life = Life::begin(&world);
    life.lease();
    life.settle();
    assert_eq!(life.started(), 1);
    assert!(matches!(end(&life, order.plan), Some(End::RolledBack { .. })), "{:?}", life.kinds());
    assert_eq!(world.fingerprint(), before);
}
