//! The deterministic simulator: one server, any number of agents, people, networks and disks that fail, all in one
//! thread and by one virtual clock. A seed decides everything; oracles that stand outside of the code under test
//! judge every durable event and every effect.
//!
//! The decisions are the real ones (`sopwith_domain`), the journals are the real ones in memory (`sopwith_journal`).
//! The shells around them are the simulator's own, as small as they can be.

#![allow(
    clippy::needless_range_loop,
    clippy::explicit_counter_loop,
    clippy::type_complexity,
    reason = "numbers of agents, units and items are names here, and tables of scenarios hold functions"
)]

mod agent;
mod catalogue;
mod clock;
mod coverage;
mod desk;
pub mod drive;
mod liar;
mod machine;
mod oracle;
mod people;
mod queue;
mod rng;
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
