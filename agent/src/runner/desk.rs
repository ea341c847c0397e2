//! Where the socket's threads and the runner's one acting thread meet. The threads lay down what came in and read
//! how things stand; neither ever waits for a step to end, so a lease can be renewed while one is running.

use super::admission::{Seal, Sealed};
use super::clock;
use super::lease::{Leases, NoGood};
use super::settings::Settings;
use crate::runner_protocol::{ActiveRun, Delivery, Status};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::{BeginEpoch, JournalHead};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most orders that lie here until the acting thread looks; the server sends them again.
const INBOX_MAX: usize = 16;
/// Most cancellations that lie here.
const CANCELS_MAX: usize = 64;
/// Most rejections that one answer lists.
const REJECTED_MAX: usize = 16;
/// Longest name of somebody who cancels, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What the acting thread takes from the desk.
#[derive(Debug, Default)]
pub struct Inbox {
    pub orders: Vec<Sealed>,
    pub cancels: Vec<(Digest, String)>,
    pub begin_epoch: Option<BeginEpoch>,
    pub acked: Option<u64>,
    /// Whether a lease was taken since.
    pub leased: bool,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.orders.is_empty()
            && self.cancels.is_empty()
            && self.begin_epoch.is_none()
            && self.acked.is_none()
            && !self.leased
    }
}

/// What the acting thread last said of itself.
#[derive(Clone, Debug)]
pub struct Published {
    pub epoch: Epoch,
    pub head: JournalHead,
    pub active: Vec<ActiveRun>,
    pub holding: Vec<Digest>,
    pub ended_count: u64,
    pub acked_through: u64,
    /// Whether a step waits for the server's word that it knows of the run.
    pub word_awaited: bool,
}

#[derive(Debug)]
struct State {
    leases: Leases,
    inbox: Inbox,
    published: Published,
    /// Where the journal stood when it was last certain that nothing of it was lost, until the server has answered.
    unsure_head: Option<JournalHead>,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    state: Mutex<State>,
    came_in: Condvar,
    went_out: Condvar,
}

impl Desk {
    pub fn new(settings: &Settings, published: Published, unsure_head: Option<JournalHead>) -> Self {
        let mut leases = Leases::new(settings.host.clone(), published.epoch);
        leases.challenge(clock::boot_ms());
        let state = State { leases, inbox: Inbox::default(), published, unsure_head };
        Self { state: Mutex::new(state), came_in: Condvar::new(), went_out: Condvar::new() }
    }

    /// A panic of a socket's thread leaves no half-made state behind, so its poison is passed over.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the server's time while the lease is good, and its stop.
    pub fn lease(&self, boot_ms: i64) -> (Option<Timestamp>, Option<String>) {
        let state = self.lock();
        (state.leases.server_now(boot_ms), state.leases.stop().map(str::to_owned))
    }

    /// Makes a new challenge.
    pub fn challenge(&self) {
        self.lock().leases.challenge(clock::boot_ms());
    }

    /// Lays down what the server said; returns what of it was thrown away, with the reason.
    pub fn deliver(&self, delivery: Delivery, seal: Result<&Seal, &String>) -> Vec<String> {
        let mut rejected = Vec::new();
        let mut leases = Vec::new();
        let mut orders = Vec::new();
        match seal {
            Err(reason) if delivery.lease.is_some() || !delivery.orders.is_empty() => {
                rejected.push(format!("no key of the server is pinned here: {reason}"));
            }
            Err(_) => {}
            Ok(seal) => {
                if let Some(signed) = &delivery.lease {
                    sort(seal.open_lease(signed), &mut leases, &mut rejected);
                }
                for signed in &delivery.orders {
                    sort(seal.open_order(signed), &mut orders, &mut rejected);
                }
            }
        }
        let mut state = self.lock();
        for lease in leases {
            match state.leases.take(lease, clock::boot_ms()) {
                Ok(()) => {
                    // It answers a question of this process, and the server found nothing missing.
                    (state.inbox.leased, state.unsure_head) = (true, None);
                }
                // Answers overtake one another; the newer one counts.
                Err(NoGood::Older) => {}
                Err(reason) => rejected.push(reason.to_string()),
            }
        }
        for order in orders {
            if state.inbox.orders.len() >= INBOX_MAX {
                rejected.push(format!("order {}: {INBOX_MAX} others wait already", order.digest().short()));
            } else if !state.inbox.orders.iter().any(|o| o.digest() == order.digest()) {
                state.inbox.orders.push(order);
            }
        }
        state.inbox.acked = state.inbox.acked.max(delivery.acked);
        let room = CANCELS_MAX.saturating_sub(state.inbox.cancels.len());
        let named = |(run, by): (Digest, String)| (run, super::admission::short_to(by, NAME_BYTES_MAX));
        state.inbox.cancels.extend(delivery.cancels.into_iter().take(room).map(named));
        if let Some(begin) = delivery.begin_epoch {
            let reason = super::admission::short(begin.reason);
            state.inbox.begin_epoch = Some(BeginEpoch { reason, ..begin });
        }
        self.came_in.notify_all();
        rejected.truncate(REJECTED_MAX);
        rejected
    }

    /// Returns how far the server has the records, by its last word.
    pub fn acked_through(&self) -> u64 {
        let state = self.lock();
        let published = &state.published;
        // No server can have more than there is.
        state.inbox.acked.unwrap_or(0).min(published.head.seq).max(published.acked_through)
    }

    /// Says how things stand.
    pub fn status(&self, stop: Option<String>, limitations: Vec<String>, rejected: Vec<String>) -> Status {
        let boot_ms = clock::boot_ms();
        let state = self.lock();
        let published = state.published.clone();
        let mut holding = published.holding;
        for order in &state.inbox.orders {
            if !holding.contains(&order.digest()) {
                holding.push(order.digest());
            }
        }
        Status {
            epoch: published.epoch,
            head: published.head,
            unsure_head: state.unsure_head,
            challenge: state.leases.newest().unwrap_or_default().to_owned(),
            active: published.active,
            holding,
            ended_count: published.ended_count,
            acked_through: published.acked_through,
            word_awaited: published.word_awaited,
            stop: stop.or_else(|| state.leases.stop().map(str::to_owned)),
            leased: state.leases.server_now(boot_ms).is_some(),
            limitations,
            rejected,
        }
    }

    /// Waits until there is a record after `seq`, at most `timeout`.
    pub fn wait_for_record(&self, seq: u64, timeout: Duration) {
        let waiting = |state: &mut State| state.published.head.seq <= seq;
        drop(self.went_out.wait_timeout_while(self.lock(), timeout, waiting));
    }

    /// Takes what has come in, after at most `timeout`.
    pub fn take(&self, timeout: Duration) -> Inbox {
        let guard = self.lock();
        let waited = self.came_in.wait_timeout_while(guard, timeout, |state| state.inbox.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.inbox)
    }

    /// Says that a record is durable, though what follows from it may go on for long.
    pub fn recorded(&self, head: JournalHead) {
        self.lock().published.head = head;
        self.went_out.notify_all();
    }

    /// Says that the acceptance of a run is durable: its first step waits until the server knows of it.
    pub fn accepted(&self, head: JournalHead) {
        let mut state = self.lock();
        (state.published.head, state.published.word_awaited) = (head, true);
        drop(state);
        self.went_out.notify_all();
    }

    /// Says how things stand at the acting thread.
    pub fn publish(&self, published: Published) {
        let mut state = self.lock();
        if published.epoch != state.published.epoch {
            state.leases.begin(published.epoch);
            // No server has heard of this life yet, so nothing of it can be missing.
            state.unsure_head = None;
            state.leases.challenge(clock::boot_ms());
        }
        state.published = published;
        self.went_out.notify_all();
    }
}

fn sort<T>(opened: Result<T, String>, good: &mut Vec<T>, rejected: &mut Vec<String>) {
    match opened {
        Ok(value) => good.push(value),
        Err(reason) => rejected.push(reason),
    }
}
