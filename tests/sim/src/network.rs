//! The links between hosts and server: messages get lost, doubled, delayed and overtake each other, and a host may be
//! cut off.

use super::coverage::Kind;
use super::wire::Request;
use super::world::{ANSWER_MS, Event, LISTEN_MS, World};
use std::rc::Rc;

impl World {
    pub fn uplink_in(&mut self, agent: usize, ms: i64) {
        self.agents[agent].uplink += 1;
        let token = self.agents[agent].uplink;
        self.after(ms, Event::Uplink { agent, token });
    }

    pub fn uplink(&mut self, agent: usize, token: u64) {
        if self.agents[agent].uplink != token || !self.agents[agent].up {
            return;
        }
        self.challenges += 1;
        let now = self.now();
        let boot_ms = self.agents[agent].boot_ms(now);
        let request = self.agents[agent].request(self.challenges, boot_ms, now);
        self.send(agent, |world, ms, request| world.after(ms, Event::ToServer(request)), Rc::new(request));
        self.uplink_in(agent, ANSWER_MS);
    }

    /// Sends one message over a host's link: it may be lost, doubled, delayed, and overtake others.
    fn send<T>(&mut self, agent: usize, deliver: impl Fn(&mut Self, i64, Rc<T>), message: Rc<T>) {
        if self.agents[agent].cut {
            self.set_stage(Some(agent));
            return self.shared.get_mut().fired(Kind::Cut);
        }
        let network = if self.healed { Default::default() } else { self.schedule.network };
        if network.lost + network.doubled + network.delayed > 0 {
            self.set_stage(Some(agent));
        }
        let shared = self.shared.get_mut();
        if shared.happens(network.lost, Kind::Lost) {
            return;
        }
        let copies = if shared.happens(network.doubled, Kind::Doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let shared = self.shared.get_mut();
            let late = shared.happens(network.delayed, Kind::Delayed);
            let ms = if late { shared.rng.between(1_000, 70_000) } else { shared.rng.between(1, 30) };
            deliver(self, ms, Rc::clone(&message));
        }
    }

    pub fn arrive_at_server(&mut self, request: &Rc<Request>) {
        if !self.server.up() {
            return;
        }
        self.set_stage(Some(request.agent));
        match self.server.exchange(request, self.shared.get_mut()) {
            Err(_) => self.server_died(),
            Ok(None) => {}
            Ok(Some(response)) => {
                self.orders.extend(response.orders.iter().cloned());
                let agent = request.agent;
                self.send(
                    agent,
                    |world, ms, answer| world.after(ms, Event::ToAgent(agent, answer)),
                    Rc::new(response),
                );
            }
        }
    }

    /// The server looks whether it still hears of everybody.
    pub fn listen(&mut self) {
        self.after(LISTEN_MS, Event::Listen);
        let agents = self.agents.len();
        self.set_stage(None);
        if self.server.up() && self.server.note_silence(agents, self.shared.get_mut()).is_err() {
            self.server_died();
        }
    }
}
