//! What the host's administrator says of it in `host.d/*.yaml`, read live and passed to the server. A file that cannot
//! be read, trusted or understood is a fault of its own, because nothing runs on the host until it is mended. The
//! runner reads the folder itself and does not rely on this.

use super::{Context, Source, SourceFailed, Work};
use crate::config::Config;
use crate::watcher::clock;
use crate::watcher::report::{Fault, Report, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use rustix::process::geteuid;
use sopwith_domain::declaration::{DECLARATIONS_MAX, Declaration, Declarations};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::time::Timestamp;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest file of declarations, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most reasons that are told of broken files.
const BROKEN_MAX: usize = 32;
/// How often the folder is read where the kernel tells nothing.
const EVERY: Duration = Duration::from_secs(5);
const RULE: &str = "host.declarations";
/// Bits of a mode that let a group or everybody write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let folder = config.declarations_dir.path().to_owned();
    Some(Box::new(HostFolder { folder, afresh: context.afresh.clone() }))
}

struct HostFolder {
    folder: PathBuf,
    afresh: Afresh,
}

impl Source for HostFolder {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move { self.follow(&sink, &stop).await })
    }
}

impl HostFolder {
    async fn follow(&self, sink: &Sink, stop: &CancellationToken) -> Result<(), SourceFailed> {
        let mut wake = Wake::new();
        let mut known: Option<Declarations> = None;
        let mut looked_at = clock::now();
        loop {
            wake.forget_missing();
            wake.watch(&self.folder, false);
            let folder = self.folder.clone();
            let read = tokio::task::spawn_blocking(move || read(&folder));
            let stated = read.await.map_err(|e| SourceFailed::new("read the declarations", &e))?;
            let now = clock::now();
            let first = known.is_none();
            let changed = known.as_ref() != Some(&stated);
            if changed {
                let reports = vec![Report::Declared(stated.clone()), condition(&stated)];
                sink.report_all(reports).await?;
            }
            if changed && !first || boundaries(&stated).any(|at| looked_at < at && at <= now) {
                sink.report(Report::LookedAfresh).await?;
                self.afresh.ask();
            }
            if first {
                sink.settled().await?;
            }
            let next = boundaries(&stated).filter(|at| *at > now).min();
            let wait = next.map_or(EVERY, |at| {
                Duration::from_millis(u64::try_from(at.since(now)).unwrap_or(0)).min(EVERY)
            });
            (known, looked_at) = (Some(stated), now);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = wake.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// Returns when a statement begins or ends to count.
fn boundaries(stated: &Declarations) -> impl Iterator<Item = Timestamp> + '_ {
    stated
        .stated
        .iter()
        .flat_map(|declaration| match declaration {
            Declaration::Maintenance { from, to, .. } | Declaration::Expected { from, to, .. } => {
                [Some(*from), Some(*to)]
            }
            Declaration::Hold { until, .. } => [*until, None],
            _ => [None, None],
        })
        .flatten()
}

fn condition(stated: &Declarations) -> Report {
    if stated.broken.is_empty() {
        return Report::over(RULE, Subject::Host);
    }
    let text = format!("nothing runs on this host until its declarations are mended: {}", stated.broken[0]);
    let mut fault = Fault::new(RULE, "declaration.broken", Subject::Host, Severity::Critical, text);
    fault.show("files that cannot be used", &stated.broken.join("\n"));
    Report::holds(fault, Tolerance::NONE)
}

/// Reads all `*.yaml` of the folder, each a list of declarations. A folder that is not there states nothing.
pub(super) fn read(folder: &Path) -> Declarations {
    let mut found = Declarations::default();
    match files(folder) {
        Err(reason) => found.broken.push(reason),
        Ok(paths) => {
            for path in paths {
                match file(&path) {
                    Ok(stated) => found.stated.extend(stated),
                    Err(reason) => found.broken.push(format!("{}: {reason}", path.display())),
                }
            }
        }
    }
    if found.stated.len() > DECLARATIONS_MAX {
        found.broken.push(format!("{} declarations, at most {DECLARATIONS_MAX}", found.stated.len()));
        found.stated.truncate(DECLARATIONS_MAX);
    }
    found.broken.truncate(BROKEN_MAX);
    found
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(&e)),
    };
    let metadata = std::fs::metadata(folder).map_err(|e| failed(&e))?;
    trusted(&metadata).map_err(|e| failed(&e))?;
    let paths = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(|e| failed(&e))?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    Ok(paths)
}

fn file(path: &Path) -> Result<Vec<Declaration>, String> {
    let opened = File::open(path).map_err(|e| e.to_string())?;
    let metadata = opened.metadata().map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    trusted(&metadata)?;
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    sopwith_domain::yaml::from_str(&text).map_err(|e| e.to_string())
}

/// Only root, or the user of the agent where it runs without root, may state something.
fn trusted(metadata: &std::fs::Metadata) -> Result<(), String> {
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(format!("it belongs to user {}, not to root", metadata.uid()));
    }
    let sticky_folder = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 && !sticky_folder {
        return Err(format!("others than its owner can write it (mode {:04o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_file_is_read_or_broken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yaml");
        assert_eq!(read(&folder.path().join("absent")), Declarations::default());
        for (text, stated, broken) in [
            ("", 0, 0),
            ("- {kind: hold, scope: [host], by: a, reason: b}", 1, 0),
            ("- {kind: fact, name: role, value: web}\n- {kind: account, name: a, human: true}", 2, 0),
            ("- {kind: hold, scope: [host], by: a", 0, 1),
            ("- {kind: unknown}", 0, 1),
            ("kind: hold", 0, 1),
            ("\u{0}", 0, 1),
        ] {
            std::fs::write(&path, text).expect("written");
            std::fs::write(folder.path().join("ignored.txt"), "::::").expect("written");
            let found = read(folder.path());
            assert_eq!((found.stated.len(), found.broken.len()), (stated, broken), "{text:?}: {found:?}");
        }
        std::fs::write(&path, "").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("chmod");
        assert_eq!(read(folder.path()).broken.len(), 1);
    }

    #[test]
    fn windows_begin_and_end() {
        let text = "- {kind: maintenance, id: m, scope: [host], from: 2026-01-01T00:00:00Z, to: 2026-01-02T00:00:00Z, by: a, reason: b}\n- {kind: hold, scope: [host], by: a, reason: b, until: 2026-01-03T00:00:00Z}\n- {kind: hold, scope: [host], by: a, reason: b}";
        let stated = Declarations {
            stated: sopwith_domain::yaml::from_str(text).expect("it parses"),
            broken: Vec::new(),
        };
        let at: Vec<_> = boundaries(&stated).map(|at| at.to_string()).collect();
        assert_eq!(at, ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    }
}
