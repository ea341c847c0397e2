//! What a host is owed at this moment: a function of the state, asked anew each time.

use sopwith_domain::decide::{cancels, owed};
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::order::Order;
use sopwith_domain::state::State;

/// Most orders in one answer, so that it stays within the bound of a body; the next answer brings the rest.
const ORDERS_MAX: usize = 8;

/// Orders, cancels and the stop, as they stand for one host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    pub orders: Vec<Order>,
    pub cancels: Vec<(Digest, String)>,
    pub stop: Option<String>,
}

impl Offer {
    /// Returns what the host is owed and does not hold already.
    pub fn of(state: &State, host: &HostId, holding: &[Digest]) -> Self {
        let orders = owed(state, host).into_iter().filter(|order| !holding.contains(&order.plan));
        Self {
            orders: orders.take(ORDERS_MAX).collect(),
            cancels: cancels(state, host),
            stop: state.stop.as_ref().map(|stop| format!("{} ({})", stop.reason, stop.by)),
        }
    }

    /// Says whether the host has still to act on it.
    pub fn unacknowledged(&self) -> bool {
        !self.orders.is_empty() || !self.cancels.is_empty()
    }

    /// Returns what makes two offers the same to a host that got one of them.
    pub fn print(&self) -> (Vec<Digest>, Vec<Digest>, Option<String>) {
        let orders = self.orders.iter().map(|order| order.plan).collect();
        (orders, self.cancels.iter().map(|(run, _)| *run).collect(), self.stop.clone())
    }
}
