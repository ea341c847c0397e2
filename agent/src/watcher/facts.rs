//! What the host says of itself for people: its system, and what the agent cannot see or do here.

use super::keeper::SourceStates;
use super::report::{SourceState, bounded};
use super::uplink::runner_link::RunnerState;
use sopwith_protocol::exchange::{DIAGNOSIS_FACT, DRY_RUN_FACT};
use std::collections::BTreeMap;

/// Longest fact, in bytes.
const FACT_BYTES_MAX: usize = 1024;

/// Gathers the facts.
pub fn gather(states: &SourceStates, runner: &RunnerState) -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let text = |bytes: &std::ffi::CStr| bytes.to_string_lossy().into_owned();
    let mut facts = BTreeMap::from([
        ("system".to_owned(), system()),
        ("kernel".to_owned(), text(uname.release())),
        ("architecture".to_owned(), text(uname.machine())),
        ("systemd".to_owned(), if sd_notify::booted().unwrap_or(false) { "yes" } else { "no" }.to_owned()),
        ("sources".to_owned(), sources(states)),
    ]);
    match runner {
        RunnerState::Unknown => {}
        RunnerState::Away(reason) => {
            facts.insert("runner".into(), format!("does not answer: {reason}"));
        }
        RunnerState::Here(status) => {
            facts.insert("runner".into(), "answers".into());
            facts.insert(DRY_RUN_FACT.into(), "answered".into());
            facts.insert(DIAGNOSIS_FACT.into(), "made".into());
            if !status.limitations.is_empty() {
                facts.insert("limitations".into(), status.limitations.join("; "));
            }
            if let Some(stop) = &status.stop {
                facts.insert("stop".into(), stop.clone());
            }
        }
    }
    facts.values_mut().for_each(|fact| *fact = bounded(fact, FACT_BYTES_MAX));
    facts
}

fn sources(states: &SourceStates) -> String {
    let all = states.all();
    let (well, other): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, s)| *s == SourceState::Well);
    let well: Vec<_> = well.iter().map(|(name, _)| *name).collect();
    let other = other.iter().map(|(name, state)| format!("{name} {}", state.text()));
    let mut parts = vec![format!("seeing {}", well.join(", "))];
    parts.extend(other);
    parts.join("; ")
}

fn system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "unknown".into(), |name| name.trim_matches('"').to_owned())
}
