//! The tree of control groups: what each counts, and being told when a count changes.

use super::Touched;
use crate::watcher::notices::registered;
use crate::watcher::rounds::Waking;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most groups that are watched and counted.
const GROUPS_MAX: usize = 4096;
/// Deepest group below the root.
const DEPTH_MAX: usize = 12;
/// Room for the notices that are read at once, in bytes.
const NOTICES_BYTES: usize = 4096;

/// Where the memory of groups is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tree {
    Second(PathBuf),
    First(PathBuf),
    None,
}

impl Tree {
    pub(super) fn find(root: &Path) -> Self {
        if root.join("cgroup.controllers").exists() {
            Self::Second(root.into())
        } else if root.join("memory").is_dir() {
            Self::First(root.join("memory"))
        } else {
            Self::None
        }
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }

    fn root(&self) -> Option<&Path> {
        match self {
            Self::Second(root) | Self::First(root) => Some(root),
            Self::None => None,
        }
    }

    /// Says whether there is such a group.
    pub(super) fn holds(&self, group: &Path) -> bool {
        self.root().is_some_and(|root| root.join(group).is_dir())
    }

    /// Returns what each group counts for itself.
    pub(super) fn counts(&self) -> BTreeMap<PathBuf, u64> {
        let Some(root) = self.root() else { return BTreeMap::new() };
        let mut counts = BTreeMap::new();
        for group in groups(root) {
            if let Some(count) = self.count(&root.join(&group)) {
                counts.insert(group, count);
            }
        }
        counts
    }

    fn count(&self, folder: &Path) -> Option<u64> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let text = match self {
            Self::Second(_) => read("memory.events.local").or_else(|| read("memory.events"))?,
            _ => read("memory.oom_control")?,
        };
        text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
    }
}

/// Returns all groups below a root, as paths from it.
fn groups(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut at = 0;
    while at < found.len() && found.len() < GROUPS_MAX {
        let folder = root.join(&found[at]);
        if found[at].components().count() < DEPTH_MAX {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && found.len() < GROUPS_MAX {
                    let inner = found[at].join(entry.file_name());
                    found.push(inner);
                }
            }
        }
        at += 1;
    }
    found
}

/// Tells of groups whose counts change. Where the kernel tells nothing, only the intervals count.
#[derive(Debug)]
pub(super) struct Notified {
    notices: Option<AsyncFd<OwnedFd>>,
    root: PathBuf,
    /// What each watch is of: a group, and whether of its folder or of its counts.
    watches: HashMap<i32, (PathBuf, bool)>,
    touched: Touched,
}

impl Notified {
    pub(super) fn start(tree: &Tree, touched: Touched) -> Self {
        let none = Self { notices: None, root: PathBuf::new(), watches: HashMap::new(), touched };
        let Tree::Second(root) = tree else { return none };
        let Ok(notices) = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) else { return none };
        let Ok(notices) = registered(notices, Interest::READABLE) else { return none };
        let mut notified = Self { notices: Some(notices), root: root.clone(), ..none };
        groups(root).into_iter().for_each(|group| notified.watch(group));
        notified
    }

    fn watch(&mut self, group: PathBuf) {
        let Some(notices) = &self.notices else { return };
        if self.watches.len() >= 2 * GROUPS_MAX {
            return;
        }
        let folder = self.root.join(&group);
        let new = WatchFlags::CREATE | WatchFlags::ONLYDIR;
        if let Ok(watch) = inotify::add_watch(notices.get_ref(), &folder, new) {
            self.watches.insert(watch, (group.clone(), true));
        }
        if let Ok(watch) =
            inotify::add_watch(notices.get_ref(), folder.join("memory.events"), WatchFlags::MODIFY)
        {
            self.watches.insert(watch, (group, false));
        }
    }

    /// Takes the notices that wait; says whether a count changed.
    fn take(&mut self) -> bool {
        let (mut counts, mut made) = (false, Vec::new());
        let mut room = [MaybeUninit::uninit(); NOTICES_BYTES];
        let Some(notices) = &self.notices else { return false };
        let mut reader = inotify::Reader::new(notices.get_ref(), &mut room);
        while let Ok(notice) = reader.next() {
            let events = notice.events();
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                counts = true;
            } else if events.contains(ReadFlags::IGNORED) {
                self.watches.remove(&notice.wd());
            } else if let Some((group, folder)) = self.watches.get(&notice.wd()) {
                match (folder, notice.file_name()) {
                    (true, Some(name)) if events.contains(ReadFlags::ISDIR) => {
                        made.push(group.join(name.to_string_lossy().as_ref()));
                    }
                    (false, _) => {
                        self.touched.add(group.clone());
                        counts = true;
                    }
                    _ => {}
                }
            }
        }
        made.into_iter().for_each(|group| self.watch(group));
        counts
    }
}

impl Waking for Notified {
    async fn woken(&mut self) {
        loop {
            let Some(notices) = &self.notices else { return std::future::pending().await };
            match notices.readable().await {
                // The kernel says again that it can be read if more came meanwhile.
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return std::future::pending().await,
            }
            if self.take() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_changed_count_wakes_and_says_whose() {
        let folder = tempfile::tempdir().expect("a folder");
        let group = folder.path().join("system.slice/a.service");
        std::fs::create_dir_all(&group).expect("made");
        std::fs::write(folder.path().join("cgroup.controllers"), "memory").expect("written");
        std::fs::write(group.join("memory.events"), "oom_kill 0\n").expect("written");
        let tree = Tree::find(folder.path());
        let touched = Touched::default();
        let mut notified = Notified::start(&tree, touched.clone());
        assert!(notified.notices.is_some(), "the kernel gives notices");
        std::fs::write(group.join("memory.events"), "oom_kill 1\n").expect("written");
        notified.woken().await;
        assert_eq!(touched.take(), [PathBuf::from("system.slice/a.service")]);
        assert_eq!(tree.counts()[Path::new("system.slice/a.service")], 1);
    }
}
