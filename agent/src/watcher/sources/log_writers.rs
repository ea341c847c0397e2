//! Logs whose writer has lost them: the file was moved away or deleted under a service that keeps it open and writes on
//! into the old one. Of all declared logs, those that are gone or have not grown lately are looked for among the open
//! files of services.

use super::{Context, Source, Work};
use crate::config::Config;
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Asleep, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::Proc;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, UnitName, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RULE: &str = "logs.lost";
const EVERY: Duration = Duration::from_secs(10);
/// One that was written to so lately has its writer.
const GROWN: Duration = Duration::from_secs(10);
/// Somebody who rotates tells the writer right after; only what lasts is a fault.
const LASTS: Duration = Duration::from_secs(15);
/// Most descriptors that are looked at in one look.
const DESCRIPTORS_MAX: usize = 200_000;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let plain = |path: &AbsPath| !path.as_str().contains(['*', '?', '[']);
    let paths = config.logs.iter().flat_map(|log| &log.paths).map(|path| (**path).clone());
    let paths: BTreeSet<AbsPath> = paths.filter(plain).collect();
    let wanted = !paths.is_empty();
    let source = Writers { paths, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Writers {
    paths: BTreeSet<AbsPath>,
    afresh: Afresh,
}

impl Source for Writers {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let watched = Watched { paths: self.paths, proc: Proc::default() };
            rounds::run(watched, Asleep, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    paths: BTreeSet<AbsPath>,
    proc: Proc,
}

/// Who writes to what a log was.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Writer {
    pid: u32,
    unit: UnitName,
    /// Where the file is now; of one that was deleted, where it was.
    into: PathBuf,
    deleted: bool,
}

impl Watched {
    /// Returns the logs that are not there, or at which nothing happens.
    fn quiet(&self) -> Vec<&AbsPath> {
        let grown = |path: &AbsPath| {
            let written = fs::metadata(path.as_str()).and_then(|m| m.modified()).ok();
            written.and_then(|at| at.elapsed().ok()).is_some_and(|ago| ago < GROWN)
        };
        self.paths.iter().filter(|path| !Path::new(path.as_str()).is_dir() && !grown(path)).collect()
    }

    /// Finds the services that write to what the logs were, and to none that has their name.
    fn lost<'p>(&self, paths: &[&'p AbsPath]) -> BTreeMap<&'p AbsPath, Writer> {
        let mut lost: BTreeMap<&AbsPath, Writer> = BTreeMap::new();
        let mut served: BTreeSet<&AbsPath> = BTreeSet::new();
        let mut looked = 0;
        for pid in self.proc.pids() {
            let mut unit = None;
            for entry in fs::read_dir(self.proc.path(&format!("{pid}/fd"))).into_iter().flatten().flatten() {
                looked += 1;
                if looked > DESCRIPTORS_MAX {
                    return BTreeMap::new();
                }
                let Ok(link) = fs::read_link(entry.path()) else { continue };
                let Some((path, deleted)) =
                    paths.iter().find_map(|path| was(path, &link).map(|d| (*path, d)))
                else {
                    continue;
                };
                if !self.for_writing(pid, &entry.file_name()) {
                    continue;
                }
                let unit = unit.get_or_insert_with(|| {
                    self.proc.unit(pid).filter(|unit| unit.as_str().ends_with(".service"))
                });
                match (deleted, unit) {
                    (None, _) => drop(served.insert(path)),
                    (Some(deleted), Some(unit)) => {
                        let writer = Writer { pid, unit: unit.clone(), into: link, deleted };
                        lost.entry(path).or_insert(writer);
                    }
                    (Some(_), None) => {}
                }
            }
        }
        lost.retain(|path, _| !served.contains(path));
        lost
    }

    fn for_writing(&self, pid: u32, descriptor: &std::ffi::OsStr) -> bool {
        let info = self.proc.path(&format!("{pid}/fdinfo")).join(descriptor);
        let text = fs::read_to_string(info).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        // O_WRONLY or O_RDWR.
        flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).is_some_and(|flags| flags & 0o3 != 0)
    }

    fn fault(&self, path: &AbsPath, writer: &Writer) -> Fault {
        let (name, pid, unit) = (self.proc.name(writer.pid), writer.pid, &writer.unit);
        let (reason, into) = match writer.deleted {
            true => ("deleted", "a deleted file".to_owned()),
            false => ("moved", writer.into.display().to_string()),
        };
        let text = format!("{unit} has lost its log {path}: {name} (process {pid}) writes into {into}");
        let mut fault = Fault::new(RULE, "log.lost", Subject::Path(path.clone()), Severity::Warning, text);
        self.proc.add(&mut fault, pid);
        fault.field("unit", Value::Unit(unit.clone()));
        fault.field("path", Value::Path(path.clone()));
        fault.word("reason", reason);
        fault
    }
}

/// Says whether a descriptor is of the log itself (nothing more), or of what it was: moved away under a longer name, or
/// deleted.
fn was(path: &AbsPath, link: &Path) -> Option<Option<bool>> {
    let rest = link.to_str()?.strip_prefix(path.as_str())?;
    match rest {
        "" => Some(None),
        " (deleted)" => Some(Some(true)),
        rest if rest.starts_with(['.', '-', '_', '~']) && !rest.contains('/') => {
            Some(Some(rest.ends_with(" (deleted)")))
        }
        _ => None,
    }
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let quiet = self.quiet();
        if quiet.is_empty() {
            return seen;
        }
        for (path, writer) in self.lost(&quiet) {
            seen.hold(self.fault(path, &writer), LASTS);
        }
        seen
    }

    fn wait(&self) -> Duration {
        EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_that_a_log_goes_on_under() {
        let path = AbsPath::new("/var/log/a.log").expect("a path");
        for (link, expected) in [
            ("/var/log/a.log", Some(None)),
            ("/var/log/a.log.1", Some(Some(false))),
            ("/var/log/a.log-20260101", Some(Some(false))),
            ("/var/log/a.log (deleted)", Some(Some(true))),
            ("/var/log/a.log.1 (deleted)", Some(Some(true))),
            ("/var/log/a.logs", None),
            ("/var/log/a.log.d/b", None),
            ("/var/log/b.log", None),
        ] {
            assert_eq!(was(&path, Path::new(link)), expected, "{link}");
        }
    }

    #[test]
    fn a_writer_is_lost_while_nobody_writes_to_the_log_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let open = |pid: u32, fd: u32, link: &str, flags: &str| {
            for part in ["fd", "fdinfo"] {
                fs::create_dir_all(root.join(format!("{pid}/{part}"))).expect("made");
            }
            fs::write(root.join(format!("{pid}/comm")), "worker\n").expect("written");
            fs::write(root.join(format!("{pid}/cgroup")), format!("0::/system.slice/s{pid}.service\n"))
                .expect("written");
            symlink(link, root.join(format!("{pid}/fd/{fd}"))).expect("linked");
            let info = format!("pos:\t0\nflags:\t{flags}\n");
            fs::write(root.join(format!("{pid}/fdinfo/{fd}")), info).expect("written");
        };
        let log = root.join("a.log").to_string_lossy().into_owned();
        let path = AbsPath::new(log.as_str()).expect("a path");
        let mut watched = Watched { paths: BTreeSet::from([path]), proc: Proc::at(root) };
        open(10, 3, &format!("{log}.1"), "0100000");
        let told = |watched: &mut Watched| -> Vec<String> {
            watched.look().holds.iter().map(|(fault, _)| fault.summary.clone()).collect()
        };
        assert!(told(&mut watched).is_empty(), "who reads an old log has lost nothing");
        open(11, 3, &format!("{log}.1"), "0102001");
        let text = told(&mut watched);
        assert_eq!(text.len(), 1);
        assert!(text[0].starts_with("s11.service has lost its log"), "{text:?}");
        fs::write(&log, "x").expect("written");
        assert!(told(&mut watched).is_empty(), "it grows");
        let old = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        fs::File::options().write(true).open(&log).and_then(|f| f.set_times(old)).expect("set");
        assert_eq!(told(&mut watched).len(), 1);
        open(12, 4, &log, "0102001");
        assert!(told(&mut watched).is_empty(), "another one writes to it");
    }
}
