//! What hosts said last that is no decision: when they were heard, their version, their facts, what they were told.
//! In memory only; after a restart it fills again with each host's next exchange.

use crate::exchange::{Offer, Print};
use crate::views::Presence;
use sopwith_domain::ids::HostId;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::ExchangeRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

#[derive(Default)]
struct Seen {
    presence: Presence,
    metrics_address: Option<SocketAddr>,
    told: Option<(Print, Instant)>,
}

/// Presence of all hosts.
#[derive(Default)]
pub struct PresenceBook {
    hosts: Mutex<BTreeMap<HostId, Seen>>,
    history_lost: Mutex<BTreeSet<HostId>>,
}

impl PresenceBook {
    /// Notes that a host spoke. Only hosts that were authenticated get here, so their number is bounded.
    pub fn heard(&self, request: &ExchangeRequest, now: Timestamp) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = hosts.entry(request.host.clone()).or_default();
        seen.presence.last_seen = Some(now);
        if seen.presence.agent_version.as_ref() != Some(&request.agent_version) {
            seen.presence.agent_version = Some(request.agent_version.clone());
        }
        if seen.presence.facts != request.facts {
            seen.presence.facts = request.facts.clone();
        }
        seen.metrics_address = request.metrics_address.as_ref().and_then(|address| address.parse().ok());
    }

    pub fn of(&self, host: &HostId) -> Presence {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(host).map(|seen| seen.presence.clone()).unwrap_or_default()
    }

    /// Returns where each host's agent serves its own metrics, if it said so.
    pub fn metrics_addresses(&self) -> Vec<(HostId, SocketAddr)> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().filter_map(|(host, seen)| Some((host.clone(), seen.metrics_address?))).collect()
    }

    /// Returns when the host was told exactly this last, or nothing if it was told otherwise since, or never.
    pub fn told(&self, host: &HostId, offer: &Offer) -> Option<Instant> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let (print, at) = hosts.get(host)?.told.as_ref()?;
        (*print == offer.print()).then_some(*at)
    }

    /// Notes what a host is told now.
    pub fn tell(&self, host: &HostId, offer: &Offer) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host.clone()).or_default().told = Some((offer.print(), Instant::now()));
    }

    /// Notes that a host knows of journal entries that this server has not got any more.
    pub fn history_lost(&self, host: &HostId) {
        self.history_lost.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone());
    }

    /// Returns how many hosts know more of this server than it does itself.
    pub fn histories_lost(&self) -> usize {
        self.history_lost.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
