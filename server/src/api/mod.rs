//! The REST API, one file per resource.

use crate::routes::Route;

/// Returns the API's rows of the route table.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
