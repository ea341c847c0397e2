//! Files of the kernel that tell by themselves when something changed: they are polled for priority, not for
//! reading. What changed is found by looking.

use super::rounds::Waking;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime follow a descriptor.
///
/// # Errors
/// The kernel does not tell of such a file.
#[expect(
    deprecated,
    reason = "the newer call is unsafe, for types that can swap their descriptor; these two cannot"
)]
pub fn registered<T: Descriptor>(file: T, interest: Interest) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(file, interest)
}

/// What keeps its one descriptor open as long as it lives.
pub trait Descriptor: AsRawFd {}
impl Descriptor for File {}
impl Descriptor for OwnedFd {}

/// Files that wake a source.
#[derive(Debug, Default)]
pub struct Notices(Vec<AsyncFd<File>>);

impl Notices {
    /// Adds a file that was opened.
    ///
    /// # Errors
    /// The kernel does not tell of this file.
    pub fn add(&mut self, file: File) -> std::io::Result<()> {
        self.0.push(registered(file, Interest::PRIORITY)?);
        Ok(())
    }

    /// Adds a file by its path; where it tells nothing, only the intervals count.
    pub fn add_path(&mut self, path: &Path) {
        let added = File::open(path).and_then(|file| self.add(file));
        if let Err(e) = added {
            tracing::debug!("{} is looked at at intervals only: {e}", path.display());
        }
    }
}

impl Waking for Notices {
    async fn woken(&mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let ready = self.0.iter().map(|file| Box::pin(file.ready(Interest::PRIORITY)));
        let (done, _, others) = futures_util::future::select_all(ready).await;
        drop(others);
        match done {
            Ok(mut guard) => guard.clear_ready(),
            // The reactor is gone with the runtime.
            Err(_) => std::future::pending().await,
        }
    }
}
