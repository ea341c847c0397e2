//! Processes that should run where no service manager looks after them, known by a pidfile or by the first words of
//! their command line. The end of a process is told by the kernel; its beginning is found by looking.

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, Process};
use crate::watcher::notices::registered;
use crate::watcher::report::{Fault, Report, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use procfs::process::Process as Seen;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::Value;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often it is looked where the kernel tells nothing: for processes that begin, and for pidfiles elsewhere.
const EVERY: Duration = Duration::from_secs(2);
/// Longest pidfile, in bytes; it holds one number.
const PIDFILE_BYTES_MAX: u64 = 64;
/// Most ends of processes that wait to be looked at; one is as good as many.
const ENDS_MAX: usize = 1;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let source = Processes { wanted: config.processes.clone(), afresh: context.afresh.clone() };
    (!source.wanted.is_empty()).then(|| Box::new(source) as Box<dyn Source>)
}

struct Processes {
    wanted: Vec<Process>,
    afresh: Afresh,
}

impl Source for Processes {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move { self.follow(&sink, &stop).await })
    }
}

impl Processes {
    async fn follow(&self, sink: &Sink, stop: &CancellationToken) -> Result<(), SourceFailed> {
        let mut wake = Wake::new();
        let mut asked = self.afresh.asked();
        let (to, mut ends) = mpsc::channel(ENDS_MAX);
        let ended = Ended { to, stop: stop.child_token() };
        let _until_here = ended.stop.clone().drop_guard();
        let mut known: Vec<Known> = self.wanted.iter().map(|_| Known::default()).collect();
        let (mut settled, mut afresh) = (false, false);
        loop {
            self.watch_pidfiles(&mut wake);
            let mut reports = Vec::new();
            for (process, known) in self.wanted.iter().zip(&mut known) {
                let runs = known.look(process, &ended);
                if known.said.replace(runs) != Some(runs) {
                    reports.push(report(process, runs));
                }
            }
            if std::mem::take(&mut afresh) {
                reports.push(Report::LookedAfresh);
            }
            sink.report_all(reports).await?;
            if !settled {
                sink.settled().await?;
                settled = true;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ends.recv() => {}
                () = wake.changed() => {}
                Ok(()) = asked.changed() => afresh = true,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn watch_pidfiles(&self, wake: &mut Wake) {
        wake.forget_missing();
        for folder in self.wanted.iter().filter_map(|p| p.pidfile.as_ref()?.path().parent()) {
            wake.watch(folder, false);
        }
    }
}

/// What is known of one process that should run.
#[derive(Debug, Default)]
struct Known {
    /// The process whose end the kernel tells.
    guarded: Option<(Found, Arc<AtomicBool>)>,
    /// The pidfile as it was when that process was found by it.
    pidfile: Option<Version>,
    /// Whether it was said to run.
    said: Option<bool>,
}

impl Known {
    /// Says whether it runs. As long as the kernel has not told the end of the process that the pidfile named, and the
    /// file is the same, nothing more is read.
    fn look(&mut self, process: &Process, ended: &Ended) -> bool {
        let pidfile = process.pidfile.as_ref().and_then(|path| Version::of(path.path()));
        let lives = self.guarded.as_ref().is_some_and(|(_, ended)| !ended.load(Ordering::Acquire));
        if lives && pidfile.is_some() && pidfile == self.pidfile {
            return true;
        }
        let found = find(process);
        if !lives || found != self.guarded.as_ref().map(|(found, _)| *found) {
            self.guarded = found.and_then(|found| Some((found, ended.tell(&found)?)));
        }
        self.pidfile = pidfile;
        found.is_some()
    }
}

/// By what a file that was written or exchanged is told from what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl Version {
    /// Returns nothing of what was changed only just now: it may be changed again within the same tick of the clock.
    fn of(path: &Path) -> Option<Self> {
        let stat = rustix::fs::stat(path).ok()?;
        let changed = (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).ok()?);
        let now_s = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let old = !(0..=1).contains(&(now_s - changed.0));
        old.then_some(Self { inode: stat.st_ino, size: stat.st_size, changed })
    }
}

/// Tells the source of processes that end.
struct Ended {
    to: mpsc::Sender<()>,
    stop: CancellationToken,
}

impl Ended {
    /// Waits for the end of a process, and returns what says that it has come; nothing if it cannot be waited for.
    fn tell(&self, process: &Found) -> Option<Arc<AtomicBool>> {
        // A descriptor of a process can be read when the process has ended.
        let waited = process.open().and_then(|descriptor| registered(descriptor, Interest::READABLE).ok())?;
        let (to, stop, ended) = (self.to.clone(), self.stop.clone(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&ended);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            // Whatever comes of it, a look tells more; a full queue says the same already.
            let _ = waited.readable().await;
            told.store(true, Ordering::Release);
            let _ = to.try_send(());
        }));
        Some(ended)
    }
}

/// One process for certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    pid: i32,
    start_ticks: u64,
}

impl Found {
    fn of(seen: &Seen) -> Option<Self> {
        let stat = seen.stat().ok()?;
        // What has ended and waits to be taken leave of does not run.
        (!matches!(stat.state, 'Z' | 'X')).then_some(Self { pid: stat.pid, start_ticks: stat.starttime })
    }

    fn open(&self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after it was opened: if the number is another's by now, the descriptor is of that one.
        let same = Seen::new(self.pid).ok().and_then(|seen| Self::of(&seen)) == Some(*self);
        same.then_some(descriptor)
    }
}

fn find(process: &Process) -> Option<Found> {
    match &process.pidfile {
        Some(path) => Found::of(&Seen::new(pid_in(path.path())?).ok()?),
        None => procfs::process::all_processes()
            .ok()?
            .flatten()
            .filter(|seen| begins_with(seen, process))
            .find_map(|seen| Found::of(&seen)),
    }
}

fn begins_with(seen: &Seen, process: &Process) -> bool {
    let line = seen.cmdline().unwrap_or_default();
    line.len() >= process.command.len() && process.command.iter().zip(&line).all(|(a, b)| a.as_str() == b)
}

/// Reads the number of a pidfile. What is no number names no process.
fn pid_in(path: &Path) -> Option<i32> {
    let mut text = String::new();
    File::open(path).ok()?.take(PIDFILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

fn report(process: &Process, runs: bool) -> Report {
    let rule = format!("processes.{}", *process.name);
    let subject = Subject::Process((*process.name).clone());
    if runs {
        return Report::over(&rule, subject);
    }
    let summary = format!("the process {} does not run", *process.name);
    let mut fault = Fault::new(&rule, "process.missing", subject, Severity::Critical, summary);
    if let Some(path) = &process.pidfile {
        fault.field("pidfile", Value::Path((**path).clone()));
    }
    if let Some(program) = &process.start {
        fault.field("start_program", Value::Path((**program).clone()));
    }
    Report::holds(fault, Tolerance::For(Duration::from_millis(process.tolerance.ms())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn process(yaml: &str) -> Process {
        let config = format!("processes: [{yaml}]");
        Config::parse(&config).expect("it is sound").processes.remove(0)
    }

    #[test]
    fn a_process_is_found_until_it_has_ended_and_its_end_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut child =
                Command::new("/bin/sleep").arg("1000017").stdin(Stdio::null()).spawn().expect("it starts");
            let folder = tempfile::tempdir().expect("a folder");
            let pidfile = folder.path().join("x.pid");
            std::fs::write(&pidfile, format!(" {}\n", child.id())).expect("it is written");
            let by_file = process(&format!("{{name: x, pidfile: {}}}", pidfile.display()));
            let by_line = process("{name: x, command: [/bin/sleep, '1000017']}");
            let other = process("{name: x, command: [/bin/sleep, '10000']}");
            let found = find(&by_file).expect("it runs");
            assert_eq!(u32::try_from(found.pid), Ok(child.id()));
            assert_eq!((find(&by_line), find(&other)), (Some(found), None));

            let (to, mut ends) = mpsc::channel(ENDS_MAX);
            let ended = Ended { to, stop: CancellationToken::new() };
            let told = ended.tell(&found).expect("it can be waited for");
            let other = Found { start_ticks: found.start_ticks + 1, ..found };
            assert!(ended.tell(&other).is_none(), "that is another one");
            let mut known = Known::default();
            assert!(known.look(&by_file, &ended) && known.look(&by_line, &ended));
            std::fs::write(&pidfile, "1000000\n").expect("it is written");
            assert!(!known.look(&by_file, &ended), "the file names another one now");
            std::fs::write(&pidfile, format!("{}\n", child.id())).expect("it is written");
            assert!(known.look(&by_file, &ended));
            child.kill().expect("it can be ended");
            ends.recv().await.expect("its end is told");
            assert!(told.load(Ordering::Acquire));
            assert!(!known.look(&by_file, &ended));
            assert_eq!(find(&by_file), None, "not even before anybody has taken leave of it");
            child.wait().expect("it has ended");
            assert_eq!((find(&by_file), find(&by_line)), (None, None));
        });
    }

    #[test]
    fn a_pidfile_without_a_number_names_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pid");
        let table =
            [("12\n", Some(12)), ("", None), ("0", None), ("-1", None), ("1 2", None), ("\u{0}", None)];
        for (text, expected) in table {
            std::fs::write(&path, text).expect("it is written");
            assert_eq!(pid_in(&path), expected, "{text:?}");
        }
        assert_eq!(pid_in(Path::new("/does/not/exist")), None);
    }

    #[test]
    fn what_can_be_started_says_how() {
        let can = process("{name: x, pidfile: /run/x.pid, start: /usr/local/bin/x}");
        let Report::Holds { fault, .. } = report(&can, false) else { panic!("it does not run") };
        let fields: Vec<String> =
            fault.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields, ["pidfile=/run/x.pid", "start_program=/usr/local/bin/x"]);
        assert!(matches!(report(&can, true), Report::Over { .. }));
    }
}
