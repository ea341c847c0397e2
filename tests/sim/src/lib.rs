//! The deterministic simulator: one server, any number of agents, people, networks and disks that fail, all in one
//! thread and by one virtual clock. A seed decides everything; oracles that stand outside of the code under test
//! judge every durable event and every effect; docs/simulator.md lists which invariant is judged by what.
//!
//! The decisions are the real ones (`sopwith_domain`), the journals are the real ones in memory (`sopwith_journal`).
//! The shells around them are the simulator's own, as small as they can be.

mod admission;
mod agent;
mod catalogue;
mod clock;
mod coverage;
mod desk;
pub mod drive;
mod ending;
mod liar;
mod looks;
mod machine;
mod network;
mod oracle;
mod people;
mod queue;
mod rng;
mod run_journal;
mod runner;
mod schedule;
mod server;
mod shared;
mod watcher;
mod wire;
mod world;

pub use coverage::Coverage;
pub use oracle::Violation;
pub use schedule::Schedule;
pub use world::{Outcome, run};
