//! A host that exists on the wire only: it joins, reports faults and runs, and takes orders, as a real agent would,
//! so that a test decides what happens on the host and when.

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Identity};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sopwith_domain::command::Item;
use sopwith_domain::ids::{Digest, Epoch, HostId};
use sopwith_domain::order::Order;
use sopwith_domain::run::{Record, What};
use sopwith_domain::signal::Signal;
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::JoinToken;
use sopwith_protocol::exchange::{Batch, ExchangeRequest, ExchangeResponse, JoinRequest, JoinResponse};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Exchanges in which an order may come before it is said to be missing.
const ASKS_MAX: usize = 60;
/// How long the server may think about one exchange, in milliseconds.
const WAIT_MS: u64 = 500;

/// Why the host could not say what it had to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("failed to speak with the server: {0}")]
    Http(#[from] reqwest::Error),
    #[error("failed to make a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error("failed to understand an order: {0}")]
    Order(#[from] serde_json::Error),
    #[error("failed to begin: {0}")]
    Begin(String),
    #[error("failed to get an order in {ASKS_MAX} exchanges")]
    NoOrder,
}

/// See the module.
pub struct Agent {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
    host: HostId,
    items: u64,
    records: u64,
}

impl Agent {
    pub const EPOCH: Epoch = Epoch(1);

    /// Joins under the name that the token is for.
    ///
    /// # Errors
    /// Says why the server would not have it.
    pub fn join(url: &str, ca_pem: &str, token: &JoinToken, host: &str) -> Result<Self, AgentError> {
        let begin = |detail: String| AgentError::Begin(detail);
        let runtime = Runtime::new().map_err(|e| begin(e.to_string()))?;
        let host = HostId::new(host).map_err(|e| begin(e.to_string()))?;
        let ca = Certificate::from_pem(ca_pem.as_bytes())?;
        let builder =
            || reqwest::Client::builder().timeout(REQUEST_LIMIT).no_proxy().tls_certs_only([ca.clone()]);
        let key = KeyPair::generate()?;
        let csr_pem = CertificateParams::default().serialize_request(&key)?.pem()?;
        let request =
            JoinRequest { token: token.token.clone(), host: host.clone(), epoch: Self::EPOCH, csr_pem };
        let joined: JoinResponse =
            post(&runtime, &builder().build()?, &format!("{url}/agent/v1/join"), &request)?;
        let identity = format!("{}{}", joined.certificate_pem, key.serialize_pem());
        let http = builder().identity(Identity::from_pem(identity.as_bytes())?).build()?;
        Ok(Self { runtime, http, url: format!("{url}/agent/v1/exchange"), host, items: 0, records: 0 })
    }

    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// Reports a signal and returns when it is durable.
    ///
    /// # Errors
    /// Returns the server's.
    pub fn tell(&mut self, signal: Signal) -> Result<(), AgentError> {
        let items =
            Batch { first_seq: self.items + 1, items: vec![Item::Signal { signal: Box::new(signal) }] };
        self.items += 1;
        self.exchange(items, Batch::default(), 0).map(drop)
    }

    /// Asks until the server has an order for this host.
    ///
    /// # Errors
    /// Says that none came.
    pub fn order(&mut self) -> Result<Order, AgentError> {
        for _ in 0..ASKS_MAX {
            let answer = self.exchange(Batch::default(), Batch::default(), WAIT_MS)?;
            if let Some(signed) = answer.orders.first() {
                return Ok(serde_json::from_str(&signed.text)?);
            }
        }
        Err(AgentError::NoOrder)
    }

    /// Reports a record of a run and returns when it is durable.
    ///
    /// # Errors
    /// Returns the server's.
    pub fn record(&mut self, run: Digest, what: What) -> Result<(), AgentError> {
        let records = Batch { first_seq: self.records + 1, items: vec![Record { run, at: now(), what }] };
        self.records += 1;
        self.exchange(Batch::default(), records, 0).map(drop)
    }

    fn exchange(
        &self,
        items: Batch<Item>,
        records: Batch<Record>,
        wait_ms: u64,
    ) -> Result<ExchangeResponse, AgentError> {
        let request = ExchangeRequest {
            host: self.host.clone(),
            epoch: Self::EPOCH,
            agent_version: "0.1.0".into(),
            items,
            records,
            journal_head: None,
            server_head: None,
            challenge: "ab".repeat(32),
            holding: vec![],
            wait_ms,
            metrics_address: None,
            facts: BTreeMap::from([("system".into(), "exists on the wire only".into())]),
            dry_runs: vec![],
            live: vec![],
        };
        post(&self.runtime, &self.http, &self.url, &request)
    }
}

fn post<T: DeserializeOwned>(
    runtime: &Runtime,
    http: &reqwest::Client,
    url: &str,
    body: &impl Serialize,
) -> Result<T, AgentError> {
    Ok(runtime
        .block_on(async { http.post(url).json(body).send().await?.error_for_status()?.json().await })?)
}

/// Returns this machine's time, as a host's own clock would say it.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
