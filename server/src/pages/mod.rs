//! The pages that people see.

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
