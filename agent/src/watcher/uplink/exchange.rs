//! One exchange: gathers what the host has, posts it, hands the answer to the runner and then forgets what the
//! server has. The runner comes first, because a repair waits for it.

use super::{Kind, Uplink};
use crate::runner_protocol::{Delivery, Request, Response, Status};
use crate::watcher::clock;
use crate::watcher::report::Report;
use crate::watcher::spool::{Acknowledged, SpoolError};
use sopwith_domain::ids::Epoch;
use sopwith_domain::run::Record;
use sopwith_protocol::api::Problem;
use sopwith_protocol::exchange::{
    BATCH_MAX, BODY_BYTES_MAX, Batch, BeginEpoch, ExchangeRequest, ExchangeResponse, JournalHead, Lease,
};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most bytes of items in one exchange; records take up to as much again.
const ITEMS_BYTES_MAX: usize = BODY_BYTES_MAX / 4;
const RECORDS_BYTES_MAX: usize = BODY_BYTES_MAX / 2;
/// Longest time for an exchange beyond what the server is let wait.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// Longest answer that is no answer, in bytes, of which the reason is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("failed to reach the server: {0}")]
    Unreachable(String),
    #[error("failed to be heard by the server: {status} {detail}")]
    Refused { status: u16, detail: String },
    #[error("failed to read the server's answer: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Spool(#[from] SpoolError),
}

/// What is known when the request is made, for judging its answer.
struct Asked {
    acked: u64,
    epoch: Epoch,
    runner: Option<Status>,
    /// Number of the request; of two leases that of the later request counts.
    number: u64,
}

impl Uplink {
    pub(super) async fn exchange(&self, kind: Kind) -> Result<(), ExchangeError> {
        let (request, asked) = self.request(kind).await?;
        let (sent_ms, sent_at) = (clock::boot_ms(), clock::now());
        let answer = self.post(kind, &request).await;
        self.dry_runs.told(&request.dry_runs, answer.as_ref().map(drop));
        let mut answer = answer?;
        self.dry_runs.ask(std::mem::take(&mut answer.dry_runs));
        // The server tells when the request arrived, which was a little after it was sent.
        if let Ok(lease) = serde_json::from_str::<Lease>(&answer.lease.text) {
            self.server_clock.note(sent_ms, sent_at.since(lease.server_now));
        }
        self.take(answer, &asked).await
    }

    async fn request(&self, kind: Kind) -> Result<(ExchangeRequest, Asked), ExchangeError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let runner = match self.runner.ask(Request::Status { challenge: true }).await {
            Ok(Response::Status(status) | Response::Records { status, .. }) => Some(status),
            Ok(
                Response::Refused { .. }
                | Response::Checked { .. }
                | Response::Blocked { .. }
                | Response::DryRun { .. },
            )
            | Err(_) => None,
        };
        let epoch = self.epoch(runner.as_ref()).await?;
        let records = match (&runner, kind) {
            (Some(status), Kind::Prompt) => self.records(status).await,
            _ => Batch::default(),
        };
        let (acked, items, server_head) = {
            let spool = self.spool.lock();
            let items = match kind {
                Kind::Prompt if spool.greeted() => spool.batch(BATCH_MAX, ITEMS_BYTES_MAX)?,
                Kind::Prompt | Kind::Waiting => Batch { first_seq: spool.acked() + 1, items: Vec::new() },
            };
            (spool.acked(), items, spool.server_head()?)
        };
        let nobody = || hex::encode(rand::random::<[u8; 32]>());
        let request = ExchangeRequest {
            host: self.host.clone(),
            epoch,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            items,
            records,
            journal_head: runner.as_ref().map(|s| s.unsure_head.unwrap_or(s.head)),
            server_head,
            challenge: runner.as_ref().map_or_else(nobody, |s| s.challenge.clone()),
            holding: runner.as_ref().map(|s| s.holding.clone()).unwrap_or_default(),
            wait_ms: kind.wait_ms(),
            metrics_address: self.metrics_address.clone(),
            dry_runs: match kind {
                Kind::Prompt => self.dry_runs.answers(),
                Kind::Waiting => Vec::new(),
            },
            facts: self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        Ok((request, Asked { acked, epoch, runner, number }))
    }

    /// Returns the life of the host that counts, and begins it in the spool where it is new.
    async fn epoch(&self, runner: Option<&Status>) -> Result<Epoch, ExchangeError> {
        let began = {
            let mut spool = self.spool.lock();
            let known = spool.epoch();
            let counts = match runner {
                Some(status) => status.epoch,
                None if known == Epoch(0) => self.joined_epoch,
                None => known,
            };
            if counts == known {
                return Ok(known);
            }
            tokio::task::block_in_place(|| spool.begin_epoch(counts))?;
            self.records_through.store(u64::MAX, Ordering::Relaxed);
            counts
        };
        tracing::info!(epoch = began.0, "a new life of this host begins");
        // A keeper that is stopping says nothing more anyway.
        let _ = self.sink.report(Report::BeginAgain).await;
        Ok(began)
    }

    async fn records(&self, status: &Status) -> Batch<Record> {
        let after_seq = self.records_after(status.acked_through);
        if status.head.seq <= after_seq || status.unsure_head.is_some() {
            return Batch { first_seq: after_seq + 1, items: Vec::new() };
        }
        match self.runner.ask(Request::Records { after_seq, limit: BATCH_MAX }).await {
            Ok(Response::Records { first_seq, records, .. }) => within_bounds(first_seq, records),
            _ => Batch { first_seq: after_seq + 1, items: Vec::new() },
        }
    }

    async fn post(&self, kind: Kind, request: &ExchangeRequest) -> Result<ExchangeResponse, ExchangeError> {
        let time_max = ANSWER_TIME_MAX + Duration::from_millis(kind.wait_ms());
        let address = format!("{}/agent/v1/exchange", self.server.as_str().trim_end_matches('/'));
        let posted = self.client.post(address).json(request).timeout(time_max).send().await;
        let mut response = posted.map_err(|e| ExchangeError::Unreachable(chain(&e)))?;
        let status = response.status();
        let bytes_max = if status.is_success() { BODY_BYTES_MAX } else { PROBLEM_BYTES_MAX };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| ExchangeError::Unreachable(chain(&e)))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(ExchangeError::Unreadable(format!("it has more than {bytes_max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let problem = serde_json::from_slice::<Problem>(&body);
            let detail = problem.map_or_else(|_| String::new(), |p| p.detail);
            return Err(ExchangeError::Refused { status: status.as_u16(), detail });
        }
        serde_json::from_slice(&body).map_err(|e| ExchangeError::Unreadable(e.to_string()))
    }

    async fn take(&self, answer: ExchangeResponse, asked: &Asked) -> Result<(), ExchangeError> {
        let begin_epoch = answer.begin_epoch.as_ref().map(|b| b.reason.clone());
        let counts = begin_epoch.is_none() && self.spool.lock().epoch() == asked.epoch;
        if counts && asked.runner.is_some() {
            self.records_through.store(answer.records_through, Ordering::Relaxed);
        }
        if asked.runner.is_some() {
            // An exchange that was held open comes back with an older lease than one that was not.
            let newest = self.leased.fetch_max(asked.number, Ordering::Relaxed) <= asked.number;
            let delivery = Delivery {
                lease: (newest && begin_epoch.is_none()).then_some(answer.lease),
                orders: answer.orders,
                // No step starts before the server has the record that its run was accepted.
                acked: counts.then_some(answer.records_through),
                cancels: answer.cancels,
                begin_epoch: answer.begin_epoch,
            };
            match self.runner.ask(Request::Deliver(delivery)).await {
                Ok(Response::Status(status) | Response::Records { status, .. }) => {
                    for reason in status.rejected {
                        tracing::warn!("the runner threw away what the server said: {reason}");
                    }
                }
                Ok(Response::Refused { reason }) => tracing::warn!("the runner refused: {reason}"),
                Ok(Response::Checked { .. } | Response::Blocked { .. } | Response::DryRun { .. }) => {}
                Err(e) => tracing::warn!("failed to hand the server's answer to the runner: {e}"),
            }
        }
        if let Some(reason) = begin_epoch {
            tracing::warn!("the server asks for a new life of this host: {reason}");
            return Ok(());
        }
        if !counts {
            return Ok(());
        }
        self.acknowledge(&answer.server_head, answer.items_through, asked).await
    }

    async fn acknowledge(
        &self,
        server_head: &JournalHead,
        through: u64,
        asked: &Asked,
    ) -> Result<(), ExchangeError> {
        let became = tokio::task::block_in_place(|| {
            let mut spool = self.spool.lock();
            let became = spool.acknowledge(through, asked.acked)?;
            spool.set_server_head(*server_head)?;
            let depth = spool.depth();
            self.metrics.spool_items.set(i64::try_from(depth.items).unwrap_or(i64::MAX));
            self.metrics.spool_bytes.set(i64::try_from(depth.bytes).unwrap_or(i64::MAX));
            Ok::<_, SpoolError>(became)
        })?;
        match became {
            Acknowledged::SetBack { from, through } => {
                tracing::warn!("the server was set back: items {from} to {through} are a gap");
                let _ = self.sink.report(Report::BeginAgain).await;
            }
            Acknowledged::Ahead => {
                let reason = format!(
                    "the server has {through} items of this host, more than it remembers: the spool was set back"
                );
                tracing::warn!("{reason}");
                let begin = BeginEpoch { reason, epoch: asked.epoch, known_seq: None, known_hash: None };
                let delivery = Delivery { begin_epoch: Some(begin), ..Delivery::default() };
                // A runner that is away is asked with the next answer.
                let _ = self.runner.ask(Request::Deliver(delivery)).await;
            }
            Acknowledged::Through(_) | Acknowledged::Overtaken => {}
        }
        Ok(())
    }
}

/// Cuts a batch of records to the bytes that an exchange may carry; at least one is kept.
fn within_bounds(first_seq: u64, records: Vec<Record>) -> Batch<Record> {
    let mut bytes = 0;
    let taken = records.into_iter().enumerate().take_while(|(n, record)| {
        bytes += serde_json::to_vec(record).map_or(0, |json| json.len());
        *n == 0 || bytes <= RECORDS_BYTES_MAX
    });
    Batch { first_seq, items: taken.map(|(_, record)| record).collect() }
}

/// Returns an error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
