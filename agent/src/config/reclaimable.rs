//! Which files may go for good when space is short: what the administrator marked so, and systemd's core dumps.

use super::Config;
use sopwith_domain::value::{AbsPath, Glob};

/// Folder of systemd's core dumps, and their names.
pub const CORES: &str = "/var/lib/systemd/coredump";
pub const CORES_PATTERN: &str = "core.*";

impl Config {
    /// Returns folders and names of files that may go for good.
    pub fn reclaimable(&self) -> Vec<(AbsPath, Glob)> {
        let marked = self.filesystems.mounts.values().filter_map(|mount| mount.reclaim.as_ref());
        let marked = marked.map(|reclaim| ((*reclaim.directory).clone(), (*reclaim.pattern).clone()));
        let cores = AbsPath::new(CORES).ok().zip(Glob::new(CORES_PATTERN).ok());
        marked.chain(cores).collect()
    }
}
