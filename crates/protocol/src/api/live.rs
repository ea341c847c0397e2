//! What running steps say, as the API tells it.

use serde::{Deserialize, Serialize};

/// What the program of a running step said so far: tainted text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveView {
    pub step: usize,
    pub text: String,
    /// Bytes before the text that are not shown.
    pub before: u64,
    /// Bytes that it has said in all.
    pub through: u64,
}
