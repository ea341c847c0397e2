//! The runner as a process of its own, and what a watcher says to it.

use super::support::World;
use sopwith_agent::runner_protocol::{Client, Delivery, Request, Response, Status};
use sopwith_domain::order::Order;
use sopwith_domain::run::{Record, What};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a run may take here; only a runner that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a runner that ended a connection may take to be dead.
const GRACE: Duration = Duration::from_secs(2);

pub struct Runner<'w> {
    world: &'w World,
    process: Child,
}

impl<'w> Runner<'w> {
    /// Starts it, to die at a set write of its journal if it is told so.
    pub fn start(world: &'w World, die_at: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sopwith-agent"));
        command.arg("run").arg("--config").arg(world.path("etc/agent.yaml"));
        command.env_remove("SOPWITH_TEST_DIE_AT").stderr(Stdio::null());
        if let Some(point) = die_at {
            command.env("SOPWITH_TEST_DIE_AT", point);
        }
        Self { world, process: command.spawn().expect("starts") }
    }

    fn dead(&mut self) -> bool {
        self.process.try_wait().expect("can be waited for").is_some()
    }

    /// Connects, or finds that the runner died.
    pub fn client(&mut self) -> Option<Client> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Ok(client) = Client::connect(&self.world.path("run")) {
                return Some(client);
            }
            if self.dead() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the runner neither answers nor ends");
    }

    /// Does what a watcher does until the run has ended; returns nothing where the runner died before.
    ///
    /// Like a watcher it connects again where the connection ends and the runner lives: a program that a runner was about
    /// to start when it was killed holds its socket a moment longer, and what connects to that is heard by nobody.
    pub fn until_end(&mut self, order: &Order) -> Option<Vec<Record>> {
        loop {
            if let Some(records) = self.connected_until_end(order) {
                return Some(records);
            }
            let lost = Instant::now();
            while lost.elapsed() < GRACE {
                if self.dead() {
                    return None;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn connected_until_end(&mut self, order: &Order) -> Option<Vec<Record>> {
        let mut client = self.client()?;
        let now = status(client.ask(&Request::Status { challenge: true }).ok()?);
        let delivery = Delivery {
            lease: Some(self.world.seal(&self.world.lease(&now.challenge, now.epoch))),
            orders: vec![self.world.seal(order)],
            ..Delivery::default()
        };
        let answer = status(client.ask(&Request::Deliver(delivery)).ok()?);
        assert_eq!(answer.rejected, Vec::<String>::new());
        let mut records: Vec<Record> = Vec::new();
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let wait = Request::Wait { after_seq: records.len() as u64, timeout_ms: 1000 };
            let Response::Records { records: more, first_seq, .. } = client.ask(&wait).ok()? else {
                panic!("records were asked for");
            };
            assert_eq!(first_seq, records.len() as u64 + 1);
            records.extend(more);
            client
                .ask(&Request::Deliver(Delivery { acked: Some(records.len() as u64), ..Delivery::default() }))
                .ok()?;
            if records.iter().any(|r| matches!(r.what, What::Ended { .. } | What::Refused { .. })) {
                return Some(records);
            }
        }
        panic!("the run does not end: {records:?}");
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn status(response: Response) -> Status {
    let Response::Status(status) = response else { panic!("a status was asked for: {response:?}") };
    status
}
