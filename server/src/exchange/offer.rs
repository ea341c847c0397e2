//! What a host is owed at this moment: a function of the state, asked anew each time.

use sopwith_domain::decide::{asked, cancels, owed};
use sopwith_domain::dry_run::Question;
use sopwith_domain::ids::Digest;
use sopwith_domain::order::Order;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::exchange::{DIAGNOSIS_FACT, DRY_RUN_FACT, DRY_RUNS_MAX, ExchangeRequest};

/// Most orders in one answer, so that it stays within the bound of a body; the next answer brings the rest.
const ORDERS_MAX: usize = 8;

/// What makes two offers the same to a host that got one of them.
pub type Print = (Vec<Digest>, Vec<Digest>, Option<String>, Vec<(Digest, Timestamp)>);

/// Orders, cancels, questions and the stop, as they stand for one host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    pub orders: Vec<Order>,
    pub cancels: Vec<(Digest, String)>,
    pub stop: Option<String>,
    pub dry_runs: Vec<Question>,
}

impl Offer {
    /// Returns what the host is owed and does not hold already.
    pub fn of(state: &State, request: &ExchangeRequest, now: Timestamp) -> Self {
        let host = &request.host;
        let orders = owed(state, host).into_iter().filter(|order| !request.holding.contains(&order.plan));
        let mut dry_runs = match request.facts.contains_key(DRY_RUN_FACT) {
            true => asked(state, host, now),
            // It would not understand the question.
            false => Vec::new(),
        };
        dry_runs.retain(|asked| asked.approval.is_none() || request.facts.contains_key(DIAGNOSIS_FACT));
        dry_runs.truncate(DRY_RUNS_MAX);
        Self {
            orders: orders.take(ORDERS_MAX).collect(),
            cancels: cancels(state, host),
            stop: state.stop.as_ref().map(|stop| format!("{} ({})", stop.reason, stop.by)),
            dry_runs,
        }
    }

    /// Says whether the host has still to act on it.
    pub fn unacknowledged(&self) -> bool {
        !self.orders.is_empty() || !self.cancels.is_empty() || !self.dry_runs.is_empty()
    }

    /// Returns what is compared of two offers.
    pub fn print(&self) -> Print {
        let orders = self.orders.iter().map(|order| order.plan).collect();
        let dry_runs = self.dry_runs.iter().map(|question| (question.plan, question.asked_at)).collect();
        (orders, self.cancels.iter().map(|(run, _)| *run).collect(), self.stop.clone(), dry_runs)
    }
}
