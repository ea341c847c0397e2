//! Wakes a source when files change. It only ever makes a look come sooner: what is true is found by looking, at
//! intervals, because the kernel may drop a notice and some file systems give none.

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// A set of watched folders.
#[derive(Debug)]
pub struct Wake {
    /// Nothing where the system gives no watcher; then only the intervals count.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
}

impl Wake {
    pub fn new() -> Self {
        let changed = Arc::new(Notify::new());
        let tell = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may stand for events that were lost.
            if event.is_ok_and(|event| only_read(&event.kind)) {
                return;
            }
            tell.notify_one();
        });
        if let Err(e) = &watcher {
            tracing::warn!("changes of files are seen at intervals only: {e}");
        }
        Self { watcher: watcher.ok(), watched: BTreeSet::new(), changed }
    }

    /// Watches a folder (with all below it, if `deep`) or file, unless it is watched already.
    pub fn watch(&mut self, path: &Path, deep: bool) {
        let Some(watcher) = &mut self.watcher else { return };
        if self.watched.contains(path) {
            return;
        }
        let mode = if deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        // What is not there yet is tried again at the next look.
        if watcher.watch(path, mode).is_ok() {
            self.watched.insert(path.to_owned());
        }
    }

    /// Forgets what was watched, so that folders that were made anew are watched again.
    pub fn forget_missing(&mut self) {
        let gone: Vec<_> = self.watched.iter().filter(|path| !path.exists()).cloned().collect();
        for path in gone {
            if let Some(watcher) = &mut self.watcher {
                // The kernel has dropped the watch together with the folder.
                let _ = watcher.unwatch(&path);
            }
            self.watched.remove(&path);
        }
    }

    /// Returns when something changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn only_read(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}
