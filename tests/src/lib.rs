//! What the tests share: real hosts to run on, parts of an installation, the runner of the fault
//! catalogue, and the benchmarks.
//!
//! Nothing here is part of the product, and the product never depends on it.

pub mod bench;
pub mod browser;
pub mod faults;
pub mod fuzz;
pub mod installation;
pub mod lab;
pub mod model;
pub mod rig;
