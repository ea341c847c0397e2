//! Reads YAML documents that people wrote, within a budget, so that no document can cost more than it is worth.

use crate::playbook::Finding;
use serde::de::DeserializeOwned;

/// Most nodes of one document.
const NODES_MAX: usize = 20_000;
/// Deepest nesting of one document.
const DEPTH_MAX: usize = 32;

/// Parses a document, or says what is wrong with its line and column.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Finding> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_depth: DEPTH_MAX },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
        Finding { line, column, text: error.to_string() }
    })
}
