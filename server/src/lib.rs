//! The Sopwith server: a thin shell around the decisions in `sopwith-domain`.
//!
//! The [`ledger`] owns the state and the database and is the only writer of both; everything else turns the world
//! into commands for it and reads what it published. The server opens no connection to a host, and decides nothing
//! that the domain crate does not decide.

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod documents;
pub mod doors;
pub mod exchange;
pub mod guard;
pub mod idempotency;
pub mod input;
pub mod keys;
pub mod ledger;
pub mod live;
pub mod local;
pub mod pages;
pub mod presence;
pub mod problem;
pub mod readers;
pub mod routes;
pub mod serve;
pub mod signers;
pub mod telemetry;
pub mod turnstile;
pub mod views;
