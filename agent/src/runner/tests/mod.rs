//! The runner in one process, without its socket: what it takes, what it refuses, and that it starts nothing it may
//! not.

#[path = "../../../tests/support/mod.rs"]
mod support;

mod dry_run;
mod engine;
mod hostile;

use super::actions::{Programs, Quarantine, Systemd, Workbench};
use super::admission::Seal;
use super::budget::Budget;
use super::desk::{Desk, Published};
use super::engine::Engine;
use super::gate::Gate;
use super::host::RealHost;
use super::journal::{Reader, RunJournal};
use super::settings::Settings;
use crate::runner_protocol::{Delivery, Status};
use sopwith_domain::ids::Epoch;
use sopwith_domain::order::SignedText;
use sopwith_domain::run::{Record, What};
use std::sync::Arc;
use std::time::Duration;
use support::World;

/// One life of a runner's process.
struct Life<'w> {
    world: &'w World,
    engine: Engine,
    desk: Arc<Desk>,
    settings: Arc<Settings>,
    epoch: Epoch,
}

impl<'w> Life<'w> {
    fn begin(world: &'w World) -> Self {
        Self::begin_with(world, |_| {})
    }

    fn begin_with(world: &'w World, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::load(&world.path("etc/agent.yaml")).expect("configured");
        change(&mut settings);
        let settings = Arc::new(settings);
        super::prepare(&settings).expect("prepared");
        let (journal, runs) = RunJournal::open(&settings.journal()).expect("opens");
        let epoch = journal.epoch().expect("kept");
        let unsure_head = journal.begin_unsure().expect("kept");
        let published = Published {
            epoch,
            head: journal.head(),
            active: Vec::new(),
            holding: Vec::new(),
            ended_count: 0,
            acked_through: 0,
            word_awaited: false,
        };
        let desk = Arc::new(Desk::new(&settings, published, Some(unsure_head)));
        let gate = Gate {
            settings: Arc::clone(&settings),
            desk: Arc::clone(&desk),
            epoch,
            budget: Budget::default(),
        };
        let bench = Workbench {
            quarantine: Quarantine::new(settings.quarantine()),
            systemd: Systemd::default(),
            programs: Programs::by("/nonexistent"),
            processes: settings.processes.clone(),
            reclaimable: settings.reclaimable.clone(),
            settings: Some(Arc::clone(&settings)),
            own: settings.own.clone(),
            commands: settings.commands.clone(),
            tables: Default::default(),
        };
        let engine = Engine::resume(journal, runs, RealHost { gate, bench, acceptance: Default::default() })
            .expect("resumes");
        Self { world, engine, desk, settings, epoch }
    }

    fn status(&self) -> Status {
        self.desk.status(None, Vec::new(), Vec::new())
    }

    fn deliver(&self, delivery: Delivery) -> Vec<String> {
        self.desk.deliver(delivery, Seal::read(&self.settings.server_key()).as_ref())
    }

    fn lease(&self) {
        self.desk.challenge();
        let lease = self.world.seal(&self.world.lease(&self.status().challenge, self.epoch));
        assert_eq!(
            self.deliver(Delivery { lease: Some(lease), ..Delivery::default() }),
            Vec::<String>::new()
        );
    }

    fn order(&self, order: SignedText) -> Vec<String> {
        self.deliver(Delivery { orders: vec![order], ..Delivery::default() })
    }

    /// Lets the runner go on until nothing is to be done at once.
    fn settle(&mut self) {
        for _ in 0..200 {
            let head = self.status().head.seq;
            if self.turn() > 0 && self.status().head.seq == head {
                return;
            }
        }
        panic!("the runner does not settle");
    }

    /// One turn, with all records so far known to the server; returns how long nothing is to be done.
    fn turn(&mut self) -> i64 {
        let acked = Some(self.status().head.seq);
        self.deliver(Delivery { acked, ..Delivery::default() });
        let inbox = self.desk.take(Duration::ZERO);
        self.engine.turn(inbox).expect("the journal holds")
    }

    /// Accepts an order and takes its first step.
    fn first_step(&mut self) {
        while self.started() == 0 {
            self.turn();
        }
    }

    fn records(&self) -> Vec<Record> {
        Reader::open(&self.settings.journal()).expect("opens").records(0, 1000).expect("reads")
    }

    fn started(&self) -> usize {
        self.records().iter().filter(|r| matches!(r.what, What::Started { .. })).count()
    }

    fn kinds(&self) -> Vec<String> {
        let name = |r: &Record| {
            serde_json::to_value(&r.what).expect("encodes")["record"].as_str().map(str::to_owned)
        };
        self.records().iter().filter_map(name).collect()
    }
}
