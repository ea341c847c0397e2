//! What the parts of the watcher share and its pages show: how each source is, what waits for the server, how the
//! runner and the server answer. It changes nothing.

use super::http::{self, Pages};
use super::keeper::{ActiveRuns, SourceStates};
use super::metrics::Metrics;
use super::report::SourceState;
use super::sink::SharedSpool;
use super::status::StatusDocument;
use super::uplink::UplinkState;
use super::uplink::runner_link::RunnerLink;
use sopwith_domain::ids::Epoch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the pages read.
pub struct Shared {
    pub host: String,
    pub metrics: Metrics,
    pub spool: SharedSpool,
    pub states: SourceStates,
    pub active: ActiveRuns,
    pub facts: Arc<Mutex<BTreeMap<String, String>>>,
    pub uplink: Arc<Mutex<UplinkState>>,
    pub server: Mutex<Option<String>>,
    pub runner: RunnerLink,
}

impl Pages for Shared {
    fn metrics(&self, page: Vec<u8>) -> http::Page<'_> {
        Box::pin(self.metrics.page(page))
    }

    fn healthz(&self) -> (bool, String) {
        let broken = self.states.all().into_iter().filter(|(_, s)| matches!(s, SourceState::Broken(_)));
        let lines: Vec<_> = broken.map(|(name, state)| format!("{name} {}\n", state.text())).collect();
        if lines.is_empty() { (true, "ok\n".into()) } else { (false, lines.concat()) }
    }

    fn status(&self) -> String {
        let (depth, Epoch(epoch)) = {
            let spool = self.spool.lock();
            (spool.depth(), spool.epoch())
        };
        let mut document = StatusDocument {
            version: env!("CARGO_PKG_VERSION").into(),
            host: self.host.clone(),
            epoch,
            server: self.server.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            spool_items: depth.items,
            spool_bytes: depth.bytes,
            spool_dropped: depth.dropped,
            conditions: self.metrics.conditions.get(),
            node_metrics: self.metrics.node.told(),
            sources: self.states.all().into_iter().map(|(n, s)| (n.to_owned(), s.text())).collect(),
            ..StatusDocument::default()
        };
        document.uplink(self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone());
        document.runner(&self.runner.state.borrow());
        serde_json::to_string(&document).expect("a status has string keys and no floats")
    }
}
