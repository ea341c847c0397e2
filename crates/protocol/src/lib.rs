//! What server and agent say to each other, what the server says to operators, and the signatures that documents
//! carry. Types only, and their checks: nothing here opens a connection or reads a file.

pub mod api;
pub mod exchange;
pub mod pinned;
pub mod plain;
pub mod signature;
