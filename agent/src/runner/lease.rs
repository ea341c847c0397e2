//! The server's word that this host may start steps for a while. A lease answers a challenge that this process
//! made, and counts from when the challenge was made: a replayed one is worthless, a delayed one is short, and
//! none outlives the process or the boot.

use sopwith_domain::ids::{Epoch, HostId};
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::LEASE_MS;
use sopwith_protocol::exchange::Lease;
use std::collections::VecDeque;

/// Most challenges that can still be answered; an exchange takes a second or so, a held-open one 25 s.
const CHALLENGES_MAX: usize = 64;

/// Challenges made and the newest lease.
#[derive(Debug)]
pub struct Leases {
    host: HostId,
    epoch: Epoch,
    /// Each with the boot clock at which it was made.
    challenges: VecDeque<(String, i64)>,
    lease: Option<Held>,
}

#[derive(Debug)]
struct Held {
    server_now: Timestamp,
    made_ms: i64,
    stop: Option<String>,
}

/// Why a lease is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGood {
    #[error("the lease is for another host or another life of this one")]
    OtherHost,
    #[error("the lease answers no challenge of this process, or answers it too late")]
    OtherChallenge,
    #[error("a newer lease is here already")]
    Older,
}

impl Leases {
    pub fn new(host: HostId, epoch: Epoch) -> Self {
        Self { host, epoch, challenges: VecDeque::new(), lease: None }
    }

    /// Makes a new challenge.
    pub fn challenge(&mut self, boot_ms: i64) -> String {
        let text = hex::encode(rand::random::<[u8; 32]>());
        if self.challenges.len() >= CHALLENGES_MAX {
            self.challenges.pop_front();
        }
        self.challenges.push_back((text.clone(), boot_ms));
        text
    }

    /// Returns the newest challenge.
    pub fn newest(&self) -> Option<&str> {
        self.challenges.back().map(|(text, _)| text.as_str())
    }

    /// Takes a lease whose signature holds.
    ///
    /// # Errors
    /// Says why it is no good here and now.
    pub fn take(&mut self, lease: Lease, boot_ms: i64) -> Result<(), NoGood> {
        if lease.host != self.host || lease.epoch != self.epoch {
            return Err(NoGood::OtherHost);
        }
        let made_ms = self.challenges.iter().find(|(text, _)| *text == lease.challenge).map(|(_, ms)| *ms);
        let Some(made_ms) = made_ms.filter(|made_ms| boot_ms - made_ms < LEASE_MS) else {
            return Err(NoGood::OtherChallenge);
        };
        let newer = |held: &Held| (made_ms, lease.server_now) > (held.made_ms, held.server_now);
        if self.lease.as_ref().is_some_and(|held| !newer(held)) {
            return Err(NoGood::Older);
        }
        self.lease = Some(Held { server_now: lease.server_now, made_ms, stop: lease.stop });
        Ok(())
    }

    /// Returns the server's time carried forward, if the lease is good. It runs ahead of the server's real time
    /// by at most the exchange's length, so that an approval expires here no later than there.
    pub fn server_now(&self, boot_ms: i64) -> Option<Timestamp> {
        let held = self.lease.as_ref()?;
        let elapsed_ms = boot_ms - held.made_ms;
        (0..LEASE_MS).contains(&elapsed_ms).then(|| held.server_now.plus(elapsed_ms))
    }

    /// Returns why the server has stopped automation; its last word counts however old it is.
    pub fn stop(&self) -> Option<&str> {
        self.lease.as_ref()?.stop.as_deref()
    }

    /// Forgets everything said for an earlier life.
    pub fn begin(&mut self, epoch: Epoch) {
        *self = Self::new(self.host.clone(), epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostId {
        HostId::new("web-1").expect("valid")
    }
    fn lease(challenge: &str, server_now: i64) -> Lease {
        let challenge = challenge.to_owned();
        Lease { host: host(), epoch: Epoch(1), challenge, server_now: Timestamp(server_now), stop: None }
    }

    #[test]
    fn a_lease_counts_from_its_challenge() {
        let mut leases = Leases::new(host(), Epoch(1));
        let challenge = leases.challenge(1000);
        assert_eq!(leases.server_now(1000), None);
        assert_eq!(leases.take(lease(&challenge, 500), 31_000), Ok(()));
        assert_eq!(leases.server_now(31_000), Some(Timestamp(30_500)));
        assert_eq!(leases.server_now(1000 + LEASE_MS - 1), Some(Timestamp(500 + LEASE_MS - 1)));
        assert_eq!(leases.server_now(1000 + LEASE_MS), None);
    }

    #[test]
    fn replayed_stale_and_foreign_leases_are_worth_nothing() {
        let mut leases = Leases::new(host(), Epoch(1));
        let old = leases.challenge(0);
        let new = leases.challenge(10);
        assert_eq!(leases.take(lease("ab", 500), 20), Err(NoGood::OtherChallenge));
        assert_eq!(leases.take(lease(&old, 500), LEASE_MS), Err(NoGood::OtherChallenge));
        let other = Lease { host: HostId::new("web-2").expect("valid"), ..lease(&new, 500) };
        assert_eq!(leases.take(other, 20), Err(NoGood::OtherHost));
        let other = Lease { epoch: Epoch(2), ..lease(&new, 500) };
        assert_eq!(leases.take(other, 20), Err(NoGood::OtherHost));
        assert_eq!(leases.server_now(20), None);
        let stopped = Lease { stop: Some("storm".into()), ..lease(&new, 600) };
        assert_eq!(leases.take(stopped, 20), Ok(()));
        assert_eq!(
            leases.take(lease(&new, 500), 30),
            Err(NoGood::Older),
            "an older word on the same challenge"
        );
        assert_eq!(leases.take(lease(&old, 700), 30), Err(NoGood::Older), "an answer to an older challenge");
        assert_eq!(leases.stop(), Some("storm"));
        assert_eq!(leases.server_now(10 + LEASE_MS), None);
        assert_eq!(leases.stop(), Some("storm"), "a stop does not expire with its lease");
        leases.begin(Epoch(2));
        assert_eq!((leases.newest(), leases.stop()), (None, None));
        let again = Leases::new(host(), Epoch(1)).take(lease(&new, 900), 40);
        assert_eq!(again, Err(NoGood::OtherChallenge), "another process has other challenges");
    }
}
