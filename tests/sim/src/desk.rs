//! What a simulated runner knows at a moment besides its journal: epoch, lease, stop, budget. From it come the facts
//! that a warrant is asked against, and apart from it what is true, for the oracles.

use super::catalogue::host;
use super::machine::Machine;
use super::oracle::StartContext;
use super::wire::Lease;
use sopwith_domain::approval::{Basis, Vote};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::time::{DAY_MS, Timestamp};
use sopwith_domain::warrant::{Facts, LEASE_MS};
use std::collections::BTreeSet;

/// Automatic tries a day that the host itself allows.
const TRIES_MAX: u32 = 2;
/// Most challenges that can still be answered.
const CHALLENGES_MAX: usize = 16;

/// An automatic run that was accepted here.
#[derive(Clone, Copy, Debug)]
struct Try {
    fingerprint: Digest,
    at: i64,
    boot_ms: Option<i64>,
}

#[derive(Clone, Debug)]
struct Held {
    made_ms: i64,
    server_now: Timestamp,
    stop: Option<String>,
    asked_at: i64,
}

#[derive(Debug)]
pub struct Desk {
    pub agent: usize,
    pub epoch: Epoch,
    pub demand_signatures: bool,
    tries: Vec<Try>,
    challenges: Vec<(u64, i64)>,
    lease: Option<Held>,
}

impl Desk {
    pub fn new(agent: usize, epoch: Epoch, demand_signatures: bool) -> Self {
        Self { agent, epoch, demand_signatures, tries: Vec::new(), challenges: Vec::new(), lease: None }
    }

    /// Forgets what a process forgets when it ends; what the journal holds is told again.
    pub fn restart(&mut self) {
        *self = Self::new(self.agent, self.epoch, self.demand_signatures);
    }

    /// Forgets what was said for an earlier life.
    pub fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.challenges.clear();
        self.lease = None;
    }

    /// Counts an accepted run, if no person approved it.
    pub fn took(&mut self, order: &Order, at: Timestamp, boot_ms: Option<i64>) {
        if matches!(order.approval.basis, Basis::Standing { .. }) {
            self.tries.push(Try { fingerprint: order.target.fingerprint, at: at.0, boot_ms });
        }
    }

    pub fn bare_facts(&self) -> Facts {
        Facts {
            host: host(self.agent),
            epoch: self.epoch,
            server_now: None,
            stop: None,
            forbidden: None,
            automatic_tries: 0,
            automatic_tries_max: TRIES_MAX,
            demand_signatures: self.demand_signatures,
            signed_by: BTreeSet::new(),
            reported: false,
            accepted_ago_ms: 0,
        }
    }

    /// Makes a challenge for the next exchange.
    pub fn challenge(&mut self, number: u64, boot_ms: i64) {
        if self.challenges.len() >= CHALLENGES_MAX {
            self.challenges.remove(0);
        }
        self.challenges.push((number, boot_ms));
    }

    /// Says whether this process made the challenge.
    pub fn asked(&self, challenge: u64) -> bool {
        self.challenges.iter().any(|(number, _)| *number == challenge)
    }

    /// Takes a lease if it answers a challenge of this process that is newer than the lease at hand.
    pub fn lease(&mut self, challenge: u64, lease: &Lease, asked_at: i64, boot_ms: i64) {
        let made = self.challenges.iter().find(|(number, _)| *number == challenge).map(|(_, ms)| *ms);
        let Some(made_ms) = made.filter(|made_ms| boot_ms - made_ms < LEASE_MS) else { return };
        let newer = |held: &Held| (made_ms, lease.server_now) > (held.made_ms, held.server_now);
        if self.lease.as_ref().is_none_or(newer) {
            let stop = lease.stop.clone();
            self.lease = Some(Held { made_ms, server_now: lease.server_now, stop, asked_at });
        }
    }

    /// Returns what is true at this moment, for the oracles.
    pub fn context(&self, machine: &Machine, plan: &Plan, wall: i64) -> StartContext {
        let touches: Vec<_> = plan.touches().into_iter().collect();
        let lease = self.lease.as_ref();
        StartContext {
            epoch: self.epoch.0,
            forbidden: machine.declared.forbid(&touches, Timestamp(wall)).is_some(),
            heard_stop: machine.local_stop || lease.is_some_and(|held| held.stop.is_some()),
            asked_at: lease.map(|held| held.asked_at),
        }
    }

    /// Returns the server's time while the lease is good, and why all is stopped, if it is.
    pub fn heard(
        &self,
        machine: &Machine,
        boot_ms: i64,
        lease_ms: i64,
    ) -> (Option<Timestamp>, Option<String>) {
        let lease = self.lease.as_ref();
        let good = lease.filter(|held| boot_ms - held.made_ms < lease_ms);
        let local = machine.local_stop.then(|| "stopped on this host".to_owned());
        let stop = local.or_else(|| lease.and_then(|held| held.stop.clone()));
        (good.map(|held| held.server_now.plus(boot_ms - held.made_ms)), stop)
    }

    /// Gathers what a warrant is asked against.
    pub fn facts(&self, order: &Order, plan: &Plan, machine: &Machine, wall: i64, boot_ms: i64) -> Facts {
        let lease = self.lease.as_ref();
        let server_now = lease
            .filter(|held| boot_ms - held.made_ms < LEASE_MS)
            .map(|held| held.server_now.plus(boot_ms - held.made_ms));
        let touches: Vec<_> = plan.touches().into_iter().collect();
        let forbid = |now| machine.declared.forbid(&touches, now);
        let recent = |taken: &&Try| {
            taken.fingerprint == order.target.fingerprint
                && (wall - taken.at < DAY_MS || taken.boot_ms.is_some_and(|then| boot_ms - then < DAY_MS))
        };
        let local = machine.local_stop.then(|| "stopped on this host".to_owned());
        Facts {
            server_now,
            stop: local.or_else(|| lease.and_then(|held| held.stop.clone())),
            forbidden: forbid(Timestamp(wall)).or_else(|| server_now.and_then(forbid)),
            automatic_tries: self.tries.iter().filter(recent).count() as u32,
            signed_by: if self.demand_signatures { signers(order) } else { BTreeSet::new() },
            ..self.bare_facts()
        }
    }
}

/// Returns who signed the order's plan himself; stands for the check of the signatures.
fn signers(order: &Order) -> BTreeSet<String> {
    let Basis::People { decisions, .. } = &order.approval.basis else { return BTreeSet::new() };
    decisions
        .iter()
        .filter(|d| {
            d.vote == Vote::Approve
                && d.signature.as_deref() == Some(signature(d.by.as_str(), &d.plan).as_str())
        })
        .map(|d| d.by.to_string())
        .collect()
}

/// Returns the signature that only the person himself can make.
pub fn signature(by: &str, plan: &Digest) -> String {
    format!("{by} signs {}", plan.short())
}
