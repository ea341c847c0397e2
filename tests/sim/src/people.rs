//! What people and the world do to a schedule: votes, stops, cancels, declarations, sickness, restores.

use super::catalogue::{account, host};
use super::coverage::Kind;
use super::desk::signature;
use super::liar;
use super::looks;
use super::machine::{UNITS, unit_name};
use super::schedule::Happening;
use super::shared::note;
use super::world::{Event, World};
use sopwith_domain::approval::Vote;
use sopwith_domain::command::Command;
use sopwith_domain::declaration::{Declaration, Declarations};
use sopwith_domain::evolve::ended;
use sopwith_domain::ids::{Digest, IncidentId, PlaybookId};
use sopwith_domain::incident::Phase;
use sopwith_domain::signal::Subject;
use sopwith_domain::time::Timestamp;
use std::rc::Rc;

const PEOPLE: [&str; 3] = ["alice", "bob", "root"];

/// What a person will say about a plan that he looked at a while ago.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    incident: IncidentId,
    plan: Digest,
    by: &'static str,
    vote: Vote,
}

/// People look at the plans that wait for them, and make up their minds.
pub fn look(world: &mut World) {
    let waiting: Vec<(IncidentId, Digest)> = world
        .server
        .state
        .incidents
        .values()
        .filter(|incident| incident.phase == Phase::AwaitingApproval)
        .filter_map(|incident| Some((incident.id, incident.proposal.as_ref()?.plan.digest())))
        .collect();
    let people = world.schedule.people;
    for (incident, plan) in waiting {
        for by in PEOPLE {
            if world.healed {
                world.after(50, Event::Says(Word { incident, plan, by, vote: Vote::Approve }));
                continue;
            }
            let rng = &mut world.shared.get_mut().rng;
            if !rng.chance(people.speaks) {
                continue;
            }
            let vote = if rng.chance(people.denies) { Vote::Deny } else { Vote::Approve };
            let late = rng.chance(people.late);
            let ms = if late { rng.between(20_000, 90_000) } else { rng.between(100, 5_000) };
            world.set_stage(None);
            if late {
                world.shared.get_mut().fired(Kind::LateWord);
            }
            world.after(ms, Event::Says(Word { incident, plan, by, vote }));
        }
    }
}

/// Whoever is in charge sets automation going again.
pub fn resume(world: &mut World) {
    if world.server.up() && world.server.state.stop.is_some() {
        world.command(&Command::Resume { by: account("root"), reason: "all is well".into() });
    }
}

impl World {
    /// Brings a person's command to the server, if it is there.
    fn command(&mut self, command: &Command) -> bool {
        if !self.server.up() {
            return false;
        }
        match self.server.submit(command, self.shared.get_mut()) {
            Ok(result) => result.is_ok_and(|events| events > 0),
            Err(_) => {
                self.server_died();
                false
            }
        }
    }

    pub(super) fn says(&mut self, word: Word) {
        let Word { incident, plan, by, vote } = word;
        self.set_stage(None);
        let signature = Some(signature(by, &plan));
        let (by, reason) = (account(by), "looked at it".into());
        if self.command(&Command::Decide { incident, plan, by, vote, reason, signature })
            && vote == Vote::Deny
        {
            self.shared.get_mut().fired(Kind::Denied);
        }
    }

    pub(super) fn happens(&mut self, happening: Happening) {
        note!(self.shared.borrow(), "world: {happening:?}");
        let (agent, unit) = match happening {
            Happening::Sick { agent, unit, .. }
            | Happening::Haunted { agent, unit, .. }
            | Happening::Level { agent, unit } => (Some(agent), unit),
            Happening::Well { agent }
            | Happening::Cut { agent, .. }
            | Happening::KillAgent { agent }
            | Happening::AgentClock { agent, .. }
            | Happening::LocalStop { agent, .. }
            | Happening::Declare { agent, .. }
            | Happening::Image { agent }
            | Happening::SetBack { agent }
            | Happening::Lie { agent, .. } => (Some(agent), 0),
            _ => (None, 0),
        };
        self.set_stage(agent);
        match agent {
            Some(agent) => self.befall_host(happening, agent, unit),
            None => self.befall_server(happening),
        }
    }

    fn befall_host(&mut self, happening: Happening, id: usize, unit: usize) {
        let shared = self.shared.get_mut();
        let agent = &mut self.agents[id];
        match happening {
            Happening::Sick { kind, stubborn, .. } => {
                let unit = &mut agent.machine.units[unit];
                (unit.sick, unit.kind, unit.stubborn) = (true, kind, stubborn);
            }
            Happening::Haunted { kinds, .. } => {
                shared.fired(Kind::Haunted);
                agent.machine.units[unit].haunted = Some(kinds);
            }
            Happening::Level { .. } => {
                agent.machine.units[unit].level += 1;
                agent.again = true;
            }
            Happening::Well { .. } => {
                shared.fired(Kind::Heals);
                agent.machine.units.iter_mut().for_each(|unit| unit.sick = false);
            }
            Happening::Cut { ms, .. } => {
                agent.cut = true;
                self.after(ms, Event::Rejoin { agent: id });
            }
            Happening::KillAgent { .. } if agent.up => self.agent_died(id),
            Happening::AgentClock { ms, .. } => {
                shared.fired(Kind::AgentClock);
                agent.wall_offset += ms;
            }
            Happening::LocalStop { on, .. } => {
                agent.machine.local_stop = on;
                if on {
                    shared.fired(Kind::StoppedHere);
                }
            }
            Happening::Declare { what, .. } => {
                shared.fired(Kind::Declared);
                let wall = Timestamp(super::clock::WALL_START + shared.now + agent.wall_offset);
                agent.machine.declared = declarations(what, wall);
                agent.machine.domain = if what >= 5 { what } else { 0 };
            }
            Happening::Image { .. } => agent.take_image(shared),
            Happening::SetBack { .. } => {
                let set_back = agent.set_back(shared);
                if set_back {
                    shared.fired(Kind::SetBack);
                    let (at, life) = (agent.restart_at(shared.now, 3_000), agent.life);
                    self.queue.push(at, Event::StartAgent { agent: id, life });
                }
            }
            Happening::Lie { how, .. } => self.lie(id, how),
            _ => {}
        }
    }

    /// A server that lies hands a host a forged order, beside a lease that is good.
    fn lie(&mut self, id: usize, how: u8) {
        if self.agents[id].up
            && let Some(asked) = looks::forge(id, how, Timestamp(super::clock::WALL_START), &self.catalogue)
        {
            let agent = &mut self.agents[id];
            let moment = Self::moment(&self.shared, &self.catalogue, self.schedule.rates, agent);
            agent.look(&asked, moment);
        }
        let true_order = self.orders.iter().rev().find(|order| order.target.host == host(id)).cloned();
        let Some(true_order) = true_order.filter(|_| self.agents[id].up) else { return };
        let forged = Rc::new(liar::forge(&true_order, how, self.schedule.demand_signatures, &self.catalogue));
        self.shared.get_mut().fired(Kind::LyingServer);
        let agent = &mut self.agents[id];
        let moment = Self::moment(&self.shared, &self.catalogue, self.schedule.rates, agent);
        match agent.runner.deliver(&forged, &agent.machine, moment) {
            Err(_) => self.agent_died(id),
            Ok(_) => self.go_on(id),
        }
    }

    fn befall_server(&mut self, happening: Happening) {
        let root = account("root");
        match happening {
            Happening::Epidemic { unit, kind, stubborn } => {
                self.shared.get_mut().fired(Kind::Epidemic);
                for agent in &mut self.agents {
                    let unit = &mut agent.machine.units[unit];
                    (unit.sick, unit.kind, unit.stubborn) = (true, kind, stubborn);
                }
            }
            Happening::CutAll { ms } => {
                for id in 0..self.agents.len() {
                    self.agents[id].cut = true;
                    self.after(ms, Event::Rejoin { agent: id });
                }
            }
            Happening::KillServer if self.server.up() => {
                self.server.stop_process();
                note!(self.shared.borrow(), "server is killed");
                self.server_died();
            }
            Happening::ServerClock { ms } => {
                self.shared.get_mut().fired(Kind::ServerClock);
                self.server.wall_offset += ms;
            }
            Happening::Stop => {
                let stopped = self.command(&Command::Stop { by: account("carol"), reason: "enough".into() });
                if stopped {
                    self.shared.get_mut().fired(Kind::Stopped);
                }
            }
            Happening::Resume => resume(self),
            Happening::Cancel => {
                let open =
                    self.server.state.runs.iter().find(|(_, run)| ended(run).is_none()).map(|(run, _)| *run);
                if let Some(run) = open
                    && self.command(&Command::Cancel { run, by: account("carol") })
                {
                    self.shared.get_mut().fired(Kind::Cancelled);
                }
            }
            Happening::Install { which } => {
                let playbook = self.catalogue.newer[which].signed.clone();
                if self.command(&Command::InstallPlaybook { playbook, signer: "owners".into(), by: root }) {
                    self.shared.get_mut().fired(Kind::Replaced);
                }
            }
            Happening::Retire => {
                let playbook = PlaybookId::new("restart").expect("a playbook");
                if self.command(&Command::RetirePlaybook { playbook, by: root }) {
                    self.shared.get_mut().fired(Kind::Replaced);
                }
            }
            Happening::Backup => self.backup = Some((self.server.disk.snapshot(), self.server.heads.clone())),
            Happening::Restore => self.restore(),
            _ => {}
        }
    }

    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        let was_up = self.server.up();
        self.server.stop_process();
        (self.server.disk, self.server.heads) = backup;
        let epochs: Vec<u64> = self.agents.iter().map(|a| a.runner.desk.epoch.0).collect();
        let shared = self.shared.get_mut();
        shared.fired(Kind::Restored);
        shared.oracle.history = super::oracle::History::restored(shared.now);
        shared.oracle.forget_lives(&epochs);
        if was_up {
            self.server_died();
        }
    }
}

fn word(text: &str) -> sopwith_domain::value::Word {
    sopwith_domain::value::Word::new(text).expect("a word")
}

fn declarations(what: u8, now: Timestamp) -> Declarations {
    let (by, reason) = ("root".to_owned(), "planned".to_owned());
    let unit = |n: usize| Subject::Unit(unit_name(n));
    let stated = match what {
        1 => Declaration::Hold { scope: vec![unit(0)], by, reason, until: None },
        2 => Declaration::Maintenance {
            id: word("m-1"),
            scope: vec![Subject::Host],
            from: now,
            to: now.plus(60_000),
            by,
            reason,
        },
        3 => return Declarations { stated: Vec::new(), broken: vec!["host.d/x.yaml: it is broken".into()] },
        4 => Declaration::Hold {
            scope: vec![unit(UNITS.len() - 2)],
            by,
            reason,
            until: Some(now.plus(20_000)),
        },
        5 | 6 => {
            Declaration::Fact { name: word("failure-domain"), value: word(if what == 5 { "x" } else { "y" }) }
        }
        _ => return Declarations::default(),
    };
    Declarations { stated: vec![stated], broken: Vec::new() }
}
