//! How programs are started: by this program as their supervisor, a process of its own. Some may be started ahead of
//! the programs that they are for, so that a step, which somebody waits for, need not wait for that as well.

use super::leash::Leash;
use crate::runner::confine::Confinement;
use crate::runner::step_exec::Report;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest report of a supervisor, in bytes.
const REPORT_BYTES_MAX: u64 = 256 * 1024;
/// Longest arguments that are told to a supervisor that waits, in bytes; a pipe takes so many at once.
const AWAITED_BYTES_MAX: usize = 32 * 1024;
/// Before them stands how many bytes they are.
const LENGTH_BYTES: usize = 4;
/// How many supervisors are started ahead of a step: one asks its probe, one does it.
const SPARES: usize = 2;
/// Tells a supervisor to wait for its arguments on standard input.
pub const AWAITED: &str = "--awaited";

/// How programs are started.
#[derive(Clone, Debug)]
pub struct Programs {
    pub supervisor: PathBuf,
    pub leash: Leash,
    /// Those that wait for their arguments.
    spares: Arc<Mutex<VecDeque<Spare>>>,
}

/// A supervisor that knows nothing yet. It ends with its standard input.
#[derive(Debug)]
struct Spare(Option<Child>);

impl Spare {
    /// Tells it its arguments; nothing if it has died, and then it has started nothing.
    fn begin(mut self, told: &[u8]) -> Option<Child> {
        let mut child = self.0.take()?;
        match child.stdin.as_mut()?.write_all(told) {
            Ok(()) => Some(child),
            Err(_) => {
                self.0 = Some(child);
                None
            }
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            // It has started nothing, and ends at once.
            let _ = child.wait();
        }
    }
}

impl Programs {
    /// Returns a way by this supervisor.
    pub fn by(supervisor: impl Into<PathBuf>) -> Self {
        Self { supervisor: supervisor.into(), leash: Leash::default(), spares: Arc::default() }
    }

    /// Returns a way that starts no program, for looking only.
    pub fn none() -> Self {
        Self::by(PathBuf::new())
    }

    /// Starts the supervisors of a step ahead of what they are for, as far as they are not there.
    pub fn make_ready(&self) {
        self.make_ready_up_to(SPARES);
    }

    fn make_ready_up_to(&self, count: usize) {
        let mut spares = self.spares();
        while spares.len() < count && !self.supervisor.as_os_str().is_empty() {
            // Without one the next program starts its own.
            let Ok(child) = self.supervisor(&[AWAITED.into()]) else { return };
            spares.push_back(Spare(Some(child)));
        }
    }

    /// Lets go of the supervisors that were started ahead.
    pub fn rest(&self) {
        let spares = std::mem::take(&mut *self.spares());
        drop(spares);
    }

    fn spares(&self) -> MutexGuard<'_, VecDeque<Spare>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a program to its end, with everything that it started, and no more rights than it is given.
    ///
    /// # Errors
    /// The supervisor could not be started, or died without a report.
    pub fn run(
        &self,
        confinement: &Confinement,
        argv: &[String],
        timeout_ms: i64,
        lock: Option<&Path>,
    ) -> Result<Report, String> {
        if self.supervisor.as_os_str().is_empty() {
            return Err(format!("not asked: a dry run starts no program, not even {}", argv.join(" ")));
        }
        let mut words: Vec<OsString> = vec!["--timeout-ms".into(), timeout_ms.to_string().into()];
        words.extend(confinement.arguments());
        if let Some(lock) = lock {
            words.extend(["--lock".into(), lock.into()]);
        }
        words.push("--".into());
        words.extend(argv.iter().map(OsString::from));
        let (mut child, was_ready) = match self.ready(&words) {
            Some(child) => (child, true),
            None => {
                (self.supervisor(&words).map_err(|e| format!("failed to start the supervisor: {e}"))?, false)
            }
        };
        // Kept open until the report is read: the supervisor takes its end for ours.
        let lifeline = self.leash.take(child.stdin.take());
        let mut report = Vec::new();
        let read = child.stdout.take().map(|out| out.take(REPORT_BYTES_MAX).read_to_end(&mut report));
        self.leash.let_go();
        if was_ready {
            // What had one ready mostly has a next program; while this one ran, a start would have been in its way.
            self.make_ready_up_to(1);
        }
        drop(lifeline);
        let status = child.wait().map_err(|e| format!("failed to wait for the supervisor: {e}"))?;
        match (read, serde_json::from_slice(&report)) {
            (Some(Ok(_)), Ok(report)) => Ok(report),
            _ => Err(format!("the supervisor ended without a report ({status}); its program may still run")),
        }
    }

    /// Returns the supervisor that was started ahead, with its arguments told. One that has died, or that cannot be told
    /// them, has started nothing.
    fn ready(&self, words: &[OsString]) -> Option<Child> {
        let words: Vec<&str> = words.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
        let mut told = [0; LENGTH_BYTES].to_vec();
        told.extend(serde_json::to_vec(&words).ok()?);
        let length = u32::try_from(told.len() - LENGTH_BYTES).ok()?;
        if told.len() > AWAITED_BYTES_MAX {
            return None;
        }
        told[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        let spare = self.spares().pop_front()?;
        spare.begin(&told)
    }

    fn supervisor(&self, words: &[OsString]) -> io::Result<Child> {
        let mut command = Command::new(&self.supervisor);
        command.arg("step-exec").args(words).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn()
    }
}

/// Waits for the arguments of this supervisor; nothing if it is not needed after all. Not a byte more than they are is
/// read: what follows is for who watches over the program.
pub fn awaited() -> Option<Vec<String>> {
    let length = exactly(LENGTH_BYTES)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    if length > AWAITED_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&exactly(length)?).ok()
}

fn exactly(count: usize) -> Option<Vec<u8>> {
    let (mut bytes, mut done) = (vec![0; count], 0);
    let input = io::stdin();
    while done < count {
        // Not by way of the standard input's own buffer, which would read on.
        match rustix::io::read(input.as_fd(), &mut bytes[done..]) {
            Ok(read @ 1..) => done += read,
            Err(rustix::io::Errno::INTR) => {}
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_that_has_died_is_told_nothing() {
        let programs = Programs::by("/bin/false");
        programs.make_ready();
        let have_died = || {
            let mut spares = programs.spares();
            assert_eq!(spares.len(), SPARES);
            spares.iter_mut().all(|spare| {
                let child = spare.0.as_mut().expect("it was not begun");
                child.try_wait().expect("it is ours").is_some()
            })
        };
        while !have_died() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..SPARES {
            assert!(programs.ready(&["x".into()]).is_none());
        }
        assert!(programs.spares().is_empty(), "each was tried once");
        programs.make_ready();
        assert!(programs.ready(&["x".repeat(AWAITED_BYTES_MAX).into()]).is_none(), "too long");
        programs.rest();
        let none = Programs::none();
        none.make_ready();
        assert!(none.ready(&["x".into()]).is_none(), "a dry run starts nothing");
    }
}
