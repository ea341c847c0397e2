//! `process.start`: starts what the host's administrator named for a process that is not running, away from the step
//! so that it outlives it. Everything it starts carries the step's name in its environment, and by that an undo
//! finds and ends it, also after a crash and however often it forked.

use super::act::{Act, At};
use super::processes::{self, Process};
use crate::runner::clock;
use crate::runner::settings::NamedProcess;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::{AbsPath, ProcessRef, Word};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Name of the variable that marks what a step started.
const MARK: &str = "SOPWITH_STEP";
const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to obey SIGTERM, and then to be dead, in seconds.
const GRACE_S: i64 = 5;
/// How often it is looked whether anything marked was left.
const ROUNDS_MAX: usize = 10;
/// Most of a command line or an environment that is read, in bytes.
const READ_BYTES_MAX: u64 = 256 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// Whether it ran already; then the step starts nothing.
    running: bool,
}

impl NamedProcess {
    /// Returns the process, if it runs: by its pidfile, or by the first words of its command line.
    pub fn find(&self) -> Option<ProcessRef> {
        let lives = |p: &Process| !matches!(p.state, 'Z' | 'X');
        let found = match &self.pidfile {
            Some(path) => processes::look(pid_in(path)?).filter(lives),
            None if self.command.is_empty() => None,
            None => processes::all().into_iter().find(|p| lives(p) && self.is(p.pid)),
        };
        found.map(|p| ProcessRef { pid: p.pid, start_ticks: p.start_ticks })
    }

    fn is(&self, pid: u32) -> bool {
        let line = read(&format!("/proc/{pid}/cmdline"));
        let mut words = line.split(|byte| *byte == 0);
        self.command.iter().all(|word| words.next() == Some(word.as_bytes()))
    }
}

fn pid_in(path: &Path) -> Option<u32> {
    let text = read(path.to_str()?);
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

fn read(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map(|file| file.take(READ_BYTES_MAX));
    let _ = file.and_then(|mut file| file.read_to_end(&mut bytes));
    bytes
}

fn mark(step: StepContext<'_>) -> String {
    format!("{MARK}={}-{}", step.run, step.index)
}

/// Returns every living process that the step started.
fn marked(step: StepContext<'_>) -> Vec<Process> {
    let mark = mark(step);
    let has_it = |p: &Process| {
        let environment = read(&format!("/proc/{}/environ", p.pid));
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    processes::all().into_iter().filter(|p| !matches!(p.state, 'Z' | 'X') && has_it(p)).collect()
}

pub fn capture(named: &NamedProcess, program: &AbsPath) -> Result<Prior, String> {
    if named.start.as_ref() != Some(program) {
        return Err(format!("this host's configuration does not name {program} to start it"));
    }
    Ok(Prior { running: named.find().is_some() })
}

pub fn perform(
    supervisor: &Path,
    step: StepContext<'_>,
    named: &NamedProcess,
    program: &AbsPath,
    prior: &Prior,
) -> Result<String, String> {
    if prior.running {
        return Ok("it runs already".into());
    }
    let mut command = Command::new(supervisor);
    command.args(["step-exec", "--become-it", "--timeout-ms", "0", "--", program.as_str()]);
    command.env_clear().envs(crate::runner::step_exec::ENVIRONMENT);
    command.env(MARK, mark(step).split_once('=').map_or("", |(_, value)| value));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("failed to start {program}: {e}"))?;
    let deadline_ms = clock::boot_ms() + step.step.timeout_ms;
    let outcome = loop {
        if let Some(process) = named.find() {
            break Ok(format!("it runs as process {}", process.pid));
        }
        match child.try_wait() {
            Ok(Some(status)) if !status.success() => break Err(format!("{program}: {status}")),
            Ok(_) if clock::boot_ms() < deadline_ms => std::thread::sleep(POLL),
            Ok(_) => break Err(format!("{program} was started, and the process does not run in time")),
            Err(e) => break Err(format!("failed to wait for {program}: {e}")),
        }
    };
    // Somebody has to take leave of it when it ends, and this thread has other things to do.
    std::thread::spawn(move || child.wait());
    outcome
}

pub fn probe(step: StepContext<'_>, named: &NamedProcess, prior: &Prior) -> Effect {
    if prior.running {
        return Effect::None { detail: "it ran already".into() };
    }
    let began_ms = clock::boot_ms();
    loop {
        let marked = marked(step);
        match named.find() {
            Some(process) if marked.iter().any(|p| p.pid == process.pid) => {
                return Effect::Took { detail: format!("it runs as process {}", process.pid) };
            }
            Some(process) => {
                let detail = format!("it runs as process {}, which somebody else started", process.pid);
                return Effect::Unknown { detail };
            }
            None if marked.is_empty() => return Effect::None { detail: "nothing was started".into() },
            None if clock::boot_ms() - began_ms > step.step.timeout_ms => {
                return Effect::Unknown { detail: "it was started and does not run in time".into() };
            }
            None => std::thread::sleep(POLL),
        }
    }
}

pub fn undo(step: StepContext<'_>) -> Result<String, String> {
    let mut ended = 0;
    for round in 0..ROUNDS_MAX {
        let alive = marked(step);
        if alive.is_empty() {
            return Ok(format!("{ended} processes that the step started are ended"));
        }
        for process in alive {
            let signals: &[Signal] = if round == 0 { &[Signal::TERM, Signal::KILL] } else { &[Signal::KILL] };
            end(process, signals);
            ended += 1;
        }
    }
    Err("processes that the step started cannot be ended".into())
}

fn end(process: Process, signals: &[Signal]) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if !processes::lives(ProcessRef { pid: process.pid, start_ticks: process.start_ticks }) {
        return;
    }
    for signal in signals {
        let _ = pidfd_send_signal(&descriptor, *signal);
        let timeout = Timespec { tv_sec: GRACE_S, tv_nsec: 0 };
        if let Ok(1) = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
            return;
        }
    }
}

/// Which program for which named process.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub process: &'a Word,
    pub program: &'a AbsPath,
}

impl Act for Start<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let running = capture(at.bench.process(self.process)?, self.program)?.running;
        Ok(if running {
            format!("nothing: {} runs", self.process)
        } else {
            format!("{} would be started for {}, which does not run", self.program, self.process)
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(at.bench.process(self.process)?, self.program)
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let (supervisor, named) = (&at.bench.programs.supervisor, at.bench.process(self.process)?);
        perform(supervisor, at.step, named, self.program, prior)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(at.step, at.bench.process(self.process)?, prior))
    }

    fn undo(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        undo(at.step)
    }
}
