//! One simulated world: server, agents, network, people and time, run event by event until all is healed and quiet.

use super::agent::Agent;
use super::catalogue::{Catalogue, POLICIES, catalogue, host};
use super::clock::WALL_START;
use super::coverage::{Coverage, Kind, Stage};
use super::machine::Rates;
use super::oracle::{Oracle, Violation};
use super::queue::Queue;
use super::runner::Moment;
use super::schedule::{Happening, Schedule};
use super::server::Server;
use super::shared::{Shared, note};
use super::wire::{Request, Response};
use sopwith_domain::ids::Digest;
use sopwith_domain::incident::Phase;
use sopwith_domain::order::Order;
use sopwith_domain::run::Progress;
use sopwith_journal::{Head, MemoryDisk};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) const WATCH_MS: i64 = 5_000;
const TICK_MS: i64 = 5_000;
const IDLE_MS: i64 = 20_000;
pub(super) const ANSWER_MS: i64 = 10_000;
/// Most events of one schedule; a long one has some thousands.
const EVENTS_MAX: u64 = 200_000;
const PEOPLE_MS: i64 = 4_000;
/// How often the server looks for silent hosts.
pub(super) const LISTEN_MS: i64 = 15_000;
/// How long after a run the other sickness of a haunted unit comes.
const RELAPSE_MS: i64 = 7_000;

#[derive(Debug)]
pub(super) enum Event {
    Happens(Happening),
    Uplink {
        agent: usize,
        token: u64,
    },
    ToServer(Rc<Request>),
    ToAgent(usize, Rc<Response>),
    Watch {
        agent: usize,
        life: u32,
    },
    Advance {
        agent: usize,
        life: u32,
        run: Digest,
        turn: u64,
    },
    StartServer,
    StartAgent {
        agent: usize,
        life: u32,
    },
    Tick,
    /// The server looks whether it still hears of everybody.
    Listen,
    People,
    Says(super::people::Word),
    Rejoin {
        agent: usize,
    },
    Heal,
    Rest,
}

/// A copy of the server's disk: its journal and the rows beside it.
pub type Backup = (MemoryDisk, BTreeMap<usize, (u64, Head)>);

/// What a schedule came to.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub trace: Vec<String>,
    pub coverage: Coverage,
    /// Writes of the server, and of each agent's spool and run journal, for the exhaustive driver.
    pub writes: (u64, Vec<(u64, u64)>),
}

pub(super) struct World {
    pub shared: RefCell<Shared>,
    pub catalogue: Rc<Catalogue>,
    pub schedule: Schedule,
    pub server: Server,
    pub agents: Vec<Agent>,
    pub queue: Queue<Event>,
    pub healed: bool,
    pub backup: Option<Backup>,
    pub orders: Vec<Rc<Order>>,
    pub challenges: u64,
    pub fresh_epoch: u64,
    pub ticking: bool,
    pub asking: bool,
    pub done: bool,
}

/// Runs one schedule to its end.
pub fn run(schedule: Schedule, tracing: bool) -> Outcome {
    let mut world = World::new(schedule, tracing);
    world.run();
    let mut shared = world.shared.borrow_mut();
    let writes = world.agents.iter().map(|a| (a.watcher.disk.writes(), a.runner.disk.writes())).collect();
    Outcome {
        violation: shared.oracle.violation.take(),
        trace: shared.take_lines(),
        coverage: shared.coverage.clone(),
        writes: (world.server.disk.writes(), writes),
    }
}

impl World {
    fn new(schedule: Schedule, tracing: bool) -> Self {
        let catalogue = catalogue();
        let oracle = Oracle::new(POLICIES[schedule.policy], schedule.agents);
        let mut shared = Shared::new(schedule.seed, oracle, tracing);
        let server = Server::new(&catalogue.bases[schedule.policy], schedule.json, &mut shared);
        let agents: Vec<_> =
            (0..schedule.agents).map(|id| Agent::new(id, schedule.demand_signatures)).collect();
        server.set_plan(schedule.server_faults.clone());
        for (agent, (spool, journal)) in agents.iter().zip(&schedule.agent_faults) {
            agent.watcher.disk.set_plan(spool.clone());
            agent.runner.disk.set_plan(journal.clone());
        }
        let mut queue = Queue::default();
        for (at, happening) in &schedule.happenings {
            queue.push(*at, Event::Happens(*happening));
        }
        for agent in 0..schedule.agents {
            queue.push(agent as i64 + 1, Event::Uplink { agent, token: 0 });
            queue.push(200 + 50 * agent as i64, Event::Watch { agent, life: 0 });
        }
        queue.push(LISTEN_MS, Event::Listen);
        queue.push(schedule.heal_at, Event::Heal);
        Self {
            shared: RefCell::new(shared),
            catalogue,
            server,
            agents,
            queue,
            healed: false,
            backup: None,
            orders: Vec::new(),
            challenges: 0,
            fresh_epoch: 1_000,
            ticking: false,
            asking: false,
            done: false,
            schedule,
        }
    }

    fn run(&mut self) {
        let mut events = 0_u64;
        while let Some((at, event)) = self.queue.pop() {
            self.shared.get_mut().now = at;
            events += 1;
            if events > EVENTS_MAX {
                let text = format!("more than {EVENTS_MAX} events by {at} ms: {event:?}");
                self.shared.get_mut().oracle.fail("rest", text.chars().take(300).collect());
            }
            self.dispatch(event);
            if self.done || self.shared.get_mut().oracle.violation.is_some() {
                break;
            }
            if std::mem::take(&mut self.server.poke) {
                self.poke();
            }
        }
    }

    pub fn now(&self) -> i64 {
        self.shared.borrow().now
    }

    pub fn after(&mut self, ms: i64, event: Event) {
        let at = self.now() + ms;
        self.queue.push(at, event);
    }

    pub fn rates(&self) -> Rates {
        if self.healed { Rates::default() } else { self.schedule.rates }
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            // What was to come of a fix comes to nothing once all is healed.
            Event::Happens(Happening::Sick { .. }) if self.healed => {}
            Event::Happens(happening) => self.happens(happening),
            Event::Uplink { agent, token } => self.uplink(agent, token),
            Event::ToServer(request) => self.arrive_at_server(&request),
            Event::ToAgent(agent, response) => self.arrive_at_agent(agent, &response),
            Event::Watch { agent, life } => {
                if self.agents[agent].life == life {
                    self.watch(agent);
                    self.after(WATCH_MS, Event::Watch { agent, life });
                }
            }
            Event::Advance { agent, life, run, turn } => {
                if self.agents[agent].life == life && self.agents[agent].runner.is_turn(run, turn) {
                    self.advance(agent, run, turn);
                }
            }
            Event::StartServer => self.start_server(),
            Event::StartAgent { agent, life } => {
                if self.agents[agent].life == life && !self.agents[agent].up {
                    self.start_agent(agent);
                }
            }
            Event::Tick => self.tick(),
            Event::Listen => self.listen(),
            Event::People => self.people(),
            Event::Says(word) => self.says(word),
            Event::Rejoin { agent } => {
                self.agents[agent].cut = false;
                self.uplink_in(agent, 1);
            }
            Event::Heal => self.heal(),
            Event::Rest => self.rest(),
        }
    }

    // The server's side.

    fn start_server(&mut self) {
        if self.server.up() {
            return;
        }
        let base = &self.catalogue.bases[self.schedule.policy];
        match self.server.start(base, self.shared.get_mut()) {
            Ok(()) => self.tick(),
            Err(_) => self.server_died(),
        }
    }

    pub fn server_died(&mut self) {
        let ms = if self.healed { 200 } else { self.shared.get_mut().rng.between(200, 20_000) };
        self.after(ms, Event::StartServer);
    }

    fn tick(&mut self) {
        self.ticking = false;
        if !self.server.up() {
            return;
        }
        self.set_stage(None);
        if self.server.run_due(self.shared.get_mut()).is_err() {
            return self.server_died();
        }
        self.keep_ticking();
    }

    fn keep_ticking(&mut self) {
        if !self.ticking && self.server.up() && !self.server.state.open.is_empty() {
            self.ticking = true;
            self.after(TICK_MS, Event::Tick);
        }
    }

    /// The server's state changed: hosts that are owed something hear of it, as over a held-open exchange, and
    /// people look at what waits for them.
    fn poke(&mut self) {
        self.keep_ticking();
        let mut waits = false;
        for agent in 0..self.agents.len() {
            let name = host(agent);
            let owed =
                self.server.state.open.values().filter_map(|id| self.server.state.incidents.get(id)).any(
                    |i| {
                        waits |= i.phase == Phase::AwaitingApproval;
                        i.host == name && i.phase == Phase::Approved
                    },
                );
            if owed && !self.agents[agent].cut {
                self.uplink_in(agent, 5);
            }
        }
        if waits && !self.asking {
            self.asking = true;
            let ms = if self.healed { 300 } else { PEOPLE_MS };
            self.after(ms, Event::People);
        }
    }

    fn people(&mut self) {
        self.asking = false;
        if self.server.up() {
            super::people::look(self);
            self.server.poke = true;
        } else {
            self.asking = true;
            self.after(PEOPLE_MS, Event::People);
        }
    }

    // The agents' side.

    /// Returns what a host's clocks say now, and what it can reach.
    pub fn moment<'a>(
        shared: &'a RefCell<Shared>,
        catalogue: &'a Catalogue,
        rates: Rates,
        agent: &Agent,
    ) -> Moment<'a> {
        let now = shared.borrow().now;
        let wall = WALL_START + now + agent.wall_offset;
        Moment { shared, catalogue, boot_ms: agent.boot_ms(now), wall, rates }
    }

    fn arrive_at_agent(&mut self, id: usize, response: &Response) {
        if !self.agents[id].up {
            return;
        }
        self.set_stage(Some(id));
        let rates = self.rates();
        let agent = &mut self.agents[id];
        let moment = Self::moment(&self.shared, &self.catalogue, rates, agent);
        match agent.respond(response, &mut self.fresh_epoch, moment) {
            Err(_) => self.agent_died(id),
            Ok(false) => {}
            Ok(true) => {
                if self.agents[id].again {
                    self.watch(id);
                }
                self.go_on(id);
            }
        }
    }

    /// Sets the runs of an agent going, and the uplink if there is news.
    pub fn go_on(&mut self, id: usize) {
        if !self.agents[id].up {
            return;
        }
        let life = self.agents[id].life;
        let runs: Vec<_> = self.agents[id].runner.idle();
        for (run, turn) in runs {
            self.after(1, Event::Advance { agent: id, life, run, turn });
        }
        let ms = if self.agents[id].has_news() { 2 } else { IDLE_MS };
        self.uplink_in(id, ms);
    }

    fn watch(&mut self, id: usize) {
        if !self.agents[id].up {
            return;
        }
        self.set_stage(Some(id));
        let agent = &mut self.agents[id];
        let wall = WALL_START + self.shared.get_mut().now + agent.wall_offset;
        let before = agent.watcher.waiting();
        if agent.watch(wall, self.shared.get_mut()).is_err() {
            return self.agent_died(id);
        }
        if !before && agent.watcher.waiting() {
            self.uplink_in(id, 2);
        }
    }

    fn advance(&mut self, id: usize, run: Digest, turn: u64) {
        self.set_stage(Some(id));
        let rates = self.rates();
        let agent = &mut self.agents[id];
        let moment = Self::moment(&self.shared, &self.catalogue, rates, agent);
        let records = agent.runner.records().len();
        let progress = agent.runner.advance(run, &mut agent.machine, moment);
        agent.busy(self.shared.borrow().now + agent.runner.took_ms);
        let life = agent.life;
        match progress {
            Err(_) => self.agent_died(id),
            Ok(None) => {}
            Ok(Some((Progress::Ended(end), _))) => {
                agent.again = true;
                let relapses =
                    if end == sopwith_domain::run::End::Resolved { agent.machine.relapses() } else { vec![] };
                for (unit, kind) in relapses.into_iter().filter(|_| !self.healed) {
                    let sick = Happening::Sick { agent: id, unit, kind, stubborn: false };
                    self.queue.push(self.shared.borrow().now + RELAPSE_MS, Event::Happens(sick));
                }
                let moment = Self::moment(&self.shared, &self.catalogue, rates, agent);
                if agent.retry_held(moment).is_err() {
                    return self.agent_died(id);
                }
                self.watch(id);
                self.go_on(id);
            }
            Ok(Some((progress, took_ms))) => {
                let ms = if let Progress::Wait { ms } = progress { ms } else { 1 };
                let told = agent.runner.records().len() > records;
                self.after(took_ms + ms.max(1), Event::Advance { agent: id, life, run, turn });
                if told {
                    self.uplink_in(id, took_ms + 2);
                }
            }
        }
    }

    pub fn agent_died(&mut self, id: usize) {
        let shared = self.shared.get_mut();
        self.agents[id].count_fault(shared);
        note!(shared, "h-{id} dies");
        if self.agents[id].lost_power() || shared.rng.chance(150) {
            shared.fired(Kind::PowerCut);
            self.agents[id].power_off(shared.now);
        } else {
            self.agents[id].kill();
        }
        let ms = if self.healed { 200 } else { shared.rng.between(200, 20_000) };
        let (at, life) = (self.agents[id].restart_at(shared.now, ms), self.agents[id].life);
        self.queue.push(at, Event::StartAgent { agent: id, life });
    }

    fn start_agent(&mut self, id: usize) {
        let rates = self.rates();
        let agent = &mut self.agents[id];
        let moment = Self::moment(&self.shared, &self.catalogue, rates, agent);
        if agent.start(moment).is_err() {
            return self.agent_died(id);
        }
        let life = self.agents[id].life;
        self.after(WATCH_MS, Event::Watch { agent: id, life });
        self.watch(id);
        self.go_on(id);
    }

    /// Says how far things have come, for the counts of faults.
    pub fn set_stage(&mut self, agent: Option<usize>) {
        let running = agent.and_then(|id| self.agents[id].stage());
        let stage = running.unwrap_or_else(|| {
            let open = self.server.state.open.values().filter_map(|id| self.server.state.incidents.get(id));
            open.map(|incident| match incident.phase {
                Phase::Detected => Stage::Detected,
                Phase::AwaitingApproval => Stage::Awaiting,
                Phase::Approved => Stage::Approved,
                Phase::Running => Stage::Stepping,
                Phase::Watching { .. } => Stage::Watching,
                Phase::NeedsPerson { .. } | Phase::Closed { .. } => Stage::Quiet,
            })
            .max()
            .unwrap_or(Stage::Quiet)
        });
        self.shared.get_mut().stage = stage;
    }
}
