//! What agent and server say to each other: the exchange of the protocol crate, without its JSON and signatures.

use sopwith_domain::command::Item;
use sopwith_domain::dry_run::{Question, Report};
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::Order;
use sopwith_domain::run::Record;
use sopwith_domain::time::Timestamp;
use sopwith_journal::Head;
use std::rc::Rc;

/// Most items, and most records, of one exchange; small, so that batches get divided.
pub const BATCH_MAX: usize = 16;

#[derive(Debug)]
pub struct Request {
    pub agent: usize,
    pub epoch: Epoch,
    pub first_item: u64,
    pub items: Vec<Rc<Item>>,
    pub first_record: u64,
    pub records: Vec<Rc<Record>>,
    /// Records in the run journal; until the first answer, as many as when the first process started that has had none.
    pub journal_seq: u64,
    /// Where the run journal's chain stands; likewise.
    pub journal_head: Head,
    pub challenge: u64,
    pub holding: Vec<Digest>,
    /// What came of looks.
    pub looked: Vec<Report>,
    /// True time of sending, for the oracles.
    pub sent_at: i64,
}

#[derive(Debug)]
pub struct Lease {
    pub server_now: Timestamp,
    pub stop: Option<String>,
}

/// Why a new life must begin, as the protocol has it.
#[derive(Debug)]
pub struct BeginEpoch {
    pub reason: String,
    /// Where the server knows that the run journal stood; nothing if that life is over for certain.
    pub known: Option<Head>,
}

#[derive(Debug)]
pub struct Response {
    pub epoch: Epoch,
    pub challenge: u64,
    pub items_through: u64,
    pub records_through: u64,
    pub lease: Option<Lease>,
    pub orders: Vec<Rc<Order>>,
    pub cancels: Vec<(Digest, String)>,
    pub looks: Vec<Question>,
    /// The host must begin a new life, because its journal does not reach, or not hold, what the server knows.
    pub begin_epoch: Option<BeginEpoch>,
    /// When the question was sent that this answers.
    pub asked_at: i64,
}
