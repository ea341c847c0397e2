//! Wakes a source when files change. It only ever makes a look come sooner: what is true is found by looking, at
//! intervals, because the kernel may drop a notice and some file systems give none.

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Most written files that are told apart; of more it is only known that there were many.
const WRITTEN_MAX: usize = 4096;

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Files came, went or were renamed, or it is not known what changed.
    pub structure: bool,
    /// Files that were written.
    pub written: BTreeSet<PathBuf>,
}

impl Changes {
    fn note(&mut self, event: notify::Result<notify::Event>) {
        match event {
            Ok(event)
                if matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)) | EventKind::Access(_)) =>
            {
                self.structure |= event.need_rescan();
                if self.written.len() < WRITTEN_MAX {
                    self.written.extend(event.paths);
                } else {
                    self.structure = true;
                }
            }
            // An error may stand for events that were lost.
            _ => self.structure = true,
        }
    }
}

/// A set of watched folders.
#[derive(Debug, Default)]
pub struct Wake {
    /// Made when there is something to watch, because each has a thread. Nothing where the system gives none; then only
    /// the intervals count.
    watcher: Option<RecommendedWatcher>,
    refused: bool,
    watched: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    changes: Option<Arc<Mutex<Changes>>>,
}

impl Wake {
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes one that also tells what changed.
    pub fn telling() -> Self {
        Self { changes: Some(Arc::default()), ..Self::default() }
    }

    fn watcher(&mut self) -> Option<&mut RecommendedWatcher> {
        if self.watcher.is_none() && !self.refused {
            let (tell, noted) = (Arc::clone(&self.changed), self.changes.clone());
            let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.as_ref().is_ok_and(|event| only_read(&event.kind)) {
                    return;
                }
                if let Some(changes) = &noted {
                    changes.lock().unwrap_or_else(PoisonError::into_inner).note(event);
                }
                tell.notify_one();
            });
            match made {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(e) => {
                    self.refused = true;
                    tracing::warn!("changes of files are seen at intervals only: {e}");
                }
            }
        }
        self.watcher.as_mut()
    }

    /// Takes what changed since the last call.
    pub fn take(&self) -> Changes {
        let changes = self.changes.as_ref();
        changes
            .map(|c| std::mem::take(&mut *c.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    /// Watches a folder (with all below it, if `deep`) or file, unless it is watched already.
    pub fn watch(&mut self, path: &Path, deep: bool) {
        if self.watched.contains(path) {
            return;
        }
        let Some(watcher) = self.watcher() else { return };
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
