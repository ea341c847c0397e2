//! Sopwith itself as the product of a round: its server on this machine, its agents in the victims.

use super::api::seen;
use super::command::shipped;
use super::product::{Answered, Product, ProductError, Seen, Terms};
use crate::installation::{ClientError, Plan, Server, agent};
use crate::lab::{Host, SERVER_ADDRESS};
use serde_json::Value;
use sopwith_protocol::api::{DecisionBody, HostView, Page};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const UNITS: &str = "sopwith-runner.service sopwith-agent.service";
/// What the agent's feature `test-hooks` looks at.
const FORCED_FAILURE: &str = "/run/sopwith-forced-failure";

/// One installation.
#[derive(Debug)]
pub struct Sopwith {
    binaries: PathBuf,
    server: Server,
    /// What the operator of the victims' services wrote.
    operator: String,
    /// The agent first proposes a configuration, to which the operator's words are added.
    discovers: bool,
    _dir: TempDir,
}

impl Sopwith {
    /// Starts a server with the shipped playbooks and the victims' policy.
    pub fn start(binaries: &Path, terms: Terms, discovers: bool) -> Result<Self, ProductError> {
        let dir = tempfile::tempdir().map_err(|e| ProductError::failed("make a folder", e))?;
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|e| ProductError::failed(format!("read {}", path.display()), e))
        };
        let policy = with_terms(&read(&shipped("policy.yaml"))?, terms);
        let operator = read(&shipped(if discovers { "victim-lines.yaml" } else { "victim-agent.yaml" }))?;
        let plan = Plan {
            binaries,
            dir: dir.path(),
            address: SERVER_ADDRESS.into(),
            policy: &policy,
            playbooks: &Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks"),
        };
        let server = Server::start(&plan).map_err(|e| ProductError::failed("start the server", e))?;
        Ok(Self { binaries: binaries.to_owned(), server, operator, discovers, _dir: dir })
    }

    fn answer(&self, plan: &str, verb: &str, seen: &str, reason: &str) -> Result<Answered, ProductError> {
        let body = DecisionBody { reason: reason.into(), signature: None };
        match self.server.client().post::<Value>(&format!("/plans/{plan}/{verb}"), &body, Some(seen)) {
            Ok(_) => Ok(Answered::Taken),
            Err(ClientError::Refused { detail, .. }) => Ok(Answered::Refused(detail)),
            Err(error) => Err(ProductError::failed(format!("{verb} plan {plan}"), error)),
        }
    }
}

/// Replaces how long a proposal waits for people, and what may start without them.
fn with_terms(policy: &str, terms: Terms) -> String {
    let waits = format!("proposal_valid_s: {}", terms.proposal_valid_s);
    let mut replaced = vec!["proposal_valid_s:"];
    let mut added = vec![waits.as_str()];
    if terms.only_by_people {
        replaced.extend(["auto:", "  - "]);
        added.push("auto: []");
    }
    let others = policy.lines().filter(|line| !replaced.iter().any(|begin| line.starts_with(begin)));
    others.chain(added).map(|line| format!("{line}\n")).collect()
}

impl Product for Sopwith {
    fn install(&mut self, host: &Host) -> Result<(), ProductError> {
        if self.discovers {
            agent::discover(&self.binaries, host)
                .map_err(|e| ProductError::failed("have the agent look at the host", e))?;
        }
        let config = agent::config_for(host, &self.server, &self.operator);
        agent::install(&self.binaries, host, &self.server, &config)
            .map_err(|e| ProductError::failed("install the agent", e))
    }

    fn connected(&self, host: &Host) -> Result<bool, ProductError> {
        let hosts: Page<HostView> =
            self.server.client().get("/hosts").map_err(|e| ProductError::failed("list the hosts", e))?;
        Ok(hosts.items.iter().any(|view| view.host == host.name() && view.state == "connected"))
    }

    fn incidents(&self, host: &Host) -> Result<Vec<Seen>, ProductError> {
        let all =
            self.server.client().incidents().map_err(|e| ProductError::failed("list the incidents", e))?;
        let theirs = all.iter().filter(|view| view.summary.host == host.name());
        theirs.map(|view| seen(view).map_err(|e| ProductError::failed("read an incident", e))).collect()
    }

    fn approve(&self, plan: &str, seen: &str) -> Result<Answered, ProductError> {
        self.answer(plan, "approve", seen, "")
    }

    fn deny(&self, plan: &str, reason: &str) -> Result<Answered, ProductError> {
        self.answer(plan, "deny", plan, reason)
    }

    fn freeze(&self, host: &Host, frozen: bool) -> Result<(), ProductError> {
        let signal = if frozen { "STOP" } else { "CONT" };
        host.sh(&format!("systemctl kill --signal={signal} {UNITS}"))?.expect("freeze the agent")?;
        Ok(())
    }

    fn force_failure(&self, host: &Host, step: usize, undo_twice: bool) -> Result<(), ProductError> {
        let twice = if undo_twice { " twice" } else { "" };
        Ok(host.write(FORCED_FAILURE, format!("{step}{twice}\n").as_bytes(), 0o600)?)
    }

    fn remove(&self, host: &Host) -> Result<(), ProductError> {
        let script = format!("systemctl disable --now {UNITS}; rm -rf /var/lib/sopwith /run/sopwith");
        host.sh(&script)?.expect("remove the agent")?;
        Ok(())
    }

    fn kill_agent(&self, host: &Host) -> Result<(), ProductError> {
        host.sh(&format!("systemctl kill --signal=KILL {UNITS}"))?.expect("kill the agent")?;
        Ok(())
    }

    fn logs(&self, host: &Host) -> String {
        let agent = host.sh("journalctl -u sopwith-agent -u sopwith-runner -n 60 -o cat --no-pager");
        let agent = agent.map_or_else(|e| e.to_string(), |done| done.stdout);
        format!("server:\n{}\nagent:\n{agent}", self.server.log_tail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_replace_the_policys_own() {
        let policy = "version: 1\nproposal_valid_s: 900\nauto:\n  - a\n  - b\nhosts: all\n";
        let terms = |only_by_people| Terms { proposal_valid_s: 7, only_by_people };
        let granted = "version: 1\nauto:\n  - a\n  - b\nhosts: all\nproposal_valid_s: 7\n";
        assert_eq!(with_terms(policy, terms(false)), granted);
        assert_eq!(
            with_terms(policy, terms(true)),
            "version: 1\nhosts: all\nproposal_valid_s: 7\nauto: []\n"
        );
    }
}
