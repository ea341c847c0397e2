//! Benchmarks: the real binaries beside the tools that people use today, in one run on one lab host, so that the
//! ratio holds although absolute figures drift with the machine.
//!
//! [`command`] is the command line, [`figures`] the statistics, [`report`] what is printed and written,
//! [`site`] the host with everything on it. Each benchmark is a module of its own. Nothing here judges in a test:
//! what a machine measures in one minute is no property of the code.

mod agent;
pub mod command;
mod crowd;
mod curves;
pub mod figures;
mod library;
mod lines;
mod matching;
mod peers;
pub mod report;
mod rest;
mod run;
mod scrape;
mod services;
mod site;
mod spooled;
mod stages;

/// Why a benchmark could not be carried out; the text completes "failed to …".
pub type BenchError = String;
