//! Caches and other folders whose files anybody may take away, by what they say of themselves: the mark of
//! <https://bford.info/cachedir/>, or a name that by custom means nothing else. Looked for where the administrator named
//! nothing that may go.

use super::mounts::{Usage, called};
use super::walk::Folder;
use crate::watcher::report::Fault;
use sopwith_domain::value::{AbsPath, Value};
use std::fs;
use std::io::Read;
use std::path::Path;

const MARK: &str = "CACHEDIR.TAG";
const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
/// Share of what is used from which a folder is to blame, in percent.
const SHARE_PERCENT: u64 = 30;
const FILES_MIN: u64 = 100;

/// What makes it a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It says so itself.
    Marked,
    Named,
    /// Of temporary files or sessions: somebody may be at work with them.
    Temporary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Marked => "marked",
            Self::Named => "named",
            Self::Temporary => "temporary",
        }
    }
}

/// A folder whose files may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cache {
    path: AbsPath,
    kind: Kind,
    files: u64,
    bytes: u64,
}

impl Cache {
    pub(super) fn add(&self, fault: &mut Fault) {
        fault.field("cache_directory", Value::Path(self.path.clone()));
        fault.word("cache_kind", self.kind.word());
        fault.integer("cache_files", self.files);
        let text =
            format!("{} ({}): {} files, {} MiB", self.path, self.kind.word(), self.files, self.bytes >> 20);
        fault.show("files that may go", &text);
    }
}

fn kind(folder: &Path) -> Option<Kind> {
    let mut head = Vec::new();
    let mark = fs::File::open(folder.join(MARK)).and_then(|f| f.take(64).read_to_end(&mut head));
    if mark.is_ok() && head.starts_with(SIGNATURE) {
        return Some(Kind::Marked);
    }
    match folder.file_name()?.to_str()? {
        "cache" | ".cache" | "caches" => Some(Kind::Named),
        "tmp" | "temp" | "sessions" | "session" | "thumbnails" => Some(Kind::Temporary),
        _ => None,
    }
}

/// The folder with the most plain files right in it, of those that are to blame for a good share of what is used, and
/// whose files may go.
#[derive(Debug)]
pub(super) struct Biggest<'a> {
    mount: &'a Path,
    usage: &'a Usage,
    pub best: Option<Cache>,
}

impl<'a> Biggest<'a> {
    pub(super) fn of(mount: &'a Path, usage: &'a Usage) -> Self {
        Self { mount, usage, best: None }
    }

    pub(super) fn take(&mut self, folder: &Folder) {
        let (files, bytes) = (folder.files.len() as u64, folder.bytes());
        if self.best.as_ref().is_some_and(|best| best.files >= files) || !to_blame(files, bytes, self.usage) {
            return;
        }
        // What lies at the very top is the file system's own, whatever it is called.
        let may_go = |kind: &Kind| *kind == Kind::Marked || folder.path != self.mount;
        let Some(kind) = kind(&folder.path).filter(may_go) else { return };
        let path = called(&folder.path).to_str().and_then(|path| AbsPath::new(path).ok());
        self.best = path.map(|path| Cache { path, kind, files, bytes }).or(self.best.take());
    }
}

fn to_blame(files: u64, bytes: u64, usage: &Usage) -> bool {
    let share = |part: u64, whole: u64| {
        whole > 0 && u128::from(part) * 100 >= u128::from(whole) * u128::from(SHARE_PERCENT)
    };
    files >= FILES_MIN && (share(files, usage.inodes_used) || share(bytes, usage.used_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::walk::walk;
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn only_what_says_so_is_a_cache_and_only_where_it_is_to_blame() {
        for (name, mark, files, used, expected) in [
            ("pages", "", 200, 300, None),
            ("cache", "", 200, 300, Some(Kind::Named)),
            ("cache", "", 99, 100, None),
            ("cache", "", 200, 10_000, None),
            ("pages", "Signature: 8a477f597d28d172789f06886806bc55\n", 200, 300, Some(Kind::Marked)),
            ("pages", "Signature: of somebody else", 200, 300, None),
            ("sessions", "", 200, 300, Some(Kind::Temporary)),
        ] {
            let root = tempfile::tempdir().expect("a folder");
            let folder = root.path().join("app").join(name);
            fs::create_dir_all(&folder).expect("made");
            if !mark.is_empty() {
                fs::write(folder.join(MARK), mark).expect("written");
            }
            (0..files).for_each(|n| fs::write(folder.join(format!("f{n}")), "").expect("written"));
            let device = fs::metadata(&folder).expect("there").dev();
            let usage = Usage { inodes_used: used, used_bytes: 1 << 40, ..Usage::default() };
            let mut biggest = Biggest::of(root.path(), &usage);
            walk(root.path(), device, |folder| biggest.take(folder));
            let found = biggest.best;
            assert_eq!(found.as_ref().map(|cache| cache.kind), expected, "{name} {mark} {files} of {used}");
            let path = found.map(|cache| cache.path.to_string());
            assert!(path.is_none_or(|path| path == folder.to_string_lossy()));
        }
    }
}
