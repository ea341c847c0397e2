//! The agent on a lab host, installed as its package would: the binary, its units, its configuration, its owner's
//! `allowed_signers`, and a join with a single-use token.

use super::{Server, ServerError};
use crate::lab::{Host, LabError};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BINARY: &str = "/usr/bin/sopwith-agent";
const CONFIG: &str = "/etc/sopwith/agent.yaml";
const DISCOVERED: &str = "/etc/sopwith/discovered.yaml";
const UNITS: &[&str] = &["sopwith-runner.service", "sopwith-agent.service"];
const JOIN_LIMIT: Duration = Duration::from_secs(30);

/// Why an agent could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
}

/// Has the agent look at a host before it is configured, and leaves its proposal there.
pub fn discover(binaries: &Path, host: &Host) -> Result<(), AgentError> {
    host.copy_in(&binaries.join("sopwith-agent"), BINARY, 0o755)?;
    host.run(&["mkdir", "-p", "/etc/sopwith"])?;
    let argv = [BINARY, "discover", "--ask", "--output", DISCOVERED];
    host.run_for(&argv, b"", JOIN_LIMIT)?.expect("discover")?;
    Ok(())
}

/// Places the agent's files on a host: binary, units and configuration. Nothing is started.
pub fn place(binaries: &Path, host: &Host, config: &str) -> Result<(), AgentError> {
    host.copy_in(&binaries.join("sopwith-agent"), BINARY, 0o755)?;
    for (from, to) in packaged() {
        let path = packaging().join(from);
        let text = std::fs::read(&path).map_err(|source| AgentError::Read { path, source })?;
        host.write(to, &text, 0o644)?;
    }
    host.write(CONFIG, config.as_bytes(), 0o644)?;
    // Only the agent's own folders: what another lacks is not for an installation to mend.
    let own = packaged()[3].1;
    host.sh(&format!("systemd-sysusers && systemd-tmpfiles --create {own} && systemctl daemon-reload"))?
        .expect("prepare the host for the agent")?;
    Ok(())
}

/// Installs the agent, lets it join under the host's name and starts its units.
pub fn install(binaries: &Path, host: &Host, server: &Server, config: &str) -> Result<(), AgentError> {
    place(binaries, host, config)?;
    let signers = server.owner().allowed_signers().map_err(ServerError::from)?;
    host.write("/etc/sopwith/allowed_signers", signers.as_bytes(), 0o644)?;
    let token = server.join_token(host.name())?;
    let (url, pin) = (server.agents_url(), token.ca_sha256.to_string());
    let join = ["--server", &url, "--token", &token.token, "--ca-sha256", &pin];
    let argv: Vec<&str> = [BINARY, "--config", CONFIG, "join"].into_iter().chain(join).collect();
    host.run_for(&argv, b"", JOIN_LIMIT)?.expect("join the server")?;
    let start: Vec<&str> = ["systemctl", "enable", "--now"].iter().chain(UNITS).copied().collect();
    host.run(&start)?;
    Ok(())
}

/// Returns the agent's configuration for a host: what its operator wrote, with the server and the name.
pub fn config_for(host: &Host, server: &Server, operator: &str) -> String {
    format!("server: {}\nhost: {}\n{operator}", server.agents_url(), host.name())
}

/// Which files of the packaging go where.
fn packaged() -> [(&'static str, &'static str); 4] {
    [
        ("systemd/sopwith-runner.service", "/usr/lib/systemd/system/sopwith-runner.service"),
        ("systemd/sopwith-agent.service", "/usr/lib/systemd/system/sopwith-agent.service"),
        ("sysusers.d/sopwith-agent.conf", "/usr/lib/sysusers.d/sopwith-agent.conf"),
        ("tmpfiles.d/sopwith-agent.conf", "/usr/lib/tmpfiles.d/sopwith-agent.conf"),
    ]
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}
