//! What must hold of hosts that are not heard of: each is told once, many together call one person, and it is over when
//! they speak again.

use super::Oracle;
use super::history::agent_of;
use sopwith_domain::event::Event;
use std::collections::{BTreeMap, BTreeSet};

/// Hosts that fall silent within so long of each other are told as one, less what clocks may differ by.
const TOGETHER_MS: i64 = 300_000 - 5_000;

/// One host's silence, until its incident is closed.
#[derive(Clone, Debug)]
struct Told {
    agent: usize,
    since: i64,
    /// The host has not spoken since.
    holds: bool,
    /// A person was called for it.
    paged: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Silence {
    told: BTreeMap<u64, Told>,
    silent: BTreeSet<usize>,
}

impl Silence {
    /// The server's time may have leapt: what began before may be long ago for it.
    pub fn restarted(&mut self) {
        self.told.values_mut().for_each(|told| told.since = i64::MIN / 2);
    }
}

impl Oracle {
    /// Judges one durable event for what is said of silent hosts.
    pub(super) fn silent(&mut self, now: i64, event: &Event) {
        let silence = &mut self.history.silence;
        match event {
            Event::HostSilent { host, .. } => drop(silence.silent.insert(agent_of(host))),
            Event::HostHeard { host } => drop(silence.silent.remove(&agent_of(host))),
            Event::IncidentOpened { incident, signal, .. } if signal.rule.as_str() == "server.silence" => {
                let agent = agent_of(&signal.host);
                let twice = silence.told.values().any(|told| told.agent == agent);
                silence.told.insert(incident.0, Told { agent, since: now, holds: true, paged: false });
                if twice {
                    self.fail("I3", format!("the silence of h-{agent} is told twice"));
                }
            }
            Event::SignalFolded { incident, .. } => {
                silence.told.entry(incident.0).and_modify(|told| told.holds = true);
            }
            Event::ConditionCleared { incident, .. } => {
                silence.told.entry(incident.0).and_modify(|told| (told.holds, told.paged) = (false, false));
            }
            Event::IncidentClosed { incident, .. } => drop(silence.told.remove(&incident.0)),
            Event::Escalated { incident, .. } if silence.told.contains_key(&incident.0) => {
                let lately = |told: &Told| now - told.since < TOGETHER_MS;
                let this = silence.told.get(&incident.0).is_some_and(lately);
                let other = silence.told.iter().find(|(id, told)| {
                    this && **id != incident.0 && told.holds && told.paged && lately(told)
                });
                let other = other.map(|(id, _)| *id);
                silence.told.entry(incident.0).and_modify(|told| told.paged = true);
                if let Some(other) = other {
                    self.fail("I3", format!("INC-{other} and {incident} call people for one silence"));
                }
            }
            _ => {}
        }
    }

    /// A host was not heard of for long by a server that was there all the time.
    pub fn judge_silence(&mut self, agent: usize) {
        let silence = &self.history.silence;
        let told = silence.told.values().any(|told| told.agent == agent && told.holds);
        if !(told && silence.silent.contains(&agent)) {
            self.fail("I3", format!("h-{agent} is silent and nobody was told"));
        }
    }

    /// At the end every host has spoken.
    pub fn judge_heard(&mut self) {
        if let Some(told) = self.history.silence.told.values().next() {
            let agent = told.agent;
            self.fail("I3", format!("h-{agent} has spoken, and is still told as silent"));
        }
    }
}
