//! Core dumps that pile up: more than so many of one program within a time, in the folder that the kernel or systemd
//! writes them to and in those that the administrator names. Changes of the folders wake it.

use super::{Context, Source, Work};
use crate::config::{Config, Cores};
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::Proc;
use crate::watcher::wake::Wake;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

const RULE: &str = "cores.piling";
const EVERY: Duration = Duration::from_secs(60);
/// Where systemd-coredump keeps them.
const SYSTEMD: &str = "/var/lib/systemd/coredump";
/// Most files of a folder that are looked at.
const FILES_MAX: usize = 20_000;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.cores.clone();
    let wanted = *config.per_program > 0;
    let source = Dumps { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Dumps {
    config: Cores,
    afresh: Afresh,
}

impl Source for Dumps {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let watched = Watched { config: self.config, proc: Proc::default(), systemd: SYSTEMD.into() };
            let mut wake = Wake::new();
            watched.folders().iter().for_each(|folder| wake.watch(folder, false));
            rounds::run(watched, wake, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    config: Cores,
    proc: Proc,
    systemd: PathBuf,
}

/// Dumps of one program.
#[derive(Clone, Debug)]
struct Dumped {
    count: u64,
    bytes: u64,
    newest: (SystemTime, PathBuf),
}

impl Watched {
    /// Returns the folders to look at: what the kernel's own pattern names may be on any host.
    fn folders(&self) -> Vec<PathBuf> {
        let pattern = self.proc.read("sys/kernel/core_pattern").unwrap_or_default();
        let own = pattern_folder(pattern.trim());
        let configured = self.config.directories.iter().map(|folder| folder.path().to_owned());
        let mut all: Vec<PathBuf> = own.into_iter().chain([self.systemd.clone()]).chain(configured).collect();
        all.sort();
        all.dedup();
        all
    }

    fn piling(&self, folder: &Path, now: SystemTime) -> std::io::Result<Option<Fault>> {
        let mut programs: BTreeMap<String, Dumped> = BTreeMap::new();
        for entry in std::fs::read_dir(folder)?.flatten().take(FILES_MAX) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(program) = program_of(&name) else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let young = now.duration_since(written).is_ok_and(|age| age <= self.config.within.0);
            if !metadata.is_file() || !young {
                continue;
            }
            let newest = (written, entry.path());
            let dumped = programs.entry(program.to_owned()).or_insert_with(|| Dumped {
                count: 0,
                bytes: 0,
                newest: newest.clone(),
            });
            dumped.count += 1;
            dumped.bytes += metadata.len();
            dumped.newest = dumped.newest.clone().max(newest);
        }
        let worst = programs.into_iter().max_by_key(|(_, dumped)| dumped.count);
        let worst = worst.filter(|(_, dumped)| dumped.count > u64::from(*self.config.per_program));
        Ok(worst.and_then(|(program, dumped)| self.fault(folder, &program, &dumped)))
    }

    fn fault(&self, folder: &Path, program: &str, dumped: &Dumped) -> Option<Fault> {
        let folder = AbsPath::new(folder.to_str()?).ok()?;
        let within_s = self.config.within.0.as_secs();
        let count = dumped.count;
        let text = format!("{count} core dumps of {program} within {within_s} s in {folder}");
        let subject = Subject::Path(folder.clone());
        let mut fault = Fault::new(RULE, "cores.piling", subject, Severity::Warning, text);
        fault.field("directory", Value::Path(folder.clone()));
        fault.word("program", program);
        fault.integer("count", count);
        fault.integer("bytes", dumped.bytes);
        fault.integer("within_s", within_s);
        if let Some(newest) = dumped.newest.1.to_str().and_then(|path| AbsPath::new(path).ok()) {
            fault.field("newest", Value::Path(newest));
        }
        // Where they fill the file system, that is the fault.
        fault.depends_on(Subject::Path(folder));
        Some(fault)
    }
}

/// Returns the folder of an absolute pattern. A pattern that is a program, or a bare name, says nothing of where.
fn pattern_folder(pattern: &str) -> Option<PathBuf> {
    let folder = Path::new(pattern).parent().filter(|_| pattern.starts_with('/'))?;
    (!folder.to_string_lossy().contains('%')).then(|| folder.to_owned())
}

/// Returns the program of a dump's name: `core.PROGRAM.…`, `core-PROGRAM-…`, or just `core`.
fn program_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("core")?;
    let program = match rest.chars().next() {
        None => "core",
        Some(divider @ ('.' | '-' | '_')) => rest[1..].split(divider).next()?,
        Some(_) => return None,
    };
    // A number is that of the process, which tells nothing.
    let number = program.bytes().all(|byte| byte.is_ascii_digit());
    Some(if number { "core" } else { program })
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let now = SystemTime::now();
        for folder in self.folders() {
            match self.piling(&folder, now) {
                Ok(Some(fault)) => seen.hold(fault, Duration::ZERO),
                Ok(None) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => seen.blind.push(format!("failed to look at {}: {e}", folder.display())),
            }
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
    use std::fs;

    #[test]
    fn names_and_patterns() {
        for (name, program) in [
            ("core.python3.999.boot.1.17.zst", Some("python3")),
            ("core-nginx-11-0", Some("nginx")),
            ("core.4711", Some("core")),
            ("core", Some("core")),
            ("corefile", None),
            ("x.core", None),
        ] {
            assert_eq!(program_of(name), program, "{name}");
        }
        for (pattern, folder) in [
            ("core", None),
            ("|/lib/systemd/systemd-coredump %P", None),
            ("/var/crash/core.%e.%p", Some("/var/crash")),
            ("/var/crash/%u/core", None),
        ] {
            assert_eq!(pattern_folder(pattern), folder.map(PathBuf::from), "{pattern}");
        }
    }

    #[test]
    fn many_of_one_program_are_a_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let (proc, dumps) = (folder.path().join("proc"), folder.path().join("crash"));
        fs::create_dir_all(proc.join("sys/kernel")).expect("made");
        fs::create_dir_all(&dumps).expect("made");
        fs::write(proc.join("sys/kernel/core_pattern"), format!("{}/core.%e.%p\n", dumps.display()))
            .expect("written");
        let none = folder.path().join("none");
        let mut watched = Watched { config: Cores::default(), proc: Proc::at(&proc), systemd: none };
        let dump = |program: &str, number: u32, age_s: u64| {
            let file = fs::File::create(dumps.join(format!("core.{program}.{number}"))).expect("made");
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).expect("dated");
        };
        (0..5).for_each(|number| dump("a", number, 10));
        (0..9).for_each(|number| dump("b", number, 100_000));
        assert!(watched.look().holds.is_empty(), "five, and nine that are old");
        dump("a", 5, 0);
        let seen = watched.look();
        let (fault, _) = seen.holds.first().expect("six");
        assert!(fault.summary.starts_with("6 core dumps of a "), "{}", fault.summary);
        assert_eq!(fault.subject.to_string(), format!("path:{}", dumps.display()));
        assert!(seen.blind.is_empty());
    }
}
