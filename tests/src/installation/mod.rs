//! Parts of a whole installation, for tests that speak with the real binaries: the owners' signatures and the
//! operators' API.

mod client;
mod owner;

pub use client::{Client, ClientError};
pub use owner::{Owner, OwnerError};
