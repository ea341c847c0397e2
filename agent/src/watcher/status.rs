//! How the agent is, in one document: served by the running watcher to this machine, printed by `status`.

use super::http;
use super::uplink::UplinkState;
use super::uplink::runner_link::RunnerState;
use crate::config::Config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// The document. Fields are only ever added.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusDocument {
    pub version: String,
    pub host: String,
    pub epoch: u64,
    pub server: Option<String>,
    pub connected: bool,
    pub last_answer: Option<String>,
    pub error: Option<String>,
    pub runner: String,
    pub stop: Option<String>,
    pub leased: bool,
    /// Runs under way, by digest, with what they touch.
    pub runs: BTreeMap<String, Vec<String>>,
    pub spool_items: u64,
    pub spool_bytes: u64,
    pub spool_dropped: u64,
    pub conditions: i64,
    /// Whether /metrics has the families of node_exporter, and why not.
    pub node_metrics: String,
    pub sources: BTreeMap<String, String>,
}

impl StatusDocument {
    /// Adds what is known of the conversation with the server.
    pub fn uplink(&mut self, state: UplinkState) {
        self.connected = state.connected;
        self.last_answer = state.last_answer.map(|at| at.to_string());
        self.error = state.error;
    }

    /// Adds what is known of the runner.
    pub fn runner(&mut self, state: &RunnerState) {
        self.runner = match state {
            RunnerState::Unknown => "not asked yet".into(),
            RunnerState::Away(reason) => format!("does not answer: {reason}"),
            RunnerState::Here(_) => "answers".into(),
        };
        let Some(status) = state.status() else { return };
        self.stop = status.stop.clone();
        self.leased = status.leased;
        let touches = |run: &crate::runner_protocol::ActiveRun| {
            let touches = run.touches.iter().map(ToString::to_string).collect();
            (run.run.to_string(), touches)
        };
        self.runs = status.active.iter().map(touches).collect();
    }

    /// Returns the document as people read it.
    fn text(&self) -> String {
        let mut lines = vec![
            format!("host       {} (agent {}, epoch {})", self.host, self.version, self.epoch),
            format!("server     {}", self.server.as_deref().unwrap_or("none: this host has not joined one")),
            match (self.connected, &self.error) {
                (true, _) => {
                    format!("connected  yes, last answer {}", self.last_answer.as_deref().unwrap_or("-"))
                }
                (false, Some(error)) => format!("connected  no: {error}"),
                (false, None) => "connected  no".into(),
            },
            format!("runner     {}{}", self.runner, if self.leased { ", may start steps" } else { "" }),
        ];
        lines.extend(self.stop.iter().map(|stop| format!("stopped    {stop}")));
        for (run, touches) in &self.runs {
            lines.push(format!("run        {} on {}", run.get(..12).unwrap_or(run), touches.join(", ")));
        }
        lines.push(format!(
            "spool      {} items, {} bytes wait for the server; {} were dropped",
            self.spool_items, self.spool_bytes, self.spool_dropped
        ));
        lines.push(format!("faults     {} raised", self.conditions));
        if !self.node_metrics.is_empty() {
            lines.push(format!("metrics    node_* of this host: {}", self.node_metrics));
        }
        for (source, state) in &self.sources {
            lines.push(format!("source     {source}: {state}"));
        }
        lines.join("\n") + "\n"
    }
}

/// Prints how the agent on this host is.
pub fn status(config: &Path) -> ExitCode {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    match http::ask(*config.metrics_listen, "/status") {
        Err(e) => {
            eprintln!(
                "failed to ask the watcher at {}: {e}; is sopwith-agent running?",
                *config.metrics_listen
            );
            ExitCode::FAILURE
        }
        Ok(body) => match serde_json::from_str::<StatusDocument>(&body) {
            Ok(document) => {
                print!("{}", sopwith_protocol::plain::visible(&document.text()));
                ExitCode::SUCCESS
            }
            Err(e) => {
                eprintln!("failed to understand the watcher's answer: {e}");
                ExitCode::FAILURE
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_the_agent_is() {
        let document = StatusDocument {
            version: "0.1.0".into(),
            host: "web-1".into(),
            epoch: 7,
            server: Some("https://192.0.2.10:8443".into()),
            error: Some("failed to reach the server: no route".into()),
            runner: "answers".into(),
            leased: true,
            runs: BTreeMap::from([("0123456789abcdef".into(), vec!["unit:x.service".into()])]),
            spool_items: 3,
            spool_bytes: 999,
            conditions: 1,
            node_metrics: "told".into(),
            sources: BTreeMap::from([("units".into(), "ok".into())]),
            ..StatusDocument::default()
        };
        let expected = "\
host       web-1 (agent 0.1.0, epoch 7)
server     https://192.0.2.10:8443
connected  no: failed to reach the server: no route
runner     answers, may start steps
run        0123456789ab on unit:x.service
spool      3 items, 999 bytes wait for the server; 0 were dropped
faults     1 raised
metrics    node_* of this host: told
source     units: ok
";
        assert_eq!(document.text(), expected);
    }
}
