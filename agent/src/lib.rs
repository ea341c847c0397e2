//! The agent of one host, one binary in two roles. The [`watcher`] reads what anybody can write (units, logs,
//! file systems), keeps a spool and speaks with the server; the [`runner`] is root, has no network and acts.
//! Neither imports the other: between them there is only the runner's socket, whose frames are
//! [`runner_protocol`]. [`config`] is what the host's administrator says to both.

mod ballast;
pub mod config;
pub mod discover;
mod memory;
pub mod runner;
pub mod runner_protocol;
mod unit_path;
pub mod watcher;
