//! Files that were deleted and that a process holds open: their space comes back only when it closes them. All
//! descriptors of all processes are gone through, seldom.

use super::{Context, Source, Work};
use crate::config::{Config, Deleted};
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Asleep, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::Proc;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, ProcessRef, Value};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RULE: &str = "deleted.held";
/// Most descriptors that are looked at in one look.
const DESCRIPTORS_MAX: usize = 1_000_000;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.deleted.clone();
    let wanted = *config.mib > 0;
    let source = Held { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Held {
    config: Deleted,
    afresh: Afresh,
}

impl Source for Held {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let watched = Watched { config: self.config, proc: Proc::default(), size: size_of };
            rounds::run(watched, Asleep, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    config: Deleted,
    proc: Proc,
    /// Returns the bytes of the file system at a mount point.
    size: fn(&str) -> Option<u64>,
}

fn size_of(mount: &str) -> Option<u64> {
    let stat = rustix::fs::statvfs(mount).ok()?;
    Some(stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// What one program holds on one file system.
#[derive(Clone, Debug)]
struct Holding {
    bytes: u64,
    files: u64,
    /// The biggest of them, and who holds it.
    biggest: (u64, u32, String, u64),
}

impl Watched {
    /// Returns the mount points by their device.
    fn mounts(&self) -> BTreeMap<u64, String> {
        let table = self.proc.read("1/mountinfo").or_else(|_| self.proc.read("self/mountinfo"));
        let one = |line: &str| {
            let mut fields = line.split(' ').skip(2);
            let (major, minor) = fields.next()?.split_once(':')?;
            let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
            Some((device, fields.nth(1)?.to_owned()))
        };
        let text = table.unwrap_or_default();
        let mut mounts: BTreeMap<u64, String> = BTreeMap::new();
        for (device, point) in text.lines().filter_map(one) {
            // Of several places of one device the shortest stands for all.
            let known = mounts.entry(device).or_insert_with(|| point.clone());
            if point.len() < known.len() {
                *known = point;
            }
        }
        mounts
    }

    /// Returns what is held, by file system and by unit, or by process where there is no unit.
    fn holdings(&self, mounts: &BTreeMap<u64, String>) -> BTreeMap<(u64, String), Holding> {
        let mut holdings: BTreeMap<(u64, String), Holding> = BTreeMap::new();
        let mut counted: std::collections::BTreeSet<(u64, u64)> = std::collections::BTreeSet::new();
        let mut looked = 0;
        for pid in self.proc.pids() {
            let mut who = None;
            let folder = self.proc.path(&format!("{pid}/fd"));
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                looked += 1;
                if looked > DESCRIPTORS_MAX {
                    return holdings;
                }
                let Some((metadata, path)) = deleted(&entry.path()) else { continue };
                // Several processes may hold the same file; the first stands for all.
                let file = (metadata.dev(), metadata.ino());
                if !mounts.contains_key(&metadata.dev()) || !counted.insert(file) {
                    continue;
                }
                let who = who.get_or_insert_with(|| {
                    self.proc.unit(pid).map_or_else(|| pid.to_string(), |unit| unit.to_string())
                });
                let bytes = metadata.blocks() * 512;
                let holding = holdings.entry((metadata.dev(), who.clone())).or_insert(Holding {
                    bytes: 0,
                    files: 0,
                    biggest: (0, pid, String::new(), 0),
                });
                holding.bytes += bytes;
                holding.files += 1;
                if bytes >= holding.biggest.0 {
                    holding.biggest = (bytes, pid, path, metadata.ino());
                }
            }
        }
        holdings
    }

    fn fault(&self, mount: &str, holding: &Holding, percent: u64) -> Option<Fault> {
        let (_, pid, path, inode) = &holding.biggest;
        let (path, mount) = (AbsPath::new(path.as_str()).ok()?, AbsPath::new(mount).ok()?);
        let name = self.proc.name(*pid);
        let (files, mib) = (holding.files, holding.bytes >> 20);
        let text = format!(
            "{name} (process {pid}) holds {mib} MiB of {mount} in {files} deleted files ({percent} %)"
        );
        let subject = Subject::Path(path.clone());
        let mut fault = Fault::new(RULE, "filesystem.held", subject, Severity::Warning, text);
        self.proc.add(&mut fault, *pid);
        let stat = self.proc.stat(*pid, &mut Vec::new())?;
        fault.field("held_process", Value::Process(ProcessRef { pid: *pid, start_ticks: stat.start_ticks }));
        fault.field("mount", Value::Path(mount));
        fault.field("held_path", Value::Path(path.clone()));
        fault.integer("held_inode", *inode);
        fault.integer("held_bytes", holding.bytes >> 20 << 20);
        fault.integer("files", files);
        // Where the file system is full of it, that is the fault, and this its reason.
        fault.depends_on(Subject::Path(path));
        Some(fault)
    }
}

/// Returns what a descriptor is of, if that is a deleted file.
fn deleted(descriptor: &Path) -> Option<(Metadata, String)> {
    let link = fs::read_link(descriptor).ok()?;
    let path = link.to_str()?.strip_suffix(" (deleted)")?.to_owned();
    let metadata = fs::metadata(descriptor).ok()?;
    (metadata.is_file() && metadata.nlink() == 0).then_some((metadata, path))
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let mounts = self.mounts();
        if mounts.is_empty() {
            seen.blind.push("the list of mounts cannot be read".into());
        }
        for ((device, _), holding) in self.holdings(&mounts) {
            let Some(mount) = mounts.get(&device) else { continue };
            if holding.bytes < u64::from(*self.config.mib) << 20 {
                continue;
            }
            let Some(size) = (self.size)(mount).filter(|size| *size > 0) else { continue };
            let percent = holding.bytes.saturating_mul(100) / size;
            if percent >= u64::from(*self.config.percent)
                && let Some(fault) = self.fault(mount, &holding, percent)
            {
                seen.hold(fault, Duration::ZERO);
            }
        }
        seen
    }

    fn wait(&self) -> Duration {
        self.config.every.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;
    use std::io::Write;

    #[test]
    fn what_this_process_holds_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("big.log");
        let mut file = fs::File::create(&path).expect("made");
        file.write_all(&vec![7; 3 << 20]).expect("written");
        file.sync_all().expect("on disk");
        let config = Deleted { mib: At::of(2), percent: At::of(20), ..Deleted::default() };
        let mut watched = Watched { config, proc: Proc::default(), size: |_| Some(10 << 20) };
        let held = |watched: &mut Watched| {
            let seen = watched.look();
            let own = seen.holds.into_iter().find(|(f, _)| f.subject.to_string().ends_with("/big.log"));
            own.map(|(fault, _)| fault)
        };
        assert!(held(&mut watched).is_none(), "it is not deleted");
        fs::remove_file(&path).expect("removed");
        let fault = held(&mut watched).expect("it is held");
        let field =
            |name: &str| fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string());
        assert_eq!(field("held_path"), Some(path.display().to_string()));
        assert!(field("held_process").expect("known").starts_with(&format!("{}@", std::process::id())));
        assert_eq!(fault.depends_on, std::slice::from_ref(&fault.subject), "a full file system comes first");
        watched.size = |_| Some(100 << 20);
        assert!(held(&mut watched).is_none(), "it is only 3 %");
        watched.size = |_| Some(10 << 20);
        watched.config.mib = At::of(4);
        assert!(held(&mut watched).is_none(), "it is not so much");
        drop(file);
        watched.config.mib = At::of(2);
        assert!(held(&mut watched).is_none(), "it is closed");
    }
}
