//! The peers as Debian packages them, in a layer that only benchmarks use: no test has to download them.

use super::BenchError;
use crate::lab::{Lab, Root};

/// ripgrep is the limit of what searching can be. fail2ban comes with what it recommends for reading logs, so that it
/// is at its fastest.
const PACKAGES: &[&str] =
    &["monit", "fail2ban", "python3-pyinotify", "python3-systemd", "prometheus-node-exporter", "ripgrep"];
const FIXTURE: &str = include_str!("../../bench/fixture.sh");

/// Returns the root of a host with the peers, their services disabled, and the benchmark's own services.
pub fn root(lab: &Lab) -> Result<Root, BenchError> {
    let placed = lab.packages(PACKAGES).map_err(|e| e.to_string())?;
    lab.layer_with(FIXTURE.as_bytes(), &placed).map_err(|e| format!("build the host's layer: {e}"))
}
