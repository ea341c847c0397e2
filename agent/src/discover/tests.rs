//! The proposal for a host whose files lie in a folder.
