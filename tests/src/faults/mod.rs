//! The runner of a fault catalogue: real faults on real hosts, and an honest account of what Sopwith did.
//!
//! [`catalogue`] reads any file in the catalogue's format, [`scenario`] says what the runner itself must do for an
//! entry, [`round`] carries one out, [`judge`] turns what was seen into a row, [`report`] prints the rows.
//! Nothing here is tuned to one entry: what an operator would configure comes from files beside the tests.

pub mod api;
pub mod catalogue;
pub mod command;
pub mod fingerprint;
mod forced;
pub mod judge;
pub mod kinds;
pub mod markdown;
pub mod product;
pub mod quiet;
pub mod report;
pub mod round;
pub mod scenario;
pub mod sop_map;
pub mod sopwith;
mod track;
mod trial;
