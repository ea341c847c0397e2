//! Which rule of the packet filter keeps others from a port. The kernel shows its rules to root alone, so the runner is
//! asked, for this one port, and only while nobody gets an answer there.

use crate::runner_protocol::{Blocking, Client, Request, Response};
use crate::watcher::report::Fault;
use sopwith_domain::value::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(10);
/// How long the runner may take; it may be at work, and a look that waits for it sees nothing else meanwhile.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);

/// Asks, and keeps what was answered for a while.
#[derive(Debug, Default)]
pub struct Filter {
    /// The folder of the runner's socket; none where there is no runner.
    runtime_dir: Option<PathBuf>,
    answers: BTreeMap<(u16, &'static str), (Instant, Option<Blocking>)>,
}

impl Filter {
    /// Asks the runner of a runtime folder.
    pub fn asking(runtime_dir: PathBuf) -> Self {
        Self { runtime_dir: Some(runtime_dir), ..Self::default() }
    }

    /// Adds to a fault the rule that is to blame, if there is exactly one.
    pub fn explain(&mut self, fault: &mut Fault, port: u16, protocol: &'static str) {
        let key = (port, protocol);
        if self.answers.get(&key).is_none_or(|(at, _)| at.elapsed() > FRESH) {
            let answer = self.ask(port, protocol).unwrap_or_else(|e| {
                tracing::debug!("which rule blocks port {port} is not known: {e}");
                None
            });
            self.answers.insert(key, (Instant::now(), answer));
        }
        let Some((_, Some(rule))) = self.answers.get(&key) else { return };
        fault.field("nft_family", Value::Word(rule.family.clone()));
        fault.field("nft_table", Value::Word(rule.table.clone()));
        fault.field("nft_chain", Value::Word(rule.chain.clone()));
        fault.integer("nft_handle", rule.handle);
        fault.field("nft_rule", Value::Word(rule.digest.clone()));
        fault.show("the rule that blocks it", &rule.shown);
    }

    fn ask(&self, port: u16, protocol: &str) -> Result<Option<Blocking>, String> {
        let Some(folder) = &self.runtime_dir else { return Ok(None) };
        let client = Client::connect(folder).and_then(|client| client.patient(ANSWER_TIME_MAX));
        let request = Request::Blocking { port, udp: protocol == "udp" };
        match client.and_then(|mut client| client.ask(&request)).map_err(|e| e.to_string())? {
            Response::Blocked { by } => Ok(by),
            Response::Refused { reason } => Err(reason),
            _ => Err("the runner answered something else".into()),
        }
    }
}
