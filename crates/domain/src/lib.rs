//! Every decision of Sopwith, of the server and of the agent.
//!
//! This crate has no clock, no randomness, no input or output, no async and no logging: time is an argument, the
//! world comes in as [`command::Command`]s and goes out as [`event::Event`]s and [`order::Order`]s. Its shells are
//! `server/` (the ledger around [`decide`]) and `agent/` (the runner around [`run`]); the simulator in `tests/`
//! drives both without either.

pub mod action;
pub mod approval;
pub mod backtest;
pub mod check;
pub mod command;
pub mod common;
pub mod decide;
pub mod declaration;
pub mod diagnosis;
pub mod dry_run;
pub mod event;
pub mod evolve;
pub mod ids;
pub mod incident;
pub mod inspection;
pub mod matching;
pub mod mutant;
pub mod order;
pub mod people;
pub mod plan;
pub mod playbook;
pub mod policy;
pub mod problem;
pub mod protect;
pub mod run;
pub mod signal;
pub mod state;
pub mod time;
pub mod triage;
pub mod trust;
pub mod value;
pub mod warrant;
pub mod yaml;
