//! What the tests share: real hosts to run on, parts of an installation, and the runner of the fault catalogue.
//!
//! Nothing here is part of the product, and the product never depends on it.

pub mod faults;
pub mod installation;
pub mod lab;
