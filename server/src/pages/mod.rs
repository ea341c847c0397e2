//! The pages: server-rendered, usable without JavaScript, live with it. They show views and turn forms into
//! commands for the ledger; they decide nothing. Text that came from a host is always escaped.

pub mod approvals;
pub mod assets;
pub mod audit;
pub mod components;
pub mod decision;
#[cfg(any(test, debug_assertions))]
pub mod dev;
pub mod diff;
pub mod frame;
pub mod glyph;
pub mod hosts;
pub mod incident;
pub mod incidents;
pub mod more;
pub mod overview;
pub mod run;
pub mod runs;
#[cfg(any(test, debug_assertions))]
pub mod samples;
pub mod sops;
pub mod when;
pub mod wording;

use crate::problem::Fault;
use crate::routes::Route;
use axum::response::{IntoResponse, Response};

/// Returns the pages' rows of the route table.
pub fn routes() -> Vec<Route> {
    Vec::new()
}

/// Shows a person what went wrong.
pub fn fault(fault: &Fault) -> Response {
    fault.clone().into_response()
}
