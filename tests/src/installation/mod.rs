//! A whole installation, for tests that speak with the real binaries: a server on this machine, agents in lab
//! hosts, the owners' signatures and the operators' API.

pub mod agent;
mod client;
mod owner;
mod server;

pub use agent::AgentError;
pub use client::{Client, ClientError};
pub use owner::{Owner, OwnerError};
pub use server::{Plan, Server, ServerError};
