//! The Sopwith server: a thin shell around the decisions in `sopwith-domain`.
//!
//! The [`ledger`] owns the state and the database and is the only writer of both; everything else turns the world
//! into commands for it and reads what it published. The server opens no connection to a host, and decides nothing
//! that the domain crate does not decide.

pub mod app;
pub mod clock;
pub mod config;
pub mod ledger;
pub mod readers;
pub mod views;
