//! The end of a schedule: everything heals, all comes to rest, and what only the end can show is judged.

use super::agent::Agent;
use super::catalogue::host;
use super::machine::UNITS;
use super::shared::note;
use super::world::{Event, WATCH_MS, World};
use sopwith_domain::ids::IncidentId;
use sopwith_domain::incident::{Phase, WhyNot};
use sopwith_journal::FaultPlan;

/// Longest time after healing until everything must have come to rest: a run waits 300 s for a lease, a fix is
/// confirmed within 600 s, and each may happen a few times.
const REST_MS: i64 = 3 * 3_600_000;

impl World {
    pub fn heal(&mut self) {
        self.healed = true;
        note!(self.shared.borrow(), "everything heals");
        self.server.set_plan(FaultPlan::none());
        for id in 0..self.agents.len() {
            let agent = &mut self.agents[id];
            agent.watcher.disk.set_plan(FaultPlan::none());
            agent.runner.disk.set_plan(FaultPlan::none());
            (agent.cut, agent.machine.local_stop) = (false, false);
            agent.machine.declared = Default::default();
            self.uplink_in(id, 1);
        }
        super::people::resume(self);
        self.after(WATCH_MS, Event::Rest);
    }

    pub fn rest(&mut self) {
        let since = self.now() - self.schedule.heal_at;
        if self.at_rest() {
            self.done = true;
            return self.judge();
        }
        if since > REST_MS {
            self.done = true;
            let text = self.restless();
            let oracle = &mut self.shared.get_mut().oracle;
            oracle.judge_runs();
            return oracle.fail("rest", text);
        }
        super::people::resume(self);
        self.after(WATCH_MS, Event::Rest);
    }

    fn at_rest(&self) -> bool {
        self.server.up()
            && self.server.state.stop.is_none()
            && self.agents.iter().all(|agent| self.agent_at_rest(agent))
            && self.server.state.open.values().all(|id| self.with_a_person(id))
    }

    /// Says whether an incident, or the one that stands for it, is in a person's hands.
    fn with_a_person(&self, id: &IncidentId) -> bool {
        let incident = &self.server.state.incidents[id];
        let root = match &incident.why_not {
            Some(WhyNot::OneOfMany { root, .. } | WhyNot::Frozen { root, .. } | WhyNot::Storm { root }) => {
                incident.folded_under().map(|_| *root)
            }
            _ => None,
        };
        let incident = root.map_or(incident, |root| &self.server.state.incidents[&root]);
        matches!(incident.phase, Phase::NeedsPerson { .. })
    }

    /// Says whether a host has nothing under way and the server has all of what it has to say.
    fn agent_at_rest(&self, agent: &Agent) -> bool {
        let known = &self.server.state.hosts[&host(agent.id)];
        agent.up
            && agent.runner.active.is_empty()
            && agent.runner.holding.is_empty()
            && !agent.has_news()
            && known.epoch == agent.runner.desk.epoch
            && known.silent_since.is_none()
            && known.items_through == agent.watcher.head()
            && known.records_through == agent.runner.records().len() as u64
    }

    fn restless(&self) -> String {
        let open: Vec<_> = self
            .server
            .state
            .open
            .values()
            .map(|id| {
                let incident = &self.server.state.incidents[id];
                format!("{id} is {} ({:?})", incident.phase.name(), incident.why_not)
            })
            .collect();
        format!("it never comes to rest: {}", open.join(", "))
    }

    /// Judges what only the end can show.
    fn judge(&mut self) {
        let oracle = &mut self.shared.get_mut().oracle;
        oracle.judge_raises();
        oracle.judge_runs();
        oracle.judge_heard();
        for agent in &self.agents {
            let name = host(agent.id);
            for (unit, unit_name) in UNITS.iter().enumerate() {
                let known = self.server.state.open.values().any(|id| {
                    let incident = &self.server.state.incidents[id];
                    incident.host == name && incident.signal.subject.to_string().ends_with(unit_name)
                });
                if !agent.machine.active(unit) && !known {
                    oracle.fail("I1", format!("unit {unit} of {name} is down and no incident is open"));
                }
            }
        }
    }
}
