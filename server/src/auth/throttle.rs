//! Slows down guessing: failed log-ins are counted by account, by address, and by both together. Bounded memory;
//! where it is full, the oldest counts go first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// How long failures count, in milliseconds.
pub const WINDOW_MS: i64 = 15 * 60_000;
/// Failures of one address on one account before it has to wait.
pub const PAIR_MAX: u32 = 5;
/// Failures of one address on any account.
pub const ADDRESS_MAX: u32 = 30;
/// Failures from anywhere on one account: high, because it locks out its owner too.
pub const ACCOUNT_MAX: u32 = 100;
/// Most counts kept.
const COUNTS_MAX: usize = 20_000;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Pair(IpAddr, String),
    Address(IpAddr),
    Account(String),
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since_ms: i64,
    failures: u32,
}

/// Counts of failed log-ins.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<BTreeMap<Key, Count>>);

impl Throttle {
    fn keys(address: IpAddr, account: &str) -> [(Key, u32); 3] {
        let account: String = account.chars().take(64).collect();
        [
            (Key::Pair(address, account.clone()), PAIR_MAX),
            (Key::Address(address), ADDRESS_MAX),
            (Key::Account(account), ACCOUNT_MAX),
        ]
    }

    /// Returns how many milliseconds the next try has to wait, if it has to.
    pub fn wait_ms(&self, address: IpAddr, account: &str, now_ms: i64) -> Option<i64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = Self::keys(address, account).into_iter().filter_map(|(key, max)| {
            let count = counts.get(&key)?;
            let left = count.since_ms + WINDOW_MS - now_ms;
            (count.failures >= max && left > 0).then_some(left)
        });
        waits.max()
    }

    /// Counts a failure.
    pub fn failed(&self, address: IpAddr, account: &str, now_ms: i64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() + 3 > COUNTS_MAX {
            make_room(&mut counts, now_ms);
        }
        for (key, _) in Self::keys(address, account) {
            let count = counts.entry(key).or_insert(Count { since_ms: now_ms, failures: 0 });
            if now_ms - count.since_ms >= WINDOW_MS {
                *count = Count { since_ms: now_ms, failures: 0 };
            }
            count.failures = count.failures.saturating_add(1);
        }
    }

    /// Forgets the failures of an address on an account, which has logged in now, and takes back the one that was
    /// counted for this try elsewhere.
    pub fn succeeded(&self, address: IpAddr, account: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [(pair, _), others @ ..] = Self::keys(address, account);
        counts.remove(&pair);
        for (key, _) in others {
            if let Some(count) = counts.get_mut(&key) {
                count.failures = count.failures.saturating_sub(1);
            }
        }
    }
}

fn make_room(counts: &mut BTreeMap<Key, Count>, now_ms: i64) {
    counts.retain(|_, count| now_ms - count.since_ms < WINDOW_MS);
    if counts.len() + 3 > COUNTS_MAX {
        let mut ages: Vec<i64> = counts.values().map(|count| count.since_ms).collect();
        ages.sort_unstable();
        let cut = ages[ages.len() / 2];
        counts.retain(|_, count| count.since_ms > cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn an_address_waits_after_five_failures_and_no_longer_than_the_window() {
        let throttle = Throttle::default();
        for n in 0..PAIR_MAX {
            assert_eq!(throttle.wait_ms(HERE, "alice", i64::from(n)), None);
            throttle.failed(HERE, "alice", i64::from(n));
        }
        assert_eq!(throttle.wait_ms(HERE, "alice", 10), Some(WINDOW_MS - 10));
        assert_eq!(throttle.wait_ms(THERE, "alice", 10), None, "her own address is not locked out");
        assert_eq!(throttle.wait_ms(HERE, "bob", 10), None);
        assert_eq!(throttle.wait_ms(HERE, "alice", WINDOW_MS), None);
        throttle.succeeded(HERE, "alice");
        assert_eq!(throttle.wait_ms(HERE, "alice", 10), None);
    }

    #[test]
    fn trying_many_accounts_or_from_many_addresses_is_noticed() {
        let throttle = Throttle::default();
        for n in 0..ADDRESS_MAX {
            throttle.failed(HERE, &format!("user-{n}"), 0);
        }
        assert!(throttle.wait_ms(HERE, "somebody-else", 1).is_some());
        let throttle = Throttle::default();
        for n in 0..ACCOUNT_MAX {
            throttle.failed(IpAddr::from(n.to_be_bytes()), "alice", 0);
        }
        assert!(throttle.wait_ms(THERE, "alice", 1).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..30_000_u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()), &n.to_string(), i64::from(n % 7));
        }
        assert!(throttle.0.lock().unwrap().len() <= COUNTS_MAX);
    }
}
